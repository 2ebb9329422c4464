"""Products and sums as a reader sees them: a number and factors, however exporters nested and ordered their nodes.

x / 1.4142, 0.7071 * x, Mul(Mul(a, 0.5), b) = Mul(a, Mul(b, 0.5))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g

CLOSE = 1e-6
"""relative: how near a constant must be to the number that it stands for, a few steps of float32"""


@dataclass(frozen=True)
class Terms:
    """A number and what is multiplied with it, or added to it; `nodes`: what spelled it out, inner ones first.

    A value that others read as well is taken as it is, however it was made.
    """

    number: float
    values: tuple[ir.Value, ...]
    nodes: tuple[ir.Node, ...]


def producer(value: ir.Value | None, *operators: str) -> ir.Node | None:
    """The node of the default domain that makes `value`, where it is one of `operators`."""
    node = None if value is None else value.producer()
    return node if node is not None and node.domain == g.ONNX and node.op_type in operators else None


def scalar(value: ir.Value | None) -> float | None:
    """The only element of a constant that cannot widen what it meets: a scalar, or one element of one axis."""
    constant = g.constant(value)
    if constant is None or constant.size != 1 or constant.dtype == ir.DataType.STRING:
        return None
    array = constant.numpy()
    return float(array.reshape(-1)[0]) if array.ndim <= 1 else None


def sole(value: ir.Value | None) -> bool:
    """Whether one node alone reads it, once or more often."""
    return value is not None and not value.is_graph_output() and len({user for user, _ in value.uses()}) == 1


def product(value: ir.Value | None) -> Terms:
    """number * values[0] * values[1] ..."""
    return _gathered(value, {"Mul": 1, "Div": -1}, 1.0)


def total(value: ir.Value | None) -> Terms:
    """number + values[0] + values[1] ..."""
    return _gathered(value, {"Add": 1, "Sub": -1}, 0.0)


def _gathered(value: ir.Value | None, operators: dict[str, int], neutral: float) -> Terms:
    number = neutral
    values: list[ir.Value] = []
    nodes: list[ir.Node] = []
    open_ends: list[tuple[ir.Value, bool]] = [] if value is None else [(value, True)]
    while open_ends:
        end, first = open_ends.pop(0)
        one = scalar(end)
        node = producer(end, *operators) if first or sole(end) else None
        if one is not None:
            number = number * one if neutral else number + one
        elif node is None or not (parts := _parts(node, operators[node.op_type], bool(neutral))):
            values.append(end)
        else:
            nodes.append(node)
            number = number * parts[0] if neutral else number + parts[0]
            open_ends[:0] = [(part, False) for part in parts[1]]
    return Terms(number, tuple(values), tuple(reversed(nodes)))


def _parts(node: ir.Node, sign: int, products: bool) -> tuple[float, list[ir.Value]] | None:
    """A number and the rest of one node; None where it is no such term, as a quotient of two values."""
    left, right = node.inputs
    if left is None or right is None:
        return None
    if sign > 0:
        return (1.0 if products else 0.0), [left, right]
    second = scalar(right)
    if second is None or (products and second == 0):
        return None
    return (1 / second if products else -second), [left]


def near(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= CLOSE * abs(wanted)


def splits(values: tuple[ir.Value, ...]) -> Iterator[tuple[ir.Value, ir.Value]]:
    """(one, other) both ways round, where there are two."""
    if len(values) == 2:
        yield values[0], values[1]
        yield values[1], values[0]
