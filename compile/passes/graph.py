"""What the passes share: walking nested graphs, reading constants, and replacing values without losing a name.

Bodies of If, Loop and Scan may read any value of the graphs around them. The use lists of onnx_ir include such
captures, so a value is unused only when no body reads it either; `discard` keeps that true.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from neoc.compile.program import Program

ONNX = ""
"""the default domain, as onnx_ir writes both "" and "ai.onnx" """


# ---- walking -----------------------------------------------------------------------------------


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs that `node` holds as attributes, in the order of its attributes."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph and every body in it, outer graphs first. Functions are left out."""
    yield from nested(model.graph)


def nested(graph: ir.Graph) -> Iterator[ir.Graph]:
    yield graph
    for node in graph:
        for body in bodies(node):
            yield from nested(body)


def values_of(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value that `graph` itself defines: inputs, initializers, then node outputs."""
    yield from graph.inputs
    yield from (v for v in graph.initializers.values() if not v.is_graph_input())
    for node in graph:
        yield from node.outputs


def is_used(value: ir.Value) -> bool:
    return value.is_graph_output() or bool(value.uses())


# ---- constants ---------------------------------------------------------------------------------


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind `value` where it is fixed: an initializer that is no input, or a Constant of one tensor."""
    if value is None:
        return None
    if value.is_initializer():
        return None if value.is_graph_input() else value.const_value
    node = value.producer()
    if node is not None and node.op_type == "Constant" and node.domain == ONNX and "value" in node.attributes:
        return node.attributes["value"].as_tensor()
    return None


def constant_array(value: ir.Value | None, limit: int = 1024) -> np.ndarray | None:
    """The constant as an array, for arguments such as axes and shapes: nothing above `limit` elements, no strings."""
    tensor = constant(value)
    if tensor is None or tensor.size > limit or tensor.dtype == ir.DataType.STRING:
        return None
    return tensor.numpy()


def constant_ints(value: ir.Value | None) -> list[int] | None:
    """The constant as a flat list of integers; None where `value` is unknown or holds no integers."""
    array = constant_array(value)
    return None if array is None or array.dtype.kind not in "iu" else [int(i) for i in array.reshape(-1)]


def add_initializer(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    """A new initializer of `graph`. The name must be free."""
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=_shape(tensor), const_value=tensor)
    graph.register_initializer(value)
    return value


def _shape(tensor: ir.TensorProtocol) -> ir.Shape:
    return ir.Shape([int(d) for d in tensor.shape.numpy()])


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape, where every dimension is a number."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(int(d) for d in value.shape.numpy())


def attribute_int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def attribute_ints(node: ir.Node, name: str) -> list[int] | None:
    attribute = node.attributes.get(name)
    return None if attribute is None else list(attribute.as_ints())


# ---- changing ----------------------------------------------------------------------------------


class Names:
    """Names that are free in the whole model, bodies included."""

    def __init__(self, model: ir.Model) -> None:
        self._taken = {v.name for g in graphs(model) for v in values_of(g) if v.name}

    def fresh(self, base: str) -> str:
        """`base` if it is free, else base_1, base_2 ... The result counts as taken from now on."""
        name, number = base, 0
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


def substitute(old: ir.Value, new: ir.Value, names: Names) -> bool:
    """Let everything that reads `old` read `new`; whether anything changed.

    A graph output keeps its name: where `old` is one, `new` takes over the name if it can (a value that a node of
    the same graph makes, and no output yet); else `old` stays, as the Identity of `new`.
    """
    changed = bool(old.uses()) and not _is_identity(old, new)
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return changed
    graph, node, source = old.graph, old.producer(), new.producer()
    assert graph is not None
    assert node is not None
    if source is not None and source.graph is graph and not new.is_graph_output():
        name, old.name = old.name, names.fresh("replaced")
        new.name = name
        new.type = old.type or new.type
        new.shape = old.shape if old.shape is not None else new.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        return True
    readers = [(user, index) for user, index in old.uses()]
    for user, index in readers:
        user.replace_input_with(index, new)
    if _is_identity(old, new):
        return bool(readers)
    alias = ir.Node(ONNX, "Identity", [new], num_outputs=1, name=node.name)
    output = alias.outputs[0]
    output.type, output.shape = old.type, old.shape
    name, old.name = old.name, names.fresh("replaced")
    output.name = name
    graph.insert_before(node, alias)
    old.replace_all_uses_with(output, replace_graph_outputs=True)
    return True


def _is_identity(value: ir.Value, of: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Identity" and node.domain == ONNX and node.inputs[0] is of


def become_constant(output: ir.Value, tensor: ir.TensorProtocol, names: Names) -> None:
    """Let everything read `tensor` instead of `output`; a graph output is made by a Constant."""
    node = output.producer()
    assert node is not None
    assert node.graph is not None
    if not output.is_graph_output():
        name, output.name = output.name or "folded", names.fresh("replaced")
        output.replace_all_uses_with(add_initializer(node.graph, name, tensor))
        return
    attribute = ir.AttrTensor("value", tensor)
    constant = ir.Node(ONNX, "Constant", [], [attribute], num_outputs=1, name=node.name)
    fresh = constant.outputs[0]
    fresh.type, fresh.shape = ir.TensorType(tensor.dtype), _shape(tensor)
    node.graph.insert_before(node, constant)
    fresh.name, output.name = output.name, names.fresh("replaced")
    output.replace_all_uses_with(fresh, replace_graph_outputs=True)


def discard(node: ir.Node) -> None:
    """Remove `node`, whose outputs nobody reads, and with it every capture that its bodies hold."""
    graph = node.graph
    assert graph is not None
    _release(node)
    graph.remove(node, safe=True)


def _release(node: ir.Node) -> None:
    for body in bodies(node):
        for inner in body:
            _release(inner)
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def forward(node: ir.Node, source: ir.Value, names: Names) -> bool:
    """Replace the first output of `node` by `source`, and the node with it where nobody needs it any more."""
    did = substitute(node.outputs[0], source, names)
    if any(is_used(v) for v in node.outputs):
        return did
    discard(node)
    return True


def changed(program: Program, copy: Program, did: bool) -> Program:
    """`copy` if the pass did anything, else `program` itself: the sign that nothing is left to do."""
    return copy if did else program
