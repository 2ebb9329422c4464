"""Every test of every node in one form: `x >= boundary`, or the union of such, over ranks among a feature's boundaries.

    x <  t        right where x >= t                    (the false branch is `right`)
    x <= t        right where x >= next(t)              next: the next larger float, so the same comparison, exactly
    x >= t, x > t right where so                        (the true branch is `right`)
    x == v        right where x >= v  xor  x >= next(v)
    x in {a, b}   the same, one interval a member; ends that meet cancel out
    floor(x) ...  the interval [v, v + 1)

    rank of x = number of the feature's boundaries <= x;   x >= boundary k  <=>  rank(x) >= k + 1

A comparison of ranks is the comparison of floats: nothing is rounded. -0.0 and 0.0 are one boundary. NaN has no rank:
where it goes is a bit of the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.trees.ensemble import AS_IS, EQ, FLOOR, GT, GTE, LEQ, MEMBER, NEQ, TRUNCATE, Ensemble

MOST_RANKS = 65_534
"""boundaries of one slot: a rank is 16 bits. A feature with more gets several slots"""


@dataclass(frozen=True)
class Tests:
    """What the nodes ask, in ranks. A slot is a feature, or one stretch of 65,534 of its boundaries."""

    slot_feature: NDArray[np.int64]
    slot_start: NDArray[np.int64]
    """[slots + 1] into `boundaries`"""
    boundaries: NDArray[Any]
    """ascending within a slot, in the dtype of the rows; NaN (never reached) last"""
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    """[nodes]: a node, or ~leaf"""
    missing_right: NDArray[np.bool_]
    first: NDArray[np.int64]
    """[nodes + 1] into the two below: a node's boundaries, one for an interval that is open above"""
    slot: NDArray[np.int64]
    rank: NDArray[np.int64]
    """1-based: the test is rank(x) >= rank; several of one node are joined by xor"""

    @property
    def is_set(self) -> NDArray[np.bool_]:
        return np.asarray(np.diff(self.first) != 1)

    def values(self) -> NDArray[Any]:
        """The boundary of each (slot, rank)."""
        return np.asarray(self.boundaries[self.slot_start[self.slot] + self.rank - 1])

    def count(self, slot: int) -> int:
        return int(self.slot_start[slot + 1] - self.slot_start[slot])


def tests_of(e: Ensemble) -> Tests:
    """The tests of a checked ensemble."""
    true_is_right = np.isin(e.mode, (GTE, GT, EQ, MEMBER))
    left = np.where(true_is_right, e.false_child, e.true_child).astype(np.int64)
    right = np.where(true_is_right, e.true_child, e.false_child).astype(np.int64)
    node, value = _boundaries(e)
    order, first_slots = _ordered(e.feature[node], value)
    return _assemble(e, (left, right, true_is_right == e.missing_true), node, value, order, first_slots)


def _assemble(
    e: Ensemble,
    branches: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    node: NDArray[np.int64],
    value: NDArray[Any],
    order: NDArray[np.int64],
    new: NDArray[np.bool_],
) -> Tests:
    """`order` sorts by (feature, value); `new` says where in it another boundary begins."""
    feature = e.feature[node[order]].astype(np.int64)
    which = np.cumsum(new) - 1  # number of the distinct boundary
    distinct_feature = feature[new]
    starts = np.flatnonzero(np.diff(distinct_feature, prepend=-1))
    place = np.arange(len(distinct_feature)) - np.repeat(starts, np.diff(np.append(starts, len(distinct_feature))))
    opens = place % MOST_RANKS == 0
    slot_of = np.cumsum(opens) - 1
    slot_start = np.append(np.flatnonzero(opens), len(distinct_feature)).astype(np.int64)
    slot, rank = np.empty(len(node), np.int64), np.empty(len(node), np.int64)
    slot[order], rank[order] = slot_of[which], place[which] % MOST_RANKS + 1
    first = np.searchsorted(node, np.arange(e.nodes + 1)).astype(np.int64)
    return Tests(distinct_feature[opens], slot_start, value[order][new], *branches, first, slot, rank)


