"""What engines take while a value is unknown, but refuse or misread once folding has made it a constant."""

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
        if not any(node.op_type in RULES for node in program.nodes()):
            return program
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


def _concat(node: ir.Node, names: g.Names) -> bool:
    """Concat(x, empty) = Concat(x). OpenVINO 2026.4 reads an empty constant as the scalar 0."""
    kept = [v for v in node.inputs if v is None or not (v.is_initializer() and 0 in (g.static_shape(v) or ()))]
    if len(kept) in (0, len(node.inputs)):
        return False
    for index, value in enumerate(kept):
        node.replace_input_with(index, value)
    node.resize_inputs(len(kept))
    return True


RULES: dict[str, Callable[[ir.Node, g.Names], bool]] = {"Concat": _concat, "Range": _range}
