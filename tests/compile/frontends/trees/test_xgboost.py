"""XGBoost files: margins to the last bit, predictions as Booster.predict has them, over every kind of booster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neoc.bench import tree_recipes as trained_trees
from neoc.compile import CompileOptions, frontends
from neoc.compile.frontends.trees import walk, xgboost_adapter
from neoc.compile.frontends.trees.ensemble import Ensemble
from neoc.compile.frontends.trees.model import Linear

pytestmark = pytest.mark.needs("xgboost")
SAMPLE = ("regression", "binary", "softprob", "dart", "vector-leaf", "partitioned-categories", "quantile", "forest")
KINDS = [
    pytest.param(name, id=name, marks=() if name in SAMPLE else pytest.mark.slow) for name in trained_trees.XGBOOST
]


def _margins(booster: Any, x: np.ndarray, types: list[str] | None, **options: Any) -> np.ndarray:
    import xgboost

    matrix = xgboost.DMatrix(x, feature_types=types, enable_categorical=True, nthread=1)
    found = booster.predict(matrix, **options)
    return np.asarray(found)


def _same_bits(booster: Any, x: np.ndarray, types: list[str] | None, suffix: str = "ubj") -> None:
    """The parsed file, walked one node after the other, gives the library's margins to the last bit."""
    model = xgboost_adapter.read(bytes(booster.save_raw(suffix)), "all")
    assert isinstance(model.core, Ensemble)
    rows = trained_trees.odd(x, model.core.threshold)
    if types is not None:  # categories are whole; some were never seen
        rows[:, 0] = np.where(np.isnan(x[:, 0]), np.nan, np.abs(x[:, 0]) + (np.arange(len(x)) % 5 == 0) * 3)
    want = _margins(booster, rows, types, output_margin=True).reshape(len(rows), -1)
    got = walk.evaluate(model.core, rows)
    assert got.dtype == want.dtype == np.float32
    np.testing.assert_array_equal(got.view(np.int32), want.view(np.int32))
    assert len(np.unique(want)) > 1


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_margins_to_the_last_bit(name: str, suffix: str) -> None:
    recipe = trained_trees.XGBOOST[name]
    booster, x, types = trained_trees.xgboost(recipe)
    if recipe.params.get("booster") == "gblinear":
        model = xgboost_adapter.read(bytes(booster.save_raw(suffix)), "all")
        assert isinstance(model.core, Linear)
        want = _margins(booster, x, types, output_margin=True)
        np.testing.assert_allclose(x @ model.core.weights[:, 0] + model.core.bias[0], want, rtol=1e-5, atol=1e-6)
        return
    _same_bits(booster, x, types, suffix)


@pytest.mark.parametrize("name", KINDS)
def test_the_graph_predicts_as_the_booster(name: str, tmp_path: Path) -> None:
    booster, x, types = trained_trees.xgboost(trained_trees.XGBOOST[name])
    path = tmp_path / "m.ubj"
    booster.save_model(path)
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.provenance.framework == "XGBoost"
    assert program.source is not None
    session = onnxruntime.InferenceSession(str(program.source.graph))
    (got,) = session.run(["prediction"], {"features": x})
    want = _margins(booster, x, types)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6)
    assert len(np.unique(want)) > 1


RECIPES = st.builds(
    lambda target, rounds, features, depth, method, bins, policy, seed: (
        trained_trees.Recipe(
            {
                "max_depth": depth,
                "tree_method": method,
                **({"max_bin": bins} if method == "hist" else {}),
                **({"grow_policy": policy} if method == "hist" else {}),
                **{
                    "real": {},
                    "binary": {"objective": "binary:logistic"},
                    "class3": {"objective": "multi:softprob", "num_class": 3},
                    "positive": {"objective": "count:poisson"},
                }[target],
            },
            target,
            rounds,
            0,
            features,
            300,
        ),
        seed,
    ),
    st.sampled_from(["real", "binary", "class3", "positive"]),
    st.integers(2, 30),
    st.integers(1, 60),
    st.integers(1, 9),
    st.sampled_from(["hist", "exact"]),
    st.sampled_from([2, 16, 256, 1024]),
    st.sampled_from(["depthwise", "lossguide"]),
    st.integers(0, 1000),
)


