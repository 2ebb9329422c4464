"""LSTM and GRU unrolled for TVM compute what onnxruntime computes of the node itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from small_models import model_of, program, tensor

from neoc.targets.engines.tvm_gaps import find_gaps
from neoc.targets.engines.tvm_recurrent import MOST_STEPS, unroll

BATCH, WIDTH, HIDDEN = 2, 5, 4
GATES = {"LSTM": 4, "GRU": 3}


def recurrent(
    kind: str, direction: str = "forward", steps: int = 6, states: bool = True, **attributes: Any
) -> onnx.ModelProto:
    random = np.random.default_rng(7)
    count, gates = (2 if direction == "bidirectional" else 1), GATES[kind]
    sizes = {
        "W": (count, gates * HIDDEN, WIDTH),
        "R": (count, gates * HIDDEN, HIDDEN),
        "B": (count, 2 * gates * HIDDEN),
    }
    weights = {k: (random.standard_normal(s) / 2).astype(np.float32) for k, s in sizes.items()}
    inputs, names = [tensor("x", [steps, BATCH, WIDTH])], ["x", "W", "R", "B"]
    if states:
        initial = ["h0", "c0"] if kind == "LSTM" else ["h0"]
        inputs += [tensor(n, [count, BATCH, HIDDEN]) for n in initial]
        names += ["", *initial]
    results = ["y", "h", "c"] if kind == "LSTM" else ["y", "h"]
    node = helper.make_node(kind, names, results, hidden_size=HIDDEN, direction=direction, **attributes)
    outputs = [tensor("y", [steps, count, BATCH, HIDDEN]), *(tensor(n, [count, BATCH, HIDDEN]) for n in results[1:])]
    return model_of([node], inputs, outputs, **weights)


def ran(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


CASES = [
    ("LSTM", "forward", True, {}),
    ("LSTM", "reverse", True, {}),
    ("LSTM", "bidirectional", True, {}),
    ("LSTM", "forward", False, {}),
    ("GRU", "forward", True, {}),
    ("GRU", "reverse", False, {"linear_before_reset": 1}),
    ("GRU", "bidirectional", True, {"linear_before_reset": 1}),
    ("GRU", "bidirectional", False, {}),
]


@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize(("kind", "direction", "states", "attributes"), CASES)
@pytest.mark.parametrize("steps", [1, 6])
def test_unrolled_is_the_same(kind: str, direction: str, states: bool, attributes: dict[str, Any], steps: int) -> None:
    source = recurrent(kind, direction, steps, states, **attributes)
    unrolled = ir.to_proto(unroll(ir.from_proto(source)))
    assert not {n.op_type for n in unrolled.graph.node} & set(GATES)
    assert [o.name for o in unrolled.graph.output] == [o.name for o in source.graph.output]
    random = np.random.default_rng(steps)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in source.graph.input}
    feeds = {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    unrolled.ir_version = source.ir_version
    # Split by num_outputs is of opset 18.
    unrolled.opset_import[0].version = 18
    for found, wanted in zip(ran(unrolled, feeds), ran(source, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        assert np.abs(wanted).max() > 0.05


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (recurrent("LSTM", steps=MOST_STEPS + 1), f"runs over {MOST_STEPS + 1} steps"),
        (recurrent("LSTM", activations=["Sigmoid", "Relu", "Tanh"]), "activations are Sigmoid, Relu, Tanh"),
        (recurrent("GRU", clip=1.0), "attribute clip"),
        (recurrent("LSTM", steps="t"), "sizes of its input are not known"),  # type: ignore[arg-type]
    ],
)
def test_what_is_not_unrolled_is_a_gap_and_stays(model: onnx.ModelProto, words: str) -> None:
    (gap,) = [g for g in find_gaps(program(model), "tvm") if g.operator in GATES]
    assert words in gap.reason
    assert {n.op_type for n in unroll(ir.from_proto(model)).graph} & set(GATES)


def test_what_is_unrolled_is_no_gap() -> None:
    assert find_gaps(program(recurrent("LSTM", "bidirectional")), "tvm") == ()
    assert find_gaps(program(recurrent("GRU")), "tvm") == ()
