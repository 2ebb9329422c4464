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
from neoc.bench import trees_proof
from neoc.compile import CompileOptions, frontends
from neoc.compile.frontends.contract import Request
from neoc.compile.frontends.trees import walk, xgboost_adapter
from neoc.compile.frontends.trees.ensemble import Ensemble
from neoc.compile.frontends.trees.model import Linear, TreeModel
from neoc.targets import get_target

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
    """The parsed file, walked one node after the other, gives the library's margins to the last bit.

    On thresholds and next to them; categories never seen, negative, with a fraction, beyond every integer.
    """
    model = xgboost_adapter.read(bytes(booster.save_raw(suffix)), "all")
    assert isinstance(model.core, Ensemble)
    rows = trees_proof.rows_around(model.core, x, max(600, len(x)), 1)
    want = _margins(booster, rows, types, output_margin=True).reshape(len(rows), -1)
    got = walk.evaluate(model.core, _cut(model, rows))
    assert got.dtype == want.dtype == np.float32
    np.testing.assert_array_equal(got.view(np.int32), want.view(np.int32))
    assert len(np.unique(want)) > 1 or model.core.is_single.all()


def _cut(model: TreeModel, rows: np.ndarray) -> np.ndarray:
    """Category columns as XGBoost casts them."""
    seen, columns = rows.copy(), list(model.category_columns)
    seen[:, columns] = np.floor(seen[:, columns])
    return seen


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


_TARGETS: dict[str, dict[str, Any]] = {
    "real": {},
    "binary": {"objective": "binary:logistic"},
    "class3": {"objective": "multi:softprob", "num_class": 3},
    "positive": {"objective": "count:poisson"},
    "two": {},
}


@st.composite
def _recipes(draw: st.DrawFn) -> tuple[trained_trees.Recipe, int]:
    """Every booster of trees, both ways of finding splits, from one column to 500, with categories and without."""
    target = draw(st.sampled_from(sorted(_TARGETS)))
    params = _TARGETS[target] | {"max_depth": draw(st.integers(1, 9))}
    method = draw(st.sampled_from(["hist", "exact"]))
    categories = draw(st.sampled_from([0, 0, 3, 40])) if method == "hist" else 0
    params["tree_method"] = method
    if method == "hist":
        params["max_bin"] = draw(st.sampled_from([2, 16, 256, 1024]))
        params["grow_policy"] = draw(st.sampled_from(["depthwise", "lossguide"]))
        if target == "two" and not categories and draw(st.booleans()):
            params["multi_strategy"] = "multi_output_tree"
    if categories:
        params["max_cat_to_onehot"] = draw(st.sampled_from([1, 100]))
    if draw(st.booleans()) and "multi_strategy" not in params:
        params |= {"booster": "dart", "rate_drop": 0.3, "normalize_type": draw(st.sampled_from(["tree", "forest"]))}
    features = draw(st.sampled_from([1, 2, 8, 60, 500]))
    rounds = draw(st.integers(2, 30 if features < 500 else 5))
    missing = draw(st.sampled_from([0.0, 0.05, 0.5]))
    recipe = trained_trees.Recipe(params, target, rounds, categories, features, 300, missing)
    return recipe, draw(st.integers(0, 1000))


RECIPES = _recipes()


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


@pytest.mark.needs("llvmlite")
@pytest.mark.parametrize("name", ["binary", "partitioned-categories", "dart-multi"])
def test_infinities_go_as_the_comparison_says(name: str, tmp_path: Path) -> None:
    """DMatrix refuses them, so the compiled trees are held against the walker: every bit is equal."""
    booster, x, _ = trained_trees.xgboost(trained_trees.XGBOOST[name])
    path = tmp_path / "m.ubj"
    booster.save_model(path)
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    model = xgboost_adapter.read(path.read_bytes(), None)
    assert isinstance(model.core, Ensemble)
    rng = np.random.default_rng(0)
    rows = x.copy()
    rows[rng.random(x.shape) < 0.2] = np.inf
    rows[rng.random(x.shape) < 0.2] = -np.inf
    with trees_proof.opened(program, get_target("host"), tmp_path / "built") as session:
        got = session.run({"features": rows}, ["margin"])["margin"]
    want = walk.evaluate(model.core, _cut(model, rows)).reshape(got.shape)
    np.testing.assert_array_equal(got.view(np.int32), want.view(np.int32))
    assert len(np.unique(want)) > 5


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
    booster, x, _ = trained_trees.xgboost(trained_trees.XGBOOST["stump"])
    path = tmp_path / "m.json"
    path.write_bytes(before + bytes(booster.save_raw("json")))
    program = frontends.load(path, {}, CompileOptions(use_cache=False))
    assert program.provenance.framework == "XGBoost"
    # xgboost itself refuses such a file by its name; asked for its predictions, it gets the content.
    with xgboost_adapter.open_source(Request(path), program.signature) as source:
        (want,) = source.run({"features": x}, ["margin"]).values()
    assert want.tobytes() == _margins(booster, x, None, output_margin=True).tobytes()
