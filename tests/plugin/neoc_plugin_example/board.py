"""A target: an imaginary board with a small x86-64 processor."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from neoc.compile.contracts import Engine, Figure, Numerics, Target

_DATA_SHEET = "Example Board data sheet, revision B, table 3"


@dataclass(frozen=True)
class Board(Target):
    """Says how far an artifact can be checked on the machine that compiles; everything else is data."""

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        here = platform.machine()
        if here != self.arch:
            return Numerics.UNCHECKED, f"this machine is {here}, the board is {self.arch}"
        if engine.dispatches:
            return Numerics.UNCHECKED, f"{engine.name} may use more of this machine's processor than the board has"
        return Numerics.EXECUTED, ""


def example_board() -> Target:
    return Board(
        name="example-board",
        title="Example Board",
        arch="x86_64",
        level="x86-64",
        features=frozenset({"sse2"}),
        cores=2,
        memory_bytes=2 * 2**30,
        peak_flops={"float32": Figure(19.2e9, _DATA_SHEET)},
        bandwidth=Figure(6.4e9, _DATA_SHEET),
        engines=("numpy-mlp",),
        facts=(("mcpu", "x86-64"), ("triple", "x86_64-linux-gnu")),
    )
