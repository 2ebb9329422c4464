"""CUDA source -> cubin, without a GPU: NVRTC from its Python package, nvcc where it is on PATH, a stand-in in tests.

NVRTC is asked first: one library of 90 MB for every chip from Maxwell to Blackwell, no host compiler, and a version
that is pinned. nvcc of CUDA 13 has dropped what is older than Turing; nvcc of CUDA 12 has not.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from neoc.compile.errors import MissingTool, UnsupportedModel, WorkerCrashed
from neoc.targets import standins

INSTALL = "pip install 'neoc[cuda]'"
_SECONDS = 600
_STANDARD = "--std=c++17"


@dataclass(frozen=True)
class Compiled:
    """What a compiler made: the cubin, and what ptxas said of each kernel."""

    cubin: bytes
    log: str


class CudaCompiler(ABC):
    name: str
    version: str
    standin: bool = False

    @abstractmethod
    def architectures(self) -> frozenset[int]:
        """Compute capabilities that it makes machine code for."""

    @abstractmethod
    def compile(self, source: str, sm: int) -> Compiled:
        """Raises UnsupportedModel where it refuses the source, WorkerCrashed where it breaks."""


def find_compiler(sm: int) -> CudaCompiler | None:
    """The first compiler that makes code for `sm`; a stand-in only where no real one does and stand-ins are allowed."""
    for compiler in real_compilers():
        if sm in compiler.architectures():
            return compiler
    standin = standins.find("nvcc")
    return None if standin is None else Nvcc(standin.command, standin.version, standin=True)


def require_compiler(sm: int) -> CudaCompiler:
    """`find_compiler`. Raises MissingTool where there is none."""
    if (compiler := find_compiler(sm)) is None:
        raise MissingTool(f"no CUDA compiler for sm_{sm} was found", why=why_none(sm))
    return compiler


def real_compilers() -> tuple[CudaCompiler, ...]:
    return tuple(c for c in (_nvrtc(), _nvcc()) if c is not None)


def versions() -> dict[str, str]:
    """name -> version of what a build here would use."""
    found = {c.name: c.version for c in real_compilers()}
    if not found and (standin := standins.find("nvcc")) is not None:
        found = {"nvcc": standin.version}
    return found


def why_none(sm: int | None = None) -> str:
    """Why there is no compiler for `sm` (None: for any chip), and what mends it."""
    found = real_compilers()
    if not found or sm is None:
        return f"no CUDA compiler was found; {INSTALL}"
    names = ", ".join(f"{c.name} {c.version}" for c in found)
    return f"{names} makes no code for sm_{sm}; {INSTALL}, which is of CUDA 12 and makes code for sm_50 to sm_121"


# ---- NVRTC -----------------------------------------------------------------------------------


class Nvrtc(CudaCompiler):
    """NVIDIA's run-time compiler library (NVRTC API reference, CUDA 12)."""

    name = "nvrtc"

    def __init__(self, library: Path, includes: Sequence[Path]) -> None:
        self._lib = ctypes.CDLL(str(library))
        self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p
        self._includes = tuple(includes)
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        self.version = f"{major.value}.{minor.value}"
        self._architectures = self._asked()

    def _asked(self) -> frozenset[int]:
        count = ctypes.c_int()
        self._check(self._lib.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        numbers = (ctypes.c_int * count.value)()
        self._check(self._lib.nvrtcGetSupportedArchs(numbers))
        return frozenset(numbers)

    def architectures(self) -> frozenset[int]:
        return self._architectures

    def compile(self, source: str, sm: int) -> Compiled:
        lib, program = self._lib, ctypes.c_void_p()
        self._check(lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None))
        try:
            words = [f"--gpu-architecture=sm_{sm}", _STANDARD, "--disable-warnings", "--ptxas-options=-v"]
            words.append("--no-cache")  # what comes from the cache comes without ptxas's words
            words += [f"--include-path={folder}" for folder in self._includes]
            options = (ctypes.c_char_p * len(words))(*[word.encode() for word in words])
            status = lib.nvrtcCompileProgram(program, len(words), options)
            log = self._text(program, "ProgramLog").decode(errors="replace").rstrip("\0")
            if status:
                raise _refused(self.name, sm, log)
            return Compiled(self._text(program, "CUBIN"), log)
        finally:
            lib.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._lib, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def _check(self, status: int) -> None:
        if status:
            why = self._lib.nvrtcGetErrorString(status).decode()
            raise WorkerCrashed("NVRTC failed", why=why, fix=f"install it anew: {INSTALL}")


