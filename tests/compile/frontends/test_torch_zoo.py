"""Real PyTorch models: from code and weights to an artifact, held against PyTorch at two shapes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_zoo

from neoc.compile import CompileOptions, compile_model
from neoc.compile.options import Bucketing, InputBinding
from neoc.targets import open_artifact

pytestmark = [pytest.mark.needs("torch", "onnxscript"), pytest.mark.timeout(900)]

Feeds = dict[str, np.ndarray]


def _module(code: Path, factory: str) -> Any:
    import torch

    torch.manual_seed(0)
    spec = importlib.util.spec_from_file_location("made", code)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, factory)()
    return (made[0] if isinstance(made, tuple) else made).eval()


def _compiled(code: Path, factory: str, inputs: dict[str, InputBinding], folder: Path) -> Path:
    options = CompileOptions(inputs=inputs, race_seconds=0.5, engines=("onnxruntime",))
    artifact = compile_model(f"{code}:{factory}", "host", options, output=folder / "m.neoc")
    proof = artifact.manifest["verification"]
    assert artifact.level == "executed"
    assert proof["reference"].startswith("PyTorch")
    assert proof["independent"] is True
    # RNet is sure that noise holds no face: that one output of its two does not move.
    assert not all(output["vacuous"] for output in proof["outputs"])
    return artifact.path


def _agrees(path: Path, module: Any, feeds: list[Feeds]) -> None:
    """Within 1e-4 of the framework for every feed, and different outputs for different feeds."""
    import torch

    with open_artifact(path, threads=1) as session, torch.no_grad():
        seen = []
        for feed in feeds:
            want = module(*(torch.from_numpy(array) for array in feed.values()))
            wanted = want if isinstance(want, tuple) else (want,)
            got = session.run(feed)
            assert len(got) == len(wanted)
            for array, tensor in zip(got.values(), wanted, strict=True):
                scale = float(tensor.abs().max())
                assert array.shape == tuple(tensor.shape)
                assert float(np.abs(array - tensor.numpy()).max()) <= 1e-4 * scale + 1e-6
            seen.append(next(iter(got.values())).tobytes())
        assert len(set(seen)) == len(feeds), "outputs depend on the input"


def _images(*shapes: tuple[int, ...]) -> list[Feeds]:
    rng = np.random.default_rng(3)
    return [{"x": rng.normal(size=shape).astype(np.float32)} for shape in shapes]


@pytest.mark.parametrize(
    ("factory", "binding", "shapes"),
    [
        ("pnet", ("N", 3, "H", "W"), [(1, 3, 60, 80), (2, 3, 97, 51)]),
        pytest.param("rnet", ("N", 3, 24, 24), [(1, 3, 24, 24), (5, 3, 24, 24)], marks=pytest.mark.slow),
        pytest.param("onet", ("N", 3, 48, 48), [(1, 3, 48, 48), (3, 3, 48, 48)], marks=pytest.mark.slow),
    ],
)
def test_mtcnn(zoo, tmp_path: Path, factory: str, binding: tuple, shapes: list) -> None:  # type: ignore[no-untyped-def, type-arg]
    code = torch_zoo.mtcnn(zoo("mtcnn"), tmp_path)
    path = _compiled(code, factory, {"x": InputBinding(binding)}, tmp_path)
    _agrees(path, _module(code, factory), _images(*shapes))


@pytest.mark.slow
def test_minilm_with_open_batch_and_length(zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("safetensors")
    code = torch_zoo.minilm(zoo("minilm"), tmp_path)
    open_both = InputBinding(("batch", "length"), "int64")
    path = _compiled(code, "make", {"ids": open_both, "mask": open_both}, tmp_path)
    rng = np.random.default_rng(5)
    feeds = []
    for batch, length, padding in ((1, 7, 0), (3, 33, 9)):
        ids = rng.integers(1000, 20000, (batch, length)).astype(np.int64)
        mask = np.ones_like(ids)
        mask[:, length - padding :] = 0
        feeds.append({"ids": ids, "mask": mask})
    _agrees(path, _module(code, "make"), feeds)


@pytest.mark.slow
@pytest.mark.needs("jax")
def test_minilm_in_buckets_for_a_static_chip(zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Two buckets of an open length, lowered for inf2: a request of 21 tokens, padded to 32, is PyTorch's of 21."""
    pytest.importorskip("safetensors")
    code = torch_zoo.minilm(zoo("minilm"), tmp_path)
    binding = InputBinding((1, "T"), "int64")
    options = CompileOptions(inputs={"ids": binding, "mask": binding}, bucketing=Bucketing({"T": (16, 32)}))
    artifact = compile_model(f"{code}:make", "inf2", options, output=tmp_path / "m.neoc")
    assert artifact.level == "simulated"
    assert [variant["bind"] for variant in artifact.manifest["variants"]] == [{"T": 16}, {"T": 32}]
    ids = np.random.default_rng(4).integers(1000, 20000, (1, 21)).astype(np.int64)
    feeds = {"ids": ids, "mask": np.ones_like(ids)}
    import torch

    with open_artifact(artifact.path, options={"executor": "xla-cpu"}) as session, torch.no_grad():
        (got,) = session.run(feeds).values()
        (other,) = session.run({**feeds, "ids": ids[:, ::-1].copy()}).values()
        want = _module(code, "make")(*(torch.from_numpy(array) for array in feeds.values()))
    want = (want[0] if isinstance(want, tuple) else want).numpy()
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    assert np.abs(other - want).max() > 1e-2 * np.abs(want).max()


def test_a_resnet_in_code(tmp_path: Path) -> None:
    code = torch_zoo.write(tmp_path, "resnet.py", torch_zoo.RESNET)
    path = _compiled(code, "make", {"image": InputBinding(("N", 3, "H", "W"))}, tmp_path)
    feeds = [{"image": feed["x"]} for feed in _images((1, 3, 64, 64), (2, 3, 96, 80))]
    _agrees(path, _module(code, "make"), feeds)


@pytest.mark.slow
def test_a_vit_in_code(tmp_path: Path) -> None:
    code = torch_zoo.write(tmp_path, "vit.py", torch_zoo.VIT)
    path = _compiled(code, "make", {"image": InputBinding(("N", 3, 64, 64))}, tmp_path)
    feeds = [{"image": feed["x"]} for feed in _images((1, 3, 64, 64), (3, 3, 64, 64))]
    _agrees(path, _module(code, "make"), feeds)
