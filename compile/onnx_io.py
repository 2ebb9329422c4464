"""The one place where `onnx` protobufs are read and written."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

EXTERNAL_ABOVE_BYTES = 1 << 20
"""tensors larger than this go to the data file when a model is written with one"""


def read(path: Path) -> ir.Model:
    """The model in `path`; external data stays memory-mapped."""
    return ir.load(path)


def write(model: ir.Model, path: Path, data_name: str | None = None) -> None:
    """Write `model`; with `data_name`, tensors over 1 MiB go into that file beside it."""
    if data_name is None:
        ir.save(model, path)
    else:
        ir.save(model, path, external_data=data_name, size_threshold_bytes=EXTERNAL_ABOVE_BYTES)


def to_bytes(model: ir.Model) -> bytes:
    """The model as one protobuf, tensors inside. Raises ValueError above protobuf's 2 GB."""
    return ir.to_proto(model).SerializeToString(deterministic=True)


def canonical_bytes(model: ir.Model) -> bytes:
    """Bytes that are equal for equal models: what digests are made of."""
    return to_bytes(model)
