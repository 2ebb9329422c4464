"""Tree models against XGBoost and its peers, interleaved, rows rotating: the table of docs/tree-compiler.md.

    python -m neoc.bench.trees [--models NAME,...] [--seconds S] [--write docs/tree-compiler.md]

Margins are compared to the bit before anything is timed. XGBoost is called by `inplace_predict`: `predict` on a DMatrix
that it has seen returns what it cached. A peer that is not installed, or lacks a model, is left out and named.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import frontends
from neoc.compile.machine import fingerprint
from neoc.compile.measure import interleave, ratio, time_calls
from neoc.compile.options import CompileOptions
from neoc.kernels.trees.compiler import compile_ensemble
from neoc.kernels.trees.isa import isa_of
from neoc.targets.engines.trees_program import take_apart
from neoc.targets.host import detect

START, END = "<!-- table -->", "<!-- /table -->"
ROWS = 10_000


@dataclass(frozen=True)
class Model:
    name: str
    rounds: int
    parameters: dict[str, Any]
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    batch: float
    """how many times the best peer is aimed at, on 10,000 rows"""
    single: float | None = None


def synthetic(features: int = 30, rows: int = 20_000, missing: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """A sum of products, a sine and steps, with noise: a class."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + x[:, 3] - (x[:, 4] > 0.3) + 0.5 * x[:, 5] * x[:, 6] * x[:, 7]
    x[rng.random(x.shape) < missing] = np.nan
    return x, (score + rng.normal(size=rows) > 0).astype(int)


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y


_BINARY = {"objective": "binary:logistic", "eta": 0.05, "tree_method": "hist"}
_LEAVES = _BINARY | {"grow_policy": "lossguide", "max_leaves": 64, "max_depth": 0}
_CLASSES = {"objective": "multi:softprob", "num_class": 10, "eta": 0.05, "tree_method": "hist", "max_depth": 6}
MODELS = (
    Model("1,000 trees, depth 6", 1000, _BINARY | {"max_depth": 6}, synthetic, 25, 10),
    Model("500 trees, depth 8", 500, _BINARY | {"max_depth": 8}, synthetic, 10, 10),
    Model("digits, 1,000 trees, 10 classes", 100, _CLASSES, digits, 20),
    Model("max_bin 1024", 500, _BINARY | {"max_depth": 6, "max_bin": 1024}, synthetic, 5),
    Model("exact", 200, _BINARY | {"max_depth": 6, "tree_method": "exact"}, partial(synthetic, 10, 10_000), 5),
    Model("500 features", 300, _BINARY | {"max_depth": 6}, partial(synthetic, 500, 4_000), 5),
    Model("unbalanced, 64 leaves", 300, _LEAVES, synthetic, 5),
)


def _booster(model: Model, x: np.ndarray, y: np.ndarray, folder: Path) -> Any:
    import xgboost

    path = folder / f"{model.name.replace(' ', '-').replace(',', '')}.ubj"
    if not path.exists():
        made = xgboost.train(model.parameters | {"nthread": 2}, xgboost.DMatrix(x, y), model.rounds)
        made.save_model(path)
    booster = xgboost.Booster()
    booster.load_model(path)
    booster.set_param({"nthread": 1})
    return booster, path


def _peers(booster: Any, graph: Path, path: Path) -> dict[str, Callable[[np.ndarray], Any]]:
    """name -> margins or predictions of rows, on one thread. graph: the ONNX file that neoc made of the model."""
    import onnxruntime

    found: dict[str, Callable[[np.ndarray], Any]] = {
        "xgboost": lambda x: booster.inplace_predict(x, predict_type="margin"),
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    found["onnxruntime"] = lambda x: session.run(["margin"], {"features": x})
    try:
        import treelite

        forest = treelite.frontend.load_xgboost_model(str(path))
        found["treelite"] = lambda x: treelite.gtil.predict(forest, x, nthread=1, pred_margin=True)
    except Exception as error:
        print(f"treelite is left out: {str(error).splitlines()[0]}", file=sys.stderr)
    return found


def _rotating(call: Callable[[np.ndarray], Any], parts: list[np.ndarray]) -> Callable[[int], np.ndarray]:
    turn = itertools.cycle(parts)
    return partial(time_calls, lambda: call(next(turn)))


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("xgboost", "onnxruntime", "treelite"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def run(model: Model, seconds: float, folder: Path) -> list[str]:
    """The rows of the table for one model."""
    x, y = model.data()
    booster, path = _booster(model, x, y, folder)
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.source is not None
    assert program.source.graph is not None
    rows = np.ascontiguousarray(np.resize(x, (ROWS, x.shape[1])))
    ours = compile_ensemble(take_apart(program).ensemble, isa_of(detect().arch, detect().features))
    want = booster.inplace_predict(rows, predict_type="margin").reshape(ROWS, -1)
    if ours(rows).tobytes() != want.tobytes():
        raise SystemExit(f"{model.name}: margins differ from XGBoost's")
    calls: dict[str, Callable[[np.ndarray], Any]] = {"neoc": ours, **_peers(booster, program.source.graph, path)}
    lines = []
    cases: list[tuple[str, list[np.ndarray], float | None]] = [("10,000 rows", [rows], model.batch)]
    cases.append(("1 row", [np.ascontiguousarray(rows[i : i + 1]) for i in range(257)], model.single))
    for what, parts, aim in cases:
        # Treelite's interpreter takes some twenty times as long for a batch: it would leave no rounds to the others.
        entrants = {n: _rotating(c, parts) for n, c in calls.items() if n != "treelite" or len(parts) > 1}
        samples = interleave(entrants, budget_s=seconds)
        others = {n: ratio(samples[n], samples["neoc"]) for n in entrants if n != "neoc" and samples[n].blocks}
        best = min(others, key=lambda n: others[n].median)
        scale, unit = (1e6, "ms") if len(parts) == 1 else (1e3, "us")
        middle = samples["neoc"].median_ns / scale
        listed = ", ".join(f"{n} {samples[n].median_ns / scale:.4g}" for n in others)
        reached = "-" if aim is None else f"{aim:g}x: {'yes' if others[best].low >= aim else 'no'}"
        gain = f"**{others[best].median:.1f}x** ({others[best].low:.1f} to {others[best].high:.1f}) {best}"
        lines.append(f"| {model.name} | {what} | {middle:.4g} {unit} | {listed} | {gain} | {reached} |")
        print(lines[-1], flush=True)
    return lines


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m neoc.bench.trees")
    parser.add_argument("--models", default="", help="parts of names, separated by ';'")
    parser.add_argument("--seconds", type=float, default=20.0, help="budget of one row of the table")
    parser.add_argument("--folder", type=Path, default=Path("build/trees"), help="where trained models are kept")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    parts = [p for p in chosen.models.split(";") if p]
    models = [m for m in MODELS if not parts or any(p in m.name for p in parts)]
    lines = [line for m in models for line in run(m, chosen.seconds, chosen.folder)]
    cpu = fingerprint()["machine"].get("cpu", "?")
    head = f"{cpu}, {_versions()}; margins equal XGBoost's to the bit in every row."
    text = "\n".join(
        [
            head,
            "",
            "| model | rows | neoc | others | best peer / neoc | aimed at |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    )
    if chosen.write is not None:
        page = chosen.write.read_text()
        start, end = page.index(START) + len(START), page.index(END)
        chosen.write.write_text(f"{page[:start]}\n{text}\n{page[end:]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
