"""Operators that move elements and compute none: shapes, slices, joins, padding, tensors made from nothing."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import ALL, CONSTANT, INTEGERS, NUMBERS, In, Op, Rule, Xla

Array = Any
_ANY = In(ALL)


def _ints(given: np.ndarray | None, attribute: Any) -> list[int]:
    """A list that came as an input, or before that as an attribute."""
    return [int(v) for v in (attribute or () if given is None else given.reshape(-1))]


# ---- shapes -----------------------------------------------------------------------------------------


def _reshape(c: Call, j: Xla, x: Array, target: np.ndarray | None = None) -> Array:
    """0 keeps the dimension at its place, unless allowzero; -1 is what is left."""
    sizes = _ints(target, c.attribute("shape"))
    if not c.attribute("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(c: Call, j: Xla, x: Array) -> Array:
    axis = c.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _squeeze(c: Call, j: Xla, x: Array, axes: np.ndarray | None = None) -> Array:
    given = _ints(axes, c.attribute("axes"))
    return j.np.squeeze(x, tuple(given) if given or axes is not None else None)


def _unsqueeze(c: Call, j: Xla, x: Array, axes: np.ndarray | None = None) -> Array:
    return j.np.expand_dims(x, tuple(_ints(axes, c.attribute("axes"))))


def _expand(c: Call, j: Xla, x: Array, target: np.ndarray) -> Array:
    return j.np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_ints(target, ()))))


def _shape(c: Call, j: Xla, x: Array) -> Array:
    return j.np.asarray(np.asarray(x.shape[slice(c.attribute("start", 0), c.attribute("end"))], np.int64))


# ---- slices and joins ---------------------------------------------------------------------------------


def slice_axis(j: Xla, x: Array, axis: int, start: int, end: int, step: int) -> Array:
    """start:end:step of one axis by ONNX's rules: negative ones count from the end, all are cut to the axis."""
    size = x.shape[axis]
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(start + size if start < 0 else start, max(low, 0)), high)
    end = min(max(end + size if end < 0 else end, low), high)
    count = max(-(-(end - start) // step), 0)
    if count == 0:
        return j.lax.slice_in_dim(x, 0, 0, axis=axis)
    last = start + (count - 1) * step
    if step > 0:
        return j.lax.slice_in_dim(x, start, last + 1, step, axis)
    return j.lax.rev(j.lax.slice_in_dim(x, last, start + 1, -step, axis), (axis,))


def _slice(c: Call, j: Xla, x: Array, *given: np.ndarray | None) -> Array:
    starts, ends, axes, steps = [*given, None, None, None, None][:4]
    begin, end = _ints(starts, c.attribute("starts")), _ints(ends, c.attribute("ends"))
    over = _ints(axes, c.attribute("axes")) or list(range(len(begin)))
    by = _ints(steps, ()) or [1] * len(begin)
    for axis, first, last, step in zip(over, begin, end, by, strict=True):
        x = slice_axis(j, x, axis % x.ndim, first, last, step)
    return x


def _split(c: Call, j: Xla, x: Array, parts: np.ndarray | None = None) -> tuple[Array, ...]:
    axis = c.attribute("axis", 0) % x.ndim
    size, count = x.shape[axis], len(c.outputs)
    sizes = _ints(parts, c.attribute("split"))
    if not sizes:
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    ends = np.cumsum(sizes).tolist()
    return tuple(j.lax.slice_in_dim(x, e - s, e, axis=axis) for s, e in zip(sizes, ends, strict=True))


def _pad(c: Call, j: Xla, x: Array, pads: Array = None, value: Array = None, axes: Array = None) -> Array:
    """Negative pads cut. Modes other than constant cut first: what is cut off is not mirrored."""
    flat = _ints(pads, c.attribute("pads"))
    over = [a % x.ndim for a in _ints(axes, ())] if axes is not None else list(range(x.ndim))
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(over):
        widths[axis] = (flat[i], flat[i + len(over)])
    mode = c.attribute("mode", "constant")
    if mode == "constant":
        fill = j.np.asarray(c.attribute("value", 0.0) if value is None else value).reshape(()).astype(x.dtype)
        return j.lax.pad(x, fill, [(a, b, 0) for a, b in widths])
    for axis, (before, after) in enumerate(widths):
        x = j.lax.slice_in_dim(x, max(-before, 0), x.shape[axis] - max(-after, 0), axis=axis)
    return j.np.pad(x, [(max(a, 0), max(b, 0)) for a, b in widths], mode=mode)


def _trilu(c: Call, j: Xla, x: Array, k: np.ndarray | None = None) -> Array:
    keep = j.np.triu if c.attribute("upper", 1) else j.np.tril
    return keep(x, 0 if k is None else int(k.reshape(())))


def _center_crop_pad(c: Call, j: Xla, x: Array, target: np.ndarray) -> Array:
    """Cut or filled with zeros at both ends of an axis alike; the odd element goes to the end."""
    axes = [a % x.ndim for a in c.attribute("axes", range(x.ndim))]
    widths = [(0, 0, 0)] * x.ndim
    for axis, size in zip(axes, _ints(target, ()), strict=True):
        more = size - x.shape[axis]
        before = more // 2 if more > 0 else -(-more // 2)
        widths[axis] = (before, more - before, 0)
    return j.lax.pad(x, j.np.zeros((), x.dtype), widths)


# ---- tensors made from nothing ---------------------------------------------------------------------------


def _full(c: Call, j: Xla, target: np.ndarray) -> Array:
    filler = c.attribute("value")
    value = np.zeros((), np.float32) if filler is None else filler.numpy().reshape(())
    return j.np.full(tuple(_ints(target, ())), value, value.dtype)


def _range(c: Call, j: Xla, start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> Array:
    first, last, step = (v.reshape(()) for v in (start, limit, delta))
    count = max(int(np.ceil((float(last) - float(first)) / float(step))), 0)
    index = j.lax.iota(j.np.dtype(first.dtype), count)
    return index * j.np.asarray(step) + j.np.asarray(first)


def _eye(c: Call, j: Xla, x: Array) -> Array:
    return j.np.eye(*x.shape, k=c.attribute("k", 0), dtype=c.dtype_attribute("dtype", c.dtype()))


def _dropout(c: Call, j: Xla, x: Array, *_: Array) -> tuple[Array, Array]:
    """At inference: everything stays."""
    return x, j.np.ones(x.shape, bool)


# ---- the rows ------------------------------------------------------------------------------------------

_TRAINING = Rule(
    lambda c: c.has(2) and (c.value(2) is None or bool(np.any(c.value(2)))),
    "training mode is not lowered",
    "export the model for inference",
)
_OLD_MASK = Rule(lambda c: c.wants(1) and c.version < 10, "the mask of this old version is not lowered")
_LAST_PART = Rule(
    lambda c: not c.has(1) and not c.attribute("split") and _short(c),
    "the axis is too short for that many parts",
)


def _short(c: Call) -> bool:
    size, count = c.shape()[c.attribute("axis", 0)], len(c.outputs)
    return bool(-(-size // count) * (count - 1) > size)


_REFLECT = Rule(
    lambda c: c.attribute("mode", "constant") != "constant" and 0 in c.shape(),
    "an empty tensor cannot be mirrored",
)
_MODES = {"mode": ("constant", "reflect", "edge", "wrap")}

OPS = (
    Op("CenterCropPad", (18, 18), (_ANY, CONSTANT), _center_crop_pad),
    Op("Concat", (4, 13), (_ANY,), lambda c, j, *xs: j.lax.concatenate(xs, c.attribute("axis") % xs[0].ndim)),
    Op("ConstantOfShape", (9, 25), (CONSTANT,), _full),
    Op("Dropout", (7, 22), (_ANY,), _dropout, outputs=2, rules=(_TRAINING, _OLD_MASK)),
    Op("Expand", (8, 13), (_ANY, CONSTANT), _expand),
    Op("EyeLike", (9, 22), (In(ALL, ranks=(2, 2)),), _eye),
    Op("Flatten", (1, 25), (_ANY,), _flatten),
    Op("Pad", (2, 25), (_ANY, CONSTANT, _ANY, CONSTANT), _pad, _MODES, rules=(_REFLECT,)),
    Op("Range", (11, 27), (In(NUMBERS, constant=True),), _range),
    Op("Reshape", (1, 25), (_ANY, CONSTANT), _reshape),
    Op("Shape", (1, 25), (_ANY,), _shape),
    Op("Size", (1, 25), (_ANY,), lambda c, j, x: j.np.asarray(np.int64(x.size))),
    Op("Slice", (1, 13), (_ANY, In(INTEGERS, constant=True)), _slice),
    Op("Split", (2, 18), (_ANY, CONSTANT), _split, outputs=1 << 16, rules=(_LAST_PART,)),
    Op("Squeeze", (1, 25), (_ANY, CONSTANT), _squeeze),
    Op("Tile", (6, 13), (_ANY, CONSTANT), lambda c, j, x, counts: j.np.tile(x, tuple(_ints(counts, ())))),
    Op("Transpose", (1, 25), (_ANY,), lambda c, j, x: j.np.transpose(x, c.attribute("perm"))),
    Op("Trilu", (14, 14), (_ANY, CONSTANT), _trilu),
    Op("Unsqueeze", (1, 25), (_ANY, CONSTANT), _unsqueeze),
)
