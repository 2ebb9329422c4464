"""Which tests become lines of bits: the distinct ones of each group of trees, in the order in which they are made."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees.ranks import Tests

FIRST = 2
"""line 0 is all zeros, line 1 all ones"""


@dataclass(frozen=True)
class Group:
    """A run of trees whose lines are made together."""

    first_tree: int
    end_tree: int
    keys: NDArray[np.int64]
    """distinct atoms in the order of their lines"""
    sets: NDArray[np.int64]
    """nodes whose lines are joined from several atoms; they follow the atoms' lines"""

    @property
    def lines(self) -> int:
        return FIRST + len(self.keys) + len(self.sets)


@dataclass(frozen=True)
class Atoms:
    """The atoms of all nodes: `key[first[n] : first[n + 1]]` are node n's, joined by xor where there are several."""

    first: NDArray[np.int64]
    key: NDArray[np.int64]

    def of(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The atoms of some nodes, one node's after another's."""
        counts = self.first[nodes + 1] - self.first[nodes]
        starts = np.repeat(self.first[nodes] - np.cumsum(counts) + counts, counts)
        return self.key[starts + np.arange(len(starts))]


def atom(slot: NDArray[Any], rank: NDArray[Any], right: NDArray[Any]) -> NDArray[np.int64]:
    """One number for (slot, rank, whether NaN goes right), ascending in the order in which lines are made:
    by slot, then by the upper digits of the rank, then NaN left before NaN right, then by the lowest digit."""
    slot, rank = np.asarray(slot, np.int64), np.asarray(rank, np.int64)
    return (slot << 24) | (rank >> 4 << 5) | (np.asarray(right, np.int64) << 4) | (rank & 15)


def atoms_of(tests: Tests) -> Atoms:
    """A plain node is one atom. A set is its boundaries with NaN left, and the line of NaN alone where NaN goes right:
    a boundary behind the last one, which no value reaches."""
    owner = np.repeat(np.arange(len(tests.left)), np.diff(tests.first))
    is_set = tests.is_set
    key = atom(tests.slot, tests.rank, tests.missing_right[owner] & ~is_set[owner])
    extra = np.flatnonzero(is_set & tests.missing_right)
    slot = tests.slot[tests.first[extra]]
    beyond = np.diff(tests.slot_start)[slot] + 1
    owner = np.concatenate([owner, extra])
    key = np.concatenate([key, atom(slot, beyond, np.ones(len(extra)))])
    order = np.argsort(owner, kind="stable")
    return Atoms(np.searchsorted(owner[order], np.arange(len(tests.left) + 1)).astype(np.int64), key[order])


def groups_of(
    node_tree: NDArray[np.int64], atoms: Atoms, wanted: NDArray[np.bool_], trees: int, most: int
) -> list[Group]:
    """Cut the trees into runs of at most `most` distinct atoms (a single tree may have more).

    node_tree: the tree of each node. wanted: the trees that are evaluated by lines.
    """
    nodes = np.flatnonzero(wanted[node_tree])
    nodes = nodes[np.argsort(node_tree[nodes], kind="stable")]
    key = atoms.of(nodes)
    counts = atoms.first[nodes + 1] - atoms.first[nodes]
    key_tree = np.repeat(node_tree[nodes], counts)
    starts = np.searchsorted(key_tree, np.arange(trees + 1))
    edges = _edges(key, starts, trees, most)
    set_nodes = nodes[counts > 1]
    groups = []
    for a, b in pairwise(edges):
        # Ascending, for `node_lines` searches them: trees need not stand in the order of their nodes.
        sets = np.sort(set_nodes[(node_tree[set_nodes] >= a) & (node_tree[set_nodes] < b)])
        groups.append(Group(a, b, np.unique(key[starts[a] : starts[b]]), sets))
    return groups


def _edges(key: NDArray[np.int64], starts: NDArray[np.int64], trees: int, most: int) -> list[int]:
    distinct, number = np.unique(key, return_inverse=True)
    if len(distinct) <= most:
        return [0, trees]
    seen = np.full(len(distinct), -1, np.int64)
    edges, count = [0], 0
    for t in range(trees):
        mine = np.unique(number[starts[t] : starts[t + 1]])
        fresh = int(np.count_nonzero(seen[mine] != len(edges)))
        if count and count + fresh > most:
            edges.append(t)
            count, fresh = 0, len(mine)
        seen[mine] = len(edges)
        count += fresh
    return [*edges, trees]


def node_lines(group: Group, atoms: Atoms, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The line of each of the nodes, which belong to the group's trees."""
    found = np.searchsorted(group.keys, atoms.key[atoms.first[nodes]]) + FIRST
    if len(group.sets):
        place = np.searchsorted(group.sets, nodes).clip(0, len(group.sets) - 1)
        found = np.where(group.sets[place] == nodes, FIRST + len(group.keys) + place, found)
    return found


def stream(group: Group, atoms: Atoms, width: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """(uint32 words, bytes) that the kernel follows to make the group's lines of `width` bytes.

    words: number of slots; per slot: slot, number of buckets; per bucket (16 ranks): its number, how many
    boundaries with NaN left, how many with NaN right; number of sets; per set: number of lines, their places in bytes.
    bytes: the lowest digits of the boundaries.
    """
    keys = group.keys
    starts = np.flatnonzero(np.diff(keys >> 5, prepend=-1))
    counts = np.diff(np.append(starts, len(keys)))
    rights = np.add.reduceat((keys >> 4) & 1, starts) if len(starts) else counts
    slot = keys[starts] >> 24
    opens = np.diff(slot, prepend=-1) != 0
    slot_starts = np.flatnonzero(opens)
    words = np.zeros(1 + 2 * len(slot_starts) + 3 * len(starts), np.uint32)
    words[0] = len(slot_starts)
    at = 1 + 2 * np.arange(len(slot_starts)) + 3 * slot_starts
    words[at], words[at + 1] = slot[slot_starts], np.diff(np.append(slot_starts, len(starts)))
    at = 1 + 2 * np.cumsum(opens) + 3 * np.arange(len(starts))
    words[at] = (keys[starts] >> 5) & 0x7FFFF
    words[at + 1], words[at + 2] = counts - rights, rights
    joins = [np.array([len(group.sets)], np.uint32)]
    for node in group.sets:
        mine = np.searchsorted(keys, atoms.key[atoms.first[node] : atoms.first[node + 1]]) + FIRST
        joins += [np.array([len(mine)], np.uint32), (mine * width).astype(np.uint32)]
    return np.concatenate([words, *joins]), (keys & 15).astype(np.uint8)
