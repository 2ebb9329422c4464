"""What the generator may use of a processor: the few choices that differ between instruction sets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Isa:
    """A processor as the generator sees it. `triple`, `cpu` and `attributes` are LLVM's."""

    triple: str
    cpu: str
    attributes: str
    line: int
    """bytes of one line of bits: 8 * line rows are evaluated together"""
    lookup: Literal["bytes", "floats", "scalar"]
    """how leaves are looked up: vpermb on the four bytes of each, vpermt2ps, or one load a row"""
    row_masks: bool
    """whether one row's path compares all nodes of a tree at once (vpermi2b)"""
    integer_keys: bool
    """compare the bits of float32 as integers: 32-bit NEON takes denormals for zero"""
    pointer: int = 64
    """bits"""

    @property
    def rows(self) -> int:
        """in a block"""
        return 8 * self.line


_V3 = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.2"
_V4 = _V3 + ",+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"


def isa_of(arch: str, features: Collection[str], cpu: str = "") -> Isa:
    """The ISA of a target: arch x86_64, aarch64 or armv7; features spelled as in /proc/cpuinfo.

    Code uses what the features name and nothing else; `cpu` (LLVM's -mcpu) is used for ARM, where it implies no
    extension that the features lack.
    """
    if arch == "x86_64":
        return _x86(frozenset(features))
    if arch == "aarch64":
        # A cpu may have scalable vectors: the generator writes none, and LLVM 22 makes wrong ones of some loops.
        return Isa("aarch64-unknown-linux-gnu", cpu or "generic", "+neon,-sve", 16, "scalar", False, False)
    if arch == "armv7":
        # NEON of armv7 is not IEEE; LLVM keeps scalar floats on VFP unless +neonfp asks otherwise.
        attributes = "+neon,+vfp3,-neonfp,+v7"
        return Isa("armv7-unknown-linux-gnueabihf", cpu or "generic", attributes, 16, "scalar", False, True, 32)
    raise ValueError(arch)


def _x86(features: frozenset[str]) -> Isa:
    triple = "x86_64-unknown-linux-gnu"
    if "avx512bw" in features:
        if "avx512vbmi" in features:
            return Isa(triple, "x86-64-v4", _V4 + ",+avx512vbmi", 64, "bytes", True, False)
        return Isa(triple, "x86-64-v4", _V4, 64, "floats", False, False)
    if "avx2" in features:
        return Isa(triple, "x86-64-v3", _V3, 32, "scalar", False, False)
    if "sse4_2" in features:
        return Isa(triple, "x86-64-v2", "+sse4.2,+popcnt", 16, "scalar", False, False)
    return Isa(triple, "x86-64", "", 16, "scalar", False, False)
