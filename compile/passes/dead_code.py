"""What no output depends on goes: nodes, initializers, optional outputs, functions and opset imports.

(onnx_ir's RemoveUnusedNodesPass does this too, but keeps whatever the bodies of a removed If or Loop had read, and the
unused initializers of bodies.)
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes import onnx_tools
from neoc.compile.program import Program


@dataclass(frozen=True)
class DeadCode:
    """The signature stays, unused inputs included."""

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        did = _sweep(copy.model.graph, copy.opset)
        did |= onnx_tools.remove_unused_functions(copy.model)
        return g.changed(program, copy, _drop_imports(copy.model) or did)


def _sweep(graph: ir.Graph, opset: int) -> bool:
    did = False
    for node in reversed(graph):
        if not any(g.is_used(v) for v in node.outputs):
            g.discard(node)
            did = True
            continue
        did |= _trim(node, opset)
        for body in g.bodies(node):
            did |= _sweep(body, opset)
    for name, value in list(graph.initializers.items()):
        if not g.is_used(value) and not value.is_graph_input():
            graph.initializers.pop(name)
            did = True
    return did


def _trim(node: ir.Node, opset: int) -> bool:
    """Take away optional outputs that nobody reads, and empty places at the end of inputs and outputs."""
    did = False
    if node.domain != g.ONNX:
        return did
    if node.op_type not in _MODE_BY_OUTPUTS:
        for index in onnx_tools.optional_outputs(node.op_type, opset):
            if index < len(node.outputs) and node.outputs[index].name and not g.is_used(node.outputs[index]):
                node.outputs[index].name = ""
                did = True
        outputs = len(node.outputs)
        while outputs > 1 and not node.outputs[outputs - 1].name:
            outputs -= 1
        if outputs < len(node.outputs):
            node.resize_outputs(outputs)
            did = True
    inputs = len(node.inputs)
    while inputs and node.inputs[inputs - 1] is None:
        inputs -= 1
    if inputs < len(node.inputs):
        node.resize_inputs(inputs)
        did = True
    return did


_MODE_BY_OUTPUTS = frozenset({"BatchNormalization", "Dropout"})
"""whether they train is told by the number of outputs in early opsets"""


def _drop_imports(model: ir.Model) -> bool:
    """Drop domains that nothing uses; the default one stays, as a program always has it."""
    used = {g.ONNX} | {n.domain for n in model.graph.all_nodes()}
    for function in model.functions.values():
        used |= {function.domain, *function.opset_imports, *(n.domain for n in function.all_nodes())}
    unused = [domain for domain in model.opset_imports if domain not in used and domain != "ai.onnx"]
    for domain in unused:
        del model.opset_imports[domain]
    return bool(unused)
