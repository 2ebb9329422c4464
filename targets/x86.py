"""x86-64 targets: the psABI's micro-architecture levels, and `host`, which is resolved to what this machine has.

The levels and their feature sets are those of the x86-64 psABI (section 3.1.1), spelled as in /proc/cpuinfo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from neoc.compile.contracts import Engine, Figure, Numerics, Target
from neoc.compile.errors import UsageError
from neoc.targets.host import X86_LEVELS, detect, x86_level

ENGINES = ("trees", "onnxruntime", "openvino", "reference")
_ALIASES = {
    "x86-64-v3": ("ml_m4", "ml_c4", "lambda"),
    "x86-64-v4": ("ml_m5", "ml_c5"),
}
_TITLES = {
    "x86-64": "64-bit x86 machine (baseline, Linux)",
    "x86-64-v2": "64-bit x86 machine with SSE4.2 (Linux)",
    "x86-64-v3": "64-bit x86 machine with AVX2 and FMA (Linux)",
    "x86-64-v4": "64-bit x86 machine with AVX-512 (Linux)",
}


_BEYOND = ("amx_", "avx10", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx512vbmi", "avx_ne_convert", "avx_vnni")
"""how the flags of low-precision arithmetic and byte permutations start: engines use them where a CPU has them, and no
level promises them"""


@dataclass(frozen=True)
class X86Target(Target):
    """A level of x86-64. It can be executed here where this machine has its features and nothing above is used.

    No engine that dispatches by CPUID can be held down to a lower level: onnxruntime has no such switch, and OpenVINO
    2026.4 under ONEDNN_MAX_CPU_ISA=AVX2 still runs its own AVX-512 element-wise kernels (10 of the 188 layers of PP-OCR
    cls). So what they do here counts for the level of this machine alone; for lower ones it stays unchecked.
    """

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        host = detect()
        if host.arch != self.arch:
            return Numerics.UNCHECKED, f"this machine is {host.arch}"
        lacking = sorted(self.features - host.features)
        if lacking:
            return Numerics.UNCHECKED, f"this machine lacks {', '.join(lacking[:4])}"
        here = x86_level(host.features)
        if engine.dispatches and here != self.level:
            why = f"{engine.name} picks its kernels by CPUID and would run {here} code on this machine"
            return Numerics.UNCHECKED, f"{why}, which proves nothing about {self.level}"
        return Numerics.EXECUTED, ""


def _level(level: str) -> Target:
    return X86Target(
        name=level,
        title=_TITLES[level],
        arch="x86_64",
        level=level,
        features=frozenset(X86_LEVELS[level]),
        engines=ENGINES,
        aliases=_ALIASES.get(level, ()),
        facts=(("mcpu", level), ("triple", "x86_64-linux-gnu")),
    )


def x86_64() -> Target:
    """Every 64-bit x86 processor."""
    return _level("x86-64")


def x86_64_v3() -> Target:
    """Haswell, Zen and later."""
    return _level("x86-64-v3")


def x86_64_v4() -> Target:
    """Skylake-SP, Zen 4 and later."""
    return _level("x86-64-v4")


def host() -> Target:
    """This machine: its level and what it adds to that, its cores and memory; peaks where they were measured before.

    Raises UsageError on a machine that is not x86-64.
    """
    facts = detect()
    if facts.arch != "x86_64":
        raise UsageError(
            f"'host' is not served on {facts.arch}",
            why="neoc executes on x86-64 so far",
            fix="name a target: `neoc targets` lists them",
        )
    level = x86_level(facts.features)
    return replace(
        _level(level),
        title=f"this machine ({facts.cpu})",
        features=frozenset(X86_LEVELS[level]) | {f for f in facts.features if f.startswith(_BEYOND)},
        cores=facts.physical_cores,
        memory_bytes=facts.memory_bytes,
        aliases=(),
        **_measured(),
    )


def _measured() -> dict[str, Any]:
    """peak_flops and bandwidth as cached by an earlier measurement; nothing is measured here."""
    from neoc.targets.peaks import cached

    found = cached()
    if found is None:
        return {}
    return {
        "peak_flops": {dtype: Figure(figure.value, figure.source) for dtype, figure in found.peak_flops.items()},
        "bandwidth": found.bandwidth,
    }
