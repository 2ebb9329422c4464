"""onnxruntime's GPU providers: offered where the GPU is, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_models import cnn, program, reference

from neoc.compile import CompileOptions, compile_model
from neoc.compile.contracts import EngineOptions, Level
from neoc.compile.errors import WrongDevice
from neoc.targets import get_target, open_artifact
from neoc.targets.devices import cuda_devices
from neoc.targets.engines import onnxruntime_gpu
from neoc.targets.engines.onnxruntime_gpu import OnnxRuntimeGpu

OPTIONS = EngineOptions()


def test_it_is_offered_only_where_the_gpu_and_its_providers_are(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, subject, t4 = OnnxRuntimeGpu(), program(cnn(1)), get_target("t4")
    monkeypatch.setattr(onnxruntime_gpu, "cuda_devices", lambda: set())
    monkeypatch.setattr(onnxruntime_gpu, "providers", lambda: tuple(onnxruntime_gpu.PROVIDERS.values()))
    assert engine.variants(subject, t4, OPTIONS) == ()
    assert "only where a NVIDIA T4 is" in engine.why_no_variant(subject, t4, OPTIONS)
    monkeypatch.setattr(onnxruntime_gpu, "cuda_devices", lambda: {"cuda:sm_75"})
    assert [v.id for v in engine.variants(subject, t4, OPTIONS)] == ["cuda", "tensorrt"]
    assert engine.variants(subject, get_target("l4"), OPTIONS) == ()
    monkeypatch.setattr(onnxruntime_gpu, "providers", lambda: ("CUDAExecutionProvider",))
    assert [v.id for v in engine.variants(subject, t4, OPTIONS)] == ["cuda"]
    monkeypatch.setattr(onnxruntime_gpu, "providers", lambda: ())
    missing = engine.missing()
    assert missing is not None
    assert "pip install onnxruntime-gpu" in missing


def test_it_serves_cards_and_no_jetson() -> None:
    engine = OnnxRuntimeGpu()
    assert engine.serves(get_target("h100"))
    assert not engine.serves(get_target("jetson-orin"))
    assert not engine.serves(get_target("x86-64-v3"))


@pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a GPU")
def test_without_a_gpu_it_does_not_open() -> None:
    subject = program(cnn(1))
    with pytest.raises(WrongDevice, match="NVIDIA GPU"):
        OnnxRuntimeGpu().open({}, subject.signature, onnxruntime_gpu.Variant.of("cuda"), 1, None)


@pytest.mark.needs("onnxruntime")
def test_no_node_falls_back_to_the_cpu() -> None:
    options = onnxruntime_gpu.options_for(1, {})
    assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"


@pytest.mark.needs("cuda", "onnxruntime")
def test_on_a_gpu_it_is_executed(tmp_path: Path) -> None:
    if not onnxruntime_gpu.providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    known = {get_target(n).level: n for n in ("t4", "v100", "a10", "a100", "l4", "h100")}
    here = [known[d.removeprefix("cuda:")] for d in cuda_devices() if d.removeprefix("cuda:") in known]
    if not here:
        pytest.skip("no target for the GPU of this machine")
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(use_cache=False, engines=("onnxruntime-gpu",))
    artifact = compile_model(tmp_path / "cnn.onnx", get_target(here[0]), options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.EXECUTED
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    with open_artifact(artifact.path) as session:
        for found, wanted in zip(session.run({"x": x}).values(), reference(cnn(2), {"x": x}), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
