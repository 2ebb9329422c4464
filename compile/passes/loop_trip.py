"""Whether a Loop takes exactly one round for each step of a sequence: its counter, its length and its condition."""

from __future__ import annotations

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_algebra import commuted
from neoc.compile.passes.loop_invariants import FIRST_RESULT, FIRST_STATE, through_identity

_PASSING = frozenset({"Cast", "Squeeze", "Unsqueeze", "Reshape", "Identity"})
"""what one number goes through unchanged"""


def counts_up(node: ir.Node, body: ir.Graph, state: int) -> bool:
    """Whether a state starts at 0 and grows by 1 every round."""
    given = g.constant_ints(node.inputs[FIRST_STATE + state])
    inner, new = body.inputs[FIRST_STATE + state], body.outputs[FIRST_RESULT + state]
    return given == [0] and any(
        through_identity(old) is inner and g.constant_ints(step) == [1] for old, step in commuted(new, "Add")
    )


def runs_to_the_end(node: ir.Node, body: ir.Graph, counter: int, sequence: ir.Value) -> bool:
    """Whether the Loop's trip count is the length of `sequence`'s first axis and its condition never ends it before."""
    if not is_length(node.inputs[0], sequence):
        return False
    rounds = [body.inputs[0], body.inputs[FIRST_STATE + counter], body.outputs[FIRST_RESULT + counter]]
    given, inner = node.inputs[1], through_identity(body.outputs[0])
    starts = given is None or _holds(given, [], sequence)
    return starts and (inner is body.inputs[1] or (inner is not None and _holds(inner, rounds, sequence)))


def _holds(condition: ir.Value, rounds: list[ir.Value], sequence: ir.Value) -> bool:
    """Whether `condition` is true while steps are left: true, number < length, or several of these at once.

    `rounds` are values that are at most the number of the next round. An initial condition has none: 0 < length.
    """
    value = through_identity(condition)
    array = g.constant_array(value, 1)
    if array is not None:
        return bool(array.size == 1 and array.dtype == bool and array.all())
    node = None if value is None else value.producer()
    if node is None or node.domain != g.ONNX:
        return False
    if node.op_type == "And" and None not in node.inputs:
        return all(_holds(operand, rounds, sequence) for operand in node.inputs if operand is not None)
    if node.op_type != "Less":
        return False
    low, high = node.inputs
    number = _through(low)
    small = any(number is through_identity(value) for value in rounds) or (_constant(number) or 0) == 0
    return (
        small and number is not None and (_constant(number) is not None or bool(rounds)) and is_length(high, sequence)
    )


def _through(value: ir.Value | None) -> ir.Value | None:
    """The number before casts and reshapes."""
    while value is not None:
        node = value.producer()
        if node is None or node.domain != g.ONNX or node.op_type not in _PASSING:
            break
        value = node.inputs[0]
    return value


def _constant(value: ir.Value | None) -> float | None:
    array = g.constant_array(value, 1)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def is_length(value: ir.Value | None, sequence: ir.Value) -> bool:
    """Whether `value` is the size of the first axis of `sequence`."""
    number = _through(value)
    known = sequence.shape[0] if sequence.shape is not None and len(sequence.shape) else None
    constant = _constant(number)
    if constant is not None:
        return isinstance(known, int) and constant == known
    source = _measured(number)
    if source is None:
        return False
    if _axis(*source) == _axis(sequence, 0):
        return True
    tensor, axis = source
    other = tensor.shape[axis] if tensor.shape is not None and axis < len(tensor.shape) else None
    if isinstance(other, ir.SymbolicDim) and isinstance(known, ir.SymbolicDim):
        return other.value is not None and other == known
    return isinstance(other, int) and other == known


def _measured(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """(tensor, axis) whose size `value` is: Shape, then one entry of it by Slice or Gather."""
    node = None if value is None else value.producer()
    if node is None or node.domain != g.ONNX or node.inputs[0] is None:
        return None
    if node.op_type == "Shape":
        tensor = node.inputs[0]
        start = g.attribute_int(node, "start", 0)
        end = g.attribute_int(node, "end", len(tensor.shape) if tensor.shape is not None else -1)
        return (tensor, start) if end == start + 1 and start >= 0 else None
    if node.op_type == "Slice":
        starts, ends = (g.constant_ints(node.inputs[i]) for i in (1, 2))
        place = starts[0] if starts and ends and len(starts) == 1 and ends[0] == starts[0] + 1 else None
    elif node.op_type == "Gather":
        indices = g.constant_ints(node.inputs[1])
        place = indices[0] if indices and len(indices) == 1 else None
    else:
        return None
    shape = _through(node.inputs[0])
    producer = None if shape is None else shape.producer()
    if place is None or place < 0 or producer is None or producer.op_type != "Shape" or producer.inputs[0] is None:
        return None
    return producer.inputs[0], g.attribute_int(producer, "start", 0) + place


def _axis(tensor: ir.Value, axis: int) -> tuple[ir.Value, int]:
    """The tensor and axis where a size comes from, before transpositions and reversals, which keep it."""
    while True:
        node = tensor.producer()
        if node is None or node.domain != g.ONNX or not node.inputs or node.inputs[0] is None:
            return tensor, axis
        if node.op_type == "Transpose":
            order = g.attribute_ints(node, "perm")
            rank = len(tensor.shape) if tensor.shape is not None else 0
            axis = order[axis] if order is not None else rank - 1 - axis
        elif node.op_type not in ("ReverseSequence", "Identity", "Cast"):
            return tensor, axis
        tensor = node.inputs[0]
