"""TVM: what it builds for aarch64, what it computes on x86-64, and whether the gaps tell the truth."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import cnn, model_of, node_cases, program, reference, tensor

from neoc.compile.contracts import EngineOptions, Session, Target, Variant
from neoc.compile.errors import FeedError, InvalidArtifact, MissingTool, UnsupportedModel, WrongDevice
from neoc.compile.registry import load_engine, load_target
from neoc.targets.elf import read_elf
from neoc.targets.engines import tvm as engine_module
from neoc.targets.engines.tvm import ALIGNMENT, ENTRY_SYMBOL, MEMBER, Tvm
from neoc.targets.engines.tvm_gaps import find_gaps, table
from neoc.targets.linkers import linker_for

needs_tvm = pytest.mark.needs("tvm", "ziglang")
X86 = Target("x86-64-v2", "x86-64-v2", "x86_64", "x86-64-v2")
VARIANT = Variant.of("llvm")


def opened(source: onnx.ModelProto, folder: Path) -> Session:
    subject = program(source)
    built = Tvm().build(subject, X86, VARIANT, folder)
    return Tvm().open({MEMBER: memoryview(built.members[MEMBER].read_bytes())}, subject.signature, VARIANT, 1, None)


# ---- the engine ------------------------------------------------------------------------------


def test_serves_what_llvm_code_is_linked_for_and_is_opt_in() -> None:
    engine = load_engine("tvm")
    assert engine.opt_in
    assert engine.serves(load_target("aarch64"))
    assert engine.serves(X86)
    assert not engine.serves(load_target("inf2"))


def test_offers_fp32_alone() -> None:
    subject, target = program(cnn(1)), load_target("aarch64")
    assert [v.id for v in Tvm().variants(subject, target, EngineOptions())] == ["llvm"]
    assert Tvm().variants(subject, target, EngineOptions(precision="bf16")) == ()


@needs_tvm
@pytest.mark.parametrize("at_hand", [False, True])
def test_builds_aarch64_code_that_this_machine_will_not_open(
    at_hand: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the device's runtime where that was fetched before, else with the requirement of it."""
    runtime = tmp_path / "fetched.so"
    runtime.write_bytes(b"a runtime library")
    monkeypatch.setattr(engine_module, "_device_runtime", lambda: runtime if at_hand else None)
    target, subject = load_target("aarch64"), program(cnn("batch-size"))
    assert Tvm().gaps(subject, target) == ()
    built = Tvm().build(subject, target, VARIANT, tmp_path)
    library = built.members[MEMBER].read_bytes()
    elf = read_elf(library)
    assert (elf.machine, elf.shared) == ("aarch64", True)
    assert ENTRY_SYMBOL in elf.exports
    assert any("conv2d" in name for name in elf.exports)
    assert built.toolchain.value == "real"
    assert "apache-tvm" in built.tools
    asked = {r.name for r in built.requirements}
    assert asked == ({"apache-tvm-ffi"} if at_hand else {"apache-tvm", "apache-tvm-ffi"})
    assert set(built.members) == ({MEMBER, engine_module.RUNTIME} if at_hand else {MEMBER})
    if engine_module.machine() != "aarch64":
        with pytest.raises(WrongDevice, match="aarch64"):
            Tvm().open({MEMBER: memoryview(library)}, subject.signature, VARIANT, 1, None)


@needs_tvm
def test_open_dimensions_that_tvm_cannot_follow_are_to_be_bound(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Resize", ["c", "", "scales"], ["y"], mode="nearest"),
    ]
    shape = ["N", 1, "H", 4]
    scales = np.float32([1, 1, 2, 2])
    inputs = [tensor("a", shape), tensor("b", ["N", 1, "K", 4])]
    source = model_of(nodes, inputs, [tensor("y", ["N", 1, None, 8])], scales=scales)
    with pytest.raises(UnsupportedModel, match="--input a=SIZES --input b=SIZES") as caught:
        Tvm().build(program(source), X86, VARIANT, tmp_path)
    assert [gap.node for gap in caught.value.gaps] == ["a", "b"]


