"""One small CNN through the whole of neoc on three unlike targets: executed, compiled, simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_models import cnn, reference

from neoc.compile import Artifact, CompileOptions, compile_model
from neoc.compile.contracts import Level
from neoc.compile.errors import WrongDevice
from neoc.targets import open_artifact
from neoc.targets.devices import neuron_devices
from neoc.targets.elf import read_elf
from neoc.targets.engines.neuron import hlo
from neoc.targets.engines.neuron.preflight import examine, rule_set
from neoc.targets.host import machine

SOURCE = cnn(2)


def compiled(target: str, folder: Path, **options: Any) -> Artifact:
    model = folder / "cnn.onnx"
    onnx.save(SOURCE, model)
    chosen = CompileOptions(race_seconds=1.0, use_cache=False, **options)
    return compile_model(model, target, chosen, output=folder / f"cnn.{target}.neoc")


def member(artifact: Artifact, name: str) -> bytes:
    (path,) = (path for path in artifact.members() if path.endswith(f"/{name}"))
    return bytes(artifact.read([path])[path])


def agrees(path: Path) -> None:
    """The opened artifact computes what the source says, and other values for other inputs."""
    answers = []
    with open_artifact(path, threads=1) as session:
        for seed in (0, 1):
            x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16), np.float32)
            found = session.run({"x": x})
            for name, wanted in zip(("y", "z"), reference(SOURCE, {"x": x}), strict=True):
                np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)
            answers.append(found["y"])
    assert np.abs(answers[0] - answers[1]).max() > 0.01


@pytest.mark.needs("onnxruntime")
def test_x86_is_executed(tmp_path: Path) -> None:
    artifact = compiled("host", tmp_path, engines=("onnxruntime",))
    assert artifact.level is Level.EXECUTED
    agrees(artifact.path)


@pytest.mark.needs("tvm", "ziglang")
def test_aarch64_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_EMULATION", "0")
    artifact = compiled("aarch64", tmp_path, engines=("tvm",))
    elf = read_elf(member(artifact, "lib.so"))
    assert (elf.machine, elf.shared) == ("aarch64", True)
    assert "__tvm_ffi__library_bin" in elf.exports
    assert sum("conv2d" in name for name in elf.exports) == 2
    if machine() == "aarch64":
        agrees(artifact.path)
        return
    assert artifact.level is Level.COMPILED
    with pytest.raises(WrongDevice, match="aarch64"):
        open_artifact(artifact.path)


@pytest.mark.needs("jax")
def test_inf2_is_simulated(tmp_path: Path) -> None:
    artifact = compiled("inf2", tmp_path)
    if not neuron_devices():
        assert artifact.level is Level.SIMULATED
    assert all(o["ok"] and o["relative"] < 1e-5 for o in artifact.manifest["verification"]["outputs"])
    module = hlo.read(member(artifact, "module.hlo.pb"))
    assert examine(module, rule_set()) == ()
    assert module.opcodes()["convolution"] == 2
    assert [str(shape) for shape in module.results()] == ["f32[2,5]", "f32[2,5]"]
    io = json.loads(member(artifact, "io.json"))
    assert [str(p.shape.dims) for p in module.parameters()] == [str(tuple(p["shape"])) for p in io["parameters"]]
    assert [p["name"] for p in io["parameters"] if p["kind"] == "input"] == ["x"]
    with pytest.raises(WrongDevice, match="inf2"):
        open_artifact(artifact.path)


@pytest.mark.needs("tvm", "ziglang", "onnxruntime")
def test_the_same_engine_proves_itself_where_its_code_can_run(tmp_path: Path) -> None:
    """TVM is not asked on x86 unless it is named; named, its code is executed and checked like any other's."""
    artifact = compiled("host", tmp_path, engines=("tvm",))
    assert artifact.level is Level.EXECUTED
    assert artifact.manifest["placement"]["nodes"] == {"tvm": 10}
    agrees(artifact.path)
