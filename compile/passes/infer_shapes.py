"""Types and shapes of every value, by onnx.shape_inference, from the inputs and constants alone.

What the source file says of intermediate values is dropped first where an operator of the default domain makes them:
it goes stale when an input is bound to another shape, and passes that fold shapes into constants must not believe it.
Values of other domains keep what the source says. An output of the main graph keeps its declared dimensions where
inference finds none: they are a promise to the caller, and no pass folds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes import onnx_tools
from neoc.compile.program import Program

_Facts = dict[str, tuple[ir.TypeProtocol | None, ir.Shape | None]]


@dataclass(frozen=True)
class InferShapes:
    """Tensors stay out of the inference, so a model of any size goes through."""

    def __call__(self, program: Program) -> Program:
        copy, bare = program.clone(), program.clone()
        forget_shapes(bare.model)
        symbols = _symbols(bare.model)
        proto, _ = onnx_tools.skeleton(bare.model)
        try:
            inferred = ir.from_proto(onnx_tools.infer(proto))
        except onnx_tools.ToolError as error:
            return program.with_note(f"shape inference failed: {error}")
        facts = {v.name: (v.type, v.shape) for graph in g.graphs(inferred) for v in g.values_of(graph) if v.name}
        promised = set(copy.model.graph.outputs)
        changed = [
            _update(value, facts, symbols, promised) for graph in g.graphs(copy.model) for value in _made_by_onnx(graph)
        ]
        return g.changed(program, copy, any(changed))


def forget_shapes(model: ir.Model) -> None:
    """Drop the types and shapes of what operators of the default domain make; graph outputs keep their types."""
    for graph in g.graphs(model):
        for value in _made_by_onnx(graph):
            value.shape = None
            if not value.is_graph_output():
                value.type = None


def _made_by_onnx(graph: ir.Graph) -> list[ir.Value]:
    return [v for node in graph if node.domain == g.ONNX for v in node.outputs if v.name]


def _symbols(model: ir.Model) -> set[str]:
    """Names of dimensions that inference starts from; it makes up others, which mean nothing outside of it."""
    shapes = [v.shape for graph in g.graphs(model) for v in g.values_of(graph) if v.shape is not None]
    return {d.value for shape in shapes for d in shape if isinstance(d, ir.SymbolicDim) and d.value is not None}


def _update(value: ir.Value, facts: _Facts, symbols: set[str], promised: set[ir.Value]) -> bool:
    kind, shape = facts.get(value.name or "", (None, None))
    if kind is None:
        kind = value.type
    shape = _known(shape, symbols)
    if value in promised:
        shape = _promised(shape, value.shape)
    if _same(value.shape, shape) and value.type == kind:
        return False
    value.type, value.shape = kind, shape
    return True


def _known(shape: ir.Shape | None, symbols: set[str]) -> ir.Shape | None:
    if shape is None:
        return None
    return ir.Shape([d if isinstance(d, int) else d.value if d.value in symbols else None for d in shape])


def _promised(found: ir.Shape | None, declared: ir.Shape | None) -> ir.Shape | None:
    """`found`, with the declared dimensions where it has none. A declaration of another rank is wrong."""
    if found is None or declared is None:
        return found if declared is None else declared
    if len(found) != len(declared):
        return found
    pairs = zip(_dims(found), _dims(declared), strict=True)
    return ir.Shape([declared_dim if dim is None else dim for dim, declared_dim in pairs])


def _same(first: ir.Shape | None, second: ir.Shape | None) -> bool:
    if first is None or second is None:
        return first is second
    return _dims(first) == _dims(second)


def _dims(shape: ir.Shape) -> list[int | str | None]:
    return [d if isinstance(d, int) else d.value for d in shape]
