"""FLOPs against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from neoc.compile.analysis import cost
from neoc.compile.program import Program, Provenance


def _program(nodes, inputs, outputs, weights) -> Program:  # type: ignore[no-untyped-def]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    inferred = onnx.shape_inference.infer_shapes(model)
    return Program(ir.from_proto(inferred), Provenance("onnx", "", "", "m.onnx"))


def test_a_grouped_convolution_and_a_gemm() -> None:
    program = _program(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], group=2, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Flatten", ["c"], ["f"]),
            helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
        ],
        [("x", [1, 4, 5, 5])],
        [("y", [1, 10])],
        [("w", [8, 2, 3, 3]), ("v", [10, 200])],
    )
    found = cost(program)
    convolution = 2 * (8 * 5 * 5) * (2 * 3 * 3)
    assert found.flops == convolution + 2 * 10 * 200
    assert found.parameters == 8 * 2 * 9 + 2000
    assert found.weight_bytes == 4 * found.parameters
    assert found.operators == {"Conv": 1, "Flatten": 1, "Gemm": 1}
    assert found.uncounted == ()


def test_a_recurrence_counts_steps_gates_and_both_products() -> None:
    program = _program(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y", "", ""], hidden_size=16)],
        [("x", [7, 2, 5])],
        [("y", [7, 1, 2, 16])],
        [("w", [1, 64, 5]), ("r", [1, 64, 16])],
    )
    assert cost(program).flops == 2 * 7 * 2 * 4 * 16 * (5 + 16)


def test_open_dimensions_are_said_not_guessed() -> None:
    program = _program(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="head")],
        [("x", ["batch", 8])],
        [("y", ["batch", 4])],
        [("w", [8, 4])],
    )
    found = cost(program)
    assert found.flops == 0
    assert found.uncounted == ("head",)


def test_a_real_model_agrees_with_its_published_count(zoo) -> None:  # type: ignore[no-untyped-def]
    """The 80-step silero sequence is 0.119 GFLOP, the silero frame 0.0014 GFLOP."""
    from neoc.compile.options import CompileOptions
    from neoc.compile.pipeline import lower

    path: Path = zoo("silero_vad_openvino_16k")
    assert 1.2e6 < cost(lower(path, CompileOptions())).flops < 1.6e6
