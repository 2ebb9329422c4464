"""What the passes take from the `onnx` package: schemas, shape inference, version conversion, reference kernels.

The only module of the passes that imports `onnx`. Protobufs made here hold no tensor above 1 KiB, so that a model of
any size fits: a large initializer travels as an input of the same type, and the caller keeps the tensor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.defs
import onnx.reference
import onnx.shape_inference
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedFunctionsPass

from neoc.compile.passes import graph as g
from neoc.compile.passes.native import TOOLS, NativeError
from neoc.compile.program import clone_model

SKELETON_BYTES = 1024
"""tensors up to this size stay in a skeleton: shapes, axes, scales, which inference and conversion read"""

NEWEST = int(onnx.defs.onnx_opset_version())
"""the newest version of the default domain that the installed onnx defines"""


class ToolError(Exception):
    """What a tool of the `onnx` package answered instead of a result."""


# ---- schemas -----------------------------------------------------------------------------------


@cache
def since(operator: str, version: int, domain: str = g.ONNX) -> int | None:
    """The version that defined `operator` as it is at `version`; None where it does not exist or is deprecated."""
    try:
        schema = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else int(schema.since_version)


@cache
def attributes(operator: str, version: int) -> frozenset[str] | None:
    """The names of the attributes that `operator` may have; None where it does not exist."""
    try:
        return frozenset(onnx.defs.get_schema(operator, version, g.ONNX).attributes)
    except onnx.defs.SchemaError:
        return None


@cache
def optional_outputs(operator: str, version: int) -> frozenset[int]:
    """Indices of the outputs that a node may leave away."""
    try:
        schema = onnx.defs.get_schema(operator, version, g.ONNX)
    except onnx.defs.SchemaError:
        return frozenset()
    option = onnx.defs.OpSchema.FormalParameterOption
    if any(output.option == option.Variadic for output in schema.outputs):
        return frozenset()
    return frozenset(i for i, output in enumerate(schema.outputs) if output.option == option.Optional)


# ---- whole models ------------------------------------------------------------------------------


def skeleton(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """A protobuf of `model` without its large tensors, and those tensors by name. `model` is left alone.

    Names must be unique over the whole model: a large initializer of a body becomes an input of the main graph.
    """
    copy = clone_model(model)
    removed: dict[str, ir.TensorProtocol] = {}
    for graph in g.graphs(copy):
        for name, value in list(graph.initializers.items()):
            tensor = value.const_value
            if tensor is None or (tensor.dtype != ir.DataType.STRING and tensor.nbytes <= SKELETON_BYTES):
                continue
            removed[name] = tensor
            graph.initializers.pop(name)
            value.type = ir.TensorType(tensor.dtype)
            value.shape = ir.Shape([int(d) for d in tensor.shape.numpy()])
            value.const_value = None
            if not value.is_graph_input():
                copy.graph.inputs.append(value)
    return ir.to_proto(copy), removed


def infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with the types and shapes that onnx.shape_inference finds. Raises ToolError."""
    return _in_a_child(lambda: TOOLS.infer(proto.SerializeToString()))


def convert(proto: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """`proto` at another version of the default domain, by onnx.version_converter. Raises ToolError."""
    return _in_a_child(lambda: TOOLS.convert(proto.SerializeToString(), version))


def _in_a_child(work: Callable[[], bytes]) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(work())
    except NativeError as error:
        raise ToolError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    """The first line of its message, without the source file of onnx that it begins with."""
    lines = [re.sub(r"^\S+\.(cc|h):\d+: (\w+: )?", "", line.strip()) for line in str(error).splitlines()]
    return next((line[:200] for line in lines if line), type(error).__name__)


# ---- single nodes ------------------------------------------------------------------------------


class Kernel:
    """One node over constant inputs: what its results look like, and the results by the reference evaluator."""

    def __init__(self, node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], opset: int) -> None:
        self._opset = opset
        self._inputs = {f"i{k}": tensor for k, tensor in enumerate(inputs) if tensor is not None}
        self._outputs = [f"o{k}" if v.name else "" for k, v in enumerate(node.outputs)]
        named = [f"i{k}" if tensor is not None else "" for k, tensor in enumerate(inputs)]
        self._node = onnx.helper.make_node(node.op_type, named, self._outputs, domain=node.domain)
        self._node.attribute.extend(ir.to_proto(a) for a in node.attributes.values())

    def result_types(self) -> dict[int, tuple[ir.DataType, tuple[int, ...]]] | None:
        """dtype and shape of every result by its index; None where one of them cannot be told beforehand."""
        types = {name: _tensor_type(tensor) for name, tensor in self._inputs.items()}
        data = {n: ir.to_proto(t) for n, t in self._inputs.items() if t.nbytes <= SKELETON_BYTES}
        try:
            schema = onnx.defs.get_schema(self._node.op_type, self._opset, self._node.domain)
            found = onnx.shape_inference.infer_node_outputs(
                schema, self._node, types, data, opset_imports=[onnx.helper.make_opsetid("", self._opset)]
            )
        except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, RuntimeError, ValueError, KeyError):
            return None
        return _static_types(self._outputs, found)

    def evaluate(self) -> dict[int, np.ndarray] | None:
        """The results by index; None where evaluation fails, divides by zero, overflows or makes a NaN."""
        feeds = {name: tensor.numpy() for name, tensor in self._inputs.items()}
        try:
            graph = onnx.helper.make_graph(
                [self._node],
                "constant",
                [onnx.helper.make_value_info(n, _tensor_type(t)) for n, t in self._inputs.items()],
                [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in self._outputs if n],
            )
            model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self._opset)])
            with np.errstate(divide="raise", invalid="raise", over="raise", under="ignore"):
                results = onnx.reference.ReferenceEvaluator(model).run(None, feeds)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return None
        wanted = [index for index, name in enumerate(self._outputs) if name]
        if len(results) != len(wanted) or not all(isinstance(r, np.ndarray | np.generic) for r in results):
            return None
        return {index: np.asarray(result) for index, result in zip(wanted, results, strict=True)}


def _tensor_type(tensor: ir.TensorProtocol) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(int(tensor.dtype), [int(d) for d in tensor.shape.numpy()])


def _static_types(
    names: Sequence[str], found: Mapping[str, Any]
) -> dict[int, tuple[ir.DataType, tuple[int, ...]]] | None:
    types: dict[int, tuple[ir.DataType, tuple[int, ...]]] = {}
    for index, name in enumerate(names):
        if not name:
            continue
        kind = found.get(name)
        if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
            return None
        dims = kind.tensor_type.shape.dim
        if not all(d.HasField("dim_value") for d in dims):
            return None
        types[index] = (ir.DataType(kind.tensor_type.elem_type), tuple(int(d.dim_value) for d in dims))
    return types


# ---- local functions -----------------------------------------------------------------------------


def remove_unused_functions(model: ir.Model) -> bool:
    """Whether a function that nothing calls was removed, by onnx_ir's pass."""
    before = len(model.functions)
    remove: Any = RemoveUnusedFunctionsPass
    remove()(model)
    return len(model.functions) < before
