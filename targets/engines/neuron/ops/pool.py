"""Pooling: over windows, over all, and back again.

A window may not be dilated in a reduce-window (NCC_EVRF018): dilated pools are elementwise over shifted slices instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.convolve import PADDED, SPATIAL, Window, reduce_window, shifted_slices, window_of
from neoc.targets.engines.neuron.table import CONSTANT, FLOATS, NUMBERS, In, Op, Rule, Xla

Array = Any

# ---- pools ------------------------------------------------------------------------------------------------


def _max_pool(c: Call, j: Xla, x: Array) -> Array | tuple[Array, Array]:
    smallest = np.asarray(-np.inf if j.np.issubdtype(x.dtype, j.np.floating) else np.iinfo(x.dtype).min, x.dtype)
    window = window_of(c, c.attribute("kernel_shape"))
    if not c.wants(1):
        return reduce_window(j, x, window, smallest, j.lax.max)
    values, places = shifted_slices(j, x, window, smallest), shifted_slices(j, _places(c, j, x), window, np.int64(0))
    best, index = values[0], places[0]
    for value, place in zip(values[1:], places[1:], strict=True):  # of equal elements the first one counts
        better = value > best
        best, index = j.np.where(better, value, best), j.np.where(better, place, index)
    return best, index


def _places(c: Call, j: Xla, x: Array) -> Array:
    """The index of each element in the whole tensor, flattened; with storage_order 1 the spatial axes run backwards."""
    sizes = x.shape[2:]
    order = range(len(sizes))
    index = j.lax.broadcasted_iota(j.np.int64, x.shape, 0) * x.shape[1] + j.lax.broadcasted_iota(j.np.int64, x.shape, 1)
    for axis in reversed(order) if c.attribute("storage_order", 0) else order:
        index = index * sizes[axis] + j.lax.broadcasted_iota(j.np.int64, x.shape, 2 + axis)
    return index


def _max_unpool(c: Call, j: Xla, x: Array, index: Array, target: np.ndarray | None = None) -> Array:
    """Each value back to where MaxPool found it, 0 elsewhere. The index counts in a tensor of the default size."""
    kernel = c.attribute("kernel_shape")
    n = len(kernel)
    strides, pads = c.attribute("strides", (1,) * n), c.attribute("pads", (0,) * (2 * n))
    sizes = [
        (d - 1) * s + k - pads[i] - pads[i + n]
        for i, (d, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    flat = j.np.zeros((x.shape[0] * x.shape[1] * prod(sizes),), x.dtype)
    y = flat.at[index.reshape(-1)].set(x.reshape(-1), mode="drop").reshape(*x.shape[:2], *sizes)
    if target is None:
        return y
    wanted = [int(v) for v in target.reshape(-1)]
    return j.lax.pad(y, j.np.zeros((), x.dtype), [(0, w - have, 0) for w, have in zip(wanted, y.shape, strict=True)])


def _columns_to_image(c: Call, j: Xla, x: Array, image: np.ndarray, block: np.ndarray) -> Array:
    """Col2Im: each column is a block of the image; where blocks overlap, they add."""
    sizes, kernel = ([int(v) for v in a.reshape(-1)] for a in (image, block))
    n = len(sizes)
    strides, dilations = c.attribute("strides", (1,) * n), c.attribute("dilations", (1,) * n)
    pads = c.attribute("pads", (0,) * (2 * n))
    whole = [s + pads[i] + pads[i + n] for i, s in enumerate(sizes)]
    counts = [(whole[i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(n)]
    batch, channels = x.shape[0], x.shape[1] // prod(kernel)
    parts = x.reshape(batch, channels, prod(kernel), *counts)
    total = j.np.zeros((batch, channels, *whole), x.dtype)
    for number, offsets in enumerate(itertools.product(*map(range, kernel))):
        widths = [(0, 0, 0), (0, 0, 0)]
        for i, offset in enumerate(offsets):
            first = offset * dilations[i]
            covered = (counts[i] - 1) * strides[i] + 1
            widths.append((first, whole[i] - first - covered, strides[i] - 1))
        total = total + j.lax.pad(parts[:, :, number], j.np.zeros((), x.dtype), widths)
    for i, size in enumerate(sizes):
        total = j.lax.slice_in_dim(total, pads[i], pads[i] + size, axis=2 + i)
    return total


def _max_roi_pool(c: Call, j: Xla, x: Array, rois: Array) -> Array:
    """The maximum of each bin of each region (batch, x1, y1, x2, y2); a bin without a pixel gives 0."""
    out, scale = c.attribute("pooled_shape"), c.attribute("spatial_scale", 1.0)
    maps = j.np.take(x, rois[:, 0].astype(j.np.int32), axis=0, mode="clip").astype(j.np.float32)
    empty = j.np.zeros((rois.shape[0], 1, 1), bool)
    for axis, (first, last) in enumerate(((2, 4), (1, 3))):
        start, end = (
            j.np.floor(rois[:, i].astype(j.np.float32) * scale + 0.5).astype(j.np.int32)[:, None] for i in (first, last)
        )
        bins, size = out[axis], x.shape[2 + axis]
        # in whole numbers: a quotient that a compiler takes by its reciprocal would move the borders of bins
        span, number = j.np.maximum(end - start + 1, 1), j.lax.iota(j.np.int32, bins)
        low = j.np.clip(j.np.floor_divide(number * span, bins) + start, 0, size)
        high = j.np.clip(-j.np.floor_divide(-(number + 1) * span, bins) + start, 0, size)
        at = j.lax.iota(j.np.int32, size)
        inside = (at >= low[..., None]) & (at < high[..., None])  # (regions, bins, size)
        empty = empty | (high <= low).reshape((-1, bins, 1) if axis == 0 else (-1, 1, bins))
        if axis == 0:
            spread = j.np.where(inside[:, None, :, :, None], maps[:, :, None], np.float32(-np.inf))
            maps = j.np.max(spread, 3)
        else:
            spread = j.np.where(inside[:, None, None], maps[:, :, :, None], np.float32(-np.inf))
            maps = j.np.max(spread, 4)
    return j.np.where(empty[:, None], 0, maps).astype(x.dtype)


def _average_pool(c: Call, j: Xla, x: Array) -> Array:
    window = window_of(c, c.attribute("kernel_shape"))
    sums = reduce_window(j, x.astype(j.np.float32), window, np.float32(0), j.lax.add)
    return (sums / _counts(window, x.shape[2:], bool(c.attribute("count_include_pad", 0)))).astype(x.dtype)


def _counts(window: Window, sizes: Sequence[int], with_pads: bool) -> np.ndarray:
    """How many elements each window holds, (1, 1, output sizes): without its padding, or without ceil_mode's alone."""
    counts = np.ones((), np.float32)
    for i, (size, (before, after)) in enumerate(zip(sizes, window.pads, strict=True)):
        k, s, d = window.kernel[i], window.strides[i], window.dilations[i]
        outputs = (size + before + after + window.extra[i] - (k - 1) * d - 1) // s + 1
        at = np.arange(outputs)[:, None] * s - before + np.arange(k)[None, :] * d
        low, high = (-before, size + after) if with_pads else (0, size)
        inside = ((at >= low) & (at < high)).sum(1).astype(np.float32)
        counts = counts[..., None] * inside
    return counts[None, None]


