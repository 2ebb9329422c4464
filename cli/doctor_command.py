"""neoc doctor"""

from __future__ import annotations

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from neoc.cli import console

PACKAGES = (
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "apache-tvm",
    "nvidia-cuda-nvrtc-cu12",
    "jax",
    "torch",
    "numba",
    "llvmlite",
)
TOOLS = (
    "aarch64-linux-gnu-gcc",
    "arm-linux-gnueabihf-gcc",
    "mmdebstrap",
    "qemu-aarch64",
    "qemu-x86_64",
    "ssh",
    "nvcc",
    "trtexec",
    "neuronx-cc",
)


def command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """What is installed, what each engine lacks, one command to mend it."""
    facts = examine()
    if as_json:
        console.print_json(facts)
        return 0
    host = facts["host"]
    host["emulated ARM"] = facts["emulation"]
    console.table("this machine", ("fact", "value"), [(k, v) for k, v in host.items()])
    console.table(
        "engines",
        ("engine", "state", "serves"),
        [(e["engine"], e["missing"] or "ready", ", ".join(e["serves"])) for e in facts["engines"]],
    )
    console.table("packages", ("package", "version"), [(n, v or "not installed") for n, v in facts["packages"].items()])
    console.table("tools", ("tool", "path"), [(n, p or "not found") for n, p in facts["tools"].items()])
    return 0


def examine() -> dict[str, Any]:
    from neoc.compile import registry
    from neoc.targets import all_targets
    from neoc.targets.host import detect, x86_level

    host = detect()
    targets = all_targets()
    engines: list[dict[str, Any]] = [
        {
            "engine": engine.name,
            "missing": engine.missing(),
            "serves": [target.name for target in targets if engine.serves(target)],
        }
        for engine in registry.engines()
    ]
    lost = registry.broken(registry.ENGINES)
    engines += [{"engine": name, "missing": why, "serves": []} for name, why in lost.items()]
    level = x86_level(host.features) if host.arch == "x86_64" else ""
    return {
        "host": {
            "cpu": host.cpu,
            "arch": f"{host.arch} {level}".strip(),
            "cores": host.logical_cores,
            "memory": console.size(host.memory_bytes),
            "python": f"{platform.python_version()} ({sys.executable})",
            "neoc": version("neoc"),
        },
        "engines": engines,
        "emulation": _emulation(),
        "packages": {name: _version(name) for name in PACKAGES},
        "tools": {name: shutil.which(name) for name in TOOLS},
    }


def _emulation() -> str:
    from neoc.targets import guest

    found = guest.find()
    return found if isinstance(found, str) else f"ready, qemu {found.qemu_version}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
