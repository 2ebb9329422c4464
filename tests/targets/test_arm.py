"""The ARM targets: what they promise, what their code may use, and how far another machine can check it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from machines import machine

from neoc.compile.contracts import Level, Numerics, Toolchain, level_of
from neoc.compile.registry import load_engine, load_target
from neoc.targets import arm, emulation, guest
from neoc.targets.host import normalise
from neoc.targets.requirements import unmet

NAMES = (
    *("aarch64", "graviton2", "graviton3", "graviton4", "rasp4b", "rasp5", "rk3399", "imx8qm", "imx8mplus"),
    *("rasp3b", "rk3288"),
)


def test_the_baseline_asks_for_nothing_that_armv8a_leaves_optional() -> None:
    target = load_target("aarch64")
    assert (target.arch, target.level, target.engines) == ("aarch64", "armv8-a", ("trees", "onnxruntime", "tvm"))
    assert target.features == {"fp", "asimd"}
    assert target.fact("mcpu") == "generic"
    assert target.fact("triple") == "aarch64-linux-gnu"
    assert {(r.kind, r.name) for r in target.requirements()} == {("arch", "aarch64"), ("isa", "asimd"), ("isa", "fp")}


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_is_one_that_the_emulated_model_has(name: str) -> None:
    """Else the emulator would refuse what the chip runs. Where it has more, the caveat says so."""
    target = load_target(name)
    arch, features = emulation.MODELS[str(target.fact("emulated_as"))]
    assert arch == target.arch
    assert {normalise(feature) for feature in target.features} <= features


@pytest.mark.needs("llvmlite")
@pytest.mark.parametrize("name", NAMES)
def test_llvm_knows_every_core(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    from llvmlite import binding

    binding.initialize_all_targets()
    target = load_target(name)
    llvm = binding.Target.from_triple(str(target.fact("triple")))
    llvm.create_target_machine(cpu=str(target.fact("mcpu")), features=str(target.fact("mattr", "")))
    assert "not a recognized processor" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("here", "runs"),
    [
        ("cortex-a72", {"aarch64", "rasp4b"}),  # a Raspberry Pi 4: no cryptography
        ("neoverse-n1", {"aarch64", "rasp4b", "rasp5", "rk3399", "imx8qm", "imx8mplus", "graviton2"}),
        ("neoverse-v1", {"aarch64", "rasp4b", "rasp5", "rk3399", "imx8qm", "imx8mplus", "graviton2", "graviton3"}),
        ("armv7-pi3", {"rasp3b", "rk3288"}),
    ],
)
def test_code_runs_where_its_features_are(here: str, runs: set[str]) -> None:
    assert {name for name in NAMES if not unmet(load_target(name).requirements(), machine(here))} == runs


def test_on_x86_without_a_file_system_its_code_is_compiled_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "detect", lambda: machine("zen4"))
    monkeypatch.setattr(guest, "find", lambda: "there is none; neoc emulator prepare")
    numerics, why = load_target("aarch64").verifiable(load_engine("tvm"))
    assert numerics is Numerics.UNCHECKED
    assert "x86_64" in why
    assert "neoc emulator prepare" in why
    assert level_of(numerics, Toolchain.REAL) is Level.COMPILED


def test_on_an_arm_machine_its_code_is_run_where_that_proves_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "detect", lambda: machine("neoverse-n1"))
    monkeypatch.setattr(guest, "find", lambda: "no file system")
    assert load_target("graviton2").verifiable(load_engine("tvm")) == (Numerics.EXECUTED, "")
    assert load_target("graviton2").verifiable(load_engine("onnxruntime")) == (Numerics.EXECUTED, "")
    assert load_target("rasp4b").verifiable(load_engine("tvm")) == (Numerics.EXECUTED, "")
    numerics, why = load_target("rasp4b").verifiable(load_engine("onnxruntime"))  # it would use N1's kernels
    assert numerics is Numerics.UNCHECKED
    assert "proves nothing about cortex-a72" in why
    numerics, why = load_target("graviton3").verifiable(load_engine("tvm"))
    assert numerics is Numerics.UNCHECKED
    assert "bf16" in why


def test_neon_goes_by_its_name_of_either_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "detect", lambda: machine("armv7-pi3"))
    assert load_target("rasp3b").verifiable(load_engine("trees")) == (Numerics.EXECUTED, "")


def test_a_target_that_nothing_emulates_stays_unchecked() -> None:
    target = replace(load_target("rasp4b"), facts=(("mcpu", "cortex-a72"),))
    assert load_engine("tvm").rehearsal(target) == (Numerics.UNCHECKED, "")
