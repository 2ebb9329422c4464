"""Loop and Scan with a constant trip count become so many copies of their bodies.

For targets whose programs have neither loops over shapes nor indices that decide slices: in the copies the iteration
number is a constant, and everything that hangs on it folds. Not part of the normal form: other engines run loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir._cloner import Cloner

from neoc.compile.passes import graph as g
from neoc.compile.passes.onnx_tools import Kernel
from neoc.compile.program import Program


@dataclass(frozen=True)
class UnrollLoops:
    """limit: nodes that one loop may become; a larger one stays."""

    limit: int = 8192

    def __call__(self, program: Program) -> Program:
        if not any(_trips(node, program.opset, self.limit) is not None for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        for graph in g.graphs(copy.model):
            for node in graph:
                trips = _trips(node, copy.opset, self.limit)
                if trips is not None:
                    (_unroll_loop if node.op_type == "Loop" else _unroll_scan)(node, trips, names)
        return copy


def _trips(node: ir.Node, opset: int, limit: int) -> int | None:
    """How often the body of a node runs, where that is known and the copies stay below the limit."""
    if node.domain != g.ONNX or node.op_type not in ("Loop", "Scan") or opset < 9:
        return None
    body = node.attributes["body"].as_graph()
    if any(g.bodies(inner) for inner in body):
        return None  # what is inside comes first
    size = len(body)
    most = limit // max(size, 1)
    trips = _scan_trips(node) if node.op_type == "Scan" else _loop_trips(node, opset, most)
    if trips is None or trips > most:
        return None
    if trips == 0 and len(node.outputs) > _states(node):
        return None  # an empty stack, whose shape nothing says
    return trips


def _states(node: ir.Node) -> int:
    if node.op_type == "Loop":
        return len(node.inputs) - 2
    return len(node.inputs) - g.attribute_int(node, "num_scan_inputs", 0)


# ---- trip counts -----------------------------------------------------------------------------------


def _scan_trips(node: ir.Node) -> int | None:
    first = _states(node)
    axes = g.attribute_ints(node, "scan_input_axes") or [0] * (len(node.inputs) - first)
    for value, axis in zip(node.inputs[first:], axes, strict=True):
        shape = None if value is None else value.shape
        size = None if shape is None else shape[axis]
        if isinstance(size, int):
            return size
    return None


def _loop_trips(node: ir.Node, opset: int, most: int) -> int | None:
    body = node.attributes["body"].as_graph()
    given, first = g.constant_array(node.inputs[0], 1), g.constant_array(node.inputs[1], 1)
    if (node.inputs[0] is not None and given is None) or (node.inputs[1] is not None and first is None):
        return None
    if first is not None and not first.item():
        return 0
    end = None if given is None else int(given.item())
    verdict = g.constant_array(body.outputs[0], 1)
    if _origin(body.outputs[0]) is body.inputs[1] or (verdict is not None and verdict.item()):
        return end
    return _Counter(node, body, opset).count(min(most + 1, most + 1 if end is None else end))


def _origin(value: ir.Value) -> ir.Value:
    """What a value is but for Identity."""
    node = value.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


class _Counter:
    """Runs the part of a Loop's body that decides when it ends, where that hangs on constants alone."""

    def __init__(self, node: ir.Node, body: ir.Graph, opset: int) -> None:
        self._body, self._opset = body, opset
        self._start: dict[ir.Value, ir.TensorProtocol] = {}
        self._feedback = dict(zip(body.inputs[2:], body.outputs[1:], strict=False))
        for inner, outer in zip(body.inputs[2:], node.inputs[2:], strict=True):
            tensor = g.constant(outer)
            if tensor is not None and tensor.size <= 64:
                self._start[inner] = tensor

    def count(self, most: int) -> int | None:
        """Iterations until the condition fails; `most` where it does not. None: it cannot be told."""
        state = dict(self._start)
        for number in range(most):
            known: dict[ir.Value, ir.TensorProtocol] = dict(state)
            known[self._body.inputs[0]] = ir.tensor(np.int64(number))
            known[self._body.inputs[1]] = ir.tensor(np.bool_(True))
            verdict = self._value(self._body.outputs[0], known)
            if verdict is None:
                return None
            if not verdict.numpy().item():
                return number + 1
            following = {inner: self._value(self._feedback[inner], known) for inner in state}
            state = {inner: tensor for inner, tensor in following.items() if tensor is not None}
        return most

    def _value(self, value: ir.Value, known: dict[ir.Value, ir.TensorProtocol]) -> ir.TensorProtocol | None:
        if value in known:
            return known[value]
        tensor = g.constant(value)
        node = value.producer()
        if tensor is not None or node is None or node.graph is not self._body or g.bodies(node):
            return tensor
        inputs: list[ir.TensorProtocol | None] = []
        for given in node.inputs:
            found = None if given is None else self._value(given, known)
            if given is not None and found is None:
                return None
            inputs.append(found)
        if any(t is not None and t.size > 64 for t in inputs):
            return None
        for index, array in (Kernel(node, inputs, self._opset).evaluate() or {}).items():
            known[node.outputs[index]] = ir.tensor(array)
        return known.get(value)


