"""OpenVINO: gaps that are told without it and hold with it, narrow arithmetic that is never silent, bound inputs."""

from __future__ import annotations

import re
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import V3, opened, program_in, program_of, run

from neoc.compile.contracts import EngineOptions, Signature, Target, TensorSpec
from neoc.compile.errors import FeedError, UnsupportedModel
from neoc.targets.engines import openvino_gaps
from neoc.targets.engines.openvino import GRAPH, WEIGHTS, OpenVino, _name_inputs, _properties
from neoc.targets.engines.openvino_errors import unsupported

ENGINE = OpenVino()
needs_openvino = pytest.mark.needs("openvino")

BF16 = Target("x86-64-v4", "", "x86_64", "x86-64-v4", features=frozenset({"avx512f", "avx512_bf16"}))


def reasons(text: str, opset: int = 17, **weights: np.ndarray) -> list[tuple[str, str]]:
    return [(g.operator, g.reason) for g in ENGINE.gaps(program_of(text, opset, **weights), V3)]


# ---- gaps ------------------------------------------------------------------------------------


def test_the_table_covers_what_models_are_made_of() -> None:
    table = openvino_gaps._table()
    assert {"Conv", "MatMul", "Gemm", "LSTM", "GRU", "If", "Loop", "Scan", "Resize", "Softmax"} <= table[""]
    assert {"FusedConv", "QLinearAdd", "SkipLayerNormalization"} <= table["com.microsoft"]
    assert not {"Det", "ImageDecoder", "StringConcat", "DeformConv"} & table[""]


@needs_openvino
def test_the_table_is_of_the_installed_version() -> None:
    """A sample, asked anew: tests/helpers/openvino_probe.py writes the table."""
    import openvino
    import openvino_probe

    if not openvino_gaps._table_holds():
        pytest.skip(f"the table is of OpenVINO {openvino_gaps.table_version()}")
    core = openvino.Core()
    asked = 0
    for domain, name, since, inputs, outputs in openvino_probe._candidates():
        if name in ("Conv", "Relu", "Det", "StringConcat", "DeformConv", "TreeEnsemble", "Gelu", "CDist"):
            known = openvino_probe._knows(core, domain, name, since, inputs, max(1, outputs))
            assert known == (name in openvino_gaps._table().get(domain, ())), (domain, name, since)
            asked += 1
    assert asked >= 10


def test_gaps_need_no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    openvino_gaps._table_holds.cache_clear()
    monkeypatch.setattr(openvino_gaps, "version", _absent)
    monkeypatch.setitem(sys.modules, "openvino", None)
    try:
        found = ENGINE.gaps(
            program_of("g (float[2, 2] x) => (float y, float[2, 2] z) { y = Det (x) z = Relu (x) }"), V3
        )
        assert [(g.node, g.operator) for g in found] == [("y", "Det")]
    finally:
        openvino_gaps._table_holds.cache_clear()


def _absent(name: str) -> str:
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)


def test_another_version_is_not_judged_by_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino_gaps._table_holds.cache_clear()
    monkeypatch.setattr(openvino_gaps, "version", lambda name: "2099.1.0")
    try:
        assert reasons("g (float[2, 2] x) => (float y) { y = Det (x) }") == []
        text = "g (double[2] x) => (float[2] y) { y = Cast <to = 1> (x) }"
        assert len(reasons(text)) == 2  # what it narrows it would have to prove otherwise
    finally:
        openvino_gaps._table_holds.cache_clear()


def test_every_gap_is_listed() -> None:
    text = """g (float[2, 2] x, string[2] s, double[2] d) => (float a, double[2] b, float[2, 2] c) {
        a = Det (x) b = Neg (d) c = Relu (x) }"""
    found = ENGINE.gaps(program_of(text), V3)
    assert [(g.node, g.operator) for g in found] == [("s", ""), ("d", ""), ("b", ""), ("a", "Det"), ("b", "Neg")]
    assert "float64 in float32" in found[-1].reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g (uint8[2] x) => (uint8[2] y) { y = Add (x, x) }", "saturates"),
        ("g (int32[2] x) => (int32[2] y) { y = Pow (x, x) }", "float32 for integers"),
        (
            "g (float[1, 1, 4, 4] x, float[4] s) => (float[N, M, H, W] y) { y = Resize <antialias = 1> (x, , s) }",
            "antialias",
        ),
        ("g (float[2] x, int64[1] r) => (float[N] y) { y = Tile (x, r) }", "garbage"),
        ("g (uint64[2] x) => (uint64[2] y) { y = Relu (x) }", "uint64"),
    ],
    ids=["wrap", "pow", "resize", "tile", "uint64"],
)
def test_silent_departures_are_gaps(text: str, words: str) -> None:
    assert any(words in reason for _, reason in reasons(text, 18))


