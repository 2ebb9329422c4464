"""ONNX's own backend tests as (name, model, feeds and wanted outputs), and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from pass_programs import evaluate_bytes

KINDS = ("simple", "node", "pytorch-converted", "pytorch-operator")
SHARDS = 16

Case = tuple[str, onnx.ModelProto, list[tuple[dict[str, Any], list[Any]]]]


@cache
def _tests() -> list[Any]:
    with np.errstate(all="ignore"):
        return [test for kind in KINDS for test in load_model_tests(kind=kind)]


def bound(model: onnx.ModelProto, feeds: dict[str, Any], keep: int = 0) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model with its feeds as initializers where they are plain tensors, and the feeds that are left.

    The first `keep` inputs stay inputs.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    left = dict(feeds)
    for value in list(copy.graph.input)[keep:]:
        array = feeds.get(value.name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            continue
        tensor = numpy_helper.from_array(array, value.name)
        if tensor.data_type == value.type.tensor_type.elem_type:
            copy.graph.initializer.append(tensor)
            copy.graph.input.remove(value)
            del left[value.name]
    copy.ir_version = max(copy.ir_version, 8)
    return copy, left


def cases(shard: int) -> Iterator[Case]:
    for test in _tests()[shard::SHARDS]:
        model = test.model if test.model is not None else onnx.load(Path(test.model_dir) / "model.onnx")
        sets = test.data_sets or [_from_files(folder, model) for folder in sorted(Path(test.model_dir).glob("*_set_*"))]
        fixed = {i.name for i in model.graph.initializer}
        names = [i.name for i in model.graph.input]
        feeds = []
        for inputs, outputs in sets:
            mine = names if len(inputs) == len(names) else [n for n in names if n not in fixed]
            feeds.append((dict(zip(mine, map(_array, inputs), strict=False)), [_array(o) for o in outputs]))
        yield test.name, model, feeds


def _from_files(folder: Path, model: onnx.ModelProto) -> tuple[list[Any], list[Any]]:
    def read(kind: str, values: Any) -> list[Any]:
        return [
            _value(folder / f"{kind}_{k}.pb", v) for k, v in enumerate(values) if (folder / f"{kind}_{k}.pb").exists()
        ]

    return read("input", model.graph.input), read("output", model.graph.output)


def _value(path: Path, value: onnx.ValueInfoProto) -> Any:
    if value.type.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(path.read_bytes()))
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def results(model: bytes, feeds: dict[str, Any]) -> list[Any] | str:
    """What onnxruntime computes, or why it does not."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort

    refusals = (ort.Fail, ort.InvalidArgument, ort.InvalidGraph, ort.NotImplemented, ort.RuntimeException)
    try:
        return evaluate_bytes(model, feeds)
    except (RuntimeError, ValueError, TypeError, *refusals) as error:
        return f"{type(error).__name__}: {error}"[:200]


def right(results: list[Any] | str, wanted: list[Any]) -> bool:
    return not isinstance(results, str) and len(results) == len(wanted) and all(map(_equal, results, wanted))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(b, list | tuple):
        return isinstance(a, list | tuple) and len(a) == len(b) and all(map(_equal, a, b))
    if a is None or b is None:
        return a is b
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if b.dtype.kind in "OUS":
        return bool((a.astype(str) == b.astype(str)).all())
    if a.dtype != b.dtype:
        return False
    rough = b.dtype.itemsize < 4 and b.dtype.kind not in "biu"
    rtol = 1e-2 if rough else 1e-3
    wide = np.complex128 if b.dtype.kind == "c" else np.float64
    if b.dtype.kind in "biu":
        return bool(np.array_equal(a, b))
    return bool(np.allclose(a.astype(wide), b.astype(wide), rtol=rtol, atol=1e-5, equal_nan=True))
