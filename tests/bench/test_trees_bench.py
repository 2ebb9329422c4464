"""The benchmark of tree models: its rows, its peers, and that a wrong answer is no row."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from neoc.bench import trees, trees_models, trees_peers
from neoc.bench.trees_models import Model
from neoc.compile.measure import Samples

SMALL = Model("small", 5, {"objective": "binary:logistic", "max_depth": 3}, partial(trees_models.bundled, "wine"))
LIGHT = Model("light", 5, {"objective": "binary"}, partial(trees_models.synthetic, 9, 500), library="lightgbm")


def _samples(name: str, ns: list[float], rounds: int = 12) -> Samples:
    return Samples(name, {r: np.array(ns, np.int64) for r in range(rounds)})


def test_the_table_names_the_best_peer_and_the_lower_end_decides() -> None:
    samples = {
        "neoc": _samples("neoc", [1000, 1010, 990]),
        "slow": _samples("slow", [90_000, 91_000]),
        "quick": _samples("quick", [12_200, 12_200]),
        "control": _samples("control", [100, 100, 100]),
    }
    one = trees.Case(1, 1, [], 10)
    line = trees.line("m", one, samples)
    assert "**12.2x** (12.2 to 12.2) quick" in line
    assert line.endswith("| 10x: yes |")
    assert "slow 90.5" in line
    assert "control" not in line
    assert "10x: no" in trees.line("m", one, samples | {"quick": _samples("quick", [9000])})
    assert trees.tail(samples["neoc"], samples["control"]) == pytest.approx(910 / 900, rel=0.01)


@pytest.mark.needs("xgboost", "onnxruntime", "llvmlite", "sklearn")
def test_a_model_gives_its_rows_and_its_costs(tmp_path: Path) -> None:
    chosen = argparse.Namespace(folder=tmp_path, peer_seconds=0.0, prepare=False, seconds=0.2)
    small = Model(SMALL.name, 5, {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}, SMALL.data)
    lines, paid, left_out = trees.run(small, chosen)
    assert [line.split(" | ")[1:3] for line in lines] == [["10,000", "1"], ["10,000", "2"], ["1", "1"]]
    assert all("xgboost" in line and "onnxruntime" in line for line in lines)
    assert "p99/p50" in lines[2]
    assert paid.startswith("| small | 1")
    assert "x |" in paid
    text = trees.page(lines, [paid], {"small": left_out})
    assert all(f"* {name}: " in text for name in left_out)


@pytest.mark.needs("lightgbm", "onnxruntime", "llvmlite")
def test_lightgbm_models_take_part(tmp_path: Path) -> None:
    path = LIGHT.trained(tmp_path)
    assert LIGHT.trained(tmp_path) == path
    found = trees_peers.peers(trees_peers.Subject("lightgbm", path, path, 0.0, tmp_path), 1)
    assert "lightgbm" in found.calls
    assert "xgboost" not in found.calls
    assert "onnxruntime" in found.left_out  # the file is no graph
    assert found.calls["lightgbm"](np.zeros((2, 9))).shape == (2,)


def test_a_compiler_that_takes_too_long_is_ended_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees_peers.sys, "executable", "/bin/false")
    subject = trees_peers.Subject("xgboost", tmp_path / "m.ubj", tmp_path, 30.0, tmp_path)
    with pytest.raises(RuntimeError, match="its compiler failed"):
        trees_peers._compiled("tl2cgen", subject, ".so", {})
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nsleep 600\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(trees_peers.sys, "executable", str(sleeper))
    quick = trees_peers.Subject("xgboost", tmp_path / "m.ubj", tmp_path, 0.3, tmp_path)
    with pytest.raises(RuntimeError, match=r"did not compile the model in 0\.3 s"):
        trees_peers._compiled("tl2cgen", quick, ".so", {})
    monkeypatch.setattr(trees_peers.subprocess, "Popen", None)
    with pytest.raises(RuntimeError, match=r"did not compile the model in 0\.3 s"):
        trees_peers._compiled("tl2cgen", quick, ".so", {})


def test_someone_who_computes_something_else_ends_the_run() -> None:
    x = np.ones((3, 2), np.float32)
    case = trees.Case(3, 1, [x], None)
    right = {"xgboost": lambda rows: rows[:, 0], "neoc": lambda rows: rows[:, :1]}
    trees._check(SMALL, case, right)
    with pytest.raises(SystemExit, match="differ from XGBoost"):
        trees._check(SMALL, case, right | {"neoc": lambda rows: np.nextafter(rows[:, :1], np.float32(2))})
    with pytest.raises(SystemExit, match="treelite computes something else"):
        trees._check(SMALL, case, right | {"treelite": lambda rows: rows[:, 0] * 2})
