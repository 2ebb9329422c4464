"""The same graph in double precision: the judge where two engines disagree.

Every float32 tensor, cast and literal of a model becomes float64; everything else stays. The copy is run by the ONNX
reference evaluator, in numpy, which follows the operator specification and takes doubles throughout.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.program import clone_model

_DTYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})


def widen_model(model: ir.Model) -> ir.Model:
    """A copy of `model` in which every FLOAT is DOUBLE. Tensors are widened here, once."""
    wide = clone_model(model)
    for graph in wide.graphs():
        for value in [*graph.inputs, *graph.outputs, *graph.initializers.values()]:
            _widen_value(value)
    for function in wide.functions.values():
        for value in [*function.inputs, *function.outputs]:
            _widen_value(value)
        for node in function.all_nodes():
            _widen_node(node)
    for node in wide.graph.all_nodes():
        _widen_node(node)
    return wide


def widen_signature(signature: Signature) -> Signature:
    def wide(spec: TensorSpec) -> TensorSpec:
        return TensorSpec(spec.name, "float64" if spec.dtype == "float32" else spec.dtype, spec.shape)

    return Signature(tuple(map(wide, signature.inputs)), tuple(map(wide, signature.outputs)))


def widen_array(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _widen_value(value: ir.Value) -> None:
    if value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT:
        value.const_value = _widen_tensor(value.const_value)
    if isinstance(value.type, ir.TensorType) and value.dtype == ir.DataType.FLOAT:
        value.type = ir.TensorType(ir.DataType.DOUBLE)


def _widen_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float64), name=tensor.name)


def _widen_node(node: ir.Node) -> None:
    for value in node.outputs:
        _widen_value(value)
    for name, attr in list(node.attributes.items()):
        if attr.is_ref():
            continue
        if attr.type == ir.AttributeType.TENSOR and attr.value.dtype == ir.DataType.FLOAT:
            node.attributes[name] = ir.AttrTensor(name, _widen_tensor(attr.value))
        elif name in _DTYPE_ATTRIBUTES and attr.value == ir.DataType.FLOAT.value:
            node.attributes[name] = ir.AttrInt64(name, ir.DataType.DOUBLE.value)
    if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
        for name in ("value_float", "value_floats"):
            if name in node.attributes:
                literal = np.array(node.attributes.pop(name).value, dtype=np.float64)
                node.attributes["value"] = ir.AttrTensor("value", ir.tensor(literal))
