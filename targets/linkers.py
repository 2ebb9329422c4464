"""Linkers that make a shared object of object files for a triple: a cross gcc, the native compiler driver, zig."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from neoc.compile.errors import MissingTool
from neoc.targets.host import machine

_ZIG = {"arm-linux-gnueabihf": ("arm-linux-gnueabihf", "-mcpu=cortex_a7")}
"""triple -> what zig calls it"""


@dataclass(frozen=True)
class Linker:
    """`command` takes gcc's arguments. Callable as TVM's `fcompile`, too."""

    name: str
    command: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    package: str = ""
    """the Python distribution that it is from, if it is from one"""
    output_format: str = "so"
    object_format: str = "o"

    def shared(self, output: Path, objects: Sequence[Path]) -> None:
        """Link a shared object that names no library to load. Raises MissingTool where the linker fails.

        What it needs of the C and mathematics libraries, the loading process has.
        """
        # -s, no build id: nothing (sections with paths of temporary files) that differs from build to build.
        flags = ["-shared", "-fPIC", "-nostdlib", "-s", "-Wl,--build-id=none", "-Wl,-z,noexecstack"]
        done = subprocess.run(
            [*self.command, *flags, "-o", str(output), *map(str, objects), *self.libraries],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not output.is_file():
            raise MissingTool(
                "the linker failed",
                where=" ".join(self.command),
                why=" ".join(done.stderr.split()[-60:]) or f"exit status {done.returncode}",
                fix="install another one with: pip install ziglang",
            )

    def __call__(self, output: str, objects: Sequence[str], options: object = None, **_: object) -> None:
        self.shared(Path(output), [Path(name) for name in objects])

    def tools(self) -> dict[str, str]:
        """name -> version"""
        if self.package:
            return {self.package: version(self.package)}
        out = subprocess.run([self.command[0], "--version"], capture_output=True, text=True, check=False).stdout
        return {self.name: out.splitlines()[0].split()[-1] if out.strip() else "unknown"}


@cache
def linker_for(triple: str) -> Linker | None:
    """A cross gcc, else the native compiler driver where it links for `triple`, else zig; None where there is none."""
    if cross := shutil.which(f"{triple}-gcc"):
        return Linker(f"{triple}-gcc", (cross,), ("-lgcc",))
    if triple == f"{machine()}-linux-gnu" and (native := shutil.which("gcc") or shutil.which("cc")):
        return Linker(Path(native).name, (native,), ("-lgcc",) if Path(native).name == "gcc" else ())
    if importlib.util.find_spec("ziglang") is not None:
        own, *flags = _ZIG.get(triple, (triple,))
        return Linker("zig", (sys.executable, "-m", "ziglang", "cc", "-target", own, *flags), package="ziglang")
    return None
