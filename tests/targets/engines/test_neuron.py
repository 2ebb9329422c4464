"""The Neuron engine: gaps without jax, members, levels, the compiler where there is one, and real models."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import cnn, model_of, program, reference, tensor

from neoc.compile import frontends, passes
from neoc.compile.contracts import (
    EngineOptions,
    Level,
    Numerics,
    Signature,
    TensorSpec,
    Toolchain,
    Variant,
    level_of,
)
from neoc.compile.errors import MissingTool, UnsupportedModel, UsageError, WorkerCrashed, WorkerOutOfMemory, WrongDevice
from neoc.compile.options import InputBinding
from neoc.compile.program import Program
from neoc.compile.registry import load_engine, load_target
from neoc.targets import devices
from neoc.targets import neuron as neuron_targets
from neoc.targets.engines.neuron import IO, MODULE, NEFF, WEIGHTS, Neuron, compiler, hlo
from neoc.targets.engines.neuron.gaps import find_gaps
from neoc.targets.engines.neuron.lower import lower

needs_jax = pytest.mark.needs("jax")
INF2 = load_target("inf2")
FP32 = Variant.of("fp32", auto_cast="none")


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "find_compiler", lambda: None)


def run_members(folder: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the artifact's own members compute, on XLA's CPU."""
    members = {path.name: memoryview(path.read_bytes()) for path in folder.iterdir()}
    io = json.loads((folder / IO).read_text())
    given = [TensorSpec(p["name"], p["dtype"], tuple(p["shape"])) for p in io["parameters"] if p["kind"] == "input"]
    results = tuple(TensorSpec.from_dict(r) for r in io["results"])
    with Neuron().rehearse(members, Signature(tuple(given), results), FP32, INF2) as session:
        return session.run(feeds)


# ---- the target -----------------------------------------------------------------------------------


def test_inf2_is_described_by_the_chip() -> None:
    assert (INF2.cores, INF2.memory_bytes) == (2, 32 * 2**30)
    assert INF2.peak_flops["bfloat16"].value == 4 * INF2.peak_flops["float32"].value == 190e12
    assert INF2.bandwidth is not None
    assert INF2.bandwidth.value == 820 * 2**30
    assert all("AWS Neuron documentation" in f.source for f in (*INF2.peak_flops.values(), INF2.bandwidth))
    assert [(r.kind, r.name) for r in INF2.requirements()] == [("device", "neuron:inf2")]


@needs_jax
def test_without_the_device_the_level_is_simulated_and_without_jax_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuron_targets, "neuron_devices", set)
    numerics, why = INF2.verifiable(load_engine("neuron"))
    assert numerics is Numerics.SIMULATED
    assert "no AWS Inferentia2 chip" in why
    assert "XLA on this machine" in why
    assert level_of(numerics, Toolchain.NONE) is level_of(numerics, Toolchain.REAL) is Level.SIMULATED
    assert level_of(numerics, Toolchain.STANDIN) is Level.STANDIN
    monkeypatch.setattr(Neuron, "missing", lambda self: "jax is not installed")
    numerics, why = INF2.verifiable(load_engine("neuron"))
    assert numerics is Numerics.UNCHECKED
    assert "jax is not installed" in why
    assert level_of(numerics, Toolchain.NONE) is Level.EMITTED
    assert level_of(numerics, Toolchain.REAL) is Level.COMPILED
    monkeypatch.setattr(neuron_targets, "neuron_devices", lambda: {"neuron:inf2"})
    assert INF2.verifiable(load_engine("neuron")) == (Numerics.EXECUTED, "")


# ---- build ----------------------------------------------------------------------------------------


