"""The reference evaluator: the last resort that everyone can see, and the oracle of small models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from programs import V3, opened, program_in, program_of, run

from neoc.compile import onnx_io
from neoc.compile.contracts import EngineOptions, Target
from neoc.compile.errors import FeedError
from neoc.compile.frontends.contract import WHERE
from neoc.targets.engines.reference import Reference

ENGINE = Reference()


def test_it_is_the_last_resort_and_an_oracle() -> None:
    assert ENGINE.fallback
    assert ENGINE.oracle
    assert ENGINE.serves(V3)
    assert not ENGINE.serves(Target("inf2", "", "neuron"))


def test_placement_names_what_fell_back(tmp_path: Path) -> None:
    program = program_of("g (float[2] x) => (float[2] y) { a = Relu (x) b = Neg (a) y = Relu (b) }")
    built = ENGINE.build(program, V3, ENGINE.variants(program, V3, EngineOptions())[0], tmp_path)
    assert built.placement.as_dict() == {"nodes": {"reference": 3}, "fallback": ["Neg", "Relu"]}
    for line, node in enumerate(program.nodes()):
        node.metadata_props[WHERE] = f"layer{line}, net.py:{line}"
    built = ENGINE.build(program, V3, ENGINE.variants(program, V3, EngineOptions())[0], tmp_path)
    assert built.placement.fallback == ("Neg at layer1, net.py:1", "Relu at layer0, net.py:0 and 1 more")


def test_gaps() -> None:
    text = """g (float[2] x) => (float[2] y, float[2] z) {
        a = Gelu (x) b = com.microsoft.QuickGelu (a) y = Neg (b) z = HardSwish (x) }"""
    found = ENGINE.gaps(program_of(text, opset=20), V3)
    assert [(g.node, g.operator) for g in found] == [("b", "QuickGelu")]
    old = program_of("g (float[3] x, int64[1] i, float[1] u) => (float[3] y) { y = Scatter (x, i, u) }", opset=10)
    assert [g.operator for g in ENGINE.gaps(old, V3)] == ["Scatter"]


def test_what_only_it_runs() -> None:
    """A determinant and a matrix of strings: no compiled CPU kernel of OpenVINO for either."""
    got = run(
        ENGINE, program_of("g (float[2, 2] x) => (float y) { y = Det (x) }"), x=np.array([[1, 2], [3, 5]], np.float32)
    )
    assert got["y"].shape == ()
    assert float(got["y"]) == pytest.approx(-1)


def test_doubles_stay_doubles() -> None:
    x = np.array([1 + 1e-12, 3])
    got = run(ENGINE, program_of("g (double[2] x) => (double[2] y) { y = Mul (x, x) }"), x=x)["y"]
    np.testing.assert_array_equal(got, x * x)
    assert got.dtype == np.float64


def test_sequences() -> None:
    program = program_of("g (seq(float[N]) s, float[N] x) => (seq(float[N]) t) { t = SequenceInsert (s, x) }")
    parts = [np.array([1, 2], np.float32)]
    with opened(ENGINE, program) as session:
        got = session.run({"s": parts, "x": np.array([3], np.float32)})["t"]  # type: ignore[dict-item]
    assert isinstance(got, list)
    assert [part.tolist() for part in got] == [[1, 2], [3]]


def test_it_agrees_with_a_real_model_source(zoo: Any) -> None:
    from neoc.targets.engines.onnxruntime import OnnxRuntime

    path = zoo("silero_vad_openvino_16k")
    program = program_in(path)
    sample = zoo.samples("silero_vad_openvino_16k")[0]
    want = OnnxRuntime().open_source(path, program.signature).run(sample)
    got = ENGINE.open_source(path, program.signature).run(sample)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)


def test_the_oracle_reads_external_data(tmp_path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((600, 600)).astype(np.float32)
    program = program_of("g (float[1, 600] x) => (float[1, 600] y) { y = MatMul (x, w) }", w=w)
    onnx_io.write(program.model, tmp_path / "m.onnx", data_name="m.data")
    assert (tmp_path / "m.data").stat().st_size >= w.nbytes
    x = np.ones((1, 600), np.float32)
    got = ENGINE.open_source(tmp_path / "m.onnx", program.signature).run({"x": x})["y"]
    np.testing.assert_allclose(got, x @ w, rtol=1e-4, atol=1e-4)


def test_values_that_an_operator_rejects() -> None:
    program = program_of("g (float[n] x, int64[k] s) => (float[A, B] y) { y = Reshape (x, s) }")
    with opened(ENGINE, program) as session, pytest.raises(FeedError, match="cannot reshape"):
        session.run({"x": np.zeros(6, np.float32), "s": np.array([4, 3])})


def test_warnings_of_numpy_stay_inside(recwarn: pytest.WarningsRecorder) -> None:
    got = run(ENGINE, program_of("g (float[2] x) => (float[2] y) { y = Log (x) }"), x=np.array([0, -1], np.float32))[
        "y"
    ]
    assert got[0] == -np.inf
    assert np.isnan(got[1])
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_domains_that_nobody_defines() -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="org.example")
    program = program_of("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    import onnx_ir as ir

    program.model.opset_imports["org.example"] = 1
    program.model.graph.node(0).domain, program.model.graph.node(0).op_type = node.domain, node.op_type
    assert isinstance(program.model, ir.Model)
    assert [g.operator for g in ENGINE.gaps(program, V3)] == ["Frobnicate"]
