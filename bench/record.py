"""The record of one run: JSON that says what was measured, where, how, and what may be concluded.

    record      format, created, scenario, load, threads, machine (fingerprint), data, noise, results, lost
    result      subject, model, target, engine, level, n, percentiles, phases, memory, footprint, roofline, blocks ...
    block       set, void, others, cycles: metric -> log time of each cycle

The blocks are kept whole, so that `neoc compare` can judge records that were taken apart.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import percentiles, runs, verdict
from neoc.bench.runs import Measured, Run
from neoc.bench.scenarios import Load
from neoc.bench.subjects import Subject
from neoc.compile.contracts import Level
from neoc.compile.errors import InvalidInput, UsageError
from neoc.compile.files import write_atomically

FORMAT = "neoc.bench/1"
HISTOGRAM_BINS = 60


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(path: Path) -> str:
    """Of a file its bytes, of a folder the names and bytes of its files."""
    if not path.is_dir():
        return file_digest(path)
    parts = [f"{p.name} {file_digest(p)}" for p in sorted(path.iterdir()) if p.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# ---- who was measured ----------------------------------------------------------------------


def identity(subject: Subject, threads: int) -> dict[str, Any]:
    """Model (name and digest of the source), target, engine, variant, precision, level, tools, bytes of the artifact.

    ENGINE:MODEL runs the source itself here, so its level is `executed` and its own numbers are its reference. Raises
    UsageError for a stand-in: nothing made by an imitation is measured.
    """
    if subject.engine is not None:
        from neoc.compile import registry

        tools = dict(registry.load_engine(subject.engine).tools())
        return {
            "subject": subject.text,
            "model": {"name": subject.path.stem, "sha256": file_digest(subject.path)},
            "target": registry.resolve_target("host").name,
            "engine": subject.engine,
            "variant": "plain",
            "precision": "fp32",
            "level": Level.EXECUTED.value,
            "tools": tools,
            "artifact": None,
            "bytes": subject.path.stat().st_size,
        }
    from neoc.compile.artifact import Artifact

    artifact = Artifact.open(subject.path)
    manifest = artifact.manifest
    refuse_stand_in(subject.text, artifact.level)
    chosen = manifest["variants"][0]
    return {
        "subject": subject.text,
        "model": {"name": Path(manifest["provenance"]["name"]).stem, "sha256": manifest["provenance"]["sha256"]},
        "target": manifest["target"]["name"],
        "engine": "+".join(dict.fromkeys(step["engine"] for step in chosen["steps"])),
        "variant": chosen["id"],
        "precision": chosen["precision"],
        "level": str(artifact.level.value),
        "tools": dict(manifest["tools"]),
        "artifact": manifest["content_digest"],
        "bytes": subject.path.stat().st_size,
    }


def refuse_stand_in(name: str, level: Level | str) -> None:
    """Raises UsageError where a result of an imitation would enter a comparison, the ledger or a report."""
    if Level(level) is Level.STANDIN:
        raise UsageError(
            "a stand-in result cannot be compared, recorded or reported",
            where=name,
            why="it was made by an imitation of a tool chain, so a figure of it would say nothing about a chip",
            fix="compile with the real tool chain",
        )


# ---- writing -------------------------------------------------------------------------------


def result_of(found: Measured, name: str, who: Mapping[str, Any], floors: Mapping[str, float]) -> dict[str, Any]:
    """One subject's row. `floors`: metric -> log, beside what the twin of this run shows."""
    taken = found.runs(name) or found.runs(name, valid_only=False)
    ns = np.concatenate([np.empty(0, np.int64), *(run.ns for run in taken)])
    metrics = {m.name: _metric(m, taken) for m in found.scenario.metrics}
    return {
        **who,
        "runs": len(taken),
        "n": len(ns) if found.scenario.percentiles else sum(s.facts["samples"] for run in taken for s in run.stints),
        "void": not found.runs(name),
        **percentiles.percentiles(ns, found.scenario.percentiles),
        "metrics": metrics,
        "histogram": histogram(ns) if found.scenario.percentiles else None,
        "phases": phases(taken),
        "memory": {key: int(max(run.memory.get(key, 0) for run in taken)) for key in ("rss", "uss", "peak", "threads")},
        "spread": _spread(found, name),
        "floor": {m: _finite(math.expm1(runs.floor(found, m, floors.get(m, 0.0)))) for m in metrics},
        "facts": _facts(taken),
        "blocks": [
            {
                "set": block.set,
                "void": block.void,
                "others": round(block.load.others, 4),
                "cycles": {
                    metric: [round(v, 6) if math.isfinite(v) else None for v in values]
                    for metric, values in block.runs[name].cycles.items()
                },
                **({"twin": _twin(block, name, found)} if name == found.names[0] else {}),
            }
            for block in found.blocks
            if name in block.runs
        ],
    }


def _twin(block: runs.Block, name: str, found: Measured) -> dict[str, list[float | None]]:
    """The first subject's second process in this block: its cycles are what a reader's own floor comes from."""
    twin = block.runs.get(name + runs.TWIN)
    if twin is None:
        return {}
    return {m: [round(v, 6) if math.isfinite(v) else None for v in values] for m, values in twin.cycles.items()}


