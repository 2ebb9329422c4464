"""Reductions, positions of extremes, running sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import ALL, CONSTANT, FLOATS, NUMBERS, In, Op, Rule, Xla

Array = Any
Axes = tuple[int, ...] | None
Reduce = Callable[..., Array]
"""(xla, x, axis, keepdims) -> array of x's dtype"""

_WIDE = FLOATS | {"int32", "int64", "uint32", "uint64"}


def axes_of(c: Call, axes: np.ndarray | None) -> Axes:
    """The axes to reduce: input 1, or before that the attribute. None: all of them, () none."""
    given = c.attribute("axes") if axes is None else axes.reshape(-1).tolist()
    if given is None or len(given) == 0:
        return () if c.attribute("noop_with_empty_axes", 0) else None
    return tuple(int(a) for a in given)


def reduction(name: str, versions: tuple[int, int], f: Reduce, dtypes: frozenset[str] = _WIDE) -> Op:
    def lower(c: Call, j: Xla, x: Array, axes: np.ndarray | None = None) -> Array:
        return f(j, x, axes_of(c, axes), bool(c.attribute("keepdims", 1)))

    return Op(name, versions, (In(dtypes), CONSTANT), lower)


def total(j: Xla, x: Array, axis: Axes, keep: bool) -> Array:
    return j.np.sum(x, axis, dtype=x.dtype, keepdims=keep)


def _mean(j: Xla, x: Array, axis: Axes, keep: bool) -> Array:
    return j.np.mean(x.astype(j.np.float32), axis, keepdims=keep).astype(x.dtype)


def _extreme(largest: bool) -> Reduce:
    def f(j: Xla, x: Array, axis: Axes, keep: bool) -> Array:
        if x.dtype == bool:
            return (j.np.any if largest else j.np.all)(x, axis, keepdims=keep)
        reduce = j.np.max if largest else j.np.min
        return reduce(x, axis, keepdims=keep, initial=None if x.size else _bound(x.dtype, largest))

    return f


def _bound(dtype: Any, largest: bool) -> Any:
    """What an empty set has as its largest or smallest element."""
    if np.dtype(dtype).kind in "iu":
        return np.iinfo(dtype).min if largest else np.iinfo(dtype).max
    return np.asarray(-np.inf if largest else np.inf, dtype)


def _log_sum_exp(j: Xla, x: Array, axis: Axes, keep: bool) -> Array:
    """log(sum(exp(x))), moved by the largest element so that exp does not overflow."""
    wide = x.astype(j.np.float32)
    if not x.size:
        return j.np.log(total(j, wide, axis, keep)).astype(x.dtype)
    top = j.np.max(wide, axis, keepdims=True)
    top = j.np.where(j.np.abs(top) == np.inf, 0, top)
    sums = j.np.log(j.np.sum(j.np.exp(wide - top), axis, keepdims=True)) + top
    return (sums if keep else sums.reshape(j.np.sum(x, axis).shape)).astype(x.dtype)


def _norm(j: Xla, x: Array, axis: Axes, keep: bool) -> Array:
    wide = x.astype(j.np.float32)
    return j.np.sqrt(total(j, wide * wide, axis, keep)).astype(x.dtype)


def _position(largest: bool) -> Callable[[Call, Xla, Array], Array]:
    """Of the first extreme element along the axis, or of the last one."""

    def lower(c: Call, j: Xla, x: Array) -> Array:
        axis = c.attribute("axis", 0)
        last = c.attribute("select_last_index", 0)
        x = j.np.flip(x, axis) if last else x
        found = (j.np.argmax if largest else j.np.argmin)(x, axis).astype(j.np.int64)
        found = x.shape[axis] - 1 - found if last else found
        return j.np.expand_dims(found, axis) if c.attribute("keepdims", 1) else found

    return lower


def _top_k(c: Call, j: Xla, x: Array, k: np.ndarray | None = None) -> tuple[Array, Array]:
    """By a stable sort: of equal elements the one with the lower index comes first.

    Largest first is the reverse of smallest first over the reversed axis, which keeps that order among equals.
    """
    axis = c.attribute("axis", -1) % x.ndim
    count = int(c.attribute("k") if k is None else k.reshape(()))
    largest = c.attribute("largest", 1)
    index = j.lax.broadcasted_iota(j.np.int64, x.shape, axis)
    if largest:
        x, index = j.np.flip(x, axis), j.np.flip(index, axis)
    x, index = j.lax.sort((x, index), dimension=axis, is_stable=True, num_keys=1)
    if largest:
        x, index = j.np.flip(x, axis), j.np.flip(index, axis)
    return j.lax.slice_in_dim(x, 0, count, axis=axis), j.lax.slice_in_dim(index, 0, count, axis=axis)


def _cumulative(product: bool) -> Callable[[Call, Xla, Array, np.ndarray], Array]:
    """Running sums or products along an axis; exclusive ones leave the element itself out."""

    def lower(c: Call, j: Xla, x: Array, axis: np.ndarray) -> Array:
        at = int(axis.reshape(())) % x.ndim
        x = j.np.flip(x, at) if c.attribute("reverse", 0) else x
        if c.attribute("exclusive", 0):
            shifted = [(0, 0, 0)] * x.ndim
            shifted[at] = (1, -1, 0)
            x = j.lax.pad(x, j.np.asarray(int(product), x.dtype), shifted)
        y = (j.np.cumprod if product else j.np.cumsum)(x, at, dtype=x.dtype)
        return j.np.flip(y, at) if c.attribute("reverse", 0) else y

    return lower


_TOO_FEW = Rule(
    lambda c: (k := c.value(1)) is not None and int(k.reshape(())) > c.shape()[c.attribute("axis", -1)],
    "k is larger than the axis",
)

OPS = (
    Op("ArgMax", (1, 13), (In(NUMBERS),), _position(True)),
    Op("ArgMin", (1, 13), (In(NUMBERS),), _position(False)),
    Op("CumProd", (26, 26), (In(_WIDE), CONSTANT), _cumulative(True)),
    Op("CumSum", (11, 14), (In(_WIDE), CONSTANT), _cumulative(False)),
    Op("TopK", (1, 24), (In(NUMBERS), CONSTANT), _top_k, outputs=2, rules=(_TOO_FEW,)),
    reduction("ReduceL1", (1, 18), lambda j, x, a, k: total(j, j.np.abs(x), a, k)),
    reduction("ReduceL2", (1, 18), _norm, FLOATS),
    reduction("ReduceLogSum", (1, 28), lambda j, x, a, k: j.np.log(total(j, x, a, k)), FLOATS),
    reduction("ReduceLogSumExp", (1, 28), _log_sum_exp, FLOATS),
    reduction("ReduceMax", (1, 20), _extreme(True), ALL),
    reduction("ReduceMean", (1, 18), _mean, FLOATS),
    reduction("ReduceMin", (1, 20), _extreme(False), ALL),
    reduction("ReduceProd", (1, 18), lambda j, x, a, k: j.np.prod(x, a, dtype=x.dtype, keepdims=k)),
    reduction("ReduceSum", (1, 13), total),
    reduction("ReduceSumSquare", (1, 18), lambda j, x, a, k: total(j, x * x, a, k)),
)
