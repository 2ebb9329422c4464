"""Session.bind: buffers bound once, in every engine: the same numbers as run, in the caller's own arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from programs import opened, program_of

from neoc.compile.binding import Binding
from neoc.compile.contracts import Engine, Session
from neoc.compile.errors import FeedError
from neoc.compile.registry import load_engine

ENGINES = [
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.needs("openvino")),
    pytest.param("tvm", marks=[pytest.mark.needs("tvm"), pytest.mark.needs("gcc")]),
    "reference",
]
MLP = "mlp (float[2, 3] x) => (float[2, 2] y, float[2, 2] z) { h = MatMul (x, w) y = Relu (h) z = Neg (h) }"
OPEN = MLP.replace("float[2,", "float[n,")
W = np.array([[1, -2], [3, 4], [-5, 6]], np.float32)
X = np.array([[1, 2, 3], [-4, 5, 6]], np.float32)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return load_engine(request.param)


def test_a_run_reads_the_inputs_anew_and_gives_the_same_buffers(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        x, y = X.copy(), np.full((2, 2), 77, np.float32)
        with session.bind({"x": x}, {"y": y}) as binding:
            assert binding.inputs["x"] is x
            first = binding.run()
            assert list(first) == ["y"]
            assert first["y"] is y
            np.testing.assert_array_equal(y, np.maximum(X @ W, 0))
            x *= -2
            assert binding.run()["y"] is y
            np.testing.assert_array_equal(y, np.maximum(-2 * X @ W, 0))


def test_buffers_are_made_where_none_are_given(engine: Engine) -> None:
    for text in (MLP, OPEN):
        with opened(engine, program_of(text, w=W)) as session, session.bind({"x": X.copy()}) as binding:
            got = binding.run()
            assert list(got) == ["y", "z"]
            np.testing.assert_array_equal(got["z"], -(X @ W))
            assert binding.outputs["z"] is got["z"]
            assert not np.may_share_memory(got["y"], got["z"])


def test_some_outputs_by_name(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session, session.bind({"x": X.copy()}, ["z"]) as binding:
        assert list(binding.run()) == ["z"]
        np.testing.assert_array_equal(binding.outputs["z"], -(X @ W))


def test_results_of_run_never_lie_in_a_bound_buffer(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        x = X.copy()
        one, two = session.bind({"x": x}), session.bind({"x": X.copy()})
        kept = session.run({"x": x})
        one.run()
        one.outputs["y"][:] = 9
        two.run()
        np.testing.assert_array_equal(kept["y"], np.maximum(X @ W, 0))
        np.testing.assert_array_equal(two.outputs["y"], np.maximum(X @ W, 0))
        assert (one.outputs["y"] == 9).all(), "another binding wrote into this one's buffer"
        buffers = [*one.outputs.values(), *two.outputs.values(), x]
        assert not any(np.may_share_memory(kept["y"], buffer) for buffer in buffers)


def test_an_output_that_is_the_input_or_a_constant_is_copied_out(engine: Engine) -> None:
    outputs = "float[2] same, float[2] c, float[2] y"
    text = f"g (float[2] x) => ({outputs}) {{ same = Identity (x) c = Identity (w) y = Add (x, w) }}"
    w = np.array([5, 7], np.float32)
    with opened(engine, program_of(text, w=w)) as session:
        x = np.zeros(2, np.float32)
        with session.bind({"x": x}) as binding:
            binding.run()
            for array in binding.outputs.values():
                array[:] = 99
            binding.run()
            for name, want in {"same": [0, 0], "c": [5, 7], "y": [5, 7]}.items():
                np.testing.assert_array_equal(binding.outputs[name], want)
            np.testing.assert_array_equal(x, 0)


def test_read_only_and_unaligned_inputs_are_read_anew_too(engine: Engine) -> None:
    raw = np.zeros(X.nbytes + 4, np.uint8)
    writable = raw[4:].view(np.float32).reshape(X.shape)
    x = writable.view()
    x.flags.writeable = False
    with opened(engine, program_of(MLP, w=W)) as session, session.bind({"x": x}) as binding:
        for factor in (1, -3):
            writable[:] = factor * X
            np.testing.assert_array_equal(binding.run()["z"], -(factor * X @ W))


def test_integers_booleans_and_scalars(engine: Engine) -> None:
    signature = "(int64[2] i, bool[2] b, float s) => (int64[2] j, bool[2] n, float t)"
    text = f"g {signature} {{ j = Add (i, i) n = Not (b) t = Neg (s) }}"
    feeds = {"i": np.array([3, -4]), "b": np.array([True, False]), "s": np.array(2.5, np.float32)}
    with opened(engine, program_of(text)) as session, session.bind(feeds) as binding:
        got = binding.run()
        np.testing.assert_array_equal(got["j"], [6, -8])
        np.testing.assert_array_equal(got["n"], [False, True])
        assert got["t"].shape == ()
        assert got["t"] == -2.5


def test_openvino_refuses_wide_integers_at_every_run() -> None:
    pytest.importorskip("openvino")
    text = "g (int64[2] i) => (int64[2] j) { j = Add (i, i) }"
    i = np.array([1, 2])
    with opened(load_engine("openvino"), program_of(text)) as session, session.bind({"i": i}) as binding:
        binding.run()
        i[0] = 1 << 40
        with pytest.raises(FeedError, match="32 bits"):
            binding.run()
        i[0] = 5
        np.testing.assert_array_equal(binding.run()["j"], [10, 4])


@pytest.mark.parametrize("name", ENGINES[:2] + ENGINES[3:])
def test_an_output_whose_size_hangs_on_values(name: str) -> None:
    text = "g (float[4] x) => (int64[1, k] places) { places = NonZero (x) }"
    x = np.array([1, 0, 2, 0], np.float32)
    with opened(load_engine(name), program_of(text)) as session, session.bind({"x": x}) as binding:
        np.testing.assert_array_equal(binding.run()["places"], [[0, 2]])
        x[:] = [0, 3, 0, 4]
        np.testing.assert_array_equal(binding.run()["places"], [[1, 3]])
        for fewer in ([0, 0, 0, 5], [1, 2, 3, 4]):
            x[:] = fewer
            with pytest.raises(FeedError):
                binding.run()
        x[:] = [5, 5, 0, 0]
        np.testing.assert_array_equal(binding.run()["places"], [[0, 1]])


@pytest.mark.needs("openvino")
def test_a_failed_run_of_one_binding_does_not_spoil_another() -> None:
    """OpenVINO 2026.4 gives stale results after a failed call in a graph with open shapes."""
    text = "g (float[a, b] x, float[c, d] w) => (float[a, d] y) { y = MatMul (x, w) }"
    with opened(load_engine("openvino"), program_of(text)) as session:
        x = np.ones((2, 3), np.float32)
        good = session.bind({"x": x, "w": np.ones((3, 2), np.float32)})
        np.testing.assert_array_equal(good.run()["y"], np.full((2, 2), 3))
        bad = session.bind({"x": x, "w": np.ones((4, 2), np.float32)}, {"y": np.empty((2, 2), np.float32)})
        for factor in (2, 5):
            with pytest.raises(FeedError, match="openvino rejects"):
                bad.run()
            x[:] = factor
            np.testing.assert_array_equal(good.run()["y"], np.full((2, 2), 3 * factor))


def test_a_closed_binding_and_a_closed_twice(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        binding = session.bind({"x": X.copy()})
        binding.run()
        binding.close()
        binding.close()
        with pytest.raises(FeedError, match="binding is closed"):
            binding.run()
        np.testing.assert_array_equal(session.run({"x": X})["z"], -(X @ W))


# ---- what is refused -------------------------------------------------------------------------------

BUFFER = np.zeros(16, np.float32)
REFUSED: list[tuple[str, Callable[[], dict[str, Any]], Callable[[], Any], str]] = [
    ("dtype", lambda: {"x": X.astype(np.float64)}, lambda: None, "dtype is float64"),
    ("shape", lambda: {"x": X[:1].copy()}, lambda: None, "shape is"),
    ("rank", lambda: {"x": X.ravel()}, lambda: None, "shape is"),
    ("layout", lambda: {"x": np.asfortranarray(X)}, lambda: None, "input 'x'.*not C-contiguous"),
    ("missing", dict, lambda: None, "missing x"),
    ("stranger", lambda: {"x": X, "q": X}, lambda: None, "unknown 'q'"),
    ("output name", lambda: {"x": X}, lambda: ["q"], "unknown 'q'"),
    ("output dtype", lambda: {"x": X}, lambda: {"y": np.zeros((2, 2))}, "output 'y'.*dtype is float64"),
    ("output shape", lambda: {"x": X}, lambda: {"y": np.zeros((2, 3), np.float32)}, "output 'y'.*shape is"),
    ("output list", lambda: {"x": X}, lambda: {"y": [[0.0] * 2] * 2}, "not list"),
    ("output layout", lambda: {"x": X}, lambda: {"y": np.zeros((2, 4), np.float32)[:, ::2]}, "not C-contiguous"),
    ("read-only", lambda: {"x": X}, lambda: {"y": np.broadcast_to(np.float32(0), (2, 2)).copy().view()}, ""),
    (
        "in and out",
        lambda: {"x": BUFFER[:6].reshape(2, 3)},
        lambda: {"y": BUFFER[4:8].reshape(2, 2)},
        "with the input 'x'",
    ),
    (
        "out and out",
        lambda: {"x": X},
        lambda: {"y": BUFFER[:4].reshape(2, 2), "z": BUFFER[3:7].reshape(2, 2)},
        "with the output 'y'",
    ),
]


@pytest.fixture(scope="module")
def session() -> Any:
    with opened(load_engine("onnxruntime"), program_of(MLP, w=W)) as one:
        yield one


@pytest.mark.parametrize(("inputs", "outputs", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_buffer_that_does_not_fit_is_refused(
    session: Session, inputs: Callable[[], Any], outputs: Callable[[], Any], words: str
) -> None:
    buffers = outputs()
    if not words:
        buffers["y"].flags.writeable, words = False, "read-only"
    with pytest.raises(FeedError, match=words):
        session.bind(inputs(), buffers)


def test_strings_have_no_buffer() -> None:
    text = "g (string[2] s) => (string[2] t) { t = Identity (s) }"
    with (
        opened(load_engine("onnxruntime"), program_of(text)) as session,
        pytest.raises(FeedError, match=r"a string has no buffer.*call run\(\)"),
    ):
        session.bind({"s": np.array(["a", "b"], object)})


def test_types_that_numpy_lacks_are_bound_by_copying() -> None:
    import ml_dtypes

    text = "g (bfloat16[2] x) => (float[2] y) { y = Cast <to = 1> (x) }"
    x = np.array([1, 2], ml_dtypes.bfloat16)
    with opened(load_engine("onnxruntime"), program_of(text)) as session, session.bind({"x": x}) as binding:
        np.testing.assert_array_equal(binding.run()["y"], [1, 2])
        x[0] = 8
        np.testing.assert_array_equal(binding.run()["y"], [8, 2])


def test_the_engines_write_in_place() -> None:
    """Not a copy in between: what these engines gain."""
    kinds: dict[str, type[Binding]] = {}
    for name in ("onnxruntime", "openvino"):
        if load_engine(name).missing() is None:
            with opened(load_engine(name), program_of(MLP, w=W)) as one:
                kinds[name] = type(one.bind({"x": X.copy()}))
    assert {kind.__name__ for kind in kinds.values()} <= {"OrtBinding", "OvBinding"}
    assert kinds["onnxruntime"].__name__ == "OrtBinding"
