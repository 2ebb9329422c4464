"""Tree kernels of other processors, run by qemu's user emulators from one static program, made by a cross compiler."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neoc.kernels.trees.code import kernel_image
from neoc.kernels.trees.ensemble import Ensemble
from neoc.kernels.trees.isa import isa_of
from neoc.kernels.trees.layout import HEADER, layout_of

SOURCE = Path(__file__).with_name("call_image.c")
TRIPLES = {"aarch64": "aarch64-linux-gnu", "armv7": "arm-linux-gnueabihf"}
TIMEOUT_S = 600


def lacking(arch: str) -> str:
    """Why kernels for `arch` cannot be emulated here; empty where they can."""
    tools = (_qemu(arch), f"{TRIPLES[arch]}-gcc")
    return ", ".join(f"no {tool}" for tool in tools if shutil.which(tool) is None)


def _qemu(arch: str) -> str:
    return f"qemu-{TRIPLES[arch].split('-')[0]}"


@dataclass(frozen=True)
class Emulated:
    """Margins of one ensemble on an emulated processor."""

    arch: str
    folder: Path
    scratch: int
    targets: int
    total: str

    @classmethod
    def of(cls, ensemble: Ensemble, arch: str, folder: Path) -> Emulated:
        """Compile the ensemble's kernel, and the program that calls it, into `folder`."""
        isa = isa_of(arch, frozenset({"asimd"}))
        layout = layout_of(ensemble, isa)
        (folder / "kernel").write_bytes(kernel_image(layout.shape, isa))
        (folder / "tables").write_bytes(layout.tables.tobytes())
        call = [f"{TRIPLES[arch]}-gcc", "-O1", "-static", "-o", str(folder / "call"), str(SOURCE)]
        subprocess.run(call, check=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)
        head = dict(zip(HEADER, layout.tables[: 8 * len(HEADER)].view(np.int64).tolist(), strict=True))
        return cls(arch, folder, head["scratch_bytes"], ensemble.targets, np.dtype(ensemble.sum_dtype).name)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """rows [n, features] in the ensemble's dtype -> margins [n, targets]."""
        dtype = np.dtype(self.total)
        size = len(rows) * self.targets * dtype.itemsize
        with tempfile.TemporaryDirectory() as name:
            given, out = Path(name) / "rows", Path(name) / "out"
            given.write_bytes(np.ascontiguousarray(rows).tobytes())
            files = [str(self.folder / "kernel"), str(self.folder / "tables"), str(given)]
            numbers = [str(v) for v in (len(rows), size, self.scratch)]
            command = [_qemu(self.arch), str(self.folder / "call"), *files, *numbers, str(out)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=TIMEOUT_S)
            return np.fromfile(out, dtype).reshape(len(rows), self.targets)
