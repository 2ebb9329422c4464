"""What is evaluated as one: a tree, or neighbouring trees that differ in their leaves alone (vector leaves)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees.ensemble import Ensemble
from neoc.kernels.trees.forest import Forest
from neoc.kernels.trees.lines import Atoms
from neoc.kernels.trees.ranks import Tests


@dataclass(frozen=True)
class Lookup:
    """One table of leaf values: `values[k]` belongs to the k-th leaf of the unit, counted by their numbers."""

    target: int
    values: NDArray[Any]


@dataclass(frozen=True)
class Unit:
    tree: int
    """whose nodes are evaluated"""
    nodes: NDArray[np.int64]
    leaves: NDArray[np.int64]
    """of that tree, ascending"""
    lookups: tuple[Lookup, ...]
    """in the order in which they are added"""


def base_of(e: Ensemble) -> tuple[NDArray[Any], int]:
    """(sums after the leading trees that are one leaf each, how many those are)."""
    base = np.zeros(e.targets, e.sum_dtype)
    count = 0
    while count < len(e.roots) and e.roots[count] < 0:
        leaf = ~e.roots[count]
        base[e.leaf_target[leaf]] += e.leaf_value[leaf]
        count += 1
    return base, count


def units_of(e: Ensemble, tests: Tests, forest: Forest, atoms: Atoms, first: int) -> list[Unit]:
    """The trees from `first` on."""
    node_order, node_start = _by_tree([(x.node_tree, x.node) for x in forest.levels], len(e.roots))
    leaf_order, leaf_start = _by_tree([(x.leaf_tree, x.leaf) for x in forest.levels], len(e.roots))
    units: list[Unit] = []
    before = b""
    for t in range(first, len(e.roots)):
        leaves = leaf_order[leaf_start[t] : leaf_start[t + 1]]
        lookups = _lookups(e, leaves)
        nodes = node_order[node_start[t] : node_start[t + 1]]
        if e.targets > 1:
            key = _structure(tests, atoms, nodes, leaves)
            if key == before and len(nodes):
                units[-1] = replace(units[-1], lookups=units[-1].lookups + lookups)
                continue
            before = key
        units.append(Unit(t, nodes, leaves, lookups))
    return units


def _by_tree(parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]], trees: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(things sorted by tree, then number; where each tree's begin)."""
    tree = np.concatenate([p[0] for p in parts])
    thing = np.concatenate([p[1] for p in parts])
    order = np.lexsort((thing, tree))
    return thing[order], np.searchsorted(tree[order], np.arange(trees + 1))


def _lookups(e: Ensemble, leaves: NDArray[np.int64]) -> tuple[Lookup, ...]:
    targets, values = e.leaf_target[leaves], e.leaf_value[leaves]
    if (targets == targets[0]).all():
        return (Lookup(int(targets[0]), values),)
    # x + -0.0 is x, for every x.
    nothing = np.array(-0.0, values.dtype)
    return tuple(Lookup(int(k), np.where(targets == k, values, nothing)) for k in np.unique(targets))


def _structure(tests: Tests, atoms: Atoms, nodes: NDArray[np.int64], leaves: NDArray[np.int64]) -> bytes:
    """Equal for trees that take every row to the leaf of the same number."""
    parts = [atoms.of(nodes), atoms.first[nodes + 1] - atoms.first[nodes], tests.missing_right[nodes].astype(np.int64)]
    for child in (tests.left[nodes], tests.right[nodes]):
        inner = child >= 0
        place = np.searchsorted(nodes, child.clip(0))
        parts.append(np.where(inner, place, ~np.searchsorted(leaves, (~child).clip(0))))
    return b"".join(p.tobytes() for p in parts)