def test_wide_constants() -> None:
    text = "g (int64[2] x) => (int64[2] y) { y = Mul (x, w) }"
    assert "does not fit the 32 bits" in reasons(text, w=np.array([2**31]))[0][1]
    assert reasons(text, w=np.array([2**31 - 1])) == []


@needs_openvino
def test_departures_are_real() -> None:
    """The gap is true: forced past it, OpenVINO computes something else than ONNX says, without a word."""
    text = "g (uint8[2] x) => (uint8[2] y) { y = Add (x, x) }"
    x = np.array([200, 3], np.uint8)
    got = run(ENGINE, program_of(text), x=x)["y"]
    assert got.tolist() == [255, 6] != (x + x).tolist()


def test_the_zoo_has_no_gaps(zoo: Any) -> None:
    for name in ("silero_vad_openvino_16k", "ppocrv4_det", "ppocr_cls", "magika", "basic_pitch"):
        assert ENGINE.gaps(program_in(zoo(name)), V3) == ()


# ---- variants ------------------------------------------------------------------------------------


def test_variants() -> None:
    program = program_of("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    one = ENGINE.variants(program, V3, EngineOptions(threads=1))
    assert [v.id for v in one] == ["latency"]
    pairs = (("openvino.NUM_STREAMS", "1"), ("onnxruntime.x", "y"))
    two = ENGINE.variants(program, V3, EngineOptions(threads=2, pairs=pairs))
    assert [(v.id, v.threads) for v in two] == [("latency", 2), ("throughput", 2), ("1thread", 1)]
    assert _properties(two[1], 2) == {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": "2",
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": "1",
    }


def test_bf16_only_where_the_target_has_it() -> None:
    program = program_of("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    (variant,) = ENGINE.variants(program, BF16, EngineOptions(precision="bf16"))
    assert (variant.id, variant.precision) == ("latency-bf16", "bf16")
    assert _properties(variant, 1)["INFERENCE_PRECISION_HINT"] == "bf16"
    assert ENGINE.variants(program, V3, EngineOptions(precision="bf16")) == ()


@pytest.mark.needs("openvino", "avx512_bf16")
def test_bf16_is_used_when_asked_and_never_else() -> None:
    w = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    program = program_of("g (float[8, 256] x) => (float[8, 256] y) { y = MatMul (x, w) }", w=w)
    x = np.random.default_rng(1).standard_normal((8, 256)).astype(np.float32)
    want = x.astype(np.float64) @ w.astype(np.float64)
    errors = {}
    for precision in ("fp32", "bf16"):
        (variant,) = ENGINE.variants(program, BF16, EngineOptions(precision=precision))
        with opened(ENGINE, program, variant) as session:
            errors[precision] = np.abs(session.run({"x": x})["y"] - want).max() / np.abs(want).max()
    assert errors["fp32"] < 1e-6
    assert 1e-4 < errors["bf16"] < 1e-2


# ---- building ------------------------------------------------------------------------------------


@needs_openvino
def test_refusals_name_every_node(tmp_path: Path) -> None:
    text = """g (float[1, 1, 4, 4] x, float[2, 2] m) => (float[1, 1, 6, 6] a, float b, float c) {
        a = Pad <mode = "wrap"> (x, pads) b = Det (m) n = Neg (m) c = Det (n) }"""
    program = program_of(text, 19, pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    variant = ENGINE.variants(program, V3, EngineOptions())[0]
    with pytest.raises(UnsupportedModel) as caught:
        ENGINE.build(program, V3, variant, tmp_path)
    gaps = {(g.node, g.operator): g.reason for g in caught.value.gaps}
    assert set(gaps) == {("a", "Pad"), ("b", "Det"), ("c", "Det")}
    assert "wrap" in gaps["a", "Pad"]
    assert not re.search(r"\.cpp|FrontEnd API", str(caught.value))
    assert list(tmp_path.iterdir()) == []


@needs_openvino
def test_refusals_of_the_plugin_name_the_node(tmp_path: Path) -> None:
    program = program_of("g (float[n] x, int64[k] s) => (float[A, B] y) { a = Neg (x) y = Reshape (a, s) }")
    with pytest.raises(UnsupportedModel, match="dynamic rank") as caught:
        ENGINE.build(program, V3, ENGINE.variants(program, V3, EngineOptions())[0], tmp_path)
    assert [(g.node, g.operator) for g in caught.value.gaps] == [("y", "Reshape")]


def test_a_refusal_in_other_words() -> None:
    message = "Exception from src/inference/src/cpp/core.cpp:84:\nCPU plug-in doesn't support this"
    error = unsupported(message, None)
    assert [g.reason for g in error.gaps] == ["CPU plug-in doesn't support this"]


@needs_openvino
def test_inputs_that_pass_through() -> None:
    """The front end gives such a parameter the output's name, and drops the unused: places tell which is which."""
    program = program_of("g (float[2] a, float[2] b) => (float[2] y, float[2] z) { y = Identity (a) z = Neg (b) }")
    got = run(ENGINE, program, a=np.array([1, 2], np.float32), b=np.array([3, 4], np.float32))
    np.testing.assert_array_equal(got["y"], [1, 2])
    np.testing.assert_array_equal(got["z"], [-3, -4])
    program = program_of("g (float[2] a, float[2] b) => (float[2] y) { y = Identity (b) }")
    got = run(ENGINE, program, a=np.array([1, 2], np.float32), b=np.array([3, 4], np.float32))
    np.testing.assert_array_equal(got["y"], [3, 4])


class _Parameter:
    def __init__(self, name: str) -> None:
        self.friendly_name = name

    def set_friendly_name(self, name: str) -> None:
        self.friendly_name = name


class _Model:
    def __init__(self, *names: str) -> None:
        self.parameters = [_Parameter(name) for name in names]

    def get_parameters(self) -> list[_Parameter]:
        return self.parameters


@pytest.mark.parametrize(
    ("found", "want"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a", "y", "c"], ["a", "b", "c"]),  # b passed through as y
        (["y", "c"], None),  # y is a or b
        (["a", "b", "y"], ["a", "b", "c"]),
        (["b"], ["b"]),
        (["y", "b", "z"], ["a", "b", "c"]),
        (["y"], None),
    ],
)
def test_renamed_parameters_are_told_by_their_place(found: list[str], want: list[str] | None) -> None:
    model = _Model(*found)
    signature = Signature(tuple(TensorSpec(name, "float32", (2,)) for name in "abc"), ())
    if want is None:
        with pytest.raises(UnsupportedModel, match="passed through"):
            _name_inputs(model, signature)
    else:
        _name_inputs(model, signature)
        assert [p.friendly_name for p in model.parameters] == want


@needs_openvino
def test_members_hold_no_half_precision(tmp_path: Path) -> None:
    w = np.full((64, 64), 1.0001, np.float32)  # 1.0 in float16
    program = program_of("g (float[1, 64] x) => (float[1, 64] y) { y = MatMul (x, w) }", w=w)
    built = ENGINE.build(program, V3, ENGINE.variants(program, V3, EngineOptions())[0], tmp_path)
    assert sorted(built.members) == [WEIGHTS, GRAPH]
    assert built.members[WEIGHTS].stat().st_size >= w.nbytes
    got = run(ENGINE, program, x=np.ones((1, 64), np.float32))["y"]
    np.testing.assert_allclose(got, 64 * 1.0001, rtol=1e-6)


# ---- sessions ------------------------------------------------------------------------------------


@needs_openvino
@pytest.mark.parametrize("name", ["silero_vad_openvino_16k", "silero_vad_16k_sequence", "ppocr_cls", "magika"])
def test_real_models_agree_with_onnxruntime(zoo: Any, name: str) -> None:
    from neoc.targets.engines.onnxruntime import OnnxRuntime

    program = program_in(zoo(name))
    source = OnnxRuntime().open_source(zoo(name), program.signature)
    answers = []
    with opened(ENGINE, program) as session:
        for sample in zoo.samples(name)[:2]:
            got, want = session.run(sample), source.run(sample)
            for output, value in want.items():
                assert np.abs(got[output] - value).max() <= 1e-4 * np.abs(value).max() + 1e-6, output
            answers.append(got)
    first = session.outputs[0].name
    assert not np.array_equal(answers[0][first], answers[1][first])


@needs_openvino
def test_int64_beyond_32_bits_is_refused() -> None:
    program = program_of("g (int64[n] x) => (int64[n] y) { y = Neg (x) }")
    with opened(ENGINE, program) as session:
        edge = np.array([2**31 - 1, -(2**31) + 1])
        np.testing.assert_array_equal(session.run({"x": edge})["y"], -edge)
        for bad in (2**31, -(2**31) - 1):
            for feed in (np.array([1, bad]), np.array([bad])):
                with pytest.raises(FeedError, match="32 bits"):
                    session.run({"x": feed})


@needs_openvino
def test_int64_inputs_are_noted(tmp_path: Path) -> None:
    program = program_of("g (int64[2] x) => (int64[2] y) { y = Neg (x) }")
    built = ENGINE.build(program, V3, ENGINE.variants(program, V3, EngineOptions())[0], tmp_path)
    assert built.notes == ("int64 is computed in 32 bits: feeds beyond them are refused",)


@needs_openvino
def test_a_subset_is_not_paid_for() -> None:
    """One output hangs on a chain of large products, the other on nothing: asked alone it comes far sooner."""
    w = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32) / 23
    text = """g (float[512, 512] x) => (float[512, 512] dear, float[512] cheap) {
        a = MatMul (x, w) b = MatMul (a, w) c = MatMul (b, w) dear = MatMul (c, w)
        cheap = ReduceMax <axes = [1], keepdims = 0> (x) }"""
    x = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    with opened(ENGINE, program_of(text, w=w)) as session:
        whole = session.run({"x": x})
        alone = session.run({"x": x}, ["cheap"])
        np.testing.assert_array_equal(alone["cheap"], whole["cheap"])
        np.testing.assert_array_equal(alone["cheap"], x.max(1))
        assert _median(lambda: session.run({"x": x}, ["cheap"])) < _median(lambda: session.run({"x": x})) / 3


@needs_openvino
def test_bound_inputs_beat_the_plain_call(zoo: Any) -> None:
    """On a model of 40 us the call itself counts: ours, with check and copies, is not slower than OpenVINO's own."""
    path = zoo("silero_vad_openvino_16k")
    feeds = zoo.samples("silero_vad_openvino_16k")[0]
    plain: Any = ENGINE.plain_call(path, 1)
    with opened(ENGINE, program_in(path)) as session:
        got = session.run(feeds)
        for index, name in enumerate(got):
            np.testing.assert_allclose(got[name], plain(feeds)[index], rtol=0, atol=1e-5)
        pairs = [(_median(lambda: session.run(feeds), 20), _median(lambda: plain(feeds), 20)) for _ in range(40)]
    ours, theirs = map(min, zip(*pairs, strict=True))  # the best of each: what other load adds is not the call's
    assert ours < theirs + 2e-6


@needs_openvino
def test_sizes_that_do_not_fit_together() -> None:
    """OpenVINO's own synchronous call on one thread gives the last result again."""
    program = program_of("g (float[n] x, float[m] z) => (float[k] y) { y = Add (x, z) }")
    x = np.arange(6, dtype=np.float32)
    with opened(ENGINE, program) as session:
        np.testing.assert_array_equal(session.run({"x": x, "z": x})["y"], 2 * x)
        for _ in range(2):
            with pytest.raises(FeedError, match="openvino rejects"):
                session.run({"x": x, "z": x[:4]})
        np.testing.assert_array_equal(session.run({"x": x, "z": x[:1] + 3})["y"], x + 3)  # it is still of use
        np.testing.assert_array_equal(session.run({"x": x, "z": x[:1] + 4})["y"], x + 4)


@needs_openvino
def test_values_that_do_not_work_out() -> None:
    program = program_of("g (float[6] x, int64[2] s) => (float[A, B] y) { y = Reshape (x, s) }")
    x = np.arange(6, dtype=np.float32)
    with opened(ENGINE, program) as session:
        np.testing.assert_array_equal(session.run({"x": x, "s": np.array([2, 3])})["y"], x.reshape(2, 3))
        for _ in range(2):
            with pytest.raises(FeedError, match="openvino rejects"):
                session.run({"x": x, "s": np.array([4, 3])})
        np.testing.assert_array_equal(session.run({"x": x, "s": np.array([3, 2])})["y"], x.reshape(3, 2))


def _median(call: Any, count: int = 9) -> float:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
