"""Tree models trained here: one small recipe a kind of model, and rows with everything odd in them.

The proof (`neoc.bench.trees_proof`) and the tests of the front ends hold neoc's margins against the libraries on these.
"""

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
        y = np.where(rng.random(y.shape) < 0.4, beside(on, rng), y)
    for value in (1e-45, -1e-45, 1e-38, 3e38, -3e38, -0.0):
        y[rng.random(y.shape) < 0.01] = value
    return y


def beside(values: Array, rng: np.random.Generator) -> Array:
    """Each value itself, or its neighbour below or above."""
    step = rng.integers(-1, 2, values.shape)
    away = np.where(step > 0, np.inf, -np.inf).astype(values.dtype)
    return np.where(step == 0, values, np.nextafter(values, away))


def targets(x: Array, kind: str, seed: int = 2) -> Array:
    """Labels that depend on the columns.

    'real', 'positive', 'binary', 'class3', 'class10', 'two' and 'four' (targets), 'grade' (relevance, 0 to 3),
    'huge' (about 1e15).
    """
    rng = np.random.default_rng(seed)
    clean = np.nan_to_num(x)
    score = clean[:, 0] * 0.3 + np.sin(clean[:, -1] * 3) + clean.mean(1) + 0.1 * rng.normal(size=len(x))
    kinds: dict[str, Callable[[], Array]] = {
        "real": lambda: score,
        "binary": lambda: (score > np.median(score)).astype(np.int64),
        "class3": lambda: np.digitize(score, np.quantile(score, [0.3, 0.7])).astype(np.int64),
        "class10": lambda: np.digitize(score, np.quantile(score, np.linspace(0.1, 0.9, 9))).astype(np.int64),
        "grade": lambda: np.digitize(score, np.quantile(score, [0.4, 0.7, 0.9])).astype(np.int64),
        "positive": lambda: np.exp(score / 4),
        "two": lambda: np.stack([score, score**2 - clean[:, 0]], axis=1),
        "four": lambda: np.stack([score, score**2, -score, np.cos(score)], axis=1),
        "huge": lambda: score * 1e15,
    }
    return kinds[kind]()


@dataclass(frozen=True)
class Recipe:
    params: dict[str, Any] = field(default_factory=dict)
    target: str = "real"
    rounds: int = 12
    categories: int = 0
    features: int = 8
    rows: int = 400
    missing: float = 0.05
    scale: float = 1.0
    """of the numeric columns: 1e-40 makes their thresholds denormal"""

    def rows_of(self, seed: int = 0) -> Array:
        """What it is trained on, before `scale`: float32 [rows, features]."""
        missing = 0.0 if self.params.get("booster") == "gblinear" else self.missing
        return table(self.rows, self.features, seed, missing, self.categories)

    def scaled(self, x: Array) -> Array:
        return x if self.scale == 1 else (x.astype(np.float64) * self.scale).astype(np.float32)


_SOFTPROB = {"objective": "multi:softprob", "num_class": 3}
_TEN = {"objective": "multi:softprob", "num_class": 10}
_BINARY = {"objective": "binary:logistic"}
_DART = {"booster": "dart", "rate_drop": 0.3}
_VECTOR = {"multi_strategy": "multi_output_tree"}
_LEAVES = {"grow_policy": "lossguide", "max_depth": 0}

XGBOOST: dict[str, Recipe] = {
    "regression": Recipe(),
    "base-score": Recipe({"base_score": 0.3}),
    "exact": Recipe({"tree_method": "exact"}),
    "max-bin-1024": Recipe({"max_bin": 1024}, rows=3000),
    "unbalanced": Recipe(_LEAVES | {"max_leaves": 60}, rows=1500),
    "wide": Recipe(features=500),
    "binary": Recipe(_BINARY, "binary"),
    "binary-base": Recipe(_BINARY | {"base_score": 0.9}, "binary"),
    "logitraw": Recipe({"objective": "binary:logitraw"}, "binary"),
    "hinge": Recipe({"objective": "binary:hinge"}, "binary"),
    "softprob": Recipe(_SOFTPROB, "class3"),
    "softmax": Recipe({"objective": "multi:softmax", "num_class": 3}, "class3"),
    "poisson": Recipe({"objective": "count:poisson"}, "positive"),
    "gamma": Recipe({"objective": "reg:gamma"}, "positive"),
    "tweedie": Recipe({"objective": "reg:tweedie"}, "positive"),
    "quantile": Recipe({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}),
    "absolute": Recipe({"objective": "reg:absoluteerror"}),
    "dart": Recipe(_DART),
    "dart-multi": Recipe(_DART | _SOFTPROB, "class3"),
    "forest": Recipe({"num_parallel_tree": 5, "subsample": 0.6, "eta": 1.0}, rounds=1),
    "two-targets": Recipe({}, "two"),
    "vector-leaf": Recipe(_VECTOR, "two"),
    "one-hot-categories": Recipe({"max_cat_to_onehot": 100}, categories=7),
    "partitioned-categories": Recipe({"max_cat_to_onehot": 1}, categories=40),
    "linear": Recipe({"booster": "gblinear"}),
    "stump": Recipe({"max_depth": 1}, rounds=3),
    "deep": Recipe({"max_depth": 12, "min_child_weight": 0}, rows=1500, rounds=4),
}

