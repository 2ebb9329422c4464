"""One name for one value in the whole model, bodies included.

ONNX lets the branches of an If use the same names, and exporters also shadow outer ones. Moving a node between graphs
is safe only where no two values share a name.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program


@dataclass(frozen=True)
class UniqueNames:
    """Renames values whose name is taken or missing. Inputs and outputs of the main graph keep theirs."""

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        return g.changed(program, copy, make_unique(copy.model))


def make_unique(model: ir.Model) -> bool:
    """Whether a value had to be renamed. Omitted outputs, which nobody reads, stay without a name."""
    first = [*model.graph.inputs, *model.graph.outputs]
    taken = {v.name: v for v in first if v.name}
    renamed = False
    for graph in g.graphs(model):
        for value in list(g.values_of(graph)):
            if not value.name and not g.is_used(value):
                continue
            if value.name and taken.setdefault(value.name, value) is value:
                continue
            value.name = _free(value.name or "value", taken)
            taken[value.name] = value
            renamed = True
    return renamed


def _free(base: str, taken: dict[str, ir.Value]) -> str:
    number = 1
    while f"{base}_{number}" in taken:
        number += 1
    return f"{base}_{number}"