@needs_jax
def test_members_compute_what_the_model_says(tmp_path: Path) -> None:
    source = cnn(2)
    built = Neuron().build(program(source), INF2, FP32, tmp_path)
    assert set(built.members) == {MODULE, WEIGHTS, IO}
    assert built.toolchain is Toolchain.NONE
    assert any("preflight, rules of SDK 2.32" in note for note in built.notes)
    assert any("not compiled: neuronx-cc is not on PATH" in note for note in built.notes)
    for seed in (0, 1):
        x = np.random.default_rng(seed).standard_normal((2, 3, 16, 16), np.float32)
        found, wanted = run_members(tmp_path, {"x": x}), reference(source, {"x": x})
        np.testing.assert_allclose(found["y"], wanted[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["z"], wanted[1], rtol=1e-4, atol=1e-5)


@needs_jax
def test_weights_are_parameters_and_the_module_stays_small(tmp_path: Path) -> None:
    big = np.random.default_rng(0).standard_normal((700, 300), np.float32)
    source = model_of(
        [helper.make_node("MatMul", ["x", "big"], ["a"]), helper.make_node("Add", ["a", "small"], ["y"])],
        [tensor("x", [1, 700])],
        [tensor("y", [1, 300])],
        big=big,
        small=np.float32([2]),
    )
    Neuron().build(program(source), INF2, FP32, tmp_path)
    assert (tmp_path / MODULE).stat().st_size < 4000
    io = json.loads((tmp_path / IO).read_text())
    assert [(p["kind"], p["name"]) for p in io["parameters"]] == [("weight", "big"), ("input", "x")]
    assert io["parameters"][0]["offset"] % 64 == 0
    x = np.random.default_rng(1).standard_normal((1, 700), np.float32)
    np.testing.assert_allclose(run_members(tmp_path, {"x": x})["y"], x @ big + 2, rtol=1e-4)


@needs_jax
def test_two_builds_are_equal_and_name_no_path(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        built = Neuron().build(program(cnn(1)), INF2, FP32, folder)
        assert built.reproducible
        digests.append([built.members[n].read_bytes() for n in sorted(built.members)])
    assert digests[0] == digests[1]
    assert b".py" not in digests[0][1] + digests[0][0]


@needs_jax
def test_instructions_are_known_by_the_node_they_are_from() -> None:
    source = cnn(1)
    source.graph.node[0].name = "/stem/conv"
    module = hlo.read(lower(program(source)).module)
    sources = {i.source for i in module.instructions() if i.opcode == "convolution"}
    assert any("Conv:.stem.conv" in s for s in sources), sources


@needs_jax
def test_an_input_that_does_not_matter_is_no_parameter(tmp_path: Path) -> None:
    nodes = [helper.make_node("Shape", ["b"], ["s"]), helper.make_node("Relu", ["c"], ["y"])]
    inputs = [tensor("a", [2]), tensor("b", [3, 4]), tensor("c", [5])]
    source = model_of(nodes, inputs, [tensor("y", [5]), tensor("s", [2], TensorProto.INT64)])
    built = Neuron().build(program(source), INF2, FP32, tmp_path)
    io = json.loads((tmp_path / IO).read_text())
    assert [p["name"] for p in io["parameters"]] == ["c"]
    assert io["dropped"] == ["a", "b"]
    assert any("'a', 'b'" in note for note in built.notes)
    found = run_members(tmp_path, {"c": np.float32([-1, 0, 1, 2, -3])})
    np.testing.assert_array_equal(found["y"], [0, 0, 1, 2, 0])
    np.testing.assert_array_equal(found["s"], [3, 4])


@needs_jax
def test_integers_keep_their_64_bits(tmp_path: Path) -> None:
    source = model_of(
        [helper.make_node("Add", ["x", "k"], ["y"])],
        [tensor("x", [2], TensorProto.INT64)],
        [tensor("y", [2], TensorProto.INT64)],
        k=np.int64([1 << 40, -5]),
    )
    built = Neuron().build(program(source), INF2, FP32, tmp_path)
    assert "the compiler narrows 64-bit integers to 32 bits" in built.notes
    np.testing.assert_array_equal(run_members(tmp_path, {"x": np.int64([1, 2])})["y"], [(1 << 40) + 1, -3])


@needs_jax
def test_outputs_may_be_inputs_and_constants(tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["k"], ["z"])]
    source = model_of(
        nodes, [tensor("x", [2])], [tensor("y", [2]), tensor("z", [30])], k=np.arange(30, dtype=np.float32)
    )
    Neuron().build(program(source), INF2, FP32, tmp_path)
    found = run_members(tmp_path, {"x": np.float32([3, 4])})
    np.testing.assert_array_equal(found["y"], [3, 4])
    np.testing.assert_array_equal(found["z"], np.arange(30))


def test_variants_follow_precision_and_options() -> None:
    engine, subject = Neuron(), program(cnn(1))
    assert [v.id for v in engine.variants(subject, INF2, EngineOptions())] == ["fp32"]
    bf16 = engine.variants(subject, INF2, EngineOptions(precision="bf16"))
    assert [(v.id, v.get("auto_cast"), v.precision) for v in bf16] == [
        ("bf16-matmult", "matmult", "bf16"),
        ("bf16-all", "all", "bf16"),
    ]
    assert engine.variants(subject, INF2, EngineOptions(precision="int8")) == ()
    (variant,) = engine.variants(subject, INF2, EngineOptions(pairs=(("neuron.optlevel", "3"), ("tvm.x", "1"))))
    assert variant.get("optlevel") == "3"
    with pytest.raises(UsageError, match=r"optlevel=4 is not known"):
        engine.variants(subject, INF2, EngineOptions(pairs=(("neuron.optlevel", "4"),)))


# ---- open -----------------------------------------------------------------------------------------


def test_opening_says_what_is_missing_and_simulates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = program(cnn(1)).signature
    monkeypatch.setattr(devices, "neuron_devices", set)
    with pytest.raises(WrongDevice, match="this machine has none"):
        Neuron().open({MODULE: memoryview(b"")}, signature, FP32, 1, None)
    monkeypatch.setattr(devices, "neuron_devices", lambda: {"neuron:inf2"})
    with pytest.raises(WrongDevice, match="made without the Neuron compiler"):
        Neuron().open({MODULE: memoryview(b"")}, signature, FP32, 1, None)
    with pytest.raises(MissingTool, match="no Neuron runtime is installed"):
        Neuron().open({NEFF: memoryview(b"neff")}, signature, FP32, 1, None)


# ---- the compiler ---------------------------------------------------------------------------------


def fake_compiler(folder: Path, script: str) -> compiler.Compiler:
    """A program that takes the place of neuronx-cc in these tests alone."""
    path = folder / "neuronx-cc"
    path.write_text(f"#!{sys.executable}\nimport os, sys\nargs = sys.argv[1:]\n{script}\n")
    path.chmod(0o755)
    return compiler.Compiler(str(path), "9.9")


WRITES = "open(args[args.index('--output') + 1], 'wb').write(repr(args).encode())"


@needs_jax
def test_with_a_compiler_the_artifact_holds_a_neff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fake_compiler(tmp_path, WRITES)
    monkeypatch.setattr(compiler, "find_compiler", lambda: found)
    folder = tmp_path / "out"
    folder.mkdir()
    variant = Variant.of("bf16-matmult", precision="bf16", auto_cast="matmult", optlevel="1")
    built = Neuron().build(program(cnn(1)), INF2, variant, folder)
    assert set(built.members) == {MODULE, WEIGHTS, IO, NEFF}
    assert built.toolchain is Toolchain.REAL
    assert built.tools["neuronx-cc"] == "9.9"
    said = built.members[NEFF].read_text()
    for words in (
        "'--framework', 'XLA'",
        "'--target', 'inf2'",
        "'--auto-cast', 'matmult'",
        "'--auto-cast-type', 'bf16'",
    ):
        assert words in said
    assert "'--optlevel', '1'" in said
    io = json.loads(built.members[IO].read_text())
    assert io["compiler"] == "9.9"
    assert io["flags"][io["flags"].index("--auto-cast") + 1] == "matmult"
    assert io["module_sha256"] == hashlib.sha256(built.members[MODULE].read_bytes()).hexdigest()
    assert "int32" in io["int64"]


def test_auto_cast_is_always_given(tmp_path: Path) -> None:
    words = compiler.command(compiler.Compiler("cc", "2"), tmp_path / "m", "inf2", FP32, tmp_path / "m.neff")
    assert words[words.index("--auto-cast") + 1] == "none"
    assert "--auto-cast-type" not in words


@pytest.mark.parametrize(
    ("script", "error", "message"),
    [
        ("sys.stderr.write('x\\n[NCC_EVRF001] Operator foo\\n'); sys.exit(70)", UnsupportedModel, "refuses the model"),
        ("sys.stderr.write('Traceback: no disk'); sys.exit(1)", WorkerCrashed, "status 1.*no disk"),
        ("os.kill(os.getpid(), 9)", WorkerOutOfMemory, "was killed"),
        ("pass", WorkerCrashed, "wrote no NEFF"),
        ("open(args[args.index('--output') + 1], 'wb')", WorkerCrashed, "wrote no NEFF"),
    ],
)
def test_what_the_compiler_says_is_told(tmp_path: Path, script: str, error: type[Exception], message: str) -> None:
    found = fake_compiler(tmp_path, script)
    with pytest.raises(error, match=message) as caught:
        compiler.compile_module(found, tmp_path / "m.pb", "inf2", FP32, tmp_path / "m.neff")
    if isinstance(caught.value, UnsupportedModel):
        assert [(g.code, g.reason) for g in caught.value.gaps] == [("EVRF001", "[NCC_EVRF001] Operator foo")]


def test_a_placeholder_package_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    compiler._on_path.cache_clear()
    assert compiler.find_compiler() is None
    assert "not on PATH" in compiler.why_none()
    monkeypatch.setattr(compiler, "version", lambda name: "1.0.post1")
    assert "empty placeholder" in compiler.why_none()
    monkeypatch.setattr(compiler, "version", lambda name: "2.27.5334.0")
    fake_compiler(tmp_path, "sys.exit(3)")
    assert compiler.find_compiler() is None
    assert "does not answer" in compiler.why_none()
    compiler._on_path.cache_clear()
    fake_compiler(tmp_path, "")
    assert compiler.find_compiler() == compiler.Compiler(str(tmp_path / "neuronx-cc"), "2.27.5334.0")
    compiler._on_path.cache_clear()


# ---- gaps -----------------------------------------------------------------------------------------


def node(
    operator: str, *inputs: onnx.ValueInfoProto, outputs: int = 1, opset: int = 17, **attributes: object
) -> Program:
    domain = str(attributes.pop("domain", ""))
    results = [f"y{i}" for i in range(outputs)]
    made = helper.make_node(operator, [i.name for i in inputs], results, name="node", domain=domain, **attributes)
    return program(model_of([made], list(inputs), [onnx.ValueInfoProto(name=r) for r in results], opset))


X = tensor("x", [1, 2, 4, 4])
I64 = TensorProto.INT64


@pytest.mark.parametrize(
    ("subject", "reason", "code"),
    [
        (node("Relu", tensor("x", ["N", 3])), "is [N,3]: Neuron programs have static shapes", "EMOD025"),
        (node("Relu", tensor("x", None)), "is [?]", "EMOD025"),
        (node("Relu", tensor("x", [2], TensorProto.DOUBLE)), "is float64", "ESPP004"),
        (node("NonZero", X), "the data decide how many", "EMOD025"),
        (node("Gelu", X, domain="com.microsoft"), "operators of com.microsoft", "EVRF001"),
        (node("Bernoulli", X), "no lowering", "EVRF001"),
        (node("ReduceSum", X, tensor("axes", [1], I64)), "must be known before the program runs", "EMOD025"),
        (node("MatMul", tensor("a", [2, 2], I64), tensor("b", [2, 2], I64)), "no 64-bit integers", "EVRF035"),
        (node("BatchNormalization", X, *[tensor(n, [2]) for n in "sbmv"], outputs=3), "output 1 ('y1')", ""),
        (node("LpNormalization", X, p=3), "attribute p is 3", ""),
        (node("Cast", X, to=TensorProto.DOUBLE), "is float64", "ESPP004"),
        (node("BatchNormalization", *[tensor(n, [2]) for n in "xsbmv"], training_mode=1), "training_mode is 1", ""),
        (node("ScatterND", tensor("x", [4], I64), tensor("i", [1, 1], I64), tensor("u", [1], I64), reduction="add"),
         "computes in floating point", "EVRF016"),
        (node("Conv", tensor("x", [1, 2]), tensor("w", [1, 2])), "has rank 2, not 3 to 5", ""),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_gaps_name_reason_and_code(subject: Program, reason: str, code: str) -> None:
    gaps = find_gaps(subject, "neuron")
    assert any(reason in g.reason and g.code == code for g in gaps), [(g.reason, g.code) for g in gaps]
    assert all(g.engine == "neuron" and g.suggestion for g in gaps)


def test_all_gaps_are_told_at_once_and_build_refuses(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Bernoulli", ["x"], ["d"], name="first"),
        helper.make_node("NonZero", ["x"], ["n"], name="second"),
        helper.make_node("Bernoulli", ["x"], ["unread"], name="third"),
    ]
    source = model_of(nodes, [tensor("x", [3, 3])], [tensor("d", []), tensor("n", None, I64)])
    gaps = Neuron().gaps(program(source), INF2)
    assert [g.node for g in gaps] == ["first", "second"]
    with pytest.raises(UnsupportedModel) as caught:
        Neuron().build(program(source), INF2, FP32, tmp_path)
    assert caught.value.gaps == gaps


def test_what_open_dimensions_alone_cause_is_not_told_twice() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Expand", ["k", "s"], ["e"]),
        helper.make_node("NonZero", ["e"], ["y"]),
    ]
    outputs = [tensor("y", None, I64)]
    source = model_of(nodes, [tensor("x", ["N", 3])], outputs, k=np.float32([1]))
    assert [g.operator for g in find_gaps(program(source), "neuron")] == ["", "NonZero"]


def test_gaps_are_answered_without_jax(tmp_path: Path) -> None:
    path = tmp_path / "cnn.onnx"
    source = cnn("N")
    source.graph.node[4].op_type = "Bernoulli"
    onnx.save(onnx.shape_inference.infer_shapes(source), path)
    code = f"""
import sys
sys.modules["jax"] = sys.modules["jaxlib"] = None
import onnx_ir
from neoc.compile.program import Program, Provenance
from neoc.compile.registry import load_engine, load_target
program = Program(onnx_ir.load({str(path)!r}), Provenance("onnx", "", "", ""))
engine = load_engine("neuron")
print([(gap.node or gap.operator, gap.code) for gap in engine.gaps(program, load_target("inf2"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[('x', 'EMOD025'), ('s2', 'EVRF001')]\n"


# ---- real models ----------------------------------------------------------------------------------

REAL = {
    "silero_vad_openvino_16k": {},
    "magika": {"bytes": (1, 2048)},
    "ppocr_cls": {"x": (1, 3, 48, 192)},
}


@needs_jax
@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("name", REAL)
def test_real_models_compute_what_onnxruntime_does(zoo: object, name: str, tmp_path: Path) -> None:
    import onnxruntime

    path: Path = zoo(name)  # type: ignore[operator]
    bindings = {key: InputBinding(shape) for key, shape in REAL[name].items()}
    subject = passes.run(frontends.load(path, bindings), passes.DEFAULT)
    assert Neuron().gaps(subject, INF2) == ()
    built = Neuron().build(subject, INF2, FP32, tmp_path)
    assert built.members[MODULE].stat().st_size < 200_000

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    answers = []
    for sample in zoo.samples(name)[:2]:  # type: ignore[attr-defined]
        feeds = {spec.name: sample[spec.name] for spec in subject.signature.inputs}
        found = run_members(tmp_path, feeds)
        for spec, wanted in zip(session.get_outputs(), session.run(None, feeds), strict=True):
            assert np.abs(found[spec.name] - wanted).max() <= 1e-4 * np.abs(wanted).max() + 1e-6
        answers.append(found)
    if len(answers) > 1:
        assert any((answers[0][n] != answers[1][n]).any() for n in answers[0])
