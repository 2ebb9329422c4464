"""Loops that are written out: trip counts, captures, stacks, scans, and what stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from small_models import model_of, program, tensor

from neoc.compile.onnx_io import write
from neoc.compile.passes import TIDY, Repeat, UnrollLoops, run

I64, BOOL = TensorProto.INT64, TensorProto.BOOL


def loop(trips: int | None, nodes: list[onnx.NodeProto], results: list[str], **constants: Any) -> onnx.ModelProto:
    """x [3] goes round; the body's values are i, c and s, and it may read x from outside."""
    ins = [tensor("i", [], I64), tensor("c", [], BOOL), tensor("s", [3])]
    outs = [tensor("c_out", [], BOOL), *(onnx.ValueInfoProto(name=r) for r in results)]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    body = helper.make_graph(nodes, "body", ins, outs, initializers)
    given = ["" if trips is None else "trips", "go", "x"]
    node = helper.make_node("Loop", given, ["last", "all"][: len(results)], body=body)
    held = {"go": np.bool_(True), **({} if trips is None else {"trips": np.int64(trips)})}
    outputs = [tensor("last", [3]), tensor("all", ["n", 3])][: len(results)]
    return model_of([node], [tensor("x", [3])], outputs, 17, **held)


def unrolled(model: onnx.ModelProto, tmp_path: Any, limit: int = 8192) -> tuple[Any, onnx.ModelProto]:
    done = run(program(model), (Repeat((UnrollLoops(limit), TIDY)),))
    write(done.model, tmp_path / "m.onnx", data_name="m.data")
    return done, onnx.load(tmp_path / "m.onnx")


KEEPS_ON = helper.make_node("Identity", ["c"], ["c_out"])
X = np.float32([0.5, -1, 2])


@pytest.mark.parametrize("trips", [1, 3, 40])
def test_the_copies_compute_what_the_loop_does(trips: int, tmp_path: Any) -> None:
    nodes = [KEEPS_ON, helper.make_node("Cast", ["i"], ["f"], to=1), helper.make_node("Add", ["s", "f"], ["t"]),
             helper.make_node("Mul", ["t", "half"], ["u"]), helper.make_node("Sub", ["u", "x"], ["s_out"]),
             helper.make_node("Neg", ["s_out"], ["scan"])]  # fmt: skip
    source = loop(trips, nodes, ["s_out", "scan"], half=np.float32(0.5))
    done, copy = unrolled(source, tmp_path)
    assert not [n for n in done.nodes() if n.op_type == "Loop"]
    wanted = ReferenceEvaluator(source).run(None, {"x": X})
    for found, value in zip(ReferenceEvaluator(copy).run(None, {"x": X}), wanted, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-6)
    assert [spec.shape for spec in done.signature.outputs][1] == (trips, 3)


def test_a_counter_in_the_state_ends_the_loop(tmp_path: Any) -> None:
    """The condition hangs on the iteration number through arithmetic."""
    nodes = [helper.make_node("Mul", ["i", "two"], ["j"]), helper.make_node("Less", ["j", "end"], ["c_out"]),
             helper.make_node("Add", ["s", "s"], ["s_out"])]  # fmt: skip
    source = loop(None, nodes, ["s_out"], two=np.int64(2), end=np.int64(5))
    done, copy = unrolled(source, tmp_path)
    assert sum(n.op_type == "Add" for n in done.nodes()) == 4  # 0, 2, 4 go on; 6 is the last
    np.testing.assert_allclose(ReferenceEvaluator(copy).run(None, {"x": X})[0], X * 16)


def test_what_data_ends_and_what_grows_too_large_stays(tmp_path: Any) -> None:
    data = [helper.make_node("ReduceMax", ["s"], ["m"], keepdims=0), helper.make_node("Less", ["m", "end"], ["c_out"]),
            helper.make_node("Add", ["s", "s"], ["s_out"])]  # fmt: skip
    done, _ = unrolled(loop(9, data, ["s_out"], end=np.float32(9)), tmp_path)
    assert [n.op_type for n in done.model.graph] == ["Loop"]
    long = [KEEPS_ON, helper.make_node("Add", ["s", "s"], ["s_out"])]
    done, _ = unrolled(loop(50, long, ["s_out"]), tmp_path, limit=60)
    assert [n.op_type for n in done.model.graph] == ["Loop"]


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_over_any_axis_and_direction(backwards: int, tmp_path: Any) -> None:
    ins, outs = [tensor("s", [2]), tensor("e", [2])], [tensor("s_out", [2]), tensor("scan", [2])]
    nodes = [helper.make_node("Add", ["s", "e"], ["s_out"]), helper.make_node("Mul", ["s_out", "e"], ["scan"])]
    body = helper.make_graph(nodes, "body", ins, outs)
    node = helper.make_node("Scan", ["start", "x"], ["last", "all"], body=body, num_scan_inputs=1, scan_input_axes=[1],
                            scan_input_directions=[backwards], scan_output_axes=[1],
                            scan_output_directions=[backwards])  # fmt: skip
    inputs = [tensor("start", [2]), tensor("x", [2, 5])]
    source = model_of([node], inputs, [tensor("last", [2]), tensor("all", [2, 5])])
    done, copy = unrolled(source, tmp_path)
    assert not [n for n in done.nodes() if n.op_type == "Scan"]
    random = np.random.default_rng(0)
    start, x = random.standard_normal(2, np.float32), random.standard_normal((2, 5), np.float32)
    order = range(4, -1, -1) if backwards else range(5)
    state, stack = start, np.zeros((2, 5), np.float32)
    for t in order:
        state = state + x[:, t]
        stack[:, t] = state * x[:, t]
    last, every = ReferenceEvaluator(copy).run(None, {"start": start, "x": x})
    np.testing.assert_allclose(last, state, rtol=1e-5)
    np.testing.assert_allclose(every, stack, rtol=1e-5)


def test_nothing_to_do_gives_the_same_program() -> None:
    subject = program(model_of([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", [3])], [tensor("y", [3])]))
    assert UnrollLoops()(subject) is subject
