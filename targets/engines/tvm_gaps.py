"""What TVM's ONNX importer cannot take, answered without TVM: from the table tvm_operators.json and the rules below.

The table holds what can be said as data: operators, inputs that must be constants, attribute values, outputs. The rules
hold the rest. Every line of both is something that failed, or came out wrong, when TVM ran the ONNX backend suite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import Gap
from neoc.compile.program import Program, spec_of
from neoc.targets.engines.nodes import domain_of, label, where_of

if TYPE_CHECKING:
    import onnx_ir as ir

OLDEST_OPSET = 11
"""below it the importer reads some operators by the rules of a later version"""

_EXPORT_OTHERWISE = "rewrite it with operators that TVM takes, or choose another target or engine"


@dataclass(frozen=True)
class Table:
    """tvm_operators.json."""

    version: str
    dtypes: frozenset[str]
    constant_inputs: dict[str, list[int]]
    attributes: dict[str, dict[str, list[object]]]
    outputs: dict[str, int]
    refused: dict[str, str]
    operators: dict[str, list[int]]
    """operator -> the versions that the importer implements"""


@cache
def table() -> Table:
    data = json.loads(Path(__file__).with_name("tvm_operators.json").read_text())
    return Table(
        data["tvm"],
        frozenset(data["dtypes"]),
        data["constant_inputs"],
        data["attributes"],
        data["outputs"],
        data["refused"],
        data["operators"],
    )


def find_gaps(program: Program, engine: str) -> tuple[Gap, ...]:
    """Everything in `program` that TVM cannot take: nodes in graph order, then inputs, then the opset."""
    gaps = [
        Gap(engine, label(node), node.op_type, reason, where_of(node), suggestion)
        for node in program.nodes()
        for reason, suggestion in _reasons(node)
    ]
    for spec in program.signature.inputs:
        if spec.shape is None:
            gaps.append(_input_gap(engine, spec.name, "its rank is not known"))
        elif 0 in spec.shape:
            gaps.append(_input_gap(engine, spec.name, "it has a dimension of size 0"))
    if program.opset < OLDEST_OPSET:
        why = f"TVM reads the default domain from opset {OLDEST_OPSET} on, the model is of opset {program.opset}"
        gaps.append(Gap(engine, "", "", why, suggestion="convert or export the model with a later opset"))
    return tuple(gaps)


def _input_gap(engine: str, name: str, why: str) -> Gap:
    return Gap(engine, name, "", f"input {name!r}: {why}", suggestion=f"bind it with --input {name}=SHAPE")


def _reasons(node: ir.Node) -> Iterator[tuple[str, str]]:
    """(reason, suggestion) for each thing that is wrong with one node, the most basic first."""
    rows, name = table(), node.op_type
    if domain_of(node.domain):
        yield f"TVM takes operators of ai.onnx only, this one is of {node.domain}", _EXPORT_OTHERWISE
        return
    if name in ("LSTM", "GRU"):
        from neoc.targets.engines.tvm_recurrent import why_not

        if reason := why_not(node):
            yield reason, _EXPORT_OTHERWISE
    elif name not in rows.operators and name not in ("Constant", "If"):
        yield f"TVM {rows.version} has no converter for it", _EXPORT_OTHERWISE
        return
    if name in rows.refused:
        yield rows.refused[name], _EXPORT_OTHERWISE
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.type is not None:
            dtype = spec_of(value).dtype
            if dtype not in rows.dtypes and dtype != "undefined":
                yield f"TVM has no {dtype} here (value {value.name!r})", "convert the model to another dtype"
    for index in rows.constant_inputs.get(name, ()):
        value = _input(node, index)
        if value is not None and constant_of(value) is None and not (name == "Reshape" and _from_shape(value)):
            yield f"input {index} ({value.name!r}) must be a constant", "bind all dimensions with --input"
    for key, allowed in rows.attributes.get(name, {}).items():
        if key in node.attributes and node.attributes[key].value not in allowed:
            yield f"attribute {key} = {node.attributes[key].value!r} is not implemented", _EXPORT_OTHERWISE
    if any(o.name and (o.uses() or o.is_graph_output()) for o in node.outputs[rows.outputs.get(name, 99) :]):
        yield "only its first output is implemented", "use the first output alone"
    if rule := _RULES.get(name):
        found = rule(node)
        if found:
            yield found, _EXPORT_OTHERWISE


# ---- values ----------------------------------------------------------------------------------

_SHAPE_ARITHMETIC = frozenset(["Cast", "Concat", "Gather", "Slice", "Squeeze", "Unsqueeze"])

_SHAPE_CONSUMERS = (_SHAPE_ARITHMETIC | {"CastLike", "Equal", "Reshape", "Shape", "Where"}) - {"Unsqueeze"}
"""operators that accept the importer's own type of shapes; any other consumer of a Shape makes it raise"""