def _metric(metric: Any, taken: Sequence[Run]) -> dict[str, Any]:
    """Value over all runs: the exponential of the median over processes of the median over cycles."""
    per_run = [
        float(np.nanmedian(run.cycles[metric.name])) for run in taken if np.isfinite(run.cycles[metric.name]).any()
    ]
    if not per_run:
        return {"value": None, "unit": metric.unit, "better": "lower" if metric.sign > 0 else "higher"}
    value = math.exp(metric.sign * float(np.median(per_run)))
    return {"value": value, "unit": metric.unit, "better": "lower" if metric.sign > 0 else "higher"}


def _finite(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def _spread(found: Measured, name: str) -> float:
    """Interquartile range of the processes' medians, relative: how much a fresh start changes."""
    metric = found.scenario.metrics[0].name
    values = np.exp([np.median(cycles) for cycles in found.cycles(name, metric)])
    if len(values) < 2:
        return 0.0
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return round(float((high - low) / middle), 4)


def _facts(taken: Sequence[Run]) -> dict[str, Any]:
    """What the driver said of the last stint: validity by LoadGen, the searched rates, harness delay."""
    last = taken[-1].stints[-1].facts if taken and taken[-1].stints else {}
    return {key: value for key, value in last.items() if key not in ("wall_s", "cpu_s", "seconds")}


def phases(taken: Sequence[Run]) -> dict[str, Any]:
    """Medians over processes: open, first inference and warm-up in seconds; how many reached a steady state."""
    return {
        "open_s": float(np.median([run.open_s for run in taken])),
        "first_s": float(np.median([run.first_s for run in taken])),
        "warm_up_s": float(np.median([run.warm_up["seconds"] for run in taken])),
        "warm_up_iterations": float(np.median([run.warm_up["iterations"] for run in taken])),
        "steady": sum(bool(run.warm_up["steady"]) for run in taken),
        "processes": len(taken),
    }


def histogram(ns: np.ndarray) -> dict[str, Any] | None:
    """Counts in equal bins of log10 ns, from the smallest to the largest sample."""
    positive = ns[ns > 0]
    if not len(positive):
        return None
    logs = np.log10(positive)
    counts, edges = np.histogram(logs, bins=HISTOGRAM_BINS, range=(logs.min(), logs.max() + 1e-9))
    return {"log10_low": float(edges[0]), "log10_high": float(edges[-1]), "counts": counts.tolist()}


def verdicts(found: Measured, floors: Mapping[str, float], prefix: str = "") -> dict[str, verdict.Verdict]:
    """'subject/metric' -> verdict against the first subject, before any correction for their number."""
    return {
        f"{prefix}{name}/{metric.name}": runs.judge(found, name, metric.name, floors.get(metric.name, 0.0))
        for name in found.names[1:]
        if name not in found.lost
        for metric in found.scenario.metrics
    }


def load_facts(load: Load) -> dict[str, Any]:
    facts: dict[str, Any] = {"batch": load.batch, "concurrency": load.concurrency}
    if load.latency_s is not None:
        facts |= {"latency_s": load.latency_s, "percentile": load.percentile}
    if load.arrivals:
        facts |= {"arrivals": len(load.arrivals), "seconds": load.arrivals[-1]}
    return facts


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(path: Path, record: Mapping[str, Any]) -> None:
    """The record at `path`, whole or not at all. Raises OutputError."""
    write_atomically(path, json.dumps(record, indent=1).encode())


# ---- reading -------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    """A record of neoc's, or pytest-benchmark's JSON brought into its shape. Raises InvalidInput."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(
            "the record cannot be read", where=str(path), why=reason, fix="name a file that `neoc bench -o` wrote"
        ) from error
    if isinstance(found, dict) and "benchmarks" in found and "machine_info" in found:
        from neoc.bench.pytest_json import from_pytest

        return from_pytest(found, str(path))
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        what = found.get("format") if isinstance(found, dict) else type(found).__name__
        raise InvalidInput(
            "the file is no benchmark record",
            where=str(path),
            why=f"its format is {what!r}, not {FORMAT!r}",
            fix="name a file that `neoc bench -o` or pytest-benchmark wrote",
        )
    _check(found, str(path))
    return found


def _check(record: Mapping[str, Any], where: str) -> None:
    """What compare and report rely on. Raises InvalidInput."""
    try:
        for result in record["results"]:
            refuse_stand_in(result["subject"], result["level"])
            for block in result["blocks"]:
                block["set"], block["void"], block["cycles"].items()
        record["machine"]["machine"], record["scenario"], record["machine"]["digest"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(
            "the record is damaged",
            where=where,
            why=f"{type(error).__name__}: {error}",
            fix="measure again",
        ) from error


def cycles(result: Mapping[str, Any], metric: str, number: int | None = None, twin: bool = False) -> list[np.ndarray]:
    """Log values of the cycles of each valid block (of set `number`); of its twin's where asked."""
    found = []
    for block in result["blocks"]:
        if block["void"] or (number is not None and block["set"] != number):
            continue
        values = (block.get("twin") or {} if twin else block["cycles"]).get(metric) or []
        kept = np.array([v for v in values if v is not None], float)
        if len(kept):
            found.append(kept)
    return found
