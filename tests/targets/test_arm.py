"""The aarch64 target, and how far other machines can check its code."""

from __future__ import annotations

import pytest

from neoc.compile.contracts import Level, Numerics, Toolchain, level_of
from neoc.compile.registry import load_engine, load_target
from neoc.targets import arm


def test_the_baseline_asks_for_nothing_that_armv8a_leaves_optional() -> None:
    target = load_target("aarch64")
    assert (target.arch, target.level, target.engines) == ("aarch64", "armv8-a", ("trees", "tvm"))
    assert target.features == {"fp", "asimd"}
    assert target.fact("mcpu") == "generic"
    assert target.fact("triple") == "aarch64-linux-gnu"
    assert {(r.kind, r.name) for r in target.requirements()} == {("arch", "aarch64"), ("isa", "asimd"), ("isa", "fp")}


def test_on_x86_its_code_is_compiled_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "machine", lambda: "x86_64")
    numerics, why = load_target("aarch64").verifiable(load_engine("tvm"))
    assert numerics is Numerics.UNCHECKED
    assert "x86_64" in why
    assert level_of(numerics, Toolchain.REAL) is Level.COMPILED


def test_on_an_arm_machine_its_code_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "machine", lambda: "aarch64")
    assert load_target("aarch64").verifiable(load_engine("tvm")) == (Numerics.EXECUTED, "")
