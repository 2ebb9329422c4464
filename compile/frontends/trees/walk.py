"""The walker: what an Ensemble computes, in plain numpy, exactly as the source adds and compares. Slow and simple."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neoc.compile.frontends.trees.ensemble import EQ, GT, GTE, LEQ, LT, MEMBER, NEQ, Array, Ensemble

_COMPARE: tuple[tuple[int, Callable[[Array, Array], Array]], ...] = (
    (LEQ, np.less_equal),
    (LT, np.less),
    (GTE, np.greater_equal),
    (GT, np.greater),
    (EQ, np.equal),
    (NEQ, np.not_equal),
)


def evaluate(e: Ensemble, x: Array) -> Array:
    """[rows, T] sums, dtype of the leaves: one accumulator per target, trees in order. x: [rows, F], NaN is missing."""
    ends = leaves(e, x)
    sums = np.zeros((len(x), e.targets), e.leaf_value.dtype)
    rows = np.arange(len(x))
    for tree in range(e.trees):
        leaf = ends[:, tree]
        sums[rows, e.leaf_target[leaf]] += e.leaf_value[leaf]
    return sums


def leaves(e: Ensemble, x: Array) -> Array:
    """int64 [rows, trees]: the leaf that each row ends in."""
    rows = len(x)
    if not e.features:
        x = np.zeros((rows, 1), e.threshold.dtype)
    at = np.broadcast_to(e.roots, (rows, e.trees)).copy()
    result = np.empty((rows, e.trees), np.int64)
    row, tree = np.divmod(np.arange(rows * e.trees), max(1, e.trees))
    is_member = _Membership(e)
    while len(row):
        node = at[row, tree]
        holds = _holds(e, node, x[row, e.feature[node]], is_member)
        child = np.where(holds, e.on_true[node], e.on_false[node])
        done = child < 0
        result[row[done], tree[done]] = ~child[done]
        at[row, tree] = child
        row, tree = row[~done], tree[~done]
    return result


def _holds(e: Ensemble, node: Array, value: Array, is_member: _Membership) -> Array:
    """Whether each node's comparison holds for the value beside it."""
    holds = np.zeros(len(node), bool)
    mode, threshold = e.mode[node], e.threshold[node]
    for number, compare in _COMPARE:
        which = mode == number
        holds[which] = compare(value[which], threshold[which])
    which = mode == MEMBER
    holds[which] = is_member(node[which], value[which])
    missing = np.isnan(value)
    holds[missing] = e.missing_true[node[missing]]
    return holds


class _Membership:
    """Whether value i is in the set of node i: a look-up among all pairs (node, number of the member)."""

    def __init__(self, e: Ensemble) -> None:
        self._known = np.unique(e.members)
        owner = np.repeat(np.arange(e.nodes), np.diff(e.member_start))
        self._pairs = np.unique(owner * len(self._known) + np.searchsorted(self._known, e.members))

    def __call__(self, node: Array, value: Array) -> Array:
        if not len(self._known):
            return np.zeros(len(node), bool)
        number = np.minimum(np.searchsorted(self._known, value), len(self._known) - 1)
        found: Array = (self._known[number] == value) & np.isin(node * len(self._known) + number, self._pairs)
        return found
