"""The engine of tree ensembles from a model file to an opened artifact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tree_models import ALL_MODES, drawn, from_xgboost, rows_for, same_bits, to_onnx

from neoc.compile import compile_model
from neoc.compile.artifact import Artifact
from neoc.compile.errors import NeocError
from neoc.compile.frontends import load
from neoc.compile.options import CompileOptions
from neoc.kernels.trees.ensemble import LEQ, evaluate
from neoc.targets import get_target, open_artifact
from neoc.targets.engines.trees import Trees

pytestmark = pytest.mark.needs("llvmlite")


def test_xgboost_end_to_end(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    y = np.nan_to_num(x[:, 0] * x[:, 1]) > 0
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 5, "nthread": 1}, xgboost.DMatrix(x, y), 40)
    to_onnx(from_xgboost(booster), tmp_path / "m.onnx", "logistic")
    options = CompileOptions(engines=("trees",))
    compile_model(tmp_path / "m.onnx", "host", options, output=tmp_path / "m.neoc")
    rows = np.ascontiguousarray(np.tile(x, (6, 1)))
    with open_artifact(tmp_path / "m.neoc") as session:
        got = session.run({"features": rows})
        assert list(session.run({"features": rows}, ["margin"])) == ["margin"]
    assert same_bits(got["margin"], booster.inplace_predict(rows, predict_type="margin"))
    np.testing.assert_allclose(got["prediction"], booster.inplace_predict(rows), rtol=1e-6)
    assert np.ptp(got["prediction"]) > 0.5
    variant = Artifact.open(tmp_path / "m.neoc").variant(None)
    assert variant["steps"][0]["engine"] == "trees"
    assert variant["level"] == "executed"
