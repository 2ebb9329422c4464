"""A tree ensemble as numpy arrays: what the compiler takes, checked, and a plain numpy evaluation of it.

Nothing that `check` lets through can make generated code read outside its tables or loop for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.errors import KernelInputError

LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)
"""how a node tests x against its split: the numbers of ai.onnx.ml's TreeEnsemble"""

AS_IS, FLOOR, TRUNCATE = range(3)
"""what is done to a feature before it is tested (sources that cast categories to integers)"""

MOST_TREES, MOST_NODES, MOST_FEATURES, MOST_TARGETS = 1 << 20, 1 << 27, 1 << 20, 1 << 12
DEEPEST = 1 << 12


@dataclass(frozen=True)
class Ensemble:
    """Trees whose leaves are added up, one sum a target.

    A node takes its true branch where `x <mode> split` holds; NaN takes it where `missing_true` says so. A child >= 0
    is a node, a child < 0 is leaf ~child.
    """

    features: int
    """values in a row"""
    targets: int
    compare: Literal["f32", "f64"]
    """dtype of the rows and of the splits"""
    sum: Literal["f32-sequential", "f64"]
    """dtype of the accumulators; leaves are added in the order of `roots`, from 0"""
    roots: NDArray[np.int32]
    """[trees]: a node, or ~leaf for a tree that is one leaf"""
    feature: NDArray[np.int32]
    mode: NDArray[np.uint8]
    split: NDArray[Any]
    """[nodes], in the dtype of `compare`"""
    missing_true: NDArray[np.bool_]
    true_child: NDArray[np.int32]
    false_child: NDArray[np.int32]
    leaf_target: NDArray[np.int32]
    leaf_value: NDArray[Any]
    """[leaves], in the dtype of the sum"""
    member_start: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """[nodes + 1]: where a MEMBER node's set begins in `members`; empty where no node is one"""
    members: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.float64))
    cast: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """[features] of AS_IS, FLOOR, TRUNCATE; empty: all as they are"""

    @property
    def row_dtype(self) -> type[np.floating[Any]]:
        return np.float32 if self.compare == "f32" else np.float64

    @property
    def sum_dtype(self) -> type[np.floating[Any]]:
        return np.float64 if self.sum == "f64" else np.float32

    @property
    def nodes(self) -> int:
        return len(self.feature)

    def casts(self) -> NDArray[np.uint8]:
        return self.cast if len(self.cast) else np.zeros(self.features, np.uint8)


def _refuse(why: str, where: str = "") -> KernelInputError:
    return KernelInputError("a tree ensemble cannot be compiled", where=where, why=why, fix="check the model file")


def check(e: Ensemble) -> None:
    """Raise KernelInputError for the first thing that is not as `Ensemble` says.

    Every node is reached from exactly one root, once: no cycle, no sharing, no stray node.
    """
    for name, value, most in (
        ("features", e.features, MOST_FEATURES),
        ("targets", e.targets, MOST_TARGETS),
        ("trees", len(e.roots), MOST_TREES),
        ("leaves", len(e.leaf_value), MOST_NODES),
    ):
        if not 1 <= value <= most:
            raise _refuse(f"{value}, not 1 to {most}", name)
    if e.nodes > MOST_NODES:
        raise _refuse(f"{e.nodes}, more than {MOST_NODES}", "nodes")
    if e.compare not in ("f32", "f64") or e.sum not in ("f32-sequential", "f64"):
        raise _refuse(f"compare {e.compare!r}, sum {e.sum!r} are unknown")
    _check_arrays(e)
    _check_shape(e)


def _check_arrays(e: Ensemble) -> None:
    nodes, leaves = e.nodes, len(e.leaf_value)
    kinds: dict[str, tuple[NDArray[Any], Any, int]] = {
        "roots": (e.roots, np.int32, len(e.roots)),
        "feature": (e.feature, np.int32, nodes),
        "mode": (e.mode, np.uint8, nodes),
        "split": (e.split, e.row_dtype, nodes),
        "missing_true": (e.missing_true, np.bool_, nodes),
        "true_child": (e.true_child, np.int32, nodes),
        "false_child": (e.false_child, np.int32, nodes),
        "leaf_target": (e.leaf_target, np.int32, leaves),
        "leaf_value": (e.leaf_value, e.sum_dtype, leaves),
    }
    if len(e.cast):
        kinds["cast"] = (e.cast, np.uint8, e.features)
    for name, (array, dtype, size) in kinds.items():
        if array.dtype != dtype or array.shape != (size,):
            raise _refuse(f"{array.dtype}{list(array.shape)}, not {np.dtype(dtype)}[{size}]", name)
    if nodes and (e.feature.min() < 0 or e.feature.max() >= e.features):
        raise _refuse(f"a node tests a feature outside 0..{e.features - 1}", "feature")
    if nodes and e.mode.max() > MEMBER:
        raise _refuse(f"mode {e.mode.max()} is unknown", "mode")
    if len(e.cast) and e.cast.max() > TRUNCATE:
        raise _refuse(f"cast {e.cast.max()} is unknown", "cast")
    if np.isnan(e.split[e.mode != MEMBER]).any():
        raise _refuse("a split is NaN", "split")
    if leaves and (e.leaf_target.min() < 0 or e.leaf_target.max() >= e.targets):
        raise _refuse(f"a leaf adds to a target outside 0..{e.targets - 1}", "leaf_target")
    if np.any(e.mode == MEMBER):
        _check_members(e)


