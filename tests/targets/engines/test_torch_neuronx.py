"""The engine torch-neuronx, against a stand-in of the package with the documented signatures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import cnn, program

from neoc.compile.contracts import EngineOptions, Toolchain, Variant
from neoc.compile.errors import WrongDevice
from neoc.compile.program import Program, Source
from neoc.compile.registry import load_target
from neoc.targets import standins
from neoc.targets.engines import torch_neuronx as engine
from neoc.targets.engines.torch_neuronx import STANDIN_MODEL, TorchNeuronx

pytestmark = pytest.mark.needs("torch")
INF2 = load_target("inf2")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.syspath_prepend(str(Path(standins.__file__).parent / "modules"))
    engine._imported.cache_clear()
    yield
    engine._imported.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] in ("nrtpy", "torch_neuronx")]:
        del sys.modules[name]


def exported(folder: Path) -> tuple[Program, np.ndarray]:
    """A program of torch.export with the signature of x[2,6] -> y[2,3], and its weight."""
    import torch
    from onnx import helper
    from small_models import model_of, tensor

    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 3, bias=False)
    torch.export.save(torch.export.export(layer, (torch.zeros(2, 6),)), folder / "m.pt2")
    w = layer.weight.detach().numpy()
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    made = program(model_of([node], [tensor("x", [2, 6])], [tensor("y", [2, 3])], w=w.T.copy()))
    return replace(made, source=Source(folder / "m.pt2", format="torch-export")), w


def test_it_traces_with_the_documented_arguments_and_runs(package: None, tmp_path: Path) -> None:
    import torch_neuronx

    source, w = exported(tmp_path)
    tested = TorchNeuronx()
    assert tested.missing() is None
    assert tested.gaps(source, INF2) == ()
    (variant,) = tested.variants(source, INF2, EngineOptions())
    (tmp_path / "out").mkdir()
    built = tested.build(source, INF2, variant, tmp_path / "out")
    assert built.toolchain is Toolchain.STANDIN
    assert list(built.members) == [STANDIN_MODEL]
    assert torch_neuronx.calls[-1]["compiler_args"] == ["--target", "inf2", "--auto-cast", "none"]
    assert torch_neuronx.calls[-1]["cpu_backend"] is True
    members = {STANDIN_MODEL: memoryview(built.members[STANDIN_MODEL].read_bytes())}
    x = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    with tested.open(members, source.signature, variant, 1, None) as session:
        assert session.stamp.startswith("stand-in")
        np.testing.assert_allclose(session.run({"x": x})["y"], x @ w.T, rtol=1e-5, atol=1e-6)


def test_a_stand_ins_module_opens_nowhere_else(package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "0")
    with pytest.raises(WrongDevice, match="stand-in"):
        TorchNeuronx().open({STANDIN_MODEL: memoryview(b"")}, program(cnn(1)).signature, Variant.of("fp32"), 1, None)


def test_other_sources_and_open_dimensions_are_gaps() -> None:
    reasons = [gap.reason for gap in TorchNeuronx().gaps(program(cnn("n")), INF2)]
    assert "torch.export" in reasons[0]
    assert "not static" in reasons[1]


def test_placeholders_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "torch_neuronx.py").write_text("raise ImportError('WRONG PACKAGE. Please install')")
    monkeypatch.syspath_prepend(str(tmp_path))
    engine._imported.cache_clear()
    try:
        assert "WRONG PACKAGE" in str(TorchNeuronx().missing())
    finally:
        engine._imported.cache_clear()
        sys.modules.pop("torch_neuronx", None)
