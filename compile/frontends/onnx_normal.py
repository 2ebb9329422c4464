"""One way of saying each thing: a checked ModelProto is rewritten in place, so that later stages meet no variants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from neoc.compile.frontends.onnx_faults import fault, shown
from neoc.compile.onnx_data import Folder, contents, nbytes

_IR_VERSION = 8
"""at least: from 4 on initializers need not be inputs, and every runtime of the last years reads 8"""

_UNKNOWN = frozenset({"", "?", "-1", "None", "none", "unk", "unknown"})
"""names that exporters give to dimensions of which they know nothing"""

_LONGEST_DIM = 256
_DEEPEST_DIM = 20
_MOST_DENSE_BYTES = 1 << 30
"""of a sparse tensor written out: a few bytes may claim any size"""

_A = onnx.AttributeProto


def normalise(model: onnx.ModelProto, folder: Folder) -> list[str]:
    """Rewrite a model that `check` accepted. Returns notes on what was dropped. Raises InvalidModel.

    Unknown dims lose their made-up sizes and names; 'ai.onnx' becomes ''; initializers are no inputs; sparse tensors
    become dense; text that is no UTF-8 is dropped where nothing hangs on it, as are training, sharding, annotations.
    """
    notes = _drop_training(model)
    _drop_bad_text(model, "producer_name", "producer_version", "domain", "doc_string")
    graphs, nodes = contents(model)
    _imports(model.opset_import)
    for function in model.functions:
        _imports(function.opset_import)
        _drop_bad_text(function, "doc_string")
    for node in nodes:
        if node.domain == "ai.onnx":
            node.domain = ""
        _drop_bad_text(node, "doc_string")
        del node.device_configurations[:]
        for attribute in node.attribute:
            _drop_bad_text(attribute, "doc_string")
            _dense_attribute(attribute, folder)
    for graph in graphs:
        notes += _graph(graph, folder, top=graph is model.graph, overridable=model.ir_version >= 4)
    for info in (info for function in model.functions for info in function.value_info):
        _type(info.type)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    return notes


def _drop_training(model: onnx.ModelProto) -> list[str]:
    notes = ["the model's training information is left out"] if model.training_info else []
    del model.training_info[:]
    del model.configuration[:]
    return notes


def _imports(imports: Any) -> None:
    versions = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in imports}
    del imports[:]
    for domain, version in versions.items():
        imports.add(domain=domain, version=version)


def _drop_bad_text(message: Any, *fields: str) -> None:
    """protobuf hands over text that is no UTF-8 as bytes, and would refuse to write it."""
    for field in fields:
        if not isinstance(getattr(message, field), str):
            message.ClearField(field)
    entries = getattr(message, "metadata_props", ())
    if any(not (isinstance(entry.key, str) and isinstance(entry.value, str)) for entry in entries):
        message.ClearField("metadata_props")


def _graph(graph: onnx.GraphProto, folder: Folder, top: bool, overridable: bool) -> list[str]:
    notes: list[str] = []
    _drop_bad_text(graph, "name", "doc_string")
    del graph.quantization_annotation[:]
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, folder))
    del graph.sparse_initializer[:]
    held = {tensor.name for tensor in graph.initializer}
    if top:
        defaults = [value.name for value in graph.input if value.name in held]
        if defaults and overridable:
            notes.append(f"inputs with a default value are constants: {', '.join(map(shown, defaults[:5]))}")
        _keep(graph.input, [value for value in graph.input if value.name not in held])
        outputs = {value.name: value for value in reversed(graph.output)}
        if len(outputs) < len(graph.output):
            notes.append("an output that was listed twice is given once")
            _keep(graph.output, [value for value in graph.output if outputs.pop(value.name, None) is not None])
    for info in (*graph.input, *graph.output, *graph.value_info):
        _drop_bad_text(info, "doc_string")
        if _holds_map(info.type):
            if top and info in graph.input:
                raise fault(f"input {shown(info.name)}", "it is a map, and neoc takes tensors only")
            info.ClearField("type")
        _type(info.type)
    for tensor in graph.initializer:
        _drop_bad_text(tensor, "doc_string")
    return notes


def _keep(field: Any, values: Iterable[Any]) -> None:
    kept = [type(value).FromString(value.SerializeToString()) for value in values]
    if len(kept) < len(field):
        del field[:]
        field.extend(kept)


def _holds_map(proto: onnx.TypeProto) -> bool:
    kind = proto.WhichOneof("value")
    if kind in ("sequence_type", "optional_type"):
        return _holds_map(getattr(proto, kind).elem_type)
    return kind in ("map_type", "opaque_type")


def _type(proto: onnx.TypeProto) -> None:
    proto.ClearField("denotation")
    kind = proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        for dim in getattr(proto, kind).shape.dim:
            dim.ClearField("denotation")
            if dim.dim_value == -1 or (dim.HasField("dim_param") and not _is_name(dim.dim_param)):
                dim.Clear()
    elif kind in ("sequence_type", "optional_type"):
        _type(getattr(proto, kind).elem_type)


def _is_name(text: str) -> bool:
    """Whether a dim's name says anything, and is safe to read as the expression that it may be (`2*batch + 1`)."""
    if text in _UNKNOWN or len(text) > _LONGEST_DIM or text.count("(") > _DEEPEST_DIM:
        return False
    return "**" not in text and re.search(r"\d{19}", text) is None


