"""How an ensemble is computed, and the tables for it: one block of bytes that the kernel reads from front to back.

    header      HEADER, int64 each
    slots       [slots] of SLOT uint32: feature, levels of the search tree, whether NaN matters, its levels' nodes
    keys        search trees over the slots' boundaries, 16 keys a node
    groups      [groups] uint32: trees
    tests       per group: which tests become lines of bits (`lines.stream`)
    trees       per tree: kind, lookups, the target of each, then what the kind needs (`_Writer`)
    leaves      per tree: a table of leaf values for each lookup
    walk        records and leaf numbers of the trees that are walked (`walker`)
    planes, rows, row_nodes, row_leaves     what single rows need (`rows`)

A *line* is one bit for each row of a block: whether the row goes right at a test. Tests that several nodes share are
computed once. Trees are taken in *groups* whose lines fit the cache together.

Kinds of trees, the cheapest by `_costs` is taken:
    1..8                perfect: a tree of that height, a line for each of its 2^height - 1 places
    PROGRAM + 6, 7, 8   a program over lines (`programs`), leaf numbers of up to so many bits
    WALK                records, walked eight rows at a time
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees import row_tables
from neoc.kernels.trees.ensemble import Ensemble
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.lines import Group, groups_of, stream
from neoc.kernels.trees.tree_tables import WALK, Choice, Trees, choose, padded, record
from neoc.kernels.trees.units import Unit, base_of, units_of
from neoc.kernels.trees.walker import Walk, walk_of

MAGIC = 0x3173656572745F63
"""c_trees1"""
HEADER = (
    *("magic", "bytes", "features", "targets", "slots", "groups", "trees", "few_rows"),
    *("at_slots", "at_keys", "at_groups", "at_tests", "at_entries", "at_trees", "at_leaves", "at_base"),
    *("at_walk", "at_walk_leaf", "at_rows", "at_row_nodes", "at_row_leaves", "at_planes"),
    *("scratch_sums", "scratch_rank", "scratch_nan", "scratch_numbers", "scratch_bits", "scratch_lines"),
    *("scratch_masks", "scratch_bytes"),
)
SLOT = 8
BITS = 17
"""lines of a slot: 16 bits of the rank, and where the value is NaN"""
CACHE = 640 << 10
"""bytes of lines in a group"""


@dataclass(frozen=True)
class Shape:
    """What the generated kernel depends on; everything else is in the tables."""

    compare: str
    sum: str
    kinds: tuple[int, ...]
    """of trees that occur"""
    levels: tuple[int, ...]
    """of search trees that occur"""
    sets: bool
    single: bool
    """one target"""
    rows: str
    """how few rows are computed: 'masks6', 'masks8' or 'walk'"""


@dataclass(frozen=True)
class Layout:
    shape: Shape
    tables: NDArray[np.uint8]
    facts: dict[str, int]
    """of the layout, for people: lines, groups, trees of each kind"""


def search_tree(boundaries: NDArray[Any]) -> list[NDArray[Any]]:
    """Levels of a static 16-way search tree, [nodes, 16] keys each, NaN where there is no boundary.

    Counting the keys <= x of node k gives c; the next node is 16 k + c; behind the last level it is the rank of x.
    """
    count, step = len(boundaries), 1
    levels: list[NDArray[Any]] = []
    while True:
        nodes = -(-(count + 1) // (16 * step))
        last = np.arange(1, 16 * nodes + 1) * step - 1
        keys = np.full(16 * nodes, np.nan, boundaries.dtype)
        keys[last < count] = boundaries[last[last < count]]
        levels.insert(0, keys.reshape(nodes, 16))
        if nodes == 1:
            return levels
        step *= 16


def layout_of(e: Ensemble, isa: Isa) -> Layout:
    """Decide how a checked ensemble is computed, and write its tables."""
    trees = Trees(e)
    base, first = base_of(e)
    units = units_of(e, trees.tests, trees.forest, trees.atoms, first)
    choices = [choose(trees, unit, isa) for unit in units]
    way = row_tables.way_of(trees, units, isa)
    by_lines, walked = np.zeros(len(e.roots), bool), np.zeros(len(e.roots), bool)
    for unit, choice in zip(units, choices, strict=True):
        by_lines[unit.tree] = choice.kind != WALK
        walked[unit.tree] = way == "walk" or choice.kind == WALK
    walk = walk_of(trees.tests, trees.forest, e.roots, walked, np.dtype(e.row_dtype))
    groups = groups_of(trees.node_tree, trees.atoms, by_lines, len(e.roots), CACHE // isa.line)
    return _packed(trees, isa, base, units, choices, groups, walk, row_tables.rows_of(trees, units, way, walk))


def _packed(
    trees: Trees,
    isa: Isa,
    base: NDArray[Any],
    units: list[Unit],
    choices: list[Choice],
    groups: list[Group],
    walk: Walk,
    rows: row_tables.Rows,
) -> Layout:
    e, tests = trees.ensemble, trees.tests
    slots, keys = _slots(trees, any(c.kind != WALK for c in choices) or rows.way != "walk", isa)
    streams = [stream(g, trees.atoms, isa.line) for g in groups]
    starts = [g.first_tree for g in groups[1:]]
    words: list[NDArray[np.uint32]] = []
    leaves: list[NDArray[np.uint8]] = []
    counts = np.zeros(len(groups), np.uint32)
    for unit, choice in zip(units, choices, strict=True):
        group = bisect_right(starts, unit.tree)
        counts[group] += 1
        made = record(trees, unit, choice, groups[group], walk, isa)
        words.append(made[0])
        leaves += made[1]
    sections = {
        "at_slots": slots,
        "at_keys": keys,
        "at_groups": counts,
        "at_tests": np.concatenate([s[0] for s in streams]),
        "at_entries": np.concatenate([s[1] for s in streams]),
        "at_trees": np.concatenate(words) if words else np.zeros(0, np.uint32),
        "at_leaves": np.concatenate(leaves) if leaves else np.zeros(0, np.uint8),
        "at_base": base,
        "at_walk": walk.nodes,
        "at_walk_leaf": walk.leaf,
        "at_rows": rows.words,
        "at_row_nodes": rows.nodes,
        "at_row_leaves": rows.leaves,
        "at_planes": rows.planes,
    }
    levels = tuple(sorted(set(slots[:, 1].tolist())))
    kinds = tuple(sorted({c.kind for c in choices}))
    shape = Shape(e.compare, e.sum, kinds, levels, any(len(g.sets) for g in groups), e.targets == 1, rows.way)
    temporaries = max((c.temporaries for c in choices), default=0)
    lines = max(g.lines for g in groups) + temporaries
    head = {
        "magic": MAGIC,
        "features": e.features,
        "targets": e.targets,
        "slots": len(slots),
        "groups": len(groups),
        "trees": len(units),
        "few_rows": _few_rows(trees, units, choices, rows.way, isa),
        **_scratch(e, isa, len(slots), lines, len(units)),
    }
    facts = {"trees": len(units), "lines": lines, "groups": len(groups), "slots": len(tests.slot_feature)}
    facts |= {f"kind {k}": sum(c.kind == k for c in choices) for k in kinds}
    return Layout(shape, _joined(head, sections), facts)


def _slots(trees: Trees, needed: bool, isa: Isa) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """(slots, keys); none where every tree is walked."""
    tests = trees.tests
    count = len(tests.slot_feature) if needed else 0
    slots = np.zeros((count, SLOT), np.uint32)
    nodes: list[NDArray[Any]] = []
    place = 0
    for s in range(count):
        levels = search_tree(tests.boundaries[tests.slot_start[s] : tests.slot_start[s + 1]])
        slots[s, :2] = tests.slot_feature[s], len(levels)
        for k, level in enumerate(levels):
            slots[s, 3 + k] = place
            place += len(level)
        nodes += levels
    if count:
        atoms = trees.atoms.key
        slots[np.unique(atoms[(atoms >> 4) & 1 == 1] >> 24), 2] = 1
    keys = np.concatenate(nodes) if nodes else np.zeros((0, 16), trees.ensemble.row_dtype)
    return slots, integer_keys(keys) if isa.integer_keys and keys.dtype == np.float32 else keys


def integer_keys(boundaries: NDArray[np.float32]) -> NDArray[np.int32]:
    """float32 -> int32 of the same order: negative floats count downwards. Both zeros become -1, so that -0.0 >= 0.0
    holds; NaN becomes the largest, which no value's key reaches."""
    bits = boundaries.view(np.int32)
    keys = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    keys = np.where(boundaries == 0, np.int32(-1), keys)
    return np.where(np.isnan(boundaries), np.int32(0x7FFFFFFF), keys).astype(np.int32)