def _ordered(feature: NDArray[Any], value: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    order = np.lexsort((value, feature))  # NaN is last
    f, v = feature[order], value[order]
    same = (f[1:] == f[:-1]) & ((v[1:] == v[:-1]) | (np.isnan(v[1:]) & np.isnan(v[:-1])))
    return order, np.concatenate([np.ones(min(1, len(f)), bool), ~same])


def _boundaries(e: Ensemble) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """(node, boundary) pairs sorted by node; a set node's boundaries ascend."""
    casts = e.casts()[e.feature] if e.nodes else np.zeros(0, np.uint8)
    plain = np.isin(e.mode, (LEQ, GTE, GT, 1))
    nodes = np.flatnonzero(plain)
    strict = np.isin(e.mode[nodes], (LEQ, GT))  # right where x > t
    values = _lower(e.split[nodes], strict, casts[nodes])
    if len(nodes) == e.nodes:
        return nodes, values
    parts = _intervals(e, casts)
    # A set that no value is in: one boundary that no value reaches.
    bare = np.setdiff1d(np.flatnonzero(~plain), parts[0])
    node = np.concatenate([nodes, parts[0], bare])
    value = np.concatenate([values, parts[1], np.full(len(bare), np.nan, values.dtype)])
    order = np.lexsort((value, node))
    return node[order].astype(np.int64), value[order]


def _next(values: NDArray[Any]) -> NDArray[Any]:
    """The next larger float; NaN behind infinity, which no comparison reaches. Never -0.0."""
    up = np.nextafter(values, np.array(np.inf, values.dtype), dtype=values.dtype)
    return np.asarray(np.where(values == np.inf, np.array(np.nan, values.dtype), up) + np.array(0, values.dtype))


def _lower(split: NDArray[Any], strict: NDArray[np.bool_], cast: NDArray[np.uint8]) -> NDArray[Any]:
    """The boundary b with: cast(x) > split (strict), or >= split  <=>  x >= b."""
    bound = np.where(strict, _next(split), split) + np.array(0, split.dtype)
    whole = np.ceil(bound)  # cast(x) >= bound  <=>  cast(x) >= ceil(bound)
    bound = np.where(cast != AS_IS, whole, bound)
    # Cut towards zero, a value above c - 1 reaches a c <= 0.
    bound = np.where((cast == TRUNCATE) & (whole <= 0), _next(whole - 1), bound)
    return np.asarray(bound + np.array(0, split.dtype))


def _intervals(e: Ensemble, casts: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The boundaries of EQ, NEQ and MEMBER nodes: each value an interval, ends that meet cancelled."""
    dtype = e.row_dtype
    single = np.flatnonzero(np.isin(e.mode, (EQ, NEQ)))
    sets = np.flatnonzero(e.mode == MEMBER)
    node, value = single, e.split[single]
    if len(sets):
        counts = np.diff(e.member_start)[sets]
        chosen = np.repeat(e.mode == MEMBER, np.diff(e.member_start))
        node = np.concatenate([node, np.repeat(sets, counts)])
        value = np.concatenate([value, e.members[chosen]])
    held = value.astype(dtype)
    exact = held == value  # a member that the dtype of the rows has not is in no row
    node, held = node[exact], held[exact]
    cast = casts[node]
    whole = held == np.floor(held)
    keep = (cast == AS_IS) | whole
    node, held, cast = node[keep], held[keep], cast[keep]
    one = np.array(1, dtype)
    low = np.where((cast == TRUNCATE) & (held <= 0), _next(held - one), held)
    high = np.where((cast == FLOOR) | ((cast == TRUNCATE) & (held >= 0)), np.fmax(held + one, _next(held)), _next(held))
    pair = np.unique(np.stack([node.astype(np.float64), held.astype(np.float64)]), axis=1, return_index=True)[1]
    node, low, high = node[pair], low[pair], high[pair]
    nodes, values = np.concatenate([node, node]), np.concatenate([low, high]) + np.array(0, dtype)
    order, new = _ordered(nodes, values)
    odd = np.add.reduceat(np.ones(len(order), np.int64), np.flatnonzero(new)) % 2 == 1 if len(order) else new
    return nodes[order][new][odd], values[order][new][odd]
