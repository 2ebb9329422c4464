"""What a Loop carries from round to round without ever changing it is read from outside instead.

Loop(n, c, s, w) {s, w -> f(s, w), w}  =  Loop(n, c, s) {s -> f(s, w)}

Exporters of frameworks whose loops cannot see the graph around them (TensorFlow's While) carry every weight this way,
which hides that it is a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program

FIRST_STATE = 2
"""inputs of a Loop and of its body before the states: trip count and condition; round number and condition"""
FIRST_RESULT = 1
"""outputs of the body before the states: the condition"""


@dataclass(frozen=True)
class LoopInvariants:
    """Rewrites every Loop that carries a state unchanged. An output of such a state is what the Loop was given."""

    def __call__(self, program: Program) -> Program:
        if not any(invariants(node) for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        for graph in g.graphs(copy.model):
            for node in graph:
                for index in reversed(invariants(node)):
                    _release(node, index, names)
        return copy


def body_of(node: ir.Node) -> ir.Graph | None:
    """The body of a Loop with as many inputs and outputs as the standard asks for; None for anything else."""
    if node.op_type != "Loop" or node.domain != g.ONNX or "body" not in node.attributes:
        return None
    body = node.attributes["body"].as_graph()
    states = len(node.inputs) - FIRST_STATE
    fits = len(body.inputs) == FIRST_STATE + states and len(body.outputs) >= FIRST_RESULT + states
    return body if states >= 0 and fits and len(node.outputs) == len(body.outputs) - FIRST_RESULT else None


def invariants(node: ir.Node) -> list[int]:
    """The states, by number, that the body hands on as it got them, and whose loop may be told so."""
    body = body_of(node)
    if body is None:
        return []
    found = []
    for index, given in enumerate(node.inputs[FIRST_STATE:]):
        inner, result = body.inputs[FIRST_STATE + index], body.outputs[FIRST_RESULT + index]
        # A graph output has a name that must stay, so it cannot simply become what the Loop was given.
        if given is not None and through_identity(result) is inner and not node.outputs[index].is_graph_output():
            found.append(index)
    return found


def through_identity(value: ir.Value | None) -> ir.Value | None:
    """The value that a chain of Identity nodes passes on."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type != "Identity" or node.domain != g.ONNX:
            break
        value = node.inputs[0]
    return value


def _release(node: ir.Node, index: int, names: g.Names) -> None:
    body, given = node.attributes["body"].as_graph(), node.inputs[FIRST_STATE + index]
    assert given is not None
    inner = body.inputs[FIRST_STATE + index]
    body.outputs.pop(FIRST_RESULT + index)
    body.inputs.pop(FIRST_STATE + index)
    inner.replace_all_uses_with(given)
    # Where the state was also what the body yields as another result, that result is now the value outside.
    for place, output in enumerate(body.outputs):
        if output is inner:
            body.outputs[place] = _alias(body, given, names)
    node.outputs[index].replace_all_uses_with(given)
    drop_output(node, index)
    kept = [value for place, value in enumerate(node.inputs) if place != FIRST_STATE + index]
    for place, value in enumerate(kept):
        node.replace_input_with(place, value)
    node.resize_inputs(len(kept))


def _alias(body: ir.Graph, value: ir.Value, names: g.Names) -> ir.Value:
    alias = ir.Node(g.ONNX, "Identity", [value], num_outputs=1)
    output = alias.outputs[0]
    output.name, output.type, output.shape = names.fresh(f"{value.name}_passed"), value.type, value.shape
    body.append(alias)
    return output


def drop_output(node: ir.Node, index: int) -> None:
    """Take one unused output away: those after it move up, with their names, types and readers."""
    for place in range(index, len(node.outputs) - 1):
        _move(node.outputs[place + 1], node.outputs[place])
    node.resize_outputs(len(node.outputs) - 1)


def _move(source: ir.Value, target: ir.Value) -> None:
    target.name, source.name = source.name, None
    target.type, target.shape = source.type, source.shape
    source.replace_all_uses_with(target, replace_graph_outputs=True)
