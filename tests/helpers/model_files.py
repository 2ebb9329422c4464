"""ONNX files from ONNX's text form, to be loaded or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper


def proto_of(text: str, *, opset: int = 17, ir: int = 8, **weights: np.ndarray) -> onnx.ModelProto:
    """`text`: 'name (float[N] x) => (float[N] y) { y = Relu (x) }', functions after it; weights by name."""
    head = f'<ir_version: {ir}, opset_import: ["" : {opset}, "com.microsoft" : 1, "ai.onnx.ml" : 3, "local" : 1]>\n'
    model = onnx.parser.parse_model(head + text)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def write(
    path: Path, text: str, change: Callable[[onnx.ModelProto], object] | None = None, *, opset: int = 17, ir: int = 8,
    **weights: np.ndarray,
) -> Path:  # fmt: skip
    """The model of `proto_of`, after `change`, in a file."""
    model = proto_of(text, opset=opset, ir=ir, **weights)
    if change is not None:
        change(model)
    path.write_bytes(model.SerializeToString())
    return path


def affine(path: Path, change: Callable[[onnx.ModelProto], object] | None = None) -> Path:
    """y = relu(x @ w + b), x [N, 3], w [3, 4], b [4], nodes 'product', 'sum' and 'out'."""
    rng = np.random.default_rng(0)
    text = (
        "affine (float[N,3] x) => (float[N,4] y) "
        "{ [product] p = MatMul (x, w) [sum] s = Add (p, b) [out] y = Relu (s) }"
    )
    weights = {"w": rng.standard_normal((3, 4), np.float32), "b": np.ones(4, np.float32)}
    return write(path, text, change, **weights)
