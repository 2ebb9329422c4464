"""onnx's native code in a child: what it answers, and that losing it loses one answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import model_files
import numpy as np
import onnx
import psutil
import pytest

from neoc.compile import passes
from neoc.compile.frontends import load
from neoc.compile.options import InputBinding
from neoc.compile.passes.native import NativeError, NativeTools

RELU = "g (float[N,3] x) => (float[a,b] y) { y = Relu (x) }"
TOO_SMALL = "g (float[1,1,L] x) => (float[1,4,M] y) { c = Conv (x, k)  y = Slice (c, start, end, axes) }"
"""a kernel of 9: four samples leave a size of -4, on which onnx aborts"""


@pytest.fixture
def tools() -> Iterator[NativeTools]:
    tools = NativeTools()
    yield tools
    tools.close()


def too_small(path: Path) -> Path:
    ints = {"start": np.int64([0]), "end": np.int64([5]), "axes": np.int64([2])}
    return model_files.write(path, TOO_SMALL, None, k=np.ones((4, 1, 9), np.float32), **ints)


def test_answers(tools: NativeTools) -> None:
    model = model_files.proto_of(RELU)
    inferred = onnx.load_model_from_string(tools.infer(model.SerializeToString()))
    assert [d.dim_param or d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim] == ["a", 3]
    assert onnx.load_model_from_string(tools.convert(model.SerializeToString(), 20)).opset_import[0].version == 20
    with pytest.raises(NativeError, match="Frobnicate"):
        tools.convert(model_files.proto_of(RELU.replace("Relu", "Frobnicate")).SerializeToString(), 20)


def test_a_crash_loses_one_answer(tools: NativeTools, tmp_path: Path) -> None:
    model = onnx.load(too_small(tmp_path / "m.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 4
    for _ in range(2):
        with pytest.raises(NativeError, match=r"crashed on the model \(SIGABRT"):
            tools.infer(model.SerializeToString())
        assert tools.infer(model_files.proto_of(RELU).SerializeToString())


def test_a_hang_is_bounded() -> None:
    tools = NativeTools((sys.executable, "-c", "import time; time.sleep(600)"), bound_s=0.3)
    with pytest.raises(NativeError, match=r"within 0\.3 s"):
        tools.infer(b"")
    assert tools._process is None


def test_one_child_serves_all_and_ends(tools: NativeTools) -> None:
    def children() -> set[int]:
        return {child.pid for child in psutil.Process(os.getpid()).children()}

    before, data = children(), model_files.proto_of(RELU).SerializeToString()
    for _ in range(3):
        tools.infer(data)
    (own,) = children() - before
    tools.close()
    assert not psutil.pid_exists(own)


def test_an_input_too_small_for_the_model_is_no_crash(tmp_path: Path) -> None:
    program = load(too_small(tmp_path / "m.onnx"), {"x": InputBinding((1, 1, 4))})
    after = passes.run(program, passes.DEFAULT)
    assert "shape inference failed: onnx crashed on the model (SIGABRT)" in after.notes
    good = passes.run(load(too_small(tmp_path / "m.onnx"), {"x": InputBinding((1, 1, 32))}), passes.DEFAULT)
    assert good.signature.outputs[0].shape == (1, 4, 5)
    assert not any("failed" in note for note in good.notes)
