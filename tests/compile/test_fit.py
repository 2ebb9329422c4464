"""Memory on paper, and how much of a program an engine leaves to others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import cnn, program

from neoc.compile import check_model
from neoc.compile.contracts import Gap, Target
from neoc.compile.fit import Memory, fallback_share, left_words, memory, words

BOARD = Target("board", "a board", "aarch64", memory_bytes=1 << 20)


def chain(size: int) -> onnx.ModelProto:
    """x -> a -> b -> y with a kept for the end: three vectors live at once."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [size]) for n in "xy")
    return helper.make_model(helper.make_graph(nodes, "chain", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])


def test_the_peak_is_what_lives_at_once_not_the_sum() -> None:
    found = memory(program(chain(1000)), BOARD)
    assert (found.weights, found.activations, found.unknown) == (0, 3 * 4000, 0)  # a, b and y; x has gone
    assert found.fits


def test_weights_are_counted_once_and_a_device_that_is_too_small_is_named(tmp_path: Path) -> None:
    weight = np.zeros((600, 600), np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "dense")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 600]) for n in "xy")
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    found = memory(program(model), BOARD)
    assert (found.weights, found.activations) == (weight.nbytes, 4800)
    assert not found.fits
    assert "more than the device's 1 MiB" in words("board", found)
    onnx.save(model, tmp_path / "m.onnx")
    (report,) = check_model(tmp_path / "m.onnx", [BOARD])
    assert not report.served
    assert report.as_dict()["memory"]["fits"] is False


def test_open_sizes_are_told_and_count_as_nothing() -> None:
    found = memory(program(cnn("batch")), BOARD)
    assert found.unknown > 0
    assert "of open size are not counted" in words("board", found)
    assert memory(program(cnn(2)), BOARD).unknown == 0


def test_a_target_that_states_no_memory_is_no_obstacle() -> None:
    assert Memory(1 << 40, 0, None).fits
    assert words("cloud", Memory(1 << 40, 0, None)) == ""


def test_the_share_that_is_left_by_nodes_and_by_flops() -> None:
    subject = program(cnn(2))
    first = next(n for n in subject.nodes() if n.op_type == "Conv")
    label = first.name or str(first.outputs[0].name)
    share = fallback_share(subject, [Gap("e", label, "Conv", "no"), Gap("e", label, "Conv", "twice no")])
    assert (share["nodes"], share["of"]) == (1, sum(1 for _ in subject.nodes()))
    # 2*8*16*16 outputs of 27 products; the second convolution: 2*8*3*3 of 36 (two groups); the dense layer: 2*5 of 8.
    counted = [2 * 8 * 16 * 16 * 27, 2 * 8 * 3 * 3 * 36, 2 * 5 * 8]
    assert share["flops"] == pytest.approx(counted[0] / sum(counted), abs=1e-5)
    assert left_words(share).startswith("1 of ")
    whole = fallback_share(subject, [Gap("e", "", "", "the program as a whole")])
    assert (whole["nodes"], whole["flops"]) == (whole["of"], 1.0)


@pytest.mark.needs("llvmlite")
def test_check_says_what_each_engine_leaves_on_a_board(tmp_path: Path) -> None:
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    (report,) = check_model(tmp_path / "cnn.onnx", ["rasp4b"])
    facts = report.as_dict()
    assert facts["served"]
    assert facts["fallback"]["trees"]["flops"] == 1.0  # a CNN is no tree model
    assert facts["memory"]["device"] == 1 << 30
    assert 0 < facts["memory"]["share"] < 1e-3
