"""Resize and Upsample: along each axis a fixed matrix of interpolation weights, or for `nearest` a fixed choice.

Sizes and scales are constants, so the weights are computed here, in float64, and the device multiplies matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import ALL, FLOATS, In, Op, Rule, Xla

Array = Any

MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)


def resize(c: Call, j: Xla, x: Array, *_: Array) -> Array:
    mode = c.attribute("coordinate_transformation_mode", _default(c))
    crops = _crops(c) if mode == "tf_crop_and_resize" else [(0.0, 1.0)] * x.ndim
    outside = np.zeros((1,) * x.ndim, bool)
    for axis, (size, scale) in enumerate(zip(*_plan(c), strict=True)):
        if size == x.shape[axis] and scale == 1 and crops[axis] == (0.0, 1.0):
            continue
        before = x.shape[axis]
        if mode == "tf_crop_and_resize":
            at = cropped_positions(before, size, *crops[axis])
            shape = [1] * x.ndim
            shape[axis] = size
            outside = outside | ((at < 0) | (at > before - 1)).reshape(shape)
        else:
            at = source_positions(before, size, scale, mode)
        if c.attribute("mode", "nearest") == "nearest":
            x = _pick(j, x, axis, nearest(at, before, c.attribute("nearest_mode", _rounding(c))))
        else:
            x = _mix(j, x, axis, weights(c, at, before, scale))
    if outside.any():
        x = j.np.where(outside, j.np.asarray(c.attribute("extrapolation_value", 0.0), x.dtype), x)
    return x


def _crops(c: Call) -> list[tuple[float, float]]:
    """Beginning and end of what is kept of each axis, as shares of it: the region of interest."""
    rank, roi = len(c.shape()), c.value(1)
    found = [(0.0, 1.0)] * rank
    assert roi is not None
    axes = [a % rank for a in c.attribute("axes", range(rank))]
    for i, axis in enumerate(axes):
        found[axis] = (float(roi[i]), float(roi[i + len(axes)]))
    return found


def cropped_positions(size: int, out: int, start: float, end: float) -> np.ndarray:
    """Where each of `out` elements lies among the `size` elements of the source, by TensorFlow's crop_and_resize."""
    if out == 1:
        return np.full(1, 0.5 * (start + end) * (size - 1))
    return start * (size - 1) + np.arange(out) * ((end - start) * (size - 1) / (out - 1))


def _default(c: Call) -> str:
    return "asymmetric" if c.version < 11 or c.operator == "Upsample" else "half_pixel"


def _rounding(c: Call) -> str:
    return "floor" if c.version < 11 or c.operator == "Upsample" else "round_prefer_floor"


