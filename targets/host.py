"""What this machine is: architecture, ISA features, cores, memory, devices. Detected once, from /proc/cpuinfo."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Target
from neoc.compile.errors import Unavailable

# The x86-64 psABI (System V ABI, AMD64 supplement, table 3.1 "Micro-Architecture Levels") in the spelling of
# /proc/cpuinfo: SCE = syscall, CMPXCHG16B = cx16, LAHF-SAHF = lahf_lm, SSE3 = pni, LZCNT = abm. OSFXSR and OSXSAVE
# have no flag of their own: Linux hides `fxsr` / `xsave` and all that builds on them where it does not enable them.
_V1 = frozenset(["cmov", "cx8", "fpu", "fxsr", "mmx", "sse", "sse2", "syscall"])
_V2 = _V1 | frozenset(["cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"])
_V3 = _V2 | frozenset(["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"])
_V4 = _V3 | frozenset(["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"])

X86_LEVELS: dict[str, frozenset[str]] = {
    "x86-64": _V1,
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": _V4,
}
"""psABI level -> every feature it promises, those of the lower levels included; lowest level first"""

_VECTOR = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "fp", "i8mm", "mmx", "pni", "sme", "sse", "ssse", "sve")
"""how the flags start by which libraries pick kernels and layouts"""

_SYNONYMS = {"lzcnt": "abm", "sse3": "pni", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "neon": "asimd"}
"""spellings of other tools (LLVM, FreeBSD) -> /proc/cpuinfo; 32-bit ARM says neon where 64-bit says asimd"""

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "armv8l": "armv7"}

# Implementer and part of MIDR_EL1 -> LLVM's -mcpu name. Arm's and NVIDIA's technical reference manuals; the same table
# as in util-linux's lscpu-arm.c.
_ARM_CORES = {
    (0x41, 0xC07): "cortex-a7",
    (0x41, 0xC08): "cortex-a8",
    (0x41, 0xC09): "cortex-a9",
    (0x41, 0xC0D): "cortex-a17",  # its first revisions, sold as Cortex-A12: RK3288
    (0x41, 0xC0E): "cortex-a17",
    (0x41, 0xC0F): "cortex-a15",
    (0x41, 0xD03): "cortex-a53",
    (0x41, 0xD04): "cortex-a35",
    (0x41, 0xD05): "cortex-a55",
    (0x41, 0xD07): "cortex-a57",
    (0x41, 0xD08): "cortex-a72",
    (0x41, 0xD09): "cortex-a73",
    (0x41, 0xD0A): "cortex-a75",
    (0x41, 0xD0B): "cortex-a76",
    (0x41, 0xD0C): "neoverse-n1",
    (0x41, 0xD0D): "cortex-a77",
    (0x41, 0xD40): "neoverse-v1",
    (0x41, 0xD41): "cortex-a78",
    (0x41, 0xD42): "cortex-a78ae",
    (0x41, 0xD44): "cortex-x1",
    (0x41, 0xD46): "cortex-a510",
    (0x41, 0xD47): "cortex-a710",
    (0x41, 0xD48): "cortex-x2",
    (0x41, 0xD49): "neoverse-n2",
    (0x41, 0xD4B): "cortex-a78c",
    (0x41, 0xD4D): "cortex-a715",
    (0x41, 0xD4E): "cortex-x3",
    (0x41, 0xD4F): "neoverse-v2",
    (0x41, 0xD80): "cortex-a520",
    (0x41, 0xD81): "cortex-a720",
    (0x41, 0xD84): "neoverse-v3",
    (0x41, 0xD8E): "neoverse-n3",
    (0x4E, 0x003): "denver2",
    (0x4E, 0x004): "carmel",
    (0xC0, 0xAC3): "ampere1",
}


def normalise(feature: str) -> str:
    """A feature's name as /proc/cpuinfo spells it."""
    return _SYNONYMS.get(feature, feature)


def x86_level(features: Collection[str]) -> str:
    """The highest psABI level whose every feature is there. Raises Unavailable below 'x86-64'."""
    present = {normalise(feature) for feature in features}
    reached = [name for name, needed in X86_LEVELS.items() if needed <= present]
    if not reached:
        lacking = ", ".join(sorted(_V1 - present))
        raise Unavailable("this CPU is not even x86-64", why=f"it lacks {lacking}", fix="use a 64-bit machine")
    return reached[-1]


