"""The rules that every program keeps, and where one is broken.

* A name belongs to one value in the whole model; what is read has a name.
* What a node reads is defined before it: by its graph's inputs, initializers and earlier nodes, or by those of the
  graphs around it. What a graph gives out, it defines itself.
* An initializer has a tensor, under its own name. No node outside the model reads a value inside.
* An attribute has the name it is filed under, a value of its type, and refers to nothing outside a function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.contracts import Signature
from neoc.compile.passes import graph as g
from neoc.compile.passes import text
from neoc.compile.program import Program

_AROUND = 3
"""nodes shown either side of a fault"""


@dataclass(frozen=True)
class Fault:
    """One broken rule, in words, and the place: a node's index in its graph, or None for the graph as a whole."""

    message: str
    graph: ir.Graph
    index: int | None = None

    def excerpt(self) -> str:
        """The nodes around the fault, one a line, the faulty one marked."""
        if self.index is None:
            return ""
        first = max(0, self.index - _AROUND)
        near = list(self.graph)[first : self.index + _AROUND + 1]
        return "\n".join(
            f"{'>' if first + k == self.index else ' '} {first + k:4d}  {text.node_line(node)}"
            for k, node in enumerate(near)
        )


def first_fault(program: Program, *, names: bool = True) -> Fault | None:
    """The first broken rule; `names=False` leaves out that names are unique over the whole model."""
    return next(_faults(program.model, names), None)


def signature_fault(
    before: Signature, after: Signature, bound: frozenset[str] = frozenset(), retyped: frozenset[str] = frozenset()
) -> str | None:
    """How the signature broke: names and dtypes stay as they were, save for inputs in `bound`, which are gone, and the
    dtypes of those in `retyped`.
    """
    kept = [s for s in before.inputs if s.name not in bound]
    for word, old, new in (("inputs", kept, after.inputs), ("outputs", before.outputs, after.outputs)):
        if [s.name for s in old] != [s.name for s in new]:
            return f"the {word} were {_list(old)} and are {_list(new)}"
        for was, now in zip(old, new, strict=True):
            if was.dtype not in ("undefined", now.dtype) and now.name not in retyped:
                return f"{now.name!r} was {was.dtype} and is {now.dtype}"
    return None


def _list(specs: object) -> str:
    assert hasattr(specs, "__iter__")
    return ", ".join(s.name for s in specs) or "none"


def _faults(model: ir.Model, names: bool) -> Iterator[Fault]:
    yield from _scope(model.graph, set(), set() if names else None)
    inside = {node for graph in g.graphs(model) for node in graph}
    for graph in g.graphs(model):
        for value in g.values_of(graph):
            strays = [use.node for use in value.uses() if use.node not in inside]
            if strays:
                yield Fault(f"{value.name!r} is still read by a removed node: {text.node_line(strays[0])}", graph)


def _scope(graph: ir.Graph, around: set[ir.Value], names: set[str] | None) -> Iterator[Fault]:
    """Faults of `graph` and its bodies. `around`: what the graphs around define before it; restored at the end."""
    own: list[ir.Value] = []

    def define(value: ir.Value) -> str | None:
        own.append(value)
        around.add(value)
        if names is None or not value.name:
            return None
        if value.name in names:
            return f"two values are named {value.name!r}"
        names.add(value.name)
        return None

    for value in [*graph.inputs, *(v for v in graph.initializers.values() if not v.is_graph_input())]:
        if (message := define(value)) is not None:
            yield Fault(message, graph)
        if not value.name:
            yield Fault("an input has no name", graph)
    for name, value in graph.initializers.items():
        if name != value.name:
            yield Fault(f"initializer {value.name!r} is filed as {name!r}", graph)
        if value.const_value is None:
            yield Fault(f"initializer {name!r} has no tensor", graph)
    for index, node in enumerate(graph):
        for message in _node_messages(node, around):
            yield Fault(message, graph, index)
        for body in g.bodies(node):
            yield from _scope(body, around, names)
        for value in node.outputs:
            message = f"{value.name!r} is defined twice" if value in around else define(value)
            if message is not None:
                yield Fault(message, graph, index)
    defined = set(own)
    for value in graph.outputs:
        if value not in defined:
            yield Fault(f"output {value.name!r} is not defined in its graph", graph, len(graph) - 1 if graph else None)
        if not value.name:
            yield Fault("an output has no name", graph)
    around.difference_update(own)


def _node_messages(node: ir.Node, visible: set[ir.Value]) -> Iterator[str]:
    for value in node.inputs:
        if value is None:
            continue
        if value not in visible:
            maker = value.producer()
            why = "nothing defines it" if maker is None or maker.graph is None else "it is defined later or elsewhere"
            yield f"{node.op_type} reads {value.name!r}, but {why}"
        elif not value.name:
            yield f"{node.op_type} reads a value without a name"
    if not node.op_type:
        yield "a node has no operator"
    for name, attribute in node.attributes.items():
        if name != attribute.name:
            yield f"attribute {attribute.name!r} of {node.op_type} is filed as {name!r}"
        if attribute.is_ref():
            yield f"attribute {name!r} of {node.op_type} refers to a function's attribute outside any function"
        elif not _has_type(attribute):
            yield f"attribute {name!r} of {node.op_type} is no {attribute.type.name}: {attribute.value!r}"


_KINDS: dict[ir.AttributeType, type | tuple[type, ...]] = {
    ir.AttributeType.INT: int,
    ir.AttributeType.FLOAT: float,
    ir.AttributeType.STRING: (str, bytes),
    ir.AttributeType.GRAPH: ir.Graph,
    ir.AttributeType.INTS: int,
    ir.AttributeType.FLOATS: float,
    ir.AttributeType.STRINGS: (str, bytes),
    ir.AttributeType.GRAPHS: ir.Graph,
}
_MANY = (
    ir.AttributeType.INTS,
    ir.AttributeType.FLOATS,
    ir.AttributeType.STRINGS,
    ir.AttributeType.GRAPHS,
)


def _has_type(attribute: ir.Attr) -> bool:
    if attribute.value is None:
        return False
    kind = _KINDS.get(attribute.type)
    if kind is None:
        return True
    if attribute.type in _MANY:
        return isinstance(attribute.value, tuple) and all(isinstance(v, kind) for v in attribute.value)
    return isinstance(attribute.value, kind)
