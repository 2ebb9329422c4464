"""Trees level by level: which node and which leaf lies where in which tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees.ranks import Tests

MOST_LEVELS = 8
"""places are known down to here: a deeper tree's are not numbered"""


@dataclass(frozen=True)
class Level:
    """The nodes and leaves of all trees at one depth. A place counts from the left, 0 to 2^depth - 1."""

    node_tree: NDArray[np.int64]
    node_place: NDArray[np.int64]
    node: NDArray[np.int64]
    leaf_tree: NDArray[np.int64]
    leaf_place: NDArray[np.int64]
    leaf: NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    levels: tuple[Level, ...]
    height: NDArray[np.int64]
    """[trees]: nodes on the longest way to a leaf; 0 for a tree that is a leaf"""
    leaves: NDArray[np.int64]
    """[trees]"""


def forest_of(tests: Tests, roots: NDArray[Any]) -> Forest:
    """Walk all trees at once, level by level."""
    trees = len(roots)
    height, leaves = np.zeros(trees, np.int64), np.zeros(trees, np.int64)
    tree, place, at = np.arange(trees), np.zeros(trees, np.int64), roots.astype(np.int64)
    levels: list[Level] = []
    while len(at):
        inner = at >= 0
        level = Level(tree[inner], place[inner], at[inner], tree[~inner], place[~inner], ~at[~inner])
        leaves += np.bincount(level.leaf_tree, minlength=trees)
        levels.append(level)
        height[level.node_tree] = len(levels)
        below = level.node_place * 2 if len(levels) <= MOST_LEVELS else np.zeros(len(level.node), np.int64)
        tree = np.concatenate([level.node_tree, level.node_tree])
        place = np.concatenate([below, below + 1])
        at = np.concatenate([tests.left[level.node], tests.right[level.node]])
    return Forest(tuple(levels), height, leaves)
