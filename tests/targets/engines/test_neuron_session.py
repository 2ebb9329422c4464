"""Sessions on Neuron cores and the tool chain's stand-in: tested against stand-ins with the documented signatures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import cnn, model_of, program, reference, tensor

from neoc.compile import compile_model
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import Built, Level, Signature, Toolchain, Variant
from neoc.compile.errors import (
    FeedError,
    MissingTool,
    Unavailable,
    UsageError,
    WorkerCrashed,
    WorkerOutOfMemory,
    WrongDevice,
)
from neoc.compile.options import Bucketing, CompileOptions
from neoc.compile.registry import load_target
from neoc.compile.settings import Settings
from neoc.compile.worker import Worker
from neoc.targets import devices, open_artifact, standins
from neoc.targets.engines.neuron import IO, NEFF, STANDIN_NEFF, WEIGHTS, Neuron, compiler, read_weights, runtime
from neoc.targets.engines.neuron.session import NeuronSession, cores_of

pytestmark = pytest.mark.needs("jax")
INF2 = load_target("inf2")
FP32 = Variant.of("fp32", auto_cast="none")
MODULES = Path(standins.__file__).parent / "modules"
RUNTIMES = ["nrtpy", pytest.param("torch_neuronx", marks=pytest.mark.needs("torch"))]


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Stand-ins may be used; no real compiler is there."""
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_on_path", lambda: None)
    yield
    for name in [n for n in sys.modules if n.split(".")[0] in ("nrtpy", "torch_neuronx")]:
        del sys.modules[name]


@pytest.fixture
def modules(allowed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins of AWS's runtimes can be imported."""
    monkeypatch.syspath_prepend(str(MODULES))


def hide(monkeypatch: pytest.MonkeyPatch, runtime_module: str) -> None:
    """Leave only one of the two runtimes."""
    for name in {"nrtpy", "torch_neuronx"} - {runtime_module}:
        real = runtime.import_module

        def found(wanted: str, real=real, name=name):  # type: ignore[no-untyped-def]
            if wanted == name:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return real(wanted)

        monkeypatch.setattr(runtime, "import_module", found)


def mixed() -> onnx.ModelProto:
    """Inputs and outputs of several dtypes, a weight, an input that nothing reads."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["i", "i"], ["j"]),
        helper.make_node("Cast", ["y"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Not", ["b"], ["n"]),
    ]
    inputs = [
        tensor("x", [2, 30]),
        tensor("idle", [3]),
        tensor("i", [4], TensorProto.INT64),
        tensor("b", [2], TensorProto.BOOL),
    ]
    outputs = [
        tensor("y", [2, 20]),
        tensor("j", [4], TensorProto.INT64),
        tensor("h", [2, 20], TensorProto.FLOAT16),
        tensor("n", [2], TensorProto.BOOL),
    ]
    w = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    return model_of(nodes, inputs, outputs, w=w)


FEEDS = {
    "x": np.random.default_rng(1).standard_normal((2, 30)).astype(np.float32),
    "idle": np.zeros(3, np.float32),
    "i": np.array([5, -7, 2**31 - 1, 0]),
    "b": np.array([True, False]),
}


def built(folder: Path, model: onnx.ModelProto | None = None) -> tuple[Built, dict[str, memoryview], Signature]:
    made = program(model or mixed())
    result = Neuron().build(made, INF2, FP32, folder)
    return result, {n: memoryview(p.read_bytes()) for n, p in result.members.items()}, made.signature


def expected(members: dict[str, memoryview], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the stand-in device gives: result k is k + the sum over parameters of their place times their mean."""
    io = json.loads(bytes(members[IO]))
    weights = read_weights(io, members[WEIGHTS])
    values = [weights[p["name"]] if p["kind"] == "weight" else feeds[p["name"]] for p in io["parameters"]]
    total = sum((i + 1) * float(np.mean(v.astype(np.float64))) for i, v in enumerate(values))
    found = {}
    for k, row in enumerate(io["results"]):
        dtype = np.int32 if row["dtype"] == "int64" else row["dtype"]
        found[row["name"]] = np.full(row["shape"], k + total).astype(dtype).astype(row["dtype"])
    return found


# ---- the compiler's stand-in, through the engine --------------------------------------------------


def test_without_the_variable_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NEOC_ALLOW_STANDIN", raising=False)
    monkeypatch.setattr(compiler, "_on_path", lambda: None)
    assert compiler.find_compiler() is None
    result, _, _ = built(tmp_path)
    assert result.toolchain is Toolchain.NONE
    assert not {NEFF, STANDIN_NEFF} & set(result.members)


def test_what_the_stand_in_makes_is_named_and_stamped(allowed: None, tmp_path: Path) -> None:
    result, members, _ = built(tmp_path)
    assert result.toolchain is Toolchain.STANDIN
    assert NEFF not in members
    assert standins.is_marked(members[STANDIN_NEFF])
    assert any(note.startswith("stand-in: an imitation of neuronx-cc") for note in result.notes)
    assert "stand-in" in result.tools["neuronx-cc"]


def test_an_artifact_of_the_stand_in_says_so_everywhere_and_has_no_time(
    allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    onnx.save(cnn(1), tmp_path / "m.onnx")
    made = compile_model(tmp_path / "m.onnx", INF2, CompileOptions(), output=tmp_path / "m.neoc")
    (variant,) = made.manifest["variants"]
    assert (made.level, variant["level"], variant["toolchain"]) == (Level.STANDIN, "stand-in", "stand-in")
    assert "stand-in" in made.manifest["tools"]["neuronx-cc"]
    assert made.evidence["race"] is None
    assert made.evidence["reported"] is None
    assert "_ns" not in json.dumps(made.evidence), "no time of any kind"
    with pytest.raises(WrongDevice, match="level stand-in: no compiler of that chip"):
        open_artifact(made.path)
    monkeypatch.delenv("NEOC_ALLOW_STANDIN")
    with pytest.raises(Unavailable, match="made by a stand-in tool chain"):
        open_artifact(made.path, options={"executor": "xla-cpu"})


def test_a_stand_in_on_path_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program of the compiler's name that is the stand-in after all: what it made is not taken for a program."""
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    found = standins.find("neuronx-cc")
    assert found is not None
    *prefix, path = found.command
    disguised = compiler.Compiler(path, "2.27", tuple(prefix))
    monkeypatch.setattr(compiler, "find_compiler", lambda: disguised)
    result, _, _ = built(tmp_path)
    assert result.toolchain is Toolchain.STANDIN
    monkeypatch.setattr(standins, "allowed", lambda: False)
    with pytest.raises(MissingTool, match="is a stand-in"):
        compiler.seal(result.members[STANDIN_NEFF])
    assert not (tmp_path / STANDIN_NEFF).exists()


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        ("no-file", WorkerCrashed, "reported success and wrote no NEFF"),
        ("empty-file", WorkerCrashed, "reported success and wrote no NEFF"),
        ("killed", WorkerOutOfMemory, "was killed"),
        ("crash", WorkerCrashed, "status 1.*internal compiler error"),
    ],
)
def test_failures_of_the_compiler_are_told(
    allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str, error: type[Exception], said: str
) -> None:
    monkeypatch.setenv("NEOC_STANDIN_FAULT", fault)
    with pytest.raises(error, match=said):
        built(tmp_path)


