"""Constants and shapes: what folds, what must not, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from pass_programs import apply, assert_same, evaluate, graph, operators

from neoc.compile.passes import DEFAULT, DeadCode, FoldConstants, FoldShapes, InferShapes, LiftConstants, Repeat, run
from neoc.compile.passes.native import TOOLS, NativeError
from neoc.compile.program import Program

FOLD = (LiftConstants(), Repeat((InferShapes(), FoldShapes(), FoldConstants(), DeadCode())))


def _constant(program: Program, name: str) -> np.ndarray:
    tensor = program.model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


# ---- constants ---------------------------------------------------------------------------------


def test_arithmetic_on_constants_folds_and_the_rest_stays() -> None:
    before = graph(
        "(float[3] x) => (float[3] y) { s = Add(a, b) t = Exp(s) y = Mul(x, t) }",
        a=np.array([0.0, 1.0, 2.0], np.float32),
        b=np.array([0.5], np.float32),
    )
    after = apply(before, *FOLD)
    assert operators(after) == ["Mul"]
    np.testing.assert_allclose(_constant(after, "t"), np.exp([0.5, 1.5, 2.5]), rtol=1e-6)
    assert_same(before, after, {"x": np.ones(3, np.float32)}, {"x": np.full(3, 2, np.float32)})


def test_integer_division_rounds_towards_zero() -> None:
    before = graph(
        "(int64[1] x) => (int64[2] y) { d = Div(a, b) y = Add(d, x) }", a=np.array([-7, 7]), b=np.array([2, -2])
    )
    after = apply(before, *FOLD)
    assert operators(after) == ["Add"]
    assert _constant(after, "d").tolist() == [-3, -3]
    assert_same(before, after, {"x": np.array([0])}, {"x": np.array([5])})


@pytest.mark.parametrize(
    ("node", "tensors"),
    [
        ("Div(a, b)", {"a": np.array([7]), "b": np.array([0])}),
        ("Div(a, b)", {"a": np.array([1.0], np.float32), "b": np.array([0.0], np.float32)}),
        ("Log(a)", {"a": np.array([-1.0], np.float32)}),
        ("Exp(a)", {"a": np.array([1000.0], np.float32)}),
        ("Sub(a, a)", {"a": np.array([np.inf], np.float32)}),
        ("Cast <to = 2> (a)", {"a": np.array([-1.5], np.float32)}),
        ("Cast <to = 7> (a)", {"a": np.array([np.nan], np.float32)}),
        ("Gather(a, b)", {"a": np.array([1.0], np.float32), "b": np.array([3])}),
        ("Reshape(a, b)", {"a": np.array([1.0], np.float32), "b": np.array([3])}),
    ],
)
def test_what_has_no_plain_answer_is_left_to_the_engine(node: str, tensors: dict[str, np.ndarray]) -> None:
    before = graph(
        f"(float[1] x) => (float[1] y, float[1] z) {{ y = Identity(x) c = {node} z = CastLike(c, x) }}", **tensors
    )
    after = apply(before, *FOLD)
    assert node.split("(")[0].split(" ")[0] in operators(after)


def test_infinities_and_nans_that_are_there_already_fold() -> None:
    before = graph(
        "(float[4] x) => (float[4] y) { m = Where(k, zero, low) y = Add(x, m) }",
        k=np.array([True, False, True, False]),
        zero=np.array(0.0, np.float32),
        low=np.array(-np.inf, np.float32),
    )
    after = apply(before, *FOLD)
    assert _constant(after, "m").tolist() == [0.0, -np.inf, 0.0, -np.inf]


def test_random_numbers_are_never_folded() -> None:
    before = graph("(float[2] x) => (float[2] y) { r = RandomUniform <shape = [2], seed = 1.0> () y = Add(x, r) }")
    assert operators(apply(before, *DEFAULT)) == ["RandomUniform", "Add"]
    like = graph("(float[2] x) => (float[2] y) { r = RandomNormalLike(a) y = Add(x, r) }", a=np.zeros(2, np.float32))
    assert operators(apply(like, *DEFAULT)) == ["RandomNormalLike", "Add"]


def test_growth_is_bounded() -> None:
    before = graph(
        "(float[1] x) => (float[1000,1000] y) { c = ConstantOfShape <value = float[1] {3.0}> (s) y = Add(c, x) }",
        s=np.array([1000, 1000]),
    )
    assert operators(apply(before, *DEFAULT)) == ["ConstantOfShape", "Add"]
    assert operators(apply(before, InferShapes(), FoldConstants(limit=4_000_000))) == ["Add"]


def test_a_large_tensor_that_vanishes_with_the_node_may_be_as_large_again() -> None:
    weight = np.random.default_rng(0).standard_normal((600, 700)).astype(np.float32)
    before = graph("(float[2,600] x) => (float[2,700] y) { t = Transpose(w) y = MatMul(x, t) }", w=weight.T.copy())
    after = apply(before, *DEFAULT)
    assert operators(after) == ["MatMul"]
    np.testing.assert_array_equal(_constant(after, "t"), weight)
    shared = graph(
        "(float[2,600] x, float[2,700] z) => (float[2,700] y, float[2,600] u) "
        "{ t = Transpose(w) y = MatMul(x, t) u = MatMul(z, w) }",
        w=weight.T.copy(),
    )
    assert operators(apply(shared, *DEFAULT)) == ["Transpose", "MatMul", "MatMul"]


def test_int8_weights_stay_int8() -> None:
    weights = np.arange(-24, 24, dtype=np.int8).reshape(6, 8)
    before = graph(
        """(float[2,6] x) => (float[2,8] y) {
            q = QuantizeLinear(x, xs, xz)  d = DequantizeLinear(q, xs, xz)
            wt = Transpose(w)  wd = DequantizeLinear(wt, ws, wz)
            y = MatMul(d, wd) }""",
        w=weights.T.copy(),
        xs=np.array(0.02, np.float32),
        xz=np.array(3, np.int8),
        ws=np.array(0.01, np.float32),
        wz=np.array(0, np.int8),
    )
    after = apply(before, *DEFAULT)
    assert operators(after) == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "MatMul"]
    np.testing.assert_array_equal(_constant(after, "wt"), weights)
    rng = np.random.default_rng(0)
    assert_same(before, after, *({"x": rng.standard_normal((2, 6)).astype(np.float32)} for _ in range(2)))


def test_weights_decompressed_by_a_cast_stay_int8() -> None:
    before = graph(
        "(float[2,6] x) => (float[2,8] y) { f = Cast <to = 1> (w) s = Mul(f, k) y = MatMul(x, s) }",
        w=np.arange(48, dtype=np.uint8).reshape(6, 8),
        k=np.array(0.1, np.float32),
    )
    assert operators(apply(before, *DEFAULT)) == ["Cast", "Mul", "MatMul"]


def test_a_folded_output_is_made_by_a_constant() -> None:
    before = graph("(float[2] x) => (float[2] y, int64[1] n) { y = Relu(x) n = Shape(x) }")
    after = apply(before, *DEFAULT)
    assert operators(after) == ["Relu", "Constant"]
    x = np.array([-1.0, 2.0], np.float32)
    y, n = evaluate(after, {"x": x})
    assert y.tolist() == [0.0, 2.0]
    assert n.tolist() == [2]


def test_nodes_with_several_results_fold() -> None:
    before = graph(
        "(float[2] x) => (float[2] y) { a, b = Split <axis = 0> (w) c = Sub(a, b) y = Mul(x, c) }",
        13,
        w=np.arange(4, dtype="f"),
    )
    after = apply(before, *FOLD)
    assert operators(after) == ["Mul"]
    assert _constant(after, "c").tolist() == [-2.0, -2.0]


def test_an_unused_first_part_does_not_change_a_split() -> None:
    before = graph(
        "(float[2] x) => (float[2] y) { a, b, c = Split <axis = 0> (w) y = Mul(x, c) }", 13, w=np.arange(6, dtype="f")
    )
    after = apply(before, *FOLD)
    assert _constant(after, "c").tolist() == [4.0, 5.0]


def test_every_spelling_of_a_constant_is_lifted() -> None:
    before = graph(
        """(float[2] x) => (float[2] y, string[2] t) {
            a = Constant <value_float = 2.5> ()  b = Constant <value_floats = [1.0, 2.0]> ()
            c = Constant <value_int = 3> ()      d = Constant <value_ints = [0, 1]> ()
            e = Constant <value_string = "é"> ()
            m = Mul(x, a) n = Add(m, b) k = CastLike(c, x) o = Sub(n, k) y = Gather(o, d) i = Identity(x)
            s = Expand(e, two) t = Identity(s) }""",
        two=np.array([2]),
    )
    after = apply(before, LiftConstants())
    assert "Constant" not in operators(after)
    x = np.array([1.0, 3.0], np.float32)
    y, t = evaluate(after, {"x": x})
    assert y.tolist() == [0.5, 6.5]
    assert t.tolist() == ["é", "é"]


# ---- shapes ------------------------------------------------------------------------------------


def test_a_chain_of_shape_arithmetic_is_one_constant_once_shapes_are_bound() -> None:
    text = """(float[{}] x) => (float y) {{
        s = Shape(x) i = Constant <value_int = 0> () n = Gather(s, i) u = Unsqueeze(n, zero)
        m = Mul(four, two) c = Concat <axis = 0> (u, m) y = Reshape(x, c) }}"""
    constants = {"zero": np.array([0]), "four": np.array([4]), "two": np.array([2])}
    after = apply(graph(text.format("3,8"), **constants), *FOLD)
    assert operators(after) == ["Reshape"]
    assert _constant(after, "c").tolist() == [3, 8]


def _target(of: Program) -> list[int]:
    assert operators(of) == ["Reshape"]
    node = next(of.nodes())
    tensor = node.inputs[1].const_value if node.inputs[1] is not None else None
    assert tensor is not None
    return tensor.numpy().tolist()


SIZES = {"zero": np.array([0]), "minus": np.array([-1]), "two": np.array([2]), "eight": np.array([8])}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("n, m, two, four", [0, 0, 2, 4]),  # both copied
        ("n, eightm", None),  # the second is no dimension of x, and -1 for it does not go with 0
        ("m, eight, n", None),  # neither stands where it stood
        ("n, minus, two", None),  # -1 is taken
        ("eight, m, n", None),
    ],
)
def test_the_target_of_a_reshape_copies_dimensions(target: str, expected: list[int] | None) -> None:
    before = graph(
        f"""(float["n","m",8] x) => (float y) {{
            s = Shape(x) n = Gather(s, zero) m = Gather(s, one) eightm = Mul(m, eight)
            c = Concat <axis = 0> ({target}) y = Reshape(x, c) }}""",
        one=np.array([1]),
        four=np.array([4]),
        **SIZES,
    )
    after = apply(before, *FOLD)
    if expected is None:
        assert "Shape" in operators(after)
    else:
        assert _target(after) == expected
    samples = [{"x": np.random.default_rng(k).standard_normal((3, 5, 8)).astype(np.float32)} for k in (0, 1)]
    assert_same(before, after, *samples)


def test_one_dimension_that_is_not_copied_is_what_is_left() -> None:
    before = graph(
        """(float["n",4,6] x, float["k",2] z) => (float y) {
            s = Shape(x) n = Gather(s, zero) t = Transpose <perm = [1, 0, 2]> (x)
            c = Concat <axis = 0> (two, two, n, six) y = Reshape(t, c) }""",
        six=np.array([6]),
        **SIZES,
    )
    after = apply(before, *FOLD)
    assert operators(after) == ["Transpose", "Reshape"]
    samples = [{"x": np.full((3, 4, 6), v, np.float32), "z": np.zeros((1, 2), np.float32)} for v in (1, 2)]
    assert_same(before, after, *samples)


def test_dimensions_of_one_name_are_one_dimension() -> None:
    text = """(float["n",6] x, float["{}",9] z) => (float y) {{
        s = Shape(z) n = Gather(s, zero) c = Concat <axis = 0> (n, two, minus) y = Reshape(x, c) }}"""
    same = apply(graph(text.format("n").replace("minus)", "three)"), three=np.array([3]), **SIZES), *FOLD)
    assert _target(same) == [0, 2, 3]
    assert same.signature.outputs[0].shape == ("n", 2, 3)
    other = apply(graph(text.format("m").replace("minus)", "three)"), three=np.array([3]), **SIZES), *FOLD)
    assert _target(other) == [-1, 2, 3]


@pytest.mark.parametrize("index", ["scalar", "vector"])
def test_dimensions_without_a_name_are_followed_too(index: str) -> None:
    pick = "g = Gather(s, i0) n = Unsqueeze(g, zero)" if index == "scalar" else "n = Gather(s, zero)"
    before = graph(
        f"""(float[a,4,6] x) => (float y) {{
            s = Shape(x) {pick} c = Concat <axis = 0> (n, rest) y = Reshape(x, c) }}""",
        i0=np.array(0),
        rest=np.array([6, 4]),
        **SIZES,
    )
    value = before.model.graph.inputs[0]
    value.shape = ir.Shape([None, 4, 6])
    assert _target(apply(before, *FOLD)) == [0, 6, 4]


def test_an_empty_batch_still_reshapes() -> None:
    before = graph(
        """(float["n",4,6] x) => (float y) {
            s = Shape(x) n = Gather(s, zero) c = Concat <axis = 0> (n, rest) y = Reshape(x, c) }""",
        rest=np.array([24]),
        **SIZES,
    )
    after = apply(before, *FOLD)
    assert _target(after) == [0, 24]
    assert evaluate(after, {"x": np.zeros((0, 4, 6), np.float32)})[0].shape == (0, 24)


def test_one_known_dimension_of_a_dynamic_tensor_is_enough_to_pick_it() -> None:
    before = graph(
        """(float["n",12] x, float[12] z) => (float y) {
            s = Shape(x) d = Gather(s, one) f = Cast <to = 1> (d) r = Sqrt(f) y = Div(z, r) }""",
        one=np.array([1]),
    )
    after = apply(before, *FOLD)
    assert operators(after) == ["Div"]
    np.testing.assert_allclose(_constant(after, "r"), [np.sqrt(12)], rtol=1e-6)


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("c = Slice(s, one, three)", [5, 7]),
        ("c = Slice(s, one, minus, zero, two)", [5]),
        ("t = Slice(s, one, three) c = Mul(t, two)", [10, 14]),
        ("t = Gather(s, three) u = Squeeze(t, zero) v = Unsqueeze(u, zero) c = Sub(v, one)", [8]),
        ("t = Cast <to = 6> (s) u = Slice(t, one, three) c = Cast <to = 7> (u)", [5, 7]),
        ("c = Shape <start = 1, end = -1> (x)", [5, 7]),
        ("t = Concat <axis = 0> (s, two) c = Slice(t, three, big)", [9, 2]),
    ],
)
def test_elements_are_followed_one_by_one(chain: str, expected: list[int]) -> None:
    before = graph(
        f"""(float["n",5,7,9] x, int64[1] k) => (int64 y) {{ s = Shape(x) {chain} y = Add(c, k) }}""",
        one=np.array([1]),
        two=np.array([2]),
        three=np.array([3]),
        zero=np.array([0]),
        minus=np.array([-1]),
        big=np.array([2**62]),
    )
    after = apply(before, *FOLD)
    assert operators(after) == ["Add"]
    assert _constant(after, "c").tolist() == expected
    x = np.zeros((2, 5, 7, 9), np.float32)
    assert_same(before, after, {"x": x, "k": np.array([0])}, {"x": x, "k": np.array([1])})


def test_an_unknown_dimension_stays_unknown() -> None:
    before = graph(
        """(float["n",5] x, int64[1] k) => (int64 y) { s = Shape(x) c = Gather(s, zero) y = Add(c, k) }""",
        zero=np.array([0]),
    )
    assert operators(apply(before, *FOLD)) == ["Shape", "Gather", "Add"]


def test_shapes_that_the_source_declares_are_not_believed() -> None:
    """A stale annotation of an intermediate value, or of an output, must not end up in a constant."""
    text = """(float["n",4] x) => (float[9,4] y, int64[2] s, int64[2] t) <float[7,4] a> {
        a = Relu(x) y = Neg(a) u = Shape(a) s = Identity(u) v = Shape(y) t = Identity(v) }"""
    before = graph(text)
    after = apply(before, *DEFAULT)
    x = np.ones((3, 4), np.float32)
    _, s, t = evaluate(after, {"x": x})
    assert s.tolist() == [3, 4]
    assert t.tolist() == [3, 4]


# ---- inference ---------------------------------------------------------------------------------


def test_inference_finds_dtypes_and_shapes_and_keeps_the_names_of_dimensions() -> None:
    before = graph('(float["n",3] x) => (float y) { a = MatMul(x, w) y = Softmax(a) }', w=np.ones((3, 5), np.float32))
    after = apply(before, InferShapes())
    assert [str(s) for s in after.signature.outputs] == ["y: float32[n,5]"]
    assert InferShapes()(after) is after


def test_a_promised_output_shape_stays_where_nothing_better_is_known() -> None:
    before = graph('(float["n"] x, int64[2] s) => (float["a",4] y) { y = Reshape(x, s) }')
    assert [str(s) for s in apply(before, InferShapes()).signature.outputs] == ["y: float32[a,4]"]


def test_inference_reaches_into_bodies() -> None:
    before = graph(
        """(bool c, float[2,3] x) => (float y) {
            y = If (c) <then_branch = t () => (float r) { r = Transpose(x) },
                        else_branch = e () => (float q) { q = Sum(x, x) }> }"""
    )
    after = apply(before, InferShapes())
    shapes = {n.op_type: n.outputs[0].shape for n in after.nodes()}
    assert shapes["Transpose"] == ir.Shape([3, 2])
    assert shapes["Sum"] == ir.Shape([2, 3])


def test_a_model_above_2_gb_goes_through_without_a_byte_of_it_being_read() -> None:
    def never() -> ir.TensorProtocol:
        raise AssertionError("a pass read a large tensor")

    before = graph(
        """(float[2,30000] x) => (float y) {
            s = Shape(w) n = Gather(s, one) m = MatMul(x, w) k = Concat <axis = 0> (minus, n) y = Reshape(m, k) }""",
        one=np.array([1]),
        minus=np.array([-1]),
    )
    large = ir.LazyTensor(never, ir.DataType.FLOAT, ir.Shape([30000, 20000]), name="w")
    assert large.nbytes == 2_400_000_000
    value = ir.Value(name="w", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([30000, 20000]), const_value=large)
    for reader in before.nodes():
        for index, read in enumerate(reader.inputs):
            if read is not None and read.name == "w":
                reader.replace_input_with(index, value)
    before.model.graph.register_initializer(value)
    after = run(before, DEFAULT)
    assert operators(after) == ["MatMul"]
    assert after.signature.outputs[0].shape == (2, 20000)


def test_inference_that_fails_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise NativeError("[TypeInferenceError] no way\nmore")

    monkeypatch.setattr(TOOLS, "infer", fail)
    before = graph("(float[2] x) => (float[2] y) { y = Relu(x) }")
    after = apply(before, InferShapes())
    assert after.notes == ("shape inference failed: [TypeInferenceError] no way",)
    assert InferShapes()(after) is after
