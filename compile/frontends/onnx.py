"""The ONNX front end: opset 1 to the newest that the installed onnx package knows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from neoc.compile import onnx_io
from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.binding import bind
from neoc.compile.frontends.onnx_check import check
from neoc.compile.frontends.onnx_normal import normalise
from neoc.compile.onnx_data import Folder
from neoc.compile.options import InputBinding
from neoc.compile.program import Program, Provenance, Source


def load(path: Path, inputs: Mapping[str, InputBinding]) -> Program:
    """The model in `path`, external data memory-mapped. Raises InvalidModel, InvalidInput."""
    data = onnx_io.read_bytes(path)
    state, folder = hashlib.sha256(data), Folder(path)
    try:
        proto = onnx_io.parse(data, path.name)
        del data  # up to two gigabytes, which the protobuf holds as well
        version = f"{_text(proto.producer_name)} {_text(proto.producer_version)}".strip() or "unknown"
        notes = [*check(proto, folder), *normalise(proto, folder)]
        model = onnx_io.to_ir(proto, folder)
    except InvalidModel as error:
        if not error.where.startswith(path.name):
            error.where = f"{path.name}, {error.where}"
        raise
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.sort()
    for name in sorted(folder.files):
        _add_file(state, folder.files[name])
    bound = bind(model, inputs, path.name)
    return Program(
        model=model,
        provenance=Provenance("onnx", version, state.hexdigest(), path.name),
        source=Source(path, bound),
        notes=tuple(dict.fromkeys(notes)),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _add_file(state: hashlib._Hash, path: Path) -> None:
    block = memoryview(bytearray(1 << 20))
    with path.open("rb", buffering=0) as file:
        while length := file.readinto(block):
            state.update(block[:length])
