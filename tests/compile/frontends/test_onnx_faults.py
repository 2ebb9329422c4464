"""Broken models: each is refused as InvalidModel, exit status 2, with the place and the reason in one paragraph."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import model_files
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from neoc.compile.errors import InvalidModel, NeocError
from neoc.compile.frontends import load

Change = Callable[[onnx.ModelProto], object]


def refusal(path: Path) -> str:
    with pytest.raises(InvalidModel) as caught:
        load(path, {})
    error = caught.value
    assert error.exit_status == 2
    assert error.where.startswith(path.name)
    assert error.fix
    assert "\n" not in str(error)
    assert len(str(error)) < 1000
    return str(error)


def vector(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


# ---- changes to relu(x @ w + b), nodes 'product', 'sum', 'out' -------------------------------------


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "s"


def self_cycle(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "s"


def body_cycle(model: onnx.ModelProto) -> None:
    """A body that reads what its own node gives."""
    branch = helper.make_graph([helper.make_node("Neg", ["loop"], ["inner"])], "b", [], [vector("inner")])
    model.graph.node.append(
        helper.make_node("If", ["cond"], ["loop"], "choice", then_branch=branch, else_branch=branch)
    )
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(True), "cond"))


def duplicate_output(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "p"


def output_named_as_a_weight(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "b"


def duplicate_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def duplicate_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def shadowing_body(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([helper.make_node("Neg", ["x"], ["p"])], "b", [], [vector("p")])
    model.graph.node.append(helper.make_node("If", ["cond"], ["z"], "choice", then_branch=branch, else_branch=branch))
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(True), "cond"))


def undefined_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = "nowhere"


def undefined_in_a_body(model: onnx.ModelProto) -> None:
    shadowing_body(model)
    for attribute in model.graph.node[-1].attribute:
        attribute.g.node[0].input[0], attribute.g.node[0].output[0] = "nowhere", "q"
        attribute.g.output[0].name = "q"


def undefined_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def no_import(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def opset_of_tomorrow(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 4000


def two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="", version=13)


def ir_of_tomorrow(model: onnx.ModelProto) -> None:
    model.ir_version = 4000


def no_graph(model: onnx.ModelProto) -> None:
    model.ClearField("graph")


def untyped_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].ClearField("type")


def unknown_element_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 77


def map_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.map_type.key_type = TensorProto.INT64


def negative_dim_of_a_value(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -7


def negative_dim_of_a_tensor(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -3


def too_few_bytes(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]


def allocation_bomb(model: onnx.ModelProto) -> None:
    """dims of four exabytes over no data at all."""
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].dims[:] = [1 << 30, 1 << 30]


def zero_times_huge(model: onnx.ModelProto) -> None:
    """No bytes are needed, yet numpy could not make such a shape."""
    model.graph.initializer[0].raw_data = b""
    model.graph.initializer[0].dims[:] = [0, 1 << 62]


def data_twice(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].float_data.extend([0.0] * 12)


def data_in_the_wrong_field(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].int32_data.extend([0] * 12)


def unknown_data_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def segmented(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].segment.begin = 1


def sparse_bomb(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.float32([1]), "sparse")
    at = numpy_helper.from_array(np.int64([0]), "at")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, at, [1 << 20, 1 << 20]))


def sparse_index_outside(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.float32([1]), "sparse")
    at = numpy_helper.from_array(np.int64([[1, 3]]), "at")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, at, [2, 3]))


def unknown_attribute_type(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add(name="a").type = AttributeProto.UNDEFINED


def attribute_of_two_types(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add(name="a", type=AttributeProto.INT, i=1, f=1.0)


def attribute_given_twice(model: onnx.ModelProto) -> None:
    for _ in range(2):
        model.graph.node[0].attribute.append(helper.make_attribute("a", 1))


def attribute_of_another_type(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Concat"
    model.graph.node[1].attribute.append(helper.make_attribute("axis", "first"))


def unknown_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[2].attribute.append(helper.make_attribute("__private", 1))
    model.graph.node[2].attribute.append(helper.make_attribute("alpha", 0.5))


def missing_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Concat"


def reference_outside_a_function(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add(name="a", type=AttributeProto.INT, ref_attr_name="b")


def too_many_inputs(model: onnx.ModelProto) -> None:
    model.graph.node[2].input.append("x")


def input_left_out(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = ""


def no_operator(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = ""


def branch_without_outputs(model: onnx.ModelProto) -> None:
    shadowing_body(model)
    for attribute in model.graph.node[-1].attribute:
        attribute.g.node[0].output[0] = "q"
        del attribute.g.output[:]


def branches_of_two_outputs(model: onnx.ModelProto) -> None:
    shadowing_body(model)
    for attribute in model.graph.node[-1].attribute:
        attribute.g.node[0].output[0] = attribute.g.output[0].name = "q"
        attribute.g.output.append(vector("x"))


FAULTS: list[tuple[Change, str, str]] = [
    # what is done to the model, where it must be found, what must be said
    (cycle, "node 'product' (MatMul)", "hangs on its own output"),
    (self_cycle, "node 'sum' (Add)", "itself"),
    (body_cycle, "node 'choice' (If)", "hangs on its own output"),
    (duplicate_output, "node 'sum' (Add)", "'p' is defined twice"),
    (output_named_as_a_weight, "node 'product' (MatMul)", "'b' is defined twice"),
    (duplicate_initializer, "main graph", "'w' is defined twice"),
    (duplicate_input, "main graph", "'x' is defined twice"),
    (shadowing_body, "else_branch of node 'choice' (If)", "'p' is defined twice"),
    (undefined_input, "node 'product' (MatMul)", "'nowhere' is not computed"),
    (undefined_in_a_body, "else_branch of node 'choice' (If)", "'nowhere' is not computed"),
    (undefined_output, "main graph", "'nowhere' is not computed"),
    (no_outputs, "main graph", "no outputs"),
    (no_import, "node 'product' (MatMul)", "ai.onnx is not imported"),
    (opset_of_tomorrow, "domain 'ai.onnx'", "4000"),
    (two_opsets, "domain 'ai.onnx'", "17 and 13"),
    (ir_of_tomorrow, "head", "IR version 4000"),
    (no_graph, "", "no graph"),
    (untyped_input, "input 'x'", "no type"),
    (unknown_element_type, "input 'x'", "element type 77"),
    (map_input, "input 'x'", "map"),
    (negative_dim_of_a_value, "input 'x'", "-7"),
    (negative_dim_of_a_tensor, "tensor 'w'", "negative"),
    (too_few_bytes, "tensor 'w'", "need 48 bytes, and it holds 47"),
    (allocation_bomb, "tensor 'w'", "larger than any memory"),
    (zero_times_huge, "tensor 'w'", "larger than any memory"),
    (data_twice, "tensor 'w'", "more than once"),
    (data_in_the_wrong_field, "tensor 'w'", "float_data"),
    (unknown_data_type, "tensor 'w'", "data type 99"),
    (segmented, "tensor 'w'", "segments"),
    (sparse_bomb, "sparse tensor 'sparse'", "too large"),
    (sparse_index_outside, "sparse tensor 'sparse'", "outside its dims"),
    (unknown_attribute_type, "attribute 'a' of node 'product'", "unknown"),
    (attribute_of_two_types, "attribute 'a' of node 'product'", "something else too"),
    (attribute_given_twice, "node 'product'", "'a' is given twice"),
    (attribute_of_another_type, "node 'sum' (Concat)", "STRING, Concat takes INT"),
    (unknown_attribute, "node 'out' (Relu)", "no attribute 'alpha'"),
    (missing_attribute, "node 'sum' (Concat)", "'axis' is missing"),
    (reference_outside_a_function, "attribute 'a' of node 'product'", "no function around"),
    (too_many_inputs, "node 'out' (Relu)", "2 inputs, Relu takes 1"),
    (input_left_out, "node 'product' (MatMul)", "B is left out"),
    (no_operator, "node 'out'", "no operator"),
    (branch_without_outputs, "else_branch of node 'choice'", "no outputs"),
    (branches_of_two_outputs, "node 'choice' (If)", "asks for 1"),
]


@pytest.mark.parametrize(("change", "place", "reason"), FAULTS, ids=[change.__name__ for change, _, _ in FAULTS])
def test_is_refused_with_place_and_reason(tmp_path: Path, change: Change, place: str, reason: str) -> None:
    message = refusal(model_files.affine(tmp_path / "m.onnx", change))
    assert place in message
    assert reason in message


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    path = model_files.affine(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes().replace(b"product", b"\xff\xfeoduct"))
    assert "not UTF-8" in refusal(path)


def test_long_and_strange_names_stay_on_one_short_line(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].name = "line\nbreak \x1b[31m" + "n" * 5000
        model.graph.node[0].input[0] = "missing" * 1000

    assert "line\\nbreak" in refusal(model_files.affine(tmp_path / "m.onnx", change))


LOOP = """g (float[2] x, int64 n) => (float[2] y) {
  one = Constant <value_int = 1> ()
  cond = Cast <to = 9> (one)
  [turn] y = Loop (n, cond, x) <body = b (int64 i, bool k, float[2] v) => (bool kk, float[2] w) {
    kk = Identity (k)  w = Neg (v)
  }>
}"""


def test_loops_of_the_wrong_arity(tmp_path: Path) -> None:
    def drop(model: onnx.ModelProto) -> None:
        del model.graph.node[2].attribute[0].g.input[2]
        model.graph.node[2].attribute[0].g.node[1].input[0] = "x"

    load(model_files.write(tmp_path / "good.onnx", LOOP), {})
    message = refusal(model_files.write(tmp_path / "m.onnx", LOOP, drop))
    assert "node 'turn' (Loop)" in message
    assert "inputs of its body: 2" in message


# ---- local functions -------------------------------------------------------------------------------


def functions(path: Path, *bodies: str, call: str = "f0") -> Path:
    texts = [
        f'<domain: "local", opset_import: ["" : 17, "local" : 1]> f{i} (a) => (b) {{ {body} }}'
        for i, body in enumerate(bodies)
    ]
    return model_files.write(path, f"g (float[2] x) => (float[2] y) {{ y = local.{call} (x) }}\n" + "\n".join(texts))


def test_functions_that_call_each_other_in_a_circle(tmp_path: Path) -> None:
    path = functions(tmp_path / "m.onnx", "b = local.f1 (a)", "b = local.f2 (a)", "b = local.f1 (a)")
    assert "calls itself" in refusal(path)
    assert "function 'f0'" in refusal(functions(tmp_path / "n.onnx", "b = local.f0 (a)"))


def test_functions_that_expand_without_bound(tmp_path: Path) -> None:
    """Forty functions of two calls each: a trillion nodes in two kilobytes."""
    bodies = [f"c = local.f{i + 1} (a) b = local.f{i + 1} (c)" for i in range(40)]
    assert "expand to more than" in refusal(functions(tmp_path / "m.onnx", *bodies, "b = Neg (a)"))


def test_a_long_chain_of_functions_is_fine(tmp_path: Path) -> None:
    bodies = [f"b = local.f{i + 1} (a)" for i in range(2000)]
    assert load(functions(tmp_path / "m.onnx", *bodies, "b = Neg (a)"), {})


def test_functions_are_checked_inside(tmp_path: Path) -> None:
    assert "'nowhere' is not computed" in refusal(functions(tmp_path / "m.onnx", "b = Neg (nowhere)"))
    assert "Relu takes 1" in refusal(functions(tmp_path / "m.onnx", "b = Relu (a, a)"))

    def twice(model: onnx.ModelProto) -> None:
        model.functions.append(model.functions[0])

    path = functions(tmp_path / "m.onnx", "b = Neg (a)")
    model = onnx.load(path)
    twice(model)
    onnx.save(model, path)
    assert "defined twice" in refusal(path)


# ---- nesting and size ------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """An If in an If in an If ..., written by hand: protobuf itself refuses to build more than 33 of them."""

    def field(number: int, data: bytes) -> bytes:
        length, size = b"", len(data)
        while size > 0x7F:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + data

    def graph(node: onnx.NodeProto, body: bytes) -> bytes:
        (output,) = node.output
        then = field(5, field(1, b"then_branch") + b"\xa0\x01\x05" + field(6, body)) if body else b""
        return field(1, node.SerializeToString() + then) + field(12, vector(output).SerializeToString())

    body = graph(helper.make_node("Neg", ["x"], ["v0"]), b"")
    for level in range(1, depth):
        other = helper.make_graph([helper.make_node("Abs", ["x"], [f"e{level}"])], "e", [], [vector(f"e{level}")])
        body = graph(helper.make_node("If", ["c"], [f"v{level}"], else_branch=other), body)
    inputs = [vector("x"), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    body += b"".join(field(11, value.SerializeToString()) for value in inputs)
    return b"\x08\x08" + field(7, body) + field(8, b"\x10\x11")


def test_nesting_as_deep_as_protobuf_goes_and_deeper(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(nested(30))
    assert sum(1 for node in load(path, {}).nodes() if node.op_type == "If") == 29
    path.write_bytes(nested(300))
    assert "nested more than 100 deep" in refusal(path)


def test_a_chain_of_many_nodes_out_of_order(tmp_path: Path) -> None:
    """Neither recursion nor a quadratic search: 20,000 nodes, last first."""
    count = 20_000
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in reversed(range(count))]
    graph = helper.make_graph(nodes, "g", [vector("v0")], [vector(f"v{count}")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    program = load(path, {})
    assert next(program.nodes()).inputs[0].name == "v0"  # type: ignore[union-attr]


def test_a_file_larger_than_a_protobuf_may_be(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x08\x3a")
        file.truncate(3 << 30)
    assert "save_as_external_data" in refusal(path)


# ---- external data ---------------------------------------------------------------------------------


def external(path: Path, entries: list[tuple[str, str]], dims: tuple[int, ...] = (3, 4)) -> Path:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.dims[:] = dims
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries:
            tensor.external_data.add(key=key, value=value)

    return model_files.affine(path, change)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with 48 bytes of data, and a secret beside the folder."""
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "w.bin").write_bytes(bytes(48))
    (inside / "sub").mkdir()
    (tmp_path / "secret").write_bytes(bytes(48))
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "linked").symlink_to(tmp_path, target_is_directory=True)
    (inside / "inner").symlink_to("w.bin")
    return inside


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../secret", "leads out of the model's folder"),
        ("sub/../../secret", "leads out of the model's folder"),
        ("link", "leads out of the model's folder"),
        ("linked/secret", "leads out of the model's folder"),
        ("/etc/passwd", "no relative path"),
        ("C:\\secret", "no relative path"),
        ("missing.bin", "No such file"),
        ("sub", "no regular file"),
        ("w.bin/x", "Not a directory"),
        ("n" * 300, "File name too long"),
        ("", "no location"),
    ],
)
def test_locations(folder: Path, location: str, reason: str) -> None:
    message = refusal(external(folder / "m.onnx", [("location", location)]))
    assert reason in message
    assert "tensor 'w'" in message


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/../w.bin", "inner"])
def test_locations_inside(folder: Path, location: str) -> None:
    assert load(external(folder / "m.onnx", [("location", location)]), {})