def _few_rows(trees: Trees, units: list[Unit], choices: list[Choice], way: str, isa: Isa) -> int:
    """Up to how many rows it is cheaper to take them one by one than as a block."""
    per_tree = {"masks6": 18.0, "masks8": 40.0}
    row = sum(per_tree.get(way, 2.5 * max(1, trees.height(u)) + 12.0) for u in units) + 200
    block = sum(c.cycles for c in choices) + isa.rows * 5.0 * len(trees.tests.slot_feature)
    return int(np.clip(block / row, 1, isa.rows - 1))


def _scratch(e: Ensemble, isa: Isa, slots: int, lines: int, units: int) -> dict[str, int]:
    size = np.dtype(e.sum_dtype).itemsize
    parts = {
        "sums": e.targets * isa.rows * size,
        "rank": 2 * isa.rows,
        "nan": isa.rows,
        "numbers": 4 * isa.rows,
        "bits": slots * BITS * isa.line,
        "lines": lines * isa.line,
        "masks": (units + 8) * 8,
    }
    found, at = {}, 0
    for name, bytes_ in parts.items():
        found[f"scratch_{name}"] = at
        at += -(-bytes_ // 64) * 64
    return {**found, "scratch_bytes": at}


def _joined(head: dict[str, int], sections: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    place = -(-8 * len(HEADER) // 64) * 64
    blobs = []
    for name, array in sections.items():
        raw = padded(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        head[name] = place
        blobs.append(raw)
        place += len(raw)
    head["bytes"] = place
    front = np.array([head[name] for name in HEADER], np.int64).view(np.uint8)
    return np.concatenate([padded(front), *blobs])
