"""What is installed: neoc.* and nothing else, with a small core that works alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from neoc.compile.contracts import Engine, Target
from neoc.compile.errors import MissingTool

ROOT = Path(__file__).parents[1]
LAYERS = ("kernels", "compile", "targets", "bench", "cli")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
HEAVY = {"torch", "tensorflow", "tensorflow-cpu", "openvino", "apache-tvm", "jax", "numba", "scipy", "pillow"}
CI_EXTRAS = (
    "openvino",
    "torch",
    "tensorflow",
    "trees",
    "tvm",
    "cuda",
    "neuron-lower",
    "kernels",
    "kernels-bench",
    "bench",
    "ray",
    "dev",
)


def _files(layer: str) -> list[Path]:
    return [
        path
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".pyo")
    ]


def test_every_package_folder_is_listed() -> None:
    folders = {path.parent for layer in LAYERS for path in _files(layer) if path.suffix == ".py"}
    found = {f"neoc.{folder.relative_to(ROOT).as_posix().replace('/', '.')}" for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found


def test_type_checkers_find_every_layer() -> None:
    for layer in LAYERS:
        link = ROOT / "typings" / "neoc" / layer
        assert link.is_symlink()
        assert link.resolve() == ROOT / layer
        assert (ROOT / layer / "py.typed").is_file()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: building in place would leave build/ and egg-info behind."""
    copy = tmp_path_factory.mktemp("source")
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, copy / layer, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", ".", "-w", "out"]
    done = subprocess.run(command, cwd=copy, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (copy / "out").glob("*.whl")
    return path


def test_the_wheel_holds_every_file_and_nothing_beside_neoc(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    dist_info = f"neoc-{PROJECT['version']}.dist-info/"
    inside = {name for name in names if not name.startswith(dist_info)}
    shipped = {
        f"neoc/{path.relative_to(ROOT).as_posix()}"
        for layer in LAYERS
        for path in _files(layer)
        if path.suffix != ".md"
    }
    assert inside == shipped
    assert "neoc/__init__.py" not in inside, "neoc is a namespace package"


def test_the_core_is_small() -> None:
    core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert not core & HEAVY
    assert {"numpy", "onnx", "onnxruntime"} <= core


def _pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    requirements = [Requirement(line) for line in lines]
    assert all(len(r.specifier) == 1 and str(r.specifier).startswith("==") for r in requirements)
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def test_ci_installs_pinned_versions_alone() -> None:
    pins = _pins()
    assert pins["torch"] == "2.13.0"
    wanted = [*PROJECT["dependencies"], *(r for extra in CI_EXTRAS for r in PROJECT["optional-dependencies"][extra])]
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} is not pinned in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{name}=={pins[name]} is not {requirement.specifier}"


def test_make_installs_the_extras_that_are_pinned() -> None:
    assert f"EXTRAS := {','.join(CI_EXTRAS)}\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(("group", "kind"), [("neoc.targets", Target), ("neoc.engines", Engine)])
def test_entry_points_load(group: str, kind: type) -> None:
    declared = PROJECT["entry-points"][group]
    own = {e.name: e for e in entry_points(group=group) if e.dist is not None and e.dist.name == "neoc"}
    assert set(own) == set(declared)
    for entry in own.values():
        value = entry.load()  # a module that needs an absent package to be *imported* fails here
        try:
            made = value() if callable(value) else value
        except MissingTool:
            continue
        assert isinstance(made, kind), entry.name


def test_an_empty_environment_compiles_with_the_core_alone(wheel: Path, zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "VIRTUAL_ENV"))}
    environment |= {"NEOC_CACHE_DIR": str(tmp_path / "cache")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(folder / "bin" / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("python", "-m", "pip", "install", "--quiet", "--no-input", "-c", str(ROOT / "constraints.txt"), str(wheel))
    installed = {canonicalize_name(p["name"]) for p in json.loads(run("python", "-m", "pip", "list", "--format=json"))}
    assert not installed & HEAVY
    model, data = zoo("silero_vad_openvino_16k"), zoo.data("silero_vad_openvino_16k")
    told = run("neoc", "compile", str(model), "--target", "host", "--data", str(data), "-o", "m.neoc", "--json")
    result = json.loads(told)["results"]["host"]
    assert result["level"] == "executed"
    assert result["variant"].startswith("onnxruntime/")
    run("neoc", "run", "m.neoc", "--data", str(data), "-o", "out.npz")
    wanted = [_plain_onnxruntime(model, sample) for sample in zoo.samples("silero_vad_openvino_16k")]
    with np.load(tmp_path / "out.npz") as found:
        for name in found.files:
            np.testing.assert_allclose(found[name], np.stack([w[name] for w in wanted]), rtol=1e-4, atol=1e-6)


def _plain_onnxruntime(model: Path, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, sample), strict=True))
