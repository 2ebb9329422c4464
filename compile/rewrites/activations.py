"""Activations that exporters spell out, as the one operator that the standard has for each, which engines fuse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import onnx_ir as ir

from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.terms import near, producer, product, scalar, sole, splits, total

Numbers = tuple[tuple[float, float], ...]
"""(as it stands in the graph, as the algebra wants it)"""
Match = tuple[ir.Value, Numbers, tuple[ir.Node, ...], bool]
"""the argument, the constants, the nodes inside, and whether somebody else reads one of them"""


def _find(match: Callable[[ir.Node], Iterator[Match]]) -> Callable[[ir.Node, int], Site | None]:
    def find(node: ir.Node, opset: int) -> Site | None:
        found = [*match(node)]
        if not found:
            return None
        best = min(found, key=lambda m: sum(not near(*pair) for pair in m[1]))
        x, numbers, nodes, shared = best
        inside = tuple(dict.fromkeys(n for n in nodes if n is not node))
        return Site(node, opset, (*inside, node), {"x": x, "numbers": numbers, "shared": shared})

    return find


NUMBERS = Guard("constant", lambda site: all(near(*pair) for pair in site["numbers"]))
SOLE = Guard("shared", lambda site: not site["shared"])


def _as(operator: str, **attributes: Any) -> Callable[[Site, Editor, int], ir.Value]:
    return lambda site, editor, way: editor.op(operator, site["x"], **attributes)


# ---- GELU ----------------------------------------------------------------------------------------


def _gelu(node: ir.Node, inner: str) -> Iterator[tuple[ir.Value, ir.Node, float, float, tuple[ir.Node, ...], bool]]:
    """0.5 x (1 + inner(...)): x, the inner node, the two numbers, nodes."""
    outer = product(node.outputs[0])
    for x, rest in splits(outer.values):
        one = total(rest)
        within = producer(one.values[0], inner) if len(one.values) == 1 else None
        if within is not None and one.nodes:
            shared = not sole(rest) or not sole(within.outputs[0])
            yield x, within, outer.number, one.number, (within, *one.nodes, *outer.nodes), shared


def _erf_gelu(node: ir.Node) -> Iterator[Match]:
    for x, erf, half, one, nodes, shared in _gelu(node, "Erf"):
        inside = product(erf.inputs[0])
        if inside.values == (x,):
            numbers = ((half, 0.5), (one, 1.0), (inside.number, math.sqrt(0.5)))
            yield x, numbers, (*inside.nodes, *nodes), shared or (bool(inside.nodes) and not sole(erf.inputs[0]))


def _tanh_gelu(node: ir.Node) -> Iterator[Match]:
    for x, tanh, half, one, nodes, shared in _gelu(node, "Tanh"):
        outer = product(tanh.inputs[0])
        cubic = _cubic(outer.values, x)
        if cubic is not None:
            numbers = ((half, 0.5), (one, 1.0), (outer.number, math.sqrt(2 / math.pi)), *cubic[0])
            yield x, numbers, (*cubic[1], *outer.nodes, *nodes), shared


def _cubic(values: tuple[ir.Value, ...], x: ir.Value) -> tuple[Numbers, tuple[ir.Node, ...]] | None:
    """x + 0.044715 x^3, or x (1 + 0.044715 x^2)."""
    if len(values) == 1:
        both = total(values[0])
        for plain, third in splits(both.values):
            number, count, nodes = _power(third, x)
            if plain is x and count == 3:
                return ((number, 0.044715), (1.0 + both.number, 1.0)), (*nodes, *both.nodes)
    for plain, rest in splits(values):
        both = total(rest)
        if plain is x and len(both.values) == 1:
            number, count, nodes = _power(both.values[0], x)
            if count == 2:
                return ((number, 0.044715), (both.number, 1.0)), (*nodes, *both.nodes)
    return None


def _power(value: ir.Value, x: ir.Value) -> tuple[float, int, tuple[ir.Node, ...]]:
    """number * x^count, count 0 where it is none."""
    terms = product(value)
    count, nodes = 0, list(terms.nodes)
    for factor in terms.values:
        power = producer(factor, "Pow")
        exponent = scalar(power.inputs[1], x) if power is not None and power.inputs[0] is x else None
        if factor is x:
            count += 1
        elif power is not None and exponent in (2.0, 3.0):
            count += int(exponent or 0)
            nodes.insert(0, power)
        else:
            return terms.number, 0, ()
    return terms.number, count, tuple(nodes)


GELU = Rule(
    "gelu",
    "0.5 x (1 + erf(x / sqrt 2)) = Gelu(x)",
    frozenset({"Mul", "Div"}),
    _find(_erf_gelu),
    (NUMBERS,),
    _as("Gelu"),
    worth=(SOLE,),
    opset=20,
)

GELU_TANH = Rule(
    "gelu-tanh",
    "0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) = Gelu(x), the approximation by tanh",
    frozenset({"Mul", "Div"}),
    _find(_tanh_gelu),
    (NUMBERS,),
    _as("Gelu", approximate="tanh"),
    worth=(SOLE,),
    opset=20,
)

# ---- SiLU and HardSwish ----------------------------------------------------------------------------


def _silu(node: ir.Node) -> Iterator[Match]:
    outer = product(node.outputs[0])
    for x, rest in splits(outer.values):
        gate = producer(rest, "Sigmoid")
        inside = None if gate is None else product(gate.inputs[0])
        if gate is not None and inside is not None and inside.values == (x,):
            # x sigmoid(alpha x): Swish has the factor as an attribute, and it is always right
            shared = not sole(rest)
            yield x, ((outer.number, 1.0), (inside.number, 1.0)), (*inside.nodes, gate, *outer.nodes), shared


SILU = Rule(
    "silu",
    "x * Sigmoid(x) = Swish(x)",
    frozenset({"Mul", "Div"}),
    _find(_silu),
    (NUMBERS,),
    _as("Swish"),
    worth=(SOLE,),
    opset=24,
)


def _hard_swish(node: ir.Node) -> Iterator[Match]:
    outer = product(node.outputs[0])
    for x, rest in splits(outer.values):
        gate = producer(rest, "Clip", "HardSigmoid")
        if gate is None:
            continue
        shared = not sole(rest)
        if gate.op_type == "HardSigmoid":
            if gate.inputs[0] is x:
                alpha, beta = _attribute(gate, "alpha", 0.2), _attribute(gate, "beta", 0.5)
                yield x, ((outer.number, 1.0), (alpha, 1 / 6), (beta, 0.5)), (gate, *outer.nodes), shared
            continue
        inside = total(gate.inputs[0])
        low, high = (
            (scalar(v, None) for v in (*gate.inputs[1:], None, None)[:2]) if gate.inputs[0] is not None else (0, 0)
        )
        if inside.values == (x,) and inside.nodes and low is not None and high is not None:
            numbers = ((outer.number, 1 / 6), (inside.number, 3.0), (low + 1, 1.0), (high, 6.0))
            yield x, numbers, (*inside.nodes, gate, *outer.nodes), shared or not sole(gate.inputs[0])


def _attribute(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].as_float() if name in node.attributes else default


HARD_SWISH = Rule(
    "hard-swish",
    "x * Clip(x + 3, 0, 6) / 6 = x * HardSigmoid(x, 1/6, 1/2) = HardSwish(x)",
    frozenset({"Mul", "Div"}),
    _find(_hard_swish),
    (NUMBERS,),
    _as("HardSwish"),
    worth=(SOLE,),
    opset=14,
)
