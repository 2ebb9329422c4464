"""Opset conversion: inside the range nothing moves, below it results stay, and a failure is said."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from pass_programs import apply, assert_same, evaluate, graph, operators, program

from neoc.compile import onnx_io
from neoc.compile.passes import DEFAULT, ConvertOpset, InlineFunctions, UniqueNames

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
SAMPLES = {"x": X}, {"x": X * 2 - 1}


@pytest.mark.parametrize("opset", [14, 17, 22, 28])
def test_inside_the_range_the_opset_stays(opset: int) -> None:
    before = graph("(float[2] x) => (float[2] y) { y = Relu(x) }", opset)
    assert ConvertOpset()(before) is before


def test_softmax_below_13_normalises_over_all_axes_from_its_own_on() -> None:
    before = graph("(float[2,3,4] x) => (float[2,3,4] y) { y = Softmax <axis = 1> (x) }", 11)
    after = apply(before, ConvertOpset())
    assert after.opset == 14
    assert not after.notes
    assert apply(before, ConvertOpset()).digest == after.digest
    (y,) = evaluate(after, SAMPLES[0])
    np.testing.assert_allclose(y.sum(axis=(1, 2)), [1, 1], rtol=1e-5)  # axis 1 alone would give 4 ones a row
    assert_same(before, after, *SAMPLES)


def test_attributes_become_inputs_in_bodies_too() -> None:
    text = """(bool c, float[2,3,4] x) => (float y) {
        a = If (c) <then_branch = t () => (float r) { s = Unsqueeze <axes = [0]> (x) r = Squeeze <axes = [0]> (s) },
                    else_branch = e () => (float q) { q = ReduceSum <axes = [1], keepdims = 1> (x) }>
        y = Clip(a, low) }"""
    before = graph(text, 12, low=np.array(0.25, np.float32))
    after = apply(before, UniqueNames(), ConvertOpset())
    assert after.opset == 14
    for condition in (True, False):
        assert_same(before, after, *({**feeds, "c": np.array(condition)} for feeds in SAMPLES))


def test_old_broadcasting_is_made_explicit_or_the_model_keeps_its_opset_with_a_note() -> None:
    text = "(float[2,3,4] x) => (float[2,3,4] y) { y = Add <broadcast = 1> (x, b) }"
    after = apply(graph(text, 6, b=np.arange(4, dtype=np.float32)), ConvertOpset())
    (y,) = evaluate(after, SAMPLES[0])
    np.testing.assert_allclose(y, X + np.arange(4, dtype=np.float32))
    # Along another axis than the last the converter gives up.
    inner = graph(text.replace("broadcast", "axis = 1, broadcast"), 6, b=np.arange(3, dtype=np.float32))
    kept = apply(inner, *DEFAULT)
    assert kept.opset == 6
    (note,) = kept.notes
    assert note.startswith("opset conversion to 14 failed, kept 6: ")
    assert ".cc:" not in note


def test_large_tensors_survive_conversion_without_passing_through_it() -> None:
    weight = np.random.default_rng(1).standard_normal((4, 700)).astype(np.float32)
    before = graph("(float[2,3,4] x) => (float[2,3,700] y) { s = Softmax(x) y = MatMul(s, w) }", 11, w=weight)
    after = apply(before, ConvertOpset())
    assert after.model.graph.initializers["w"].const_value is before.model.graph.initializers["w"].const_value
    assert_same(before, after, *SAMPLES)


def test_nodes_of_other_domains_and_declared_outputs_survive() -> None:
    before = graph(
        '(float["n",4] x) => (float["n",7] y) { a = com.microsoft.FusedMatMul <alpha = 2.0> (x, w) y = Softmax(a) }',
        12,
        ', "com.microsoft" : 1',
        w=np.ones((4, 7), np.float32),
    )
    after = apply(before, ConvertOpset())
    assert after.opset == 14
    fused = next(n for n in after.nodes() if n.domain == "com.microsoft")
    assert fused.attributes["alpha"].as_float() == 2.0
    assert [str(s) for s in after.signature.outputs] == ["y: float32[n,7]"]
    assert after.model.opset_imports == {"": 14, "com.microsoft": 1}


def test_scan_of_opset_8_stays_with_a_note() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["o"])],
        "body",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "se"],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "to"],
    )
    shapes = {"i": [1, 2], "x": [1, 3, 2], "f": [1, 2], "y": [1, 3, 2]}
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    scan = helper.make_node("Scan", ["", "i", "x"], ["f", "y"], num_scan_inputs=1, body=body)
    whole = helper.make_graph([scan], "g", [values["i"], values["x"]], [values["f"], values["y"]])
    before = program(helper.make_model(whole, opset_imports=[helper.make_opsetid("", 8)], ir_version=8))
    after = apply(before, ConvertOpset())
    assert after.opset == 8
    assert after.model is before.model
    (note,) = after.notes
    assert note.startswith("opset conversion to 14 failed, kept 8: Scan of opset 8")
    assert ConvertOpset()(after) is after  # the note is not repeated, and there is nothing left to do


def test_a_conversion_that_the_converter_refuses_is_noted_with_its_reason() -> None:
    # BatchNormalization-7 with spatial = 0 has no counterpart in 9.
    names = ("s", "b", "m", "v")
    before = graph(
        "(float[2,3,4] x) => (float[2,3,4] y) { y = BatchNormalization <spatial = 0> (x, s, b, m, v) }",
        7,
        **{n: np.ones((3, 4), np.float32) for n in names},
    )
    after = apply(before, ConvertOpset())
    assert after.opset == 7
    assert "kept 7" in after.notes[0]


def test_above_the_range_a_model_is_relabelled_where_nothing_changed() -> None:
    before = graph("(float[2] x) => (float[2] y) { y = Neg(x) }", 17)
    after = apply(before, ConvertOpset(lowest=7, highest=15))
    assert after.opset == 15
    assert operators(after) == ["Neg"]
    changed = graph("(float[2,3,4,5] x) => (float[2,3,4,5] y) { y = LayerNormalization(x, s) }", 17, s=np.ones(5, "f"))
    kept = apply(changed, ConvertOpset(lowest=7, highest=15))
    assert kept.opset == 17
    assert "LayerNormalization means something else at 15" in kept.notes[0]


def test_a_model_without_operators_of_the_default_domain_has_no_opset_to_convert() -> None:
    header = '<ir_version: 8, opset_import: ["ai.onnx.ml" : 1]> '
    before = program(header + "g (float[2,3] x) => (float[2,3] y) { y = ai.onnx.ml.Scaler(x) }")
    assert ConvertOpset()(before) is before


def test_a_body_keeps_large_constants_through_the_default_passes() -> None:
    table = np.arange(600, dtype=np.float32).reshape(2, 300)
    text = """(bool c, float[2,300] x) => (float[2,300] y) {
        y = If (c) <then_branch = t () => (float[2,300] r) <float[2,300] k> { r = Add(x, k) },
                    else_branch = e () => (float[2,300] q) { q = Softmax(x) }> }"""
    before = graph(text.replace("<float[2,300] k>", ""), 11, k=table)
    branch = next(n for n in before.nodes() if n.op_type == "If").attributes["then_branch"].as_graph()
    moved = before.model.graph.initializers.pop("k")
    branch.register_initializer(moved)
    after = apply(before, *DEFAULT)
    assert after.opset == 14
    x = np.random.default_rng(2).standard_normal((2, 300)).astype(np.float32)
    (y,) = evaluate(after, {"x": x, "c": np.array(True)})
    np.testing.assert_allclose(y, x + table)


def test_functions_that_stay_hold_back_conversion_with_both_notes() -> None:
    inner = helper.make_node("Twice", ["x"], ["y"], domain="local")
    add = helper.make_node("Softmax", ["a"], ["b"])
    function = helper.make_function("local", "Twice", ["a"], ["b"], [add], [helper.make_opsetid("", 13)])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3, 4]) for n in "xy")
    imports = [helper.make_opsetid("", 12), helper.make_opsetid("local", 1)]
    softmax = helper.make_node("Softmax", ["y0"], ["y"], axis=1)
    inner.output[0] = "y0"
    proto = helper.make_model(
        helper.make_graph([inner, softmax], "g", [x], [y]), opset_imports=imports, functions=[function], ir_version=8
    )
    after = apply(program(proto), InlineFunctions(), ConvertOpset())
    assert after.opset == 12
    assert "function local::Twice was not inlined: it is written for opset 13, and Softmax differs at 12" in after.notes
    assert any("could not be inlined" in note for note in after.notes)


def test_reference_evaluator_agrees_at_the_lowest_opset_of_the_range_and_not_below() -> None:
    """Why the range begins at 14: below, the evaluator runs BatchNormalization in training mode."""
    statistics = {n: np.full(3, v, np.float32) for n, v in (("s", 1.5), ("b", 0.5), ("m", 5.0), ("v", 4.0))}
    text = "(float[2,3,4] x) => (float[2,3,4] y) { y = BatchNormalization(x, s, b, m, v) }"
    expected = (X - 5.0) / np.sqrt(4.0 + 1e-5) * 1.5 + 0.5
    old = graph(text, 9, **statistics)
    new = apply(old, ConvertOpset())
    assert new.opset == 14
    found = [
        onnx.reference.ReferenceEvaluator(onnx.load_from_string(onnx_io.to_bytes(p.model))).run(None, {"x": X})[0]
        for p in (old, new)
    ]
    assert np.abs(found[0] - expected).max() > 0.1
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)
    assert isinstance(new.model, ir.Model)
