"""The CUDA engine: cubins for the chip that was asked for, without a GPU; and on one, where one is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_models import cnn, model_of, program, reference, tensor

from neoc.compile import Artifact, CompileOptions, compile_model
from neoc.compile.contracts import EngineOptions, Level, Signature, Toolchain, Variant
from neoc.compile.errors import InvalidArtifact, MissingTool, Unavailable, UnsupportedModel, WrongDevice
from neoc.compile.registry import load_engine
from neoc.targets import get_target, open_artifact, standins
from neoc.targets.devices import cuda_devices
from neoc.targets.elf import read_elf
from neoc.targets.engines import cuda
from neoc.targets.engines.cuda import Cuda, compilers, simulator
from neoc.targets.engines.cuda.cubin import read_cubin

needs_tools = pytest.mark.needs("tvm", "ziglang", "nvidia.cuda_nvrtc")
VARIANT = Variant.of("dlight")


def compiled(target: str, folder: Path, **options: Any) -> Artifact:
    onnx.save(cnn(2), folder / "cnn.onnx")
    chosen = CompileOptions(use_cache=False, **options)
    return compile_model(folder / "cnn.onnx", get_target(target), chosen, output=folder / f"{target}.neoc")


def member(artifact: Artifact, name: str) -> bytes:
    (path,) = (path for path in artifact.members() if path.endswith(f"/{name}"))
    return bytes(artifact.read([path])[path])


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("cuda")
    return {name: compiled(name, folder, engines=("cuda",)) for name in ("h100", "jetson-nano")}


# ---- what is built ---------------------------------------------------------------------------


@needs_tools
@pytest.mark.parametrize(("name", "sm", "host"), [("h100", 90, "x86_64"), ("jetson-nano", 53, "aarch64")])
def test_the_cubin_is_for_the_chip_and_the_library_for_its_host(
    name: str, sm: int, host: str, artifacts: dict[str, Artifact]
) -> None:
    artifact = artifacts[name]
    assert artifact.level in (Level.COMPILED, Level.SIMULATED, Level.EXECUTED)
    cubin, library = read_cubin(member(artifact, "kernels.cubin")), read_elf(member(artifact, "lib.so"))
    assert (cubin.sm, library.machine, library.shared) == (sm, host, True)
    source = member(artifact, "kernels.cu").decode()
    assert all(f"{kernel.name}(" in source for kernel in cubin.kernels)
    assert source.encode() in member(artifact, "lib.so")
    (step,) = artifact.manifest["variants"][0]["steps"]
    code = step["device_code"]
    assert code == json.loads(member(artifact, "kernels.json"))
    assert code["sm"] == sm
    assert {k["name"]: (k["registers"], k["shared_bytes"]) for k in code["kernels"]} == {
        k.name: (k.registers, k.shared_bytes) for k in cubin.kernels
    }
    assert max(k["shared_bytes"] for k in code["kernels"]) > 1000  # the convolution's tiles
    assert all(0 < k["occupancy"] <= 1 for k in code["kernels"])
    needs = {(r["kind"], r["name"]) for r in artifact.manifest["variants"][0]["requirements"]}
    assert {("arch", host), ("device", f"cuda:sm_{sm}"), ("runtime", "libcuda.so.1")} <= needs
    assert artifact.evidence["race"] is None
    if f"cuda:sm_{sm}" not in cuda_devices():
        with pytest.raises(WrongDevice, match=host if host == "aarch64" else f"cuda:sm_{sm}"):
            open_artifact(artifact.path)


@needs_tools
def test_a_jetsons_kernels_are_the_text_that_is_simulated_for_a_card(artifacts: dict[str, Artifact]) -> None:
    """What is said of the schedules of one chip holds for the other: the source is the same to the byte."""
    card, jetson = (member(artifacts[name], "kernels.cu") for name in ("h100", "jetson-nano"))
    assert card == jetson
    assert member(artifacts["h100"], "kernels.cubin") != member(artifacts["jetson-nano"], "kernels.cubin")


@needs_tools
def test_a_schedule_that_cannot_be_lowered_gives_way_to_the_next(tmp_path: Path) -> None:
    """TVM's own pipeline is lost at the grouped convolution of this model, by its GeneralReduction."""
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    target = get_target("t4")
    with pytest.raises(Exception, match="Cross-thread reduction requires"):
        tvm.compile(from_onnx(cnn(2)), target=tvm.target.Target(cuda.tvm_target(target)))
    built = Cuda().build(program(cnn(2)), target, VARIANT, tmp_path)
    assert any("Fallback" in note for note in built.notes)


