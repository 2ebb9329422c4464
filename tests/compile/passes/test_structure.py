"""Inlining, merging and removing: bodies read outer values, and outputs keep their names."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from pass_programs import apply, assert_same, evaluate, graph, operators, program

from neoc.compile.errors import InvalidInput
from neoc.compile.passes import (
    DEFAULT,
    BindValues,
    CommonValues,
    DeadCode,
    InitializerInputs,
    InlineFunctions,
    InlineIf,
    Legalize,
    LiftConstants,
    UniqueNames,
)
from neoc.compile.program import Program

X = np.array([[-1.0, 2.0, 3.0]], np.float32)
SAMPLES = {"x": X}, {"x": X + 0.5}


# ---- constant If -------------------------------------------------------------------------------

NESTED = """(float[1,3] x) => (float[1,3] y, float[1,3] z) {
    a = Relu(x)
    y, z = If (k) <
        then_branch = t () => (float[1,3] r, float[1,3] a2) {
            s = If (no) <then_branch = tt () => (float[1,3] u) { u = Exp(a) },
                         else_branch = te () => (float[1,3] v) { w = Neg(a) v = Abs(w) }>
            r = Add(s, x) a2 = Identity(x) },
        else_branch = e () => (float[1,3] q, float[1,3] p) { b = Sin(x) q = Cos(b) p = Identity(q) }>
}"""


@pytest.mark.parametrize(
    ("taken", "expected"), [(True, ["Relu", "Neg", "Abs", "Add", "Identity"]), (False, ["Sin", "Cos", "Identity"])]
)
def test_constant_ifs_become_the_branch_they_take_at_any_depth(taken: bool, expected: list[str]) -> None:
    before = graph(NESTED, k=np.array(taken), no=np.array(False))
    after = apply(before, UniqueNames(), InlineIf(), DeadCode())
    assert operators(after) == expected
    assert_same(before, after, *SAMPLES)


def test_an_if_on_an_input_stays_and_its_captures_live_on() -> None:
    before = graph(
        """(bool c, float[1,3] x) => (float[1,3] y) {
            a = Exp(x) y = If (c) <then_branch = t () => (float[1,3] r) { r = Neg(a) },
                                   else_branch = e () => (float[1,3] q) { q = Identity(a) }> }"""
    )
    after = apply(before, *DEFAULT)
    assert operators(after) == ["Exp", "If", "Neg", "Identity"]  # a branch must make its own output
    for condition in (True, False):
        assert_same(before, after, *({**feeds, "c": np.array(condition)} for feeds in SAMPLES))


def test_what_only_the_branch_not_taken_had_read_is_dead() -> None:
    before = graph(
        """(float[1,3] x) => (float[1,3] y) {
            big = MatMul(x, w) y = If (k) <then_branch = t () => (float[1,3] r) { r = Neg(x) },
                                           else_branch = e () => (float[1,3] q) { q = Abs(big) }> }""",
        k=np.array(True),
        w=np.eye(3, dtype=np.float32),
    )
    after = apply(before, UniqueNames(), InlineIf(), DeadCode())
    assert operators(after) == ["Neg"]
    assert not after.model.graph.initializers


def test_initializers_of_the_branch_move_with_it() -> None:
    before = graph(
        """(float[1,3] x) => (float[1,3] y) {
            y = If (k) <then_branch = t () => (float[1,3] r) <float[3] w = {1.0, 2.0, 3.0}> { r = Mul(x, w) },
                        else_branch = e () => (float[1,3] r) <float[3] w = {0.0, 0.0, 0.0}> { r = Mul(x, w) }> }""",
        k=np.array([True]),
    )
    after = apply(before, *DEFAULT)
    assert operators(after) == ["Mul"]
    assert_same(before, after, *SAMPLES)


def test_a_bound_input_lets_an_if_fold() -> None:
    before = graph(
        """(int64 sr, float[1,3] x) => (float[1,3] y) {
            c = Equal(sr, k) y = If (c) <then_branch = t () => (float[1,3] r) { r = Exp(x) },
                                         else_branch = e () => (float[1,3] q) { q = Neg(x) }> }""",
        k=np.array(16000),
    )
    fast = apply(before, BindValues((("sr", 16000),)), *DEFAULT)
    assert operators(fast) == ["Exp"]
    assert [s.name for s in fast.signature.inputs] == ["x"]
    assert operators(apply(before, BindValues((("sr", 8000),)), *DEFAULT)) == ["Neg"]
    np.testing.assert_allclose(
        evaluate(fast, SAMPLES[0])[0], evaluate(before, {**SAMPLES[0], "sr": np.array(16000)})[0], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((("rate", 1),), "there is no input 'rate' to bind.*the inputs are: sr, x"),
        ((("sr", (1, 2)),), r"sr: int64\[\] cannot be bound.*shape \[2\]"),
        ((("sr", 1.5),), "that is no int64"),
        ((("sr", "a"),), "cannot be bound"),
        ((("x", (1.0, 2.0)),), r"shape \[2\]"),
    ],
)
def test_values_that_do_not_fit_an_input_are_refused(values: tuple[tuple[str, object], ...], message: str) -> None:
    before = graph("(int64 sr, float[1,3] x) => (float[1,3] y, int64 z) { y = Relu(x) z = Neg(sr) }")
    with pytest.raises(InvalidInput, match=message):
        BindValues(values)(before)  # type: ignore[arg-type]


# ---- functions ---------------------------------------------------------------------------------


def _with_functions(functions: list[onnx.FunctionProto], nodes: list[onnx.NodeProto], opset: int = 17) -> Program:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xy")
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    whole = helper.make_graph(nodes, "g", [x], [y])
    return program(helper.make_model(whole, opset_imports=imports, functions=functions, ir_version=8))


def _function(name: str, body: list[onnx.NodeProto], inputs: str, outputs: str, opset: int = 17) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, inputs.split(), outputs.split(), body, imports)


def _call(name: str, inputs: str, outputs: str) -> onnx.NodeProto:
    return helper.make_node(name, inputs.split(), outputs.split(), domain="local")


def test_functions_are_inlined_through_calls_of_calls_and_opsets_that_mean_the_same() -> None:
    inner = _function("Inner", [helper.make_node("Exp", ["a"], ["b"])], "a", "b", opset=15)
    outer = _function("Outer", [_call("Inner", "p", "q"), helper.make_node("Neg", ["q"], ["r"])], "p", "r")
    before = _with_functions([inner, outer], [_call("Outer", "x", "h"), _call("Outer", "h", "y")])
    after = apply(before, UniqueNames(), InlineFunctions())
    assert operators(after) == ["Exp", "Neg", "Exp", "Neg"]
    assert not after.model.functions
    np.testing.assert_allclose(evaluate(after, {"x": X})[0], -np.exp(-np.exp(X)), rtol=1e-6)


def test_a_function_that_passes_its_input_through_does_not_rename_it() -> None:
    pair = _function("Pair", [helper.make_node("Abs", ["a"], ["b"])], "a", "a b")
    before = _with_functions(
        [pair], [_call("Pair", "x", "same other"), helper.make_node("Add", ["same", "other"], ["y"])]
    )
    after = apply(before, *DEFAULT)
    assert operators(after) == ["Abs", "Add"]
    assert [s.name for s in after.signature.inputs] == ["x"]
    np.testing.assert_allclose(evaluate(after, {"x": X})[0], X + np.abs(X))


@pytest.mark.parametrize(
    ("functions", "why"),
    [
        ([_function("F", [_call("F", "a", "b")], "a", "b")], "it calls itself"),
        (
            [_function("F", [_call("G", "a", "b")], "a", "b"), _function("G", [_call("F", "a", "b")], "a", "b")],
            "it calls itself",
        ),
        ([_function("F", [helper.make_node("Softmax", ["a"], ["b"])], "a", "b", opset=12)], "written for opset 12"),
    ],
)
def test_a_function_that_cannot_be_inlined_stays_with_a_note(functions: list[onnx.FunctionProto], why: str) -> None:
    before = _with_functions(functions, [_call("F", "x", "y")])
    after = apply(before, InlineFunctions())
    assert operators(after) == ["F"]
    assert why in after.notes[0]
    assert InlineFunctions()(after) is after


# ---- initializers as inputs --------------------------------------------------------------------


def test_initializers_listed_as_inputs_are_constants() -> None:
    """Up to IR 3 they all had to be listed; a program's signature never had them."""
    proto = onnx.parser.parse_model(
        '<ir_version: 3, opset_import: ["" : 14]> g (float[1,3] x, float[3] w) => (float[1,3] y) { y = Mul(x, w) }'
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w"))
    before = program(proto)
    after = apply(before, InitializerInputs())
    assert [v.name for v in after.model.graph.inputs] == ["x"]
    assert after.signature == before.signature
    assert after.model.ir_version == 8
    assert InitializerInputs()(after) is after
    np.testing.assert_allclose(evaluate(after, {"x": X})[0], X * [1, 2, 3])


# ---- common values -----------------------------------------------------------------------------


def test_equal_nodes_and_equal_initializers_are_one() -> None:
    before = graph(
        "(float[1,3] x) => (float[1,3] y) { a = Mul(x, v) b = Mul(x, w) c = Exp(a) d = Exp(b) y = Sub(c, d) }",
        v=np.array([1, 2, 3], np.float32),
        w=np.array([1, 2, 3], np.float32),
    )
    after = apply(before, CommonValues())
    assert operators(after) == ["Mul", "Exp", "Sub"]
    assert list(after.model.graph.initializers) == ["v"]


def test_bodies_use_what_is_computed_around_them_and_not_the_other_way_round() -> None:
    before = graph(
        """(bool c, float[1,3] x) => (float[1,3] y, float[1,3] z) {
            a = Exp(x)
            y = If (c) <then_branch = t () => (float[1,3] r) { b = Exp(x) n = Sin(x) r = Add(b, n) },
                        else_branch = e () => (float[1,3] q) { m = Sin(x) q = Sub(m, x) }>
            z0 = Sin(x) z = Mul(z0, a) }"""
    )
    after = apply(before, CommonValues())
    assert operators(after) == ["Exp", "If", "Sin", "Add", "Sin", "Sub", "Sin", "Mul"]
    for condition in (True, False):
        assert_same(before, after, *({**feeds, "c": np.array(condition)} for feeds in SAMPLES))


@pytest.mark.parametrize(
    "pair",
    [
        "a = RandomUniform <shape = [1,3]> () b = RandomUniform <shape = [1,3]> ()",
        "a = RandomNormalLike(x) b = RandomNormalLike(x)",
        "a = Bernoulli(x) b = Bernoulli(x)",
        "a = LeakyRelu <alpha = 0.1> (x) b = LeakyRelu <alpha = 0.2> (x)",
        "a = Sub(x, w) b = Sub(w, x)",
        "a = org.example.Counter(x) b = org.example.Counter(x)",
    ],
)
def test_what_may_differ_stays_apart(pair: str) -> None:
    text = f"(float[1,3] x) => (float[1,3] y) {{ {pair} y = Add(a, b) }}"
    before = graph(text, 17, ', "org.example" : 1', w=np.ones(3, np.float32))
    assert len(operators(apply(before, CommonValues()))) == 3


def test_attributes_of_different_types_differ() -> None:
    before = graph(
        "(float[1,3] x) => (float[1,3] y) { a = ai.onnx.ml.Scaler(x) b = ai.onnx.ml.Scaler(x) y = Add(a, b) }",
        17,
        ', "ai.onnx.ml" : 1',
    )
    nodes = list(before.nodes())
    nodes[0].attributes["n"] = ir.AttrInt64("n", 1)
    nodes[1].attributes["n"] = ir.AttrFloat32("n", 1.0)
    assert len(operators(apply(before, CommonValues()))) == 3
    nodes[1].attributes["n"] = ir.AttrInt64("n", 1)
    assert len(operators(apply(before, CommonValues()))) == 2


def test_equal_outputs_keep_both_their_names() -> None:
    before = graph("(float[1,3] x) => (float[1,3] y, float[1,3] z, float[1,3] w) { y = Exp(x) z = Exp(x) w = Neg(z) }")
    after = apply(before, *DEFAULT)
    assert operators(after) == ["Exp", "Identity", "Neg"]
    assert_same(before, after, *SAMPLES)


def test_initializers_of_other_dtype_or_sign_of_zero_differ() -> None:
    before = graph(
        """(float[1,3] x) => (float[1,3] y) {
            a = Div(x, v) b = Div(x, w) c = Max(a, b) i = Cast <to = 1> (n) y = Add(c, i) }""",
        v=np.zeros(1, np.float32),
        w=np.negative(np.zeros(1, np.float32)),
        n=np.zeros(1, np.int32),
    )
    assert set(apply(before, CommonValues()).model.graph.initializers) == {"v", "w", "n"}


# ---- dead code ---------------------------------------------------------------------------------


def test_dead_nodes_initializers_and_imports_go_and_unused_inputs_stay() -> None:
    before = graph(
        """(float[1,3] x, float[2] unused) => (float[1,3] y) {
            a = Exp(x) b = org.example.Watch(a) c = Mul(b, w) y = Neg(x) }""",
        17,
        ', "org.example" : 1, "com.microsoft" : 1',
        w=np.ones(3, np.float32),
    )
    after = apply(before, DeadCode())
    assert operators(after) == ["Neg"]
    assert not after.model.graph.initializers
    assert after.model.opset_imports == {"": 17}
    assert [s.name for s in after.signature.inputs] == ["x", "unused"]
    assert DeadCode()(after) is after


def test_optional_results_and_initializers_of_bodies_that_nobody_reads_go() -> None:
    rng = np.random.default_rng(0)
    before = graph(
        """(float[4,1,2] s, bool c) => (float[1,1,3] h, float[2] z) {
            y, h, k = LSTM <hidden_size = 3> (s, w, r)
            z = If (c) <then_branch = t () => (float[2] q) <float[2] u = {1.0, 2.0}> { q = Neg(u) },
                        else_branch = e () => (float[2] p) <float[2] v = {1.0, 2.0}> { p = Exp(v) }> }""",
        w=rng.standard_normal((1, 12, 2)).astype(np.float32),
        r=rng.standard_normal((1, 12, 3)).astype(np.float32),
    )
    branch = next(n for n in before.nodes() if n.op_type == "If").attributes["then_branch"].as_graph()
    branch.register_initializer(ir.Value(name="dead", const_value=ir.tensor(np.zeros(9, np.float32))))
    after = apply(before, DeadCode())
    lstm = next(n for n in after.nodes() if n.op_type == "LSTM")
    assert [v.name for v in lstm.outputs] == ["", "h"]
    assert sum(len(g.initializers) for g in after.model.graphs()) == 4
    samples = [{"s": rng.standard_normal((4, 1, 2)).astype(np.float32), "c": np.array(True)} for _ in range(2)]
    assert_same(before, after, *samples)


def test_nodes_of_other_domains_are_left_as_they_are() -> None:
    before = graph(
        """(float[1,3] x) => (float[1,3] y) {
            k = Constant <value_float = 1.0> () a = org.example.Odd <n = 3> (x, k) y = Neg(a) }""",
        17,
        ', "org.example" : 1',
    )
    node = next(n for n in before.nodes() if n.op_type == "Odd")
    node.resize_inputs(4)
    after = apply(before, *DEFAULT)
    odd = next(n for n in after.nodes() if n.op_type == "Odd")
    assert [v and v.name for v in odd.inputs] == ["x", "k", None, None]
    assert odd.attributes["n"].as_int() == 3


# ---- spellings ---------------------------------------------------------------------------------


def test_range_takes_scalars() -> None:
    before = graph(
        "(int64[1] x) => (int64[3] y) { r = Range(a, b, c) y = Add(r, x) }",
        a=np.array([1]),
        b=np.array([7]),
        c=np.array(2),
    )
    after = apply(before, Legalize())
    node = next(n for n in after.nodes() if n.op_type == "Range")
    assert [v.shape is not None and v.shape.rank() for v in node.inputs if v is not None] == [0, 0, 0]
    assert evaluate(after, {"x": np.array([10])})[0].tolist() == [11, 13, 15]


def test_empty_constants_leave_a_concat() -> None:
    before = graph(
        '(float["n",4] x) => (float y) { s = Shape(x) c = Concat <axis = 0> (s, none) y = Expand(x, c) }',
        none=np.zeros(0, np.int64),
    )
    after = apply(before, Legalize())
    assert [len(n.inputs) for n in after.nodes() if n.op_type == "Concat"] == [1]
    assert operators(apply(before, *DEFAULT)) == ["Shape", "Expand"]
    samples = [{"x": np.full((3, 4), v, np.float32)} for v in (1, 2)]
    assert_same(before, apply(before, *DEFAULT), *samples)


def test_lifting_keeps_names_so_nothing_is_lost_on_the_way() -> None:
    before = graph("(float[1,3] x) => (float[1,3] y) { k = Constant <value = float[1] {2.0}> () y = Mul(x, k) }")
    after = apply(before, LiftConstants())
    assert list(after.model.graph.initializers) == ["k"]
    assert LiftConstants()(after) is after
