"""PyTorch exported programs: converted, compared with PyTorch itself, refused where they are broken or hide pickles."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch_models

from neoc.compile import CompileOptions, compile_model, frontends, pipeline
from neoc.compile.errors import InvalidInput, InvalidModel, MissingTool, UnsupportedModel, UsageError
from neoc.compile.frontends import contract
from neoc.compile.options import InputBinding
from neoc.targets import open_artifact

pytestmark = pytest.mark.needs("torch", "onnxscript")
QUICK = CompileOptions(race_seconds=0.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return torch_models.exported(tmp_path_factory.mktemp("torch") / "net.pt2")


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def test_an_exported_program_is_compiled_and_held_against_pytorch(model: Path, tmp_path: Path) -> None:
    import torch

    artifact = compile_model(model, "host", QUICK, output=tmp_path / "net.neoc")
    proof, origin = artifact.manifest["verification"], artifact.manifest["provenance"]
    assert proof["reference"] == f"PyTorch {torch.__version__} on the source itself"
    assert proof["independent"] is True
    assert proof["samples"] == 3, "two of the first shape, one of another"
    assert origin["framework"] == "PyTorch"
    assert origin["version"] == torch.__version__
    net = torch_models.net()
    with open_artifact(artifact.path, threads=1) as session, torch.no_grad():
        for shape in ((1, 3, 16, 16), (3, 3, 30, 21)):
            image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
            want, got = net(torch.from_numpy(image)), session.run({"image": image})
            assert set(got) == {"logits", "features"}
            for name, tensor in want.items():
                np.testing.assert_allclose(got[name], tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_the_same_source_is_converted_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = frontends.load(model, {})
    monkeypatch.setattr("neoc.compile.worker.Worker.convert", None)
    again = frontends.load(model, {})
    assert first.digest == again.digest
    assert again.source is not None
    assert again.source.path == model
    assert again.source.graph.name == contract.GRAPH


def test_layers_and_lines_reach_the_nodes(model: Path) -> None:
    places = [node.metadata_props.get(contract.WHERE, "") for node in frontends.load(model, {}).nodes()]
    # The exporter folds the normalisation into the convolution and names the last of the two.
    assert any(p.startswith("norm (BatchNorm2d), torch_models.py:") and "self.conv(image)" in p for p in places)
    assert not any("/" in place.partition(": ")[0] for place in places), "no path of this machine"


def test_places_survive_the_normal_form() -> None:
    import torch

    torch.manual_seed(0)
    model = torch.nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    options = CompileOptions(inputs={"src": InputBinding(("N", 5, 16))}, example_inputs=(torch.randn(2, 5, 16),))
    places = [node.metadata_props.get(contract.WHERE, "") for node in pipeline.lower(model, options).nodes()]
    assert len(places) > 30
    assert all(places), "whatever passes made of a node, it knows its layer"
    assert {"self_attn (MultiheadAttention)", "norm1 (LayerNorm)", "linear2 (Linear)"} <= {
        place.partition(",")[0] for place in places
    }


def test_a_dimension_that_code_fixes_is_named() -> None:
    import torch

    class Steps(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([step.sum() for step in x.unbind(1)])

    options = CompileOptions(inputs={"x": InputBinding(("N", "T", 3))}, example_inputs=(torch.randn(2, 7, 3),))
    with pytest.raises(InvalidInput, match=r"x.*size.*1.*constant \(7\)") as caught:
        frontends.load(Steps(), options.inputs, options)
    assert "Dim.AUTO" not in str(caught.value), "torch's advice on its own interface is of no use here"


def test_open_dimensions_are_bound_by_input(model: Path) -> None:
    program = frontends.load(model, {"image": InputBinding(("N", 3, 32, "W"))})
    assert program.signature.inputs[0].shape == ("N", 3, 32, "W")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neoc.compile.worker.Worker.convert", None)  # one conversion serves every binding
        assert frontends.load(model, {}).signature.inputs[0].shape[0] == "batch"  # type: ignore[index]
    with pytest.raises(InvalidInput, match="fixed size 3"):
        frontends.load(model, {"image": InputBinding((1, 4, 32, 32))})


def test_without_the_framework_the_report_says_so(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frontends.load(model, {})
    monkeypatch.setattr(contract.FrontEnd, "oracle_missing", lambda self: f"torch not installed ({self.install})")
    artifact = compile_model(model, "host", QUICK, output=tmp_path / "net.neoc")
    proof = artifact.manifest["verification"]
    assert proof["independent"] is False
    assert "neoc's own conversion" in proof["reference"]
    assert "pip install 'neoc[torch]'" in proof["reference"]


def test_without_the_framework_the_error_names_the_command(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "_lacking", lambda names: ["torch"])
    with pytest.raises(MissingTool, match=r"pip install 'neoc\[torch\]'"):
        frontends.load(model, {}, CompileOptions(use_cache=False))


def test_a_wrong_conversion_is_not_excused(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is changed behind the framework's back: engines and float64 agree on it, PyTorch does not."""
    import onnx_ir as ir

    from neoc.compile import onnx_io
    from neoc.compile.errors import ParityFailure
    from neoc.compile.frontends import conversion

    real = conversion._run

    def spoilt(front_end, request, folder, *rest):  # type: ignore[no-untyped-def]
        facts = real(front_end, request, folder, *rest)
        graph = onnx_io.read(folder / contract.GRAPH)
        weight = next(v for n, v in graph.graph.initializers.items() if n == "fc.bias")
        weight.const_value = ir.tensor(weight.const_value.numpy() * 1.01)  # type: ignore[union-attr]
        onnx_io.write(graph, folder / contract.GRAPH, data_name=contract.GRAPH_DATA)
        return facts

    monkeypatch.setattr(conversion, "_run", spoilt)
    with pytest.raises(ParityFailure, match=r"conversion of net\.pt2 to ONNX.*on the source itself"):
        compile_model(model, "host", CompileOptions(race_seconds=0.5, use_cache=False), output=tmp_path / "x.neoc")