# ---- unrolling -------------------------------------------------------------------------------------


def _unroll_loop(node: ir.Node, trips: int, names: g.Names) -> None:
    body, graph = node.attributes["body"].as_graph(), node.graph
    assert graph is not None
    state: list[ir.Value | None] = list(node.inputs[2:])
    stacks: list[list[ir.Value]] = [[] for _ in node.outputs[len(state) :]]
    yes = g.add_initializer(graph, names.fresh("loop_runs"), ir.tensor(np.bool_(True)))
    for number in range(trips):
        index = g.add_initializer(graph, names.fresh("iteration"), ir.tensor(np.int64(number)))
        results = _copy(node, body, [index, yes, *state], names)[1:]
        count = len(state)
        state = list(results[:count])
        for stack, value in zip(stacks, results[count:], strict=True):
            stack.append(value)
    stacked = [_stacked(node, stack, 0, names) for stack in stacks]
    _replace(node, [*state, *stacked], names)


def _unroll_scan(node: ir.Node, trips: int, names: g.Names) -> None:
    body, states = node.attributes["body"].as_graph(), _states(node)
    sources = list(node.inputs[states:])
    state: list[ir.Value | None] = list(node.inputs[:states])
    outputs = len(node.outputs) - states
    axes = g.attribute_ints(node, "scan_input_axes") or [0] * len(sources)
    backwards = g.attribute_ints(node, "scan_input_directions") or [0] * len(sources)
    stacks: list[list[ir.Value]] = [[] for _ in range(outputs)]
    for number in range(trips):
        at = [trips - 1 - number if back else number for back in backwards]
        slices = [_taken(node, s, a, i, names) for s, a, i in zip(sources, axes, at, strict=True)]
        results = _copy(node, body, [*state, *slices], names)
        state = list(results[:states])
        for stack, value in zip(stacks, results[states:], strict=True):
            stack.append(value)
    out_axes = g.attribute_ints(node, "scan_output_axes") or [0] * outputs
    reverse = g.attribute_ints(node, "scan_output_directions") or [0] * outputs
    stacked = [
        _stacked(node, stack[::-1] if back else stack, axis, names)
        for stack, axis, back in zip(stacks, out_axes, reverse, strict=True)
    ]
    _replace(node, [*state, *stacked], names)


def _copy(node: ir.Node, body: ir.Graph, arguments: Sequence[ir.Value | None], names: g.Names) -> list[ir.Value]:
    """The body once, before the node; its outputs."""
    graph = node.graph
    assert graph is not None
    mapping: dict[ir.Value, ir.Value | None] = dict(zip(body.inputs, arguments, strict=True))
    for value in body.initializers.values():
        assert value.const_value is not None
        mapping[value] = g.add_initializer(graph, names.fresh(f"{value.name}"), value.const_value)
    # What the body reads of the graphs around it stays what it is.
    own = set(g.values_of(body))
    for inner in body:
        mapping |= {v: v for v in inner.inputs if v is not None and v not in own}
    cloner = Cloner(attr_map={}, value_map=mapping, metadata_props={})
    for inner in body:
        copy = cloner.clone_node(inner)
        for output in copy.outputs:
            if output.name:
                output.name = names.fresh(output.name)
        graph.insert_before(node, copy)
    results = []
    for value in body.outputs:
        found = mapping.get(value, value)
        assert found is not None
        results.append(found)
    return results


def _taken(node: ir.Node, source: ir.Value | None, axis: int, index: int, names: g.Names) -> ir.Value:
    graph = node.graph
    assert graph is not None
    at = g.add_initializer(graph, names.fresh("scan_index"), ir.tensor(np.int64(index)))
    return _made(node, "Gather", [source, at], [ir.AttrInt64("axis", axis)], names)


def _stacked(node: ir.Node, parts: Sequence[ir.Value], axis: int, names: g.Names) -> ir.Value:
    """The parts along a new axis."""
    graph = node.graph
    assert graph is not None
    at = g.add_initializer(graph, names.fresh("stack_axis"), ir.tensor(np.array([axis], np.int64)))
    # Unsqueeze takes its axes as an input from 13 on, which the normal form is above.
    wide = [_made(node, "Unsqueeze", [part, at], [], names) for part in parts]
    return _made(node, "Concat", wide, [ir.AttrInt64("axis", axis)], names)


def _made(
    node: ir.Node, operator: str, inputs: Sequence[ir.Value | None], attributes: Sequence[ir.Attr], names: g.Names
) -> ir.Value:
    graph = node.graph
    assert graph is not None
    made = ir.Node(g.ONNX, operator, inputs, attributes, num_outputs=1, name=names.fresh(f"{node.name}_{operator}"))
    made.outputs[0].name = names.fresh(f"{node.name or node.op_type}_{operator.lower()}")
    graph.insert_before(node, made)
    return made.outputs[0]


def _replace(node: ir.Node, results: Sequence[ir.Value | None], names: g.Names) -> None:
    for output, result in zip(node.outputs, results, strict=True):
        if output.name and g.is_used(output):
            assert result is not None
            g.substitute(output, result, names)
    g.discard(node)