def _plan(c: Call) -> tuple[list[int], list[float]]:
    """Size and scale of every axis of the output."""
    shape = c.shape()
    axes = [a % len(shape) for a in c.attribute("axes", range(len(shape)))]
    old = c.version < 11 or c.operator == "Upsample"
    factors = c.value(1 if old else 2)
    if c.operator == "Upsample" and c.version == 7:
        factors = np.asarray(c.attribute("scales"))
    sizes, scales = list(shape), [1.0] * len(shape)
    if factors is not None and factors.size:
        for axis, factor in zip(axes, factors.tolist(), strict=True):
            scales[axis] = factor
            sizes[axis] = int(np.floor(shape[axis] * factor))
        return sizes, scales
    wanted = c.value(3)
    assert wanted is not None
    ratios = [int(w) / shape[a] for w, a in zip(wanted, axes, strict=True)]
    policy = c.attribute("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        ratios = [(min if policy == "not_larger" else max)(ratios)] * len(ratios)
    for axis, ratio, size in zip(axes, ratios, wanted.tolist(), strict=True):
        scales[axis] = ratio
        sizes[axis] = int(size) if policy == "stretch" else int(np.floor(shape[axis] * ratio + 0.5))
    return sizes, scales


def source_positions(size: int, out: int, scale: float, mode: str) -> np.ndarray:
    """Where each of `out` elements lies among the `size` elements of the source, by the formulas of the definition."""
    x = np.arange(out, dtype=np.float64)
    if mode == "align_corners":
        return x * ((size - 1) / (out - 1)) if out > 1 else np.zeros(1)
    if mode == "asymmetric":
        return x / scale
    if mode == "tf_half_pixel_for_nn":
        return (x + 0.5) / scale
    if mode == "pytorch_half_pixel" and out == 1:
        return np.zeros(1)
    shift = size / 2 * (1 - out / (scale * size)) if mode == "half_pixel_symmetric" else 0.0
    return np.asarray(shift + (x + 0.5) / scale - 0.5)


def nearest(at: np.ndarray, size: int, rounding: str) -> np.ndarray:
    """The index of the source for each element."""
    rounded = {
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
        "floor": np.floor(at),
        "ceil": np.ceil(at),
    }[rounding]
    return np.asarray(np.clip(rounded, 0, size - 1), np.int64)


def weights(c: Call, at: np.ndarray, size: int, scale: float) -> np.ndarray:
    """The matrix (out, size) of a linear or cubic interpolation. What lies outside is the element at the edge."""
    floor = np.floor(at)
    t = at - floor
    linear, a = c.attribute("mode") == "linear", c.attribute("cubic_coeff_a", -0.75)
    if c.attribute("antialias", 0) and scale < 1:  # the kernel is as wide as the source's share of an element
        start = int(np.floor((-1 if linear else -2) / scale) + 1)
        offsets = np.arange(start, 2 - start)
        distance = np.abs(offsets - t[:, None]) * scale
        taps = np.clip(1 - distance, 0, 1) if linear else _keys(distance, a)
        taps = taps / taps.sum(1, keepdims=True)
    elif linear:
        taps, offsets = np.stack([1 - t, t], 1), np.arange(2)
    else:
        taps, offsets = np.stack(cubic_taps(t, a), 1), np.arange(-1, 3)
    index = floor[:, None].astype(np.int64) + offsets
    if c.attribute("exclude_outside", 0):
        taps = np.where((index >= 0) & (index < size), taps, 0)
        taps = taps / taps.sum(1, keepdims=True)
    matrix = np.zeros((len(at), size))
    np.add.at(matrix, (np.arange(len(at))[:, None], np.clip(index, 0, size - 1)), taps)
    return matrix


def _near(d: Array, a: float) -> Array:
    """Keys' convolution kernel at distances up to 1 (Keys 1981)."""
    return ((a + 2) * d - (a + 3)) * d * d + 1


def _far(d: Array, a: float) -> Array:
    """The same at distances from 1 to 2."""
    return ((d - 5) * d + 8) * d * a - 4 * a


def cubic_taps(t: Array, a: float) -> list[Array]:
    """Its values at distances 1+t, t, 1-t, 2-t: the weights of the four neighbours."""
    return [_far(1 + t, a), _near(t, a), _near(1 - t, a), _far(2 - t, a)]


def _keys(d: np.ndarray, a: float) -> np.ndarray:
    return np.where(d <= 1, _near(d, a), np.where(d < 2, _far(d, a), 0.0))


def _pick(j: Xla, x: Array, axis: int, index: np.ndarray) -> Array:
    times, rest = divmod(len(index), x.shape[axis])
    if rest == 0 and (index == np.arange(len(index)) // times).all():  # each element `times` over: a broadcast
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        wide = j.np.broadcast_to(j.np.expand_dims(x, axis + 1), (*before, x.shape[axis], times, *after))
        return wide.reshape((*before, len(index), *after))
    return j.np.take(x, index, axis, mode="clip")


def _mix(j: Xla, x: Array, axis: int, matrix: np.ndarray) -> Array:
    y = j.np.tensordot(x, j.np.asarray(matrix.astype(np.float32), x.dtype), ((axis,), (1,)))
    return j.np.moveaxis(y, -1, axis)


_MIXED = Rule(
    lambda c: c.attribute("mode", "nearest") != "nearest" and c.dtype() not in FLOATS,
    "integers cannot be interpolated exactly",
    "cast to float32 before it",
)
_EMPTY = Rule(lambda c: 0 in c.shape(), "an empty tensor cannot be resized")
_NO_TARGET = Rule(
    lambda c: not any((v := c.value(i)) is not None and v.size for i in (1, 2, 3)) and "scales" not in c.attributes,
    "neither sizes nor scales are given",
)
_OPEN = Rule(
    lambda c: c.attribute("coordinate_transformation_mode") == "align_corners" and _inexact(c),
    "align_corners with a scale that gives no whole size: runtimes differ on what that means",
    "give sizes instead of scales",
)


def _inexact(c: Call) -> bool:
    sizes, scales = _plan(c)
    return any(size != old * scale for size, old, scale in zip(sizes, c.shape(), scales, strict=True))


_SOFT_NEAREST = Rule(
    lambda c: bool(c.attribute("antialias", 0)) and c.attribute("mode", "nearest") == "nearest",
    "antialias has no meaning for the nearest element",
    "drop antialias",
)
_X = In(ALL - {"bool"})
_GIVEN = In(FLOATS | {"int64", "float64"}, constant=True)

OPS = (
    Op(
        "Resize",
        (10, 19),
        (_X, _GIVEN),
        resize,
        {
            "coordinate_transformation_mode": MODES,
            "mode": ("nearest", "linear", "cubic"),
        },
        rules=(_MIXED, _EMPTY, _NO_TARGET, _OPEN, _SOFT_NEAREST),
    ),
    Op("Upsample", (7, 9), (_X, _GIVEN), resize, {"mode": ("nearest", "linear")}, rules=(_MIXED, _EMPTY, _NO_TARGET)),
)
