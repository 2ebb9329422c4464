"""TensorRT without TensorRT: what is emitted, what the preflight says, and the stand-ins around both."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import cnn, model_of, program, reference, tensor

from neoc.compile import CompileOptions, compile_model
from neoc.compile.contracts import EngineOptions, Level, Toolchain, Variant
from neoc.compile.errors import InvalidArtifact, MissingTool, Unavailable, UnsupportedModel, WorkerCrashed, WrongDevice
from neoc.targets import get_target, open_artifact, requirements, standins
from neoc.targets.devices import cuda_devices
from neoc.targets.engines.tensorrt import PLAN, STANDIN_PLAN, TensorRt, tool
from neoc.targets.engines.tensorrt.preflight import find_gaps, report, rules
from neoc.targets.engines.tensorrt.session import TensorRtSession
from neoc.targets.host import detect

FP32 = Variant.of("fp32")


# ---- what is emitted -------------------------------------------------------------------------


@pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a GPU")
def test_without_the_chip_it_is_emitted_with_the_script_that_builds_it(tmp_path: Path) -> None:
    onnx.save(cnn("batch"), tmp_path / "cnn.onnx")
    options = CompileOptions(use_cache=False, engines=("tensorrt",))
    artifact = compile_model(tmp_path / "cnn.onnx", get_target("jetson-orin"), options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.EMITTED
    names = dict(artifact.manifest["variants"][0]["steps"][0]["members"])
    assert {"model.onnx", "build.sh", "preflight.json"} <= set(names)
    data = artifact.read(names.values())
    model = onnx.load_from_string(bytes(data[names["model.onnx"]]))
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    for found, wanted in zip(reference(model, {"x": x}), reference(cnn("batch"), {"x": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    script = bytes(data[names["build.sh"]]).decode()
    assert script.startswith("#!/bin/sh\n")
    assert "Jetson AGX Orin, compute capability 8.7" in script
    assert "--minShapes=x:1x3x16x16 --optShapes=x:1x3x16x16 --maxShapes=x:8x3x16x16" in script
    verdict = json.loads(bytes(data[names["preflight.json"]]))
    assert (verdict["unsupported"], verdict["fallback_share"], verdict["rules"]) == (0, 0.0, "TensorRT 10.15")
    assert verdict["nodes"] == len(list(artifact.program().nodes()))
    assert any("not compiled: " in note for note in artifact.manifest["notes"])
    with pytest.raises((WrongDevice, Unavailable)):
        open_artifact(artifact.path)


def test_the_script_runs_the_command_that_neoc_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """build.sh, run with the stand-in, writes the same file as the engine does with the stand-in."""
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    (tmp_path / "engine").mkdir()
    built = TensorRt().build(program(cnn("batch")), get_target("t4"), FP32, tmp_path / "engine")
    assert built.toolchain is Toolchain.STANDIN
    assert PLAN not in built.members
    standin = standins.find("trtexec")
    assert standin is not None
    wrapper = tmp_path / "trtexec"
    wrapper.write_text("#!/bin/sh\nexec " + " ".join(standin.command) + ' "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    env = os.environ | {"TRTEXEC": str(wrapper)}
    import subprocess

    done = subprocess.run(
        ["sh", built.members["build.sh"]], env=env, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    plan = tmp_path / "engine" / "model.plan"
    assert plan.read_bytes() == built.members[STANDIN_PLAN].read_bytes()
    assert standins.is_marked(plan.read_bytes())


def test_a_plan_asks_for_the_release_that_built_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_plan(found: tool.Trtexec, words: list[str], folder: Path) -> Path:
        plan = folder / "built"
        plan.write_bytes(b"plan")
        return plan

    monkeypatch.setattr(tool, "find_tool", lambda target: tool.Trtexec(("trtexec",), "10.13.2"))
    monkeypatch.setattr(tool, "build_plan", build_plan)
    monkeypatch.setattr(tool, "seal", lambda plan: "")
    built = TensorRt().build(program(cnn("batch")), get_target("l4"), FP32, tmp_path)
    asked = [r for r in built.requirements if r.kind == "package"]
    assert [(r.name, r.version, r.match) for r in asked] == [("tensorrt", "10.13.2", "minor")]
    monkeypatch.setattr(requirements, "installed", lambda name, packages=None: "10.12.0")
    (lack,) = requirements._package(asked, detect(), None)
    assert "it needs the package tensorrt==10.13.*, and 10.12.0 is installed" in lack.reason


def test_the_standin_plan_opens_on_the_standin_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    subject, engine = program(cnn("batch")), TensorRt()
    built = engine.build(subject, get_target("l4"), FP32, tmp_path)
    members = {name: memoryview(path.read_bytes()) for name, path in built.members.items()}
    with engine.open(members, subject.signature, FP32, 1, None) as session:
        assert session.stamp.startswith("stand-in")
        found = session.run({"x": np.ones((3, 3, 16, 16), np.float32)})
        assert (found["y"].shape, found["z"].dtype) == ((3, 5), np.float32)
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "0")
    with pytest.raises(WrongDevice, match="stand-in"):
        engine.open(members, subject.signature, FP32, 1, None)


@pytest.mark.parametrize(("name", "release"), [("jetson-nano", "8.2"), ("v100", "10.4"), ("h100", "10 or later")])
def test_the_script_names_the_release_that_serves_the_chip(name: str, release: str) -> None:
    text = tool.script(get_target(name), ["--onnx=model.onnx"])
    assert f"TensorRT {release}" in text


def test_precisions(tmp_path: Path) -> None:
    subject, engine = program(cnn(1)), TensorRt()
    bf16 = EngineOptions(precision="bf16")
    assert [v.precision for v in engine.variants(subject, get_target("h100"), bf16)] == ["bf16"]
    assert engine.variants(subject, get_target("t4"), bf16) == ()  # Turing has no bf16
    assert "--bf16" in tool.flags(subject.signature, "bf16")
    assert "--noTF32" in tool.flags(subject.signature, "fp32")
    assert not any("Shapes" in word for word in tool.flags(subject.signature, "fp32"))


# ---- the preflight ---------------------------------------------------------------------------

X = tensor("x", [2, 3, 8, 8])


def one(
    kind: str, shape: list[int] | None = None, dtype: int = onnx.TensorProto.FLOAT, outputs: int = 1, **rest: Any
) -> Any:
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, ["x"], names, **rest)
    made = model_of([node], [tensor("x", shape or [2, 3, 8, 8], dtype)], [onnx.ValueInfoProto(name=n) for n in names])
    return program(made)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (one("Det", [2, 3, 3]), "TensorRT 10.15 does not support it"),
        (one("Gelu", domain="com.microsoft"), "this one is of com.microsoft"),
        (one("Sigmoid", dtype=onnx.TensorProto.INT32), "it takes no int32"),
        (one("MaxPool", [2, 3, 8], kernel_shape=[2]), "1 spatial dimensions; 2 or 3"),
        (one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "attribute dilations = (2, 2)"),
        (one("MaxPool", kernel_shape=[2, 2], outputs=2), "only its first output"),
    ],
)
def test_the_preflight_names_what_the_parser_does_not_take(subject: Any, words: str) -> None:
    gaps = find_gaps(subject, "tensorrt")
    assert any(words in gap.reason for gap in gaps), gaps
    assert report(subject, gaps)["fallback_share"] == 1.0


def test_a_good_model_passes_and_float64_is_narrowed() -> None:
    assert find_gaps(program(cnn(2)), "tensorrt") == ()
    assert find_gaps(one("Sigmoid", dtype=onnx.TensorProto.DOUBLE), "tensorrt") == ()


def test_an_opset_out_of_range_is_a_gap() -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [X], [tensor("y", [2, 3, 8, 8])], opset=8)
    (gap,) = find_gaps(program(model), "tensorrt")
    assert "reads opsets 9 to 24, the model is of opset 8" in gap.reason
    with pytest.raises(UnsupportedModel, match="cannot take the model"):
        TensorRt().build(program(model), get_target("t4"), FP32, Path("/nonexistent"))


def test_the_rules_are_of_operators_that_onnx_has() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    older = {"ParametricSoftplus", "ScaledTanh", "ImageScaler"}  # of before opset 7, which the parser still reads
    assert set(rules().operators) - known - older == set()
    assert len(rules().operators) > 150


# ---- trtexec and its stand-in ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("no-file", WorkerCrashed, "wrote no plan"),
        ("empty-file", WorkerCrashed, "wrote no plan"),
        ("killed", WorkerCrashed, "signal 9"),
        ("crash", UnsupportedModel, "internal error"),
    ],
)
def test_a_trtexec_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, error: type[Exception], words: str
) -> None:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setenv("NEOC_STANDIN_FAULT", fault)
    with pytest.raises(error, match=words):
        TensorRt().build(program(cnn(1)), get_target("t4"), FP32, tmp_path)
    assert not (tmp_path / PLAN).exists() or fault == "empty-file"


def trtexec(folder: Path, *words: str) -> tuple[int, str]:
    import subprocess
    import sys

    path = Path(standins.__file__).with_name("trtexec.py")
    env = {k: v for k, v in os.environ.items() if not k.startswith("NEOC_")} | {"NEOC_ALLOW_STANDIN": "1"}
    done = subprocess.run(
        [sys.executable, "-I", path, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


GOOD = ["--onnx=m.onnx", "--saveEngine=m.plan", "--skipInference"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--saveEngine=m.plan"], "Model missing"),
        (["--onnx=m.onnx"], "--saveEngine=FILE was not given"),
        ([*GOOD, "--fast"], "Unknown option: --fast"),
        ([*GOOD, "--fp16=1"], "Unknown option: --fp16=1"),
        ([*GOOD, "m.onnx"], "Unknown option: m.onnx"),
        ([*GOOD, "--minShapes=x:axb"], "Invalid shape"),
        ([*GOOD, "--optShapes=z:1x3"], "Cannot find input tensor with name 'z'"),
        ([*GOOD, "--optShapes=x:1x3x8x9"], "not [1, 3, 8, 9]"),
    ],
)
def test_its_command_line_is_strict(tmp_path: Path, words: list[str], said: str) -> None:
    onnx.save(model_of([helper.make_node("Relu", ["x"], ["y"])], [X], [tensor("y", [2, 3, 8, 8])]), tmp_path / "m.onnx")
    status, text = trtexec(tmp_path, *words)
    assert status == 1
    assert said in text
    assert not (tmp_path / "m.plan").exists()


def relu(**changes: Any) -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sigmoid", ["a"], ["y"])]
    inputs, opset = changes.get("inputs", [X]), changes.get("opset", 17)
    return model_of(changes.get("nodes", nodes), inputs, [tensor("y", [2, 3, 8, 8])], opset)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            relu(nodes=[helper.make_node("Sigmoid", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]),
            "not made before",
        ),
        (relu(nodes=[helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"])]), "made twice"),
        (relu(nodes=[helper.make_node("Relu", ["x"], ["b"])]), "made by no node"),
        (relu(nodes=[helper.make_node("Det", ["x"], ["y"])]), "no importer registered for op: Det"),
        (relu(nodes=[helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")]), "com.microsoft.Gelu"),
        (relu(opset=8), "opset 8 is not in 9 to 24"),
        (relu(inputs=[tensor("x", ["n", 3, 8, 8])]), "no shapes were provided"),
    ],
)
def test_it_rejects_bad_models(tmp_path: Path, model: onnx.ModelProto, said: str) -> None:
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    status, text = trtexec(tmp_path, *GOOD)
    assert status == 1
    assert said in text


def test_it_rejects_damaged_files(tmp_path: Path) -> None:
    whole = relu().SerializeToString()
    for size in range(1, len(whole), 11):
        (tmp_path / "m.onnx").write_bytes(whole[:size])
        status, text = trtexec(tmp_path, *GOOD)
        assert status == 1, size
        assert re.search(r"^\[E\] ", text)
        if size > 60:
            break


# ---- the session -----------------------------------------------------------------------------


class Gpu:
    """Device memory that is this process's own, by the calls of driver.Gpu."""

    def __init__(self) -> None:
        self.held: dict[int, np.ndarray] = {}
        self.released = 0

    def enter(self) -> None: ...

    def upload(self, array: np.ndarray) -> Any:
        pointer = self.allocate(array.nbytes)
        self.held[pointer.value][: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        return pointer

    def allocate(self, size: int) -> Any:
        memory = np.zeros(max(size, 1), np.uint8)
        self.held[memory.ctypes.data] = memory
        return SimpleNamespace(value=memory.ctypes.data)

    def download(self, pointer: Any, into: np.ndarray) -> None:
        into[...] = np.frombuffer(self.held[pointer.value][: into.nbytes].tobytes(), into.dtype).reshape(into.shape)

    def free(self, pointer: Any) -> None:
        del self.held[pointer.value]

    def release(self) -> None:
        self.released += 1


class Context:
    """IExecutionContext of a plan that doubles x into y, with the documented names."""

    def __init__(self, gpu: Gpu, works: bool) -> None:
        self.gpu, self.works = gpu, works
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes["x"]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        x = self.gpu.held[self.addresses["x"]].view(np.float32)
        self.gpu.held[self.addresses["y"]].view(np.float32)[...] = 2 * x
        return self.works


def fake_tensorrt(gpu: Gpu, works: bool = True, loads: bool = True) -> Any:
    engine = SimpleNamespace(create_execution_context=lambda: Context(gpu, works))
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if loads and plan == b"plan" else None)
    logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})
    return SimpleNamespace(Logger=logger, Runtime=lambda log: runtime)


