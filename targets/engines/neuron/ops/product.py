"""Matrix products. Integers run through the same engine as floats, so only those it holds exactly are taken."""

from __future__ import annotations

from typing import Any

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


OPS = (
    Op("Einsum", (12, 28), (In(FLOATS | {"int32"}),), _einsum),
    Op("Gemm", (7, 13), (In(_ARGUMENT.dtypes, ranks=(2, 2)),) * 2 + (_ARGUMENT,), _gemm, rules=(NO_INT64,)),
    Op("MatMul", (1, 13), (_ARGUMENT,), lambda c, j, a, b: j.np.matmul(a, b), rules=(NO_INT64,)),
)
