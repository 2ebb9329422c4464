"""A torch ExportedProgram -> ONNX, by PyTorch's own exporter, with layers and source lines on the nodes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile import onnx_io
from neoc.compile.contracts import Gap
from neoc.compile.errors import InvalidModel, UnsupportedModel
from neoc.compile.frontends.contract import GRAPH, GRAPH_DATA, WHERE
from neoc.compile.frontends.torch_recurrent import whole_recurrences

if TYPE_CHECKING:
    import onnx_ir as ir

_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_TRACE = "pkg.torch.onnx.stack_trace"
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in \S+\n\s*(.*)')
_LONGEST_CODE = 60
"""characters of a source line that a place shows"""


Names = tuple[list[str], list[str]]
"""of inputs and of outputs"""


def write_onnx(exported: Any, folder: Path, where: str, names: Names | None = None) -> None:
    """Write the program as GRAPH into `folder`: inputs named as forward's arguments, outputs by `output_names`.

    `names` overrides both.

    Raises UnsupportedModel with every operator that has no ONNX form, each with its layer and line; InvalidModel where
    the exporter fails otherwise.
    """
    import torch

    try:
        with whole_recurrences():
            program = torch.onnx.export(exported, dynamo=True, verbose=False)
    except Exception as error:  # the exporter raises whatever its rules run into
        gaps = unsupported(exported)
        if gaps:
            operators = sorted({gap.operator for gap in gaps})
            raise UnsupportedModel(
                f"{len(gaps)} operations of the model have no ONNX form",
                gaps=gaps,
                where=where,
                why="; ".join(f"{gap.operator} at {gap.where or gap.node}" for gap in gaps[:20]),
                fix=f"write {', '.join(operators[:5])} with other operators in the model's code",
            ) from error
        raise InvalidModel(
            "PyTorch's exporter cannot write the model as ONNX",
            where=where,
            why=innermost(error),
            fix="report it to PyTorch with the model, or export it to ONNX yourself",
        ) from error
    assert program is not None
    model = program.model
    if names is not None:
        _name_inputs(model, names[0])
    _name_outputs(model, output_names(exported) if names is None else names[1])
    _name_dimensions(model)
    _tell_places(model)
    onnx_io.write(model, folder / GRAPH, data_name=GRAPH_DATA)


def innermost(error: BaseException) -> str:
    """The first paragraph of the deepest cause, in at most 500 characters."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:500]}"


# ---- what cannot be exported -----------------------------------------------------------------


def unsupported(exported: Any) -> tuple[Gap, ...]:
    """Every call in the program for which PyTorch has no ONNX translation; none where that cannot be told."""
    try:
        from torch.onnx._internal.exporter import _core, _dispatching, _registration

        registry = _registration.ONNXRegistry.from_torchlib()
        lowered = _core._prepare_exported_program_for_export(exported, registry=registry)
        failures = [
            (node, message)
            for node in lowered.graph.nodes
            if node.op == "call_function" and _is_operator(node.target)
            for function, message in [_dispatching.dispatch(node, registry)]
            if function is None
        ]
    except Exception:  # private parts of torch: without them the exporter's own words must do
        return ()
    return tuple(
        Gap(
            "PyTorch's ONNX exporter",
            node.name,
            str(node.target),
            " ".join(message.split())[:300] or "no translation to ONNX is registered",
            _fx_place(node),
            "compute it with other operators, or register a translation (torch.onnx custom_translation_table)",
        )
        for node, message in failures
    )


def _is_operator(target: Any) -> bool:
    return "getitem" not in getattr(target, "__name__", "")


def _fx_place(node: Any) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    scopes = [str(path) for path, _ in stack]
    kinds = [kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}" for _, kind in stack]
    return place(scopes[-1] if scopes else "", kinds[-1] if kinds else "", node.meta.get("stack_trace") or "")


# ---- places ----------------------------------------------------------------------------------


def place(layer: str, kind: str, trace: str) -> str:
    """`layer1.0.conv1 (Conv2d), model.py:42: y = self.conv1(x)`: what is not known is left out."""
    if layer.startswith("_empty_nn_module_stack"):  # torch's own word for code outside every module
        layer = kind = ""
    kind = kind.rpartition(".")[2]
    parts = [f"{layer} ({kind})" if layer and kind else layer or kind, _line(trace)]
    return ", ".join(part for part in parts if part)


def _line(trace: str) -> str:
    """The innermost frame of the user's own code, else the innermost of all."""
    frames = _FRAME.findall(trace)
    own = [frame for frame in frames if "/torch/" not in frame[0].replace("\\", "/")]
    if not frames:
        return ""
    file, line, code = (own or frames)[-1]
    shown = code.strip()
    shown = f"{shown[:_LONGEST_CODE]}..." if len(shown) > _LONGEST_CODE else shown
    name = re.split(r"[/\\]", file)[-1]
    return f"{name}:{line}" + (f": {shown}" if shown else "")


