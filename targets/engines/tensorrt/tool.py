"""trtexec, TensorRT's own command: finding it, its command line, telling what it said.

A plan is for the GPU that it was built on and the TensorRT that built it: trtexec needs the very chip. Where it is not,
the command goes into the artifact as a script.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from neoc.compile.contracts import Signature, Target, TensorSpec
from neoc.compile.errors import MissingTool, UnsupportedModel, WorkerCrashed
from neoc.targets import standins
from neoc.targets.devices import cuda_devices

PROGRAM = "trtexec"
_SECONDS = 1800
RELEASES: dict[int, tuple[str, str]] = {
    53: ("8.2", "of JetPack 4.6, the last one for it"),
    62: ("8.2", "of JetPack 4.6, the last one for it"),
    70: ("10.4", "the last one for Volta"),
    72: ("8.5", "of JetPack 5, the last one for it"),
    75: ("10", ""),
    80: ("10", ""),
    86: ("10", ""),
    87: ("10", "of JetPack 6"),
    89: ("10", ""),
    90: ("10", ""),
}
"""compute capability -> the TensorRT that serves it, and a remark (TensorRT support matrices; JetPack release notes)"""


@dataclass(frozen=True)
class Trtexec:
    command: tuple[str, ...]
    version: str
    standin: bool = False


def find_tool(target: Target) -> Trtexec | None:
    """trtexec where it can build for the target: on a machine that has the chip. Else its stand-in, where allowed."""
    real = _on_path()
    if real is not None and f"cuda:{target.level}" in cuda_devices():
        return real
    standin = standins.find(PROGRAM) if real is None else None
    return None if standin is None else Trtexec(standin.command, standin.version, standin=True)


def versions() -> dict[str, str]:
    """Of what a build here would use: part of the cache key."""
    found, standin = _on_path(), standins.find(PROGRAM)
    version = found.version if found else standin.version if standin else None
    return {} if version is None else {PROGRAM: version}


def why_none(target: Target) -> str:
    if _on_path() is None:
        return "trtexec is not on PATH; it comes with TensorRT from NVIDIA's own package repository, or with JetPack"
    return f"a plan is built on the chip that runs it, and no {target.title} is attached to this machine"


@cache
def _on_path() -> Trtexec | None:
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"TensorRT[. ]v?(\d[\d.]*)", done.stdout + done.stderr)
    return Trtexec((path,), found[1] if found else "unknown")


OPEN = (1, 1, 8)
"""least, usual and most size of an open dimension, where nothing else is known of it"""


def flags(signature: Signature, precision: str) -> list[str]:
    """The command line behind the program's name."""
    words = ["--onnx=model.onnx", "--saveEngine=model.plan", "--skipInference"]
    words += {"fp32": ["--noTF32"], "bf16": ["--bf16"]}[precision]
    opened = [spec for spec in signature.inputs if not spec.is_static]
    for flag, size in zip(("minShapes", "optShapes", "maxShapes"), OPEN, strict=True):
        if opened:
            words.append(f"--{flag}=" + ",".join(_shape(spec, size) for spec in opened))
    return words


def _shape(spec: TensorSpec, size: int) -> str:
    return f"{spec.name}:{'x'.join(str(d) if isinstance(d, int) else str(size) for d in spec.shape or ())}"


def script(target: Target, words: Sequence[str]) -> str:
    """build.sh: what makes the plan on a machine that has the chip."""
    release, remark = RELEASES[target.fact("sm")]
    line = " ".join(shlex.quote(word) for word in words)
    return f"""#!/bin/sh
# Builds model.plan for {target.title}, compute capability {target.fact("sm") / 10:.1f}, from the model beside this
# script.
# Run it on a machine with that GPU and TensorRT {release}{f" ({remark})" if remark else " or later"}: a plan is for
# the chip and the TensorRT that it was built with.
set -eu
cd "$(dirname "$0")"
exec "${{TRTEXEC:-trtexec}}" {line}
"""


def build_plan(tool: Trtexec, words: Sequence[str], folder: Path) -> Path:
    """model.plan in `folder`, which holds model.onnx. Raises UnsupportedModel, WorkerCrashed."""
    try:
        done = subprocess.run(
            [*tool.command, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkerCrashed(f"{PROGRAM} did not end within {_SECONDS} s") from error
    said = done.stdout + done.stderr
    if done.returncode < 0:
        raise WorkerCrashed(f"{PROGRAM} was ended by signal {-done.returncode}", why=_tail(said))
    if done.returncode:
        errors = [line for line in said.splitlines() if "[E]" in line]
        why = " ".join(" ".join(errors[:4]).split())[:600] or _tail(said)
        raise UnsupportedModel(f"{PROGRAM} refuses the model", why=why, fix="choose another --engine")
    plan = folder / "model.plan"
    if not plan.is_file() or not plan.stat().st_size:
        raise WorkerCrashed(f"{PROGRAM} reported success and wrote no plan", why=_tail(said))
    return plan


def seal(plan: Path) -> bool:
    """Whether a stand-in made it. Raises MissingTool where stand-ins are not allowed."""
    with plan.open("rb") as file:
        marked = standins.is_marked(file.read(4096))
    if marked and not standins.allowed():
        plan.unlink()
        raise MissingTool(f"the {PROGRAM} on PATH is a stand-in", why="it exists to test neoc and compiles nothing")
    return marked


def _tail(said: str) -> str:
    return " ".join(said.split()[-60:]) or "it said nothing"
