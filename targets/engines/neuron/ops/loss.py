"""Losses. Classes are picked by comparison with a counter, which needs no gather; sums are in float32."""

from __future__ import annotations

from typing import Any

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.activations import log_softmax
from neoc.targets.engines.neuron.table import FLOATS, In, Op, Xla

Array = Any


def negative_log_likelihood(c: Call, j: Xla, x: Array, target: Array, weight: Array | None) -> Array:
    """-weight[t] x[n, t, ...] for each target t; ignored targets count 0, in the mean's divisor too."""
    classes = j.lax.broadcasted_iota(target.dtype, x.shape, 1)
    chosen = classes == j.np.expand_dims(target, 1)
    wide = j.np.where(chosen, x.astype(j.np.float32), 0)
    loss = -j.np.sum(wide, 1)
    if weight is None:
        factor = j.np.ones(target.shape, j.np.float32)
    else:
        columns = weight.astype(j.np.float32).reshape((1, -1) + (1,) * (x.ndim - 2))
        factor = j.np.sum(j.np.where(chosen, columns, 0), 1)
    ignored = c.attribute("ignore_index")
    if ignored is not None:
        factor = j.np.where(target == ignored, 0, factor)
    loss = loss * factor
    reduction = c.attribute("reduction", "mean")
    if reduction == "none":
        return loss.astype(x.dtype)
    total = j.np.sum(loss)
    return (total / j.np.sum(factor) if reduction == "mean" else total).astype(x.dtype)


def _cross_entropy(c: Call, j: Xla, x: Array, target: Array, weight: Array | None = None) -> tuple[Array, Array]:
    logs = log_softmax(c, j, x, 1)
    return negative_log_likelihood(c, j, logs, target, weight), logs


_F = In(FLOATS)
_SCORES, _TARGET = In(FLOATS, ranks=(2, 8)), In(frozenset({"int32", "int64"}))
_REDUCTIONS = {"reduction": ("none", "mean", "sum")}

OPS = (
    Op(
        "NegativeLogLikelihoodLoss",
        (12, 22),
        (_SCORES, _TARGET, _F),
        lambda c, j, x, target, weight=None: negative_log_likelihood(c, j, x, target, weight),
        _REDUCTIONS,
    ),
    Op("SoftmaxCrossEntropyLoss", (12, 13), (_SCORES, _TARGET, _F), _cross_entropy, _REDUCTIONS, outputs=2),
)