@dataclass(frozen=True)
class HostFacts:
    """A machine, as far as opening an artifact depends on it."""

    arch: str
    """x86_64, aarch64, armv7 ..."""
    cpu: str
    """x86: the model name; ARM: LLVM's name of the core, several joined by '+', biggest first as listed"""
    features: frozenset[str]
    """ISA features that every core has, spelled as in /proc/cpuinfo"""
    logical_cores: int
    """cores that this process may run on"""
    physical_cores: int
    """distinct physical cores among them"""
    memory_bytes: int
    devices: tuple[str, ...] | None = ()
    """accelerators: 'cuda:sm_90', 'neuron:inf2'; None: looked up when asked"""
    stepping: str = ""
    """x86: vendor-family-model; ARM: implementer-part-variant of each kind of core; '' where nothing tells"""

    @property
    def level(self) -> str:
        """psABI level on x86_64; the architecture's own name elsewhere, and where the features are not known."""
        return x86_level(self.features) if X86_LEVELS["x86-64"] <= self.features else self.arch

    @property
    def cpu_key(self) -> str:
        """What makes two CPUs alike for code, and for data laid out for it, that is picked by CPUID.

        Architecture, maker and model, and a digest of the vector features that every core has (a hypervisor may hide
        some). Other flags (mitigations, virtualisation) come and go with the kernel and are left out.
        """
        vector = sorted(f for f in self.features if f.startswith(_VECTOR))
        digest = hashlib.sha256(" ".join(vector).encode()).hexdigest()[:12]
        return "-".join(filter(None, (self.arch, self.stepping.replace(" ", ""), digest)))

    def has(self, feature: str) -> bool:
        return normalise(feature) in self.features

    def present_devices(self) -> tuple[str, ...]:
        if self.devices is not None:
            return self.devices
        from neoc.targets.devices import detect_devices

        return detect_devices()

    def as_dict(self) -> dict[str, Any]:
        """As JSON, its accelerators looked up: what a device says of itself."""
        return {
            "arch": self.arch,
            "cpu": self.cpu,
            "features": sorted(self.features),
            "logical_cores": self.logical_cores,
            "physical_cores": self.physical_cores,
            "memory_bytes": self.memory_bytes,
            "devices": list(self.present_devices()),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HostFacts:
        facts = {**data, "features": frozenset(data["features"]), "devices": tuple(data["devices"])}
        return cls(**facts)

    @classmethod
    def parse(
        cls,
        cpuinfo: str,
        *,
        arch: str,
        memory_bytes: int = 0,
        affinity: Collection[int] | None = None,
        devices: tuple[str, ...] | None = (),
    ) -> HostFacts:
        """The facts in the text of /proc/cpuinfo. `affinity`: usable processor numbers, None for all of them."""
        blocks = [b for b in map(_fields, cpuinfo.split("\n\n")) if "processor" in b]
        usable = [b for b in blocks if affinity is None or int(b["processor"]) in affinity] or blocks
        logical = len(affinity) if affinity else max(1, len(blocks))
        return cls(
            arch=_MACHINES.get(arch, arch),
            cpu=_cpu_name(blocks) or arch,
            features=_common_features(_fields(b) for b in cpuinfo.split("\n\n")),
            logical_cores=logical,
            physical_cores=_physical(usable) or logical,
            memory_bytes=memory_bytes,
            devices=devices,
            stepping=_stepping(blocks),
        )


@cache
def detect() -> HostFacts:
    """This machine. Reads /proc and nothing else; accelerators are looked up only where someone asks."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""  # no Linux: nothing is claimed beside the architecture
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return HostFacts.parse(text, arch=machine(), memory_bytes=memory, affinity=affinity, devices=None)


def is_this_machine(target: Target) -> bool:
    """Whether what is laid out for the CPU found here is what the target names: the same level."""
    facts = detect()
    return facts.arch == target.arch and facts.level == target.level and target.features <= facts.features


def machine() -> str:
    """The architecture that this process runs as: a 32-bit Python under a 64-bit ARM kernel is armv7."""
    name = os.uname().machine.lower()
    name = _MACHINES.get(name, name)
    return "armv7" if name == "aarch64" and sys.maxsize < 2**32 else name


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def _common_features(blocks: Iterable[dict[str, str]]) -> frozenset[str]:
    lines = {block.get("flags") or block.get("Features") for block in blocks} - {None, ""}
    sets = [frozenset(normalise(word) for word in str(line).split()) for line in lines]
    return frozenset.intersection(*sets) if sets else frozenset()


def _cpu_name(blocks: list[dict[str, str]]) -> str:
    names: dict[str, None] = {}
    for block in blocks:
        if "CPU part" in block:
            names[_arm_core(block.get("CPU implementer", "0"), block["CPU part"])] = None
        elif "model name" in block:
            names[block["model name"]] = None
    return "+".join(names)


def _stepping(blocks: list[dict[str, str]]) -> str:
    keys = (("vendor_id", "cpu family", "model"), ("CPU implementer", "CPU part", "CPU variant"))
    named = {"-".join(b[k] for k in row) for b in blocks for row in keys if all(k in b for k in row)}
    return "+".join(sorted(named))


def _arm_core(implementer: str, part: str) -> str:
    try:
        key = (int(implementer, 16), int(part, 16))
    except ValueError:
        return f"arm {implementer}/{part}"
    return _ARM_CORES.get(key, f"arm {implementer}/{part}")


def _physical(blocks: list[dict[str, str]]) -> int:
    """0 where the text does not say (ARM)."""
    return len({(b.get("physical id", "0"), b["core id"]) for b in blocks if "core id" in b})
