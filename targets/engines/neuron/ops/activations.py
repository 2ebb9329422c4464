"""Activation functions. Softmax and its like compute in float32, whatever the tensors are stored in."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import FLOATS, NUMBERS, SIGNED, In, Op, Xla

Array = Any
_F = (In(FLOATS),)

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
"""defaults in the ONNX definition of Selu"""


def sigmoid(j: Xla, x: Array) -> Array:
    """1 / (1 + exp(-x)), as the one opcode that the compiler has for it."""
    return j.lax.logistic(x)


def softplus(j: Xla, x: Array) -> Array:
    # log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)): never overflows
    return j.np.maximum(x, 0) + j.np.log1p(j.np.exp(-j.np.abs(x)))


def clamped(j: Xla, x: Array, low: float, high: float) -> Array:
    """x cut to low..high, bounds in x's own dtype: jnp.clip would bring float64 in."""
    return j.lax.clamp(j.np.asarray(low, x.dtype), x, j.np.asarray(high, x.dtype))


def hard_sigmoid(j: Xla, x: Array, alpha: float, beta: float) -> Array:
    return clamped(j, x * alpha + beta, 0, 1)


def elu(j: Xla, x: Array, alpha: float) -> Array:
    # minimum: exp of a large positive x, which where() drops, would overflow
    return j.np.where(x > 0, x, alpha * j.np.expm1(j.np.minimum(x, 0)))


def leaky_relu(j: Xla, x: Array, alpha: float) -> Array:
    return j.np.where(x < 0, alpha * x, x)


def softsign(j: Xla, x: Array) -> Array:
    return x / (1 + j.np.abs(x))


def _gelu(c: Call, j: Xla, x: Array) -> Array:
    if c.attribute("approximate", "none") == "tanh":
        return 0.5 * x * (1 + j.np.tanh(np.sqrt(2 / np.pi).item() * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + j.lax.erf(x * np.sqrt(0.5).item()))


def _clip(c: Call, j: Xla, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """min(max(x, low), high): where low > high, high wins. Bounds are attributes before version 11."""
    low = c.attribute("min") if low is None else low.reshape(())
    high = c.attribute("max") if high is None else high.reshape(())
    x = x if low is None else j.np.maximum(x, j.np.asarray(low, x.dtype))
    return x if high is None else j.np.minimum(x, j.np.asarray(high, x.dtype))


def _celu(c: Call, j: Xla, x: Array) -> Array:
    alpha = c.attribute("alpha", 1.0)
    return j.np.maximum(x, 0) + j.np.minimum(0, alpha * j.np.expm1(j.np.minimum(x, 0) / alpha))


def _selu(c: Call, j: Xla, x: Array) -> Array:
    return c.attribute("gamma", SELU_GAMMA) * elu(j, x, c.attribute("alpha", SELU_ALPHA))


def _shrink(c: Call, j: Xla, x: Array) -> Array:
    bound, bias = c.attribute("lambd", 0.5), c.attribute("bias", 0.0)
    outside = j.np.where(x > bound, x - j.np.asarray(bias, x.dtype), j.np.zeros_like(x))
    return j.np.where(x < -bound, x + j.np.asarray(bias, x.dtype), outside)


def along(f: Callable[[Call, Xla, Array, int], Array]) -> Callable[[Call, Xla, Array], Array]:
    """`f` over one axis; before version 13 over all axes from `axis` on, flattened together."""

    def lowered(c: Call, j: Xla, x: Array) -> Array:
        if c.version >= 13:
            return f(c, j, x, c.attribute("axis", -1))
        axis = c.attribute("axis", 1) % max(x.ndim, 1)
        return f(c, j, x.reshape(prod(x.shape[:axis]), -1), 1).reshape(x.shape)

    return lowered


def softmax(c: Call, j: Xla, x: Array, axis: int) -> Array:
    wide = x.astype(j.np.float32)
    e = j.np.exp(wide - j.np.max(wide, axis, keepdims=True))
    return (e / j.np.sum(e, axis, keepdims=True)).astype(x.dtype)


def log_softmax(c: Call, j: Xla, x: Array, axis: int) -> Array:
    wide = x.astype(j.np.float32)
    moved = wide - j.np.max(wide, axis, keepdims=True)
    return (moved - j.np.log(j.np.sum(j.np.exp(moved), axis, keepdims=True))).astype(x.dtype)


def hardmax(c: Call, j: Xla, x: Array, axis: int) -> Array:
    """1 at the first largest element, 0 elsewhere."""
    first = j.np.expand_dims(j.np.argmax(x, axis), axis)
    return (j.lax.broadcasted_iota(first.dtype, x.shape, axis % x.ndim) == first).astype(x.dtype)


OPS = (
    Op("Celu", (12, 28), _F, _celu),
    Op("Clip", (6, 13), (In(NUMBERS),), _clip),
    Op("Elu", (6, 22), _F, lambda c, j, x: elu(j, x, c.attribute("alpha", 1.0))),
    Op("Gelu", (20, 20), _F, _gelu),
    Op(
        "HardSigmoid",
        (6, 22),
        _F,
        lambda c, j, x: hard_sigmoid(j, x, c.attribute("alpha", 0.2), c.attribute("beta", 0.5)),
    ),
    Op("HardSwish", (14, 22), _F, lambda c, j, x: x * hard_sigmoid(j, x, 1 / 6, 0.5)),
    Op("Hardmax", (1, 13), _F, along(hardmax)),
    Op("LeakyRelu", (6, 16), _F, lambda c, j, x: leaky_relu(j, x, c.attribute("alpha", 0.01))),
    Op("LogSoftmax", (1, 13), _F, along(log_softmax)),
    Op("Mish", (18, 22), _F, lambda c, j, x: x * j.np.tanh(softplus(j, x))),
    Op("PRelu", (7, 16), (In(FLOATS | SIGNED),), lambda c, j, x, slope: j.np.where(x < 0, slope * x, x)),
    Op("Relu", (6, 14), (In(FLOATS | SIGNED),), lambda c, j, x: j.np.maximum(x, 0)),
    Op("Selu", (6, 22), _F, _selu),
    Op("Shrink", (9, 9), (In(FLOATS | SIGNED),), _shrink),
    Op("Sigmoid", (6, 13), _F, lambda c, j, x: sigmoid(j, x)),
    Op("Softmax", (1, 13), _F, along(softmax)),
    Op("Softplus", (1, 22), _F, lambda c, j, x: softplus(j, x)),
    Op("Softsign", (1, 22), _F, lambda c, j, x: softsign(j, x)),
    Op("SwiGLU", (28, 28), _F, lambda c, j, a, b: a * sigmoid(j, c.attribute("alpha", 1.0) * a) * b),
    Op("Swish", (24, 24), _F, lambda c, j, x: x * sigmoid(j, c.attribute("alpha", 1.0) * x)),
    Op("ThresholdedRelu", (10, 22), _F, lambda c, j, x: j.np.where(x > c.attribute("alpha", 1.0), x, 0)),
)
