"""The records of trees: choosing the kind of each, and writing its words and leaf tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees import programs
from neoc.kernels.trees.ensemble import Ensemble
from neoc.kernels.trees.forest import Forest, forest_of
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.lines import Atoms, Group, atoms_of, node_lines
from neoc.kernels.trees.ranks import Tests, tests_of
from neoc.kernels.trees.units import Unit
from neoc.kernels.trees.walker import Walk

PROGRAM, WALK = 16, 32
_MOST_LEAVES = 256
_LOWEST = 4
"""height of perfect trees: a lower one is a program of few operations, and each kind is more code"""

# Cycles of a block, measured on a Zen 4 with lines of 64 bytes; what counts are their ratios.
_NODE, _OP, _STEP, _LOAD = 2.7, 6.0, 2.2, 1.5
"""a place of a perfect tree, an operation of a program, a row's step of a walk, a row's leaf where it is loaded"""


class Trees:
    """An ensemble with everything that is derived from it once."""

    def __init__(self, e: Ensemble) -> None:
        self.ensemble = e
        self.tests: Tests = tests_of(e)
        self.forest: Forest = forest_of(self.tests, e.roots)
        self.atoms: Atoms = atoms_of(self.tests)
        self.left, self.right = self.tests.left.tolist(), self.tests.right.tolist()
        self.node_tree = np.zeros(e.nodes, np.int64)
        for level in self.forest.levels:
            self.node_tree[level.node] = level.node_tree

    def height(self, unit: Unit) -> int:
        return int(self.forest.height[unit.tree])

    def program(self, unit: Unit) -> programs.Made | None:
        root = int(self.ensemble.roots[unit.tree])
        return programs.program_of(root, self.left, self.right, fill=self.height(unit) > programs.MOST_BITS)


def lookup_cycles(bits: int, isa: Isa) -> float:
    """Of adding one leaf a row, for a block."""
    if isa.lookup == "scalar":
        return _LOAD * isa.rows
    return {7: 160.0, 8: 360.0}.get(bits, 110.0)


@dataclass(frozen=True)
class Choice:
    kind: int
    cycles: float
    """of a block"""
    program: programs.Made | None = None

    @property
    def temporaries(self) -> int:
        """lines that it needs beside those of tests"""
        return len(self.program.ops) if self.program else 0


def choose(trees: Trees, unit: Unit, isa: Isa) -> Choice:
    """The cheapest kind for a tree."""
    height, count, nodes = max(1, trees.height(unit)), len(unit.lookups), len(unit.nodes)
    found = [Choice(WALK, isa.rows * (_STEP * height + _LOAD * count))]
    if height <= 8 and (height >= _LOWEST):
        found.append(Choice(height, _NODE * (1 << height) + count * lookup_cycles(height, isa)))
    dense = _LOWEST <= height <= 8 and 2 * nodes >= 1 << height
    if not dense and len(unit.leaves) <= _MOST_LEAVES:
        made = trees.program(unit)
        if made is not None:
            bits, ops = max(6, len(made.bits)), len(made.ops)
            found.append(Choice(PROGRAM + bits, _OP * ops + count * lookup_cycles(bits, isa), made))
    return min(found, key=lambda c: c.cycles)


def leaf_table(values: NDArray[Any], isa: Isa) -> NDArray[np.uint8]:
    """Values by leaf number -> bytes as the kernel's lookup wants them.

    'bytes': byte 0 of all values, then byte 1 ..., 64 entries at least; 'floats': 64 entries at least.
    """
    if isa.lookup != "scalar" and len(values) < 64:
        values = np.concatenate([values, np.zeros(64 - len(values), values.dtype)])
    values = np.ascontiguousarray(values)
    if isa.lookup == "bytes":
        return np.ascontiguousarray(values.view(np.uint8).reshape(len(values), -1).T).reshape(-1)
    return padded(values.view(np.uint8))


def padded(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """To whole 64 bytes."""
    return np.concatenate([raw, np.zeros(-len(raw) % 64, np.uint8)])


def record(
    trees: Trees, unit: Unit, choice: Choice, group: Group, walk: Walk, isa: Isa
) -> tuple[NDArray[np.uint32], list[NDArray[np.uint8]]]:
    """(words, leaf tables) of one tree: kind, number of lookups, their targets, then

    perfect   a line for each place, the root first, level by level: places in bytes
    program   number of operations, four lines each (selector, where set, where not, result), the lines of the bits
    walk      the root's record, bytes of a leaf table
    """
    head = [choice.kind, len(unit.lookups), *(look.target for look in unit.lookups)]
    if choice.kind == WALK:
        order = np.searchsorted(unit.leaves, walk.leaves[unit.tree])
        tables = [padded(np.ascontiguousarray(x.values[order]).view(np.uint8)) for x in unit.lookups]
        return np.array([*head, walk.root[unit.tree], len(tables[0])], np.uint32), tables
    lines = node_lines(group, trees.atoms, unit.nodes)
    if choice.program is not None:
        body, entry = _program(unit, choice.program, choice.kind - PROGRAM, group.lines, lines, isa.line)
    else:
        body, entry = _perfect(trees, unit, choice.kind, lines, isa.line)
    return np.concatenate([np.array(head, np.uint32), body]), [leaf_table(x.values[entry], isa) for x in unit.lookups]


def _program(
    unit: Unit, made: programs.Made, bits: int, temporary: int, lines: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    operands = np.array(made.ops, np.int64).reshape(-1, 3)
    results = np.arange(len(operands))[:, None] + 2
    outputs = np.array(made.bits + [programs.ZERO] * (bits - len(made.bits)), np.int64)
    flat = np.concatenate([np.hstack([operands, results]).reshape(-1), outputs])
    node = np.searchsorted(unit.nodes, (~flat).clip(0)).clip(0, max(0, len(lines) - 1))
    named = lines[node] if len(lines) else flat
    place = np.where(flat < 0, named, np.where(flat < 2, flat, flat - 2 + temporary))
    entry = np.zeros(1 << bits, np.int64)
    for leaf, first, log in made.entries:
        entry[first : first + (1 << log)] = leaf
    entry = np.searchsorted(unit.leaves, entry).clip(0, len(unit.leaves) - 1)
    return np.concatenate([[len(operands)], place * width]).astype(np.uint32), entry


def _perfect(
    trees: Trees, unit: Unit, height: int, lines: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    places = np.zeros((1 << height) - 1, np.uint32)
    entry = np.zeros(1 << height, np.int64)
    todo = [(int(trees.ensemble.roots[unit.tree]), 0, 0)]
    nodes, leaves = unit.nodes, unit.leaves
    line = dict(zip(nodes.tolist(), lines.tolist(), strict=True))
    number = dict(zip(leaves.tolist(), range(len(leaves)), strict=True))
    for at, depth, place in todo:
        if at >= 0:
            places[(1 << depth) - 1 + place] = line[at]
            todo += [(trees.left[at], depth + 1, 2 * place), (trees.right[at], depth + 1, 2 * place + 1)]
        else:
            entry[place << (height - depth) : (place + 1) << (height - depth)] = number[~at]
    return places * np.uint32(width), entry
