"""Matrix products. Integers run through the same engine as floats, so only those it holds exactly are taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import FLOATS, In, Op, Rule, Xla

Array = Any
_ARGUMENT = In(FLOATS | {"int32", "int64"})

NO_INT64 = Rule(
    lambda c: c.dtype() == "int64",
    "the matrix engine has no 64-bit integers",
    "cast the operands to float32 or int32 before the product",
    "EVRF035",
)


def _gemm(c: Call, j: Xla, a: Array, b: Array, bias: Array | None = None) -> Array:
    """alpha A' B' + beta C"""
    y = j.np.matmul(a.T if c.attribute("transA", 0) else a, b.T if c.attribute("transB", 0) else b)
    y = _scaled(y, c.attribute("alpha", 1.0))
    return y if bias is None else y + _scaled(bias, c.attribute("beta", 1.0))


def _scaled(x: Array, factor: float) -> Array:
    return x if factor == 1 else (x * factor).astype(x.dtype)


def _einsum(c: Call, j: Xla, *xs: Array) -> Array:
    return j.np.einsum(c.attribute("equation").replace(" ", ""), *xs)


def _determinant(j: Xla, x: Array) -> Array:
    """By elimination with partial pivoting, written out: the compiler has no factorisations."""
    size = x.shape[-1]
    wide = x.astype(j.np.float32)
    total = j.np.ones(x.shape[:-2], j.np.float32)
    for i in range(size):
        column = j.np.abs(wide[..., i:, i])
        pivot = j.np.argmax(column, -1)
        rows = j.lax.iota(pivot.dtype, size - i)
        chosen = (rows == pivot[..., None]).astype(j.np.float32)[..., None]
        found = j.np.sum(wide[..., i:, :] * chosen, -2)
        top = wide[..., i, :]
        rest = wide[..., i:, :] + chosen * (top - found)[..., None, :]  # the two rows change places
        head = found[..., i]
        total = total * head * j.np.where(pivot == 0, np.float32(1), np.float32(-1))
        factors = rest[..., 1:, i] / j.np.where(head == 0, 1, head)[..., None]
        below = rest[..., 1:, :] - factors[..., None] * found[..., None, :]
        wide = j.lax.concatenate([wide[..., : i + 1, :], below], below.ndim - 2)
    return total.astype(x.dtype)


_SQUARE = Rule(lambda c: c.shape()[-1] > 32, "a matrix of more than 32 rows would be as many written-out steps")

OPS = (
    Op("Det", (11, 22), (In(FLOATS, ranks=(2, 8)),), lambda c, j, x: _determinant(j, x), rules=(_SQUARE,)),
    Op("Einsum", (12, 28), (In(FLOATS | {"int32"}),), _einsum),
    Op("Gemm", (7, 13), (In(_ARGUMENT.dtypes, ranks=(2, 2)),) * 2 + (_ARGUMENT,), _gemm, rules=(NO_INT64,)),
    Op("MatMul", (1, 13), (_ARGUMENT,), lambda c, j, a, b: j.np.matmul(a, b), rules=(NO_INT64,)),
)
