"""The command line on raw items: compile --process, run --raw, inspect, a job with its own sections."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import written_models
import yaml
from PIL import Image
from remote_devices import FakeDevice, write_peaks

from neoc.cli.app import run
from neoc.compile import Artifact
from neoc.targets import open_artifact

HELPERS = Path(__file__).parents[1] / "helpers"
SECTIONS = {
    "preprocess": [{"image": {"size": [16, 16], "resize": "pillow-bilinear", "mean": [0.5] * 3}}],
    "postprocess": [{"top_k": {"k": 2, "names": list("abcdefghij"), "output": "best"}}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, the declared steps, the model and its artifact."""
    folder = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cli-cache"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))
        rng = np.random.default_rng(2)
        (folder / "images").mkdir()
        for name in ("one.png", "two.png", "three.png"):
            picture = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
            picture.save(folder / "images" / name)
        (folder / "steps.yaml").write_text(yaml.safe_dump(SECTIONS))
        words = ["compile", str(written_models.cnn(folder / "m.onnx")), "--target", "host", "--race-seconds", "0.3"]
        words += ["--process", str(folder / "steps.yaml"), "--raw", str(folder / "images"), "--engine", "onnxruntime"]
        assert run([*words, "-o", str(folder / "m.neoc")]) == 0
    return folder


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A stand-in device in the user's book."""
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setenv("NEOC_CONFIG_DIR", str(tmp_path / "config"))
    fake = FakeDevice(tmp_path)
    fake.in_book()
    write_peaks(fake.cache)
    return fake


def test_raw_items_on_a_device_are_answered_as_here(folder: Path, tmp_path: Path, device: FakeDevice) -> None:
    words = ["run", str(folder / "m.neoc"), "--raw", str(folder / "images")]
    assert run([*words, "-o", str(tmp_path / "here.json")]) == 0
    assert run([*words, "-o", str(tmp_path / "there.json"), "--on", "fake"]) == 0
    here, there = (json.loads((tmp_path / name).read_text()) for name in ("here.json", "there.json"))
    assert here == there
    assert len({str(record["answer"]) for record in there}) == 3, "the answers depend on the images"
    assert device.sessions == []


@pytest.mark.slow
def test_a_pipeline_is_measured_on_a_device_whole(folder: Path, tmp_path: Path, device: FakeDevice) -> None:
    """The folder of images goes there; two batch sizes share one connection."""
    words = ["bench", str(folder / "m.neoc"), "--pipeline", "--data", str(folder / "images"), "--on", "fake"]
    words += ["--seconds", "0.3", "--blocks", "1", "--sets", "1", "--max-load", "100"]
    assert run([*words, "-o", str(tmp_path / "b.json")]) == 0
    found = json.loads((tmp_path / "b.json").read_text())
    assert found["device"]["name"] == "fake"
    assert (found["data"]["name"], found["load"]["pipeline"]) == ("images", True)
    assert found["results"][0]["stages"]
    assert run([*words, "--batch", "1,2"]) == 0
    assert device.sessions == []


def test_run_on_a_folder_of_images(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(folder / "m.neoc"), "--raw", str(folder / "images"), "-o", str(tmp_path / "a.json")]
    assert run(words) == 0
    assert "three.png" in capsys.readouterr().out
    records = json.loads((tmp_path / "a.json").read_text())
    assert [r["item"] for r in records] == ["one.png", "three.png", "two.png"]
    with open_artifact(folder / "m.neoc") as session, Image.open(folder / "images" / "two.png") as image:
        (want,) = session.run_raw([np.asarray(image)])
    assert records[2]["answer"]["best"]["labels"] == want["best"]["labels"]  # type: ignore[index]
    np.testing.assert_array_equal(
        np.float32(records[2]["answer"]["best"]["values"]),
        want["best"]["values"],  # type: ignore[index]
    )
    assert run([*words[:-1], str(tmp_path / "a.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 3
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["item"].tolist() == ["one.png", "three.png", "two.png"]
        assert arrays["best.values"].shape == (3, 2)


def test_an_item_that_fails_is_named_and_the_others_are_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "items.npz", good=np.zeros((5, 5, 3), np.uint8), bad=np.zeros((5, 5), np.uint8))
    words = ["run", str(folder / "m.neoc"), "--raw", str(tmp_path / "items.npz"), "-o", str(tmp_path / "a.json")]
    assert run(words) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert line.startswith("error: bad: ")
    good, bad = json.loads((tmp_path / "a.json").read_text())
    assert "best" in good["answer"]
    assert "wrong form" in bad["error"]
    np.savez(tmp_path / "items.npz", bad=np.zeros((5, 5), np.uint8))
    (tmp_path / "a.json").unlink()
    assert run(words) == 2
    assert "no item could be run" in capsys.readouterr().err
    assert not (tmp_path / "a.json").exists()


def test_inspect_shows_both_signatures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(folder / "m.neoc")]) == 0
    out = capsys.readouterr().out
    for words in (
        "x: float32[1,3,16,16]",
        "x: image, uint8 [h, w, 3]",
        "best: the 2 best: values, indices, labels",
        "1 items at a time",
        "pillow-bilinear",
        "kernels for",
    ):
        assert words in out
    assert run(["inspect", str(folder / "m.neoc"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["raw"]["batch"] == 1


def test_a_job_may_carry_the_sections(folder: Path, tmp_path: Path) -> None:
    request = {
        "InputConfig": {"S3Uri": f"file://{folder}/m.onnx", "DataInputConfig": {"x": [1, 3, 16, 16]}},
        "OutputConfig": {"S3OutputLocation": f"file://{tmp_path}/m.neoc", "TargetDevice": "ml_c5"},
        **SECTIONS,
    }
    (tmp_path / "job.json").write_text(json.dumps(request))
    words = ["compile", "--job", str(tmp_path / "job.json"), "--race-seconds", "0.3", "--engine", "onnxruntime"]
    assert run([*words, "--target", "host"]) == 0
    mine, theirs = (Artifact.open(path).manifest for path in (tmp_path / "m.neoc", folder / "m.neoc"))
    assert (mine["pre"], mine["post"], mine["raw"]) == (theirs["pre"], theirs["post"], theirs["raw"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "{m}", "-o", "{t}/a.json"], "one of --data and --raw"),
        (["run", "{m}", "--raw", "{f}/images", "--data", "{f}/images", "-o", "{t}/a.json"], "one of --data and --raw"),
        (["run", "{m}", "--raw", "{f}/images", "-o", "{t}/a.txt"], ".json or .npz"),
        (["run", "{m}", "--raw", "{f}/absent", "-o", "{t}/a.json"], "raw items cannot be read"),
        (["run", "{f}/../dense.neoc", "--raw", "{f}/images", "-o", "{t}/a.json"], "takes tensors, not raw items"),
        (["compile", "{f}/m.onnx", "--target", "host", "--raw", "{f}/images"], "--raw needs a preprocess section"),
        (["compile", "{f}/m.onnx", "--target", "host", "--process", "{f}/m.onnx"], "processing file cannot be"),
        (["compile", "{f}/m.onnx", "--target", "host", "--process", "{f}/steps.yaml", "--fold", "all"], "unknown fold"),
    ],
)
def test_what_cannot_be_asked(
    words: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = Path(__file__).parents[1] / "data" / "artifacts" / "dense-1.0.neoc"
    (folder.parent / "dense.neoc").write_bytes(stored.read_bytes())
    filled = [w.format(m=folder / "m.neoc", f=folder, t=tmp_path) for w in words]
    assert run(filled) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
