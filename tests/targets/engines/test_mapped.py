"""Ahead-of-time forms: weights that are pages of the artifact, moved to where they lie, and equal to the plain form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import small_models
from hypothesis import given
from hypothesis import strategies as st
from programs import V3

from neoc.compile.contracts import Built, Engine, EngineOptions, Place, Session, Target, Variant
from neoc.compile.errors import InvalidArtifact, UnsupportedModel
from neoc.compile.program import Program
from neoc.compile.registry import load_engine, load_target
from neoc.targets.engines import onnxruntime_mapped as mapped
from neoc.targets.host import detect

COLD = EngineOptions(optimize="cold-start")
X = np.random.default_rng(5).standard_normal((2, 3, 16, 16)).astype(np.float32)


def program() -> Program:
    return small_models.program(small_models.cnn(2))


def host() -> Target:
    if detect().arch != "x86_64":
        pytest.skip("there is no target 'host' but on x86-64")
    return load_target("host")


def variants(engine: Engine, target: Target) -> dict[str, Variant]:
    return {v.id: v for v in engine.variants(program(), target, COLD)}


def placed(built: Built, folder: Path, before: int) -> tuple[dict[str, memoryview], dict[str, Place]]:
    """The members behind `before` bytes of something else, as they lie in an artifact."""
    members = {name: memoryview(path.read_bytes()) for name, path in built.members.items()}
    places = {}
    for name in built.mapped:
        path = folder / "a file with others in it.neoc"
        path.write_bytes(b"\7" * before + bytes(members[name]) + b"\7" * 100)
        places[name] = Place(path, before, members[name].nbytes)
        members[name] = memoryview(path.read_bytes())[before : before + members[name].nbytes]
    return members, places


def answers(session: Session, outputs: list[str] | None = None) -> dict[str, np.ndarray]:
    with session:
        return session.run({"x": X}, outputs)


ENGINES = ["onnxruntime", pytest.param("openvino", marks=pytest.mark.needs("openvino"))]


@pytest.mark.parametrize("name", ENGINES)
def test_every_form_computes_what_the_plain_one_does_wherever_it_lies(name: str, tmp_path: Path) -> None:
    engine = load_engine(name)
    plain, *forms = reversed(variants(engine, host()).values())
    assert forms
    (tmp_path / plain.id).mkdir()
    built = engine.build(program(), host(), plain, tmp_path / plain.id)
    assert not built.bound
    members = {n: memoryview(path.read_bytes()) for n, path in built.members.items()}
    want = answers(engine.open(members, program().signature, plain, 1, None))
    for variant in forms:
        folder = tmp_path / variant.id
        folder.mkdir()
        built = engine.build(program(), host(), variant, folder)
        assert built.bound
        assert built.mapped
        for before in (0, 64, 12345 * 64):
            members, places = placed(built, folder, before)
            got = answers(engine.open_mapped(members, places, program().signature, variant, 1, None))
            for output, array in want.items():
                np.testing.assert_allclose(got[output], array, rtol=1e-5, atol=1e-6)
        got = answers(engine.open(members, program().signature, variant, 1, None), ["z"])
        assert list(got) == ["z"]
        np.testing.assert_allclose(got["z"], want["z"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ENGINES)
def test_a_mapped_form_binds_buffers_too(name: str, tmp_path: Path) -> None:
    engine = load_engine(name)
    variant = next(iter(variants(engine, host()).values()))
    built = engine.build(program(), host(), variant, tmp_path)
    members, places = placed(built, tmp_path, 64)
    x, z = X.copy(), np.empty((2, 5), np.float32)
    with engine.open_mapped(members, places, program().signature, variant, 1, None) as session:
        with session.bind({"x": x}, {"z": z}) as binding:
            first = binding.run()["z"].copy()
            x *= -1
            binding.run()
        assert np.abs(first - z).max() > 1e-3
        np.testing.assert_allclose(z, session.run({"x": -X})["z"], rtol=1e-6)


def test_what_is_laid_out_for_a_cpu_says_so_and_is_made_for_that_cpu_alone(tmp_path: Path) -> None:
    engine = load_engine("onnxruntime")
    own = variants(engine, host())
    assert list(own) == ["mapped", "mapped-packed", "mapped-extended", "default"]
    needs = {}
    for name, variant in own.items():
        (tmp_path / name).mkdir()
        built = engine.build(program(), host(), variant, tmp_path / name)
        needs[name] = {(r.kind, r.name, r.match) for r in built.requirements}
    cpu = ("cpu", detect().cpu_key, "any")
    assert cpu in needs["mapped"] & needs["mapped-packed"]
    assert cpu not in needs["mapped-extended"] | needs["default"]
    assert all(("package", "onnxruntime", "exact") in needs[name] for name in own if name != "default")
    foreign = V3 if host().level != V3.level else Target("x86-64", "x86-64", "x86_64", "x86-64")
    assert list(variants(engine, foreign)) == ["mapped-extended", "default"]
    assert list(variants(load_engine("openvino"), foreign)) == ["latency"]


# ---- moving weights: the protobuf's own bytes -------------------------------------------------------


def external(offsets: list[tuple[int, int]], names: list[str]) -> bytes:
    """A model whose tensors lie in weights.bin, with a name in the graph that looks like a place."""
    model = ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 17}, name="|0000000000000001 offset"), ir_version=10)
    proto = ir.to_proto(model)
    for name, (offset, length) in zip(names, offsets, strict=True):
        tensor = proto.graph.initializer.add(name=name, data_type=1, dims=[length // 4], data_location=1)
        blobs = f"Gemm+12|{offset + length};{length};0|{offset + 2 * length};4;7"
        rows = {"location": "weights.bin", "offset": str(offset), "length": str(length), "prepacked_0": blobs}
        for key, value in rows.items():
            tensor.external_data.add(key=key, value=value)
    data: bytes = proto.SerializeToString()
    return data


places_of = st.lists(st.tuples(st.integers(0, 2**40), st.integers(4, 2**31)), min_size=1, max_size=5)


@given(places_of, st.integers(0, 2**40), st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1))
def test_places_are_moved_and_nothing_else(places: list[tuple[int, int]], shift: int, name: str) -> None:
    name = name.encode()[:200].decode(errors="ignore") or "m"
    names = [f"tensor {i}|" for i in range(len(places))]
    padded = mapped.rewritten(external(places, names), mapped._padded_name("weights.bin"), 0)
    moved = mapped._moved(padded, name, shift)
    assert moved == mapped.rewritten(padded, mapped._padded_name(name), shift)
    import onnx

    read = onnx.ModelProto.FromString(moved)
    assert read.graph.name == "|0000000000000001 offset"
    for tensor, (offset, length) in zip(read.graph.initializer, places, strict=True):
        facts = {e.key: e.value for e in tensor.external_data}
        assert Path("/folder", facts["location"]) == Path("/folder", name)
        assert int(facts["offset"]) == offset + shift
        assert int(facts["length"]) == length
        blobs = [blob.split(";") for blob in facts["prepacked_0"].split("|")[1:]]
        assert [int(b[0]) for b in blobs] == [offset + length + shift, offset + 2 * length + shift]
        assert [b[1:] for b in blobs] == [[str(length), "0"], ["4", "7"]]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_protobuf_are_refused_or_kept(data: bytes) -> None:
    try:
        kept = mapped._rewritten(data, {})
    except InvalidArtifact:
        return
    assert kept == data


def test_weights_in_the_body_of_a_loop_are_not_moved_and_so_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime 1.32 keeps them out of the file; were it to put them there, the form must not be made."""
    import onnxruntime as ort

    inner = external([(0, 64)], ["w"])

    def write(path: str, options: ort.SessionOptions, providers: list[str]) -> None:
        import onnx

        outer = onnx.ModelProto(ir_version=10)
        outer.graph.node.add(op_type="Loop").attribute.add(name="body", type=5).g.CopyFrom(
            onnx.ModelProto.FromString(inner).graph
        )
        Path(options.optimized_model_filepath).write_bytes(outer.SerializeToString())

    monkeypatch.setattr(ort, "InferenceSession", write)
    with pytest.raises(UnsupportedModel, match="cannot be moved"):
        mapped.write(tmp_path / "m.onnx", tmp_path, ort.SessionOptions(), prepacked=False)
