"""Tree models against the libraries that trained them and other peers: the tables of docs/tree-compiler.md.

    python -m neoc.bench.trees [--models NAME;...] [--seconds S] [--prepare] [--write docs/tree-compiler.md]

Sessions of compiled artifacts, interleaved in one process with every peer that takes the model, rows rotating, on one
thread and on two. Margins are compared with the library's before anything is timed: to the bit for XGBoost. The second
table is what compiling costs, with nothing in any cache, and what the artifact weighs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from neoc.bench.trees_models import MODELS, Model
from neoc.bench.trees_peers import Peers, Subject, peers
from neoc.bench.trees_proof import Made, opened, parsed
from neoc.compile import CompileOptions, compile_model, frontends
from neoc.compile.contracts import Session
from neoc.compile.machine import fingerprint
from neoc.compile.measure import Ratio, Samples, interleave, ratio, time_calls
from neoc.targets import get_target

START, END = "<!-- table -->", "<!-- /table -->"
ROWS = 10_000
ROTATING = 257
SLOW_BATCHES = frozenset({"treelite"})
"""an interpreter, which takes some twenty times as long for a batch: it would leave no rounds to the others"""
COLUMNS = "| model | rows | threads | neoc | others | best peer / neoc | aimed at |"
COSTS = (
    "| model | trees | nodes | file to kernel | `neoc compile` with its proof | the model's file | artifact | of it |"
)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    rows: int
    threads: int
    parts: list[np.ndarray]
    aim: float | None


def cases(model: Model, rows: np.ndarray) -> list[Case]:
    singles = [np.ascontiguousarray(rows[i : i + 1]) for i in range(ROTATING)]
    return [
        Case(ROWS, 1, [rows], model.batch),
        Case(ROWS, 2, [rows], None),
        Case(1, 1, singles, model.single),
    ]


def run(model: Model, chosen: argparse.Namespace) -> tuple[list[str], str, dict[str, str]]:
    """(rows of the table, its row of costs, peers that were left out and why)."""
    path = model.trained(chosen.folder)
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.source is not None
    assert program.source.graph is not None
    dtype = program.signature.inputs[0].dtype
    x = model.data()[0]
    rows = np.ascontiguousarray(np.resize(x, (ROWS, x.shape[1])), dtype)
    subject = Subject(model.library, path, program.source.graph, chosen.peer_seconds, chosen.folder / "llvmlite-0.44")
    lines, left_out = [], dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        made = None if chosen.prepare else Made.of(program, get_target("host"), Path(folder) / "built")
        for case in cases(model, rows):
            found = peers(subject, case.threads)
            left_out |= found.left_out
            if made is None:
                continue
            with made.opened(case.threads) as session:
                lines.append(_timed(model, case, session, found, chosen.seconds))
            print(lines[-1], flush=True)
    return lines, "" if chosen.prepare else cost(model, path), left_out


def _timed(model: Model, case: Case, session: Session, found: Peers, seconds: float) -> str:
    def ours(x: np.ndarray) -> np.ndarray:
        return session.run({"features": x}, ["margin"])["margin"]

    calls: dict[str, Callable[[np.ndarray], Any]] = {"neoc": ours, **found.calls}
    if case.rows > 1:
        calls = {name: call for name, call in calls.items() if name not in SLOW_BATCHES}
    _check(model, case, calls)
    entrants = {name: _rotating(call, case.parts) for name, call in calls.items()}
    if case.rows == 1:
        entrants["control"] = _rotating(lambda x: None, case.parts)
    samples = interleave(entrants, budget_s=seconds)
    return line(model.name, case, samples)


def _check(model: Model, case: Case, calls: dict[str, Callable[[np.ndarray], Any]]) -> None:
    """That everyone computes the model: neoc what its library does, the others within what float32 sums may differ."""
    for x in case.parts[:3]:
        want = np.asarray(calls[model.library](x))
        got = np.asarray(calls["neoc"](x)).reshape(want.shape)
        if model.library == "xgboost" and got.tobytes() != want.tobytes():
            raise SystemExit(f"{model.name}: margins differ from XGBoost's")
        for name, call in calls.items():
            found = np.asarray(call(x), np.float64).reshape(want.shape)
            if not np.allclose(found, want, rtol=1e-4, atol=1e-4):
                raise SystemExit(f"{model.name}: {name} computes something else than {model.library}")


def _rotating(call: Callable[[np.ndarray], Any], parts: list[np.ndarray]) -> Callable[[int], np.ndarray]:
    turn = itertools.cycle(parts)
    return partial(time_calls, lambda: call(next(turn)))


def line(name: str, case: Case, samples: dict[str, Samples]) -> str:
    """A row of the table."""
    others = {n: ratio(s, samples["neoc"]) for n, s in samples.items() if n not in ("neoc", "control") and s.blocks}
    best = min(others, key=lambda n: others[n].median)
    scale, unit = (1e6, "ms") if case.rows > 1 else (1e3, "us")
    mine = f"{samples['neoc'].median_ns / scale:.4g} {unit}"
    if "control" in samples:
        mine += f", p99/p50 {tail(samples['neoc'], samples['control']):.2f}"
    listed = ", ".join(f"{n} {samples[n].median_ns / scale:.4g}" for n in others)
    cells = (
        name,
        f"{case.rows:,}",
        case.threads,
        mine,
        listed,
        _gain(best, others[best]),
        _aimed(case.aim, others[best]),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _gain(best: str, r: Ratio) -> str:
    return f"**{r.median:.1f}x** ({r.low:.1f} to {r.high:.1f}) {best}"


def _aimed(aim: float | None, r: Ratio) -> str:
    return "-" if aim is None else f"{aim:g}x: {'yes' if r.low >= aim else 'no'}"


def tail(samples: Samples, control: Samples) -> float:
    """p99 over p50, after taking away the same percentiles of an empty call over the same rotating rows."""
    p50, p99 = np.percentile(samples.ns, [50, 99]) - np.percentile(control.ns, [50, 99])
    return float(p99 / p50)


# ---- what compiling costs ------------------------------------------------------------------------------


def cost(model: Model, path: Path) -> str:
    """A row of the second table: seconds and bytes."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, NEOC_CACHE_DIR=folder):
        options = CompileOptions(use_cache=False, engines=("trees",), race_seconds=0.2)
        start = time.perf_counter()
        program = frontends.load(path, {}, options)
        opened(program, get_target("host"), Path(folder) / "built").close()
        kernel = time.perf_counter() - start
        start = time.perf_counter()
        made = compile_model(path, "host", options, output=Path(folder) / "m.neoc")
        whole = time.perf_counter() - start
        size, source = made.path.stat().st_size, path.stat().st_size
    e = parsed(program)
    sizes = f"{source / 1e6:.2f} MB | {size / 1e6:.2f} MB | {size / source:.2f}x"
    text = f"| {model.name} | {e.trees:,} | {e.nodes:,} | {kernel:.2f} s | {whole:.2f} s | {sizes} |"
    print(text, flush=True)
    return text