@needs_tvm
def test_refuses_what_a_linker_made_for_another_machine(tmp_path: Path) -> None:
    built = Tvm().build(program(cnn(1)), X86, VARIANT, tmp_path)
    with pytest.raises(MissingTool, match="it is for x86_64"):
        engine_module.accept_library(built.members[MEMBER].read_bytes(), "aarch64")


@needs_tvm
def test_a_failing_linker_is_told_with_its_own_words(tmp_path: Path) -> None:
    linker = linker_for("aarch64-linux-gnu")
    assert linker is not None
    with pytest.raises(MissingTool, match="no-such-object"):
        linker(str(tmp_path / "out.so"), [str(tmp_path / "no-such-object.o")])


# ---- the session, on this machine ----------------------------------------------------------------


@needs_tvm
@pytest.mark.parametrize("batch", ["N", "batch-size", None])
def test_computes_what_the_model_says_at_every_batch(tmp_path: Path, batch: str | None) -> None:
    source = cnn(batch)
    with opened(source, tmp_path) as session:
        assert [spec.name for spec in session.outputs] == ["y", "z"]
        for size in (1, 3, 2):
            x = np.random.default_rng(size).standard_normal((size, 3, 16, 16), dtype=np.float32)
            found, wanted = session.run({"x": x}), reference(source, {"x": x})
            np.testing.assert_allclose(found["y"], wanted[0], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found["z"], wanted[1], rtol=1e-4, atol=1e-5)


@needs_tvm
def test_two_unnamed_dimensions_need_not_be_equal(tmp_path: Path) -> None:
    source = model_of(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        [tensor("a", [None, 4]), tensor("b", [4, None])],
        [tensor("y", [None, None])],
    )
    a, b = np.random.default_rng(0).standard_normal((2, 4)), np.random.default_rng(1).standard_normal((4, 3))
    feeds = {"a": a.astype(np.float32), "b": b.astype(np.float32)}
    with opened(source, tmp_path) as session:
        np.testing.assert_allclose(session.run(feeds)["y"], feeds["a"] @ feeds["b"], rtol=1e-5)