@needs_tools
def test_inspect_shows_the_kernels(artifacts: dict[str, Artifact], capsys: pytest.CaptureFixture[str]) -> None:
    from neoc.cli import inspect_command

    artifact = artifacts["h100"]
    assert inspect_command.command(str(artifact.path)) == 0
    said = capsys.readouterr().out
    assert "kernels for sm_90 (nvrtc 12." in said
    assert "occupancy is theoretical" in said
    (step,) = artifact.manifest["variants"][0]["steps"]
    for kernel in step["device_code"]["kernels"]:
        assert kernel["name"][:20] in said
    assert inspect_command.command(str(artifact.path), as_json=True) == 0
    manifest = json.loads(capsys.readouterr().out)["manifest"]
    assert manifest["variants"][0]["steps"][0]["device_code"]["sm"] == 90


def test_what_the_engine_cannot_take_is_a_gap(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Det", ["x"], ["y"])
    subject = program(model_of([node], [tensor("x", [2, 3, 3])], [tensor("y", [2])]))
    (gap,) = Cuda().gaps(subject, get_target("t4"))
    assert (gap.engine, gap.operator) == ("cuda", "Det")
    assert Cuda().gaps(program(cnn(2)), get_target("t4")) == ()


def test_only_fp32_is_offered_and_only_where_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, nano = program(cnn(1)), get_target("jetson-nano")
    monkeypatch.delenv("NEOC_ALLOW_STANDIN", raising=False)
    monkeypatch.setattr(compilers, "_nvrtc", lambda: None)

    class Cuda13(compilers.Nvcc):
        def architectures(self) -> frozenset[int]:
            return frozenset([75, 80, 86, 87, 89, 90])

    monkeypatch.setattr(compilers, "_nvcc", lambda: Cuda13(["nvcc"], "13.0"))
    options = EngineOptions()
    assert [v.id for v in Cuda().variants(subject, get_target("t4"), options)] == ["dlight"]
    assert Cuda().variants(subject, get_target("t4"), EngineOptions(precision="bf16")) == ()
    assert Cuda().variants(subject, nano, options) == ()
    why = Cuda().why_no_variant(subject, nano, options)
    assert "nvcc 13.0 makes no code for sm_53" in why
    assert "pip install 'neoc[cuda]'" in why
    monkeypatch.setattr(compilers, "_nvcc", lambda: None)
    for name in ("cuda", "cuda-trees"):
        missing = load_engine(name).missing()
        assert missing is not None
        assert "pip install" in missing


@needs_tools
def test_a_cubin_of_another_library_is_not_loaded() -> None:
    from neoc.targets.engines.cuda.session import stored_binary

    members = {"kernels.json": memoryview(json.dumps({"source_sha256": "0" * 64}).encode())}
    with pytest.raises(InvalidArtifact, match="do not belong together"):
        stored_binary(members)(b"other source")


# ---- stand-ins -------------------------------------------------------------------------------


@pytest.fixture
def only_standins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setattr(compilers, "_nvrtc", lambda: None)
    monkeypatch.setattr(compilers, "_nvcc", lambda: None)


@pytest.mark.needs("tvm", "ziglang")
def test_a_stand_in_makes_a_stand_in(only_standins: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    subject, engine = program(cnn(2)), Cuda()
    built = engine.build(subject, get_target("t4"), VARIANT, tmp_path)
    assert built.toolchain is Toolchain.STANDIN
    assert "kernels.cubin" not in built.members
    assert built.device_code is None
    assert any("stand-in" in note for note in built.notes)
    image = built.members[cuda.STANDIN_CUBIN].read_bytes()
    assert standins.is_marked(image)
    assert json.loads(image)["sm"] == 75
    members = {name: memoryview(path.read_bytes()) for name, path in built.members.items()}
    with engine.open(members, subject.signature, VARIANT, 1, None) as session:
        assert session.stamp == "stand-in: no GPU was used"
        zeros, ones = np.zeros((2, 3, 16, 16), np.float32), np.ones((2, 3, 16, 16), np.float32)
        first, second = session.run({"x": zeros}), session.run({"x": ones}, ["y"])
        assert (first["y"].shape, first["z"].shape, set(second)) == ((2, 5), (2, 5), {"y"})
        assert (first["y"] != second["y"]).all()
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "0")
    with pytest.raises(WrongDevice, match="stand-in"):
        engine.open(members, subject.signature, VARIANT, 1, None)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("no-file", "WorkerCrashed", "wrote no cubin"),
        ("empty-file", "WorkerCrashed", "wrote no cubin"),
        ("killed", "WorkerCrashed", "signal 9"),
        ("crash", "UnsupportedModel", "internal compiler error"),
    ],
)
def test_a_compiler_that_fails_is_told(
    only_standins: None, monkeypatch: pytest.MonkeyPatch, fault: str, error: str, words: str
) -> None:
    monkeypatch.setenv("NEOC_STANDIN_FAULT", fault)
    compiler = compilers.find_compiler(75)
    assert compiler is not None
    with pytest.raises(Exception, match=words) as caught:
        compiler.compile('extern "C" __global__ void k(float* x) { *x = 1; }', 75)
    assert type(caught.value).__name__ == error


