"""Generated CUDA without a GPU: the kernels' own source, run thread by thread on this machine's processor.

What is run is the text that the cubin was compiled from (its digest is in kernels.json), launched by the artifact's own
host code with its own grids and blocks: shim.h makes a fiber of each thread, driver.c stands in the place of the CUDA
driver and runtime below TVM's unmodified CUDA runtime. Each inference runs twice, the second time with blocks and
threads in the opposite order, and both must give the same bits: a missing barrier changes them. Shared and device
memory hold NaN before they are written.

What it shows: the schedules, indices, barriers, launches and buffers are right. What it does not: ptxas's machine code,
the rounding of a GPU's own functions, races that both orders hide.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import Feeds, Session, Target
from neoc.compile.errors import MissingTool, WorkerCrashed
from neoc.targets.host import X86_LEVELS, detect

HERE = Path(__file__).parent
STAMP = "simulated: the kernels' source was run thread by thread on this machine's processor"
_SYNC = re.compile(r"\b__(?:syncthreads|syncwarp|shfl\w*|ballot_sync|any_sync|all_sync)\s*\(")
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\s*\(([^)]*)\)\s*\{')


def why_not(target: Target, *, host_code: bool) -> str:
    """Why artifacts for the target cannot be simulated here; '' where they can.

    host_code: whether the artifact's own host code takes part, which must be for this machine.
    """
    here = detect()
    if here.arch != "x86_64":
        return f"the simulator's fibers are for x86_64, this machine is {here.arch}"
    if host_code and target.fact("host_arch") != here.arch:
        return f"its host code is for {target.fact('host_arch')}, so its kernels cannot be launched on this machine"
    if host_code and not X86_LEVELS[str(target.fact("mcpu"))] <= here.features:
        return f"its host code is for {target.fact('mcpu')}, which this machine is not"
    return "" if compiler() else "no C++ compiler was found to run the kernels' source with: pip install ziglang"


@cache
def compiler() -> tuple[str, ...] | None:
    """A compiler for C and C++ that makes code for this machine."""
    import importlib.util
    import sys

    for name in ("g++", "clang++"):
        if path := shutil.which(name):
            return (path,)
    return (sys.executable, "-m", "ziglang", "c++") if importlib.util.find_spec("ziglang") else None


def _run(folder: Path, *words: str) -> None:
    command = compiler()
    if command is None:
        raise MissingTool("no C++ compiler was found", fix="pip install ziglang")
    done = subprocess.run(
        [*command, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        why = " ".join(" ".join(errors[:4] or [done.stderr]).split())[:600]
        raise WorkerCrashed("the simulator cannot compile the kernels' source", where=command[0], why=why)


_COMMON = ("-shared", "-fPIC", "-w", "-nostdlib", "-fno-stack-protector", "-fno-sanitize=all", "-fvisibility=default")


def _in_memory(path: Path) -> str:
    """A path to the file's bytes that no file system keeps: gone with this process, however it ends."""
    descriptor = os.memfd_create(path.name)
    os.write(descriptor, path.read_bytes())
    return f"/proc/self/fd/{descriptor}"


def _libraries() -> tuple[str, str]:
    """libcuda.so.1 and libcudart.so.13 of the simulator, compiled for this process."""
    with tempfile.TemporaryDirectory(prefix="neoc-simulator-") as name:
        folder = Path(name)
        (folder / "versions").write_text("libcudart.so.13 { global: *; };\n")
        flags = ("-x", "c", str(HERE / "driver.c"), *_COMMON, "-O1")
        _run(folder, *flags, "-DNEOC_DRIVER", "-Wl,-soname,libcuda.so.1", "-o", "cuda.so")
        script = "-Wl,--version-script=versions"
        _run(folder, *flags, script, "-Wl,-soname,libcudart.so.13", "-o", "cudart.so")
        return _in_memory(folder / "cuda.so"), _in_memory(folder / "cudart.so")


@cache
def driver() -> Any:
    """The simulator's libcuda, loaded for everything in this process that asks for libcuda.so.1."""
    ctypes.CDLL("libm.so.6", ctypes.RTLD_GLOBAL)
    cuda, cudart = _libraries()
    ctypes.CDLL(cudart, ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(cuda, ctypes.RTLD_GLOBAL)
    library.neoc_said.restype = ctypes.c_char_p
    library.cuInit(0)
    return library


def in_the_way() -> bool:
    """Whether this process asked for the simulator: whoever asks for the driver here gets it, for good."""
    return driver.cache_info().currsize > 0


def image_of(source: str) -> bytes:
    """What cuModuleLoadData takes of the simulator: the kernels compiled for this processor."""
    # -fwrapv: a GPU's integers wrap round; generated indices must not be optimised on the promise that they do not.
    flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-fwrapv", f"-I{HERE}"]
    with tempfile.TemporaryDirectory(prefix="neoc-simulator-") as name:
        folder = Path(name)
        (folder / "kernels.cpp").write_text(translated(source))
        _run(folder, "-x", "c++", "kernels.cpp", *_COMMON, *flags, "-o", "kernels.so")
        return f"NEOC_SIMULATOR {_in_memory(folder / 'kernels.so')}\0".encode()


def translated(source: str) -> str:
    """The source with the shim before it, without its own #include lines, and a caller for each kernel."""
    kept = "\n".join("" if line.lstrip().startswith("#include") else line for line in source.splitlines())
    kept = re.sub(r"__shared__ alignas\((\d+)\) ", r"alignas(\1) __shared__ ", kept)
    callers = []
    for found in _KERNEL.finditer(source):
        name, parameters = found[1], [p.strip() for p in found[2].split(",") if p.strip()]
        kinds = [re.sub(r"\s*\b\w+$", "", p.replace("__restrict__", " ")).strip() for p in parameters]
        values = ", ".join(f"*({kind}*)a[{index}]" for index, kind in enumerate(kinds))
        barriers = int(bool(_SYNC.search(_body(source, found.end()))))
        callers.append(f'extern "C" void neoc_body_{name}(void** a) {{ {name}({values}); }}')
        callers.append(f'extern "C" {{ int neoc_barriers_{name} = {barriers}; }}')
    return '#include "shim.h"\n' + kept + "\n" + "\n".join(callers) + "\n"


def _body(source: str, start: int) -> str:
    depth, at = 1, start
    while depth and at < len(source):
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        at += 1
    return source[start:at]


class SimulatedSession(Session):
    """Every call in both orders of threads. Raises WorkerCrashed where they differ."""

    concurrency = 1

    def __init__(self, inner: Session) -> None:
        self.inputs, self.outputs, self.stamp = inner.inputs, inner.outputs, STAMP
        self._inner = inner

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        library = driver()
        found: list[Mapping[str, np.ndarray]] = []
        for reversed_ in (0, 1):
            library.neoc_order(reversed_)
            try:
                found.append(self._inner.run(feeds, outputs))
            except (RuntimeError, WorkerCrashed) as error:
                said = library.neoc_said().decode() or str(error)[:300]
                raise WorkerCrashed("the simulated kernels failed", why=said) from error
        for name, value in found[0].items():
            if value.tobytes() != found[1][name].tobytes():
                why = f"output {name!r} changes with the order in which threads run: a barrier is missing"
                raise WorkerCrashed("the simulated kernels race", why=why)
        return dict(found[0])

    def close(self) -> None:
        self._inner.close()


def digest() -> str:
    """Of the simulator itself: part of the key under which builds are cached."""
    total = hashlib.sha256()
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".py", ".h", ".c"):
            total.update(path.read_bytes())
    return total.hexdigest()[:16]
