"""Stand-ins: imitations of tool chains that cannot be installed here, so that what uses them can be tested.

A stand-in is a program or module of its own that imports nothing of neoc. It is offered only where
NEOC_ALLOW_STANDIN=1 and the real tool is missing, refuses to run without that variable by itself, and marks what it
makes. An engine that used one says so by `Toolchain.STANDIN`; that makes the level `stand-in`, whatever else was
proven.

To add one: put a script beside this file, list it in `_TOOLS`, and let the engine ask `find` where it found no real
tool. A module goes into `modules/`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from neoc.compile.settings import Settings

MARK = b"NEOC_STANDIN"
"""stands in the first bytes of everything that a stand-in makes"""

_TOOLS = {
    "neuronx-cc": ("neuronx_cc.py", "2.27.5334.0+neoc.stand-in"),
    "ssh": ("ssh.py", "9.2+neoc.stand-in"),
    "ssh-keyscan": ("ssh.py", "9.2+neoc.stand-in"),
    "nvcc": ("nvcc.py", "12.9.86+neoc.stand-in"),
    "trtexec": ("trtexec.py", "10.16.0+neoc.stand-in"),
}
"""name of the program -> (script, version); the script prints this version too"""
_MODULES = Path(__file__).with_name("modules")
_HEAD_BYTES = 512


@dataclass(frozen=True)
class Standin:
    """A program in a tool's place."""

    command: tuple[str, ...]
    version: str


def allowed() -> bool:
    """Whether stand-ins may be used. Raises UsageError for a variable that is neither 0 nor 1."""
    return Settings.read().allow_standin


def find(tool: str) -> Standin | None:
    """The stand-in for a program; None where there is none, or where stand-ins are not allowed."""
    if tool not in _TOOLS or not allowed():
        return None
    script, version = _TOOLS[tool]
    return Standin((sys.executable, "-I", str(Path(__file__).with_name(script))), version)


def modules() -> Path | None:
    """The folder with stand-ins of Python modules, for sys.path; None where they are not allowed."""
    return _MODULES if allowed() else None


def is_standin(module: ModuleType) -> bool:
    """Whether an imported module is a stand-in."""
    return bool(getattr(module, "NEOC_STANDIN", False))


def is_marked(data: bytes | memoryview) -> bool:
    """Whether a stand-in made this."""
    return MARK in bytes(data[:_HEAD_BYTES])
