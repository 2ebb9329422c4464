"""An engine that misbehaves on demand, for the tests of workers: they name it 'misbehaving_engine:Misbehaving'.

The variant's option `do` says how, at build, at open, or (with a 'run ' before it) at run. It leaves one member, which
holds a factor; its sessions give y = x * factor.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Feeds,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.errors import MissingTool, UnsupportedModel, WrongDevice
from neoc.compile.program import Program

CRASHES = {
    "segfault": lambda: ctypes.string_at(8),
    "abort": os.abort,
    "exit": lambda: sys.exit(3),
    "hard exit": lambda: os._exit(7),
    "kill itself": lambda: os.kill(os.getpid(), 9),
    "hang": lambda: time.sleep(600),
    "hang deaf": lambda: ctypes.CDLL(None).sleep(600),
    "allocate": lambda: hold(np.ones(1 << 30, np.uint8)),
    "allocate in a grandchild": lambda: grandchild("x = b'a' * (1 << 30); import time; time.sleep(600)", wait=True),
    "raise": lambda: raise_value_error(),
    "raise memory": lambda: np.ones(1 << 60, np.uint8),
    "raise unprintable": lambda: raise_unprintable(),
    "missing tool": lambda: raise_missing_tool(),
    "unsupported": lambda: raise_unsupported(),
    "own error": lambda: raise_own_error(),
    "print": lambda: print_everywhere(),
    "chatter": lambda: os.write(2, b"".join(b"line %d\n" % i for i in range(200_000))),
    "read": lambda: report(f"stdin gave {sys.stdin.read()!r}"),
    "grandchild": lambda: grandchild("import time; time.sleep(600)"),
    "grandchild daemon": lambda: grandchild("import os, time; os.setsid(); time.sleep(600)"),
    "fork and crash": lambda: fork_and_crash(),
    "litter": lambda: Path("litter.txt").write_text("here"),
}


AFTER_BUILD = ("no member", "member outside")


def misbehave(what: str) -> None:
    if what and what not in AFTER_BUILD:
        CRASHES[what]()


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def hold(array: np.ndarray) -> None:
    time.sleep(600)
    report(str(array[0]))


def raise_value_error() -> None:
    raise ValueError("the tensor is too green")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raise_unprintable() -> None:
    raise Unprintable


def raise_missing_tool() -> None:
    raise MissingTool("the greenifier is missing", where="PATH", why="not installed", fix="apt install greenifier")


def raise_unsupported() -> None:
    gaps = (Gap("misbehaving", "node_3", "Green", "no such colour", suggestion="paint it blue"),)
    raise UnsupportedModel("too green", gaps=gaps, where="m.onnx")


class OwnError(WrongDevice):
    """A plugin's own kind of error, which neoc does not know."""


def raise_own_error() -> None:
    raise OwnError("this is not a green chip", fix="buy one")


def print_everywhere() -> None:
    print("from Python")
    sys.stdout.flush()
    os.write(1, b"from C\n" * 1000)
    subprocess.run([sys.executable, "-c", "print('from a program')"], check=True)


def grandchild(code: str, wait: bool = False) -> None:
    process = subprocess.Popen([sys.executable, "-c", code])
    if os.environ.get("PID_FILE"):
        Path(os.environ["PID_FILE"]).write_text(str(process.pid))
    if wait:
        process.wait()


def fork_and_crash() -> None:
    """Leave a fork behind that holds every pipe open, then die."""
    if os.fork() == 0:
        time.sleep(600)
    os.abort()


class Misbehaving(Engine):
    name = "misbehaving"
    oracle = True

    def missing(self) -> str | None:
        return None

    def serves(self, target: Target) -> bool:
        return True

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        return ()

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        return (Variant("plain"),)

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        misbehave(variant.get("do", ""))
        member = folder / "factor.txt"
        if variant.get("do") == "member outside":
            member = folder.parent / "outside.txt"
        if variant.get("do") != "no member":
            member.write_text(str(variant.get("factor", 2)))
        return Built(
            {"factor": member},
            (Requirement("arch", target.arch),),
            {"misbehaving": program.provenance.version},
            Placement((("misbehaving", 1),)),
            notes=(target.name, *sorted(target.features)),
        )

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        do = variant.get("do", "")
        if not do.startswith("run "):
            misbehave(do)
        if not members["factor"].readonly:
            raise ValueError("members must be read-only")
        return Scaler(signature, float(bytes(members["factor"])), do.removeprefix("run ") if "run " in do else "")

    def open_source(self, source: Path, signature: Signature) -> Session:
        return Scaler(signature, float(len(source.read_bytes())), "")


class Scaler(Session):
    def __init__(self, signature: Signature, factor: float, do: str) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._factor, self._do, self._runs = factor, do, 0

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._runs += 1
        if self._do == "busy":
            end = time.perf_counter() + 2e-3
            while time.perf_counter() < end:
                pass
        elif self._do == "unsendable":
            return {"y": np.array([object()])}
        elif self._do == "first is slow":
            time.sleep(0.05 if self._runs == 1 else 0)
        else:
            misbehave(self._do)
        (array,) = feeds.values()
        if array.dtype == object:
            return {"y": array + "!"}
        return {"y": (array * np.asarray(self._factor, array.dtype)).astype(array.dtype)}

    def close(self) -> None:
        report("closed")
