"""Tree ensembles as tensors: every comparison at once, then the leaf whose path agrees with all of them.

    values = x[:, feature of each node]          decisions = values < threshold of each node
    agree  = decisions (as +1, -1) times paths   +1, -1, 0: the leaf lies below the true branch, the false one, neither
    leaf   = agree == length of its path         y = leaf times weights

All products are of small whole numbers, exact in any float. Where trees are so deep that the paths would be larger than
4 M elements, the trees are walked instead: one gather a level. (Nakandala et al., OSDI 2020, call the two GEMM and
TreeTraversal.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import In, Op, Rule, Xla

Array = Any
LARGEST_PATHS = 4 << 20
"""elements of all paths: trees x nodes x leaves"""

LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)
SUM, AVERAGE = 1, 0


@dataclass(frozen=True)
class Forest:
    """A TreeEnsemble's nodes as arrays; children below `leaf_base` are nodes, the others leaves."""

    features: np.ndarray
    splits: np.ndarray
    modes: np.ndarray
    missing_true: np.ndarray
    children: np.ndarray
    """(nodes, 2): the false child, the true child"""
    leaf_base: int
    weights: np.ndarray
    targets: np.ndarray
    roots: tuple[int, ...]
    members: Mapping[int, tuple[float, ...]]
    """node -> its set"""


def forest_of(c: Call) -> Forest:
    """The attributes of a TreeEnsemble of ai.onnx.ml 5."""
    features = np.asarray(c.attribute("nodes_featureids"), np.int64)
    count = len(features)
    sides = []
    for ids, leaves in (("nodes_falsenodeids", "nodes_falseleafs"), ("nodes_truenodeids", "nodes_trueleafs")):
        sides.append(np.asarray(c.attribute(ids), np.int64) + count * np.asarray(c.attribute(leaves), np.int64))
    modes = c.attribute("nodes_modes").numpy().astype(np.int64)
    missing = c.attribute("nodes_missing_value_tracks_true")
    return Forest(
        features,
        c.attribute("nodes_splits").numpy(),
        modes,
        np.zeros(count, bool) if missing is None else np.asarray(missing, bool),
        np.stack(sides, 1),
        count,
        c.attribute("leaf_weights").numpy(),
        np.asarray(c.attribute("leaf_targetids"), np.int64),
        tuple(c.attribute("tree_roots")),
        _members(c, np.flatnonzero(modes == MEMBER)),
    )


def _members(c: Call, nodes: np.ndarray) -> dict[int, tuple[float, ...]]:
    """Sets stand one after another in the order of the nodes, each ended by a NaN."""
    given = c.attribute("membership_values")
    sets: list[list[float]] = [[]]
    for value in [] if given is None else given.numpy().tolist():
        if np.isnan(value):
            sets.append([])
        else:
            sets[-1].append(value)
    return {int(node): tuple(found) for node, found in zip(nodes, sets, strict=False)}


@dataclass(frozen=True)
class _Tree:
    nodes: tuple[int, ...]
    leaves: tuple[int, ...]
    paths: tuple[tuple[tuple[int, bool], ...], ...]
    """of each leaf: (place in `nodes`, whether the true branch was taken)"""


def _tree(forest: Forest, root: int) -> _Tree:
    nodes: list[int] = []
    leaves: list[int] = []
    paths: list[tuple[tuple[int, bool], ...]] = []
    pending: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(root, ())]
    while pending:
        at, path = pending.pop()
        if at >= forest.leaf_base:
            leaves.append(at - forest.leaf_base)
            paths.append(path)
            continue
        low, high = forest.children[at]
        if low == high and low >= forest.leaf_base:  # a tree that is one leaf
            pending.append((int(low), path))
            continue
        place = len(nodes)
        nodes.append(at)
        pending += [(int(low), (*path, (place, False))), (int(high), (*path, (place, True)))]
    return _Tree(tuple(nodes), tuple(leaves), tuple(paths))


@lru_cache(maxsize=4)
def _trees(c: Call) -> tuple[Forest, tuple[_Tree, ...]]:
    forest = forest_of(c)
    return forest, tuple(_tree(forest, root) for root in forest.roots)


def _sizes(c: Call) -> tuple[int, int, int]:
    """Trees, the most nodes and the most leaves of one."""
    _, trees = _trees(c)
    return len(trees), max(max(len(t.nodes) for t in trees), 1), max(len(t.leaves) for t in trees)


def _by_paths(c: Call) -> bool:
    trees, nodes, leaves = _sizes(c)
    return trees * nodes * leaves <= LARGEST_PATHS


def derived(c: Call) -> dict[str, np.ndarray]:
    """The arrays that the lowering reads, as further weights of the program."""
    forest, trees = _trees(c)
    count, nodes, leaves = _sizes(c)
    dtype = np.dtype(c.dtype())
    if not _by_paths(c):
        return _walked(forest, dtype)
    at = np.zeros((count, nodes), np.int64)
    paths, lengths = np.zeros((count, nodes, leaves), np.float32), np.full((count, leaves), -1, np.float32)
    weights = np.zeros((count, leaves, _targets(c)), dtype)
    for i, tree in enumerate(trees):
        at[i, : len(tree.nodes)] = tree.nodes
        for k, (leaf, path) in enumerate(zip(tree.leaves, tree.paths, strict=True)):
            lengths[i, k] = len(path)
            weights[i, k, forest.targets[leaf]] = forest.weights[leaf]
            for place, true in path:
                paths[i, place, k] = 1 if true else -1
    arrays = {"paths": paths, "lengths": lengths, "leaf_weights": weights.reshape(count * leaves, -1)}
    return {**arrays, **_comparisons(forest, at.reshape(-1), dtype)}


