"""The default domain at a version that all engines understand. See docs/adr/0002-normal-form-opset.md.

A model inside the range keeps its opset. Below it, the model is converted to the lowest version of the range by
onnx.version_converter; above it, it is relabelled where every operator means the same at the highest one. Where neither
is possible the model keeps its opset and the program carries a note that says why: never silently.

(onnxscript's ConvertVersionPass converts from opset 18 on; below it calls the same converter, and does nothing at all
where that fails.)
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes import onnx_tools
from neoc.compile.passes.infer_shapes import forget_shapes
from neoc.compile.passes.lift_constants import lift_constants
from neoc.compile.passes.unique_names import make_unique
from neoc.compile.program import Program

LOWEST, HIGHEST = 14, 28


@dataclass(frozen=True)
class ConvertOpset:
    """Brings the default domain into lowest..highest, or notes why it stays outside."""

    lowest: int = LOWEST
    highest: int = HIGHEST

    def __call__(self, program: Program) -> Program:
        version = program.opset
        if not _uses_onnx(program.model) or self.lowest <= version <= self.highest:
            return program
        target = self.lowest if version < self.lowest else self.highest
        copy = program.clone()
        try:
            changed = _first_change(copy.model, version, target)
            if changed is None:
                _relabel(copy.model, target)
            elif version > target:
                raise onnx_tools.ToolError(f"{changed} means something else at {target}")
            else:
                _upgrade(copy.model, version, target)
        except onnx_tools.ToolError as error:
            return program.with_note(f"opset conversion to {target} failed, kept {version}: {error}")
        return copy


def _uses_onnx(model: ir.Model) -> bool:
    return any(n.domain == g.ONNX for n in model.graph.all_nodes())


def _first_change(model: ir.Model, version: int, target: int) -> str | None:
    """An operator whose definition differs between the two versions, or that one of them does not have."""
    for node in model.graph.all_nodes():
        if node.domain == g.ONNX:
            now = onnx_tools.since(node.op_type, version)
            if now is None or now != onnx_tools.since(node.op_type, target):
                return node.op_type
    return None


def _relabel(model: ir.Model, target: int) -> None:
    model.opset_imports.pop("ai.onnx", None)
    model.opset_imports[g.ONNX] = target
    for node in model.graph.all_nodes():
        node.version = None


def _upgrade(model: ir.Model, version: int, target: int) -> None:
    """Convert in place. Raises ToolError, and then `model` is in no defined state."""
    if model.functions:
        raise onnx_tools.ToolError("the model has functions that could not be inlined")
    if version < 9 and any(n.op_type == "Scan" and n.domain == g.ONNX for n in model.graph.all_nodes()):
        # onnx.version_converter gives Scan-8 out unchanged, but its batch axis went away in 9.
        raise onnx_tools.ToolError("Scan of opset 8 has a batch axis, and later ones have not")
    promised = {v.name: v.shape for v in model.graph.outputs}
    names = [v.name for v in model.graph.inputs]
    _relabel(model, version)
    forget_shapes(model)
    proto, tensors = onnx_tools.skeleton(model)
    converted = ir.from_proto(onnx_tools.convert(onnx_tools.infer(proto), target))
    for value in list(converted.graph.inputs):
        if value.name in tensors:
            converted.graph.inputs.remove(value)
            value.const_value = tensors[value.name]
            converted.graph.register_initializer(value)
    wrong = _misfit(converted, target)
    if wrong is not None:
        raise onnx_tools.ToolError(wrong)
    if names != [v.name for v in converted.graph.inputs] or list(promised) != [v.name for v in converted.graph.outputs]:
        raise onnx_tools.ToolError("the converter changed the inputs or outputs")
    model.graph = converted.graph
    _relabel(model, target)
    make_unique(model)
    lift_constants(model)
    forget_shapes(model)  # the converter files some new values as scalars
    for value in model.graph.outputs:
        value.shape = promised[value.name]


def _misfit(model: ir.Model, target: int) -> str | None:
    """A node that does not exist in this form at `target`: the converter lets operators pass that it does not know."""
    for node in model.graph.all_nodes():
        if node.domain != g.ONNX:
            continue
        if onnx_tools.since(node.op_type, target) is None:
            return f"{node.op_type} does not exist at {target}"
        known = onnx_tools.attributes(node.op_type, target) or frozenset()
        extra = [name for name in node.attributes if name not in known]
        if extra:
            return f"{node.op_type} has no attribute {extra[0]!r} at {target}"
    return None