def constant_of(value: ir.Value) -> np.ndarray | None:
    """The value of an initializer or Constant, else None."""
    if value.const_value is not None:
        return value.const_value.numpy()
    producer = value.producer()
    if producer is None or producer.op_type != "Constant":
        return None
    attribute: Any = next(iter(producer.attributes.values()))
    content = attribute.value
    return np.asarray(content.numpy() if hasattr(content, "numpy") else content)


def _from_shape(value: ir.Value) -> bool:
    """Whether the value is made from shapes and constants by operators that the importer follows."""
    if constant_of(value) is not None:
        return True
    producer = value.producer()
    if producer is None:
        return False
    if producer.op_type == "Shape":
        return True
    return producer.op_type in _SHAPE_ARITHMETIC and all(v is None or _from_shape(v) for v in producer.inputs)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _dtype(node: ir.Node, index: int = 0) -> str:
    value = _input(node, index)
    return "undefined" if value is None else spec_of(value).dtype


def _sizes(node: ir.Node, index: int = 0) -> tuple[object, ...] | None:
    value = _input(node, index)
    return None if value is None else spec_of(value).shape


# ---- rules that are more than a table row: node -> reason or '' -----------------------------------


def _resize(node: ir.Node) -> str:
    if "axes" in node.attributes:
        return "attribute axes is not implemented"
    sizes, scales = _sizes(node), _input(node, 2)
    factors = None if scales is None else constant_of(scales)
    if factors is None or not factors.size:
        return ""
    if sizes is None or len(sizes) != factors.size:
        return "the rank of its input is not known"
    if any(f != 1 for f in factors[:2]):
        return "it resizes the batch or the channels"
    for size, factor in zip(sizes[2:], factors[2:], strict=True):
        exact = isinstance(size, int) and float(size * factor).is_integer()
        if not exact and not float(factor).is_integer():
            return f"scale {factor:g} of size {size} is not exact; TVM computes with the rounded size instead"
    return ""


def _reduce(node: ir.Node) -> str:
    if 0 in (_sizes(node) or ()):
        return "it reduces an empty tensor"
    if _dtype(node) == "bool":
        return "it reduces booleans"
    return ""


def _pow(node: ir.Node) -> str:
    kinds = {_dtype(node, 0), _dtype(node, 1)}
    if len(kinds) > 1:
        return "base and exponent differ in dtype"
    return "" if kinds <= {"float16", "float32", "float64"} else "powers of integers are not implemented"


def _bit_shift(node: ir.Node) -> str:
    return "shifts of signed integers give other values" if _dtype(node).startswith("int") else ""


def _mod(node: ir.Node) -> str:
    floats = _dtype(node).startswith("float")
    return "fmod = 0 on floats gives other values" if floats and not _attribute(node, "fmod", 0) else ""


def _dropout(node: ir.Node) -> str:
    mode = _input(node, 2)
    value = None if mode is None else constant_of(mode)
    return "" if mode is None or (value is not None and not value.any()) else "training mode is not implemented"


def _rms(node: ir.Node) -> str:
    sizes, axis = _sizes(node), _attribute(node, "axis", -1)
    whole = axis == 0 or (sizes is not None and axis == -len(sizes))
    return "normalising over every axis does not compile" if whole else ""


def _split(node: ir.Node) -> str:
    parts = _input(node, 1)
    sizes = None if parts is None else constant_of(parts)
    return "a part of size 0 does not compile" if sizes is not None and (sizes == 0).any() else ""


def _eye(node: ir.Node) -> str:
    if "dtype" not in node.attributes:
        return ""
    wanted, value = node.attributes["dtype"].value, _input(node, 0)
    same = value is not None and value.dtype is not None and int(value.dtype) == wanted
    return "" if same else "a dtype that differs from the input's is not implemented"


def _shape(node: ir.Node) -> str:
    output = node.outputs[0]
    if output.is_graph_output():
        return "a shape cannot be an output of the model"
    strangers = sorted({n.op_type for n in output.consumers()} - _SHAPE_CONSUMERS)
    return f"its value feeds {', '.join(strangers)}, which TVM does not compute on shapes" if strangers else ""


def _attribute(node: ir.Node, key: str, default: int) -> int:
    return int(node.attributes[key].value) if key in node.attributes else default


_REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]

_RULES: dict[str, Callable[[ir.Node], str]] = {
    **{f"Reduce{name}": _reduce for name in _REDUCTIONS},
    "BitShift": _bit_shift,
    "ConvTranspose": lambda n: "attribute output_shape is ignored" if "output_shape" in n.attributes else "",
    "Dropout": _dropout,
    "Elu": lambda n: "" if _dtype(n) == "float32" else f"{_dtype(n)} is not implemented",
    "EyeLike": _eye,
    "MaxUnpool": lambda n: "an output shape is not implemented" if len(n.inputs) > 2 else "",
    "Mod": _mod,
    "OneHot": lambda n: "" if _dtype(n, 1).startswith(("int", "uint")) else "the depth must be an integer",
    "Pow": _pow,
    "RMSNormalization": _rms,
    "Resize": _resize,
    "Shape": _shape,
    "Split": _split,
    "TopK": lambda n: "uint64 is not implemented" if _dtype(n) == "uint64" else "",
}
