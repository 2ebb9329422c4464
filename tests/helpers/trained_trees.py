"""Trained tree models for tests: rows with everything odd in them, and one small recipe a kind of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray


def table(rows: int, features: int, seed: int = 0, missing: float = 0.05, categories: int = 0) -> Array:
    """float32 [rows, features]: values on a grid (so that rows tie with thresholds), NaN, zeros of both signs.

    The first column holds whole numbers below `categories`, where that is not 0.
    """
    rng = np.random.default_rng(seed)
    x = (np.rint(rng.normal(size=(rows, features)) * 16) / 16).astype(np.float32)
    x[rng.random(x.shape) < 0.02] = -0.0
    if categories:
        x[:, 0] = rng.integers(0, categories, rows)
    x[rng.random(x.shape) < missing] = np.nan
    return x


def odd(x: Array, thresholds: Array, seed: int = 1) -> Array:
    """Rows of `x` with values exactly on thresholds, next to them, denormal and extreme."""
    rng = np.random.default_rng(seed)
    y = x.copy()
    numeric = np.asarray(thresholds, np.float32)
    numeric = numeric[np.isfinite(numeric)]
    if len(numeric):
        on = rng.choice(numeric, y.shape).astype(np.float32)
        step = rng.integers(-1, 2, y.shape)
        on = np.where(step == 0, on, np.nextafter(on, np.where(step > 0, np.inf, -np.inf).astype(np.float32)))
        y = np.where(rng.random(y.shape) < 0.4, on.astype(np.float32), y)
    for value in (1e-45, -1e-45, 1e-38, 3e38, -3e38, -0.0):
        y[rng.random(y.shape) < 0.01] = value
    return y


def targets(x: Array, kind: str, seed: int = 2) -> Array:
    """Labels that depend on the columns: 'real', 'positive', 'binary', 'class3', 'two' (two targets)."""
    rng = np.random.default_rng(seed)
    clean = np.nan_to_num(x)
    score = clean[:, 0] * 0.3 + np.sin(clean[:, -1] * 3) + clean.mean(1) + 0.1 * rng.normal(size=len(x))
    if kind == "binary":
        return (score > np.median(score)).astype(np.int64)
    if kind == "class3":
        return np.digitize(score, np.quantile(score, [0.3, 0.7])).astype(np.int64)
    if kind == "positive":
        return np.exp(score / 4)
    if kind == "two":
        return np.stack([score, score**2 - clean[:, 0]], axis=1)
    return score


@dataclass(frozen=True)
class Recipe:
    params: dict[str, Any] = field(default_factory=dict)
    target: str = "real"
    rounds: int = 12
    categories: int = 0
    features: int = 8
    rows: int = 400


XGBOOST: dict[str, Recipe] = {
    "regression": Recipe(),
    "base-score": Recipe({"base_score": 0.3}),
    "exact": Recipe({"tree_method": "exact"}),
    "max-bin-1024": Recipe({"max_bin": 1024}, rows=3000),
    "unbalanced": Recipe({"grow_policy": "lossguide", "max_leaves": 60, "max_depth": 0}, rows=1500),
    "wide": Recipe(features=500),
    "binary": Recipe({"objective": "binary:logistic"}, "binary"),
    "binary-base": Recipe({"objective": "binary:logistic", "base_score": 0.9}, "binary"),
    "logitraw": Recipe({"objective": "binary:logitraw"}, "binary"),
    "hinge": Recipe({"objective": "binary:hinge"}, "binary"),
    "softprob": Recipe({"objective": "multi:softprob", "num_class": 3}, "class3"),
    "softmax": Recipe({"objective": "multi:softmax", "num_class": 3}, "class3"),
    "poisson": Recipe({"objective": "count:poisson"}, "positive"),
    "gamma": Recipe({"objective": "reg:gamma"}, "positive"),
    "tweedie": Recipe({"objective": "reg:tweedie"}, "positive"),
    "quantile": Recipe({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}),
    "absolute": Recipe({"objective": "reg:absoluteerror"}),
    "dart": Recipe({"booster": "dart", "rate_drop": 0.3}),
    "dart-multi": Recipe(
        {"booster": "dart", "rate_drop": 0.3, "objective": "multi:softprob", "num_class": 3}, "class3"
    ),
    "forest": Recipe({"num_parallel_tree": 5, "subsample": 0.6, "eta": 1.0}, rounds=1),
    "two-targets": Recipe({}, "two"),
    "vector-leaf": Recipe({"multi_strategy": "multi_output_tree"}, "two"),
    "one-hot-categories": Recipe({"max_cat_to_onehot": 100}, categories=7),
    "partitioned-categories": Recipe({"max_cat_to_onehot": 1}, categories=40),
    "linear": Recipe({"booster": "gblinear"}),
    "stump": Recipe({"max_depth": 1}, rounds=3),
    "deep": Recipe({"max_depth": 12, "min_child_weight": 0}, rows=1500, rounds=4),
}


def xgboost(recipe: Recipe, seed: int = 0) -> tuple[Any, Array, list[str] | None]:
    """(Booster, rows it was trained on, feature types)"""
    import xgboost as library

    missing = 0.0 if recipe.params.get("booster") == "gblinear" else 0.05
    x = table(recipe.rows, recipe.features, seed, missing, recipe.categories)
    types = ["c"] + ["q"] * (recipe.features - 1) if recipe.categories else None
    y = targets(x, recipe.target)
    matrix = library.DMatrix(x, y, feature_types=types, enable_categorical=True, nthread=1)
    params = {"nthread": 1, "seed": seed, "max_depth": 4, "verbosity": 0, **recipe.params}
    return library.train(params, matrix, recipe.rounds), x, types


LIGHTGBM: dict[str, Recipe] = {
    "regression": Recipe(),
    "binary": Recipe({"objective": "binary"}, "binary"),
    "multiclass": Recipe({"objective": "multiclass", "num_class": 3}, "class3"),
    "one-vs-all": Recipe({"objective": "multiclassova", "num_class": 3}, "class3"),
    "dart": Recipe({"boosting": "dart"}),
    "rf": Recipe({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}),
    "poisson": Recipe({"objective": "poisson"}, "positive"),
    "quantile": Recipe({"objective": "quantile", "alpha": 0.8}),
    "categorical": Recipe({"min_data_per_group": 5, "cat_smooth": 1}, categories=30),
    "zero-as-missing": Recipe({"zero_as_missing": True}),
    "no-missing": Recipe({"use_missing": False}),
    "leafy": Recipe({"num_leaves": 120, "min_data_in_leaf": 2}, rows=2000),
}


def lightgbm(recipe: Recipe, seed: int = 0) -> tuple[Any, Array]:
    """(Booster, rows it was trained on as float64)"""
    import lightgbm as library

    x = table(recipe.rows, recipe.features, seed, 0.05, recipe.categories).astype(np.float64)
    columns: list[int] | str = [0] if recipe.categories else "auto"
    data = library.Dataset(x, targets(x, recipe.target), categorical_feature=columns)
    params = {"num_threads": 1, "seed": seed, "verbosity": -1, "num_leaves": 15, **recipe.params}
    return library.train(params, data, recipe.rounds), x


def estimators() -> dict[str, Callable[[], Any]]:
    """scikit-learn estimators, not fitted; and what each is fitted on: see `fitted`."""
    from sklearn import ensemble, tree

    return {
        "tree": lambda: tree.DecisionTreeRegressor(max_depth=6, random_state=0),
        "forest": lambda: ensemble.RandomForestRegressor(9, max_depth=5, random_state=0),
        "forest-classes": lambda: ensemble.RandomForestClassifier(9, max_depth=5, random_state=0),
        "extra-trees": lambda: ensemble.ExtraTreesRegressor(9, max_depth=5, random_state=0),
        "boosting": lambda: ensemble.GradientBoostingRegressor(n_estimators=9, random_state=0),
        "boosting-classes": lambda: ensemble.GradientBoostingClassifier(n_estimators=9, random_state=0),
        "histogram": lambda: ensemble.HistGradientBoostingRegressor(max_iter=9, random_state=0),
        "histogram-classes": lambda: ensemble.HistGradientBoostingClassifier(max_iter=9, random_state=0),
        "histogram-categories": lambda: ensemble.HistGradientBoostingRegressor(
            max_iter=9, categorical_features=[0], random_state=0
        ),
    }


def fitted(name: str) -> tuple[Any, Array]:
    """(estimator, rows it was fitted on as float64). Missing values where the class takes them."""
    missing = 0.0 if name.startswith(("boosting", "extra")) else 0.05
    x = table(400, 6, 0, missing, 12 if name.endswith("categories") else 0).astype(np.float64)
    y = targets(x, "class3" if name.endswith("classes") else "real")
    return estimators()[name]().fit(x, y), x
