"""neoc compile --job: a request in, an artifact and Neo's own words out; the bound holds for the whole run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import written_models

from neoc.cli.app import run
from neoc.compile.artifact import Artifact
from neoc.targets import open_artifact


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "job-cache"))


def job(folder: Path, model: Path, framework: str, config: object, device: str = "host", **more: Any) -> Path:
    source = {"S3Uri": model.as_uri(), "Framework": framework}
    if config is not None:
        source["DataInputConfig"] = config if isinstance(config, str) else json.dumps(config)
    request = {
        "CompilationJobName": "a-job",
        "RoleArn": "arn:aws:iam::123456789012:role/neo",
        "InputConfig": source,
        "OutputConfig": {"S3OutputLocation": f"{(folder / 'out').as_uri()}/", "TargetDevice": device},
        "StoppingCondition": {"MaxRuntimeInSeconds": more.pop("seconds", 600)},
        **more,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(request))
    return path


def test_a_request_becomes_an_artifact_and_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    request = job(tmp_path, model, "ONNX", {"x": [1, 3, 16, 16]}, Tags=[{"Key": "a", "Value": "b"}])
    words = ["--race-seconds", "0.3", "--engine", "onnxruntime", "--json"]
    assert run(["compile", "--job", str(request), *words]) == 0
    told = capsys.readouterr()
    assert "job.json: Tags: the artifact carries none" in told.err
    answer = json.loads(told.out)["job"]
    artifact = Artifact.open(tmp_path / "out" / "m.host.neoc")
    assert answer["CompilationJobStatus"] == "COMPLETED"
    assert answer["ModelArtifacts"]["S3ModelArtifacts"] == artifact.path.as_uri()
    assert answer["ModelDigests"]["ArtifactDigest"] == artifact.content_digest
    assert json.loads(answer["DerivedInformation"]["DerivedDataInputConfig"]) == {"x": [1, 3, 16, 16]}
    written = json.loads((tmp_path / "out" / "a-job.json").read_text())
    assert written["ModelDigests"] == answer["ModelDigests"]
    with open_artifact(artifact.path) as session:
        x = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
        assert len(session.run({"x": x})) == 1


def test_a_model_tar_gz_as_sagemaker_stores_it(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(written_models.cnn(tmp_path / "net.onnx"), "net.onnx")
    request = job(tmp_path, tmp_path / "model.tar.gz", "ONNX", None)
    assert run(["compile", "--job", str(request), "--race-seconds", "0.3", "--engine", "onnxruntime"]) == 0
    artifact = Artifact.open(tmp_path / "out" / "model.host.neoc")
    assert artifact.manifest["provenance"]["name"] == "model.tar.gz/net.onnx"


def test_a_job_that_fails_says_why_in_its_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    model = written_models.cnn(tmp_path / "m.onnx")
    assert run(["compile", "--job", str(job(tmp_path, model, "PYTORCH", None))]) == 2
    assert "the model is no PyTorch model" in capsys.readouterr().err
    answer = json.loads((tmp_path / "out" / "a-job.json").read_text())
    assert answer["CompilationJobStatus"] == "FAILED"
    assert "it is read as ONNX" in answer["FailureReason"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-job.json"]


def test_the_command_line_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A retired device is refused; a target on the command line takes its place."""
    model = written_models.cnn(tmp_path / "m.onnx")
    request = job(tmp_path, model, "ONNX", {"x": [1, 3, 16, 16]}, "deeplens")
    assert run(["compile", "--job", str(request)]) == 2
    assert "deeplens is retired" in capsys.readouterr().err
    words = ["--target", "host", "-o", str(tmp_path / "own.neoc"), "--engine", "onnxruntime", "--race-seconds", "0.3"]
    assert run(["compile", "--job", str(request), *words]) == 0
    assert (tmp_path / "own.neoc").is_file()


def test_the_bound_ends_everything(tmp_path: Path) -> None:
    """In a process of its own: the alarm is of a process. What it had started is gone, and no artifact is there."""
    import psutil

    (tmp_path / "out").mkdir()
    model = written_models.cnn(tmp_path / "m.onnx")
    request = job(tmp_path, model, "ONNX", {"x": [1, 3, 16, 16]}, seconds=3)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "NEOC_CACHE_DIR": str(tmp_path / "cache"), "TMPDIR": str(scratch), "NEOC_MARK": str(tmp_path)}
    words = [sys.executable, "-m", "neoc.cli", "compile", "--job", str(request), "--race-seconds", "600", "--json"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "JobTimeout"
    assert "the job did not end within 3 s" in done.stderr
    answer = json.loads((tmp_path / "out" / "a-job.json").read_text())
    assert answer["CompilationJobStatus"] == "STOPPED"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-job.json"]
    assert list(scratch.glob("neoc*")) == []
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NEOC_MARK") == str(tmp_path):
                left.append(process.name())
        except psutil.Error:
            continue
    assert left == []


@pytest.mark.slow
@pytest.mark.needs("keras", "tensorflow")
def test_a_keras_request_says_nchw_for_a_model_that_is_nhwc(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((None, None, 3), name="image"), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D()]
    keras.Sequential(layers).save(tmp_path / "m.keras")
    request = job(tmp_path, tmp_path / "m.keras", "KERAS", {"image": [1, 3, 20, 24]})
    assert run(["compile", "--job", str(request), "--race-seconds", "0.3"]) == 0
    (spec,) = Artifact.open(tmp_path / "out" / "m.host.neoc").signature.inputs
    assert spec.shape == (1, 20, 24, 3)


@pytest.mark.slow
@pytest.mark.needs("torch")
@pytest.mark.parametrize("config", [[[2, 5], [2, 3]], {"input0": [2, 5], "input1": [2, 3]}], ids=["list", "labels"])
def test_a_pytorch_request_counts_its_inputs(tmp_path: Path, config: object) -> None:
    import torch

    class Two(torch.nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return torch.cat([first.tanh(), second * 2], 1)

    torch.jit.script(Two()).save(tmp_path / "m.pt")
    request = job(tmp_path, tmp_path / "m.pt", "PYTORCH", config)
    assert run(["compile", "--job", str(request), "--race-seconds", "0.3", "--engine", "onnxruntime"]) == 0
    signature = Artifact.open(tmp_path / "out" / "m.host.neoc").signature
    assert {spec.name: spec.shape for spec in signature.inputs} == {"first": (2, 5), "second": (2, 3)}
