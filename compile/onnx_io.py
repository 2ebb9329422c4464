"""The one place where `onnx` protobufs are read from and written to files.

External data is checked and memory-mapped (neoc.compile.onnx_data): a model of any size is opened without being copied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError, Message  # type: ignore[import-untyped]

from neoc.compile import onnx_data
from neoc.compile.errors import InvalidModel
from neoc.compile.files import atomic_file

EXTERNAL_ABOVE_BYTES = 1 << 20
"""tensors larger than this go to the data file when a model is written with one"""

PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""no protobuf message may be larger (https://protobuf.dev/programming-guides/proto-limits/)"""

_ALIGNMENT = 64
"""of tensors in a data file, bytes: a cache line, and what every vector load wants"""

_SMALL_BYTES = 1 << 10
"""tensors up to this size stay inside even a model that is too large for one protobuf"""


# ---- reading -------------------------------------------------------------------------------------


def read(path: Path) -> ir.Model:
    """The model in `path`; external data stays memory-mapped. Raises InvalidModel."""
    proto = parse(read_bytes(path), path.name)
    folder = onnx_data.Folder(path)
    for tensor in onnx_data.tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            folder.check(tensor)
    return to_ir(proto, folder)


def read_bytes(path: Path) -> bytes:
    """What a regular file holds, if that can be one protobuf. Raises InvalidModel."""
    try:
        size = path.stat().st_size
        if size > PROTOBUF_LIMIT_BYTES:
            raise InvalidModel(
                "the model cannot be read",
                where=path.name,
                why=f"it has {size} bytes and no protobuf may have more than {PROTOBUF_LIMIT_BYTES}",
                fix="save it with external data: onnx.save(model, path, save_as_external_data=True)",
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidModel(
            "the model cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="check the path and its permissions",
        ) from error


def parse(data: bytes, where: str) -> onnx.ModelProto:
    """The protobuf in `data`. Raises InvalidModel; `where` names the file in the message."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise InvalidModel(
            "the model cannot be read",
            where=where,
            why="its bytes are no protobuf: the file is damaged, cut short, or nested more than 100 deep",
            fix="fetch or export it again and compare the checksum",
        ) from error
    return proto


def to_ir(proto: onnx.ModelProto, folder: onnx_data.Folder) -> ir.Model:
    """The IR of `proto`; `folder` has checked its external tensors and maps them. Raises InvalidModel."""
    try:
        model = ir.serde.deserialize_model(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, NotImplementedError) as error:
        raise InvalidModel(
            "the model cannot be represented",
            where=folder.model_name,
            why=_innermost(error),
            fix="check it with onnx.checker.check_model, or export it again",
        ) from error
    folder.attach(model)
    return model


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)[:300] or type(error).__name__


# ---- writing -------------------------------------------------------------------------------------


def write(model: ir.Model, path: Path, data_name: str | None = None) -> None:
    """Write `model`, whole or not at all; with `data_name`, tensors over 1 MiB go into that file beside it.

    Files are renamed into place but not synced: what must outlive a power cut is synced by its owner.
    Raises OutputError where the place cannot be written, ValueError above protobuf's 2 GB without `data_name`.
    """
    threshold = _threshold(model)
    if data_name is not None and any(_is_large(tensor, threshold) for _, tensor in _initializers(model)):
        with atomic_file(path.with_name(data_name), durable=False) as file:
            data = _serialize(_with_data_in(file, model, data_name, threshold))
    else:
        data = to_bytes(model)
    with atomic_file(path, durable=False) as file:
        file.write(data)


def to_bytes(model: ir.Model) -> bytes:
    """The model as one protobuf, tensors inside. Raises ValueError above protobuf's 2 GB."""
    held = sum(_nbytes(tensor) for _, tensor in _initializers(model))
    if held > PROTOBUF_LIMIT_BYTES:
        raise ValueError(f"{held} bytes of tensors do not fit into one protobuf")
    if any(isinstance(tensor, ir.ExternalTensor) for _, tensor in _initializers(model)):
        model = model.clone()
        for value, tensor in _initializers(model):
            value.const_value = _held(tensor)
    return _serialize(model)


def _serialize(model: ir.Model) -> bytes:
    try:
        data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    except EncodeError as error:
        raise ValueError(f"the model does not fit into one protobuf: {error}") from error
    return data


def _initializers(model: ir.Model) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """(value, tensor) of every graph, bodies and functions included."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value, value.const_value


def _threshold(model: ir.Model) -> int:
    """Size above which a tensor belongs into a data file: 1 MiB, or 1 KiB if the rest were too much for a protobuf."""
    rest = sum(_nbytes(t) for _, t in _initializers(model) if not _is_large(t, EXTERNAL_ABOVE_BYTES))
    return EXTERNAL_ABOVE_BYTES if rest < PROTOBUF_LIMIT_BYTES // 2 else _SMALL_BYTES


def _is_large(tensor: ir.TensorProtocol, threshold: int) -> bool:
    """Strings cannot lie in a data file."""
    return tensor.dtype != ir.DataType.STRING and tensor.nbytes > threshold


def _nbytes(tensor: ir.TensorProtocol) -> int:
    return sum(map(len, tensor.string_data())) if isinstance(tensor, ir.StringTensor) else tensor.nbytes


def _held(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The tensor itself, never a reference to another file."""
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)