@pytest.mark.parametrize(
    ("entries", "dims", "reason"),
    [
        ([("offset", "4")], (3, 4), "bytes 4 to 52 of 'w.bin' lie outside its 48 bytes"),
        ([("offset", str(2**62))], (3, 4), "lie outside"),
        ([("offset", "-4")], (3, 4), "offset '-4' is no number"),
        ([("offset", "9" * 5000)], (3, 4), "is no number"),
        ([("offset", "zero")], (3, 4), "is no number"),
        ([("length", "44")], (3, 4), "length says 44 bytes, dtype and dims say 48"),
        ([("length", "96")], (3, 4), "length says 96 bytes"),
        ([("location", "w.bin")], (3, 4), "'location' twice"),
        ([], (3, 5), "bytes 0 to 60"),
        ([], (1 << 30, 1 << 20), "lie outside"),
        ([], (-3, 4), "negative"),
    ],
)
def test_extents(folder: Path, entries: list[tuple[str, str]], dims: tuple[int, ...], reason: str) -> None:
    assert reason in refusal(external(folder / "m.onnx", [("location", "w.bin"), *entries], dims))


def test_pipes_are_not_opened(folder: Path) -> None:
    import os

    os.mkfifo(folder / "pipe")
    assert "no regular file" in refusal(external(folder / "m.onnx", [("location", "pipe")]))


# ---- anything at all -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("any")
    return folder / "any.onnx", model_files.affine(folder / "base.onnx").read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bit_of_a_small_model(base: tuple[Path, bytes], data: st.DataObject) -> None:
    path, good = base
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(good), len(good) - 1, len(good) // 2]))])
    refused = None
    try:
        program = load(path, {})
    except NeocError as error:
        refused = error
    if refused is None:
        assert program.signature.outputs
        assert len(program.digest) == 64
    else:
        assert refused.exit_status == 2
        assert not re.search(r"Traceback|SerdeError|DecodeError", str(refused))
