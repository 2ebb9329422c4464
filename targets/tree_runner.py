"""The tree compiler's 32-bit ARM kernels under qemu-arm: a static program around the kernel, and a session around that.

No Python runs there: tree_runner.c reads rows from a pipe and writes margins. The steps behind the margins are numpy's,
on this machine, as they are on any. The kernel's bytes are those that the artifact holds.
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
from collections.abc import Sequence
from pathlib import Path

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
    found = guest.find()
    if isinstance(found, guest.Guest) and found.qemu(name).exists():
        return str(found.qemu(name))
    return shutil.which(f"qemu-{name}") or shutil.which(f"qemu-{name}-static")


def why_not(arch: str) -> str:
    """Why a static program for `arch` cannot be made and run here; '' where it can."""
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


class EmulatedPredictor:
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
        self.row, self.total, self.cpu = np.dtype(row), np.dtype(total), cpu
        runner, emulator = program(arch), qemu_for(arch)
        if emulator is None and not qemu:
            raise MissingTool("a program cannot be emulated", why=why_not(arch))
        self._folder = tempfile.TemporaryDirectory(prefix="neoc-trees-")
        files = []
        for name, data in (("kernel", image), ("tables", tables)):
            path = Path(self._folder.name) / name
            path.write_bytes(data)
            files.append(str(path))
        sizes = (self.features * self.row.itemsize, self.targets * self.total.itemsize, facts["scratch_bytes"])
        self._process = subprocess.Popen(
            [*(qemu or (str(emulator),)), "-cpu", cpu, str(runner), *files, *map(str, sizes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": "", "LD_LIBRARY_PATH": ""},
        )

    def __call__(self, rows: np.ndarray, repeats: int = 1) -> np.ndarray:
        """rows [n, features] -> margins [n, targets]. Raises KernelInputError, WrongDevice, WorkerCrashed."""
        if rows.dtype != self.row or rows.ndim != 2 or rows.shape[1] != self.features:
            why = f"{rows.dtype}{list(rows.shape)}, not {self.row}[n, {self.features}]"
            raise KernelInputError("rows do not fit the trees", why=why)
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        data = np.ascontiguousarray(rows, self.row)
        out = np.empty((len(data), self.targets), self.total)
        try:
            process.stdin.write(struct.pack("<II", len(data), repeats) + data.tobytes())
            process.stdin.flush()
            answer = process.stdout.read(out.nbytes)
        except BrokenPipeError:
            answer = b""
        if len(answer) != out.nbytes:
            raise self._failure()
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(answer, np.uint8)
        return out

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
