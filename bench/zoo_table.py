"""`make bench`: every model of the zoo, compiled for this machine, against the engines as their own docs have them.

Per model one interleaved run of three processes on the model's own realistic input: the artifact, onnxruntime's
defaults and OpenVINO's f32 latency hint on the untouched file. Prints the table that the README shows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import zoo
from neoc.bench.measurement import BenchOptions, bench
from neoc.bench.subjects import Subject
from neoc.compile.files import write_atomically
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.compile.registry import load_target
from neoc.compile.rewrites.spec import MARK, spec_of

PEERS = ("onnxruntime", "openvino")


def measure(
    name: str, folder: Path, threads: int, seconds: float, race_seconds: float, max_load: float = 0.1
) -> dict[str, Any]:
    """Compile one zoo model and measure it against the peers: {'model', 'level', 'selected', 'record', ...}."""
    (entry,) = zoo.fetch([name], folder)
    assert entry.data is not None
    options = CompileOptions(data=entry.data, threads=threads, race_seconds=race_seconds)
    return measured(name, entry.path, entry.data, folder, options, seconds, max_load)


def measured(
    name: str, model: Path, data: Path, folder: Path, options: CompileOptions, seconds: float, max_load: float
) -> dict[str, Any]:
    """`measure` for any model with its data."""
    artifact = compile_model(model, load_target("host"), options, output=folder / f"{name}.neoc")
    subjects = [Subject(name, artifact.path), *(Subject(peer, model, peer) for peer in PEERS)]
    asked = BenchOptions(data=data, threads=options.threads, seconds=seconds, max_load=max_load)
    record = bench(subjects, asked, lambda stage, detail: None)
    variant = artifact.manifest["variants"][0]
    return {
        "model": name,
        "level": artifact.level,
        "selected": variant["id"].partition(MARK)[0],
        "rewrote": list(dict.fromkeys(spec_of(variant["steps"][0]["variant"]).names)),
        "relative_error": max(
            (float(o["relative"]) for o in artifact.manifest["verification"]["outputs"]), default=0.0
        ),
        "record": record,
    }


def row(result: dict[str, Any]) -> list[str]:
    """One line of the table: medians in milliseconds, the best peer's time over the artifact's."""
    first, *peers = result["record"]["results"]
    own = first["percentiles_ns"]["p50"]
    taken = {peer["subject"]: peer["percentiles_ns"]["p50"] for peer in peers}
    judged = [peer["ratio_to_first"] for peer in peers if peer["ratio_to_first"]]
    ratio = min(judged, key=lambda found: found["ratio"]) if judged else None
    return [
        result["model"],
        result["selected"],
        f"rewrote: {', '.join(result['rewrote'])}" if result.get("rewrote") else "selected",
        f"{own / 1e6:.3g}",
        *(f"{taken[peer] / 1e6:.3g}" if peer in taken else "cannot run it" for peer in PEERS),
        "void: the machine was busy" if ratio is None else _interval(ratio),
        f"{result['relative_error']:.0e}",
        result["level"],
    ]


def _interval(ratio: dict[str, Any]) -> str:
    bounds = f" [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio["low"] is not None else ""
    return f"{ratio['ratio']:.2f}{bounds}"


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as a Markdown table, with the geometric mean of the ratios below."""
    head = ["model", "engine", "what neoc did", "neoc p50 ms", *(f"{peer} p50 ms" for peer in PEERS)]
    head += ["best peer / neoc", "error", "level"]
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *map(row, results)]]
    peers = [[p["ratio_to_first"] for p in r["record"]["results"][1:] if p["ratio_to_first"]] for r in results]
    ratios = [min(found["ratio"] for found in judged) for judged in peers if judged]
    machine = results[0]["record"]["machine"]["machine"]
    lines.append("")
    lines.append(
        f"Geometric mean of best peer / neoc: {np.exp(np.mean(np.log(ratios))):.3f}. "
        f"{machine['cpu']}, {results[0]['record']['threads']} thread, six process runs of each, in turns."
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="zoo models; all of them where none is named")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15.0, help="measuring time a model")
    parser.add_argument("--race-seconds", type=float, default=10.0)
    parser.add_argument("--max-load", type=float, default=0.1, help="what others may take before a run is void")
    parser.add_argument("-o", "--output", type=Path, help="write the records here (JSON)")
    asked = parser.parse_args(arguments)
    names = asked.names or [name for name in zoo.sources() if _is_onnx(name)]
    results = []
    with tempfile.TemporaryDirectory(prefix="neoc-bench-") as scratch:
        for name in names:
            results.append(
                measure(name, Path(scratch), asked.threads, asked.seconds, asked.race_seconds, asked.max_load)
            )
            print("  ".join(row(results[-1])), flush=True)
    print()
    print(table(results))
    if asked.output is not None:
        write_atomically(asked.output, json.dumps(results, indent=1).encode())


def _is_onnx(name: str) -> bool:
    return zoo.sources()[name].files[0].path.endswith(".onnx")


if __name__ == "__main__":
    main()
