"""Quantisation, and products and convolutions of quantised tensors. These accumulate in int32, as ONNX defines them."""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.activations import clamped
from neoc.targets.engines.neuron.ops.convolve import PADDED, convolve
from neoc.targets.engines.neuron.ops.normalise import per_channel
from neoc.targets.engines.neuron.table import FLOATS, PACKED, In, Op, Rule, Xla

Array = Any
STORED = frozenset({"int8", "uint8", "int16", "uint16"})
_BYTES = In(frozenset({"int8", "uint8"}))


def _along(c: Call, j: Xla, values: Array, shape: tuple[int, ...]) -> Array:
    """A scale or zero point, shaped to meet a tensor: one for all, for each index of the axis, or for each block."""
    block = c.attribute("block_size", 0)
    if block:
        axis = c.attribute("axis", 1) % len(shape)
        return j.lax.slice_in_dim(j.np.repeat(values, block, axis), 0, shape[axis], axis=axis)
    if values.size == 1:
        return values.reshape(())
    sizes = [1] * len(shape)
    sizes[c.attribute("axis", 1)] = -1
    return values.reshape(sizes)


def rounded(j: Xla, x: Array, zero: Array, dtype: str) -> Array:
    """Half to even, moved by the zero point, cut to what the dtype holds."""
    limits = np.iinfo(dtype)
    return clamped(j, j.np.round(x) + zero.astype(j.np.float32), limits.min, limits.max).astype(dtype)


def _quantize(c: Call, j: Xla, x: Array, scale: Array, zero: Array | None = None) -> Array:
    dtype = _target(c)
    divided = x.astype(j.np.float32) / _along(c, j, scale, x.shape).astype(j.np.float32)
    zero = j.np.zeros((), dtype) if zero is None else _along(c, j, zero, x.shape)
    return rounded(j, divided, zero, dtype)


def _target(c: Call) -> str:
    return c.dtype(2) or c.dtype_attribute("output_dtype", "uint8")


def _dequantize(c: Call, j: Xla, x: Array, scale: Array, zero: Array | None = None) -> Array:
    if j.np.issubdtype(x.dtype, j.np.integer):
        # int32: differences of 16-bit values do not fit their own type
        whole = x.astype(j.np.int32)
        x = whole if zero is None else whole - _along(c, j, zero, x.shape).astype(j.np.int32)
    real = x.astype(j.np.float32) * _along(c, j, scale, x.shape).astype(j.np.float32)
    return real.astype(c.dtype_attribute("output_dtype", c.dtype(1)))


def _dynamic(c: Call, j: Xla, x: Array) -> tuple[Array, Array, Array]:
    """To uint8, with the scale that just holds the tensor and 0."""
    low, high = j.np.minimum(j.np.min(x), 0), j.np.maximum(j.np.max(x), 0)
    scale = (high - low) / 255
    zero = clamped(j, j.np.round(-low / scale), 0, 255).astype(j.np.uint8)
    return rounded(j, x / scale, zero, "uint8"), scale, zero


def _centred(j: Xla, x: Array, zero: Array | None, side: str) -> Array:
    """x less its zero point, int32. A vector of zero points is one a row on the left, one a column on the right."""
    wide = x.astype(j.np.int32)
    if zero is None:
        return wide
    zero = zero.astype(j.np.int32)
    if zero.ndim == 1 and zero.size > 1 and side == "left":
        zero = zero[:, None]
    return wide - (zero.reshape(()) if zero.size == 1 else zero)


def _conv_integer(c: Call, j: Xla, x: Array, w: Array, xz: Array | None = None, wz: Array | None = None) -> Array:
    return convolve(c, j, _centred(j, x, xz, "right"), _kernel(j, w, wz))


def _kernel(j: Xla, w: Array, zero: Array | None) -> Array:
    """Weights less their zero point, which may be one for each output channel."""
    if zero is None or zero.size == 1:
        return _centred(j, w, zero, "right")
    return w.astype(j.np.int32) - zero.astype(j.np.int32).reshape((-1,) + (1,) * (w.ndim - 1))


def _qlinear_conv(
    c: Call,
    j: Xla,
    x: Array,
    x_scale: Array,
    xz: Array,
    w: Array,
    w_scale: Array,
    wz: Array,
    y_scale: Array,
    yz: Array,
    bias: Array | None = None,
) -> Array:
    y = convolve(c, j, _centred(j, x, xz, "right"), _kernel(j, w, wz))
    y = y if bias is None else y + per_channel(bias, y.ndim)
    scale = w_scale.reshape(()) if w_scale.size == 1 else per_channel(w_scale, y.ndim)
    factor = x_scale.reshape(()) * scale / y_scale.reshape(())
    return rounded(j, y.astype(j.np.float32) * factor, yz.reshape(()), c.dtype(7))


def _matmul_integer(c: Call, j: Xla, a: Array, b: Array, az: Array | None = None, bz: Array | None = None) -> Array:
    return j.np.matmul(_centred(j, a, az, "left"), _centred(j, b, bz, "right"))


def _qlinear_matmul(
    c: Call, j: Xla, a: Array, a_scale: Array, az: Array, b: Array, b_scale: Array, bz: Array, y_scale: Array, yz: Array
) -> Array:
    product = j.np.matmul(_centred(j, a, az, "left"), _centred(j, b, bz, "right")).astype(j.np.float32)
    scales = [s.astype(j.np.float32) for s in (a_scale, b_scale, y_scale)]
    left = scales[0][:, None] if scales[0].ndim == 1 and scales[0].size > 1 else scales[0].reshape(())
    right = scales[1] if scales[1].size > 1 else scales[1].reshape(())
    return rounded(j, product * (left * right / scales[2].reshape(())), yz.reshape(()), c.dtype(7))


_STORED = Rule(
    lambda c: _target(c) not in STORED,
    "the dtype that it quantises to is not lowered",
    "quantise to int8, uint8, int16 or uint16",
)
_F = In(FLOATS)
_PACKED = In(STORED | {"int32"}, unpacks=frozenset(PACKED))

OPS = (
    Op(
        "ConvInteger",
        (10, 10),
        (In(_BYTES.dtypes, ranks=(3, 5)), In(_BYTES.dtypes, ranks=(3, 5)), _BYTES),
        _conv_integer,
        PADDED,
    ),
    Op("DequantizeLinear", (10, 28), (_PACKED, _F, _PACKED), _dequantize),
    Op("DynamicQuantizeLinear", (11, 11), (In(frozenset({"float32"})),), _dynamic, outputs=3),
    Op("MatMulInteger", (10, 10), (_BYTES,), _matmul_integer),
    Op(
        "QLinearConv",
        (10, 10),
        (_BYTES, _F, _BYTES, _BYTES, _F, _BYTES, _F, _BYTES, In(frozenset({"int32"}))),
        _qlinear_conv,
        PADDED,
    ),
    Op("QLinearMatMul", (10, 21), (_BYTES, _F, _BYTES, _BYTES, _F, _BYTES, _F, _BYTES), _qlinear_matmul),
    Op(
        "QuantizeLinear",
        (10, 28),
        (In(FLOATS | {"int32"}), In(FLOATS | {"int32"}), In(STORED)),
        _quantize,
        rules=(_STORED,),
    ),
)
