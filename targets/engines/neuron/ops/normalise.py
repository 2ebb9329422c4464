"""Normalisations. Statistics are computed in float32, whatever the tensors are stored in."""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import FLOATS, In, Op, Rule, Xla

Array = Any
_F = In(FLOATS)
_STASH = {"stash_type": (1,)}
"""stash_type names the dtype of the statistics: float32 is what is computed"""


def per_channel(values: Array, rank: int) -> Array:
    """A vector over channels (axis 1), shaped to meet a tensor of `rank`."""
    return values.reshape((1, -1) + (1,) * (rank - 2))


def _standardise(j: Xla, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    """(x - mean) / sqrt(variance + epsilon) in float32, the mean, and the inverse deviation."""
    wide = x.astype(j.np.float32)
    mean = j.np.mean(wide, axes, keepdims=True)
    centred = wide - mean
    inverse = 1 / j.np.sqrt(j.np.mean(centred * centred, axes, keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


def _batch(c: Call, j: Xla, x: Array, scale: Array, bias: Array, mean: Array, variance: Array) -> Array:
    # The four vectors are folded to one product and one sum: the rest is a multiply-add over the tensor.
    scale, bias, mean, variance = (v.astype(j.np.float32) for v in (scale, bias, mean, variance))
    factor = scale / j.np.sqrt(variance + c.attribute("epsilon", 1e-5))
    y = x.astype(j.np.float32) * per_channel(factor, x.ndim) + per_channel(bias - mean * factor, x.ndim)
    return y.astype(x.dtype)


def _instance(c: Call, j: Xla, x: Array, scale: Array, bias: Array) -> Array:
    y, _, _ = _standardise(j, x, tuple(range(2, x.ndim)), c.attribute("epsilon", 1e-5))
    return (y * per_channel(scale, x.ndim) + per_channel(bias, x.ndim)).astype(x.dtype)


def _group(c: Call, j: Xla, x: Array, scale: Array, bias: Array) -> Array:
    split = x.reshape((x.shape[0], c.attribute("num_groups"), -1))
    y, _, _ = _standardise(j, split, (2,), c.attribute("epsilon", 1e-5))
    y = y.reshape(x.shape)
    return (y * per_channel(scale, x.ndim) + per_channel(bias, x.ndim)).astype(x.dtype)


def _layer(c: Call, j: Xla, x: Array, scale: Array, bias: Array | None = None) -> tuple[Array, ...]:
    axes = tuple(range(c.attribute("axis", -1) % x.ndim, x.ndim))
    y, mean, inverse = _standardise(j, x, axes, c.attribute("epsilon", 1e-5))
    y = y.astype(x.dtype) * scale
    return (y if bias is None else y + bias), mean, inverse


def _rms(c: Call, j: Xla, x: Array, scale: Array) -> Array:
    axes = tuple(range(c.attribute("axis", -1) % x.ndim, x.ndim))
    wide = x.astype(j.np.float32)
    inverse = 1 / j.np.sqrt(j.np.mean(wide * wide, axes, keepdims=True) + c.attribute("epsilon", 1e-5))
    return (wide * inverse).astype(x.dtype) * scale


def _local_response(c: Call, j: Xla, x: Array) -> Array:
    """x / (bias + alpha / size * sum of squares of `size` channels around)**beta."""
    size = c.attribute("size")
    before = (size - 1) // 2
    ones = (1,) * (x.ndim - 2)
    padding = [(0, 0), (before, size - 1 - before)] + [(0, 0)] * (x.ndim - 2)
    wide = x.astype(j.np.float32)
    sums = j.lax.reduce_window(wide * wide, np.float32(0), j.lax.add, (1, size, *ones), (1, 1, *ones), padding)
    base = c.attribute("bias", 1.0) + c.attribute("alpha", 1e-4) / size * sums
    return (wide / j.np.power(base, c.attribute("beta", 0.75))).astype(x.dtype)


def _lp(c: Call, j: Xla, x: Array) -> Array:
    """A vector of norm 0 stays 0."""
    axis = c.attribute("axis", -1)
    if c.attribute("p", 2) == 1:
        norm = j.np.sum(j.np.abs(x), axis, keepdims=True)
    else:
        norm = j.np.sqrt(j.np.sum(x * x, axis, keepdims=True))
    return j.np.where(norm == 0, 0, x / norm)


def _mean_variance(c: Call, j: Xla, x: Array) -> Array:
    """(x - mean) / (deviation + 1e-9), as the operator's function body has it."""
    axes = tuple(c.attribute("axes", (0, 2, 3)))
    wide = x.astype(j.np.float32)
    centred = wide - j.np.mean(wide, axes, keepdims=True)
    deviation = j.np.sqrt(j.np.mean(centred * centred, axes, keepdims=True))
    return (centred / (deviation + 1e-9)).astype(x.dtype)


_NOT_SPATIAL = Rule(lambda c: c.attribute("spatial", 1) != 1, "statistics per element (spatial = 0) are not lowered")
_DIVISIBLE = Rule(lambda c: c.shape()[1] % c.attribute("num_groups") != 0, "the channels are no multiple of num_groups")

OPS = (
    Op(
        "BatchNormalization",
        (7, 15),
        (_F,),
        _batch,
        {"training_mode": (0,)},
        rules=(_NOT_SPATIAL,),
    ),
    Op("GroupNormalization", (21, 21), (_F,), _group, _STASH, rules=(_DIVISIBLE,)),
    Op("InstanceNormalization", (6, 22), (_F,), _instance),
    Op("LRN", (1, 13), (In(FLOATS, ranks=(2, 5)),), _local_response),
    Op("LayerNormalization", (17, 17), (_F,), _layer, _STASH, outputs=3),
    Op("LpNormalization", (1, 22), (_F,), _lp, {"p": (1, 2)}),
    Op("MeanVarianceNormalization", (9, 13), (_F,), _mean_variance),
    Op("RMSNormalization", (23, 23), (_F,), _rms, _STASH),
)
