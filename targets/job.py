"""A CreateCompilationJob request, read as SageMaker Neo takes it, with file:// beside s3:// places."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from neoc.compile.errors import MissingTool, UsageError
from neoc.compile.process import sections


@dataclass(frozen=True)
class Job:
    model: str
    target: str
    inputs: tuple[str, ...]
    """as --input takes them"""
    output: Path | None
    timeout_s: float | None
    preprocess: tuple[Any, ...] = ()
    """neoc's own: SageMaker's request has no such field"""
    postprocess: tuple[Any, ...] = ()


def read_job(path: Path) -> Job:
    """The request in `path` (JSON). Raises UsageError naming the field that cannot be used."""
    try:
        request = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            "the job cannot be read",
            where=str(path),
            why=str(error),
            fix="give a CreateCompilationJob request as JSON",
        ) from error
    if not isinstance(request, dict):
        raise UsageError("the job is no JSON object", where=str(path), fix="give a CreateCompilationJob request")
    source = _field(request, path, "InputConfig", dict)
    output = _field(request, path, "OutputConfig", dict)
    stopping = request.get("StoppingCondition")
    limit = stopping.get("MaxRuntimeInSeconds") if isinstance(stopping, dict) else None
    if limit is not None and not (isinstance(limit, int | float) and limit > 0):
        raise UsageError("MaxRuntimeInSeconds is no number above zero", where=str(path), fix="give whole seconds")
    place = output.get("S3OutputLocation")
    steps = sections(request, str(path), strict=False)
    return Job(
        model=str(_local(str(_field(source, path, "S3Uri", str)), path)),
        target=_target(output, path),
        inputs=_inputs(source.get("DataInputConfig"), path),
        output=None if place is None else _local(str(place), path),
        timeout_s=None if limit is None else float(limit),
        preprocess=tuple(steps["preprocess"]),
        postprocess=tuple(steps["postprocess"]),
    )


def _field(data: Mapping[str, Any], path: Path, name: str, kind: type) -> Any:
    value = data.get(name)
    if not isinstance(value, kind):
        raise UsageError(
            f"the job lacks {name}",
            where=str(path),
            why=f"found {type(value).__name__}, need {kind.__name__}",
            fix="see CreateCompilationJob in SageMaker's API reference",
        )
    return value


def _local(uri: str, path: Path) -> Path:
    parts = urlparse(uri)
    if parts.scheme in ("", "file") and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise MissingTool(
        f"the job names a place that neoc does not reach: {uri}",
        where=str(path),
        why=f"{parts.scheme}:// needs a download",
        fix="copy the file here and write file:///path in its stead",
    )


def _target(output: Mapping[str, Any], path: Path) -> str:
    device = output.get("TargetDevice")
    if isinstance(device, str):
        return device
    platform = output.get("TargetPlatform")
    if isinstance(platform, dict):
        arch = {"X86_64": "x86-64", "ARM64": "aarch64"}.get(str(platform.get("Arch")))
        if platform.get("Os") == "LINUX" and arch is not None and "Accelerator" not in platform:
            return arch
        raise UsageError(
            f"TargetPlatform {json.dumps(platform)} is not served",
            where=str(path),
            why="neoc serves LINUX on X86_64 and ARM64 without an accelerator by platform",
            fix="name a TargetDevice; `neoc targets` lists them",
        )
    raise UsageError("the job names no TargetDevice", where=str(path), fix="set OutputConfig.TargetDevice")


def _inputs(config: object, path: Path) -> tuple[str, ...]:
    """DataInputConfig: {'name': [1, 3, 224, 224]}, or {'name': {'shape': [...]}}; a dict literal or JSON text."""
    if config is None:
        return ()
    try:
        shapes: Any = ast.literal_eval(config) if isinstance(config, str) else config
        pairs = {name: value["shape"] if isinstance(value, dict) else value for name, value in dict(shapes).items()}
        return tuple(f"{name}={','.join(str(int(d)) for d in dims)}" for name, dims in pairs.items())
    except (ValueError, TypeError, KeyError, SyntaxError) as error:
        raise UsageError(
            "DataInputConfig cannot be read",
            where=str(path),
            why=f"{config!r}: {error}",
            fix='write {"input name": [1, 3, 224, 224]}',
        ) from error
