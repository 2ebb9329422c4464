"""Constant nodes become initializers of the graph that they stand in.

onnx_ir's LiftConstantsToInitializersPass does the same, but raises on sparse tensors and on text outside ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program


@dataclass(frozen=True)
class LiftConstants:
    """A Constant whose value is an output of its graph stays: what a graph gives out, a node makes."""

    def __call__(self, program: Program) -> Program:
        if not any(_liftable(node) for node in program.nodes()):
            return program
        copy = program.clone()
        return g.changed(program, copy, lift_constants(copy.model))


def lift_constants(model: ir.Model) -> bool:
    """Whether a Constant was lifted. Names stay, so they must be unique."""
    lifted = False
    for graph in g.graphs(model):
        for node in graph:
            if not _liftable(node) or (tensor := constant_tensor(node)) is None:
                continue
            output = node.outputs[0]
            output.replace_all_uses_with(g.add_initializer(graph, output.name or "constant", tensor))
            g.discard(node)
            lifted = True
    return lifted


def _liftable(node: ir.Node) -> bool:
    return node.op_type == "Constant" and node.domain == g.ONNX and not node.outputs[0].is_graph_output()


def constant_tensor(node: ir.Node) -> ir.TensorProtocol | None:
    """The tensor that a Constant node makes; None for a sparse one or a reference to a function's attribute."""
    if len(node.attributes) != 1:
        return None
    (attribute,) = node.attributes.values()
    if attribute.is_ref():
        return None
    name = node.outputs[0].name
    match attribute.name:
        case "value":
            return attribute.as_tensor()
        case "value_int" | "value_ints":
            return ir.tensor(np.array(attribute.value, np.int64), name=name)
        case "value_float" | "value_floats":
            return ir.tensor(np.array(attribute.value, np.float32), name=name)
        case "value_string":
            return ir.StringTensor([_bytes(attribute.value)], shape=ir.Shape([]), name=name)
        case "value_strings":
            strings = [_bytes(s) for s in attribute.value]
            return ir.StringTensor(strings, shape=ir.Shape([len(strings)]), name=name)
    return None


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