def _lp_pool(c: Call, j: Xla, x: Array) -> Array:
    p = c.attribute("p", 2)
    powers = j.lax.integer_pow(j.np.abs(x.astype(j.np.float32)), p)
    sums = reduce_window(j, powers, window_of(c, c.attribute("kernel_shape")), np.float32(0), j.lax.add)
    return _root(j, sums, p).astype(x.dtype)


def _root(j: Xla, x: Array, p: int) -> Array:
    return j.np.sqrt(x) if p == 2 else j.np.power(x, 1 / p)


def _spatial(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _global_lp(c: Call, j: Xla, x: Array) -> Array:
    p = c.attribute("p", 2)
    sums = j.np.sum(j.lax.integer_pow(j.np.abs(x.astype(j.np.float32)), p), _spatial(x), keepdims=True)
    return _root(j, sums, p).astype(x.dtype)


def _global_mean(c: Call, j: Xla, x: Array) -> Array:
    return j.np.mean(x.astype(j.np.float32), _spatial(x), keepdims=True).astype(x.dtype)


_TOO_LARGE = Rule(
    lambda c: (
        prod(c.attribute("kernel_shape")) > 4096 and (c.wants(1) or any(d > 1 for d in c.attribute("dilations", ())))
    ),
    "a dilated pool over more than 4096 elements, or one that asks for indices, would be as many slices",
    "pool twice, or without dilation",
    "EVRF018",
)
_BIG_BLOCK = Rule(
    lambda c: (block := c.value(2)) is not None and prod(block.reshape(-1).tolist()) > 4096,
    "a block of more than 4096 elements would be as many additions",
)
_WINDOW = {**PADDED, "storage_order": (0, 1)}
_POOLED = (In(FLOATS | {"int8", "uint8"}, ranks=(3, 5)),)
_WHOLE = In(frozenset({"int64"}))

OPS = (
    Op("AveragePool", (7, 22), (SPATIAL,), _average_pool, PADDED, rules=(_TOO_LARGE,)),
    Op(
        "Col2Im",
        (18, 18),
        (In(NUMBERS, ranks=(3, 3)), CONSTANT, CONSTANT),
        _columns_to_image,
        rules=(_BIG_BLOCK,),
    ),
    Op("GlobalAveragePool", (1, 22), (SPATIAL,), _global_mean),
    Op("GlobalLpPool", (2, 22), (SPATIAL,), _global_lp),
    Op("GlobalMaxPool", (1, 22), (SPATIAL,), lambda c, j, x: j.np.max(x, _spatial(x), keepdims=True)),
    Op("LpPool", (2, 22), (SPATIAL,), _lp_pool, PADDED, rules=(_TOO_LARGE,)),
    Op("MaxPool", (1, 22), _POOLED, _max_pool, _WINDOW, outputs=2, rules=(_TOO_LARGE,)),
    Op("MaxRoiPool", (1, 22), (In(FLOATS, ranks=(4, 4)), In(FLOATS, ranks=(2, 2))), _max_roi_pool),
    Op("MaxUnpool", (9, 22), (SPATIAL, _WHOLE, CONSTANT), _max_unpool),
)
