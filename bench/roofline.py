"""The program against the machine: FLOPs and compulsory bytes over the time measured, beside the measured peaks.

FLOPs are of the dense operators (compile/analysis.py). Bytes are those that must move once: weights and inputs; caches
may spare even the weights, so the memory roof is where a model that does not fit them meets it. Source: Williams,
Waterman and Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench.subjects import Subject
from neoc.compile.contracts import Feeds
from neoc.compile.options import InputBinding

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}


@dataclass(frozen=True)
class Work:
    """What one inference does: operations and compulsory bytes. `partial`: dense nodes that could not be counted."""

    flops: int
    bytes: int
    partial: tuple[str, ...] = ()


def work(subject: Subject, feeds: Feeds) -> Work | None:
    """Of one inference on feeds of these shapes; None where the shapes cannot be bound or nothing dense is in it."""
    from neoc.compile.analysis import cost
    from neoc.compile.errors import NeocError
    from neoc.compile.options import CompileOptions
    from neoc.compile.pipeline import lower

    options = CompileOptions(
        inputs={name: InputBinding(tuple(int(d) for d in np.shape(array))) for name, array in feeds.items()}
    )
    try:
        with tempfile.TemporaryDirectory(prefix="neoc-") as scratch:
            reckoned = cost(lower(_source(subject, Path(scratch)), options))
    except NeocError:
        return None
    moved = reckoned.weight_bytes + sum(np.asarray(a).nbytes for a in feeds.values())
    return Work(reckoned.flops, moved, reckoned.uncounted) if reckoned.flops else None


def _source(subject: Subject, scratch: Path) -> Path:
    """The model's file; of an artifact the plain program that it carries, put into `scratch`."""
    if subject.engine is not None:
        return subject.path
    from neoc.compile.artifact import Artifact

    artifact = Artifact.open(subject.path)
    artifact.extract(artifact.manifest["program"], scratch, durable=False)
    return scratch / "program.onnx"


def place(done: Work, seconds: float, precision: str, threads: int) -> dict[str, Any] | None:
    """Where the measurement lies under the roof: {'flops', 'bytes', 'intensity', 'achieved_flops', 'peak_flops', ...}.

    One thread is held against one core's peaks, more against the whole chip's. None where no peak was measured here.
    """
    from neoc.targets import peaks

    found = peaks.cached()
    if found is None:
        return None
    flops, bandwidth = (found.core_flops, found.core_bandwidth) if threads == 1 else (found.peak_flops, found.bandwidth)
    dtype = PRECISIONS.get(precision, "float32")
    if dtype not in flops:
        dtype = "float32"
    peak, intensity = flops[dtype].value, done.flops / done.bytes
    roof = min(peak, intensity * bandwidth.value)
    return {
        "flops": done.flops,
        "bytes": done.bytes,
        "intensity": intensity,
        "achieved_flops": done.flops / seconds,
        "peak_flops": peak,
        "bandwidth": bandwidth.value,
        "roof_flops": roof,
        "of_peak": done.flops / seconds / peak,
        "of_roof": done.flops / seconds / roof,
        "dtype": dtype,
        "uncounted": list(done.partial),
        "source": flops[dtype].source,
    }


def words(placed: Mapping[str, Any] | None) -> str:
    """achieved 78% of fp32 peak"""
    if placed is None:
        return ""
    short = {full: name for name, full in PRECISIONS.items()}.get(placed["dtype"], placed["dtype"])
    return f"achieved {placed['of_peak']:.0%} of {short} peak"
