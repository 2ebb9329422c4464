"""The models of docs/nvidia.md's table, and one row of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.bench import cubins
from neoc.targets.devices import cuda_devices

NAMES = ["small_cnn", "mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "silero_vad_openvino_16k", "magika", "xgboost_200"]


def test_the_models_are_the_ones_that_must_be_there() -> None:
    assert [subject.name for subject in cubins.subjects()] == NAMES
    assert cubins.TARGETS == ("t4", "a10", "l4", "h100", "jetson-orin")


def test_a_row_is_told_without_any_time(capsys: pytest.CaptureFixture[str]) -> None:
    row = cubins.Row("m", "t4", "simulated", 75, 3, 64, 6912, 0, 0.5, 1.0, 36_000, 1e-7)
    told = cubins.told(row)
    assert told == "| m | t4 | simulated | 1.0e-07 | sm_75 | 3 | 64 | 6912 | 0 | 50% to 100% | 36 kB |"
    assert told.count("|") == cubins.HEAD.splitlines()[0].count("|") == cubins.HEAD.splitlines()[1].count("|")
    failed = cubins.Row("m", "t4", "failed", 0, 0, 0, 0, 0, None, None, 0, None, "why")
    assert cubins.told(failed).count("|") == told.count("|")
    with pytest.raises(SystemExit):
        cubins.main(["no_such_model"])
    assert "there are small_cnn" in capsys.readouterr().err


@pytest.mark.needs("tvm", "ziglang", "nvidia.cuda_nvrtc", "onnxruntime")
def test_silero_is_compiled_for_an_orin(tmp_path: Path) -> None:
    """The LSTM is unrolled; the host's code is ARM's, so nothing is run here."""
    subject = next(s for s in cubins.subjects() if s.name == "silero_vad_openvino_16k")
    row = cubins.measure(subject, "jetson-orin", tmp_path)
    assert row.why == ""
    assert row.sm == 87
    assert row.level == ("executed" if "cuda:sm_87" in cuda_devices() else "compiled")
    assert row.kernels > 10
    assert row.registers <= 255
    assert row.relative is None or row.level == "executed"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.needs("tvm", "ziglang", "nvidia.cuda_nvrtc", "onnxruntime", "xgboost", "torch", "avx2")
def test_every_row_holds(tmp_path: Path) -> None:
    for subject in cubins.subjects():
        for target in cubins.TARGETS:
            folder = tmp_path / subject.name / target
            folder.mkdir(parents=True)
            row = cubins.measure(subject, target, folder)
            assert row.why == ""
            assert f"sm_{row.sm}" == cubins.get_target(target).level
            assert row.spilling == 0
            if row.level == "simulated":
                assert row.relative is not None
                assert row.relative < 1e-4
