"""Models in and out of files, and the bytes that digests are made of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import model_files
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from neoc.compile import onnx_io
from neoc.compile.errors import InvalidModel, OutputError
from neoc.compile.frontends import load
from neoc.compile.program import Program

LARGE = np.arange(800_000, dtype=np.float32).reshape(200, 4000)  # 3.2 MB
PACKED = (np.arange(2_500_000) % 16 - 8).astype(ml_dtypes.int4)


def with_large(path: Path) -> Path:
    """y = x @ large, two more tensors over a mebibyte: bfloat16 and int4."""

    def change(model: onnx.ModelProto) -> None:
        model.ir_version = 11
        model.graph.initializer.append(ir.to_proto(ir.Tensor(LARGE.astype(ml_dtypes.bfloat16), name="half")))
        model.graph.initializer.append(ir.to_proto(ir.Tensor(PACKED, name="packed")))

    return model_files.write(
        path, "g (float[N,200] x) => (float[N,4000] y) { y = MatMul (x, large) }", change, large=LARGE
    )


def values(model: ir.Model) -> dict[str, np.ndarray]:
    return {name: v.const_value.numpy() for name, v in model.graph.initializers.items() if v.const_value is not None}


@pytest.mark.parametrize("data_name", [None, "m.data"])
def test_round_trip(tmp_path: Path, data_name: str | None) -> None:
    model = onnx_io.read(with_large(tmp_path / "source.onnx"))
    onnx_io.write(model, tmp_path / "m.onnx", data_name)
    again = onnx_io.read(tmp_path / "m.onnx")
    for name, want in {"large": LARGE, "half": LARGE.astype(ml_dtypes.bfloat16), "packed": PACKED}.items():
        np.testing.assert_array_equal(values(again)[name], want)
        assert values(again)[name].dtype == want.dtype
    assert onnx_io.canonical_bytes(again) == onnx_io.canonical_bytes(model)
    assert (tmp_path / "m.data").exists() == (data_name is not None)


def test_large_tensors_lie_aligned_and_unread(tmp_path: Path) -> None:
    onnx_io.write(onnx_io.read(with_large(tmp_path / "source.onnx")), tmp_path / "m.onnx", "m.data")
    assert (tmp_path / "m.onnx").stat().st_size < 2000
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    offsets = [int(e.value) for t in proto.graph.initializer for e in t.external_data if e.key == "offset"]
    assert len(offsets) == 3
    assert all(offset % 64 == 0 for offset in offsets)
    assert not values(onnx_io.read(tmp_path / "m.onnx"))["large"].flags.owndata
    onnx.checker.check_model(tmp_path / "m.onnx")


def test_writing_over_the_files_that_a_model_lies_in(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx_io.write(onnx_io.read(with_large(path)), path, "m.data")
    model = onnx_io.read(path)
    digest = onnx_io.canonical_bytes(model)
    onnx_io.write(model, path, "m.data")
    assert onnx_io.canonical_bytes(onnx_io.read(path)) == digest
    onnx_io.write(onnx_io.read(path), path)  # tensors come home
    (tmp_path / "m.data").unlink()
    np.testing.assert_array_equal(values(onnx_io.read(path))["large"], LARGE)


def test_references_into_other_files_are_resolved(tmp_path: Path) -> None:
    """A model of onnx_ir's own loader refers to its folder; what is written elsewhere holds the data."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    onnx_io.write(onnx_io.read(with_large(tmp_path / "source.onnx")), tmp_path / "a/m.onnx", "m.data")
    foreign = ir.load(tmp_path / "a/m.onnx")
    onnx_io.write(foreign, tmp_path / "b/plain.onnx")
    onnx_io.write(foreign, tmp_path / "b/split.onnx", "split.data")
    for name in ("plain", "split"):
        read = values(onnx_io.read(tmp_path / f"b/{name}.onnx"))
        np.testing.assert_array_equal(read["large"], LARGE)
        np.testing.assert_array_equal(read["packed"], PACKED)


