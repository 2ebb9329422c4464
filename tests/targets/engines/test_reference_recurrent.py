"""LSTM, GRU and RNN of the reference evaluator: onnxruntime, an independent implementation, says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from neoc.targets.engines.reference_ops import OPERATORS

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
EXTRAS = {
    "plain": GATES,
    "clip": GATES,
    "activations": GATES,
    "lengths": GATES,
    "no states": GATES,
    "no bias": GATES,
    "peepholes": ["LSTM"],
    "input_forget": ["LSTM"],
    "linear_before_reset": ["GRU"],
}
ROWS = [(kind, extra) for extra, kinds in EXTRAS.items() for kind in kinds]
STEPS, BATCH, INPUTS, HIDDEN = 5, 2, 3, 4


def model(kind: str, direction: str, extra: str) -> tuple[bytes, dict[str, np.ndarray]]:
    """One node, everything an input, and values for them."""
    random = np.random.default_rng(len(kind + direction + extra))
    d, rows = 2 if direction == "bidirectional" else 1, GATES[kind] * HIDDEN
    shapes = {"X": (STEPS, BATCH, INPUTS), "W": (d, rows, INPUTS), "R": (d, rows, HIDDEN)}
    names = ["X", "W", "R", "", "", "", "", ""]
    if extra != "no bias":
        shapes["B"], names[3] = (d, 2 * rows), "B"
    if extra != "no states":
        shapes["h"], names[5] = (d, BATCH, HIDDEN), "h"
        if kind == "LSTM":
            shapes["c"], names[6] = (d, BATCH, HIDDEN), "c"
    if extra == "peepholes":
        shapes["P"], names[7] = (d, 3 * HIDDEN), "P"
    feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if extra == "lengths":
        feeds["L"], names[4] = np.array([3, 5], np.int32), "L"
    node = helper.make_node(kind, _trimmed(names), outputs(kind), direction=direction, hidden_size=HIDDEN)
    node.attribute.extend(helper.make_attribute(k, v) for k, v in _attributes(kind, extra, d).items())
    values = [helper.make_tensor_value_info(k, _type(v), v.shape) for k, v in feeds.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs(kind)]
    graph = helper.make_graph([node], "g", values, results)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return made.SerializeToString(), feeds


def outputs(kind: str) -> list[str]:
    return ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]


def _trimmed(names: list[str]) -> list[str]:
    return names[: 1 + max(i for i, name in enumerate(names) if name)]


def _type(array: np.ndarray) -> int:
    return int(TensorProto.INT32 if array.dtype == np.int32 else TensorProto.FLOAT)


def _attributes(kind: str, extra: str, directions: int) -> dict[str, Any]:
    if extra == "clip":
        return {"clip": 0.7}
    if extra in ("input_forget", "linear_before_reset"):
        return {extra: 1}
    if extra != "activations":
        return {}
    if kind == "RNN":
        return {"activations": ["LeakyRelu"] * directions, "activation_alpha": [0.2] * directions}
    names, alphas, betas = ["HardSigmoid", "ScaledTanh", "ScaledTanh"], [0.3, 0.9, 1.2], [0.4, 1.5, 0.8]
    count = 3 if kind == "LSTM" else 2
    return {
        "activations": names[:count] * directions,
        "activation_alpha": alphas[:count] * directions,
        "activation_beta": betas[:count] * directions,
    }


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("kind", "extra"), ROWS)
def test_it_says_what_onnxruntime_says(kind: str, extra: str, direction: str) -> None:
    made, feeds = model(kind, direction, extra)
    session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    for scale in (1.0, 3.0):
        given = {k: v if v.dtype == np.int32 else (v * np.float32(scale)) for k, v in feeds.items()}
        ours = ReferenceEvaluator(made, new_ops=OPERATORS).run(None, given)
        theirs = session.run(None, given)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", GATES)
def test_the_batch_may_come_first(kind: str) -> None:
    """onnxruntime has no layout = 1: the same by transposition."""
    made, feeds = model(kind, "bidirectional", "plain")
    plain = ReferenceEvaluator(made, new_ops=OPERATORS).run(None, feeds)
    import onnx

    proto = onnx.load_from_string(made)
    proto.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs(kind))
    swapped = {k: np.swapaxes(v, 0, 1) if k in "Xhc" else v for k, v in feeds.items()}
    y, *ends = ReferenceEvaluator(proto, new_ops=OPERATORS).run(None, swapped)
    np.testing.assert_allclose(y, plain[0].transpose(2, 0, 1, 3), rtol=1e-6)
    for a, b in zip(ends, plain[1:], strict=True):
        np.testing.assert_allclose(a, np.swapaxes(b, 0, 1), rtol=1e-6)


def test_functions_are_asymptotically_right() -> None:
    """A sigmoid of a large negative number neither warns nor is no number."""
    made, feeds = model("LSTM", "forward", "plain")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = ReferenceEvaluator(made, new_ops=OPERATORS).run(
            None, {k: v * np.float32(200) for k, v in feeds.items()}
        )
    assert all(np.isfinite(a).all() for a in found)