_MORE: dict[str, Recipe] = {
    "max-bin-2": Recipe({"max_bin": 2}, rounds=40),
    "max-bin-64, depth 8": Recipe({"max_bin": 64, "max_depth": 8}, rows=3000, rounds=40),
    "max-bin-512, 100 columns": Recipe({"max_bin": 512, "max_depth": 6}, features=100, rows=3000, rounds=40),
    "max-bin-1024, continuous": Recipe({"max_bin": 1024, "max_depth": 8}, rows=6000, rounds=60, scale=1.1),
    "max-bin-1024, 500 columns": Recipe({"max_bin": 1024, "max_depth": 6}, features=500, rows=2000, rounds=30),
    "exact, 100 columns": Recipe({"tree_method": "exact", "max_depth": 7}, features=100, rows=2000, rounds=30),
    "exact, deep": Recipe({"tree_method": "exact", "max_depth": 16, "min_child_weight": 0}, rows=3000, rounds=6),
    "exact, binary": Recipe(_BINARY | {"tree_method": "exact", "max_depth": 6}, "binary", rows=2000, rounds=60),
    "approx": Recipe({"tree_method": "approx", "max_depth": 6}, rows=2000, rounds=30),
    "depth 20": Recipe({"max_depth": 20, "min_child_weight": 0, "eta": 0.05}, rows=4000, rounds=8, scale=0.37),
    "300 leaves": Recipe(_LEAVES | {"max_leaves": 300, "min_child_weight": 0}, rows=4000, rounds=12),
    "16 leaves, binary": Recipe(_BINARY | _LEAVES | {"max_leaves": 16}, "binary", rows=2000, rounds=60),
    "64 leaves, 10 classes": Recipe(_TEN | _LEAVES | {"max_leaves": 64}, "class10", rows=3000, rounds=6),
    "one column": Recipe({"max_depth": 6}, features=1, rows=2000, rounds=30),
    "500 columns, binary": Recipe(_BINARY | {"max_depth": 6}, "binary", features=500, rows=1500, rounds=40),
    "ten classes": Recipe(_TEN | {"max_depth": 6}, "class10", rows=2000, rounds=15),
    "half missing": Recipe({"max_depth": 6}, rows=2000, rounds=30, missing=0.5),
    "none missing": Recipe({"max_depth": 6}, rows=2000, rounds=30, missing=0.0),
    "single leaves": Recipe({"gamma": 50.0, "max_depth": 6}, rounds=30),
    "denormal columns": Recipe({"tree_method": "exact", "max_depth": 6}, rows=1000, rounds=20, scale=1e-40),
    "huge columns": Recipe({"max_depth": 6}, rows=1000, rounds=20, scale=1e37),
    "huge leaves": Recipe({"max_depth": 6, "base_score": 0.0}, "huge", rows=1000, rounds=20),
    "denormal leaves": Recipe({"max_depth": 5, "base_score": 0.0, "eta": 2e-38}, rows=1000, rounds=20),
    "dart, binary, leaf-wise": Recipe(_DART | _BINARY | _LEAVES | {"max_leaves": 40}, "binary", rows=1500, rounds=30),
    "dart, normalised as a forest": Recipe(
        _DART | {"normalize_type": "forest", "one_drop": True}, rows=1000, rounds=30
    ),
    "dart, exact, positive": Recipe(_DART | {"objective": "count:poisson", "tree_method": "exact"}, "positive"),
    "dart, categories": Recipe(_DART | {"max_cat_to_onehot": 1}, categories=30, rows=1500, rounds=20),
    "forest of classes": Recipe({"num_parallel_tree": 8, "subsample": 0.6} | _SOFTPROB, "class3", rounds=3),
    "boosted forest": Recipe({"num_parallel_tree": 4, "subsample": 0.7, "colsample_bynode": 0.6}, rounds=8),
    "four targets": Recipe({"max_depth": 6}, "four", rows=1500, rounds=15),
    "vector-leaf, four targets": Recipe(_VECTOR | {"max_depth": 6}, "four", rows=1500, rounds=20),
    "vector-leaf, classes": Recipe(_VECTOR | _SOFTPROB, "class3", rows=1500, rounds=20),
    "vector-leaf, leaf-wise": Recipe(_VECTOR | _LEAVES | {"max_leaves": 40}, "two", rows=1500, rounds=20),
    "300 categories": Recipe({"max_cat_to_onehot": 1, "max_depth": 7}, categories=300, rows=5000, rounds=30),
    "categories, classes": Recipe(_SOFTPROB | {"max_cat_to_onehot": 4}, "class3", categories=25, rows=2000, rounds=15),
    "categories, leaf-wise": Recipe(_LEAVES | {"max_leaves": 60, "max_cat_to_onehot": 1}, categories=60, rows=2000),
    "ranker": Recipe({"objective": "rank:ndcg", "max_depth": 6}, "grade", rows=1200, rounds=30),
    "cox": Recipe({"objective": "survival:cox"}, "positive", rounds=20),
    "constrained": Recipe({"monotone_constraints": "(1,0,0,0,0,0,0,-1)", "max_depth": 6}, rows=1500, rounds=30),
}
_LEFT_OUT = ("linear", "softmax", "hinge", "base-score", "gamma", "tweedie")
"""no trees, or the same trees with another word for what is done to their sum"""
PROVEN: dict[str, Recipe] = {name: recipe for name, recipe in XGBOOST.items() if name not in _LEFT_OUT} | _MORE
"""the ensembles of the proof: every kind of booster, both ways of finding splits, ties, extremes"""


