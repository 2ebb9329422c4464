"""What the ONNX front end makes of valid models, the unusual ones included."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import model_files
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from neoc.compile import onnx_io
from neoc.compile.contracts import TensorSpec
from neoc.compile.frontends import load
from neoc.compile.program import Program

RELU = "g (float[N,3] x) => (float[N,3] y) { y = Relu (x) }"


def run(program: Program, **feeds: np.ndarray) -> list[np.ndarray]:
    """By the reference evaluator, on what the program says now."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(onnx.load_model_from_string(onnx_io.to_bytes(program.model))).run(None, feeds)


def test_signature_provenance_and_source(tmp_path: Path) -> None:
    def produced(model: onnx.ModelProto) -> None:
        model.producer_name, model.producer_version = "pytorch", "2.13"

    path = model_files.affine(tmp_path / "m.onnx", produced)
    program = load(path, {})
    assert program.signature.inputs == (TensorSpec("x", "float32", ("N", 3)),)
    assert program.signature.outputs == (TensorSpec("y", "float32", ("N", 4)),)
    assert program.provenance.as_dict() == {
        "framework": "onnx",
        "version": "pytorch 2.13",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "name": "m.onnx",
    }
    assert program.source is not None
    assert program.source.path == path
    assert program.source.bound == ()
    assert program.notes == ()


def test_unknown_dims_and_names_that_say_nothing(tmp_path: Path) -> None:
    def unknown(model: onnx.ModelProto) -> None:
        x, y = model.graph.input[0], model.graph.output[0]
        for value, dims in ((x, (-1, 3, "?", None)), (y, ("N", "None", "N", "2*N + 1"))):
            del value.type.tensor_type.shape.dim[:]
            for dim in dims:
                added = value.type.tensor_type.shape.dim.add()
                if isinstance(dim, int):
                    added.dim_value = dim
                elif dim is not None:
                    added.dim_param = dim

    program = load(model_files.write(tmp_path / "m.onnx", RELU, unknown), {})
    assert program.signature.inputs[0].shape == (None, 3, None, None)
    assert program.signature.outputs[0].shape == ("N", None, "N", "2*N + 1")


def test_initializers_listed_as_inputs_are_constants(tmp_path: Path) -> None:
    """IR 3 has every weight among the inputs; from IR 4 on that makes a default, which is worth a note."""

    def list_weights(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))

    path = model_files.affine(tmp_path / "m.onnx", list_weights)
    model = onnx.load(path)
    model.ir_version = 3
    onnx.save(model, tmp_path / "old.onnx")
    old, new = load(tmp_path / "old.onnx", {}), load(path, {})
    for program in (old, new):
        assert [spec.name for spec in program.signature.inputs] == ["x"]
        assert [value.name for value in program.model.graph.inputs] == ["x"]
        assert program.model.ir_version >= 4  # an older one would have to list them
    assert old.notes == ()
    assert "'w', 'b'" in new.notes[0]
    x = np.ones((2, 3), np.float32)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    np.testing.assert_allclose(run(old, x=x)[0], np.maximum(x @ weights["w"] + weights["b"], 0), rtol=1e-6)


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    text = "g (float[2] x) => (float[2] y) { [late] y = Neg (a) [early] a = Relu (x) }"
    program = load(model_files.write(tmp_path / "m.onnx", text), {})
    assert [node.name for node in program.nodes()] == ["early", "late"]
    assert "sorted" in program.notes[0]
    np.testing.assert_array_equal(run(program, x=np.float32([-1, 2]))[0], [0, -2])


CONTROL = """g (float[2] x, int64 n) => (float[2] y, float[2] z) {
  zero = Constant <value_float = 0.0> ()
  most = ReduceMax <keepdims = 0> (x)
  c = Greater (most, zero)
  y = If (c) <
    then_branch = t () => (float[2] a) { a = Neg (x) },
    else_branch = e () => (float[2] b) { b = Abs (x) }
  >
  always = Constant <value_int = 1> ()
  cond = Cast <to = 9> (always)
  z = Loop (n, cond, x) <
    body = l (int64 i, bool k, float[2] carried) => (bool kk, float[2] next) {
      kk = Identity (k)  next = Add (carried, x)
    }
  >
}"""