def test_a_stand_in_on_path_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However it was found, what it made is no code: refused where stand-ins are not allowed."""
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    command = standins.find("nvcc")
    assert command is not None
    tool = compilers.Nvcc(command.command, "12.9")
    made = tool.compile('extern "C" __global__ void k(float* x) { *x = 1; }', 75)
    assert compilers.seal(tool, made)
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "0")
    with pytest.raises(MissingTool, match="is a stand-in"):
        compilers.seal(tool, made)


# ---- on a GPU --------------------------------------------------------------------------------


def here() -> str:
    """A target for the GPU of this machine."""
    known = {get_target(n).level: n for n in ("t4", "v100", "a10", "a100", "l4", "h100")}
    found = [known[d.removeprefix("cuda:")] for d in sorted(cuda_devices()) if d.removeprefix("cuda:") in known]
    if not found:
        pytest.skip(f"no target for {', '.join(sorted(cuda_devices()))}")
    return found[0]


@needs_tools
@pytest.mark.needs("cuda")
def test_on_a_gpu_it_is_executed(tmp_path: Path) -> None:
    artifact = compiled(here(), tmp_path, engines=("cuda",))
    assert artifact.level is Level.EXECUTED
    assert all(o["ok"] and o["relative"] < 1e-4 for o in artifact.manifest["verification"]["outputs"])
    answers = []
    with open_artifact(artifact.path) as session:
        for seed in (0, 1):
            x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16), np.float32)
            found = session.run({"x": x})
            for name, wanted in zip(("y", "z"), reference(cnn(2), {"x": x}), strict=True):
                np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-5)
            answers.append(found["y"])
        assert set(session.run({"x": x}, ["z"])) == {"z"}
    assert np.abs(answers[0] - answers[1]).max() > 0.01


@needs_tools
@pytest.mark.needs("cuda")
def test_on_a_gpu_code_for_another_one_is_refused(tmp_path: Path) -> None:
    other = next(n for n in ("h100", "t4") if get_target(n).level != get_target(here()).level)
    artifact = compiled(other, tmp_path, engines=("cuda",))
    with pytest.raises(WrongDevice, match="the accelerators here are: cuda:"):
        open_artifact(artifact.path)


@needs_tools
def test_a_model_that_tvm_cannot_compile_is_told_in_one_paragraph(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Det", ["x"], ["y"])
    subject = program(model_of([node], [tensor("x", [2, 3, 3])], [tensor("y", [2])]))
    with pytest.raises(UnsupportedModel) as caught:
        Cuda().build(subject, get_target("t4"), VARIANT, tmp_path)
    assert len(str(caught.value)) < 1200
    assert not (tmp_path / "kernels.cubin").exists()


def test_behind_the_simulator_no_gpu_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in for the driver until the process ends: results of it must not pass for the GPU's."""
    monkeypatch.setattr(cuda, "cuda_devices", lambda: ["cuda:sm_89"])
    monkeypatch.setattr(simulator, "in_the_way", lambda: True)
    with pytest.raises(Unavailable, match="a new process"):
        Cuda().open({}, Signature((), ()), Variant("default"), 1, None)
