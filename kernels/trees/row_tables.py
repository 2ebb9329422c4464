"""What single rows need: planes of rank bytes and trees of byte nodes ('masks'), or roots for walking ('walk').

masks: a *plane* is one byte of a row: the rank of a slot within one stretch of 255 boundaries, NaN being 0 or 255.
A node tests plane >= threshold; the 63 nodes of a tree's upper six levels are compared at once.

words       per group of 8 trees: 'walk': 8 roots; then per tree: number of lookups, (target, first leaf) of each
row_nodes   'masks': per tree 64 planes, 64 thresholds in 1-based heap order; with eight levels, for each of the 64
            subtrees three nodes (plane, threshold) and a pair of padding
row_leaves  per lookup the values: 'masks': 64 or 256 by leaf number; 'walk': by the walk's leaf number
planes      per slot: number of planes, then (first rank, value of NaN) of each
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.tree_tables import Trees
from neoc.kernels.trees.units import Unit
from neoc.kernels.trees.walker import Walk

STRETCH = 255
MOST_PLANES = 128
TOGETHER = 8
"""trees that are taken at once"""


@dataclass(frozen=True)
class Rows:
    way: str
    """'masks6', 'masks8' or 'walk'"""
    words: NDArray[np.uint32]
    nodes: NDArray[np.uint8]
    leaves: NDArray[Any]
    planes: NDArray[np.uint32]


def way_of(trees: Trees, units: list[Unit], isa: Isa) -> str:
    """How this ensemble's single rows are computed."""
    height = max((trees.height(u) for u in units), default=0)
    if not isa.row_masks or height > 8 or trees.tests.is_set.any() or not units:
        return "walk"
    if len(_plane_keys(trees)[0]) > MOST_PLANES:
        return "walk"
    return "masks6" if height <= 6 else "masks8"


def _plane_keys(trees: Trees) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(distinct planes, the plane of each node, its threshold); only where no node is a set."""
    stretch, threshold = np.divmod(trees.tests.rank - 1, STRETCH)
    key = trees.tests.slot << 16 | stretch << 1 | trees.tests.missing_right
    planes, plane = np.unique(key, return_inverse=True)
    return planes, plane, threshold + 1


def rows_of(trees: Trees, units: list[Unit], way: str, walk: Walk) -> Rows:
    if way == "walk":
        return _walk(trees, units, walk)
    planes, plane, threshold = _plane_keys(trees)
    node_bytes, words, leaves = [], [], []
    first = 0
    deep = way == "masks8"
    height = 8 if deep else 6
    for u in range(-(-len(units) // TOGETHER) * TOGETHER):
        if u >= len(units):
            node_bytes.append(np.zeros(512 if deep else 128, np.uint8))
            words.append([0])
            continue
        unit = units[u]
        heap, entry = _heap(trees, unit, height, plane, threshold)
        node_bytes.append(_node_bytes(heap, deep))
        looks = [len(unit.lookups)]
        for look in unit.lookups:
            looks += [look.target, first]
            leaves.append(look.values[entry])
            first += len(entry)
        words.append(looks)
    slots = len(trees.tests.slot_feature)
    plane_words: list[int] = []
    for s in range(slots):
        mine = planes[planes >> 16 == s]
        plane_words.append(len(mine))
        for key in mine.tolist():
            plane_words += [(key >> 1 & 0x7FFF) * STRETCH, 255 * (key & 1)]
    flat = np.array([w for looks in words for w in looks], np.uint32)
    return Rows(way, flat, np.concatenate(node_bytes), np.concatenate(leaves), np.array(plane_words, np.uint32))


def _heap(
    trees: Trees, unit: Unit, height: int, plane: NDArray[np.int64], threshold: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """([2^height, 2] of (plane, threshold), 1-based; the leaf (ordinal) of each of the 2^height ends)."""
    heap = np.zeros((1 << height, 2), np.uint8)
    entry = np.zeros(1 << height, np.int64)
    number = dict(zip(unit.leaves.tolist(), range(len(unit.leaves)), strict=True))
    todo = [(int(trees.ensemble.roots[unit.tree]), 0, 1)]
    for at, depth, place in todo:
        if at >= 0:
            heap[place] = plane[at], threshold[at]
            todo += [(trees.left[at], depth + 1, 2 * place), (trees.right[at], depth + 1, 2 * place + 1)]
        else:
            low = (place << (height - depth)) - (1 << height)
            entry[low : low + (1 << (height - depth))] = number[~at]
    return heap, entry


def _node_bytes(heap: NDArray[np.uint8], deep: bool) -> NDArray[np.uint8]:
    top = np.ascontiguousarray(heap[:64].T).reshape(-1)
    if not deep:
        return top
    below = np.zeros((64, 4, 2), np.uint8)
    below[:, 0] = heap[64:128]
    below[:, 1:3] = heap[128:256].reshape(64, 2, 2)
    return np.concatenate([top, below.reshape(-1)])


def _walk(trees: Trees, units: list[Unit], walk: Walk) -> Rows:
    words: list[int] = []
    leaves, first = [], 0
    for start in range(0, len(units), TOGETHER):
        mine = units[start : start + TOGETHER]
        roots = [int(walk.root[u.tree]) for u in mine]
        words += roots + roots[:1] * (TOGETHER - len(mine))
        for unit in mine:
            order = np.searchsorted(unit.leaves, walk.leaves[unit.tree])
            words.append(len(unit.lookups))
            for look in unit.lookups:
                words += [look.target, first]
                leaves.append(look.values[order])
                first += len(order)
        words += [0] * (TOGETHER - len(mine))
    values = np.concatenate(leaves) if leaves else np.zeros(0, trees.ensemble.sum_dtype)
    none = np.zeros(0, np.uint32)
    return Rows("walk", np.array(words, np.uint32), none.view(np.uint8), values, none)
