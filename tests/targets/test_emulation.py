"""ARM artifacts under qemu: their numbers, their traps, and the file system that they run in."""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from small_models import cnn

from neoc.bench import tree_models
from neoc.compile import Artifact, CompileOptions, compile_model
from neoc.compile.contracts import Level, Numerics, Signature, Target, Variant
from neoc.compile.errors import MissingTool, ParityFailure, UsageError, WrongDevice
from neoc.compile.registry import load_engine, load_target
from neoc.targets import emulation, get_target, guest, open_artifact
from neoc.targets.emulation import MODELS, EmulatedSession, host_of, on_model, parsed, worker_on
from neoc.targets.engines import tvm as tvm_module
from neoc.targets.host import HostFacts

EXACT = {"executor": "qemu"}


class Zoo(Protocol):
    """The fixture of conftest.py."""

    def __call__(self, name: str) -> Path: ...

    def data(self, name: str) -> Path: ...


@pytest.fixture(scope="module")
def compiled_cnn(arm_guest: guest.Guest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A small CNN as SVE code by TVM: what neither a Cortex-A72 nor a Neoverse N1 can run."""
    if reason := load_engine("tvm").missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("sve")
    onnx.save(cnn(2), folder / "cnn.onnx")
    options = CompileOptions(engines=("tvm",), pairs=(("tvm.sve", "on"),))
    return compile_model(folder / "cnn.onnx", "graviton3", options, output=folder / "cnn.neoc")


def short_rows() -> onnx.ModelProto:
    """A convolution over four places: its bias is a loop that LLVM 22 makes wrong scalable code of."""
    random = np.random.default_rng(0)
    weights = (random.standard_normal((32, 16, 3)) / 7).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1])
    constants = [numpy_helper.from_array(v, n) for n, v in (("w", weights), ("b", np.arange(32, dtype=np.float32)))]
    x, y = (helper.make_tensor_value_info(n, 1, [1, c, 4]) for n, c in (("x", 16), ("y", 32)))
    graph = helper.make_graph([node], "rows", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.needs("tvm", "ziglang")
def test_wrong_scalable_code_is_caught_and_not_made_by_default(arm_guest: guest.Guest, tmp_path: Path) -> None:
    """A fault of LLVM's that no build shows: the numbers are right for 128-bit vectors and wrong for V1's 256."""
    onnx.save(short_rows(), tmp_path / "m.onnx")
    options = CompileOptions(engines=("tvm",))
    artifact = compile_model(tmp_path / "m.onnx", "graviton3", options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.EMULATED
    scalable = CompileOptions(engines=("tvm",), pairs=(("tvm.sve", "on"),))
    if not version("apache-tvm").startswith("0.27."):
        return  # another LLVM, which may be right
    with pytest.raises(ParityFailure, match="departs"):
        compile_model(tmp_path / "m.onnx", "graviton3", scalable, output=tmp_path / "sve.neoc")
    assert not (tmp_path / "sve.neoc").exists()


def test_sve_code_is_emulated_on_the_core_that_has_sve(compiled_cnn: Artifact) -> None:
    assert compiled_cnn.level is Level.EMULATED
    proof = compiled_cnn.manifest["verification"]
    assert "neoverse-v1" in proof["why"]
    assert all(o["ok"] and not o["vacuous"] and o["relative"] <= 1e-4 for o in proof["outputs"])
    assert {r["name"] for r in compiled_cnn.manifest["variants"][0]["requirements"]} >= {"aarch64", "sve", "bf16"}


def test_it_carries_the_small_runtime_and_asks_for_the_binding_alone(compiled_cnn: Artifact) -> None:
    assert any(path.endswith(f"/{tvm_module.RUNTIME}") for path in compiled_cnn.members())
    needs = compiled_cnn.manifest["variants"][0]["requirements"]
    assert [r["name"] for r in needs if r["kind"] == "package"] == ["apache-tvm-ffi"]


def test_its_values_are_the_sources_and_move_with_the_input(compiled_cnn: Artifact) -> None:
    from small_models import reference

    answers = []
    with open_artifact(compiled_cnn.path, options=EXACT) as session:
        assert session.stamp.startswith("emulated: qemu")
        for seed in (0, 1):
            x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16), np.float32)
            found = session.run({"x": x})
            for name, wanted in zip(("y", "z"), reference(cnn(2), {"x": x}), strict=True):
                np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)
            answers.append(found["y"])
    assert np.abs(answers[0] - answers[1]).max() > 0.01


def test_a_lesser_core_is_refused_before_anything_is_started(
    compiled_cnn: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "worker_on", lambda *_: pytest.fail("something was started"))
    with pytest.raises(WrongDevice, match=r"bf16.*sve.*cortex-a72 under qemu") as caught:
        open_artifact(compiled_cnn.path, options={"executor": "qemu:cortex-a72"})
    assert "--target aarch64" in caught.value.fix


def test_the_device_itself_says_so_too(compiled_cnn: Artifact, arm_guest: guest.Guest) -> None:
    """open_artifact, run as on a Cortex-A72: it sees its own /proc/cpuinfo."""
    with ExitStack() as stack:
        worker = stack.enter_context(worker_on(arm_guest, "cortex-a72", "a device", stack))
        with pytest.raises(WrongDevice, match=r"sve.*cortex-a72"):
            worker.open_artifact(compiled_cnn.path, None)


def test_what_is_forced_all_the_same_traps(compiled_cnn: Artifact) -> None:
    step = compiled_cnn.manifest["variants"][0]["steps"][0]
    members = {name: compiled_cnn.read([path], whole=True)[path] for name, path in step["members"].items()}
    target = on_model(Target.from_dict(compiled_cnn.manifest["target"]), "cortex-a72")
    signature = Signature.from_dict(compiled_cnn.manifest["signature"])
    variant = Variant.from_dict(step["variant"])
    with (
        EmulatedSession("tvm", members, signature, variant, target) as session,
        pytest.raises(WrongDevice, match="an instruction that a cortex-a72 does not have"),
    ):
        session.run({"x": np.ones((2, 3, 16, 16), np.float32)})


@pytest.mark.needs("onnxruntime")
def test_onnxruntime_itself_runs_there(arm_guest: guest.Guest, zoo: Zoo, tmp_path: Path) -> None:
    options = CompileOptions(engines=("onnxruntime",), data=zoo.data("silero_vad_openvino_16k"))
    model = zoo("silero_vad_openvino_16k")
    artifact = compile_model(model, "rasp4b", options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.EMULATED
    outputs = artifact.manifest["verification"]["outputs"]
    assert all(o["ok"] and not o["vacuous"] and o["relative"] <= 1e-4 for o in outputs)
    (package,) = (r for r in artifact.manifest["variants"][0]["requirements"] if r["kind"] == "package")
    assert (package["name"], package["match"]) == ("onnxruntime", "exact")


@pytest.mark.needs("llvmlite", "xgboost")
def test_trees_have_the_bits_of_the_source_library(arm_guest: guest.Guest, tmp_path: Path) -> None:
    model, data = tree_models.xgboost_ensemble(tmp_path)
    options = CompileOptions(engines=("trees",), data=data)
    artifact = compile_model(model, "rasp4b", options, output=tmp_path / "m.neoc")
    assert artifact.level is Level.EMULATED
    booster, x = tree_models.trained()
    rows = np.ascontiguousarray(x[:300])
    with open_artifact(artifact.path, options=EXACT) as session:
        got = session.run({"features": rows})["prediction"]
    want = booster.inplace_predict(rows, predict_type="margin")
    assert (got.view(np.int32) == want.view(np.int32)).all()
    assert np.ptp(got) > 1


@pytest.mark.needs("llvmlite", "xgboost", "qemu-arm", "arm-linux-gnueabihf-gcc")
def test_32_bit_trees_run_in_a_static_program(tmp_path: Path) -> None:
    """No ARM file system is needed for them."""
    model, data = tree_models.xgboost_ensemble(tmp_path)
    artifact = compile_model(model, "rasp3b", CompileOptions(engines=("trees",), data=data), output=tmp_path / "m.neoc")
    assert artifact.level is Level.EMULATED
    booster, x = tree_models.trained()
    rows = np.ascontiguousarray(x[:300])
    with open_artifact(artifact.path, options=EXACT) as session:
        got = session.run({"features": rows})["prediction"]
    assert (got.view(np.int32) == booster.inplace_predict(rows, predict_type="margin").view(np.int32)).all()
    with pytest.raises(WrongDevice, match="armv7"):
        open_artifact(artifact.path)


@pytest.mark.needs("tvm", "ziglang")
def test_a_32_bit_dense_artifact_is_compiled_and_says_why_no_more(tmp_path: Path) -> None:
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    artifact = compile_model(tmp_path / "cnn.onnx", "rasp3b", output=tmp_path / "cnn.neoc")
    assert artifact.level is Level.COMPILED
    assert "no runtime for armv7" in artifact.manifest["verification"]["why"]
    (path,) = (p for p in artifact.members() if p.endswith("/lib.so"))
    header = bytes(artifact.read([path])[path][:20])
    assert (header[4], header[18]) == (1, 40)  # ELFCLASS32, EM_ARM


def test_the_models_are_what_qemu_makes_of_them(arm_guest: guest.Guest) -> None:
    import subprocess

    for model, (arch, features) in MODELS.items():
        if arch != "aarch64":
            continue
        command = [*arm_guest.command(model), str(arm_guest.python), "-S", "-c", "print(open('/proc/cpuinfo').read())"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        facts = HostFacts.parse(text, arch="aarch64")
        assert facts.cpu == model
        if arm_guest.qemu_version.startswith("10.0."):  # others know other names of features
            assert facts.features == features
        for told in ("sve", "sve2", "atomics", "asimddp", "crc32", "bf16"):
            assert (told in facts.features) == (told in features), (model, told)


# ---- without the file system -----------------------------------------------------------------


def test_without_it_the_level_is_compiled_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "empty"))
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(engines=("onnxruntime",))
    artifact = compile_model(tmp_path / "cnn.onnx", "graviton2", options, output=tmp_path / "cnn.neoc")
    assert artifact.level is Level.COMPILED
    assert "neoc emulator prepare" in artifact.manifest["verification"]["why"]
    with pytest.raises(MissingTool, match="neoc emulator prepare"):
        open_artifact(artifact.path, options=EXACT)


def test_a_setting_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_EMULATION", "0")
    numerics, why = load_engine("onnxruntime").rehearsal(load_target("graviton2"))
    assert numerics is Numerics.UNCHECKED
    assert "NEOC_EMULATION=0" in why


def test_preparing_without_mmdebstrap_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(guest.shutil, "which", lambda name: None)
    with pytest.raises(MissingTool, match="apt-get install mmdebstrap"):
        guest.prepare()
    assert [p.suffix for p in (tmp_path / "emulation").iterdir()] == [".lock"]


def test_a_mirror_that_cannot_be_reached_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "mmdebstrap"
    tool.write_text("#!/bin/sh\necho 'E: the mirror cannot be reached' >&2\nexit 25\n")
    tool.chmod(0o755)
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MissingTool, match="the mirror cannot be reached"):
        guest.prepare()
    assert [p.suffix for p in (tmp_path / "cache/emulation").iterdir()] == [".lock"]
    assert isinstance(guest.find(), str)


def test_a_mirror_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "mmdebstrap"
    tool.write_text("#!/bin/sh\nsleep 600\n")
    tool.chmod(0o755)
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MissingTool, match="did not come to an end in time"):
        guest.prepare(budget_s=0.5)
    assert [p.suffix for p in (tmp_path / "cache/emulation").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_swept_and_a_qemu_that_went_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(folder: Path, parts: object, progress: object) -> None:
        (folder / "facts.json").write_text('{"qemu": {"version": "10", "aarch64": "/no/such/qemu"}, "wheels": {}}')

    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(guest, "_make", make)
    left = tmp_path / "emulation" / f".{guest._folder(guest._parts()).name}.x"
    (left / "made").mkdir(parents=True)
    half_cleared = guest._folder(guest._parts())
    (half_cleared / "root").mkdir(parents=True)
    guest.prepare()
    assert not left.exists()
    assert [path.name for path in half_cleared.iterdir()] == ["facts.json"]
    assert guest._until.get() == math.inf, "the bound of one preparation is none of what comes after"
    found = guest.find()
    assert isinstance(found, str)
    assert "/no/such/qemu" in found


def test_it_is_made_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    made: list[Path] = []

    def make(folder: Path, parts: object, progress: object) -> None:
        made.append(folder)
        (folder / "qemu").mkdir()
        (folder / "qemu/qemu-aarch64").touch()
        (folder / "facts.json").write_text('{"qemu": {"version": "10"}, "wheels": {}}')

    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(guest, "_make", make)
    with ThreadPoolExecutor(4) as pool:
        found = {g.folder for g in pool.map(lambda _: guest.prepare(), range(8))}
    assert len(made) == len(found) == 1
    assert isinstance(guest.find(), guest.Guest)
    why = emulation._lacks(guest.Guest(found.pop()), ("onnxruntime",))
    assert "without onnxruntime" in why
    assert len(guest.remove()) == 1


def test_models_are_parsed() -> None:
    assert parsed("qemu") == ("qemu", "")
    assert parsed("qemu:neoverse-n1") == ("qemu", "neoverse-n1")
    assert parsed("xla-cpu") == ("xla-cpu", "")
    with pytest.raises(UsageError, match=re.escape("cortex-a53, ")):
        parsed("qemu:pentium")
    facts = host_of("neoverse-v1")
    assert facts is not None
    assert facts.has("sve")
    assert host_of("") is None


def test_an_x86_artifact_has_no_emulator(tmp_path: Path) -> None:
    onnx.save(cnn(2), tmp_path / "cnn.onnx")
    options = CompileOptions(engines=("onnxruntime",), race_seconds=0.2)
    artifact = compile_model(tmp_path / "cnn.onnx", get_target("x86-64"), options, output=tmp_path / "cnn.neoc")
    with pytest.raises(UsageError, match="qemu does not stand in"):
        open_artifact(artifact.path, options=EXACT)
