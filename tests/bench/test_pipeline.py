"""Raw images through pre-processing, model and post-processing: the figure is the application's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.bench.pipeline import STAGES
from neoc.cli.app import run
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model

pytestmark = pytest.mark.needs("numba", "llvmlite", "onnxruntime")
LINE = {"size": [48, 192], "resize": "opencv-bilinear", "mean": [0.5] * 3, "std": [0.5] * 3, "channels": "BGR"}
AFTER = [{"softmax": {"output": "p"}}, {"labels": {"threshold": 0.5, "names": ["0", "180"]}}]


@pytest.fixture(scope="module")
def classifier(zoo: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(artifact, folder of images) of PP-OCR's text direction classifier with its own steps."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        np.save(folder / "images" / f"{i}.npy", rng.integers(0, 255, (300, 900 + 10 * i, 3), np.uint8))
    options = CompileOptions(
        preprocess=[{"image": LINE}], postprocess=AFTER, race_seconds=0.3, engines=("onnxruntime",)
    )
    compile_model(zoo("ppocr_cls"), "host", options, output=folder / "m.neoc")
    return folder / "m.neoc", folder / "images"


def bench(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["bench", *words, "--seconds", "1", "--blocks", "2", "--max-load", "1", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_raw_items_are_driven_and_each_stage_is_told(
    classifier: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, images = classifier
    raw = bench([str(artifact), "--pipeline", "--data", str(images)], capsys)
    assert raw["load"]["pipeline"] is True
    (result,) = raw["results"]
    assert list(result["stages"]) == list(STAGES)
    assert all(ns > 0 for ns in result["stages"].values())
    assert result["stages"]["inference"] > result["stages"]["batching"]
    # Its parts make the whole, which is more than the model alone.
    assert 0.3 < sum(result["stages"].values()) / result["metrics"]["p50"]["value"] < 3
    assert result["metrics"]["p50"]["value"] > result["stages"]["inference"] * 0.5


def test_items_go_together_in_batches_and_under_a_load(
    classifier: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, images = classifier
    words = [str(artifact), "--pipeline", "--data", str(images), "--batch", "4", "--scenario", "offline"]
    (result,) = bench(words, capsys)["results"]
    assert result["metrics"]["throughput"]["value"] > 10


def test_what_takes_no_raw_items_is_told(
    classifier: tuple[Path, Path], zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact, images = classifier
    assert run(["bench", f"onnxruntime:{zoo('ppocr_cls')}", "--pipeline", "--data", str(images)]) == 2
    assert run(["bench", str(artifact), "--pipeline"]) == 2
    (tmp_path / "none").mkdir()
    assert run(["bench", str(artifact), "--pipeline", "--data", str(tmp_path / "none")]) == 2
    assert "holds no image" in capsys.readouterr().err
