"""Gather, scatter and their like. Negative indices count from the end; others out of range are the model's error."""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import ALL, FLOATS, NUMBERS, In, Op, Rule, Xla

Array = Any
_ANY = In(ALL)
_INDEX = In(frozenset({"int32", "int64"}))


def _wrapped(j: Xla, index: Array, size: int) -> Array:
    """Indices with the negative ones counted from the end of an axis of `size`."""
    return j.np.where(index < 0, index + size, index)


def _gather(c: Call, j: Xla, x: Array, index: Array) -> Array:
    axis = c.attribute("axis", 0) % x.ndim
    known = c.value(1)
    if known is not None and known.size == 1:  # a slice, which needs no index at run time
        at = int(known.reshape(())) % x.shape[axis]
        y = j.lax.slice_in_dim(x, at, at + 1, axis=axis)
        return y.reshape(x.shape[:axis] + known.shape + x.shape[axis + 1 :])
    return j.np.take(x, _wrapped(j, index, x.shape[axis]), axis, mode="clip")


def _gather_elements(c: Call, j: Xla, x: Array, index: Array) -> Array:
    axis = c.attribute("axis", 0) % x.ndim
    for other, size in enumerate(index.shape):  # the index may cover less of the other axes than the data
        if other != axis:
            x = j.lax.slice_in_dim(x, 0, size, axis=other)
    return j.np.take_along_axis(x, _wrapped(j, index, x.shape[axis]), axis, mode="clip")


def _gather_nd(c: Call, j: Xla, x: Array, index: Array) -> Array:
    """The last axis of the index addresses an element or a slice of x, beside the batch axes that both share."""
    batch = c.attribute("batch_dims", 0)
    depth = index.shape[-1]
    grid = index.shape[:-1]
    places = [j.lax.broadcasted_iota(index.dtype, grid, axis) for axis in range(batch)]
    places += [_wrapped(j, index[..., i], x.shape[batch + i]) for i in range(depth)]
    return x.at[tuple(places)].get(mode="clip")


def _scattered(c: Call, x: Array, places: tuple[Array, ...], updates: Array) -> Array:
    view = x.at[places]
    write = {"none": view.set, "add": view.add, "mul": view.multiply, "max": view.max, "min": view.min}
    return write[c.attribute("reduction", "none")](updates, mode="drop")


def _scatter_elements(c: Call, j: Xla, x: Array, index: Array, updates: Array) -> Array:
    axis = c.attribute("axis", 0) % x.ndim
    places = [j.lax.broadcasted_iota(index.dtype, index.shape, d) for d in range(x.ndim)]
    places[axis] = _wrapped(j, index, x.shape[axis])
    return _scattered(c, x, tuple(places), updates)


def _scatter_nd(c: Call, j: Xla, x: Array, index: Array, updates: Array) -> Array:
    places = tuple(_wrapped(j, index[..., i], x.shape[i]) for i in range(index.shape[-1]))
    return _scattered(c, x, places, updates)


def _one_hot(c: Call, j: Xla, index: Array, depth: np.ndarray, values: Array) -> Array:
    """values[1] where the index points, values[0] elsewhere: everywhere, for an index out of range."""
    count = int(depth.reshape(()))
    rank = index.ndim + 1
    axis = c.attribute("axis", -1) % rank
    index = _wrapped(j, index.astype(j.np.int64), count)
    shape = (*index.shape[:axis], count, *index.shape[axis:])
    hot = j.np.expand_dims(index, axis) == j.lax.broadcasted_iota(j.np.int64, shape, axis)
    return j.np.where(hot, values[1], values[0])


def _reverse_sequence(c: Call, j: Xla, x: Array, lengths: Array) -> Array:
    """The first `lengths[b]` steps of batch b in reverse, the rest as it is."""
    batch, time = c.attribute("batch_axis", 1), c.attribute("time_axis", 0)
    sizes = [1, 1]
    sizes[batch] = x.shape[batch]
    steps = j.lax.broadcasted_iota(lengths.dtype, x.shape[:2], time)
    ends = j.np.broadcast_to(lengths.reshape(sizes), x.shape[:2])
    index = j.np.where(steps < ends, ends - 1 - steps, steps)
    return j.np.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), time, mode="clip")


def _tensor_scatter(c: Call, j: Xla, cache: Array, update: Array, starts: Array | None = None) -> Array:
    """`update` written into the cache along an axis, from each batch's own start on; a circular cache wraps round.

    Read backwards, as which step of the update each place of the cache takes: no scatter is needed.
    """
    axis = c.attribute("axis", -2) % cache.ndim
    size, steps = cache.shape[axis], update.shape[axis]
    begin = j.np.zeros((cache.shape[0],), j.np.int64) if starts is None else starts
    source = j.lax.iota(begin.dtype, size)[None, :] - begin[:, None]
    source = source % size if c.attribute("mode", "linear") == "circular" else source
    shape = [1] * cache.ndim
    shape[0], shape[axis] = cache.shape[0], size
    source = source.reshape(shape)
    index = j.np.broadcast_to(j.np.clip(source, 0, steps - 1), cache.shape)
    taken = j.np.take_along_axis(update, index, axis, mode="clip")
    return j.np.where((source >= 0) & (source < steps), taken, cache)


def _compress(c: Call, j: Xla, x: Array, condition: np.ndarray) -> Array:
    axis = c.attribute("axis")
    return j.np.take(x.reshape(-1) if axis is None else x, np.flatnonzero(condition), axis or 0, mode="clip")


_INTEGER_REDUCTION = Rule(
    lambda c: c.attribute("reduction", "none") != "none" and c.dtype() not in FLOATS,
    "a scatter that combines values computes in floating point",
    "cast data and updates to float32 before it",
    "EVRF016",
)
_SCATTER = (_ANY, _INDEX, _ANY)
_REDUCTIONS = {"reduction": ("none", "add", "mul", "max", "min")}

OPS = (
    Op("Compress", (9, 28), (_ANY, In(frozenset({"bool"}), constant=True)), _compress),
    Op("Gather", (1, 13), (_ANY, _INDEX), _gather),
    Op("GatherElements", (11, 13), (_ANY, _INDEX), _gather_elements),
    Op("GatherND", (11, 13), (_ANY, _INDEX), _gather_nd),
    Op("OneHot", (9, 28), (In(NUMBERS), In(NUMBERS, constant=True), _ANY), _one_hot),
    Op("ReverseSequence", (10, 28), (_ANY, _INDEX), _reverse_sequence),
    Op("ScatterElements", (11, 18), _SCATTER, _scatter_elements, _REDUCTIONS, rules=(_INTEGER_REDUCTION,)),
    Op("ScatterND", (11, 18), _SCATTER, _scatter_nd, _REDUCTIONS, rules=(_INTEGER_REDUCTION,)),
    Op("TensorScatter", (24, 24), (_ANY, _ANY, _INDEX), _tensor_scatter, {"mode": ("linear", "circular")}),
)
