"""TorchScript: recorded with its state as inputs and outputs, or exported with open sizes; the rest is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.compile import CompileOptions, compile_model, frontends
from neoc.compile.errors import InvalidInput, InvalidModel
from neoc.compile.options import InputBinding
from neoc.targets import open_artifact

pytestmark = pytest.mark.needs("torch", "onnxscript")


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def _saved(module: Any, path: Path) -> Path:
    module.save(str(path))
    return path


def _traced(path: Path) -> Path:
    import torch

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(2)).eval()
    return _saved(torch.jit.trace(net, torch.randn(2, 3, 8, 8)), path)


@pytest.mark.parametrize(("streams", "rate"), [(1, 16000), (2, 8000)])
def test_silero_keeps_its_state_as_inputs_and_outputs(zoo, tmp_path: Path, streams: int, rate: int) -> None:  # type: ignore[no-untyped-def]
    """At 8 kHz a frame is 256 samples and the script takes another branch, with weights of its own."""
    import torch

    sound = [sample["x"][:, :: 16000 // rate] for sample in zoo.samples("silero_vad_jit")]
    frames = [np.concatenate([frame, np.roll(sound, 1, axis=0)[i]][:streams]) for i, frame in enumerate(sound)]
    state, context = np.zeros((2, streams, 128), np.float32), np.zeros((streams, rate // 250), np.float32)
    each = {"state": state, "context": context}
    kept = {name: np.stack([zeros] * len(frames)) for name, zeros in each.items()}
    np.savez(tmp_path / "frames.npz", x=np.stack(frames), **kept)
    options = CompileOptions(
        inputs={"x": InputBinding(frames[0].shape)},
        pairs=(("constants", f"sr={rate}"),),
        data=tmp_path / "frames.npz",
        race_seconds=0.5,
    )
    artifact = compile_model(zoo("silero_vad_jit"), "host", options, output=tmp_path / "s.neoc")
    assert [spec.name for spec in artifact.signature.inputs] == ["x", "state", "context"]
    assert artifact.manifest["verification"]["reference"].startswith("PyTorch")
    script = torch.jit.load(str(zoo("silero_vad_jit")))
    with open_artifact(artifact.path, threads=1) as session, torch.no_grad():
        heard = []
        for frame in frames:  # the script keeps its own state; ours goes round outside
            want = script(torch.from_numpy(frame), rate).numpy()
            got = session.run({"x": frame, "state": state, "context": context})
            state, context = got["state_next"], got["context_next"]
            np.testing.assert_allclose(got["output"], want, rtol=1e-4, atol=1e-6)
            heard.append(float(want[0, 0]))
    assert max(heard) > 2 * min(heard), "the probability follows the sound"


def test_a_traced_module_keeps_open_sizes(tmp_path: Path) -> None:
    import torch

    path = _traced(tmp_path / "t.pt")
    name = torch.jit.load(str(path)).forward.schema.arguments[1].name
    options = CompileOptions(inputs={name: InputBinding(("N", 3, "H", "W"))}, race_seconds=0.3)
    artifact = compile_model(path, "host", options, output=tmp_path / "t.neoc")
    module = torch.jit.load(str(path))
    with open_artifact(artifact.path, threads=1) as session, torch.no_grad():
        for shape in ((1, 3, 8, 8), (3, 3, 5, 11)):
            image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
            (got,) = session.run({name: image}).values()
            np.testing.assert_allclose(got, module(torch.from_numpy(image)).numpy(), rtol=1e-4, atol=1e-6)


def _scripted(path: Path) -> Path:
    import torch

    class Gate(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, twice: bool) -> torch.Tensor:
            y = self.fc(x)
            if twice:
                y = self.fc(y)
            return y

    return _saved(torch.jit.script(Gate()), path)


def test_arguments_that_are_no_tensors_decide_branches(tmp_path: Path) -> None:
    import torch

    path = _scripted(tmp_path / "gate.pt")
    module = torch.jit.load(str(path))
    x = np.ones((2, 4), np.float32)
    for word, flag in (("true", True), ("false", False)):
        options = CompileOptions(
            inputs={"x": InputBinding((2, 4))}, pairs=(("constants", f"twice={word}"),), race_seconds=0.3
        )
        artifact = compile_model(path, "host", options, output=tmp_path / f"{word}.neoc")
        with open_artifact(artifact.path, threads=1) as session, torch.no_grad():
            want = module(torch.from_numpy(x), flag).numpy()
            np.testing.assert_allclose(session.run({"x": x})["output"], want, rtol=1e-4, atol=1e-6)


def test_a_branch_on_values_is_refused(tmp_path: Path) -> None:
    import torch

    class Jump(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if bool(x.sum() > 0) else x - 1

    path = _saved(torch.jit.script(Jump()), tmp_path / "jump.pt")
    with pytest.raises(InvalidModel, match="branches on the values of a tensor"):
        frontends.load(path, {"x": InputBinding((2, 3))})


@pytest.mark.parametrize(
    ("inputs", "constants", "words"),
    [
        ({}, "twice=true", "nothing is known of forward's argument 'x'"),
        ({"x": (2, 4)}, "", "nothing is known of forward's argument 'twice'"),
        ({"x": (2, 5)}, "twice=true", "rejects the sizes"),
        ({"x": (2, 4)}, "twice=true,loud=1", "no argument 'loud'"),
        ({"x": (2, 4)}, "twice", "cannot be read"),
        ({"x": ("N", 4)}, "twice=true", "open dimensions are kept only"),
    ],
)
def test_what_forward_takes_is_asked_for(
    tmp_path: Path, inputs: dict[str, tuple[Any, ...]], constants: str, words: str
) -> None:
    options = CompileOptions(pairs=(("constants", constants),))
    bindings = {name: InputBinding(shape) for name, shape in inputs.items()}
    with pytest.raises(InvalidInput, match=words):
        frontends.load(_scripted(tmp_path / "gate.pt"), bindings, options)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, keep: float) -> None:
    path = _traced(tmp_path / "t.pt")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InvalidModel):
        frontends.load(path, {"x": InputBinding((1, 3, 8, 8))})