# ---- the page ------------------------------------------------------------------------------------------


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("xgboost", "xgboost-cpu", "lightgbm", "onnxruntime", "treelite", "tl2cgen", "lleaves"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def page(lines: Sequence[str], costs: Sequence[str], left_out: dict[str, dict[str, str]]) -> str:
    """What stands between the marks: both tables, and who was left out."""
    cpu = fingerprint()["machine"].get("cpu", "?")
    text = [f"{cpu}, {_versions()}.", "", COLUMNS, "|---" * 7 + "|", *lines, "", COSTS, "|---" * 8 + "|", *costs]
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(
        {(f"{peer}: {why}", model) for model, found in left_out.items() for peer, why in found.items()}
    ):
        reasons.setdefault(name, []).append(why)
    if reasons:
        text += ["", "Left out:", *(f"* {why} ({'; '.join(models)})" for why, models in reasons.items())]
    return "\n".join(text)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m neoc.bench.trees")
    parser.add_argument("--models", default="", help="parts of names, separated by ';'")
    parser.add_argument("--seconds", type=float, default=10.0, help="budget of one row of the table")
    parser.add_argument("--peer-seconds", type=float, default=60.0, help="what a compiler of one model gets")
    parser.add_argument("--folder", type=Path, default=Path("build/trees"), help="where trained models are kept")
    parser.add_argument("--prepare", action="store_true", help="train and compile, and time nothing")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    parts = [p for p in chosen.models.split(";") if p]
    lines, costs, left_out = [], [], dict[str, dict[str, str]]()
    for model in MODELS:
        if not parts or any(p in model.name for p in parts):
            found, paid, left_out[model.name] = run(model, chosen)
            lines += found
            costs.append(paid)
    text = page(lines, costs, left_out)
    print(text)
    if chosen.write is not None and not chosen.prepare:
        old = chosen.write.read_text()
        start, end = old.index(START) + len(START), old.index(END)
        chosen.write.write_text(f"{old[:start]}\n{text}\n{old[end:]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
