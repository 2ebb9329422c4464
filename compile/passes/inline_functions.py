"""Local functions become the nodes that they stand for.

The work is done by onnx_ir's InlinePass. Three cases that it does not take are prepared or left alone here: a function
of another opset whose operators mean the same at the model's (relabelled), a function that gives an input straight out
or one value twice (the pass would rename the caller's value: an Identity goes between), and functions that it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from neoc.compile.passes import graph as g
from neoc.compile.passes import onnx_tools
from neoc.compile.passes.unique_names import make_unique
from neoc.compile.program import Program


@dataclass(frozen=True)
class InlineFunctions:
    """Inlines every call of a local function; a function that cannot be inlined stays, with a note."""

    def __call__(self, program: Program) -> Program:
        if not program.model.functions:
            return program
        copy = program.clone()
        model = copy.model
        onnx_tools.remove_unused_functions(model)
        refused = {identifier: why for identifier in model.functions if (why := _refusal(model, identifier))}
        for identifier, function in model.functions.items():
            if identifier not in refused:
                _separate_outputs(function)
                function.opset_imports.update(
                    {d: v for d, v in model.opset_imports.items() if d in function.opset_imports}
                )
        if len(refused) < len(model.functions):
            InlinePass(criteria=lambda function: function.identifier() not in refused)(model)
            make_unique(model)
        for (domain, name, _), why in sorted(refused.items()):
            copy = copy.with_note(f"function {domain}::{name} was not inlined: {why}")
        return g.changed(
            program, copy, len(model.functions) < len(program.model.functions) or copy.notes != program.notes
        )


def _refusal(model: ir.Model, identifier: ir.OperatorIdentifier) -> str:
    """Why the function stays; empty where it can be inlined."""
    function = model.functions[identifier]
    if _reaches(model, identifier, identifier, set()):
        return "it calls itself"
    for domain, version in function.opset_imports.items():
        wanted = model.opset_imports.get(domain, version)
        changed = [n.op_type for n in function.all_nodes() if n.domain == domain and _differs(n, version, wanted)]
        if changed:
            return f"it is written for opset {version}, and {changed[0]} differs at {wanted}"
    for node in _calls(model, identifier):
        if g.bodies(node):
            return "it takes a graph as an attribute"
        if len(node.inputs) > len(function.inputs):
            return f"a call gives {len(node.inputs)} inputs, and it takes {len(function.inputs)}"
    return ""


def _differs(node: ir.Node, version: int, wanted: int) -> bool:
    if version == wanted:
        return False
    meaning = onnx_tools.since(node.op_type, version, node.domain)
    return meaning is None or meaning != onnx_tools.since(node.op_type, wanted, node.domain)


def _calls(model: ir.Model, identifier: ir.OperatorIdentifier) -> Iterator[ir.Node]:
    for graph in (model.graph, *(f.graph for f in model.functions.values())):
        yield from (n for n in graph.all_nodes() if n.op_identifier() == identifier)


def _reaches(
    model: ir.Model, start: ir.OperatorIdentifier, goal: ir.OperatorIdentifier, seen: set[ir.OperatorIdentifier]
) -> bool:
    """Whether calls out of `start` lead to `goal`."""
    for node in model.functions[start].all_nodes():
        called = node.op_identifier()
        if called == goal:
            return True
        if called in model.functions and called not in seen:
            seen.add(called)
            if _reaches(model, called, goal, seen):
                return True
    return False


def _separate_outputs(function: ir.Function) -> None:
    """Every output of `function` becomes a value of its own that a node makes."""
    seen: set[ir.Value] = set()
    for index, value in enumerate(list(function.outputs)):
        if value.producer() is None or value in seen:
            alias = ir.Node(g.ONNX, "Identity", [value], num_outputs=1)
            alias.outputs[0].name = f"{value.name}_out{index}"
            function.append(alias)
            function.outputs[index] = alias.outputs[0]
        seen.add(value)
