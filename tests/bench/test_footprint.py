"""Footprint and roofline: what can be read is right, what cannot be is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from neoc.bench import footprint, measurement, roofline
from neoc.bench.roofline import Work
from neoc.bench.subjects import Subject
from neoc.compile.contracts import Figure
from neoc.compile.measure import Load
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.targets import peaks
from neoc.targets.peaks import Peaks

ROOF = Peaks({"float32": Figure(2e11, "t")}, Figure(4e10, "t"), 2, {"float32": Figure(1e11, "one")}, Figure(2e10, "t"))


def test_rapl_adds_packages_and_not_their_parts(tmp_path: Path) -> None:
    assert footprint.rapl_uj(tmp_path) is None
    for name, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 2_000_000), ("intel-rapl:0:0", 4_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
    assert footprint.rapl_uj(tmp_path) == 7_000_000
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("no number")
    assert footprint.rapl_uj(tmp_path) is None
    assert footprint._spent(1e6, 3e6, 1e6, 4) == 0.5
    assert footprint._spent(3e6, 1e6, 1e6, 4) is None  # the counter has wrapped around
    assert footprint._spent(None, 1e6, 1e6, 4) is None


def test_instructions_are_counted_or_said_to_be_unknown() -> None:
    facts, _ = footprint.probe(lambda feeds: sum(range(2000)), [{}], {"typical_ns": 20_000}, None)  # type: ignore[arg-type]
    assert facts["iterations"] > 1000
    assert facts["instructions"] is None or 2_000 < facts["instructions"] < 2_000_000
    assert facts["gpu_bytes"] is None or facts["gpu_bytes"] >= 0


def test_a_point_lies_under_the_roof_that_its_threads_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "cached", lambda: ROOF)
    compute = roofline.place(Work(10**9, 10**7), 0.02, "fp32", 1)
    assert compute is not None
    assert (compute["of_peak"], compute["of_roof"]) == (0.5, 0.5)
    assert roofline.words(compute) == "achieved 50% of fp32 peak"
    memory = roofline.place(Work(10**8, 10**8), 0.01, "fp32", 1)
    assert memory is not None
    assert memory["roof_flops"] == 2e10  # one FLOP a byte: the memory is the roof
    assert memory["of_roof"] == pytest.approx(0.5)
    both = roofline.place(Work(10**9, 10**7), 0.02, "fp32", 2)
    assert both is not None
    assert both["of_peak"] == 0.25
    monkeypatch.setattr(peaks, "cached", lambda: None)
    assert roofline.place(Work(1, 1), 1, "fp32", 1) is None
    assert roofline.words(None) == ""


def test_the_work_of_a_model_is_that_of_its_artifact(zoo: Any, tmp_path: Path) -> None:
    name = "ppocr_cls"
    feeds = zoo.samples(name)[0]
    source = roofline.work(Subject("s", zoo(name), "onnxruntime"), feeds)
    assert source is not None
    assert source.flops > 10_000_000
    assert not source.partial
    options = CompileOptions(race_seconds=0.2, engines=("onnxruntime",), data=zoo.data(name))
    artifact = compile_model(zoo(name), "host", options, output=tmp_path / "m.neoc")
    made = roofline.work(Subject("a", artifact.path), feeds)
    assert made is not None
    assert made.flops == source.flops
    # The branches of silero's If have operands that no feed ever has: some work is not counted, nothing breaks.
    assert roofline.work(Subject("s", zoo("silero_vad"), "onnxruntime"), zoo.samples("silero_vad")[0]) is not None


def test_peaks_are_not_measured_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(peaks, "cached", lambda: None)
    monkeypatch.setattr(peaks, "measure", lambda: done.append("measured"))
    monkeypatch.setattr(measurement, "LOOK_S", 0.0)
    for others, wanted in ((0.5, 0), (0.0, 1)):
        monkeypatch.setattr(measurement.LoadWatch, "read", lambda self, o=others: Load(o, 0.0))
        measurement.measure_peaks(lambda stage, detail: None)
        assert len(done) == wanted
