"""Ensembles for tests, drawn at random, and rows that lie on their boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.bench.tree_cases import from_xgboost, to_onnx
from neoc.kernels.trees.ensemble import GT, GTE, LEQ, LT, MEMBER, Ensemble, check


def drawn(
    seed: int,
    trees: int = 20,
    features: int = 7,
    height: int = 6,
    full: float = 0.8,
    targets: int = 1,
    compare: str = "f32",
    total: str = "f32-sequential",
    splits: int = 40,
    modes: tuple[int, ...] = (LT,),
) -> Ensemble:
    """A random ensemble. full: chance that a node above `height` splits again. splits: distinct values a feature."""
    rng = np.random.default_rng(seed)
    dtype = np.float32 if compare == "f32" else np.float64
    pool = rng.normal(size=(features, splits)).astype(dtype)
    pool[:, 0] = 0.0
    pool[:, -1] = np.finfo(dtype).smallest_subnormal
    node: dict[str, list[Any]] = {k: [] for k in ("feature", "mode", "split", "missing", "true", "false", "members")}
    leaf_target: list[int] = []
    roots: list[int] = []

    def grow(depth: int, target: int) -> int:
        if depth == height or (depth and rng.random() > full):
            leaf_target.append(target)
            return ~(len(leaf_target) - 1)
        at = len(node["feature"])
        feature = int(rng.integers(features))
        mode = int(rng.choice(modes))
        node["feature"].append(feature)
        node["mode"].append(mode)
        node["split"].append(0.0 if mode == MEMBER else pool[feature, rng.integers(splits)])
        node["missing"].append(bool(rng.random() < 0.5))
        node["members"].append(np.unique(rng.integers(0, 12, rng.integers(0, 6))) if mode == MEMBER else np.zeros(0))
        for side in ("true", "false"):
            node[side].append(0)
        for side in ("true", "false"):
            node[side][at] = grow(depth + 1, target)
        return at

    for t in range(trees):
        roots.append(grow(0, t % targets))
    sizes = [len(m) for m in node["members"]]
    ensemble = Ensemble(
        features=features,
        targets=targets,
        compare=compare,  # type: ignore[arg-type]
        sum=total,  # type: ignore[arg-type]
        roots=np.array(roots, np.int32),
        feature=np.array(node["feature"], np.int32),
        mode=np.array(node["mode"], np.uint8),
        split=np.array(node["split"], dtype),
        missing_true=np.array(node["missing"], bool),
        true_child=np.array(node["true"], np.int32),
        false_child=np.array(node["false"], np.int32),
        leaf_target=np.array(leaf_target, np.int32),
        leaf_value=rng.normal(size=len(leaf_target)).astype(np.float32 if total != "f64" else np.float64),
        member_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        members=np.concatenate([*node["members"], np.zeros(0)]).astype(dtype),
    )
    check(ensemble)
    return ensemble


def rows_for(e: Ensemble, count: int, seed: int = 0, infinite: bool = True) -> np.ndarray:
    """Rows with ordinary values, values exactly on splits and next to them, NaN, both zeros, subnormals, infinities."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, e.features)).astype(e.row_dtype)
    pick = rng.random(rows.shape)
    if e.nodes:
        on = e.split[rng.integers(e.nodes, size=rows.shape)]
        up = np.nextafter(on, np.array(np.inf, on.dtype), dtype=on.dtype)
        rows = np.where(pick < 0.3, on, np.where(pick < 0.4, up, rows))
    whole = rng.integers(-2, 14, rows.shape).astype(rows.dtype)
    tiny = np.finfo(rows.dtype).smallest_subnormal
    special = [np.nan, np.nan, 0.0, -0.0, tiny, -tiny, *([np.inf, -np.inf] if infinite else [3e38, -3e38])]
    rows = np.where(pick > 0.75, whole, rows)
    rows = np.where(pick > 0.88, rng.choice(np.array(special, rows.dtype), rows.shape), rows)
    return np.ascontiguousarray(rows, e.row_dtype)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


ALL_MODES = (LEQ, LT, GTE, GT, 4, 5, MEMBER)

__all__ = ["ALL_MODES", "drawn", "from_xgboost", "rows_for", "same_bits", "to_onnx"]