def _dense_attribute(attribute: onnx.AttributeProto, folder: Folder) -> None:
    """Constant's sparse_value becomes value; lists of sparse tensors have no user in any operator set."""
    if attribute.type == _A.SPARSE_TENSOR:
        dense = _dense(attribute.sparse_tensor, folder)
        attribute.ClearField("sparse_tensor")
        attribute.t.CopyFrom(dense)
        attribute.type = _A.TENSOR
        attribute.name = "value" if attribute.name == "sparse_value" else attribute.name
    elif attribute.type == _A.SPARSE_TENSORS:
        raise fault(f"attribute {shown(attribute.name)}", "lists of sparse tensors cannot be read")
    for tensor in (attribute.t, *attribute.tensors) if attribute.type in (_A.TENSOR, _A.TENSORS) else ():
        _drop_bad_text(tensor, "doc_string")
    for kind in (attribute.tp, *attribute.type_protos) if attribute.type in (_A.TYPE_PROTO, _A.TYPE_PROTOS) else ():
        if _holds_map(kind):
            raise fault(f"attribute {shown(attribute.name)}", "map types cannot be read")
        _type(kind)


def _dense(sparse: onnx.SparseTensorProto, folder: Folder) -> onnx.TensorProto:
    """Indices are [n] linearised or [n, rank] (onnx.proto, SparseTensorProto)."""
    name, dims = sparse.values.name, list(sparse.dims)
    where = f"sparse tensor {shown(name)}"
    size = nbytes(sparse.values.data_type, dims)
    if any(dim < 0 for dim in dims) or size is None or size > _MOST_DENSE_BYTES:
        raise fault(where, f"its dims {shown(dims)} are negative, not of numbers, or too large to be written out")
    if onnx.TensorProto.EXTERNAL in (sparse.values.data_location, sparse.indices.data_location):
        raise fault(where, "sparse tensors in external data cannot be read")
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    if indices.dtype != np.int64 or indices.shape not in ((values.size,), (values.size, len(dims))):
        raise fault(where, f"its indices are {indices.dtype}{list(indices.shape)}, with {values.size} values")
    limits = np.array(dims if indices.ndim == 2 else [prod(dims)], np.int64)
    at = indices.reshape(values.size, -1)
    if values.size and not ((at >= 0) & (at < limits)).all():
        raise fault(where, "an index lies outside its dims")
    flat = np.ravel_multi_index(tuple(at.T), dims) if indices.ndim == 2 and dims else at.reshape(-1)
    dense = np.zeros(prod(dims), values.dtype)
    dense[flat] = values.reshape(-1)
    return numpy_helper.from_array(dense.reshape(dims), name)
