"""A CreateCompilationJob request, read as SageMaker Neo takes it, with file:// beside s3:// places.

Every field gets one of three answers: it is used, it is named in `notes` because it means nothing here, or the request
is refused with the field, the reason and what to do. Sources: SageMaker's API reference, Neo's guide to compilation
jobs; the shapes are those of botocore's service model, which the tests hold every documented request against.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from neoc.compile.errors import MissingTool, UsageError
from neoc.compile.process import SECTIONS, sections
from neoc.targets.job_inputs import input_arguments
from neoc.targets.job_options import options_of, parse_options
from neoc.targets.job_target import target_of

FIELDS = {
    *("CompilationJobName", "RoleArn", "ModelPackageVersionArn", "InputConfig", "OutputConfig", "VpcConfig"),
    *("StoppingCondition", "Tags"),
}
FRAMEWORKS = {
    "TENSORFLOW": "TensorFlow",
    "KERAS": "Keras",
    "ONNX": "",
    "PYTORCH": "PyTorch",
    "XGBOOST": "XGBoost",
    "TFLITE": "TensorFlow Lite",
    "SKLEARN": "scikit-learn",
}
"""Neo's name -> the framework that a front end names; ONNX has none"""
_WAITS = ("MaxWaitTimeInSeconds", "MaxPendingTimeInSeconds")
_LONGEST_S = 2**31 - 1
"""as SageMaker's own type of it holds"""
_GONE = {
    "MXNET": "MXNet was retired by its project; export the model to ONNX with its last release (mx2onnx)",
    "DARKNET": "convert the network to ONNX first",
}


@dataclass(frozen=True)
class Job:
    """What `neoc compile` needs of a request. `max_runtime_s`: of the whole job; None without a bound."""

    name: str
    model: str
    target: str
    inputs: tuple[str, ...]
    """as --input takes them"""
    output: Path | None
    max_runtime_s: float | None
    framework: str | None = None
    """that the model must be of, as front ends name it ('' is ONNX); None: whatever it is"""
    pairs: tuple[tuple[str, str], ...] = ()
    """as --option takes them"""
    notes: tuple[str, ...] = ()
    """what of the request means nothing here, one sentence each"""
    preprocess: tuple[Any, ...] = ()
    """neoc's own: SageMaker's request has no such field"""
    postprocess: tuple[Any, ...] = ()


def read_job(path: Path) -> Job:
    """The request in `path` (JSON). Raises UsageError naming the field that cannot be used, MissingTool for s3://."""
    request = _request(path)
    where = str(path)
    source, output = _input_config(request, where), _field(request, where, "OutputConfig", dict)
    _only(source, where, "InputConfig", {"S3Uri", "DataInputConfig", "Framework", "FrameworkVersion"})
    known = {"S3OutputLocation", "TargetDevice", "TargetPlatform", "CompilerOptions", "KmsKeyId"}
    _only(output, where, "OutputConfig", known)
    if output.get("KmsKeyId"):
        raise _not_served(where, "OutputConfig.KmsKeyId", "neoc writes its artifact in the clear", "encrypt the file")
    framework = _framework(source, where)
    compiler = parse_options(output.get("CompilerOptions"), where)
    target = target_of(output, compiler, where)
    chosen = options_of(compiler, target, where)
    place = output.get("S3OutputLocation")
    steps = sections(request, where, strict=False)
    return Job(
        name=_name(request, where),
        model=str(_local(str(_field(source, where, "S3Uri", str)), where)),
        target=target,
        inputs=input_arguments(source.get("DataInputConfig"), source.get("Framework"), chosen.dtype, where),
        output=None if place is None else _local(str(place), where),
        max_runtime_s=_limit(request.get("StoppingCondition"), where),
        framework=framework,
        pairs=chosen.pairs,
        notes=(*_unused(request, source), *chosen.notes),
        preprocess=tuple(steps["preprocess"]),
        postprocess=tuple(steps["postprocess"]),
    )


def _request(path: Path) -> Mapping[str, Any]:
    try:
        request = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            "the job cannot be read",
            where=str(path),
            why=str(error),
            fix="give a CreateCompilationJob request as JSON",
        ) from error
    if not isinstance(request, dict):
        raise UsageError("the job is no JSON object", where=str(path), fix="give a CreateCompilationJob request")
    _only(request, str(path), "", {*FIELDS, *SECTIONS})
    return request