def test_bodies_see_what_is_around_them(tmp_path: Path) -> None:
    program = load(model_files.write(tmp_path / "m.onnx", CONTROL), {})
    assert {node.op_type for node in program.nodes()} >= {"Neg", "Abs", "Add"}
    x = np.float32([-1, 2])
    y, z = run(program, x=x, n=np.asarray(3, np.int64))
    np.testing.assert_array_equal(y, -x)
    np.testing.assert_array_equal(z, 4 * x)


def test_local_functions(tmp_path: Path) -> None:
    text = """g (float[2] x) => (float[2] y) { y = local.twice <factor = 2.0> (x) }
    <domain: "local", opset_import: ["" : 17]>
    twice <factor> (a) => (b) { f = Constant <value_float: float = @factor> ()  b = Mul (a, f) }"""
    program = load(model_files.write(tmp_path / "m.onnx", text), {})
    assert [node.op_type for node in program.nodes()] == ["twice"]
    np.testing.assert_array_equal(run(program, x=np.float32([1, -3]))[0], [2, -6])


QUANTISED = """g (float[N,4] x) => (float[N,2] qdq, float[N,2] dynamic) {
  q = QuantizeLinear (x, scale, zero)  d = DequantizeLinear (q, scale, zero)
  w = DequantizeLinear <axis = 1> (w8, wscale)
  qdq = MatMul (d, w)
  x8, xs, xz = DynamicQuantizeLinear (x)
  i = MatMulInteger (x8, w8, xz)  f = Cast <to = 1> (i)  s = Mul (xs, wscale)  dynamic = Mul (f, s)
}"""


def test_quantised_graphs(tmp_path: Path) -> None:
    weights = {
        "scale": np.float32(0.01), "zero": np.uint8(128), "wscale": np.float32([0.5, 0.25]),
        "w8": np.int8([[1, -2], [3, 4], [-128, 127], [0, 8]]),
    }  # fmt: skip
    program = load(model_files.write(tmp_path / "m.onnx", QUANTISED, opset=19, **weights), {})
    x = np.float32([[0.5, -0.25, 1.0, 0.1]])
    exact = x @ (weights["w8"] * weights["wscale"])
    qdq, dynamic = run(program, x=x)
    np.testing.assert_allclose(qdq, exact, atol=1e-3)
    np.testing.assert_allclose(dynamic, exact, atol=0.3)
    assert program.model.graph.initializers["w8"].dtype == ir.DataType.INT8


def test_other_domains_and_operators_without_a_schema(tmp_path: Path) -> None:
    text = (
        "g (float[2,4] x) => (float[2,4] y, float[2,4] z, float[2,4] w) "
        "{ y = com.microsoft.Gelu (x)  z = ai.onnx.ml.Normalizer <norm = 'L2'> (x)  w = Frobnicate (x) }"
    ).replace("'", '"')
    program = load(model_files.write(tmp_path / "m.onnx", text), {})
    assert [(n.domain, n.op_type) for n in program.nodes()] == [
        ("com.microsoft", "Gelu"),
        ("ai.onnx.ml", "Normalizer"),
        ("", "Frobnicate"),
    ]


def test_a_custom_domain_without_an_import_gets_version_1(tmp_path: Path) -> None:
    def forget(model: onnx.ModelProto) -> None:
        kept = [entry for entry in model.opset_import if entry.domain != "com.microsoft"]
        del model.opset_import[:]
        model.opset_import.extend(kept)

    text = "g (float[2] x) => (float[2] y) { y = com.microsoft.Gelu (x) }"
    program = load(model_files.write(tmp_path / "m.onnx", text, forget), {})
    assert program.model.opset_imports["com.microsoft"] == 1
    assert "'com.microsoft'" in program.notes[0]


