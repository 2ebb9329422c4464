"""External data of ONNX models: found inside the model's folder, checked against the file, memory-mapped.

Nothing is trusted: a location may not leave the folder (neither by `..` nor by a link), an extent may not leave the
file, and the bytes must be exactly as many as dtype and dims say. A file is mapped once, for all its tensors.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from functools import cache
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import onnx_ir as ir

from neoc.compile.errors import InvalidModel

_KEYS = ("location", "offset", "length", "checksum", "basepath")
"""keys that the specification or its older editions name (https://onnx.ai/onnx/repo-docs/ExternalData.html)"""


class Folder:
    """The folder of one model file: the only place where its external data may lie.

    Where the file is a link, the folder of what it points to counts as well: caches that link to a store of blobs
    keep a model and its data side by side there.
    """

    def __init__(self, model: Path) -> None:
        self.model_name = model.name
        self._path = model.parent
        self._roots = {model.parent.resolve(), model.resolve().parent}
        self._maps: dict[Path, np.ndarray] = {}
        self.files: dict[str, Path] = {}
        """every data file seen by `check`: location -> file"""

    def check(self, tensor: onnx.TensorProto) -> None:
        """Raises InvalidModel unless the tensor's bytes exist, all of them, inside the folder."""
        entries = self._entries(tensor)
        offset = self._number(tensor, entries, "offset") or 0
        length = self._number(tensor, entries, "length")
        needed = nbytes(tensor.data_type, tensor.dims)
        if needed is None:
            raise self._error(tensor, f"dtype {tensor.data_type} cannot lie in external data")
        if length is not None and length != needed:
            raise self._error(tensor, f"length says {length} bytes, dtype and dims say {needed}")
        location = entries["location"]
        size = self._locate(tensor, location).stat().st_size
        if offset + needed > size:
            end = offset + needed
            raise self._error(tensor, f"bytes {offset} to {end} of {location!r} lie outside its {size} bytes")

    def attach(self, model: ir.Model) -> None:
        """Put mapped tensors in the place of all external ones, which must have been checked; attributes included."""
        for graph in model.graphs():
            for value in graph.initializers.values():
                if isinstance(value.const_value, ir.ExternalTensor):
                    value.const_value = self._mapped(value.const_value)
            for node in graph:
                for name, attribute in list(node.attributes.items()):
                    if attribute.is_ref():
                        continue
                    if isinstance(attribute.value, ir.ExternalTensor):
                        node.attributes[name] = ir.AttrTensor(name, self._mapped(attribute.value))
                    elif attribute.type == ir.AttributeType.TENSORS:
                        tensors = [self._mapped(t) if isinstance(t, ir.ExternalTensor) else t for t in attribute.value]
                        node.attributes[name] = ir.AttrTensors(name, tensors)

    def _mapped(self, tensor: ir.ExternalTensor) -> ir.TensorProtocol:
        file = self.files[str(tensor.location)]
        if file not in self._maps:
            # A file of no bytes cannot be mapped, and only tensors of no elements lie in it.
            empty = file.stat().st_size == 0
            self._maps[file] = np.zeros(0, np.uint8) if empty else np.asarray(np.memmap(file, np.uint8, "r"))
        start = tensor.offset or 0
        raw = self._maps[file][start : start + tensor.nbytes]
        if tensor.dtype.bitwidth < 8:
            return ir.PackedTensor(raw, tensor.dtype, shape=tensor.shape, name=tensor.name)
        array = raw.view(tensor.dtype.numpy()).reshape(tensor.shape.numpy())
        return ir.Tensor(array, dtype=tensor.dtype, name=tensor.name, doc_string=tensor.doc_string)

    def _entries(self, tensor: onnx.TensorProto) -> dict[str, str]:
        entries: dict[str, str] = {}
        for entry in tensor.external_data:
            if entry.key in entries and entry.key in _KEYS:
                raise self._error(tensor, f"its external data names {entry.key!r} twice")
            entries[entry.key] = entry.value
        if not isinstance(entries.get("location"), str) or not entries["location"]:
            raise self._error(tensor, "its external data names no location")
        return entries

    def _number(self, tensor: onnx.TensorProto, entries: dict[str, str], key: str) -> int | None:
        text = entries.get(key)
        if text is None:
            return None
        # 19 digits hold every file offset; more would only be a way to make int() slow.
        if not isinstance(text, str) or not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise self._error(tensor, f"{key} {text!r:.40} is no number of bytes")
        return int(text)

    def _locate(self, tensor: onnx.TensorProto, location: str) -> Path:
        if location in self.files:
            return self.files[location]
        if PurePosixPath(location).is_absolute() or "\\" in location or ":" in location.split("/")[0][1:2]:
            raise self._error(tensor, f"location {location!r} is no relative path", escape=True)
        try:
            file = (self._path / location).resolve(strict=True)
            mode = file.stat().st_mode
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise self._error(tensor, f"data file {location!r} cannot be read: {reason}") from error
        if not any(file.is_relative_to(root) for root in self._roots):
            raise self._error(tensor, f"location {location!r} leads out of the model's folder", escape=True)
        if not stat.S_ISREG(mode):
            raise self._error(tensor, f"location {location!r} is no regular file")
        self.files[location] = file
        return file

    def _error(self, tensor: onnx.TensorProto, why: str, escape: bool = False) -> InvalidModel:
        fix = "put the data files beside the model, under the names that it gives them"
        return InvalidModel(
            "external data points outside the model's folder" if escape else "external data does not fit the model",
            where=f"{self.model_name}, tensor {tensor.name!r:.80}",
            why=why,
            fix=f"{fix} (real files, no links to elsewhere)" if escape else fix,
        )


def contents(proto: onnx.ModelProto) -> tuple[list[onnx.GraphProto], list[onnx.NodeProto]]:
    """All graphs and all nodes of a model: bodies and functions included."""
    graphs, nodes = [proto.graph], [node for function in proto.functions for node in function.node]
    graphs_done = nodes_done = 0
    while graphs_done < len(graphs) or nodes_done < len(nodes):
        for graph in graphs[graphs_done:]:
            nodes += graph.node
        graphs_done = len(graphs)
        for node in nodes[nodes_done:]:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs += attribute.graphs
        nodes_done = len(nodes)
    return graphs, nodes


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every dense TensorProto of a model: initializers and attributes."""
    graphs, nodes = contents(proto)
    for graph in graphs:
        yield from graph.initializer
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def locations(model: Path) -> list[str]:
    """The files beside an ONNX file that hold tensors of it, by their names relative to its folder."""
    proto = onnx.load(str(model), load_external_data=False)
    return sorted({e.value for t in tensors(proto) for e in t.external_data if e.key == "location"})


def nbytes(data_type: int, dims: list[int]) -> int | None:
    """Bytes of a tensor as raw data; None for strings and unknown dtypes."""
    bits = bit_widths().get(data_type)
    return None if bits is None else -(-prod(dims) * bits // 8)


@cache
def bit_widths() -> dict[int, int]:
    """Bits per element of every dtype but strings."""
    return {d.value: d.bitwidth for d in ir.DataType if d not in (ir.DataType.UNDEFINED, ir.DataType.STRING)}
