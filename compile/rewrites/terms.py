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


def scalar(value: ir.Value | None, beside: ir.Value | None) -> float | None:
    """The only element of a constant that cannot widen `beside`, which it meets: it has no more axes than that.

    Exporters fold a 1 to [1, 1, 1]. And [1] beside a value without axes makes one of one axis: another shape.
    """
    constant = g.constant(value)
    if constant is None or constant.size != 1 or constant.dtype == ir.DataType.STRING:
        return None
    array = constant.numpy()
    rank = 0 if beside is None or beside.shape is None else len(beside.shape)
    return float(array.reshape(-1)[0]) if array.ndim <= rank else None


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
        node = producer(end, *operators) if first or sole(end) else None
        if node is None or not (parts := _parts(node, operators[node.op_type], bool(neutral))):
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
    second = scalar(right, left)
    if sign > 0:
        if second is not None:
            return second, [left]
        other = scalar(left, right)
        return (other, [right]) if other is not None else ((1.0 if products else 0.0), [left, right])
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
