"""LightGBM text files: sums in float64 as Booster.predict has them, for every flag of a decision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from neoc.bench import tree_recipes as trained_trees
from neoc.compile import CompileOptions, frontends
from neoc.compile.errors import UnsupportedModel

pytestmark = pytest.mark.needs("lightgbm")
SAMPLE = ("regression", "binary", "multiclass", "rf", "categorical", "zero-as-missing")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, id=n, marks=() if n in SAMPLE else pytest.mark.slow) for n in trained_trees.LIGHTGBM],
)
def test_the_graph_predicts_as_the_booster(name: str, tmp_path: Path) -> None:
    booster, x = trained_trees.lightgbm(trained_trees.LIGHTGBM[name])
    path = tmp_path / "m.txt"
    booster.save_model(str(path))
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.signature.inputs[0].dtype == "float64"
    assert program.source is not None
    rows = x.copy()
    if trained_trees.LIGHTGBM[name].categories:
        rows[::7, 0] = 77  # never seen
        rows[::11, 0] = -3
    else:
        rows = trained_trees.odd(x.astype(np.float32), x.ravel()[:50].astype(np.float32)).astype(np.float64)
        rows[::13, 0] = np.inf
    names = ["prediction", "margin"]
    session = onnxruntime.InferenceSession(str(program.source.graph))
    got = dict(zip(names, session.run(names, {"features": rows}), strict=True))
    want = np.asarray(booster.predict(rows, num_threads=1))
    assert got["prediction"].shape == want.shape
    np.testing.assert_allclose(got["prediction"], want, rtol=1e-6, atol=1e-6)
    raw = np.asarray(booster.predict(rows, raw_score=True, num_threads=1))
    np.testing.assert_allclose(got["margin"], raw, rtol=1e-6, atol=1e-6)
    # A random forest averages: its raw scores are the sums, and its predictions their share of each tree.
    assert (name == "rf") == (not np.allclose(raw, want) and np.allclose(raw / 12, want))
    assert len(np.unique(want)) > 3


def test_linear_trees_are_refused_by_name(tmp_path: Path) -> None:
    booster, _ = trained_trees.lightgbm(trained_trees.Recipe({"linear_tree": True}))
    path = tmp_path / "m.txt"
    booster.save_model(str(path))
    with pytest.raises(UnsupportedModel, match="linear"):
        frontends.load(path, {}, CompileOptions(use_cache=False))
