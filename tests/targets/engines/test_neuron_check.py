"""What `neoc check` and the tables of options say for Neuron targets, without jax, compiler or device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from small_models import cnn, model_of, program, tensor

from neoc.compile import check_model
from neoc.compile.build import cache_key
from neoc.compile.contracts import EngineOptions, Step, Target, Variant
from neoc.compile.errors import UnsupportedModel, UsageError
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.compile.registry import load_target
from neoc.targets import get_target
from neoc.targets.engines.neuron import Neuron, compiler, preflight
from neoc.targets.engines.neuron.analysis import analyse
from neoc.targets.engines.neuron.gaps import find_gaps
from neoc.targets.engines.neuron.ops import TABLE
from neoc.targets.engines.neuron.preflight import opcodes, rule_set

I64 = TensorProto.INT64


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """What was found of a compiler is kept by the process: each test begins and ends without it."""
    kept = (compiler._on_path, compiler.listed_operators, preflight.rules_here)
    for cached in kept:
        cached.cache_clear()
    yield
    for cached in kept:
        cached.cache_clear()


def listing_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """A program that takes the place of neuronx-cc in these tests alone, and only lists operators."""
    path = folder / "neuronx-cc"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nif 'list-operators' in sys.argv: print({chr(10).join(names)!r})\n"
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(compiler, "version", lambda name: "2.27.1")


# ---- targets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "alias", "flag", "cores"),
    [("inf2", "ml_inf2", "inf2", 2), ("trn1", "ml_trn1", "trn1", 2), ("trn2", "trainium2", "trn2", 8)],
)
def test_chips_are_told_apart_by_the_compilers_flag(name: str, alias: str, flag: str, cores: int) -> None:
    target = get_target(name)
    assert get_target(alias) is target
    assert (target.fact("compiler_target"), target.cores) == (flag, cores)
    words = compiler.flags(target.fact("compiler_target"), Variant.of("fp32", auto_cast="none"))
    assert words[words.index("--target") + 1] == flag
    assert all("AWS Neuron documentation" in figure.source for figure in target.peak_flops.values())


def test_the_archived_chip_is_reported_on_and_never_built_for(tmp_path: Path) -> None:
    inf1 = get_target("ml_inf1")
    assert inf1 is load_target("inf1")
    path = tmp_path / "m.onnx"
    onnx.save(cnn(2), path)
    (report,) = check_model(path, [inf1])
    (view,) = report.views
    assert not report.served
    assert view.gaps == ()
    assert "archived" in view.note
    assert view.analysis is not None
    assert view.analysis["support_percentage"] == "100.00%"
    with pytest.raises(UnsupportedModel, match=r"archived Inferentia1.*builds nothing"):
        compile_model(path, inf1, CompileOptions(), output=tmp_path / "m.neoc")


def test_options_of_the_compiler_are_for_the_chips_that_have_them() -> None:
    engine, subject = Neuron(), program(cnn(1))
    options = EngineOptions(pairs=(("neuron.lnc", "1"),))
    (variant,) = engine.variants(subject, get_target("trn2"), options)
    words = compiler.flags("trn2", variant)
    assert words[words.index("--logical-nc-config") + 1] == "1"
    with pytest.raises(UsageError, match=r"inf2 has no --option neuron.lnc.*EARG001"):
        engine.variants(subject, get_target("inf2"), options)
    with pytest.raises(UsageError, match=r"neuron.nonsense is not known"):
        engine.variants(subject, get_target("inf2"), EngineOptions(pairs=(("neuron.nonsense", "1"),)))
    pairs = (("neuron.auto-cast-type", "tf32"),)
    (first, _) = engine.variants(subject, get_target("inf2"), EngineOptions(precision="bf16", pairs=pairs))
    assert compiler.flags("inf2", first)[-2:] == ["--auto-cast-type", "tf32"]


def test_the_cache_key_holds_program_flags_table_compiler_and_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = program(cnn(1))

    def key(target: Target, **options: str) -> dict[str, str]:
        return dict(cache_key(subject, Step("neuron", Variant.of("fp32", **options)), target))

    plain = key(get_target("inf2"), auto_cast="none")
    assert {"program", "target", "variant.auto_cast", "tools.neuron-table", "tools.neuron-rules"} <= set(plain)
    assert plain != key(get_target("trn1"), auto_cast="none")
    assert plain != key(get_target("inf2"), auto_cast="all")
    listing_compiler(tmp_path, monkeypatch, [])
    compiler._on_path.cache_clear()
    assert key(get_target("inf2"), auto_cast="none")["tools.neuronx-cc"] == "2.27.1"


# ---- rules ----------------------------------------------------------------------------------------------


def test_every_row_is_within_the_rules_of_the_release() -> None:
    known = rule_set().opcodes
    for key, row in opcodes().items():
        assert set(row.always) | set(row.sometimes) <= known, key
    assert len(set(TABLE) & set(opcodes())) >= 150


def test_a_live_list_of_operators_overrides_the_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="fine"), helper.make_node("Tanh", ["r"], ["y"], name="gone")]
    subject = program(model_of(nodes, [tensor("x", [2])], [tensor("y", [2])]))
    assert find_gaps(subject, "neuron") == ()
    compiler._on_path.cache_clear()
    preflight.rules_here.cache_clear()
    compiler.listed_operators.cache_clear()
    listing_compiler(tmp_path, monkeypatch, ["add", "dot", "multiply", "maximum", "broadcast", "kDynamicSlice"])
    (gap,) = find_gaps(subject, "neuron")
    assert (gap.node, gap.code, gap.lowered) == ("gone", "EVRF001", "tanh")
    assert "operators of neuronx-cc 2.27.1" in gap.reason
    assert "dynamic-slice" in preflight.rules_here().opcodes


@pytest.mark.parametrize("names", [[], ["usage: neuronx-cc"], ["add"]])
def test_what_is_no_list_overrides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    listing_compiler(tmp_path, monkeypatch, names)
    assert compiler.listed_operators() is None
    assert preflight.rules_here() is rule_set()


def test_gaps_go_from_the_node_to_the_opcode_to_the_code_to_a_hint() -> None:
    inputs = [tensor("x", [4], I64), tensor("i", [1], I64), tensor("u", [1], I64)]
    node = helper.make_node("ScatterElements", ["x", "i", "u"], ["y"], name="n", reduction="add")
    (gap,) = find_gaps(program(model_of([node], inputs, [tensor("y", [4], I64)], 18)), "neuron")
    assert (gap.node, gap.operator, gap.code) == ("n", "ScatterElements", "EVRF016")
    assert "scatter" in gap.lowered.split("+")
    assert gap.suggestion == "cast data and updates to float32 before it"


def test_sizes_that_no_chip_holds_are_gaps() -> None:
    node = helper.make_node("Expand", ["x", "shape"], ["y"], name="n")
    shape = {"shape": onnx.numpy_helper.to_array(helper.make_tensor("s", I64, [2], [1 << 16, 1 << 15]))}
    source = model_of([node], [tensor("x", [1, 1])], [tensor("y", [1 << 16, 1 << 15])], **shape)
    assert [g.code for g in find_gaps(program(source), "neuron", get_target("inf2"))] == ["EVRF024"]
    small = Target("tiny", "Tiny", "neuron", memory_bytes=100)
    codes = [g.code for g in find_gaps(program(cnn(1)), "neuron", small)]
    assert codes == ["EOOM001"]


# ---- the report -------------------------------------------------------------------------------------------


def test_the_report_has_the_form_of_torch_neuronx_analyze() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="a"),
        helper.make_node("Bernoulli", ["r"], ["b"], name="b"),
        helper.make_node("MatMul", ["k", "k"], ["y"], name="c"),
        helper.make_node("Add", ["b", "r"], ["z"], name="d"),
    ]
    inputs = [tensor("x", [2, 2]), tensor("k", [2, 2], I64)]
    subject = program(model_of(nodes, inputs, [tensor("y", [2, 2], I64), tensor("z", [2, 2])]))
    report = analyse(subject, find_gaps(subject, "neuron"))
    assert {"torch_neuronx_version", "neuronx_cc_version", "support_percentage"} <= set(report)
    assert report["support_percentage"] == "50.00%"
    assert report["supported_operators"] == {"ai.onnx": {"Add": 1, "Relu": 1}}
    rows = [(r["kind"], r["failureAt"], r["call"], r["code"]) for r in report["unsupported_operators"]]
    assert rows == [
        ("Bernoulli", "Lowering to HLO", "b", "NCC_EVRF001"),
        ("MatMul", "neuronx-cc", "c", "NCC_EVRF035"),
    ]
    graph = report["unsupported_operators"][1]["opGraph"]
    assert graph == "y: int64[2,2] = MatMul(k: int64[2,2], k: int64[2,2])"
