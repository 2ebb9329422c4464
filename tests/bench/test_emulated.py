"""The rows of `make emulated`."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.bench import emulated
from neoc.targets import guest

BY_NAME = {subject.name: subject for subject in emulated.subjects()}


def test_the_models_are_those_that_the_page_speaks_of() -> None:
    assert [name.partition(",")[0].partition(" (")[0] for name in BY_NAME] == [
        *("ppocr_cls", "mtcnn pnet", "mtcnn rnet", "mtcnn onet", "silero_vad_openvino_16k", "magika", "xgboost"),
    ]


def test_only_an_emulated_row_within_tolerance_counts() -> None:
    def row(level: str, relative: float | None, engine: str = "tvm") -> bool:
        return emulated.Row("m", "rasp4b", "cortex-a72", engine, level, relative, "x", None, 1.0).ok

    assert row("emulated", 1e-5)
    assert not row("emulated", 2e-4)
    assert not row("compiled", 0.0)
    assert not row("emulated", None)
    assert row("emulated", 0.0, "trees")
    assert not row("emulated", 1e-7, "trees")  # trees: to the bit


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.needs("onnxruntime", "torch", "tvm", "xgboost")
def test_every_row_is_emulated_within_tolerance(arm_guest: guest.Guest, tmp_path: Path) -> None:
    for number, subject in enumerate(BY_NAME.values()):
        (folder := tmp_path / str(number)).mkdir()
        rows = list(emulated.measure(subject, emulated.TARGETS, folder, counted=False))
        assert {row.target for row in rows} == set(emulated.TARGETS), subject.name
        assert all(row.ok for row in rows), rows
    assert "sve" in emulated.refused(tmp_path)
