"""What every x86 engine promises alike: exact feeds, fresh outputs, subsets, threads, no files after the build."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from programs import V3, opened, program_of, run

from neoc.compile.contracts import Engine, EngineOptions, TensorSpec, Variant
from neoc.compile.errors import FeedError, WrongDevice
from neoc.compile.registry import load_engine

MLP = "mlp (float[n, 3] x) => (float[n, 2] y, float[n, 2] z) { h = MatMul (x, w) y = Relu (h) z = Neg (h) }"
W = np.array([[1, -2], [3, 4], [-5, 6]], np.float32)
X = np.array([[1, 2, 3], [-4, 5, 6]], np.float32)


@pytest.fixture(params=["onnxruntime", pytest.param("openvino", marks=pytest.mark.needs("openvino")), "reference"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return load_engine(request.param)


def test_computes_and_names_the_outputs(engine: Engine) -> None:
    got = run(engine, program_of(MLP, w=W), x=X)
    assert list(got) == ["y", "z"]
    np.testing.assert_array_equal(got["y"], np.maximum(X @ W, 0))
    np.testing.assert_array_equal(got["z"], -(X @ W))


def test_sizes_may_change_from_call_to_call(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        for rows in (1, 4, 2, 4):
            x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
            np.testing.assert_array_equal(session.run({"x": x})["z"], -(x @ W))


def test_outputs_are_fresh_and_contiguous(engine: Engine) -> None:
    text = "g (float[2, 3] x) => (float[3, 2] t, float[2, 3] same) { t = Transpose (x) same = Identity (x) }"
    with opened(engine, program_of(text)) as session:
        x = X.copy()
        first = session.run({"x": x})
        assert all(array.flags.c_contiguous and array.flags.writeable for array in first.values())
        kept = {name: array.copy() for name, array in first.items()}
        for array in session.run({"x": x}).values():
            array[:] = 99  # must reach neither the feed, nor an earlier result, nor the next one
        np.testing.assert_array_equal(x, X)
        again = session.run({"x": X})
        for name, array in kept.items():
            np.testing.assert_array_equal(first[name], array)
            np.testing.assert_array_equal(again[name], array)


def test_constant_outputs_cannot_be_damaged(engine: Engine) -> None:
    with opened(
        engine,
        program_of(
            "g (float[2] x) => (float[2] y, float[2] c) { y = Add (x, w) c = Identity (w) }",
            w=np.array([5, 7], np.float32),
        ),
    ) as session:
        x = np.zeros(2, np.float32)
        session.run({"x": x})["c"][:] = 0
        np.testing.assert_array_equal(session.run({"x": x})["c"], [5, 7])
        np.testing.assert_array_equal(session.run({"x": x})["y"], [5, 7])


def test_a_subset_of_outputs(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        assert list(session.run({"x": X}, ["z"])) == ["z"]
        np.testing.assert_array_equal(session.run({"x": X}, ["z"])["z"], -(X @ W))
        assert set(session.run({"x": X}, ["z", "y"])) == {"y", "z"}
        assert session.run({"x": X}, []) == {}
        with pytest.raises(FeedError, match="unknown 'q'"):
            session.run({"x": X}, ["q"])


def test_layout_of_feeds_does_not_matter(engine: Engine) -> None:
    strided = np.asfortranarray(X)
    reverse = X[:, ::-1]
    with opened(engine, program_of(MLP, w=W)) as session:
        np.testing.assert_array_equal(session.run({"x": strided})["z"], -(X @ W))
        np.testing.assert_array_equal(session.run({"x": reverse})["z"], -(reverse @ W))


@pytest.mark.parametrize(
    "feeds",
    [{"x": X.astype(np.float64)}, {"x": X[0]}, {"x": X[:, :2]}, {"y": X}, {}, {"x": X, "extra": X}],
    ids=["dtype", "rank", "size", "name", "missing", "extra"],
)
def test_feeds_are_never_cast(engine: Engine, feeds: dict[str, np.ndarray]) -> None:
    with opened(engine, program_of(MLP, w=W)) as session, pytest.raises(FeedError):
        session.run(feeds)


def test_closed_sessions_say_so_and_close_twice(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        pass
    session.close()
    with pytest.raises(FeedError, match="closed"):
        session.run({"x": X})


def test_scalars_integers_and_booleans(engine: Engine) -> None:
    text = "g (int64 n, bool b, int32[2] i) => (int64 m, bool c, int32[2] j) { m = Neg (n) c = Not (b) j = Neg (i) }"
    got = run(engine, program_of(text), n=np.array(7), b=np.array(True), i=np.array([2**31 - 1, -4], np.int32))
    assert (got["m"].shape, got["m"].dtype, int(got["m"])) == ((), np.int64, -7)
    assert (got["c"].dtype, bool(got["c"])) == (np.bool_, False)
    np.testing.assert_array_equal(got["j"], np.array([-(2**31) + 1, 4], np.int32))
    assert got["j"].dtype == np.int32


def test_empty_feeds(engine: Engine) -> None:
    got = run(engine, program_of(MLP, w=W), x=np.zeros((0, 3), np.float32))
    assert got["y"].shape == (0, 2)


def test_an_input_that_nothing_uses(engine: Engine) -> None:
    program = program_of("g (float[2] unused, float[2] x, float[3] also) => (float[2] y) { y = Neg (x) }")
    assert [spec.name for spec in program.signature.inputs] == ["unused", "x", "also"]
    got = run(engine, program, unused=X[0, :2], x=X[1, :2], also=X[0])
    np.testing.assert_array_equal(got["y"], -X[1, :2])


def test_bfloat16_goes_in_and_comes_out(engine: Engine) -> None:
    program = program_of("g (bfloat16[3] x) => (bfloat16[3] y, float[3] z) { z = Cast <to = 1> (x) y = Identity (x) }")
    x = np.array([1.5, -2, 3.140625], ml_dtypes.bfloat16)
    got = run(engine, program, x=x)
    assert got["y"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(got["y"].astype(np.float32), x.astype(np.float32))
    np.testing.assert_array_equal(got["z"], x.astype(np.float32))


def test_weights_over_a_megabyte_need_no_file(engine: Engine) -> None:
    big = np.random.default_rng(1).standard_normal((600, 600)).astype(np.float32)
    text = """g (float[1, 600] x, bool c) => (float[1, 600] y) {
        y = If (c) <then_branch = t () => (float[1, 600] a) { a = MatMul (x, big) },
                    else_branch = e () => (float[1, 600] b) { b = MatMul (x, other) }> }"""
    program = program_of(text, big=big, other=(2 * big))
    x = np.random.default_rng(2).standard_normal((1, 600)).astype(np.float32)
    with opened(engine, program) as session:
        for flag, factor in ((True, 1), (False, 2)):
            got = session.run({"x": x, "c": np.array(flag)})["y"]
            np.testing.assert_allclose(got, factor * (x @ big), rtol=0, atol=1e-3)


def test_many_threads_share_a_session(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session, ThreadPoolExecutor(8) as pool:
        inputs = [np.full((1 + k % 3, 3), k, np.float32) for k in range(200)]
        got = pool.map(lambda x: session.run({"x": x})["z"], inputs)
        for x, z in zip(inputs, got, strict=True):
            np.testing.assert_array_equal(z, -(x @ W))
        assert session.concurrency >= 1


def test_another_device_is_refused(engine: Engine, tmp_path: Path) -> None:
    program = program_of(MLP, w=W)
    variant = engine.variants(program, V3, EngineOptions())[0]
    built = engine.build(program, V3, variant, tmp_path)
    members = {name: memoryview(path.read_bytes()) for name, path in built.members.items()}
    with pytest.raises(WrongDevice, match="cuda"):
        engine.open(members, program.signature, variant, 1, "cuda:0")


def test_builds_are_reproducible_and_say_what_they_need(engine: Engine, tmp_path: Path) -> None:
    program = program_of(MLP, w=W)
    variant = engine.variants(program, V3, EngineOptions())[0]
    contents = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        built = engine.build(program, V3, variant, folder)
        contents.append({member: path.read_bytes() for member, path in built.members.items()})
        assert sorted(folder.iterdir()) == sorted(built.members.values())  # nothing is left over
    assert contents[0] == contents[1]
    (need,) = built.requirements
    assert (need.kind, need.match) == ("package", "minor")
    assert built.tools[need.name] == need.version == engine.tools()[need.name]
    assert built.placement.nodes == ((engine.name, 3),)


def test_precisions_that_an_engine_does_not_have(engine: Engine) -> None:
    program = program_of(MLP, w=W)
    for precision in ("bf16", "int8"):
        assert engine.variants(program, V3, EngineOptions(precision=precision)) == ()
    assert engine.missing() is None


def test_variants_differ_and_survive_json(engine: Engine) -> None:
    program = program_of(MLP, w=W)
    for threads in (1, 2):
        variants = engine.variants(program, V3, EngineOptions(threads=threads))
        assert len({v.id for v in variants}) == len({(v.options, v.threads) for v in variants}) == len(variants)
        assert variants[0].threads in (1, threads)
        assert len({v.build_key() for v in variants}) == 1  # what differs matters at open: one build serves all
        for variant in variants:
            assert Variant.from_dict(variant.as_dict()) == variant
            with opened(engine, program, variant, variant.threads) as session:
                np.testing.assert_array_equal(session.run({"x": X})["z"], -(X @ W))


def test_the_session_repeats_the_signature(engine: Engine) -> None:
    with opened(engine, program_of(MLP, w=W)) as session:
        assert session.inputs == (TensorSpec("x", "float32", ("n", 3)),)
        assert [spec.name for spec in session.outputs] == ["y", "z"]
