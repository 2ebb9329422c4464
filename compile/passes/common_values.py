"""Equal computations are made once: equal initializers, and nodes with equal operator, inputs and attributes.

A body may use what the graphs around it have computed before it, never the other way round. Nodes of other domains may
have a state that only their engine knows, and random ones differ from run to run: both are left alone. (onnx_ir's
CommonSubexpressionEliminationPass looks at the main graph only, merges Dropout in training and custom operators, and
takes an integer attribute 1 and a float attribute 1.0 for equal.)
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program

_RANDOM = (
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
_APART = frozenset({*_RANDOM, "Constant", "Identity"})
"""after LiftConstants and Identities those make outputs: an Identity in their place would only be undone again"""

_DOMAINS = frozenset({g.ONNX, "ai.onnx.ml"})


@dataclass(frozen=True)
class CommonValues:
    """Merges equal initializers of one graph, and equal nodes of one graph or of a body and the graphs around it."""

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        names = g.Names(copy.model)
        merged = [_merge_initializers(graph) for graph in g.graphs(copy.model)]
        return g.changed(program, copy, any([_merge_nodes(copy.model.graph, {}, names), *merged]))


# ---- initializers --------------------------------------------------------------------------------


def _merge_initializers(graph: ir.Graph) -> bool:
    alike: dict[Hashable, list[ir.Value]] = defaultdict(list)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and not value.is_graph_input() and not value.is_graph_output():
            alike[(tensor.dtype, tuple(tensor.shape.numpy()))].append(value)
    did = False
    for values in alike.values():
        first: dict[bytes, ir.Value] = {}
        for value in values if len(values) > 1 else ():
            kept = first.setdefault(_content(value), value)
            if kept is not value:
                assert value.name is not None
                value.replace_all_uses_with(kept)
                graph.initializers.pop(value.name)
                did = True
    return did


def _content(value: ir.Value) -> bytes:
    tensor = value.const_value
    assert tensor is not None
    if isinstance(tensor, ir.StringTensor) or tensor.dtype == ir.DataType.STRING:
        return hashlib.sha256(repr(list(tensor.numpy().reshape(-1))).encode()).digest()
    return hashlib.sha256(tensor.tobytes()).digest()


# ---- nodes ---------------------------------------------------------------------------------------


def _merge_nodes(graph: ir.Graph, around: dict[Hashable, ir.Node], names: g.Names) -> bool:
    """`around`: nodes by key that come before this graph in the graphs around it."""
    seen = dict(around)
    did = False
    for node in graph:
        for body in g.bodies(node):
            did |= _merge_nodes(body, seen, names)
        key = _key(node)
        if key is None:
            continue
        kept = seen.setdefault(key, node)
        if kept is not node:
            did |= _merge(node, kept, names)
    return did


def _key(node: ir.Node) -> Hashable | None:
    """Equal for nodes that compute the same; None for those that must stay apart."""
    if node.domain not in _DOMAINS or node.op_type in _APART or g.bodies(node):
        return None
    attributes = [_attribute(a) for a in sorted(node.attributes.values(), key=lambda a: a.name)]
    if None in attributes:
        return None
    outputs = tuple(bool(v.name) for v in node.outputs)
    return (node.op_identifier(), tuple(node.inputs), outputs, tuple(attributes))


def _attribute(attribute: ir.Attr) -> Hashable | None:
    if attribute.is_ref() or attribute.type in (
        ir.AttributeType.TENSORS,
        ir.AttributeType.SPARSE_TENSOR,
        ir.AttributeType.SPARSE_TENSORS,
        ir.AttributeType.TYPE_PROTO,
        ir.AttributeType.TYPE_PROTOS,
    ):
        return None
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        if value.dtype == ir.DataType.STRING:
            return None
        value = (value.dtype, tuple(value.shape.numpy()), value.tobytes())
    elif attribute.type in (ir.AttributeType.FLOAT, ir.AttributeType.FLOATS):
        value = repr(value)  # tells -0.0 from 0.0, and a NaN is equal to itself
    return (attribute.name, attribute.type, value)


def _merge(node: ir.Node, kept: ir.Node, names: g.Names) -> bool:
    did = False
    for output, same in zip(node.outputs, kept.outputs, strict=True):
        if g.is_used(output):
            did |= g.substitute(output, same, names)
    if not any(g.is_used(v) for v in node.outputs):
        g.discard(node)
        return True
    return did