@needs_tvm
def test_takes_arrays_wherever_they_lie_and_gives_fresh_ones(tmp_path: Path) -> None:
    source = cnn(1)
    with opened(source, tmp_path) as session:
        x = np.random.default_rng(5).standard_normal((1, 3, 16, 16), dtype=np.float32)
        wanted = reference(source, {"x": x})[0]
        raw = np.zeros(x.nbytes + 2 * ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT + 4
        misaligned = raw[start : start + x.nbytes].view(np.float32).reshape(x.shape)
        misaligned[...] = x
        frozen = x.copy()
        frozen.flags.writeable = False
        turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
        results = [session.run({"x": array})["y"] for array in (misaligned, frozen, turned, np.asfortranarray(x))]
        for found in results:
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
            assert found.flags.c_contiguous
            assert found.flags.writeable
        results[0][...] = 0
        np.testing.assert_allclose(results[1], wanted, rtol=1e-4, atol=1e-5)


@needs_tvm
def test_an_input_that_is_an_output_comes_back_as_a_copy(tmp_path: Path) -> None:
    source = model_of([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", [2, 3])], [tensor("y", [2, 3])])
    with opened(source, tmp_path) as session:
        x = engine_module.aligned_empty((2, 3), np.dtype(np.float32))
        x[...] = 7
        y = session.run({"x": x})["y"]
        x[...] = 1
        assert (y == 7).all()


@needs_tvm
def test_feeds_that_do_not_fit_and_outputs_that_are_not_there(tmp_path: Path) -> None:
    session = opened(cnn("N"), tmp_path)
    x = np.zeros((1, 3, 16, 16), np.float32)
    assert list(session.run({"x": x}, ["z"])) == ["z"]
    with pytest.raises(FeedError, match="float64"):
        session.run({"x": x.astype(np.float64)})
    with pytest.raises(FeedError, match="axis 2"):
        session.run({"x": np.zeros((1, 3, 9, 16), np.float32)})
    with pytest.raises(FeedError, match="unknown 'q'"):
        session.run({"x": x}, ["q"])
    session.close()
    with pytest.raises(FeedError, match="closed"):
        session.run({"x": x})


@needs_tvm
def test_a_library_that_is_none_of_tvms_is_refused(tmp_path: Path) -> None:
    built = Tvm().build(program(cnn(1)), X86, VARIANT, tmp_path)
    other = bytearray(built.members[MEMBER].read_bytes())
    at = other.index(ENTRY_SYMBOL.encode())
    other[at : at + 4] = b"xxxx"
    with pytest.raises(InvalidArtifact, match="TVM's runtime does not load"):
        Tvm().open({MEMBER: memoryview(bytes(other))}, program(cnn(1)).signature, VARIANT, 1, None)


# ---- gaps ----------------------------------------------------------------------------------------


@pytest.mark.needs("tvm")
def test_the_table_of_operators_is_the_importers_own() -> None:
    from tvm.relax.frontend.onnx import onnx_frontend

    prefix = "_impl_v"
    live = {
        name: sorted(int(key.removeprefix(prefix)) for key in dir(converter) if key.startswith(prefix))
        for name, converter in onnx_frontend._get_convert_map().items()
    }
    assert table().operators == live


def test_gaps_are_answered_without_tvm(tmp_path: Path) -> None:
    node = helper.make_node("RNN", ["x", "w", "r"], ["y"], hidden_size=2)
    shapes = {"x": [3, 1, 2], "w": [1, 2, 2], "r": [1, 2, 2]}
    path = tmp_path / "rnn.onnx"
    onnx.save(model_of([node], [tensor(n, list(s)) for n, s in shapes.items()], [tensor("y", [3, 1, 1, 2])]), path)
    code = f"""
import sys
sys.modules["tvm"] = None
import onnx_ir
from neoc.compile.program import Program, Provenance
from neoc.compile.registry import load_engine, load_target
program = Program(onnx_ir.load({str(path)!r}), Provenance("onnx", "", "", ""))
for gap in load_engine("tvm").gaps(program, load_target("aarch64")):
    print(gap.operator, gap.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"RNN TVM {table().version} has no converter for it\n"


def one_node(
    operator: str, inputs: list[onnx.ValueInfoProto], outputs: int = 1, **attributes: object
) -> onnx.ModelProto:
    constants = {n: a for n, a in attributes.items() if isinstance(a, np.ndarray)}
    names = [i.name for i in inputs] + list(constants)
    rest = {n: a for n, a in attributes.items() if n not in constants and n not in ("opset", "domain")}
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, names, results, name="node", domain=attributes.get("domain", ""), **rest)
    opset = attributes.get("opset", 17)
    assert isinstance(opset, int)
    return model_of([node], inputs, [tensor(r, None) for r in results], opset, **constants)


X = tensor("x", [1, 2, 4, 4])
I64 = TensorProto.INT64


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (one_node("Gelu", [X], domain="com.microsoft"), "ai.onnx only, this one is of com.microsoft"),
        (one_node("RNN", [X]), "no converter"),
        (one_node("Attention", [X], opset=23), "com.microsoft operator of that name"),
        (one_node("Relu", [tensor("x", [2], TensorProto.BFLOAT16)]), "no bfloat16 here"),
        (one_node("ReduceSum", [X, tensor("axes", [1], I64)]), "'axes') must be a constant"),
        (one_node("BatchNormalization", [X], training_mode=1), "training_mode = 1"),
        (one_node("Dropout", [X], outputs=2), "only its first output"),
        (one_node("Resize", [X], roi=np.zeros(0, np.float32), scales=np.float32([1, 1, 0.6, 1])), "0.6 of size 4"),
        (one_node("Resize", [X], roi=np.zeros(0, np.float32), scales=np.float32([1, 2, 1, 1])), "channels"),
        (one_node("ReduceMax", [tensor("x", [2, 0])], opset=18), "empty tensor"),
        (one_node("Pow", [tensor("x", [2], I64), tensor("y", [2], I64)]), "powers of integers"),
        (one_node("Mod", [tensor("x", [2]), tensor("y", [2])]), "fmod = 0"),
        (one_node("RMSNormalization", [tensor("x", [2, 3]), tensor("s", [2, 3])], axis=0, opset=23), "every axis"),
        (one_node("Shape", [X]), "cannot be an output"),
        (one_node("ConvTranspose", [X, tensor("w", [2, 1, 3, 3])], output_shape=[9, 9]), "output_shape is ignored"),
        (one_node("Relu", [X], opset=9), "of opset 9"),
        (one_node("Relu", [tensor("x", None)]), "its rank is not known"),
    ],
)
def test_gaps_name_the_reason(model: onnx.ModelProto, reason: str) -> None:
    gaps = find_gaps(program(model), "tvm")
    assert any(reason in gap.reason for gap in gaps), [gap.reason for gap in gaps]
    assert all(gap.engine == "tvm" and gap.suggestion for gap in gaps)


@pytest.mark.parametrize(
    "model",
    [
        one_node("Resize", [X], roi=np.zeros(0, np.float32), scales=np.float32([1, 1, 0.5, 2])),
        one_node("ReduceSum", [X], axes=np.int64([1])),
        one_node("Mod", [tensor("x", [2]), tensor("y", [2])], fmod=1),
        one_node("Pow", [tensor("x", [2]), tensor("y", [2])]),
        one_node("LayerNormalization", [X, tensor("s", [4])]),
    ],
)
def test_no_gap_where_tvm_does_it(model: onnx.ModelProto) -> None:
    assert find_gaps(program(model), "tvm") == ()


def test_a_shape_chain_of_an_open_batch_is_no_gap() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "axis": np.int64([0]), "rest": np.int64([-1])}
    source = model_of(nodes, [tensor("x", ["N", 3, 4])], [tensor("y", ["N", 12])], **constants)
    assert find_gaps(program(source), "tvm") == ()


def wrong_on_backend_cases(step: int, folder: Path) -> tuple[int, dict[str, str]]:
    """How many of every `step`-th case the gaps let through, and those that then fail or compute something else."""
    right, wrong = 0, {}
    for number, case in enumerate(node_cases()[::step]):
        subject = program(case.model)
        if Tvm().gaps(subject, X86):
            continue
        place = folder / str(number)
        place.mkdir()
        try:
            with opened(case.model, place) as session:
                found = session.run(case.feeds)
            for spec, value in zip(subject.signature.outputs, case.outputs, strict=True):
                assert found[spec.name].dtype == value.dtype
                np.testing.assert_allclose(
                    found[spec.name].astype(float), value.astype(float), rtol=2e-3, atol=1e-5, strict=True
                )
            right += 1
        except Exception as error:  # whatever TVM raises is what this counts
            wrong[case.name] = f"{type(error).__name__}: {error}"[-300:]
    return right, wrong


@needs_tvm
def test_what_the_gaps_let_through_is_computed_right(tmp_path: Path) -> None:
    right, wrong = wrong_on_backend_cases(23, tmp_path)
    assert not wrong
    assert right >= 20


@needs_tvm
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_the_gaps_let_through_is_computed_right_on_every_case(tmp_path: Path) -> None:
    right, wrong = wrong_on_backend_cases(1, tmp_path)
    assert not wrong
    assert right >= 680
