"""Ensembles for tests, drawn at random, and rows that lie on their boundaries."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import frontends
from neoc.compile.frontends.trees import ensemble as front
from neoc.compile.frontends.trees import graph
from neoc.compile.frontends.trees.model import TreeModel
from neoc.compile.options import CompileOptions
from neoc.kernels.trees.ensemble import GT, GTE, LEQ, LT, MEMBER, Ensemble, check
from neoc.targets.engines.trees_program import take_apart


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


def from_xgboost(booster: Any) -> Ensemble:
    """What the tree compiler gets of a Booster."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.ubj"
        booster.save_model(path)
        return take_apart(frontends.load(path, {}, CompileOptions(use_cache=False))).ensemble


def to_onnx(e: Ensemble, path: Path, transform: str = "identity") -> None:
    """The normal form of docs/trees.md around `e`; transform: 'identity', 'binary' or 'softprob'."""
    model = TreeModel("xgboost", "drawn", uncompiled(e), transform, input_dtype=np.dtype(e.row_dtype).name)
    path.write_bytes(graph.build(model).SerializeToString())


def uncompiled(e: Ensemble) -> front.Ensemble:
    """The inverse of `compile.frontends.trees.kernel.compiled`."""
    single = np.flatnonzero(e.roots < 0)
    here = len(single)
    dtype = e.sum_dtype

    def joined(before: Any, after: np.ndarray, kind: Any) -> np.ndarray:
        return np.concatenate([np.broadcast_to(before, (here,)), after]).astype(kind)

    def child(children: np.ndarray) -> np.ndarray:
        return joined(e.roots[single], np.where(children >= 0, children + here, children), np.int64)

    roots = e.roots.astype(np.int64) + here
    roots[single] = np.arange(here)
    sizes = joined(0, np.diff(e.member_start) if len(e.member_start) else np.zeros(e.nodes), np.int64)
    return front.Ensemble(
        features=e.features,
        targets=e.targets,
        roots=roots,
        feature=joined(0, e.feature, np.int32),
        mode=joined(LEQ, e.mode, np.uint8),
        threshold=joined(0, e.split, dtype),
        missing_true=joined(False, e.missing_true, bool),
        on_true=child(e.true_child),
        on_false=child(e.false_child),
        leaf_value=e.leaf_value,
        leaf_target=e.leaf_target,
        members=e.members.astype(dtype),
        member_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        sum=e.sum,
        compare=e.compare,
    ).checked()


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


ALL_MODES = (LEQ, LT, GTE, GT, 4, 5, MEMBER)

__all__ = ["ALL_MODES", "drawn", "from_xgboost", "rows_for", "same_bits", "to_onnx", "uncompiled"]