def _drawn(recipe: tuple[trained_trees.Recipe, int]) -> None:
    booster, x, types = trained_trees.xgboost(*recipe)
    _same_bits(booster, x, types)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECIPES)
def test_drawn_models_to_the_last_bit(recipe: tuple[trained_trees.Recipe, int]) -> None:
    _drawn(recipe)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(RECIPES)
def test_forty_drawn_models_to_the_last_bit(recipe: tuple[trained_trees.Recipe, int]) -> None:
    _drawn(recipe)


def test_infinities_go_as_the_comparison_says(tmp_path: Path) -> None:
    """DMatrix refuses them, so the graph is held against the walker."""
    booster, x, _ = trained_trees.xgboost(trained_trees.XGBOOST["binary"])
    path = tmp_path / "m.ubj"
    booster.save_model(path)
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.source is not None
    model = xgboost_adapter.read(path.read_bytes(), None)
    assert isinstance(model.core, Ensemble)
    rng = np.random.default_rng(0)
    rows = x.copy()
    rows[rng.random(x.shape) < 0.2] = np.inf
    rows[rng.random(x.shape) < 0.2] = -np.inf
    session = onnxruntime.InferenceSession(str(program.source.graph))
    (got,) = session.run(["margin"], {"features": rows})
    np.testing.assert_allclose(got, walk.evaluate(model.core, rows).ravel(), rtol=1e-6, atol=1e-6)


def test_best_iteration_is_what_counts_unless_all_is_asked_for(tmp_path: Path) -> None:
    import xgboost

    x = trained_trees.table(300, 5)
    y = trained_trees.targets(x, "real")
    noise = np.random.default_rng(0).normal(size=300)
    early = xgboost.train(
        {"nthread": 1, "eta": 0.7},
        xgboost.DMatrix(x[:200], y[:200]),
        60,
        evals=[(xgboost.DMatrix(x[200:], y[200:] + 2 * noise[200:]), "v")],
        early_stopping_rounds=8,
        verbose_eval=False,
    )
    assert early.best_iteration + 1 < early.num_boosted_rounds()
    path = tmp_path / "early.json"
    early.save_model(path)
    matrix = xgboost.DMatrix(x)
    for word, end in (("best", early.best_iteration + 1), ("all", 0), ("3", 3)):
        options = CompileOptions(use_cache=False, pairs=(("iterations", word),))
        program = frontends.load(path, {}, options)
        assert program.source is not None
        (got,) = onnxruntime.InferenceSession(str(program.source.graph)).run(["prediction"], {"features": x})
        np.testing.assert_allclose(got, early.predict(matrix, iteration_range=(0, end)), rtol=1e-6, atol=1e-6)


def test_names_of_features_are_kept(tmp_path: Path) -> None:
    import xgboost

    x = trained_trees.table(200, 3)
    names = ["age", "mean income", "f2"]
    booster = xgboost.train(
        {"nthread": 1}, xgboost.DMatrix(x, trained_trees.targets(x, "real"), feature_names=names), 3
    )
    model = xgboost_adapter.read(bytes(booster.save_raw("json")), None)
    assert list(model.feature_names) == names


def test_version_2_wrote_base_score_as_one_number() -> None:
    booster, x, _ = trained_trees.xgboost(trained_trees.XGBOOST["binary-base"])
    raw = bytes(booster.save_raw("json"))
    written = raw[raw.index(b'"base_score":"') + len(b'"base_score":"') :].split(b'"')[0]
    assert written.startswith(b"[")
    old = raw.replace(b'"' + written + b'"', b'"' + written.strip(b"[]") + b'"')
    one, other = xgboost_adapter.read(raw, None), xgboost_adapter.read(old, None)
    assert isinstance(one.core, Ensemble)
    assert isinstance(other.core, Ensemble)
    np.testing.assert_array_equal(walk.evaluate(one.core, x), walk.evaluate(other.core, x))


@pytest.mark.parametrize("before", [b"\n  ", b"\xef\xbb\xbf"])
def test_json_behind_white_space_or_a_byte_order_mark(before: bytes, tmp_path: Path) -> None:
    booster, _, _ = trained_trees.xgboost(trained_trees.XGBOOST["stump"])
    path = tmp_path / "m.json"
    path.write_bytes(before + bytes(booster.save_raw("json")))
    assert frontends.load(path, {}, CompileOptions(use_cache=False)).provenance.framework == "XGBoost"