def _with_data_in(file: IO[bytes], model: ir.Model, name: str, threshold: int) -> ir.Model:
    """A copy of `model` whose large tensors lie in `file`, which the copy calls `name`."""
    model = model.clone()
    for value, tensor in _initializers(model):
        if not _is_large(tensor, threshold):
            value.const_value = _held(tensor)
            continue
        file.write(b"\0" * (-file.tell() % _ALIGNMENT))
        offset = file.tell()
        file.write(_content(tensor))
        value.const_value = ir.ExternalTensor(
            name, offset, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=value.name or ""
        )
    return model


# ---- digests -------------------------------------------------------------------------------------


def canonical_bytes(model: ir.Model) -> bytes:
    """Bytes that are equal for equal models, on every machine: what digests are made of.

    A protobuf in which every tensor is replaced by the sha256 of its dtype, shape and little-endian content, so that
    models of any size have one. Documentation, metadata and the producer do not count; names of values and nodes do.
    """
    model = model.clone()
    for value, tensor in _initializers(model):
        value.const_value = _placeholder(tensor, value.name)
    for graph in model.graphs():
        for node in graph:
            for attribute in list(node.attributes.values()):
                node.attributes[attribute.name] = _canonical_attribute(attribute)
    proto = ir.to_proto(model)
    for field in ("producer_name", "producer_version", "domain", "model_version"):
        proto.ClearField(field)
    _strip(proto)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _canonical_attribute(attribute: ir.Attr) -> ir.Attr:
    if attribute.is_ref():
        return attribute
    if attribute.type == ir.AttributeType.TENSOR:
        return ir.AttrTensor(attribute.name, _placeholder(attribute.value, attribute.value.name))
    if attribute.type == ir.AttributeType.TENSORS:
        return ir.AttrTensors(attribute.name, [_placeholder(t, t.name) for t in attribute.value])
    return attribute


def _placeholder(tensor: ir.TensorProtocol, name: str | None) -> ir.TensorProtocol:
    state = hashlib.sha256(f"{tensor.dtype.name}{list(tensor.shape)}".encode())
    state.update(_content(tensor))
    return ir.Tensor(np.frombuffer(state.digest(), np.uint8), name=name)


def _content(tensor: ir.TensorProtocol) -> Any:
    """The tensor's little-endian bytes, without a copy where it already lies in memory or in a mapping."""
    if isinstance(tensor, ir.StringTensor):
        return b"".join(len(s).to_bytes(8, "little") + s for s in tensor.string_data())
    if tensor.dtype.bitwidth < 8 or not isinstance(tensor, ir.Tensor | ir.ExternalTensor):
        return tensor.tobytes()
    array = np.ascontiguousarray(tensor.numpy())
    little = array if array.dtype.byteorder != ">" else array.astype(array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _strip(message: Message) -> None:
    """Clear documentation and metadata, sort what has no order, at every depth."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    if isinstance(message, onnx.GraphProto):
        message.initializer.sort(key=lambda tensor: tensor.name)
        message.value_info.sort(key=lambda value: value.name)
    if isinstance(message, onnx.NodeProto):
        message.attribute.sort(key=lambda attribute: attribute.name)
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if isinstance(value, Message) else value:
                _strip(child)
