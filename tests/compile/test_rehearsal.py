"""Proof without the chip: a simulator or an emulator takes its place, says so, and is never timed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import written_models

from neoc.compile import compile_model
from neoc.compile.contracts import Engine, Numerics, Target, rehearsed
from neoc.compile.errors import ParityFailure, UsageError
from neoc.compile.options import CompileOptions
from neoc.compile.registry import load_engine

HELPERS = Path(__file__).parents[1] / "helpers"
CHIP = Target("far-chip", "Far Chip", "faraway")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))


def options(*names: str) -> CompileOptions:
    return CompileOptions(engines=tuple(f"faulty_engines:{name}" for name in names))


@pytest.mark.parametrize(("engine", "level"), [("Simulated", "simulated"), ("Emulated", "emulated")])
def test_what_ran_elsewhere_says_where_and_is_not_timed(tmp_path: Path, engine: str, level: str) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    artifact = compile_model(model, CHIP, options(engine), output=tmp_path / "m.neoc")
    proof = artifact.manifest["verification"]
    assert artifact.level == level
    assert proof["numerics"] == level
    assert proof["why"] == "this machine is not a Far Chip; a stand-in for its chip ran it"
    assert proof["samples"] >= 2
    assert all(o["ok"] and not o["vacuous"] for o in proof["outputs"])
    assert artifact.evidence["race"] is None
    assert artifact.evidence["reported"] is None
    assert artifact.manifest["chosen_by"] == "preference"


def test_wrong_numbers_are_found_without_the_chip_and_located(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    with pytest.raises(ParityFailure, match=r"Sigmoid") as caught:
        compile_model(model, CHIP, options("WronglySimulated"), output=tmp_path / "m.neoc")
    assert "first departs at" in caught.value.where
    assert not (tmp_path / "m.neoc").exists()


def test_who_reaches_farther_is_preferred_and_the_other_is_told(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    artifact = compile_model(model, CHIP, options("Simulated", "Emulated"), output=tmp_path / "m.neoc")
    assert artifact.level == "emulated"
    (loss, *_) = artifact.evidence["losses"]
    assert loss["candidate"].startswith("faulty_engines:Simulated")
    assert "cannot be emulated here" in loss["reason"]


def test_two_simulations_vouch_for_each_other_and_preference_decides(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    artifact = compile_model(model, CHIP, options("WronglySimulated", "Simulated"), output=tmp_path / "m.neoc")
    assert artifact.manifest["variants"][0]["id"].startswith("faulty_engines:Simulated")
    assert any(loss["stage"] == "parity" for loss in artifact.evidence["losses"])


def test_an_engine_without_a_rehearsal_stays_unchecked() -> None:
    engine: Engine = load_engine("openvino")
    assert rehearsed(engine, CHIP, "no chip", "go there") == (Numerics.UNCHECKED, "no chip; go there")
    with pytest.raises(NotImplementedError, match="cannot be rehearsed"):
        engine.rehearse({}, None, None, CHIP)  # type: ignore[arg-type]


def test_an_emulated_engine_stays_unchecked_for_chips_that_nothing_imitates() -> None:
    engine: Engine = load_engine("onnxruntime")
    assert rehearsed(engine, CHIP, "no chip", "go there") == (Numerics.UNCHECKED, "no chip; go there")
    with pytest.raises(UsageError, match="qemu does not stand in for"):
        engine.rehearse({}, None, None, CHIP)  # type: ignore[arg-type]
