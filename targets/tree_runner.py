"""The tree compiler's 32-bit ARM kernels under qemu-arm: a static program around the kernel, and a session around that.

No Python runs there: tree_runner.c reads rows from a pipe and writes margins; another one reads margins and writes what
follows from them. The bytes of both kernels are those that the artifact holds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.errors import MissingTool, WorkerCrashed, WrongDevice
from neoc.compile.files import write_atomically
from neoc.compile.settings import Settings
from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees.layout import HEADER
from neoc.targets import guest

SOURCE = Path(__file__).with_name("tree_runner.c")
_LINKERS = {"armv7": "arm-linux-gnueabihf-gcc", "aarch64": "aarch64-linux-gnu-gcc"}
_ZIG = {"armv7": "arm-linux-musleabihf", "aarch64": "aarch64-linux-musl"}
_ANSWER_S = 600.0


def qemu_for(arch: str) -> str | None:
    """The emulator of 'armv7' or 'aarch64': the prepared file system's, else this machine's."""
    name = {"armv7": "arm", "aarch64": "aarch64"}[arch]
    found = guest.prepared()
    if isinstance(found, guest.Guest) and found.qemu(name).is_file():
        return str(found.qemu(name))
    return shutil.which(f"qemu-{name}") or shutil.which(f"qemu-{name}-static")


def why_not(arch: str) -> str:
    """Why a static program for `arch` cannot be made and run here; '' where it can."""
    if not Settings.read().emulation:
        return guest.OFF
    if qemu_for(arch) is None:
        return f"there is no qemu for {arch}; neoc emulator prepare, or install qemu-user"
    if compiler(arch) is None:
        return f"no C compiler makes {arch} programs here; install {_LINKERS[arch]}, or pip install ziglang"
    return ""


def compiler(arch: str) -> tuple[str, ...] | None:
    """The command of a C compiler for `arch`: the cross gcc, else zig."""
    if found := shutil.which(_LINKERS[arch]):
        return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-target", _ZIG[arch])
    return None


def program(arch: str) -> Path:
    """The static runner for `arch`, made once a machine. Raises MissingTool."""
    command = compiler(arch)
    if command is None:
        raise MissingTool(f"no C compiler makes {arch} programs", fix=f"install {_LINKERS[arch]}")
    key = hashlib.sha256(repr((SOURCE.read_bytes(), command)).encode()).hexdigest()[:12]
    path = Settings.read().cache_dir / "emulation" / f"tree_runner-{arch}-{key}"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "runner"
        done = subprocess.run(
            [*command, "-O2", "-static", "-o", str(made), str(SOURCE)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            why = " ".join(done.stderr.split()[-60:])
            raise MissingTool(
                f"{command[0]} cannot make a static {arch} program", why=why, fix=f"install {_LINKERS[arch]}"
            )
        write_atomically(path, made.read_bytes())
        path.chmod(0o755)
    return path


class _Runner:
    """tree_runner.c under qemu."""

    def __init__(
        self, files: Mapping[str, memoryview], words: Sequence[str], arch: str, cpu: str, qemu: Sequence[str] = ()
    ) -> None:
        """files: written where the program finds them, and named before `words`. qemu: another emulator than
        `qemu_for`'s, with arguments, such as a plugin's. Raises MissingTool."""
        runner, emulator = program(arch), qemu_for(arch)
        if emulator is None and not qemu:
            raise MissingTool("a program cannot be emulated", why=why_not(arch))
        self.cpu = cpu
        self._folder = tempfile.TemporaryDirectory(prefix="neoc-trees-")
        paths = []
        for name, data in files.items():
            path = Path(self._folder.name) / name
            path.write_bytes(data)
            paths.append(str(path))
        self._process = subprocess.Popen(
            [*(qemu or (str(emulator),)), "-cpu", cpu, str(runner), *paths, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": "", "LD_LIBRARY_PATH": ""},
        )

    def _answer(self, rows: np.ndarray, size: int, repeats: int = 1) -> bytes:
        """`size` bytes for the rows. Raises WrongDevice, WorkerCrashed."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(struct.pack("<II", len(rows), repeats) + rows.tobytes())
            process.stdin.flush()
            answer = process.stdout.read(size)
        except BrokenPipeError:
            answer = b""
        if len(answer) != size:
            raise self._failure()
        return answer

    def _failure(self) -> WorkerCrashed | WrongDevice:
        _, errors = self._process.communicate()
        words = " ".join(errors.decode(errors="replace").split()[-20:])
        if "signal 4" in words or self._process.returncode == -4:
            return WrongDevice(
                f"the code uses an instruction that a {self.cpu} does not have",
                why="the emulated process was ended by SIGILL",
                fix="compile the model for a target whose core is this one or a lesser one",
            )
        return WorkerCrashed("the emulated program ended", why=words or f"status {self._process.returncode}")

    def close(self) -> str:
        """End the program. What it, and the emulator, wrote to standard error."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        errors = b""
        if self._process.stderr is not None and not self._process.stderr.closed:
            try:
                self._process.wait(_ANSWER_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            errors = self._process.stderr.read()
            self._process.stderr.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
        self._folder.cleanup()
        return errors.decode(errors="replace")


class EmulatedPredictor(_Runner):
    """Margins of rows, as `neoc.kernels.trees.predictor.Predictor` gives them, by a program under qemu."""

    def __init__(
        self,
        image: memoryview,
        tables: memoryview,
        row: type,
        total: type,
        *,
        arch: str,
        cpu: str,
        qemu: Sequence[str] = (),
    ) -> None:
        """qemu: another emulator than `qemu_for`'s, with arguments, such as a plugin's. Raises MissingTool."""
        head = np.frombuffer(tables[: 8 * len(HEADER)], np.int64).tolist()
        facts = dict(zip(HEADER, head, strict=True))
        self.features, self.targets = facts["features"], facts["targets"]
        self.row, self.total = np.dtype(row), np.dtype(total)
        sizes = (self.features * self.row.itemsize, self.targets * self.total.itemsize, facts["scratch_bytes"])
        super().__init__({"kernel": image, "tables": tables}, [str(n) for n in sizes], arch, cpu, qemu)

    def __call__(self, rows: np.ndarray, repeats: int = 1) -> np.ndarray:
        """rows [n, features] -> margins [n, targets]. Raises KernelInputError, WrongDevice, WorkerCrashed."""
        if rows.dtype != self.row or rows.ndim != 2 or rows.shape[1] != self.features:
            why = f"{rows.dtype}{list(rows.shape)}, not {self.row}[n, {self.features}]"
            raise KernelInputError("rows do not fit the trees", why=why)
        data = np.ascontiguousarray(rows, self.row)
        out = np.empty((len(data), self.targets), self.total)
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(self._answer(data, out.nbytes, repeats), np.uint8)
        return out


class EmulatedFinisher(_Runner):
    """What follows the trees, as `neoc.kernels.trees.finisher.Finisher` gives it, by a program under qemu."""

    def __init__(
        self, image: memoryview, total: type, targets: int, shapes: Sequence[Any], *, arch: str, cpu: str
    ) -> None:
        self._shapes = [(np.dtype(dtype), columns) for dtype, columns in shapes]
        sizes = [np.dtype(total).itemsize * targets, *(d.itemsize * (c or 1) for d, c in self._shapes)]
        super().__init__({"finish": image}, ["-", *map(str, sizes)], arch, cpu)

    def all(self, margins: np.ndarray) -> list[np.ndarray]:
        """Every output. Raises WrongDevice, WorkerCrashed."""
        n = len(margins)
        sizes = [n * dtype.itemsize * (columns or 1) for dtype, columns in self._shapes]
        answer, at, found = self._answer(margins, sum(sizes)), 0, []
        for size, (dtype, columns) in zip(sizes, self._shapes, strict=True):
            one = np.frombuffer(answer, dtype, size // dtype.itemsize, at).copy()
            found.append(one if columns is None else one.reshape(n, columns))
            at += size
        return found

    def one(self, margins: np.ndarray, number: int) -> np.ndarray:
        return self.all(margins)[number]
