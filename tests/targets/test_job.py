"""CreateCompilationJob requests, as SageMaker Neo takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neoc.compile.errors import MissingTool, UsageError
from neoc.targets.job import read_job


def _write(folder: Path, request: Any) -> Path:
    path = folder / "job.json"
    path.write_text(request if isinstance(request, str) else json.dumps(request))
    return path


def _request(**changes: Any) -> dict[str, Any]:
    base = {
        "CompilationJobName": "j",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "InputConfig": {
            "S3Uri": "file:///models/my%20net.onnx",
            "DataInputConfig": '{"input": [1, 3, 224, 224]}',
            "Framework": "ONNX",
        },
        "OutputConfig": {"S3OutputLocation": "file:///out/", "TargetDevice": "ml_c5"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 900},
    }
    return base | changes


def test_a_request_becomes_arguments(tmp_path: Path) -> None:
    job = read_job(_write(tmp_path, _request()))
    assert job.model == "/models/my net.onnx"
    assert job.target == "ml_c5"
    assert job.inputs == ("input=1,3,224,224",)
    assert job.output == Path("/out")
    assert job.max_runtime_s == 900


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{'a': [1, 2], 'b': [3]}", ("a=1,2", "b=3")),
        ('{"a": {"shape": [1, 2]}}', ("a=1,2",)),
        (None, ()),
    ],
)
def test_the_dialects_of_data_input_config(tmp_path: Path, config: str | None, expected: tuple[str, ...]) -> None:
    request = _request()
    request["InputConfig"]["DataInputConfig"] = config
    assert read_job(_write(tmp_path, request)).inputs == expected


@pytest.mark.parametrize(
    ("platform", "target"),
    [({"Os": "LINUX", "Arch": "X86_64"}, "x86-64"), ({"Os": "LINUX", "Arch": "ARM64"}, "aarch64")],
)
def test_a_platform_in_place_of_a_device(tmp_path: Path, platform: dict[str, str], target: str) -> None:
    request = _request(OutputConfig={"S3OutputLocation": "file:///out", "TargetPlatform": platform})
    assert read_job(_write(tmp_path, request)).target == target


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ({}, "lacks InputConfig"),
        (_request(OutputConfig={"S3OutputLocation": "file:///o"}), "names no TargetDevice"),
        (
            _request(OutputConfig={"TargetPlatform": {"Os": "ANDROID", "Arch": "ARM64"}}),
            "is not served",
        ),
        (_request(InputConfig={"S3Uri": "file:///m", "DataInputConfig": "{bad"}), "DataInputConfig"),
        (_request(InputConfig={"S3Uri": "file:///m#1", "DataInputConfig": "{}"}), "write %3F for"),
        (_request(InputConfig={"S3Uri": "file:///m?.onnx", "DataInputConfig": "{}"}), "write %3F for"),
        (_request(InputConfig={"S3Uri": "file:///m", "DataInputConfig": "[[1,2]]"}), "DataInputConfig"),
    ],
)
def test_bad_requests_name_the_field(tmp_path: Path, request_: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_job(_write(tmp_path, request_))


def test_a_place_in_s3_is_said_to_be_out_of_reach(tmp_path: Path) -> None:
    request = _request()
    request["InputConfig"]["S3Uri"] = "s3://bucket/model.tar.gz"
    with pytest.raises(MissingTool, match="s3://"):
        read_job(_write(tmp_path, request))
