"""The double-precision copy: every float32 becomes float64, and the result is nearer to the truth."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.float64 import widen_array, widen_model, widen_signature


def _cancelling_model() -> onnx.ModelProto:
    """y = (x + 1e8) - 1e8 + c, cast through float32: exact only in double precision."""
    big = numpy_helper.from_array(np.array([1e8], np.float32), "big")
    nodes = [
        helper.make_node("Add", ["x", "big"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["b", "big"], ["c"]),
        helper.make_node("Constant", [], ["k"], value_float=0.5),
        helper.make_node("Add", ["c", "k"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [big],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_cancellation_is_gone_in_double_precision() -> None:
    model = _cancelling_model()
    x = np.array([0.3], np.float32)
    (narrow,) = ReferenceEvaluator(model).run(None, {"x": x})
    wide_model = widen_model(ir.from_proto(model))
    (wide,) = ReferenceEvaluator(ir.to_proto(wide_model)).run(None, {"x": widen_array(x)})
    assert narrow[0] == 0.5  # float32 loses x beside 1e8
    assert wide.dtype == np.float64
    assert abs(wide[0] - (np.float64(np.float32(0.3)) + 0.5)) < 1e-7


def test_the_source_model_is_left_alone() -> None:
    model = ir.from_proto(_cancelling_model())
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    widen_model(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_only_floats_of_the_signature_widen() -> None:
    signature = Signature((TensorSpec("x", "float32", (1,)), TensorSpec("i", "int64", (1,))), ())
    assert [spec.dtype for spec in widen_signature(signature).inputs] == ["float64", "int64"]
