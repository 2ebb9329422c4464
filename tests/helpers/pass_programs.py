"""Programs written in ONNX's text form, and what they compute: for the tests of the passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from neoc.compile import onnx_io
from neoc.compile.passes import Pass, run
from neoc.compile.program import Program, Provenance


def program(text: str | onnx.ModelProto, **tensors: np.ndarray) -> Program:
    """The program that `text` spells (https://onnx.ai/onnx/repo-docs/Syntax.html), with `tensors` as initializers."""
    proto = onnx.parser.parse_model(text) if isinstance(text, str) else text
    for name, array in tensors.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return Program(ir.from_proto(proto), Provenance("onnx", "", "", "test.onnx"))


def graph(body: str, opset: int = 17, domains: str = "", **tensors: np.ndarray) -> Program:
    """A program of one graph: `graph("(float[2] x) => (float[2] y) { y = Relu(x) }")`."""
    return program(f'<ir_version: 8, opset_import: ["" : {opset}{domains}]> g {body}', **tensors)


def apply(before: Program, *passes: Pass) -> Program:
    """The program after `passes`, which must not change the one they are given."""
    digest = before.digest
    after = run(before, passes)
    assert before.digest == digest, "a pass changed the program it was given"
    return after


def operators(after: Program) -> list[str]:
    """The operators of all nodes, in order, bodies included."""
    return [node.op_type for node in after.nodes()]


def evaluate(of: Program, feeds: Mapping[str, Any], names: Sequence[str] | None = None) -> list[np.ndarray]:
    """The outputs by onnxruntime, with all optimisation off: what is written is what runs."""
    return evaluate_bytes(onnx_io.to_bytes(of.model), feeds, names)


def evaluate_bytes(model: bytes, feeds: Mapping[str, Any], names: Sequence[str] | None = None) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(names, dict(feeds)))


def assert_same(before: Program, after: Program, *samples: Mapping[str, Any]) -> None:
    """Both compute the same on every sample, and, given two, something else for each of them."""
    seen: list[list[np.ndarray]] = []
    for feeds in samples:
        old, new = evaluate(before, feeds), evaluate(after, feeds)
        for a, b in zip(old, new, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        seen.append(new)
    if len(seen) > 1:
        moved = any(a.shape != b.shape or not np.array_equal(a, b) for a, b in zip(seen[0], seen[1], strict=True))
        assert moved, "the outputs do not depend on the inputs: nothing was tested"
