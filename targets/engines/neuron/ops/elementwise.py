"""Operators that work element by element: arithmetic, comparison, logic, bits, casts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import (
    ALL,
    BOOL,
    FLOATS,
    INTEGERS,
    NUMBERS,
    SIGNED,
    In,
    Op,
    Rule,
    Xla,
)

Array = Any
UnaryFunction = Callable[[Xla, Array], Array]
BinaryFunction = Callable[[Xla, Array, Array], Array]


def unary(name: str, versions: tuple[int, int], f: UnaryFunction, dtypes: frozenset[str] = FLOATS) -> Op:
    return Op(name, versions, (In(dtypes),), lambda c, j, x: f(j, x))


def in_float32(f: UnaryFunction) -> UnaryFunction:
    """`f` computed in float32 and rounded once, for what takes several steps."""
    return lambda j, x: f(j, x.astype(j.np.float32)).astype(x.dtype)


def binary(name: str, versions: tuple[int, int], f: BinaryFunction, dtypes: frozenset[str] = NUMBERS) -> Op:
    return Op(name, versions, (In(dtypes), In(dtypes)), lambda c, j, x, y: f(j, x, y))


def variadic(name: str, versions: tuple[int, int], f: Callable[[Xla, list[Array]], Array]) -> Op:
    return Op(name, versions, (In(NUMBERS),), lambda c, j, *x: f(j, list(x)))


# Inverse hyperbolic and inverse circular functions, written out: XLA's own opcodes for them are newer than the list of
# preflight.py. acos(x) = 2 atan2(sqrt(1-x), sqrt(1+x)) keeps its precision near +-1, where 1-x^2 cancels.


def _acos(j: Xla, x: Array) -> Array:
    return 2 * j.lax.atan2(j.np.sqrt(1 - x), j.np.sqrt(1 + x))


def _asin(j: Xla, x: Array) -> Array:
    return j.lax.atan2(x, j.np.sqrt((1 - x) * (1 + x)))


def _acosh(j: Xla, x: Array) -> Array:
    # log1p(t + sqrt(t (x+1))), t = x-1: no cancellation near 1
    t = x - 1
    return j.np.log1p(t + j.np.sqrt(t * (x + 1)))


def _asinh(j: Xla, x: Array) -> Array:
    # sign(x) log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x|: no cancellation near 0
    a = j.np.abs(x)
    return j.np.sign(x) * j.np.log1p(a + a * a / (1 + j.np.sqrt(1 + a * a)))


def _atanh(j: Xla, x: Array) -> Array:
    return (j.np.log1p(x) - j.np.log1p(-x)) / 2


def _sinh(j: Xla, x: Array) -> Array:
    # with e = expm1(|x|): sinh(|x|) = (e + e/(e+1)) / 2
    e = j.np.expm1(j.np.abs(x))
    return j.np.sign(x) * (e + e / (e + 1)) / 2


def _cosh(j: Xla, x: Array) -> Array:
    return (j.np.exp(x) + j.np.exp(-x)) / 2


def _div(j: Xla, x: Array, y: Array) -> Array:
    """Integers truncate toward zero."""
    if j.np.issubdtype(x.dtype, j.np.floating):
        return x / y
    return j.lax.div(*j.np.broadcast_arrays(x, y))


def _mod(c: Call, j: Xla, x: Array, y: Array) -> Array:
    """fmod: the sign of the dividend; else that of the divisor."""
    return (j.np.fmod if c.attribute("fmod", 0) else j.np.mod)(x, y)


def _pow(c: Call, j: Xla, x: Array, y: Array) -> Array:
    """x**y in x's dtype. A constant small whole exponent becomes multiplications, exact and cheap."""
    exponent = c.value(1)
    floating = j.np.issubdtype(x.dtype, j.np.floating)
    if exponent is not None and exponent.size == 1:
        e = float(exponent.reshape(()))
        if floating and e.is_integer() and abs(e) <= 8 and exponent.ndim <= x.ndim:
            return j.np.broadcast_to(j.lax.integer_pow(x, int(e)), np.broadcast_shapes(x.shape, exponent.shape))
        if floating and e == 0.5 and exponent.ndim <= x.ndim:
            return j.np.broadcast_to(j.np.sqrt(x), np.broadcast_shapes(x.shape, exponent.shape))
    if floating:
        return j.np.power(x, y.astype(x.dtype))
    if j.np.issubdtype(y.dtype, j.np.floating):
        return j.np.power(x.astype(j.np.float32), y.astype(j.np.float32)).astype(x.dtype)
    return j.np.power(x, y.astype(x.dtype))


