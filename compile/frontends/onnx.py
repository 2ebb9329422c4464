"""The ONNX front end: opset 1 to the newest that the installed onnx package knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
    folder = Folder(path)
    try:
        proto = onnx_io.parse(data, path.name)
        version = f"{_text(proto.producer_name)} {_text(proto.producer_version)}".strip() or "unknown"
        notes = [*check(proto, folder), *normalise(proto, folder)]
        model = onnx_io.to_ir(proto, folder)
    except InvalidModel as error:
        if not error.where.startswith(path.name):
            error.where = f"{path.name}, {error.where}"
        raise
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.sort()
    digest = _sha256(data, (folder.files[name] for name in sorted(folder.files)))
    bound = bind(model, inputs, path.name)
    return Program(
        model=model,
        provenance=Provenance("onnx", version, digest, path.name),
        source=Source(path, bound),
        notes=tuple(dict.fromkeys(notes)),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _sha256(data: bytes, files: Iterable[Path]) -> str:
    """Of the model's bytes, then of its data files."""
    state = hashlib.sha256(data)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
    return state.hexdigest()