def _name(request: Mapping[str, Any], where: str) -> str:
    """The job's name, as SageMaker takes names: it becomes one of a file. Raises UsageError."""
    name = request.get("CompilationJobName", "job")
    if not isinstance(name, str) or len(name) > 63 or not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name):
        raise UsageError(
            f"CompilationJobName {name!r:.80} is no name", where=where, fix="take letters, digits and '-', at most 63"
        )
    return name


def _only(data: Mapping[str, Any], where: str, of: str, known: set[str]) -> None:
    """Raises UsageError for a field that SageMaker does not know either."""
    strangers = sorted(set(data) - known)
    if strangers:
        raise UsageError(
            f"the job has a field that is not known: {of + '.' if of else ''}{strangers[0]}",
            where=where,
            fix=f"known are: {', '.join(sorted(known))}",
        )


def _input_config(request: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if "ModelPackageVersionArn" in request:
        why = "a model package lies in SageMaker's registry"
        raise _not_served(where, "ModelPackageVersionArn", why, "fetch the model and give InputConfig")
    found: Mapping[str, Any] = _field(request, where, "InputConfig", dict)
    return found


def _framework(source: Mapping[str, Any], where: str) -> str | None:
    name = source.get("Framework")
    if name is None:
        return None
    if not isinstance(name, str):
        raise UsageError(f"Framework {name!r:.80} is no name", where=where, fix=f"one of: {', '.join(FRAMEWORKS)}")
    if name in _GONE:
        raise _not_served(where, f"Framework {name}", "no front end reads it", _GONE[name])
    if name not in FRAMEWORKS:
        raise UsageError(
            f"Framework {name!r} is none of SageMaker's", where=where, fix=f"one of: {', '.join(FRAMEWORKS)}"
        )
    return FRAMEWORKS[name]


def _limit(stopping: object, where: str) -> float | None:
    if stopping is None:
        return None
    if not isinstance(stopping, dict):
        fix = 'write {"MaxRuntimeInSeconds": 900}'
        raise UsageError("StoppingCondition is no JSON object", where=where, fix=fix)
    _only(stopping, where, "StoppingCondition", {"MaxRuntimeInSeconds", *_WAITS})
    limit = stopping.get("MaxRuntimeInSeconds")
    if limit is not None and not (type(limit) is int and 0 < limit <= _LONGEST_S):
        why = f"the most is {_LONGEST_S}"
        raise UsageError("MaxRuntimeInSeconds is no number above zero", where=where, why=why, fix="give whole seconds")
    return None if limit is None else float(limit)


def _unused(request: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    notes = []
    if "VpcConfig" in request:
        notes.append("VpcConfig: nothing leaves this machine")
    if request.get("Tags"):
        notes.append("Tags: the artifact carries none")
    if "FrameworkVersion" in source:
        version = source["FrameworkVersion"]
        notes.append(f"FrameworkVersion {version}: the model is read as the file says, with the version installed here")
    stopping = request.get("StoppingCondition")
    for name in _WAITS:
        if isinstance(stopping, dict) and name in stopping:
            notes.append(f"{name}: the job does not wait for machines")
    return notes


def _field(data: Mapping[str, Any], where: str, name: str, kind: type) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        raise UsageError(
            f"the job lacks {name}",
            where=where,
            why=f"found {type(value).__name__}, need {kind.__name__}",
            fix="see CreateCompilationJob in SageMaker's API reference",
        )
    return value


def _local(uri: str, where: str) -> Path:
    try:
        parts = urlparse(uri)
    except ValueError as error:
        raise UsageError(
            f"the job names no place: {uri}", where=where, why=str(error), fix="write file:///path"
        ) from error
    if parts.query or parts.fragment or uri.endswith(("?", "#")):
        raise UsageError(
            f"the job names no place: {uri}",
            where=where,
            why="a ? or # in a URI begins what is no part of the path",
            fix="write %3F for ? and %23 for #",
        )
    if parts.scheme in ("", "file") and parts.netloc in ("", "localhost") and parts.path:
        return Path(unquote(parts.path))
    raise MissingTool(
        f"the job names a place that neoc does not reach: {uri}",
        where=where,
        why=f"{parts.scheme}:// needs a download" if parts.scheme not in ("", "file") else "it names another host",
        fix="copy the file here and write file:///path in its stead",
    )


def _not_served(where: str, what: str, why: str, fix: str) -> UsageError:
    return UsageError(f"{what} is not served", where=where, why=why, fix=fix)
