"""ARM targets: 64-bit Linux on the Armv8-A baseline. One function a target, named by an entry point."""

from __future__ import annotations

from dataclasses import dataclass

from neoc.compile.contracts import Engine, Numerics, Target, rehearsed
from neoc.targets.host import machine


@dataclass(frozen=True)
class ArmTarget(Target):
    """An ARM machine. Its code runs on this one only where this one is ARM, too."""

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        here = machine()
        if here == self.arch:
            return Numerics.EXECUTED, ""
        why = f"this machine is {here}: its processor cannot run {self.arch} code"
        return rehearsed(engine, self, why, f"run the artifact on a {self.arch} machine to check its numbers")


def aarch64() -> Target:
    """Any 64-bit ARM machine with Linux and glibc: code for the Armv8-A baseline, no optional extension.

    No peak figures: they differ by two orders of magnitude between the machines that this name covers.
    """
    return ArmTarget(
        name="aarch64",
        title="64-bit ARM machine (Armv8-A baseline, Linux)",
        arch="aarch64",
        level="armv8-a",
        # Advanced SIMD and scalar floating point are mandatory in the Armv8-A application profile that Linux runs on.
        features=frozenset({"asimd", "fp"}),
        engines=("trees", "tvm"),
        aliases=("arm64", "armv8-a"),
        notes=("the baseline: a target that names the processor lets the code generator use more of it",),
        facts=(("mcpu", "generic"), ("triple", "aarch64-linux-gnu")),
    )