def test_the_default_domain_by_its_long_name(tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.opset_import[0].domain = "ai.onnx"
        model.graph.node[0].domain = "ai.onnx"

    program = load(model_files.write(tmp_path / "m.onnx", RELU, rename), {})
    assert program.opset == 17
    assert "ai.onnx" not in program.model.opset_imports
    assert next(program.nodes()).domain == ""


@pytest.mark.parametrize(
    ("opset", "noted"), [(1, True), (6, True), (7, False), (onnx.defs.onnx_opset_version(), False)]
)
def test_opsets_from_the_first_to_the_newest(tmp_path: Path, opset: int, noted: bool) -> None:
    program = load(model_files.write(tmp_path / "m.onnx", RELU, opset=opset), {})
    assert program.opset == opset
    assert any("older than 7" in note for note in program.notes) == noted


def test_ir_1_and_2_know_neither_imports_nor_attribute_types(tmp_path: Path) -> None:
    def old(model: onnx.ModelProto) -> None:
        model.ir_version = 2
        del model.opset_import[:]
        added = model.graph.node[0].attribute.add()
        added.name, added.f = "alpha", 0.5

    text = "g (float[2] x) => (float[2] y) { y = LeakyRelu (x) }"
    program = load(model_files.write(tmp_path / "m.onnx", text, old), {})
    assert program.opset == 1
    assert next(program.nodes()).attributes.get_float("alpha") == 0.5


@pytest.mark.parametrize("linear", [True, False])
def test_sparse_tensors_become_dense(tmp_path: Path, linear: bool) -> None:
    def sparse(name: str) -> onnx.SparseTensorProto:
        values = numpy_helper.from_array(np.float32([5, 7]), name)
        at = np.int64([1, 5]) if linear else np.int64([[0, 1], [1, 2]])
        return helper.make_sparse_tensor(values, numpy_helper.from_array(at, "at"), [2, 3])

    def change(model: onnx.ModelProto) -> None:
        model.graph.sparse_initializer.append(sparse("w"))
        model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], sparse_value=sparse("")))

    text = "g (float[2,3] x) => (float[2,3] y) { a = Add (x, w)  y = Mul (a, c) }"
    program = load(model_files.write(tmp_path / "m.onnx", text, change), {})
    dense = np.float32([[0, 5, 0], [0, 0, 7]])
    np.testing.assert_array_equal(run(program, x=np.ones((2, 3), np.float32))[0], (1 + dense) * dense)


def test_sequences_of_maps_lose_their_type_and_an_output_listed_twice_is_given_once(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(
            helper.make_node("ZipMap", ["y"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
        )
        maps = model.graph.output.add(name="maps")
        kind = maps.type.sequence_type.elem_type.map_type
        kind.key_type = TensorProto.INT64
        kind.value_type.tensor_type.elem_type = TensorProto.FLOAT
        model.graph.output.append(model.graph.output[0])

    program = load(model_files.write(tmp_path / "m.onnx", RELU, change), {})
    assert [(spec.name, spec.dtype) for spec in program.signature.outputs] == [("y", "float32"), ("maps", "undefined")]
    assert "once" in program.notes[0]


def test_text_that_is_no_utf8_is_dropped_where_nothing_hangs_on_it(tmp_path: Path) -> None:
    def mark(model: onnx.ModelProto) -> None:
        model.producer_name = model.doc_string = model.graph.doc_string = model.graph.node[0].doc_string = "MARK"
        model.metadata_props.add(key="MARK", value="v")

    path = model_files.write(tmp_path / "m.onnx", RELU, mark)
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xff\xfe\x80\x81"))
    program = load(path, {})
    assert program.provenance.version == "unknown"
    assert onnx_io.to_bytes(program.model)  # protobuf would refuse to write it


# ---- external data -------------------------------------------------------------------------------


def with_data(folder: Path, name: str = "m.onnx", location: str = "weights/w.bin") -> tuple[Path, np.ndarray]:
    """y = x + w [64], then relu(y * c [4]) with both tensors in one data file, c in a Constant node."""
    w, c = np.arange(64, dtype=np.float32), np.float32([1, 2, 3, 4])
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    (folder / location).write_bytes(b"head" + c.tobytes() + bytes(44) + w.tobytes())

    def external(tensor: onnx.TensorProto, offset: int, length: int) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)

    def change(model: onnx.ModelProto) -> None:
        external(model.graph.initializer[0], 64, 256)
        model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(c)))
        external(model.graph.node[0].attribute[0].t, 4, 16)

    text = "g (float[64] x) => (float[4] y) { s = Add (x, w)  m = Slice (s, zero, four)  y = Mul (m, c) }"
    return model_files.write(folder / name, text, change, w=w, zero=np.int64([0]), four=np.int64([4])), w


def test_external_data_is_mapped_and_hashed(tmp_path: Path) -> None:
    path, w = with_data(tmp_path)
    program = load(path, {})
    tensor = program.model.graph.initializers["w"].const_value
    assert tensor is not None
    array = tensor.numpy()
    np.testing.assert_array_equal(array, w)
    assert not array.flags.owndata
    assert not array.flags.writeable
    data = (tmp_path / "weights/w.bin").read_bytes()
    assert program.provenance.sha256 == hashlib.sha256(path.read_bytes() + data).hexdigest()
    np.testing.assert_array_equal(run(program, x=np.ones(64, np.float32))[0], [1, 4, 9, 16])


