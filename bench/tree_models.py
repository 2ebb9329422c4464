"""An XGBoost ensemble trained here, as the TreeEnsemble of ai.onnx.ml 5 that docs/trees.md describes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, ROWS = 20, 256


def trained(depth: int = 6, trees: int = 100, seed: int = 0) -> tuple[Any, np.ndarray]:
    """A regression of `trees` trees over 20 features, some of them missing; and the rows that it was trained on."""
    import xgboost

    random = np.random.default_rng(seed)
    x = random.standard_normal((2000, FEATURES)).astype(np.float32)
    y = x @ random.standard_normal(FEATURES) + np.sin(3 * x[:, 0])
    x[random.random(x.shape) < 0.05] = np.nan
    settings = {"max_depth": depth, "eta": 0.1, "base_score": 0.5, "nthread": 1}
    return xgboost.train(settings, xgboost.DMatrix(x, y), trees), x


def xgboost_ensemble(folder: Path, depth: int = 6) -> tuple[Path, Path]:
    """The ONNX file, of one output, and an .npz of two batches of 256 rows."""
    from neoc.compile.frontends.trees import graph, xgboost_adapter

    booster, x = trained(depth)
    model = xgboost_adapter.read(bytes(booster.save_raw("ubj")), "all")
    path, data = folder / "xgboost.onnx", folder / "xgboost.npz"
    path.write_bytes(graph.build(replace(model, margin=False)).SerializeToString())
    np.savez(data, features=x[: 2 * ROWS].reshape(2, ROWS, FEATURES))
    return path, data


def xgboost_file(folder: Path, trees: int = 200) -> tuple[Path, Path]:
    """The booster as XGBoost itself saves it, and an .npz of two batches of 256 rows."""
    booster, x = trained(trees=trees)
    path, data = folder / "xgboost.json", folder / "xgboost.npz"
    booster.save_model(path)
    np.savez(data, features=x[: 2 * ROWS].reshape(2, ROWS, FEATURES))
    return path, data
