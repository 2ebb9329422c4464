"""scikit-learn estimators through skops: predict, predict_proba, and pipelines with steps before the trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from neoc.bench import tree_recipes as trained_trees
from neoc.compile import CompileOptions, frontends
from neoc.compile.errors import InvalidModel, UnsupportedModel

pytestmark = pytest.mark.needs("sklearn", "skops", "pandas")
NAMES = (
    "tree",
    "forest",
    "forest-classes",
    "extra-trees",
    "boosting",
    "boosting-classes",
    "histogram",
    "histogram-classes",
    "histogram-categories",
    "isolation",
    "pipeline",
)
SAMPLE = ("forest-classes", "boosting", "histogram-categories", "histogram-classes", "isolation", "pipeline")


def _answers(estimator: Any, folder: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import skops.io

    path = folder / "m.skops"
    skops.io.dump(estimator, path)
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.source is not None
    session = onnxruntime.InferenceSession(str(program.source.graph))
    dtypes = {spec.name: spec.dtype for spec in program.signature.inputs}
    cast = {k: v if dtypes[k] == "string" else v.astype(dtypes[k]) for k, v in feeds.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, cast), strict=True))


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SAMPLE else pytest.mark.slow) for n in NAMES])
def test_the_graph_predicts_as_the_estimator(name: str, tmp_path: Path) -> None:
    estimator, x = trained_trees.fitted(name)
    got = _answers(estimator, tmp_path, {"features": x})
    want = estimator.predict(x)
    if name == "isolation":
        np.testing.assert_allclose(got["margin"], estimator.decision_function(x), rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(got["prediction"], want)
        assert set(want.tolist()) == {-1, 1}
        return
    if name.endswith("classes"):
        np.testing.assert_array_equal(got["label"], want)
        np.testing.assert_allclose(got["probability"], estimator.predict_proba(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got["prediction"].ravel(), want, rtol=1e-6, atol=1e-6)
    assert len(np.unique(want)) > 2


def test_a_pipeline_brings_its_steps(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = trained_trees.table(400, 6).astype(np.float64)
    y = trained_trees.targets(x, "binary")
    pipeline = make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), RandomForestClassifier(7, random_state=0)
    )
    pipeline.fit(x, y)
    got = _answers(pipeline, tmp_path, {"features": x})
    np.testing.assert_allclose(got["probability"], pipeline.predict_proba(x), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got["label"], pipeline.predict(x))


def test_a_pipeline_with_encoders_reads_texts(tmp_path: Path) -> None:
    """Numbers are one input and texts another, both in the order of the table; unseen texts as the encoders say."""
    estimator, x = trained_trees.text_pipeline()
    x = x.copy()
    x.loc[::7, "colour"] = "mauve"
    x.loc[::11, "grade"] = "unheard of"
    feeds = {
        "features": x[["size", "weight"]].to_numpy(np.float64),
        "categories": x[["colour", "grade"]].to_numpy(object),
    }
    got = _answers(estimator, tmp_path, feeds)
    want = estimator.predict(x)
    np.testing.assert_allclose(got["prediction"], want, rtol=1e-6, atol=1e-6)
    assert len(np.unique(want)) > 20


@pytest.mark.slow
def test_a_pipeline_with_texts_is_compiled_and_held_against_the_library(tmp_path: Path) -> None:
    from neoc.compile import compile_model
    from neoc.targets import open_artifact

    estimator, x = trained_trees.text_pipeline()
    artifact = compile_model(estimator, "host", CompileOptions(race_seconds=0.2), output=tmp_path / "m.neoc")
    assert artifact.manifest["verification"]["reference"].startswith("scikit-learn")
    with open_artifact(artifact.path) as session:
        assert [spec.name for spec in session.inputs] == ["features", "categories"]
        feeds = {
            "features": x[["size", "weight"]].to_numpy(np.float64),
            "categories": x[["colour", "grade"]].to_numpy(object),
        }
        got = session.run(feeds, ["prediction"])["prediction"]
    np.testing.assert_allclose(got, estimator.predict(x), rtol=1e-6, atol=1e-6)


def test_a_class_that_neoc_does_not_know_is_refused_by_name(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    x = trained_trees.table(50, 3, missing=0)
    with pytest.raises(UnsupportedModel, match="LogisticRegression"):
        _answers(LogisticRegression().fit(x, x[:, 0] > 0), tmp_path, {"features": x})


class Stranger:
    """No class of scikit-learn."""


def test_types_from_outside_scikit_learn_are_not_loaded(tmp_path: Path) -> None:
    estimator, x = trained_trees.fitted("tree")
    estimator.extra = Stranger()
    with pytest.raises(InvalidModel, match=r"does not load.*Stranger"):
        _answers(estimator, tmp_path, {"features": x})
