"""Spellings that the standard does not have, but exporters and ONNX's own function bodies use: into those it has.

Engines accept them while a value is unknown and refuse the model once it is a constant, so folding would break it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program


@dataclass(frozen=True)
class Legalize:
    """Applies the rules of the table to nodes of the default domain."""

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        names = g.Names(copy.model)
        did = [
            rule(node, names)
            for graph in g.graphs(copy.model)
            for node in graph
            if node.domain == g.ONNX and (rule := RULES.get(node.op_type)) is not None
        ]
        return g.changed(program, copy, any(did))


def _range(node: ir.Node, names: g.Names) -> bool:
    """Range([a], [b], [c]) = Range(a, b, c): the arguments are scalars. The body of AffineGrid gives it vectors."""
    did = False
    for index, value in enumerate(node.inputs):
        array = g.constant_array(value, 1)
        if value is None or array is None or array.size != 1 or array.ndim == 0:
            continue
        assert node.graph is not None
        scalar = ir.tensor(array.reshape(()))
        node.replace_input_with(index, g.add_initializer(node.graph, names.fresh(f"{value.name}_scalar"), scalar))
        did = True
    return did


RULES: dict[str, Callable[[ir.Node, g.Names], bool]] = {"Range": _range}
