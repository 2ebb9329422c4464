"""The models of `make bench-trees`: trained once by their own libraries, kept as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Data = tuple[np.ndarray, np.ndarray]
"""float32 [rows, features], and what is to be learnt"""


@dataclass(frozen=True)
class Model:
    name: str
    rounds: int
    parameters: dict[str, Any]
    data: Callable[[], Data]
    batch: float | None = 5
    """how many times the best peer is aimed at, on 10,000 rows and one thread"""
    single: float | None = None
    """the same of one row"""
    library: str = "xgboost"

    def trained(self, folder: Path) -> Path:
        """The model's file in `folder`, made where it is not there."""
        suffix = {"xgboost": ".ubj", "lightgbm": ".txt"}[self.library]
        path = folder / f"{self.name.replace(' ', '-').replace(',', '')}{suffix}"
        if not path.exists():
            part = path.with_suffix(f".part{suffix}")
            _TRAIN[self.library](self, part)
            part.rename(path)
        return path


def _train_xgboost(model: Model, path: Path) -> None:
    import xgboost

    x, y = model.data()
    xgboost.train(model.parameters | {"nthread": 1}, xgboost.DMatrix(x, y), model.rounds).save_model(path)


def _train_lightgbm(model: Model, path: Path) -> None:
    import lightgbm

    x, y = model.data()
    data = lightgbm.Dataset(x.astype(np.float64), y)
    settings = model.parameters | {"num_threads": 1, "verbosity": -1, "seed": 0}
    lightgbm.train(settings, data, model.rounds).save_model(str(path))


_TRAIN: dict[str, Callable[[Model, Path], None]] = {"xgboost": _train_xgboost, "lightgbm": _train_lightgbm}


def synthetic(features: int = 30, rows: int = 20_000, missing: float = 0.02) -> Data:
    """A sum of products, a sine and steps, with noise: a class."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, features)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + x[:, 3] - (x[:, 4] > 0.3) + 0.5 * x[:, 5] * x[:, 6] * x[:, 7]
    x[rng.random(x.shape) < missing] = np.nan
    return x, (score + rng.normal(size=rows) > 0).astype(int)


def bundled(name: str) -> Data:
    """One of the real data sets that come with scikit-learn: 'digits', 'breast_cancer', 'diabetes', 'wine'."""
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return x.astype(np.float32), y


_BINARY = {"objective": "binary:logistic", "eta": 0.05, "tree_method": "hist"}
_LEAVES = _BINARY | {"grow_policy": "lossguide", "max_leaves": 64, "max_depth": 0}
_CLASSES = {"objective": "multi:softprob", "eta": 0.05, "tree_method": "hist", "max_depth": 6}
_DEEP = _BINARY | {"max_depth": 20, "min_child_weight": 0, "max_bin": 1024}
_SPARSE = _BINARY | {"max_depth": 6, "colsample_bytree": 0.2}
_REAL = {"objective": "reg:squarederror", "eta": 0.05, "tree_method": "exact", "max_depth": 5}
_LIGHT = {"objective": "binary", "learning_rate": 0.05}
MODELS = (
    Model("1,000 trees, depth 6", 1000, _BINARY | {"max_depth": 6}, synthetic, 25, 10),
    Model("500 trees, depth 8", 500, _BINARY | {"max_depth": 8}, synthetic, 10, 10),
    Model("digits, 1,000 trees, 10 classes", 100, _CLASSES | {"num_class": 10}, partial(bundled, "digits"), 20),
    Model("max_bin 1024", 500, _BINARY | {"max_depth": 6, "max_bin": 1024}, synthetic),
    Model("exact", 200, _BINARY | {"max_depth": 6, "tree_method": "exact"}, partial(synthetic, 10, 10_000)),
    Model("500 features", 300, _BINARY | {"max_depth": 6}, partial(synthetic, 500, 4_000)),
    Model("unbalanced, 64 leaves", 300, _LEAVES, synthetic),
    Model("breast cancer", 300, _BINARY | {"max_depth": 6}, partial(bundled, "breast_cancer"), None),
    Model("diabetes, exact", 500, _REAL, partial(bundled, "diabetes"), None),
    Model("wine, 3 classes", 100, _CLASSES | {"num_class": 3}, partial(bundled, "wine"), None),
    Model("LightGBM, 500 trees, 31 leaves", 500, _LIGHT, synthetic, None, library="lightgbm"),
    Model("LightGBM, 200 trees, 127 leaves", 200, _LIGHT | {"num_leaves": 127}, synthetic, None, library="lightgbm"),
    Model("10,000 trees", 10_000, _BINARY | {"max_depth": 6}, synthetic, 1.5, 1.5),
    Model("depth 20", 100, _DEEP, synthetic, 1.5, 1.5),
    Model("5,000 features", 200, _SPARSE, partial(synthetic, 5_000, 4_000), 1.5, 1.5),
)