def _check_members(e: Ensemble) -> None:
    start = e.member_start
    if start.dtype != np.int64 or start.shape != (e.nodes + 1,) or e.members.ndim != 1:
        raise _refuse(f"member_start is {start.dtype}{list(start.shape)}, not int64[{e.nodes + 1}]", "member_start")
    if start[0] != 0 or start[-1] != len(e.members) or np.any(np.diff(start) < 0):
        raise _refuse("the sets do not lie one behind another", "member_start")
    if not np.all(np.isfinite(e.members)):
        raise _refuse("a member of a set is not finite", "members")


def _check_shape(e: Ensemble) -> None:
    """Each node and each leaf is the child of one node, or a root: with that, no walk can return to where it was."""
    ends = np.concatenate([e.roots, e.true_child, e.false_child]).astype(np.int64)
    nodes, leaves = ends[ends >= 0], ~ends[ends < 0]
    if len(nodes) and nodes.max() >= e.nodes:
        raise _refuse("a branch leads to a node that does not exist", "true_child, false_child")
    if len(leaves) and leaves.max() >= len(e.leaf_value):
        raise _refuse("a branch leads to a leaf that does not exist", "true_child, false_child")
    if np.any(np.bincount(nodes, minlength=e.nodes) != 1):
        raise _refuse("a node is reached twice, or never", "true_child, false_child")
    # Once each, and a cycle would be unreachable from any root: count what is reachable.
    frontier, reached, levels = e.roots[e.roots >= 0], 0, 0
    while len(frontier):
        reached, levels = reached + len(frontier), levels + 1
        if levels > DEEPEST:
            raise _refuse(f"a tree is deeper than {DEEPEST}", "depth")
        below = np.concatenate([e.true_child[frontier], e.false_child[frontier]])
        frontier = below[below >= 0]
    if reached != e.nodes:
        raise _refuse("some nodes form a cycle", "true_child, false_child")


# ---- plain evaluation -------------------------------------------------------------------------------


def cast_rows(e: Ensemble, rows: NDArray[Any]) -> NDArray[Any]:
    """The rows as nodes see them: categories cut to whole numbers."""
    casts = e.casts()
    if not casts.any():
        return rows
    seen = rows.copy()
    for kind, cut in ((FLOOR, np.floor), (TRUNCATE, np.trunc)):
        columns = np.flatnonzero(casts == kind)
        seen[:, columns] = cut(seen[:, columns])
    return seen


def evaluate(e: Ensemble, rows: NDArray[Any]) -> NDArray[Any]:
    """Margins [rows, targets] by plain numpy: the definition that every kernel must equal to the bit."""
    if rows.dtype != e.row_dtype or rows.ndim != 2 or rows.shape[1] != e.features:
        raise KernelInputError("rows do not fit the ensemble", why=f"{rows.dtype}{list(rows.shape)}")
    seen = cast_rows(e, rows)
    total = np.zeros((len(rows), e.targets), e.sum_dtype)
    index = np.arange(len(rows))
    for root in e.roots:
        at = np.full(len(rows), root, np.int64)
        while (inner := np.flatnonzero(at >= 0)).size:
            at[inner] = _step(e, seen, inner, at[inner])
        leaf = ~at
        total[index, e.leaf_target[leaf]] += e.leaf_value[leaf]
    return total


def _step(e: Ensemble, rows: NDArray[Any], inner: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    x, split, mode = rows[inner, e.feature[at]], e.split[at], e.mode[at]
    with np.errstate(invalid="ignore"):
        tests = [x <= split, x < split, x >= split, x > split, x == split, x != split]
    taken = np.select([mode == k for k in range(6)], tests, False)
    for k in np.flatnonzero(mode == MEMBER):
        node = at[k]
        taken[k] = x[k] in e.members[e.member_start[node] : e.member_start[node + 1]]
    taken = np.where(np.isnan(x), e.missing_true[at], taken)
    return np.asarray(np.where(taken, e.true_child[at], e.false_child[at]))
