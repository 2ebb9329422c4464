"""Nodes that give back their input go. One rule an operator; the comment is the algebra, x is the first input.

A rule answers with the value that may stand for the node's first output. Every rule keeps bits, so -0.0 + 0.0 = 0.0
keeps x + 0 out of the table for floats, while x * 1, x / 1 and x - 0 are in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program

Rule = Callable[[ir.Node, int], bool]
"""(node, opset) -> whether its first output equals its first input"""

_END = 2**31 - 1
"""exporters write 'to the end' as this or more; no dimension that an engine can address is longer"""


@dataclass(frozen=True)
class Identities:
    """Removes nodes that a rule of the table calls an identity."""

    def __call__(self, program: Program) -> Program:
        if not any(_source(node, program.opset) for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        did = [
            g.forward(node, source, names)
            for graph in g.graphs(copy.model)
            for node in graph
            if (source := _source(node, copy.opset)) is not None
        ]
        return g.changed(program, copy, any(did))


def _source(node: ir.Node, opset: int) -> ir.Value | None:
    """The value that `node` only passes on; None where it does more, or gives a second result that somebody reads."""
    rule = RULES.get(node.op_type) if node.domain == g.ONNX else None
    if rule is None or not node.inputs or node.inputs[0] is None:
        return None
    if any(g.is_used(v) for v in node.outputs[1:]) or not g.is_used(node.outputs[0]):
        return None
    return node.inputs[0] if rule(node, opset) else None


# ---- arguments -------------------------------------------------------------------------------------


def _same_shape(node: ir.Node, opset: int = 0) -> bool:
    """Input and output have one static shape. A shape that the source declares is no proof: see InferShapes."""
    output = node.outputs[0]
    shape = g.static_shape(node.inputs[0])
    return shape is not None and shape == g.static_shape(output) and not _declared(node.inputs[0], output)


def _declared(*values: ir.Value | None) -> bool:
    return any(v is not None and v.is_graph_output() for v in values)


def _rank(value: ir.Value | None) -> int | None:
    return None if value is None or value.shape is None or _declared(value) else len(value.shape)


def _ints(node: ir.Node, index: int, attribute: str) -> list[int] | None:
    """An argument that old opsets give as an attribute and new ones as an input."""
    if attribute in node.attributes:
        return g.attribute_ints(node, attribute)
    return g.constant_ints(node.inputs[index]) if index < len(node.inputs) else None


def _absent(node: ir.Node, index: int) -> bool:
    return index >= len(node.inputs) or node.inputs[index] is None


# ---- rules -----------------------------------------------------------------------------------------


def _always(node: ir.Node, opset: int) -> bool:
    """Identity(x) = x"""
    return True


def _single(node: ir.Node, opset: int) -> bool:
    """Concat(x) = Max(x) = Min(x) = Sum(x) = Mean(x) = x"""
    return len(node.inputs) == 1


def _cast(node: ir.Node, opset: int) -> bool:
    """Cast(x, dtype of x) = x"""
    value = node.inputs[0]
    return value is not None and value.dtype is not None and int(value.dtype) == g.attribute_int(node, "to", 0)


def _cast_like(node: ir.Node, opset: int) -> bool:
    """CastLike(x, y) = x where both have one dtype"""
    first, second = node.inputs[0], node.inputs[1]
    return first is not None and second is not None and first.dtype is not None and first.dtype == second.dtype


def _transpose(node: ir.Node, opset: int) -> bool:
    """Transpose(x, 0 1 2 ...) = x"""
    perm = g.attribute_ints(node, "perm")
    if perm is not None:
        return perm == list(range(len(perm)))
    rank = _rank(node.inputs[0])
    return rank is not None and rank < 2


def _reshape(node: ir.Node, opset: int) -> bool:
    """Reshape(x, shape of x) = x; an element 0 copies its dimension, one -1 takes what is left"""
    if _same_shape(node):
        return True
    value, target = node.inputs[0], g.constant_ints(node.inputs[1])
    if value is None or target is None or _rank(value) != len(target) or value.shape is None:
        return False
    if g.attribute_int(node, "allowzero", 0):
        return False
    kept = [t == 0 or (isinstance(d, int) and t == d and d > 0) for t, d in zip(target, value.shape, strict=True)]
    left = [t for t, k in zip(target, kept, strict=True) if not k]
    # Where a copied dimension turns out to be 0, a -1 beside it has no answer and the model would have failed.
    return left in ([], [-1])


def _flatten(node: ir.Node, opset: int) -> bool:
    """Flatten(x, 1) = x for a matrix"""
    return _same_shape(node) or (_rank(node.inputs[0]) == 2 and g.attribute_int(node, "axis", 1) in (1, -1))


def _expand(node: ir.Node, opset: int) -> bool:
    """Expand(x, s) = x where s has no more dimensions than x, and each is 1 or that of x"""
    target, value = g.constant_ints(node.inputs[1]), node.inputs[0]
    rank = _rank(value)
    if target is None or value is None or value.shape is None or rank is None or len(target) > rank:
        return _same_shape(node)
    dims = list(value.shape)[rank - len(target) :]
    return all(t == 1 or (isinstance(d, int) and t == d) for t, d in zip(target, dims, strict=True))


def _tile(node: ir.Node, opset: int) -> bool:
    """Tile(x, 1 1 ...) = x"""
    repeats = g.constant_ints(node.inputs[1]) if len(node.inputs) == 2 else None
    return repeats is not None and all(r == 1 for r in repeats)


def _pad(node: ir.Node, opset: int) -> bool:
    """Pad(x, 0 0 ...) = x"""
    pads = _ints(node, 1, "pads")
    return pads is not None and not any(pads)


def _slice(node: ir.Node, opset: int) -> bool:
    """Slice(x, from 0, to the end, step 1) = x"""
    starts, ends = _ints(node, 1, "starts"), _ints(node, 2, "ends")
    if starts is None or ends is None or any(starts):
        return False
    if not _absent(node, 4) and any(s != 1 for s in g.constant_ints(node.inputs[4]) or [0]):
        return False
    return all(end >= _END for end in ends) or _same_shape(node)


def _split(node: ir.Node, opset: int) -> bool:
    """Split(x) into one part = x"""
    return len(node.outputs) == 1


def _dropout(node: ir.Node, opset: int) -> bool:
    """Dropout(x) = x outside of training"""
    if opset < 7:
        return bool(g.attribute_int(node, "is_test", 0))
    if opset < 12 or _absent(node, 2):
        return True
    training = g.constant_array(node.inputs[2], 1)
    return training is not None and not training.any()


def _clip(node: ir.Node, opset: int) -> bool:
    """Clip(x) without bounds = x"""
    return opset >= 11 and _absent(node, 1) and _absent(node, 2)


def _neutral(element: int, *, floats: bool) -> Rule:
    """x * 1 = x / 1 = x - 0 = Pow(x, 1) = x, and for integers x + 0 = x; the result must not be broadcast"""

    def rule(node: ir.Node, opset: int) -> bool:
        value, other = node.inputs[0], g.constant_array(node.inputs[1], 1 << 16)
        rank = _rank(value)
        if value is None or other is None or rank is None or value.dtype is None or other.dtype.kind not in "iuf":
            return False
        if not floats and other.dtype.kind == "f":
            return False
        if not bool(np.all(other == element)) or (other.dtype.kind == "f" and bool(np.any(np.signbit(other)))):
            return False
        # One element in no more dimensions than x cannot widen it; anything else must leave the shape alone.
        return (other.size == 1 and other.ndim <= rank) or _same_shape(node)

    return rule


RULES: dict[str, Rule] = {
    "Identity": _always,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Clip": _clip,
    "Concat": _single,
    "Max": _single,
    "Min": _single,
    "Sum": _single,
    "Mean": _single,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _same_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Dropout": _dropout,
    "Add": _neutral(0, floats=False),
    "Sub": _neutral(0, floats=True),
    "Mul": _neutral(1, floats=True),
    "Div": _neutral(1, floats=True),
    "Pow": _neutral(1, floats=True),
}