def test_a_model_without_large_tensors_gets_no_data_file(tmp_path: Path) -> None:
    onnx_io.write(onnx_io.read(model_files.affine(tmp_path / "s.onnx")), tmp_path / "m.onnx", "m.data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "s.onnx"]


def test_a_model_above_the_limit_needs_a_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit lowered to a megabyte, so that two of them are too many. tests/compile/frontends has 2.3 GB."""
    model = onnx_io.read(with_large(tmp_path / "source.onnx"))
    digest = onnx_io.canonical_bytes(model)
    monkeypatch.setattr(onnx_io, "PROTOBUF_LIMIT_BYTES", 1 << 20)
    with pytest.raises(ValueError, match="do not fit into one protobuf"):
        onnx_io.write(model, tmp_path / "m.onnx")
    with pytest.raises(InvalidModel, match="no protobuf may have more than 1048576"):
        onnx_io.read(tmp_path / "source.onnx")
    onnx_io.write(model, tmp_path / "m.onnx", "m.data")
    assert onnx_io.canonical_bytes(onnx_io.read(tmp_path / "m.onnx")) == digest


def test_many_tensors_below_the_threshold_go_to_the_data_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {f"w{i}": np.full(10_000, i, np.float32) for i in range(10)}
    text = "g (float[10000] x) => (float[10000] y) { y = Sum (x, w1, w9) }"
    model = onnx_io.read(model_files.write(tmp_path / "source.onnx", text, None, **weights))
    monkeypatch.setattr(onnx_io, "PROTOBUF_LIMIT_BYTES", 500_000)
    onnx_io.write(model, tmp_path / "m.onnx", "m.data")
    assert (tmp_path / "m.onnx").stat().st_size < 5000
    np.testing.assert_array_equal(values(onnx_io.read(tmp_path / "m.onnx"))["w7"], weights["w7"])


def test_nothing_is_left_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx_io.read(with_large(tmp_path / "source.onnx"))
    with pytest.raises(OutputError):
        onnx_io.write(model, tmp_path / "missing" / "m.onnx", "m.data")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", full)
    (tmp_path / "m.onnx").write_bytes(b"old")
    with pytest.raises(OutputError, match="space"):
        onnx_io.write(model, tmp_path / "m.onnx", "m.data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "source.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"old"


def test_read_checks_external_data(tmp_path: Path) -> None:
    onnx_io.write(onnx_io.read(with_large(tmp_path / "source.onnx")), tmp_path / "m.onnx", "m.data")
    with (tmp_path / "m.data").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(InvalidModel, match="lie outside"):
        onnx_io.read(tmp_path / "m.onnx")


# ---- digests -------------------------------------------------------------------------------------


def canonical(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> bytes:
    return onnx_io.canonical_bytes(onnx_io.read(model_files.affine(tmp_path / "changed.onnx", change)))


def typed_field(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.float_data.extend(numpy_helper.to_array(tensor).reshape(-1))
    tensor.ClearField("raw_data")


def documented(model: onnx.ModelProto) -> None:
    model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "words"
    model.graph.input[0].doc_string = model.graph.initializer[0].doc_string = "words"
    model.metadata_props.add(key="author", value="x")
    model.graph.node[1].metadata_props.add(key="line", value="7")
    model.producer_name, model.producer_version, model.model_version = "other", "2", 9


def reordered(model: onnx.ModelProto) -> None:
    weights = list(reversed(model.graph.initializer))
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)


@pytest.mark.parametrize("change", [typed_field, documented, reordered])
def test_digests_leave_out_how_it_is_said(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    assert canonical(tmp_path, change) == canonical(tmp_path, lambda _: None)


def one_bit(model: onnx.ModelProto) -> None:
    data = bytearray(model.graph.initializer[0].raw_data)
    data[-1] ^= 1
    model.graph.initializer[0].raw_data = bytes(data)


def transposed(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [4, 3]


def reinterpreted(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = onnx.TensorProto.INT32


def other_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = "Sigmoid"


def other_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[2].attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, f=0.5)


def attribute_tensor(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.ones(3))))


def other_attribute_tensor(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.zeros(3))))


def other_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def strings(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(["ab", "c"], object), "words"))


def other_strings(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a", "bc"], object), "words"))


def test_digests_tell_models_apart(tmp_path: Path) -> None:
    changes = [
        one_bit, transposed, reinterpreted, other_operator, other_attribute, attribute_tensor, other_attribute_tensor,
        other_opset, fixed_batch, strings, other_strings,
    ]  # fmt: skip
    found = {canonical(tmp_path, change) for change in changes} | {canonical(tmp_path, lambda _: None)}
    assert len(found) == len(changes) + 1


def test_the_digest_leaves_the_model_alone(tmp_path: Path) -> None:
    model = onnx_io.read(model_files.affine(tmp_path / "m.onnx", documented))
    before = onnx_io.to_bytes(model)
    onnx_io.canonical_bytes(model)
    assert onnx_io.to_bytes(model) == before


@pytest.mark.parametrize("name", ["silero_vad", "ppocr_cls", "magika"])
def test_saved_programs_keep_their_digest(zoo: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    program = load(zoo(name), {})
    program.save(tmp_path)
    again = Program.load(tmp_path)
    assert again.digest == program.digest
    assert again.signature == program.signature
    assert again.provenance == program.provenance
    assert again.source == program.source