def _shift(c: Call, j: Xla, x: Array, y: Array) -> Array:
    """By as many bits as there are or more, or by a negative number: nothing is left but the sign, to the right."""
    x, y = j.np.broadcast_arrays(x, y)
    left, signed = c.attribute("direction") == "LEFT", j.np.issubdtype(x.dtype, j.np.signedinteger)
    if left or not signed:
        return (j.lax.shift_left if left else j.lax.shift_right_logical)(x, y)
    # arithmetic shifts are of 32 bits only (NCC_EVRF022)
    wide = j.lax.shift_right_arithmetic(x.astype(j.np.int32), _bounded(j, y))
    return wide.astype(x.dtype)


def _bounded(j: Xla, y: Array) -> Array:
    return j.np.where((y < 0) | (y > 31), 31, y.astype(j.np.int32))


def _bit_cast(c: Call, j: Xla, x: Array) -> Array:
    to = c.dtype_attribute("to", "float32")
    if "bool" in (to, c.dtype()):  # a bool is a byte of 0 or 1
        return x != 0 if to == "bool" else x.astype(to)
    return j.lax.bitcast_convert_type(x, to)


def _is_inf(c: Call, j: Xla, x: Array) -> Array:
    above = x == np.inf if c.attribute("detect_positive", 1) else j.np.zeros(x.shape, bool)
    below = x == -np.inf if c.attribute("detect_negative", 1) else j.np.zeros(x.shape, bool)
    return above | below


def _mean(j: Xla, xs: list[Array]) -> Array:
    return functools.reduce(j.np.add, xs) / len(xs)


def cast(j: Xla, x: Array, dtype: str) -> Array:
    """To bool: not equal to zero. Floats to integers: toward zero."""
    return x != 0 if dtype == "bool" else x.astype(dtype)


def _cast(c: Call, j: Xla, x: Array) -> Array:
    return cast(j, x, c.dtype_attribute("to", "float32"))


_WIDE_SHIFT = Rule(
    lambda c: c.dtype() == "int64" and c.attribute("direction") == "RIGHT",
    "an arithmetic shift of 64-bit integers",
    "cast to int32 before it",
    "EVRF022",
)
_CAST_RULE = Rule(
    lambda c: c.dtype_attribute("to", "float32") not in ALL,
    "the dtype that it casts to is none that Neuron devices have",
    "cast to float32, float16, bfloat16, an integer of 8 to 64 bits, or bool",
    "ESPP004",
)

_LOGIC = (
    binary("And", (7, 7), lambda j, x, y: j.np.logical_and(x, y), BOOL),
    binary("Or", (7, 7), lambda j, x, y: j.np.logical_or(x, y), BOOL),
    binary("Xor", (7, 7), lambda j, x, y: j.np.logical_xor(x, y), BOOL),
    unary("Not", (1, 1), lambda j, x: j.np.logical_not(x), BOOL),
    binary("Equal", (7, 19), lambda j, x, y: x == y, ALL),
    binary("Greater", (7, 13), lambda j, x, y: x > y),
    binary("GreaterOrEqual", (12, 16), lambda j, x, y: x >= y),
    binary("Less", (7, 13), lambda j, x, y: x < y),
    binary("LessOrEqual", (12, 16), lambda j, x, y: x <= y),
    Op("Where", (9, 16), (In(BOOL), In(ALL)), lambda c, j, p, x, y: j.np.where(p, x, y)),
    Op("IsInf", (10, 20), (In(FLOATS),), _is_inf),
    unary("IsNaN", (9, 20), lambda j, x: x != x),
)

