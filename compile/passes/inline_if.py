"""An If whose condition is constant becomes the branch that it takes."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program


@dataclass(frozen=True)
class InlineIf:
    """Moves the nodes and initializers of the branch taken into the graph around; names must be unique."""

    def __call__(self, program: Program) -> Program:
        if not any(_taken(node) for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        did = False
        for graph in g.graphs(copy.model):
            # The branch's nodes come after the If, so this very loop meets an If among them.
            for node in graph:
                branch = _taken(node)
                if branch is not None:
                    _inline(node, branch, names)
                    did = True
        return g.changed(program, copy, did)


def _taken(node: ir.Node) -> ir.Graph | None:
    if node.op_type != "If" or node.domain != g.ONNX:
        return None
    condition = g.constant_array(node.inputs[0], 1)
    if condition is None or condition.size != 1 or condition.dtype != bool:
        return None
    return node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()


def _inline(node: ir.Node, branch: ir.Graph, names: g.Names) -> None:
    graph = node.graph
    assert graph is not None
    results = list(branch.outputs)
    branch.outputs.clear()
    for value in list(branch.initializers.values()):
        assert value.name is not None
        branch.initializers.pop(value.name)
        graph.register_initializer(value)
    inner = list(branch)
    branch.remove(inner)
    graph.insert_after(node, inner)
    for output, result in zip(node.outputs, results, strict=True):
        if output.name and g.is_used(output):
            g.substitute(output, result, names)
    g.discard(node)
