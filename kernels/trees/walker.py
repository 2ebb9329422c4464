"""Nodes for walking: a record a node, floats compared as they are. Every ensemble can be walked.

    f32: boundary, feature << 1 | NaN right, left, right        (16 bytes)
    f64: boundary (8 bytes), left, right, feature..., 0         (24 bytes)

right where x >= boundary. A leaf is a record whose branches lead back to itself: boundary NaN, NaN left; its number is
kept beside. A set becomes a binary search over its boundaries, whose ends lead to the node's two branches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees.forest import Forest
from neoc.kernels.trees.ranks import Tests


@dataclass(frozen=True)
class Walk:
    nodes: NDArray[Any]
    """structured records"""
    leaf: NDArray[np.uint32]
    """[records]: number of the leaf within its tree, counted in the order of `leaves`; 0 for inner records"""
    root: NDArray[np.int64]
    """[trees] a record, -1 for trees left out"""
    leaves: list[NDArray[np.int64]]
    """[trees]: the leaves of the ensemble in the order of their numbers"""


F32 = np.dtype([("boundary", "<f4"), ("feature", "<u4"), ("left", "<u4"), ("right", "<u4")])
F64 = np.dtype([("boundary", "<f8"), ("left", "<u4"), ("right", "<u4"), ("feature", "<u4"), ("zero", "<u4")])


def walk_of(tests: Tests, forest: Forest, roots: NDArray[Any], wanted: NDArray[np.bool_], dtype: np.dtype[Any]) -> Walk:
    """Records of the wanted trees, tree by tree, a tree's nodes from the top."""
    nodes = [level.node[wanted[level.node_tree]] for level in forest.levels]
    node_tree = [level.node_tree[wanted[level.node_tree]] for level in forest.levels]
    leaves = [level.leaf[wanted[level.leaf_tree]] for level in forest.levels]
    leaf_tree = [level.leaf_tree[wanted[level.leaf_tree]] for level in forest.levels]
    depth = [np.full(len(n) + len(f), d) for d, (n, f) in enumerate(zip(nodes, leaves, strict=True))]
    what = np.concatenate([np.concatenate([n, ~f]) for n, f in zip(nodes, leaves, strict=True)])
    tree = np.concatenate([np.concatenate(p) for p in zip(node_tree, leaf_tree, strict=True)])
    order = np.lexsort((np.concatenate(depth), tree))
    what, tree = what[order], tree[order]
    place_node = np.zeros(len(tests.left), np.int64)
    place_leaf = np.zeros(max(1, int((~what).max()) + 1 if len(what) else 1), np.int64)
    inner = what >= 0
    place_node[what[inner]] = np.flatnonzero(inner)
    place_leaf[~what[~inner]] = np.flatnonzero(~inner)
    made = np.zeros(len(what), F32 if dtype == np.float32 else F64)
    number = np.zeros(len(what), np.uint32)
    _fill(made, what, tests, place_node, place_leaf)
    tree_start = np.searchsorted(tree, np.arange(len(roots) + 1))
    root = np.where(wanted, tree_start[:-1], -1)
    lists = []
    for t in range(len(roots)):
        mine = slice(tree_start[t], tree_start[t + 1])
        here = np.flatnonzero(~inner[mine])
        number[tree_start[t] + here] = np.arange(len(here))
        lists.append(~what[mine][here])
    walk = Walk(made, number, root, lists)
    sets = what[inner][tests.is_set[what[inner]]]
    return _with_sets(walk, tests, sets, place_node) if len(sets) else walk


def _fill(
    made: NDArray[Any], what: NDArray[Any], tests: Tests, place_node: NDArray[np.int64], place_leaf: NDArray[np.int64]
) -> None:
    inner = np.flatnonzero(what >= 0)
    node = what[inner]
    first = tests.first[node]
    made["boundary"] = np.nan
    made["boundary"][inner] = tests.values()[first] if len(first) else []
    made["feature"][inner] = tests.slot_feature[tests.slot[first]] << 1 | tests.missing_right[node]
    itself = np.arange(len(made))
    for name, child in (("left", tests.left[node]), ("right", tests.right[node])):
        made[name] = itself
        made[name][inner] = np.where(child >= 0, place_node[child.clip(0)], place_leaf[(~child).clip(0)])


def _with_sets(walk: Walk, tests: Tests, sets: NDArray[np.int64], place: NDArray[np.int64]) -> Walk:
    """Replace each set's record by the root of a search over its boundaries; further records go to the end.

    A value is in the set where it lies right of an odd number of boundaries.
    """
    values, more = tests.values(), []
    records, end = walk.nodes.copy(), len(walk.nodes)
    for node in sets.tolist():
        bounds = values[tests.first[node] : tests.first[node + 1]]
        at, size = int(place[node]), len(bounds)
        spots = [at, *range(end, end + size - 1)]
        end += size - 1
        found = _search(size, spots, int(records["left"][at]), int(records["right"][at]))
        made = np.zeros(size, records.dtype)
        middle, made["left"], made["right"] = found.T
        made["boundary"] = bounds[middle]
        feature = int(records["feature"][at]) >> 1 << 1
        # NaN belongs to the stretch before boundary 0, or between boundaries 0 and 1.
        made["feature"] = feature | ((middle == 0) & tests.missing_right[node])
        records[at] = made[0]
        more.append(made[1:])
    leaf = np.concatenate([walk.leaf, np.zeros(end - len(walk.leaf), np.uint32)])
    return Walk(np.concatenate([records, *more]), leaf, walk.root, walk.leaves)


def _search(size: int, spots: list[int], left: int, right: int) -> NDArray[np.int64]:
    """[size] of (boundary, where x goes below it, and from it on) for a balanced search over `size` boundaries."""
    found = np.zeros((size, 3), np.int64)
    todo, used = [(0, 0, size)], 1
    while todo:
        spot, low, high = todo.pop()
        middle = (low + high) // 2
        found[spot, 0] = middle
        for side, (a, b) in enumerate(((low, middle), (middle + 1, high))):
            if a == b:
                found[spot, 1 + side] = right if a % 2 else left
            else:
                found[spot, 1 + side] = spots[used]
                todo.append((used, a, b))
                used += 1
    return found
