"""Real models through DEFAULT: the same outputs on real inputs, fewer nodes, nothing left to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pass_programs import evaluate, evaluate_bytes, operators

from neoc.compile import onnx_io
from neoc.compile.passes import DEFAULT, BindValues, run
from neoc.compile.program import Program, Provenance

# name: (opset after, nodes before, nodes after at most)
MODELS = {
    "silero_vad_openvino_16k": (16, 167, 36),
    "silero_vad_16k_sequence": (16, 63, 27),
    "silero_vad": (16, 689, 150),
    "ppocrv4_det": (14, 672, 330),
    "ppocr_cls": (14, 566, 233),
    "magika": (15, 95, 93),
    "basic_pitch": (15, 248, 240),
}

Zoo = Any


def _load(path: Path) -> Program:
    return Program(onnx_io.read(path), Provenance("onnx", "", "", path.name))


@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_keeps_its_outputs(zoo: Zoo, name: str) -> None:
    opset, nodes_before, nodes_after = MODELS[name]
    before = _load(zoo(name))
    assert len(operators(before)) == nodes_before
    digest = before.digest
    after = run(before, DEFAULT)
    assert before.digest == digest
    assert after.opset == opset
    assert not after.notes
    assert len(operators(after)) <= nodes_after
    assert run(after, DEFAULT).digest == after.digest

    source = zoo(name).read_bytes()
    inputs = [spec.name for spec in before.signature.inputs]
    outputs: list[list[np.ndarray]] = []
    for sample in zoo.samples(name)[:2]:
        feeds = {n: sample[n] for n in inputs}
        wanted, found = evaluate_bytes(source, feeds), evaluate(after, feeds)
        for a, b in zip(wanted, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * np.abs(a).max())
        outputs.append(found)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(*outputs, strict=True) if a.shape == b.shape)


def test_the_passes_are_deterministic(zoo: Zoo) -> None:
    digests = {run(_load(zoo("silero_vad")), DEFAULT).digest for _ in range(2)}
    assert len(digests) == 1


def test_the_vad_that_chooses_by_sampling_rate_is_the_one_without_choice_once_both_are_bound(zoo: Zoo) -> None:
    """silero_vad holds two networks in nested Ifs; with rate and shapes bound nothing of that is left."""
    loaded = _load(zoo("silero_vad"))
    shapes = {"input": [1, 576], "state": [2, 1, 128]}
    proto = onnx_io.read(zoo("silero_vad"))
    import onnx_ir as ir

    for value in proto.graph.inputs:
        if value.name in shapes:
            value.shape = ir.Shape(shapes[value.name])
    bound = Program(proto, loaded.provenance)
    after = run(bound, (BindValues((("sr", 16000),)), *DEFAULT))
    static = run(_load(zoo("silero_vad_openvino_16k")), DEFAULT)
    assert sorted(operators(after)) == sorted(operators(static))
    assert after.signature.outputs[1].shape == (2, 1, 128)
    for sample in zoo.samples("silero_vad")[:2]:
        wanted = evaluate(loaded, {n: sample[n] for n in ("input", "state", "sr")})
        found = evaluate(after, {n: sample[n] for n in ("input", "state")})
        for a, b in zip(wanted, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_quantised_weights_of_a_real_model_stay_int8(zoo: Zoo, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target = tmp_path / "int8.onnx"
    quantize_dynamic(zoo("magika"), target, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
    before = _load(target)
    after = run(before, DEFAULT)
    assert _int8_bytes(before) == _int8_bytes(after) > 0
    feeds: dict[str, np.ndarray] = {"bytes": zoo.samples("magika")[0]["bytes"]}
    np.testing.assert_allclose(evaluate(after, feeds)[0], evaluate(before, feeds)[0], rtol=1e-5, atol=1e-6)


def _int8_bytes(of: Program) -> int:
    tensors = [v.const_value for g in of.model.graphs() for v in g.initializers.values()]
    return sum(t.nbytes for t in tensors if t is not None and t.dtype.name in ("INT8", "UINT8") and t.size > 1)