def test_a_compiler_that_hangs_is_ended_with_its_build(
    allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import psutil

    monkeypatch.setenv("NEOC_STANDIN_FAULT", "hang")
    onnx.save(cnn(1), tmp_path / "m.onnx")
    options = CompileOptions(timeout_s=8, use_cache=False)
    with pytest.raises(Exception, match="8"):
        compile_model(tmp_path / "m.onnx", INF2, options, output=tmp_path / "m.neoc")
    assert not (tmp_path / "m.neoc").exists()
    left = [p for p in psutil.Process().children(recursive=True) if "neuronx_cc.py" in " ".join(p.cmdline())]
    assert left == []


# ---- sessions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_tensor_reaches_its_place(
    modules: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    hide(monkeypatch, name)
    _, members, signature = built(tmp_path)
    with Neuron().open(members, signature, FP32, 1, None) as session:
        assert session.stamp == "stand-in: no Neuron device was used"
        for change in ({}, {"x": FEEDS["x"] * 2}, {"i": FEEDS["i"] // 3}, {"b": ~FEEDS["b"]}):
            feeds = FEEDS | change
            found, wanted = session.run(feeds), expected(members, feeds)
            assert list(found) == ["y", "j", "h", "n"]
            for output, array in wanted.items():
                assert (found[output].dtype, found[output].shape) == (array.dtype, array.shape)
                np.testing.assert_allclose(found[output], array, rtol=1e-3)
        assert list(session.run(FEEDS, ["h", "y"])) == ["h", "y"]
        with pytest.raises(FeedError, match="no output named 'z'"):
            session.run(FEEDS, ["z"])
        with pytest.raises(FeedError, match="dtype"):
            session.run(FEEDS | {"i": FEEDS["i"].astype(np.int32)})


def test_values_beyond_32_bits_are_refused(modules: None, tmp_path: Path) -> None:
    _, members, signature = built(tmp_path)
    with (
        Neuron().open(members, signature, FP32, 1, None) as session,
        pytest.raises(FeedError, match=r"input 'i'.*int64 in 32 bits"),
    ):
        session.run(FEEDS | {"i": np.array([1, 2, 3, 2**31])})


def test_replicas_serve_threads_side_by_side(modules: None, tmp_path: Path) -> None:
    _, members, signature = built(tmp_path)
    with Neuron().open(members, signature, FP32, 1, "neuron:0,1,3") as session:
        assert session.concurrency == 3
        found: list[dict[str, np.ndarray]] = []

        def work(seed: int) -> None:
            x = np.full((2, 30), seed, np.float32)
            for _ in range(20):
                found.append({"x": x, **session.run(FEEDS | {"x": x}, ["y"])})

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 120
        for row in found:
            np.testing.assert_allclose(row["y"], expected(members, FEEDS | {"x": row["x"]})["y"], rtol=1e-3)
    with pytest.raises(RuntimeError, match="core 9 is not visible"):
        Neuron().open(members, signature, FP32, 1, "neuron:9")


@pytest.mark.parametrize(
    ("device", "available", "cores"),
    [(None, 0, [0]), (None, 2, [0]), ("neuron:all", 2, [0, 1]), ("neuron:1", 2, [1]), ("neuron:1,0,1", 2, [1, 0])],
)
def test_devices_name_cores(device: str | None, available: int, cores: list[int]) -> None:
    assert cores_of(device, available) == cores


@pytest.mark.parametrize("device", ["cuda", "neuron:", "neuron:x", "neuron:2", "neuron:0-1", "neuron:-1"])
def test_a_device_that_names_no_core_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="names no Neuron cores"):
        cores_of(device, 2)


def test_a_closed_session_runs_nothing_and_leaves_no_file(
    modules: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "t").mkdir()
    _, members, signature = built(tmp_path / "b")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    session = Neuron().open(members, signature, FP32, 1, None)
    assert len(list((tmp_path / "t").rglob(STANDIN_NEFF))) == 1
    session.close()
    session.close()
    assert list((tmp_path / "t").iterdir()) == []
    with pytest.raises(Exception, match="closed"):
        session.run(FEEDS)


# ---- never without a runtime ----------------------------------------------------------------------


def neff_members(folder: Path) -> tuple[dict[str, memoryview], Signature]:
    """Members as the real compiler would leave them."""
    _, members, signature = built(folder)
    members = {name: view for name, view in members.items() if name != STANDIN_NEFF}
    return members | {NEFF: memoryview(b"NEFF" * 400)}, signature


def test_no_device_no_session(allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members, signature = neff_members(tmp_path)
    monkeypatch.setattr(devices, "neuron_devices", set)
    with pytest.raises(WrongDevice, match="this machine has none") as caught:
        Neuron().open(members, signature, FP32, 1, None)
    assert caught.value.exit_status == 3


def test_no_runtime_no_session(allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    members, signature = neff_members(tmp_path)
    monkeypatch.setattr(devices, "neuron_devices", lambda: {"neuron:inf2"})
    hide(monkeypatch, "")
    with pytest.raises(MissingTool, match=r"nrtpy: not installed; torch_neuronx: not installed") as caught:
        Neuron().open(members, signature, FP32, 1, None)
    assert caught.value.exit_status == 3
    assert "AWS" in caught.value.fix


def test_a_placeholder_is_no_runtime(allowed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on the public index: metadata of version 1.0, and a module that raises when it is imported."""
    (tmp_path / "p" / "torch_neuronx").mkdir(parents=True)
    (tmp_path / "p" / "torch_neuronx" / "__init__.py").write_text("raise ImportError('WRONG PACKAGE. Please install')")
    info = tmp_path / "p" / "torch_neuronx-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-neuronx\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "p"))
    with pytest.raises(MissingTool, match=r"torch_neuronx 1\.0 is installed and cannot be imported \(WRONG PACKAGE"):
        runtime.find_runtime(marked=False)


def test_a_stand_in_never_runs_a_program_and_a_runtime_never_a_stand_in(
    modules: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    members, signature = neff_members(tmp_path)
    monkeypatch.setattr(devices, "neuron_devices", lambda: {"neuron:inf2"})
    with pytest.raises(MissingTool, match="nrtpy: it is a stand-in"):
        Neuron().open(members, signature, FP32, 1, None)
    monkeypatch.setattr(standins, "is_standin", lambda module: False)
    with pytest.raises(MissingTool, match="nrtpy: it is real, and the program is not"):
        runtime.find_runtime(marked=True)


def test_the_stand_in_runtimes_cannot_be_imported_unless_allowed() -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("NEOC_")} | {"PYTHONPATH": str(MODULES)}
    for name in ("nrtpy", "torch_neuronx"):
        done = subprocess.run([sys.executable, "-c", f"import {name}"], env=env, capture_output=True, text=True)
        assert done.returncode == 1
        assert "NEOC_ALLOW_STANDIN=1" in done.stderr


def test_a_program_of_other_tensors_is_refused(modules: None, tmp_path: Path) -> None:
    _, members, signature = built(tmp_path)
    io = json.loads(bytes(members[IO]))
    next(p for p in io["parameters"] if p["name"] == "x")["shape"] = [2, 31]
    with pytest.raises(Exception, match="another one than the artifact describes"):
        NeuronSession(members | {IO: memoryview(json.dumps(io).encode())}, STANDIN_NEFF, signature, [0], marked=True)
    io["parameters"].pop()
    with pytest.raises(Exception, match="cannot be told apart"):
        NeuronSession(members | {IO: memoryview(json.dumps(io).encode())}, STANDIN_NEFF, signature, [0], marked=True)


# ---- its own interpreter --------------------------------------------------------------------------


def test_the_users_interpreter_opens_programs(modules: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Neuron().runtime_interpreter is None
    monkeypatch.setenv("NEOC_NEURON_PYTHON", sys.executable)
    assert Neuron().runtime_interpreter == sys.executable == Settings.read().neuron_python
    assert Neuron().interpreter is None, "what builds stays here"
    monkeypatch.setenv("PYTHONPATH", str(MODULES))
    result, members, signature = built(tmp_path)
    with Worker("neuron", interpreter=Neuron().runtime_interpreter) as worker:
        session = worker.open("neuron", result.members, signature, FP32, 1, "neuron:0,1")
        assert session.concurrency >= 1
        assert session.stamp.startswith("stand-in")
        np.testing.assert_allclose(session.run(FEEDS)["y"], expected(members, FEEDS)["y"], rtol=1e-3)


# ---- executor=xla-cpu -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network for inf2 without any compiler, in two buckets."""
    folder = tmp_path_factory.mktemp("emitted")
    onnx.save(cnn("batch"), folder / "m.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NEOC_ALLOW_STANDIN", raising=False)
        patch.setenv("NEOC_CACHE_DIR", str(folder / "cache"))
        options = CompileOptions(bucketing=Bucketing({"batch": (1, 3)}))
        return compile_model(folder / "m.onnx", INF2, options, output=folder / "m.neoc")


def test_the_chip_is_needed_unless_the_executor_is_named(emitted: Artifact) -> None:
    assert emitted.level is Level.SIMULATED
    with pytest.raises(WrongDevice):
        open_artifact(emitted.path)
    with pytest.raises(UsageError, match=r"no executor 'gpu'.*xla-cpu"):
        open_artifact(emitted.path, options={"executor": "gpu"})
    with pytest.raises(UsageError, match="no option 'exec'"):
        open_artifact(emitted.path, options={"exec": "xla-cpu"})


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_the_executor_computes_what_the_model_says_and_is_stamped(emitted: Artifact, batch: int) -> None:
    x = np.random.default_rng(batch).standard_normal((batch, 3, 16, 16)).astype(np.float32)
    with open_artifact(emitted.path, options={"executor": "xla-cpu"}) as session:
        assert session.stamp.startswith("simulated: run by xla-cpu on this machine, not by AWS Inferentia2")
        found, wanted = session.run({"x": x}), reference(cnn("batch"), {"x": x})
    np.testing.assert_allclose(found["y"], wanted[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["z"], wanted[1], rtol=1e-4, atol=1e-5)


def test_run_takes_the_executor_and_tells_of_it(emitted: Artifact, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x)
    words = ["run", emitted.path, "--data", tmp_path / "in.npz", "-o", tmp_path / "out.npz"]
    command = [sys.executable, "-m", "neoc.cli", *map(str, words)]
    assert subprocess.run(command, capture_output=True).returncode == 3
    done = subprocess.run([*command, "--option", "executor=xla-cpu", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stamp"].startswith("simulated: run by xla-cpu")
    assert "simulated: run by xla-cpu" in done.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npz")["y"], reference(cnn("batch"), {"x": x})[0], rtol=1e-4, atol=1e-5
    )
