"""Made-up inputs: what each role gives, that feeds differ and repeat, and that real models take them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import ml_dtypes
import model_files
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from neoc.compile import inputs
from neoc.compile.contracts import FeedCheck
from neoc.compile.errors import InvalidInput
from neoc.compile.frontends import load
from neoc.compile.options import InputBinding
from neoc.compile.program import Program

Feed = dict[str, np.ndarray]


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    def make(text: str, **weights: np.ndarray) -> Program:
        text = text.replace("'", '"')
        return load(model_files.write(tmp_path / "m.onnx", text, None, **weights), {})

    return make


def feeds(program: Program, count: int = 4, seed: int = 0, **sizes: int) -> list[Feed]:
    made = inputs.generate(program, seed, count, sizes or None)
    for feed in made:
        FeedCheck(program.signature.inputs).check(feed)
        assert all(array.flags.c_contiguous for array in feed.values())
    return made


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


# ---- feeds as such ---------------------------------------------------------------------------------


def test_feeds_differ_and_repeat(tmp_path: Path) -> None:
    program = load(model_files.affine(tmp_path / "m.onnx"), {})
    first, second = feeds(program, 2)
    assert not np.array_equal(first["x"], second["x"])
    again = feeds(program, 2)
    np.testing.assert_array_equal(first["x"], again[0]["x"])
    np.testing.assert_array_equal(second["x"], again[1]["x"])
    assert not np.array_equal(first["x"], feeds(program, 1, seed=1)[0]["x"])
    assert len(feeds(program, 5)) == 5


def test_inputs_of_one_shape_differ_from_each_other(program: Callable[..., Program]) -> None:
    (feed,) = feeds(program("g (float[8] a, float[8] b) => (float[8] y) { y = Add (a, b) }"), 1)
    assert not np.array_equal(feed["a"], feed["b"])


def test_one_name_has_one_size(program: Callable[..., Program]) -> None:
    text = "g (float[N,T] a, float[T,N] b, float[M] c) => (float[N,N] y, float[M] z) { y = MatMul (a, b) z = Neg (c) }"
    made = program(text)
    made.model.graph.inputs[2].shape = ir.Shape(["2*T"])
    for sizes in inputs.candidates(made, 0):
        (feed,) = feeds(made, 1, **sizes)
        assert feed["a"].shape == feed["b"].shape[::-1] == (sizes["N"], sizes["T"])
        assert feed["c"].shape == (2 * sizes["T"],)
    assert feeds(made, 1, N=5, T=7)[0]["c"].shape == (14,)


def test_unnamed_dimensions_are_set_by_place(program: Callable[..., Program]) -> None:
    made = program("g (float[N,3] x) => (float[N,3] y) { y = Relu (x) }")
    made.model.graph.inputs[0].shape = None
    sizes = next(inputs.candidates(made, 0))
    assert list(sizes) == ["x[0]"]
    assert feeds(made, 1, **{"x[0]": 6})[0]["x"].shape == (6,)


# ---- roles -----------------------------------------------------------------------------------------


def test_indices_stay_in_their_table(program: Callable[..., Program]) -> None:
    text = """g (int64[B,T] ids, int32[B,T] types) => (float[B,T,4] y) {
      e = Gather (table, ids)
      wide = Cast <to = 7> (types)  less = Sub (wide, one)  t = Gather (few, less)
      y = Add (e, t)
    }"""
    made = feeds(program(text, table=noise(30, 4), few=noise(2, 4), one=np.int64([1])), 20)
    ids = np.concatenate([feed["ids"].ravel() for feed in made])
    assert (ids.min(), ids.max()) == (0, 29)
    types = np.concatenate([feed["types"].ravel() for feed in made])
    assert set(types.tolist()) == {1, 2}  # one less is looked up


def test_an_index_into_another_input(program: Callable[..., Program]) -> None:
    text = "g (float[rows,3] data, int64[k] at) => (float[k,3] y) { y = Gather (data, at) }"
    made = feeds(program(text), 20, rows=5, k=50)
    assert set(np.concatenate([feed["at"] for feed in made]).tolist()) == set(range(5))


def test_one_hot_encodings(program: Callable[..., Program]) -> None:
    named = "g (int64[n] x) => (float[n,6] y) { y = OneHot (x, depth, values) }"
    made = feeds(program(named, depth=np.int64([6]), values=np.float32([0, 1])), 20)
    assert set(np.concatenate([feed["x"] for feed in made]).tolist()) == set(range(6))
    written = "g (int32[n,1] x) => (float[n,9] y) { e = Equal (x, all)  y = Cast <to = 1> (e) }"
    made = feeds(program(written, all=np.arange(9, dtype=np.int32).reshape(1, 9)), 60)
    assert set(np.concatenate([feed["x"].ravel() for feed in made]).tolist()) == set(range(9))


RATES = """g (float[1,T] x, int64 sr) => (float[1,T] y) {
  same = Equal (sr, rate)
  y = If (same) < then_branch = t () => (float[1,T] a) { a = Neg (x) }, else_branch = e () => (float[1,T] b) {
    other = Equal (sr, slow)  f = Cast <to = 1> (other)  b = Mul (x, f) } >
}"""


def test_a_sampling_rate_is_one_that_the_model_knows(program: Callable[..., Program]) -> None:
    made = program(RATES, rate=np.asarray(16000), slow=np.asarray(8000))
    assert [feed["sr"].item() for feed in feeds(made, 3)] == [16000] * 3
    assert isinstance(feeds(made, 1)[0]["sr"], np.ndarray)


def test_recurrent_states_begin_at_zero(program: Callable[..., Program]) -> None:
    text = """g (float[T,B,3] x, float[1,B,5] start, float[1,B,5] cell) => (float[T,1,B,5] y) {
      s = Squeeze (start, first)  h = Unsqueeze (s, first)  y = LSTM <hidden_size = 5> (x, w, r, , , h, cell)
    }"""
    made = program(text, w=noise(1, 20, 3), r=noise(1, 20, 5), first=np.int64([0]))
    zero, small = feeds(made, 2)
    assert not zero["start"].any()
    assert not zero["cell"].any()
    assert 0 < np.abs(small["start"]).max() < 1
    assert zero["x"].any()
    assert zero["start"].shape[1] == zero["x"].shape[1] == 1


def test_states_behind_the_body_of_an_if(program: Callable[..., Program]) -> None:
    text = """g (float[T,1,3] x, float[1,5] s, bool c) => (float[T,1,1,5] y) {
      v = If (c) < then_branch = t () => (float[1,5] a) { a = Identity (s) },
                   else_branch = e () => (float[1,5] b) { b = Identity (s) } >
      h = Unsqueeze (v, first)  y = GRU <hidden_size = 5> (x, w, r, , , h)
    }"""
    (zero, _) = feeds(program(text, w=noise(1, 15, 3), r=noise(1, 15, 5), first=np.int64([0])), 2)
    assert not zero["s"].any()
    assert zero["c"].item() is True


def test_masks(program: Callable[..., Program]) -> None:
    text = """g (int64[B,T] attention_mask, float[B,T] x) => (float[B,T] y) {
      m = Cast <to = 1> (attention_mask)  y = Mul (x, m) }"""
    ones, padded = feeds(program(text), 2, B=2, T=8)
    assert ones["attention_mask"].tolist() == [[1] * 8] * 2
    assert padded["attention_mask"].tolist() == [[1] * 6 + [0] * 2] * 2


def test_positions_count(program: Callable[..., Program]) -> None:
    text = "g (int64[1,T] position_ids) => (float[1,T,2] y) { y = Gather (table, position_ids) }"
    (feed,) = feeds(program(text, table=noise(10, 2)), 1, T=12)
    assert feed["position_ids"].tolist() == [[*range(10), 0, 1]]


def test_a_cache_and_its_mask_agree(program: Callable[..., Program]) -> None:
    text = """g (int64[batch_size,sequence_length] input_ids,
      int64[batch_size,total_sequence_length] attention_mask,
      float[batch_size,2,past_sequence_length,4] past_key) => (float[a,b,c] y) { y = Gather (table, input_ids) }"""
    for sizes in inputs.candidates(program(text, table=noise(100, 4)), 0):
        assert sizes["batch_size"] == 1
        assert sizes["total_sequence_length"] == sizes["past_sequence_length"] + sizes["sequence_length"]


# ---- pictures and sounds ---------------------------------------------------------------------------

PICTURE = "g (float[B,3,H,W] x) => (float[B,4,h,w] y) { y = Conv (x, k) }"


def test_pictures_are_smooth_with_strokes_and_noise(program: Callable[..., Program]) -> None:
    first, second = feeds(program(PICTURE, k=noise(4, 3, 3, 3)), 2)
    x = first["x"][0]
    assert x.shape == (3, 224, 224)
    assert -1 <= x.min() < -0.5
    assert 0.3 < x.max() <= 1
    # neighbours are alike in most places (smooth), very different in some (strokes), never equal (noise)
    step = np.abs(np.diff(x, axis=2))
    assert np.median(step) < 0.1
    assert (step > 0.7).mean() > 0.005
    assert (step == 0).mean() < 0.01
    assert np.abs(first["x"] - second["x"]).mean() > 0.05


@pytest.mark.parametrize(
    ("head", "text", "low", "high"),
    [
        ("uint8[1,3,32,32] x", "f = Cast <to = 1> (x) y = Conv (f, k)", 0, 255),
        ("float[1,3,32,32] x", "f = Div (x, most) y = Conv (f, k)", 0, 255),
        ("float[1,3,32,32] x", "f = Sub (x, middle) y = Conv (f, k)", 0, 255),
        ("float[1,3,32,32] x", "f = Mul (x, scale) y = Conv (f, k)", 0, 255),
        ("float[1,3,32,32] x", "f = Sub (x, mean) y = Conv (f, k)", 0, 1),
        ("float[1,32,32,3] x", "f = Transpose <perm = [0,3,1,2]> (x) y = Conv (f, k)", -1, 1),
    ],
)
def test_pixels_span_what_the_model_expects(
    program: Callable[..., Program], head: str, text: str, low: float, high: float
) -> None:
    constants = {"most": 255, "middle": 127.5, "scale": 1 / 255, "mean": 0.45}
    weights = {name: np.float32([value]) for name, value in constants.items()}
    (feed,) = feeds(program(f"g ({head}) => (float[1,4,30,30] y) {{ {text} }}", k=noise(4, 3, 3, 3), **weights), 1)
    span = high - low
    assert low <= feed["x"].min() < low + 0.3 * span
    assert high - 0.4 * span < feed["x"].max() <= high
    grey = feed["x"].astype(float)
    if head.endswith("32,3] x"):  # channels last: neighbouring pixels are alike, channels differ
        grey = np.moveaxis(grey, 3, 1)
    assert np.median(np.abs(np.diff(grey, axis=3))) < 0.1 * span


def test_channels_follow_from_the_weights(program: Callable[..., Program]) -> None:
    text = "g (float[B,C,H,W] x) => (float[B,4,h,w] y) { y = Conv <group = 2> (x, k) }"
    for sizes in inputs.candidates(program(text, k=noise(4, 3, 3, 3)), 0):
        assert sizes["C"] == 6
        assert sizes["B"] == 1


def test_features_follow_from_the_weights(program: Callable[..., Program]) -> None:
    text = "g (float[B,F] x) => (float[B,2] y) { t = Cast <to = 1> (x) y = Gemm <transB = 1> (t, w) }"
    assert next(inputs.candidates(program(text, w=noise(2, 11)), 0)) == {"B": 1, "F": 11}


def test_sounds(program: Callable[..., Program]) -> None:
    text = "g (float[B,S] x) => (float[B,4,t] y) { u = Unsqueeze (x, one) y = Conv (u, k) }"
    (feed,) = feeds(program(text, k=noise(4, 1, 16), one=np.int64([1])), 1, B=1, S=16000)
    spectrum = np.abs(np.fft.rfft(feed["x"][0]))
    assert 60 < spectrum.argmax() < 450  # one second: bins are hertz
    assert 0.05 < np.abs(feed["x"]).max() < 1


def test_rows_of_a_sound_follow_each_other(program: Callable[..., Program]) -> None:
    text = "g (float[frames,512] x) => (float[frames,4,t] y) { u = Unsqueeze (x, one) y = Conv (u, k) }"
    (feed,) = feeds(program(text, k=noise(4, 1, 16), one=np.int64([1])), 1, frames=20)
    wave = feed["x"].ravel()
    assert np.abs(np.diff(wave)).max() < 0.15  # no jump at the seams
    assert not np.array_equal(feed["x"][0], feed["x"][1])


# ---- other types -----------------------------------------------------------------------------------


def test_trees_see_values_around_their_thresholds(program: Callable[..., Program]) -> None:
    made = program("g (float[N,F] x) => (float[N,1] y) { y = Identity (x) }")
    attributes = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [2, 0, 0],
        "nodes_values": [500.0, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    }  # fmt: skip
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    value = made.model.graph.inputs[0]
    made.model.graph.append(
        ir.Node("ai.onnx.ml", node.op_type, [value], [ir.serde.deserialize_attribute(a) for a in node.attribute])
    )
    rows = np.concatenate([feed["x"] for feed in feeds(made, 50)])
    assert rows.shape[1] == 3
    assert (rows[:, 2] <= 500).any()
    assert (rows[:, 2] > 500).any()
    assert np.abs(rows[:, 2] - 500).max() < 100


def test_text_is_taken_from_what_the_encoder_knows(program: Callable[..., Program]) -> None:
    text = """g (string[n] x) => (int64[n] y) {
      y = ai.onnx.ml.LabelEncoder <keys_strings = ['cat', 'dog'], values_int64s = [1, 2]> (x) }"""
    words = np.concatenate([feed["x"] for feed in feeds(program(text), 20)])
    assert set(words.tolist()) == {"cat", "dog"}


ALL_DTYPES = [k for k in TensorProto.DataType.values() if k not in (TensorProto.UNDEFINED,)]


@pytest.mark.parametrize("dtype", ALL_DTYPES, ids=[TensorProto.DataType.Name(d) for d in ALL_DTYPES])
def test_every_dtype(tmp_path: Path, dtype: int) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = dtype
        model.ir_version = onnx.IR_VERSION

    text = "g (float[4,16] x) => (float[4,16] y) { y = Frobnicate (x) }"
    first, second = feeds(load(model_files.write(tmp_path / "m.onnx", text, change), {}), 2)
    assert first["x"].shape == (4, 16)
    assert not np.array_equal(first["x"], second["x"])
    if first["x"].dtype == ml_dtypes.int4:
        assert first["x"].astype(int).min() < 0


def test_operands_are_what_their_operator_takes(program: Callable[..., Program]) -> None:
    text = """g (float[2,6] x, int64[2] shape, int64[1] k, int64[2] repeats, int64[2] ends) =>
      (float[a,b] r, float[2,1] t, int64[2,1] i, float[c,d] w, float[e,f] s) {
      r = Reshape (x, shape)  t, i = TopK (x, k)  w = Tile (x, repeats)  s = Slice (x, zeros, ends) }"""
    (feed,) = feeds(program(text, zeros=np.int64([0, 0])), 1)
    assert feed["shape"].tolist() == [-1, 1]
    assert feed["k"].tolist() == [1]
    assert feed["repeats"].tolist() == [1, 1]
    assert min(feed["ends"].tolist()) > 6


# ---- limits ----------------------------------------------------------------------------------------


def test_what_cannot_be_made_up_asks_for_data(tmp_path: Path, program: Callable[..., Program]) -> None:
    huge = program("g (float[1000000,1000000] x) => (float[1000000,1000000] y) { y = Relu (x) }")
    sequence = program("g (seq(float[2]) x) => (float[2] y) { y = ConcatFromSequence <axis = 0> (x) }")
    for made, word in ((huge, "1000000000000 elements"), (sequence, "sequence")):
        with pytest.raises(InvalidInput) as caught:
            inputs.generate(made, 0)
        assert word in caught.value.why
        assert "--data" in caught.value.fix
    assert len(list(inputs.candidates(huge, 0))) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([None, 1, 3, 7, "N", "T", "2*N", "H"]), max_size=5), st.integers(0, 9))
def test_any_shape_is_filled(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int | str | None], seed: int
) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))

    text = "g (float x) => (float y) { y = Frobnicate (x) }"
    program = load(model_files.write(tmp_path_factory.getbasetemp() / "shape.onnx", text, change), {})
    for sizes in islice(inputs.candidates(program, seed), 3):
        (feed,) = inputs.generate(program, seed, 1, sizes)
        FeedCheck(program.signature.inputs).check(feed)
        assert feed["x"].size > 0


# ---- real models take what is made up --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rejected", "output", "least"),
    [
        # how many rungs of the ladder the model may refuse, and what an output must reach: it saw something
        ("silero_vad", 0, 0, 1e-5),
        ("silero_vad_16k_sequence", 0, 0, 0.5),
        ("ppocr_cls", 0, 0, 0.6),
        ("ppocrv4_det", 0, 0, 0.5),
        ("magika", 0, 0, 0.3),
        ("basic_pitch", 0, 0, 0.3),
    ],
)
def test_the_zoo(zoo: Callable[[str], Path], name: str, rejected: int, output: int, least: float) -> None:
    import onnxruntime

    path = zoo(name)
    program = load(path, {})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sizes = next(islice(inputs.candidates(program, 0), rejected, None))
    one, two = (session.run(None, feed) for feed in feeds(program, 2, **sizes))
    assert np.abs(one[output]).max() > least
    assert all(np.abs(a - b).max() > 1e-5 for a, b in zip(one, two, strict=True))


def test_bound_dimensions_are_kept(zoo: Callable[[str], Path]) -> None:
    program = load(zoo("ppocr_cls"), {"x": InputBinding((2, 3, 48, 192))})
    assert list(inputs.candidates(program, 0)) == [{}]
    assert feeds(program, 1)[0]["x"].shape == (2, 3, 48, 192)