@cache
def _nvrtc() -> Nvrtc | None:
    """NVRTC of the pip packages nvidia-cuda-nvrtc-cu12 (or later), with the headers of CUDA and of its C++ library."""
    libraries = [p for folder in _nvidia_packages() for p in sorted(folder.glob("*/lib/libnvrtc.so.1[2-9]"))]
    if not libraries:
        return None
    includes = [p for folder in _nvidia_packages() for p in (folder / "cuda_cccl", folder / "cuda_runtime")]
    try:
        return Nvrtc(libraries[0], [p / "include" for p in includes if (p / "include").is_dir()])
    except (OSError, WorkerCrashed):
        return None  # a library that does not load or answer compiles nothing


def _nvidia_packages() -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    return [Path(p) for p in spec.submodule_search_locations or ()] if spec else []


# ---- nvcc ------------------------------------------------------------------------------------


class Nvcc(CudaCompiler):
    """The compiler driver as a program, or the stand-in with its command line."""

    name = "nvcc"

    def __init__(self, command: Sequence[str], version: str, *, standin: bool = False) -> None:
        self._command, self.version, self.standin = tuple(command), version, standin

    def architectures(self) -> frozenset[int]:
        done = self._run("--list-gpu-arch")
        return frozenset(int(n) for n in re.findall(r"^compute_(\d+)$", done.stdout, re.MULTILINE))

    def compile(self, source: str, sm: int) -> Compiled:
        with tempfile.TemporaryDirectory(prefix="neoc-nvcc-") as folder:
            given, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.cubin"
            given.write_text(source)
            words = ["-cubin", f"-arch=sm_{sm}", "-std=c++17", "-w", "-Xptxas", "-v", "-o", str(made), str(given)]
            done = self._run(*words)
            said = done.stderr + done.stdout
            if done.returncode < 0:
                raise WorkerCrashed(f"nvcc was ended by signal {-done.returncode}", why=_tail(said))
            if done.returncode:
                raise _refused(self.name, sm, said)
            if not made.is_file() or not made.stat().st_size:
                raise WorkerCrashed("nvcc reported success and wrote no cubin", why=_tail(said))
            return Compiled(made.read_bytes(), said)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self._command, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WorkerCrashed(f"nvcc did not end within {_SECONDS} s", where=" ".join(words)) from error


@cache
def _nvcc() -> Nvcc | None:
    path = shutil.which("nvcc")
    if path is None:
        return None
    try:
        said = Nvcc([path], "")._run("--version").stdout
    except (OSError, WorkerCrashed):
        return None
    found = re.search(r"release [\d.]+, V([\d.]+)", said)
    return Nvcc([path], found[1]) if found else None


def _refused(name: str, sm: int, said: str) -> UnsupportedModel:
    errors = [line for line in said.splitlines() if "error" in line.lower() or "fatal" in line.lower()]
    why = " ".join(" ".join(errors[:5]).split())[:600] or _tail(said)
    return UnsupportedModel(f"{name} refuses the generated kernels for sm_{sm}", why=why, fix="choose another --engine")


def _tail(said: str) -> str:
    return " ".join(said.split()[-60:]) or "it said nothing"


def seal(compiler: CudaCompiler, compiled: Compiled) -> bool:
    """Whether a stand-in made the cubin, however it was found. Raises MissingTool where stand-ins are not allowed."""
    marked = standins.is_marked(compiled.cubin)
    if marked and not standins.allowed():
        raise MissingTool(
            f"the {compiler.name} that was found is a stand-in",
            why="it exists to test neoc and compiles nothing",
            fix=INSTALL,
        )
    return marked
