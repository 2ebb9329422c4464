"""onnxruntime's own ahead-of-time form: the optimised graph, and its weights in a file that is mapped, not read.

onnxruntime writes the graph as it stands after optimisation and every tensor of 64 bytes or more into a file beside it,
on request with the weights as its matrix kernels want them ("prepacked"). Loading that does no graph work and copies no
weight: the tensors are pages of the file, shared by every process that maps it.

The file may be part of a larger one, the artifact. onnxruntime takes a tensor's place from the graph (TensorProto's
external_data: location, offset, length, prepacked_N), so the graph is stored with names and numbers of fixed width, and
these are overwritten when it is opened: the file's name, and offsets moved by where the member begins. That is done on
the protobuf's own bytes, since a device has no onnx package. Sources: onnx.proto3 (field numbers); what onnxruntime
1.32 writes (prepacked_N is `key|offset;length;checksum|...`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neoc.compile.errors import InvalidArtifact, UnsupportedModel

GRAPH, WEIGHTS = "optimized.onnx", "weights.bin"
LEAST_BYTES = 64
"""smaller tensors stay in the graph"""

_NAME_BYTES = 256
"""longer than any file's name (255 on Linux)"""

_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_EXTERNAL = 7, 5, 13
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def write(source: Path, folder: Path, options: Any, prepacked: bool) -> dict[str, Path]:
    """The members: onnxruntime's graph and weights of the ONNX file `source`, optimised as `options` say.

    Raises UnsupportedModel where the places of weights cannot be rewritten (weights in the bodies of If or Loop); what
    onnxruntime raises.
    """
    import onnxruntime as ort

    options.optimized_model_filepath = str(folder / GRAPH)
    entries = {
        "session.optimized_model_external_initializers_file_name": WEIGHTS,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(LEAST_BYTES),
        "session.save_external_prepacked_constant_initializers": "1" if prepacked else "0",
    }
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    graph = (folder / GRAPH).read_bytes()
    padded = rewritten(graph, _padded_name(WEIGHTS), 0)
    # The bytes that `located` changes must be those that the protobuf's structure says, no more and no fewer.
    if _moved(padded, "elsewhere", 4096) != rewritten(graph, _padded_name("elsewhere"), 4096) or (
        WEIGHTS.encode() in _moved(padded, "elsewhere", 0)
    ):
        raise UnsupportedModel(
            "onnxruntime's optimised form cannot be moved",
            gaps=(),
            why="it keeps weights where their places cannot be rewritten, in the bodies of its control flow say",
            fix="use --optimize latency",
        )
    (folder / GRAPH).write_bytes(padded)
    return {name: folder / name for name in (GRAPH, WEIGHTS) if (folder / name).exists()}


def located(graph: bytes, weights: Path, offset: int, options: Any) -> bytes:
    """The graph for weights that begin at `offset` of the file `weights`; `options` learn the file's folder."""
    folder = os.path.abspath(weights.parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return _moved(graph, weights.name, offset)


def _padded_name(name: str) -> str:
    """A relative path of `_NAME_BYTES` bytes that leads to `name`: any number of slashes is one."""
    lacking = _NAME_BYTES - len(os.fsencode(name)) - 1
    return "." + "/" * lacking + name


_PLACES = re.compile(
    rb"\x0a\x08location\x12\x80\x02(?P<name>.{256})|\x0a\x06offset\x12\x10(?P<offset>[0-9]{16})|\|(?P<packed>[0-9]{16});",
    re.DOTALL,
)
"""in a padded graph: StringStringEntryProto of external_data, and the blobs of prepacked_N"""


def _moved(graph: bytes, name: str, shift: int) -> bytes:
    """A padded graph, for weights in the file `name`, `shift` bytes further on: `rewritten`, many times as fast."""
    location = _padded_name(name).encode("utf-8", "surrogateescape")

    def place(found: re.Match[bytes]) -> bytes:
        if found["name"] is not None:
            return found[0][:-_NAME_BYTES] + location
        digits = found["offset"] or found["packed"]
        return found[0].replace(digits, b"%016d" % (int(digits) + shift))

    return _PLACES.sub(place, graph)


# ---- protobuf --------------------------------------------------------------------------------------


def rewritten(model: bytes, location: str, shift: int) -> bytes:
    """A ModelProto whose external tensors lie at the path `location`, `shift` bytes further on; numbers get 16 digits.

    Raises InvalidArtifact.
    """
    return _rewritten(model, {_MODEL_GRAPH: lambda graph: _graph(graph, location, shift)})


def _graph(graph: bytes, location: str, shift: int) -> bytes:
    def tensor(body: bytes) -> bytes:
        return _rewritten(body, {_TENSOR_EXTERNAL: lambda entry: _entry(entry, location, shift)})

    return _rewritten(graph, {_GRAPH_INITIALIZER: tensor})


def _entry(entry: bytes, location: str, shift: int) -> bytes:
    pair: dict[int, bytes] = {number: body for number, _, body, _ in _fields(entry)}
    key, value = pair.get(_KEY, b"").decode(), pair.get(_VALUE, b"").decode()
    if key == "location":
        value = location
    elif key == "offset":
        value = f"{int(value) + shift:016d}"
    elif key.startswith("prepacked"):
        name, *blobs = value.split("|")
        value = "|".join([name, *(_blob(blob, shift) for blob in blobs)])
    return _field(_KEY, key.encode()) + _field(_VALUE, value.encode())


def _blob(blob: str, shift: int) -> str:
    offset, semicolon, rest = blob.partition(";")
    return f"{int(offset) + shift:016d}{semicolon}{rest}"


def _rewritten(message: bytes, changes: Mapping[int, Any]) -> bytes:
    """The message with the bodies of some fields changed; all other fields as they are."""
    parts: list[bytes] = []
    for number, wire, body, whole in _fields(message):
        changed = wire == _BYTES and number in changes
        parts.append(_field(number, changes[number](body)) if changed else whole)
    return b"".join(parts)


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(body)) + body


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """(number, wire type, body, the field's own bytes) of each field. Raises InvalidArtifact."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        number, wire = key >> 3, key & 7
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, 0)
        if wire == _VARINT:
            _, at = _read_varint(message, at)
        elif wire == _BYTES:
            size, at = _read_varint(message, at)
        elif wire not in (_FIXED64, _FIXED32):
            raise _broken(f"wire type {wire}")
        if at + size > len(message):
            raise _broken("it ends within a field")
        yield number, wire, message[at : at + size], message[start : at + size]
        at += size


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise _broken("a number does not end")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _broken(why: str) -> InvalidArtifact:
    return InvalidArtifact("onnxruntime's optimised graph cannot be read", where=GRAPH, why=why)