def _walked(forest: Forest, dtype: Any) -> dict[str, np.ndarray]:
    """Children by node; leaves are nodes behind the others that lead to themselves."""
    leaves = np.arange(len(forest.weights)) + forest.leaf_base
    children = np.concatenate([forest.children, np.stack([leaves, leaves], 1)]).astype(np.int32)
    return {"children": children, **_comparisons(forest, np.arange(forest.leaf_base), dtype)}


def _comparisons(forest: Forest, at: np.ndarray, dtype: Any) -> dict[str, np.ndarray]:
    return {
        "features": forest.features[at].astype(np.int32),
        "splits": forest.splits[at].astype(dtype),
        "modes": forest.modes[at].astype(np.int32),
        "missing": forest.missing_true[at],
    }


def _targets(c: Call) -> int:
    return int(c.attribute("n_targets", 1))


def _decided(c: Call, j: Xla, x: Array, splits: Array, modes: Array, missing: Array) -> Array:
    """Whether each value takes the true branch. Only the comparisons that the ensemble has are made."""
    forest, _ = _trees(c)
    compare = {LEQ: x <= splits, LT: x < splits, GTE: x >= splits, GT: x > splits, EQ: x == splits, NEQ: x != splits}
    used = sorted(set(forest.modes.tolist()) - {MEMBER})
    decision = j.np.zeros(x.shape, bool) if not used else compare[used[0]]
    for mode in used[1:]:
        decision = j.np.where(modes == mode, compare[mode], decision)
    return decision | ((x != x) & missing) if forest.missing_true.any() else decision


def _ensemble(c: Call, j: Xla, x: Array) -> Array:
    _, trees = _trees(c)
    w = j.derived
    if not _by_paths(c):
        return _walk(c, j, x)
    count, nodes, leaves = _sizes(c)
    values = j.np.take(x, w["features"], axis=1, mode="clip")
    decision = _decided(c, j, values, w["splits"], w["modes"], w["missing"])
    decision = _with_members(c, j, values, decision)
    signs = j.np.where(decision, np.float32(1), np.float32(-1)).reshape(-1, count, nodes)
    agree = j.np.einsum("rtn,tnl->rtl", signs, w["paths"])
    leaf = (agree == w["lengths"]).astype(x.dtype).reshape(-1, count * leaves)
    y = j.np.matmul(leaf, w["leaf_weights"])
    return y / len(trees) if c.attribute("aggregate_function", SUM) == AVERAGE else y


def _with_members(c: Call, j: Xla, values: Array, decision: Array) -> Array:
    """The decisions of the nodes that ask for membership in a set, put in their places."""
    forest, trees = _trees(c)
    if not forest.members:
        return decision
    _, nodes, _ = _sizes(c)
    columns = [(i * nodes + k, at) for i, t in enumerate(trees) for k, at in enumerate(t.nodes) if at in forest.members]
    for column, at in columns:
        value = values[:, column]
        found = (value[:, None] == np.asarray(forest.members[at], np.float32)).any(1)
        if forest.missing_true[at]:
            found = found | (value != value)
        decision = decision.at[:, column].set(found)
    return decision


def _walk(c: Call, j: Xla, x: Array) -> Array:
    """From the roots down, one level a step."""
    forest, trees = _trees(c)
    w = j.derived
    at = j.np.broadcast_to(j.np.asarray(np.asarray(forest.roots, np.int32)), (x.shape[0], len(trees)))
    for _ in range(max(len(path) for tree in trees for path in tree.paths) + 1):
        node = j.np.minimum(at, forest.leaf_base - 1)
        features, splits, modes, missing = (
            j.np.take(w[name], node, axis=0, mode="clip") for name in ("features", "splits", "modes", "missing")
        )
        value = j.np.take_along_axis(x, features, 1, mode="clip")
        decision = _decided(c, j, value, splits, modes, missing)
        below = j.np.take(w["children"], node, axis=0, mode="clip")
        at = j.np.where(at >= forest.leaf_base, at, j.np.where(decision, below[..., 1], below[..., 0]))
    leaf = at - forest.leaf_base
    weights = np.zeros((len(forest.weights), _targets(c)), np.dtype(c.dtype()))
    weights[np.arange(len(forest.weights)), forest.targets] = forest.weights
    y = j.np.sum(j.np.take(j.np.asarray(weights), leaf, axis=0, mode="clip"), 1)
    return y / len(trees) if c.attribute("aggregate_function", SUM) == AVERAGE else y


_MANY_MEMBERS = Rule(
    lambda c: bool(sets := forest_of(c).members) and (len(sets) > 256 or not _by_paths(c)),
    "more than 256 nodes ask for membership in a set, or they stand in trees that are too deep",
    "encode the categories as numbers before the ensemble",
)

OPS = (
    Op(
        "TreeEnsemble",
        (5, 5),
        (In(frozenset({"float32"}), ranks=(2, 2)),),
        _ensemble,
        {"aggregate_function": (AVERAGE, SUM), "post_transform": (0,)},
        rules=(_MANY_MEMBERS,),
        domain="ai.onnx.ml",
        derived=derived,
        infer=lambda c: (c.dtype(), (c.shape()[0], _targets(c))),
    ),
)