def test_external_data_from_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    program = load("m.onnx", {})
    monkeypatch.chdir("/")
    (tmp_path / "m.onnx").unlink()  # the mapping outlives the name
    (tmp_path / "weights/w.bin").unlink()
    np.testing.assert_array_equal(run(program, x=np.zeros(64, np.float32))[0], [0, 2, 6, 12])


def test_a_cache_that_links_into_its_store(tmp_path: Path) -> None:
    """Model and data are links into one folder of blobs, as download caches lay them out."""
    store, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    store.mkdir()
    snapshot.mkdir(parents=True)
    path, _ = with_data(tmp_path, location="w.bin")
    path.rename(store / "aaaa")
    (tmp_path / "w.bin").rename(store / "bbbb")
    (snapshot / "m.onnx").symlink_to("../../blobs/aaaa")
    (snapshot / "w.bin").symlink_to("../../blobs/bbbb")
    assert load(snapshot / "m.onnx", {}).provenance.name == "m.onnx"


@pytest.mark.slow
def test_more_than_two_gigabytes(tmp_path: Path) -> None:
    """Five tensors of 460 MB each in one sparse file: nothing of it is copied."""
    size, rows = 460_000_000, 1150
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(5 * size)
        file.seek(4 * size)
        file.write(np.float32([1, 2, 3]).tobytes())

    def change(model: onnx.ModelProto) -> None:
        for index in range(5):
            tensor = model.graph.initializer.add(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[rows, 100_000])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "w.bin"), ("offset", str(index * size)), ("length", str(size))):
                tensor.external_data.add(key=key, value=value)

    nodes = " ".join(f"e{i} = Gather (w{i}, ids)" for i in range(5))
    text = f"g (int64[n] ids) => (float[n,100000] y) {{ {nodes} y = Sum (e0, e1, e2, e3, e4) }}"
    path = model_files.write(tmp_path / "m.onnx", text, change)
    before = anonymous_bytes()
    program = load(path, {})
    last = program.model.graph.initializers["w4"].const_value
    assert last is not None
    np.testing.assert_array_equal(last.numpy()[0, :4], [1, 2, 3, 0])
    assert anonymous_bytes() - before < 100 << 20
    with pytest.raises(ValueError, match="do not fit into one protobuf"):
        onnx_io.to_bytes(program.model)


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


# ---- real models ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shapes", "opset"),
    [
        ("silero_vad", [(None, None), (2, None, 128), ()], 16),
        ("silero_vad_openvino_16k", [(1, 576), (2, 1, 128)], 16),
        ("silero_vad_16k_sequence", [("sequence_length", 576), (1, 1, 128), (1, 1, 128)], 16),
        ("ppocr_cls", [(None, 3, None, None)], 11),
        ("magika", [("unk__214", 2048)], 15),
        ("basic_pitch", [("unk__749", 43844, 1)], 15),
    ],
)
def test_the_zoo(zoo: Callable[[str], Path], name: str, shapes: list[object], opset: int) -> None:
    program = load(zoo(name), {})
    assert [spec.shape for spec in program.signature.inputs] == shapes
    assert program.opset == opset
    assert program.notes == ()


def test_every_dtype_of_tensors_is_read(tmp_path: Path) -> None:
    """Raw data, and the typed field where there is one, give the same values."""
    for dtype in ir.DataType:
        if dtype in (ir.DataType.UNDEFINED, ir.DataType.STRING):
            continue
        values = np.array([0, 1, 0, 1, 1], np.float32).astype(dtype.numpy())
        if dtype == ir.DataType.FLOAT8E8M0:
            values = np.array([1, 2, 1, 2, 2], np.float32).astype(dtype.numpy())
        tensor = ir.Tensor(values, dtype=dtype, name="w")

        def add(model: onnx.ModelProto, tensor: ir.Tensor = tensor) -> None:  # type: ignore[type-arg]
            model.graph.initializer.append(ir.to_proto(tensor))
            model.ir_version = onnx.IR_VERSION

        program = load(model_files.write(tmp_path / "m.onnx", RELU, add), {})
        read = program.model.graph.initializers["w"].const_value
        assert read is not None
        assert read.dtype == dtype
        np.testing.assert_array_equal(read.numpy().astype(complex), values.astype(complex))