def signature() -> Any:
    return program(
        model_of([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", ["n", 4])], [tensor("y", ["n", 4])])
    ).signature


def test_the_session_moves_tensors_by_the_documented_calls() -> None:
    gpu = Gpu()
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with TensorRtSession(b"plan", signature(), gpu, fake_tensorrt(gpu)) as session:
        np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x)
        np.testing.assert_array_equal(session.run({"x": x + 1}, ["y"])["y"], 2 * x + 2)
        assert gpu.held == {}
    with pytest.raises(Unavailable):
        session.run({"x": x})
    session.close()
    assert gpu.released == 1, "the context is given back, once"


def test_a_session_that_fails_says_so_and_frees_its_memory() -> None:
    gpu = Gpu()
    session = TensorRtSession(b"plan", signature(), gpu, fake_tensorrt(gpu, works=False))
    with pytest.raises(WorkerCrashed, match="execute_async_v3"):
        session.run({"x": np.zeros((1, 4), np.float32)})
    assert gpu.held == {}
    with pytest.raises(InvalidArtifact, match="another chip or release"):
        TensorRtSession(b"plan", signature(), gpu, fake_tensorrt(gpu, loads=False))


@pytest.mark.needs("cuda", "trtexec", "tensorrt")
def test_on_a_gpu_with_tensorrt_it_is_executed(tmp_path: Path) -> None:
    known = {get_target(n).level: n for n in ("t4", "a10", "a100", "l4", "h100")}
    here = [known[d.removeprefix("cuda:")] for d in cuda_devices() if d.removeprefix("cuda:") in known]
    if not here:
        pytest.skip("no target for the GPU of this machine")
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(use_cache=False, engines=("tensorrt",))
    artifact = compile_model(tmp_path / "cnn.onnx", get_target(here[0]), options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.EXECUTED
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    with open_artifact(artifact.path) as session:
        for found, wanted in zip(session.run({"x": x}).values(), reference(cnn(2), {"x": x}), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


def test_without_tensorrt_a_real_plan_is_missing_its_runtime() -> None:
    from neoc.targets.engines.tensorrt import session

    try:
        import tensorrt  # noqa: F401
    except Exception:
        with pytest.raises(MissingTool, match="Python runtime"):
            session.runtime()


# ---- TensorRT-RTX ----------------------------------------------------------------------------


def test_rtx_serves_what_its_builder_makes_engines_for() -> None:
    from neoc.targets.engines.tensorrt.rtx import TensorRtRtx

    served = {
        name
        for name in ("t4", "a10", "a100", "l4", "rtx4090", "h100", "jetson-orin")
        if TensorRtRtx().serves(get_target(name))
    }
    assert served == {"a10", "a100", "l4", "rtx4090"}
    assert TensorRtRtx().gaps(program(cnn(2)), get_target("l4")) == ()
    (gap,) = TensorRtRtx().gaps(program(cnn("n")), get_target("l4"))
    assert "is not static" in gap.reason


@pytest.mark.needs("tensorrt_rtx_bindings")
@pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a GPU")
def test_rtx_builds_an_engine_for_a_chip_that_is_not_here(tmp_path: Path) -> None:
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(use_cache=False, engines=("tensorrt-rtx",))
    plans = {}
    for name in ("a10", "l4"):
        artifact = compile_model(tmp_path / "cnn.onnx", get_target(name), options, output=tmp_path / f"{name}.neoc")
        assert artifact.level is Level.COMPILED
        (path,) = (p for p in artifact.members() if p.endswith("model.rtx.plan"))
        plans[name] = bytes(artifact.read([path])[path])
        with pytest.raises(WrongDevice, match="cuda:sm_"):
            open_artifact(artifact.path)
    assert plans["a10"] != plans["l4"]
    assert min(map(len, plans.values())) > 10_000