def test_a_live_module_is_compiled(tmp_path: Path) -> None:
    import torch

    net = torch_models.net()
    net.train()
    options = CompileOptions(race_seconds=0.5, inputs={"image": InputBinding(("N", 3, 12, 12))})
    artifact = compile_model(
        net, "host", options, output=tmp_path / "x.neoc", example_inputs=(torch.randn(2, 3, 12, 12),)
    )
    assert artifact.manifest["provenance"]["name"] == "Net.pt2"
    assert artifact.signature.inputs[0].shape == ("N", 3, 12, 12)
    assert net.training, "the user's module is left as it was"


def test_an_unknown_option_names_the_known_ones(model: Path) -> None:
    with pytest.raises(UsageError, match="there is no option 'colour'"):
        frontends.load(model, {}, CompileOptions(pairs=(("colour", "red"),)))


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.98])
def test_a_truncated_program_is_refused(model: Path, tmp_path: Path, keep: float) -> None:
    data = model.read_bytes()
    path = tmp_path / "cut.pt2"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InvalidModel):
        frontends.load(path, {})


def test_a_pickle_inside_is_not_unpickled(model: Path, tmp_path: Path) -> None:
    """The sample inputs of a program are a torch archive: one that holds a pickle of an arbitrary class is refused."""
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pt2"
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("sample_inputs/model.pt"):
                data = _evil_archive(marker)
            new.writestr(name, data)
    with pytest.raises(InvalidModel, match="pickle"):
        frontends.load(path, {})
    assert not marker.exists()


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


def _evil_archive(marker: Path) -> bytes:
    return pickle.dumps(_Evil(marker))


def test_everything_that_cannot_be_converted_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from neoc.cli.app import run

    model = torch_models.unsupported()
    with pytest.raises(UnsupportedModel) as caught:
        compile_model(model, "host", QUICK, output=tmp_path / "x.neoc", example_inputs=(torch.ones(2, 4),))
    gaps = {gap.operator.split(".")[1]: gap for gap in caught.value.gaps}
    assert set(gaps) == {"bessel_j0", "lgamma", "special_bessel_y1"}
    assert gaps["bessel_j0"].where.startswith("first (Bessel), torch_models.py:")
    assert "bessel_j0(x)" in gaps["bessel_j0"].where
    assert gaps["lgamma"].where.startswith("last.0 (Gamma), torch_models.py:")
    program = torch.export.export(model, (torch.ones(2, 4),))
    torch.export.save(program, tmp_path / "bad.pt2")
    assert run(["check", str(tmp_path / "bad.pt2"), "--target", "host"]) == 1
    told = capsys.readouterr()
    assert "layer, line" in told.out
    assert all(operator in told.err for operator in gaps)
    assert not (tmp_path / "x.neoc").exists()