def _tell_places(model: ir.Model) -> None:
    """Put WHERE on every node, and take off the exporter's own notes, which name files of this machine."""
    for graph in model.graphs():
        for node in graph:
            facts = node.metadata_props
            scopes, kinds = _listed(facts.get(_SCOPES)), _listed(facts.get(_CLASSES))
            # Both end with the operator itself; before it stands the innermost module.
            layer = scopes[-2] if len(scopes) > 1 else ""
            found = place(layer, kinds[-2] if len(kinds) > 1 else "", facts.get(_TRACE, ""))
            facts.clear()
            if found:
                facts[WHERE] = found
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
        for value in [*graph.inputs, *graph.initializers.values()]:
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()


def _listed(text: str | None) -> list[str]:
    try:
        found = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError):
        return []
    return [str(item) for item in found] if isinstance(found, list) else []


# ---- names -----------------------------------------------------------------------------------


def output_names(exported: Any) -> list[str]:
    """A name for every tensor that forward returns: keys and fields where it has them, else `output`, `output_0` ..."""
    from torch.utils import _pytree

    spec = exported.call_spec.out_spec
    paths, _ = _pytree.tree_flatten_with_path(_pytree.tree_unflatten(range(spec.num_leaves), spec))
    from torch.export.graph_signature import OutputKind, TensorArgument

    outputs = [s for s in exported.graph_signature.output_specs if s.kind == OutputKind.USER_OUTPUT]
    tensors = [p for (p, _), output in zip(paths, outputs, strict=True) if isinstance(output.arg, TensorArgument)]
    return leaf_names(tensors)


def leaf_names(paths: Iterable[Iterable[Any]]) -> list[str]:
    """A name for each leaf of a structure (torch's pytree), by its path."""
    names: list[str] = []
    for path in paths:
        names.append(_unique(_path_name(path), names))
    return names


def _path_name(path: Iterable[Any]) -> str:
    words = [str(next(getattr(step, f) for f in ("key", "idx", "name") if hasattr(step, f))) for step in path]
    text = re.sub(r"\W", "_", "_".join(words))
    return "output" if not text else text if text[0].isalpha() else f"output_{text}"


def _unique(name: str, taken: Iterable[str]) -> str:
    used, count, found = set(taken), 0, name
    while found in used:
        count += 1
        found = f"{name}_{count}"
    return found


def _name_inputs(model: ir.Model, names: list[str]) -> None:
    for value in _values(model):
        if value.name in names:
            value.name = _unique(f"{value.name}_inner", names)
    for value, name in zip(model.graph.inputs, names, strict=True):
        value.name = name


def _name_outputs(model: ir.Model, names: list[str]) -> None:
    """Give the outputs these names; an output that is an input, a constant or listed twice gets a value of its own."""
    import onnx_ir as ir

    graph = model.graph
    outputs = list(graph.outputs)
    if len(outputs) != len(names):
        return
    for other in _values(model):
        if other.name in names:
            other.name = _unique(f"{other.name}_inner", names)
    seen: list[ir.Value] = []
    for index, (value, name) in enumerate(zip(outputs, names, strict=True)):
        if value.producer() is None or value in seen:
            copy = ir.Value(name=name, type=value.type, shape=value.shape)
            graph.append(ir.Node("", "Identity", [value], outputs=[copy], name=f"{name}_copy"))
            graph.outputs[index] = value = copy
        value.name = name
        seen.append(value)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    """Every value but the graph's inputs, whose names are the user's."""
    for graph in model.graphs():
        yield from graph.initializers.values()
        for node in graph:
            yield from node.outputs


def _name_dimensions(model: ir.Model) -> None:
    """torch calls open dimensions s77: the first axis of the first input that has it gives a better name."""
    import onnx_ir as ir

    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, ir.SymbolicDim) and dim.value and re.fullmatch(r"[su]\d+", dim.value):
                first = axis == 0 and "batch" not in names.values()
                names.setdefault(dim.value, "batch" if first else f"{value.name}_{axis}")
    if not names:
        return
    pattern = re.compile(r"\b(" + "|".join(names) + r")\b")
    for value in [*model.graph.inputs, *model.graph.outputs, *_values(model)]:
        if value.shape is not None and any(isinstance(d, ir.SymbolicDim) for d in value.shape):
            dims = [d if isinstance(d, int) else d.value for d in value.shape]
            value.shape = ir.Shape([pattern.sub(lambda m: names[m[1]], d) if isinstance(d, str) else d for d in dims])
