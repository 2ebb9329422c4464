"""A finished compilation is given back where nothing changed, and only there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from pass_programs import graph

from neoc.compile import finished, onnx_io
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import Target
from neoc.compile.finished import Finished
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.compile.settings import Settings
from neoc.targets import get_target

Recall = Callable[..., tuple[Artifact, str] | None]


def written(path: Path, weight: np.ndarray) -> Path:
    path.write_bytes(
        onnx_io.to_bytes(graph("(float[2,3] x) => (float y) { a = MatMul(x, w) y = Relu(a) }", w=weight).model)
    )
    return path


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def settings_of(folder: Path) -> CompileOptions:
    data = folder / "data.npz"
    np.savez(data, x=np.ones((2, 2, 3), np.float32))
    return CompileOptions(engines=("onnxruntime",), race_seconds=0.2, rewrites=(), data=data)


@pytest.fixture
def options(tmp_path: Path) -> CompileOptions:
    return settings_of(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weight: np.ndarray) -> Artifact:
    folder = tmp_path_factory.mktemp("made")
    source = str(written(folder / "m.onnx", weight))
    return compile_model(source, get_target("host"), settings_of(folder), output=folder / "first.neoc")


@pytest.fixture
def kept(
    tmp_path: Path, weight: np.ndarray, options: CompileOptions, made: Artifact
) -> tuple[str, Target, Path, Finished]:
    """A compilation that is remembered: source, target, the artifact's file, the memory."""
    source, target = str(written(tmp_path / "m.onnx", weight)), get_target("host")
    memory = Finished(replace(Settings.read(), cache_dir=tmp_path / "cache"))
    assert memory.recall(source, target, options, tmp_path / "none.neoc") is None
    memory.keep(source, target, options, made)
    return source, target, made.path, memory


def test_it_is_the_same_artifact(
    kept: tuple[str, Target, Path, Finished], options: CompileOptions, tmp_path: Path
) -> None:
    source, target, first, memory = kept
    known = memory.recall(source, target, options, tmp_path / "second.neoc")
    assert known is not None
    artifact, when = known
    assert artifact.path == tmp_path / "second.neoc"
    assert artifact.path.read_bytes() == first.read_bytes()
    assert when == artifact.evidence["when"]
    assert not (tmp_path / "none.neoc").exists()


@pytest.mark.parametrize(
    "change", ["source", "data", "tolerance", "threads", "target", "code", "packages", "tools", "reach", "settings"]
)
def test_whatever_it_hangs_on_may_change(
    kept: tuple[str, Target, Path, Finished], options: CompileOptions, tmp_path: Path, weight: np.ndarray,
    change: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source, target, _, memory = kept
    if change == "source":
        written(Path(source), weight + 1)
    elif change == "data":
        np.savez(options.data or "", x=np.zeros((2, 2, 3), np.float32))
    elif change in ("tolerance", "threads"):
        options = replace(options, **{change: 2})  # type: ignore[arg-type]
    elif change == "target":
        target = get_target("x86-64-v3")
    elif change == "code":
        monkeypatch.setattr(finished, "code_digest", lambda: "another state of neoc")
    elif change == "packages":
        (tmp_path / "site" / "onnxruntime-99.dist-info").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / "site")
    elif change == "reach":  # an emulator was prepared, a device was attached
        monkeypatch.setattr(finished, "_reach", lambda target: "farther")
    elif change == "tools":
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    else:
        memory = Finished(replace(Settings.read(), cache_dir=tmp_path / "cache", worker_timeout_s=1.0))
    assert memory.recall(source, target, options, tmp_path / "second.neoc") is None


def test_tensors_beside_the_model_are_part_of_it(tmp_path: Path, weight: np.ndarray, options: CompileOptions) -> None:
    source = tmp_path / "m.onnx"
    model = onnx.load_from_string(written(source, weight).read_bytes())
    onnx.save(model, str(source), save_as_external_data=True, location="m.bin", size_threshold=0)
    memory = Finished(replace(Settings.read(), cache_dir=tmp_path / "cache"))
    target = get_target("host")
    memory.keep(str(source), target, options, compile_model(str(source), target, options, output=tmp_path / "a.neoc"))
    assert memory.recall(str(source), target, options, tmp_path / "b.neoc") is not None
    beside = tmp_path / "m.bin"
    beside.write_bytes(bytes(beside.stat().st_size))
    assert memory.recall(str(source), target, options, tmp_path / "c.neoc") is None


def test_what_no_key_can_hold_is_not_kept(
    kept: tuple[str, Target, Path, Finished], options: CompileOptions, tmp_path: Path
) -> None:
    source, target, first, memory = kept
    made = Artifact.open(first)
    for other in (
        replace(options, dump=tmp_path / "dump"),
        replace(options, example_inputs=(1,)),
        replace(options, preprocess=(object(),)),
        replace(options, data=tmp_path / "gone.npz"),
    ):
        memory.keep(source, target, other, made)
        assert memory.recall(source, target, other, tmp_path / "second.neoc") is None
    memory.keep("module.py:factory", target, options, made)
    assert memory.recall("module.py:factory", target, options, tmp_path / "second.neoc") is None


@pytest.mark.parametrize("name", ["artifact.neoc", "finished.json"])
def test_a_damaged_entry_is_dropped(
    kept: tuple[str, Target, Path, Finished], options: CompileOptions, tmp_path: Path, name: str
) -> None:
    source, target, _, memory = kept
    (entry,) = (tmp_path / "cache").rglob(name)
    entry.write_bytes(entry.read_bytes()[:-9] + b"123456789")
    assert memory.recall(source, target, options, tmp_path / "second.neoc") is None
    assert not (tmp_path / "second.neoc").exists()


def test_a_cache_that_cannot_be_written_costs_nothing_now(
    kept: tuple[str, Target, Path, Finished], options: CompileOptions, tmp_path: Path
) -> None:
    source, target, first, _ = kept
    (tmp_path / "file").write_text("in the way")
    memory = Finished(replace(Settings.read(), cache_dir=tmp_path / "file"))
    memory.keep(source, target, options, Artifact.open(first))
    assert memory.recall(source, target, options, tmp_path / "second.neoc") is None