def xgboost(recipe: Recipe, seed: int = 0) -> tuple[Any, Array, list[str] | None]:
    """(Booster, rows it was trained on, feature types)"""
    import xgboost as library

    x = recipe.rows_of(seed)
    types = ["c"] + ["q"] * (recipe.features - 1) if recipe.categories else None
    wanted = targets(x, recipe.target)
    x = recipe.scaled(x)
    matrix = library.DMatrix(x, wanted, feature_types=types, enable_categorical=True, nthread=1)
    if recipe.target == "grade":
        matrix.set_group([20] * (recipe.rows // 20))
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

    x = recipe.rows_of(seed).astype(np.float64)
    data = library.Dataset(x, targets(x, recipe.target), categorical_feature=[0] if recipe.categories else "auto")
    params = {"num_threads": 1, "seed": seed, "verbosity": -1, "num_leaves": 15, **recipe.params}
    return library.train(params, data, recipe.rounds), x


def estimators() -> dict[str, Callable[[], Any]]:
    """scikit-learn estimators, not fitted; and what each is fitted on: see `fitted`."""
    from sklearn import ensemble, impute, pipeline, preprocessing, tree

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
        "isolation": lambda: ensemble.IsolationForest(n_estimators=9, random_state=0),
        "pipeline": lambda: pipeline.make_pipeline(
            impute.SimpleImputer(strategy="median"),
            preprocessing.MinMaxScaler(clip=True),
            ensemble.RandomForestClassifier(9, max_depth=5, random_state=0),
        ),
    }


def fitted(name: str) -> tuple[Any, Array]:
    """(estimator, rows it was fitted on as float64). Missing values where the class takes them."""
    missing = 0.0 if name.startswith(("boosting", "extra")) else 0.05
    x = table(400, 6, 0, missing, 12 if name.endswith("categories") else 0).astype(np.float64)
    y = targets(x, "class3" if name.endswith("classes") or name == "pipeline" else "real")
    return estimators()[name]().fit(x, y), x


def text_pipeline() -> tuple[Any, Any]:
    """(a pipeline that encodes texts and numbers before a forest, the DataFrame that it was fitted on)"""
    import pandas
    from sklearn import compose, ensemble, pipeline, preprocessing

    rng = np.random.default_rng(4)
    x = pandas.DataFrame(
        {
            "size": rng.normal(size=500),
            "colour": rng.choice(["red", "green", "blue"], 500),
            "weight": rng.normal(3, 2, size=500),
            "grade": rng.choice(["low", "mid", "high"], 500),
        }
    )
    y = (x["size"] + (x["colour"] == "red") * 2 - (x["grade"] == "low")) * x["weight"]
    steps = compose.make_column_transformer(
        (preprocessing.StandardScaler(), ["size", "weight"]),
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["colour"]),
        (preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["grade"]),
    )
    made = pipeline.make_pipeline(steps, ensemble.RandomForestRegressor(9, max_depth=6, random_state=0))
    return made.fit(x, y), x