_BITS = (
    binary("BitwiseAnd", (18, 18), lambda j, x, y: j.np.bitwise_and(x, y), INTEGERS),
    binary("BitwiseOr", (18, 18), lambda j, x, y: j.np.bitwise_or(x, y), INTEGERS),
    binary("BitwiseXor", (18, 18), lambda j, x, y: j.np.bitwise_xor(x, y), INTEGERS),
    unary("BitwiseNot", (18, 18), lambda j, x: j.np.bitwise_not(x), INTEGERS),
    Op("BitShift", (11, 28), (In(INTEGERS), In(INTEGERS)), _shift, rules=(_WIDE_SHIFT,)),
    Op("BitCast", (26, 26), (In(ALL),), _bit_cast, rules=(_CAST_RULE,)),
)

OPS = (
    unary("Abs", (6, 13), lambda j, x: j.np.abs(x), NUMBERS),
    unary("Acos", (7, 22), in_float32(_acos)),
    unary("Acosh", (9, 22), in_float32(_acosh)),
    binary("Add", (7, 14), lambda j, x, y: x + y),
    unary("Asin", (7, 22), in_float32(_asin)),
    unary("Asinh", (9, 22), in_float32(_asinh)),
    unary("Atan", (7, 22), lambda j, x: j.lax.atan2(x, j.np.ones_like(x))),
    unary("Atanh", (9, 22), in_float32(_atanh)),
    Op("Cast", (6, 28), (In(ALL),), _cast, rules=(_CAST_RULE,)),
    Op("CastLike", (15, 25), (In(ALL), In(ALL)), lambda c, j, x, like: cast(j, x, c.dtype(1))),
    unary("Ceil", (6, 13), lambda j, x: j.np.ceil(x)),
    unary("Cos", (7, 22), lambda j, x: j.np.cos(x)),
    unary("Cosh", (9, 22), in_float32(_cosh)),
    binary("Div", (7, 14), _div),
    unary("Erf", (9, 13), lambda j, x: j.lax.erf(x)),
    unary("Exp", (6, 13), lambda j, x: j.np.exp(x)),
    unary("Floor", (6, 13), lambda j, x: j.np.floor(x)),
    unary("Identity", (1, 25), lambda j, x: x, ALL),
    unary("Log", (6, 13), lambda j, x: j.np.log(x)),
    variadic("Max", (8, 13), lambda j, xs: functools.reduce(j.np.maximum, xs)),
    Op("Mean", (8, 13), (In(FLOATS),), lambda c, j, *xs: _mean(j, list(xs))),
    variadic("Min", (8, 13), lambda j, xs: functools.reduce(j.np.minimum, xs)),
    Op("Mod", (10, 28), (In(NUMBERS), In(NUMBERS)), _mod),
    binary("Mul", (7, 14), lambda j, x, y: x * y),
    unary("Neg", (6, 13), lambda j, x: -x, FLOATS | SIGNED),
    Op("Pow", (7, 15), (In(NUMBERS), In(NUMBERS)), _pow),
    unary("Reciprocal", (6, 13), lambda j, x: 1 / x),
    unary("Round", (11, 22), lambda j, x: j.np.round(x)),
    unary("Sign", (9, 13), lambda j, x: j.np.sign(x), NUMBERS),
    unary("Sin", (7, 22), lambda j, x: j.np.sin(x)),
    unary("Sinh", (9, 22), in_float32(_sinh)),
    unary("Sqrt", (6, 13), lambda j, x: j.np.sqrt(x)),
    binary("Sub", (7, 14), lambda j, x, y: x - y),
    Op("Sum", (8, 13), (In(FLOATS),), lambda c, j, *xs: functools.reduce(j.np.add, xs)),
    unary("Tan", (7, 22), in_float32(lambda j, x: j.np.sin(x) / j.np.cos(x))),
    unary("Tanh", (6, 13), lambda j, x: j.np.tanh(x)),
    *_LOGIC,
    *_BITS,
)
