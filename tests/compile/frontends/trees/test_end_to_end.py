"""Trained models, as files and as live objects, to artifacts that agree with their own libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.bench import tree_recipes as trained_trees
from neoc.compile import CompileOptions, compile_model
from neoc.targets import open_artifact

pytestmark = pytest.mark.needs("xgboost", "lightgbm", "sklearn", "skops")


def _xgboost() -> tuple[Any, np.ndarray, str]:
    booster, x, _ = trained_trees.xgboost(trained_trees.XGBOOST["softprob"])
    return booster, x, "XGBoost"


def _lightgbm() -> tuple[Any, np.ndarray, str]:
    booster, x = trained_trees.lightgbm(trained_trees.LIGHTGBM["binary"])
    return booster, x, "LightGBM"


def _forest() -> tuple[Any, np.ndarray, str]:
    estimator, x = trained_trees.fitted("forest")
    return estimator, x.astype(np.float32), "scikit-learn"


def _histogram() -> tuple[Any, np.ndarray, str]:
    return *trained_trees.fitted("histogram-categories"), "scikit-learn"


@pytest.mark.parametrize("make", [_xgboost, _lightgbm, _forest, _histogram])
def test_a_live_model_is_compiled_and_held_against_its_library(make: Any, tmp_path: Path) -> None:
    model, x, framework = make()
    artifact = compile_model(model, "host", CompileOptions(race_seconds=0.3), output=tmp_path / "m.neoc")
    proof = artifact.manifest["verification"]
    assert proof["reference"].startswith(framework)
    assert proof["independent"] is True
    assert artifact.level == "executed"
    if framework == "XGBoost":
        import xgboost

        want = model.predict(xgboost.DMatrix(x))
    else:
        want = model.predict(x)
    with open_artifact(artifact.path, threads=1) as session:
        assert session.inputs[0].dtype == x.dtype.name
        got = session.run({"features": x}, ["prediction"])["prediction"]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
    assert len(np.unique(want)) > 2


def test_voice2gender(zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Written by XGBoost 3.4, which this Python's XGBoost does not need to be."""
    options = CompileOptions(data=zoo.data("voice2gender"), race_seconds=0.3)
    artifact = compile_model(zoo("voice2gender"), "host", options, output=tmp_path / "m.neoc")
    assert artifact.manifest["provenance"]["version"] == "3.4.1"
    outputs = {o["name"]: o for o in artifact.manifest["verification"]["outputs"]}
    assert outputs["margin"]["max_abs_error"] <= 2e-6
    assert not outputs["label"]["vacuous"]
    with open_artifact(artifact.path, threads=1) as session:
        labels = session.run(zoo.samples("voice2gender")[0], ["label"])["label"]
    assert set(labels.tolist()) == {0, 1}
