"""ARM targets: 64-bit and 32-bit Linux machines. One function a target, named by an entry point; the rows are data.

A target names its core. Code generators take the core as -mcpu and use what the row's features say, nothing else;
`emulated_as` is the CPU model of qemu that has these instructions and, as far as there is one, no other.
"""

from __future__ import annotations

from dataclasses import dataclass

from neoc.compile.contracts import Engine, Numerics, Scalar, Target, rehearsed
from neoc.targets.host import detect, normalise

GIB = 2**30

_A53 = "asimd crc32 fp"
_CRYPTO = "aes pmull sha1 sha2"
_A76 = f"{_A53} {_CRYPTO} asimddp asimdhp asimdrdm atomics fphp lrcpc"
_V1 = (
    f"{_A76} asimdfhm bf16 dcpodp dcpop dit fcma flagm i8mm ilrcpc jscvt paca pacg rng sha3 sha512 sve svebf16 svei8mm "
    "uscat"
)
_V2 = f"{_V1} flagm2 frint sve2 sveaes svebitperm svepmull svesha3"
_V7 = "idiva idivt neon vfpv3 vfpv4"


@dataclass(frozen=True)
class Core:
    """A core as LLVM and qemu name it, and what Linux says of it."""

    mcpu: str
    features: str
    """as in /proc/cpuinfo: those that a code generator can use"""
    emulated_as: str
    """the -cpu of qemu"""
    mattr: str = ""
    """what LLVM's -mcpu takes for granted and this chip was sold without, or the other way round"""
    caveat: str = ""
    """where the emulated model is not the core itself: what that means for the proof"""


CORES = {
    # Advanced SIMD and scalar floating point are mandatory in the Armv8-A application profile that Linux runs on.
    "armv8-a": Core("generic", "asimd fp", "cortex-a53", caveat="which has crc32 and cryptography beside the baseline"),
    "cortex-a53": Core("cortex-a53", f"{_A53} {_CRYPTO}", "cortex-a53"),
    "cortex-a72": Core("cortex-a72", f"{_A53} {_CRYPTO}", "cortex-a72"),
    # Broadcom licensed no cryptography extension for the Pi 4: its /proc/cpuinfo has neither aes nor sha2.
    "bcm2711": Core("cortex-a72", _A53, "cortex-a72", "-aes,-sha2", "which has cryptography beside what a BCM2711 has"),
    "cortex-a76": Core("cortex-a76", _A76, "cortex-a76"),
    "neoverse-n1": Core("neoverse-n1", f"{_A76} dcpop", "neoverse-n1"),
    "neoverse-v1": Core("neoverse-v1", _V1, "neoverse-v1"),
    "neoverse-v2": Core(
        "neoverse-v2", _V2, "neoverse-n2", caveat="the same Armv9.0 instructions; qemu has no model of neoverse-v2"
    ),
    # 32-bit code is held to Armv7-A with NEON and VFPv4, which both chips have and qemu's cortex-a7 does not exceed.
    # LLVM takes a Cortex-A53 for Armv8 even in 32-bit code; the A7, in order like it, is the nearest core of Armv7.
    "bcm2837": Core(
        "cortex-a7", _V7, "cortex-a7", caveat="which has the Armv7-A instructions that the code is held to"
    ),
    "cortex-a17": Core("cortex-a17", _V7, "cortex-a7", caveat="which has the instructions of a Cortex-A17"),
}
"""name -> facts. Sources: Arm's technical reference manuals, /proc/cpuinfo of the machines, qemu 10's CPU models."""

_ENGINES = {"aarch64": ("trees", "onnxruntime", "tvm"), "armv7": ("trees", "tvm")}
_LEVELS = {"armv8-a": "armv8-a", "bcm2837": "armv7-a"}
_TRIPLES = {"aarch64": "aarch64-linux-gnu", "armv7": "arm-linux-gnueabihf"}


@dataclass(frozen=True)
class ArmTarget(Target):
    """An ARM machine. Its code runs on this one only where this one is ARM, too, and has what the code uses."""

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        host = detect()
        remedy = f"run the artifact on {self.title} to check its numbers there"
        if host.arch != self.arch:
            why = f"this machine is {host.arch}: its processor cannot run {self.arch} code"
            return rehearsed(engine, self, why, remedy)
        if lacking := sorted({normalise(name) for name in self.features} - host.features):
            return rehearsed(engine, self, f"this machine ({host.cpu}) lacks {', '.join(lacking[:4])}", remedy)
        if engine.dispatches and self.level not in host.cpu.split("+"):
            why = f"{engine.name} picks its kernels by the CPU it finds, and this one is a {host.cpu}"
            return rehearsed(engine, self, f"{why}, which proves nothing about {self.level}", remedy)
        return Numerics.EXECUTED, ""


def _target(
    name: str,
    title: str,
    core: str,
    *,
    arch: str = "aarch64",
    cores: int | None = None,
    memory: int | None = None,
    aliases: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Target:
    row = CORES[core]
    facts: dict[str, Scalar] = {
        "caveat": row.caveat,
        "emulated_as": row.emulated_as,
        "mattr": row.mattr,
        "mcpu": row.mcpu,
        "triple": _TRIPLES[arch],
    }
    return ArmTarget(
        name=name,
        title=title,
        arch=arch,
        level=_LEVELS.get(core, row.mcpu),
        features=frozenset(row.features.split()),
        cores=cores,
        memory_bytes=memory,
        engines=_ENGINES[arch],
        aliases=aliases,
        notes=notes,
        facts=tuple(sorted((key, value) for key, value in facts.items() if value)),
    )


def aarch64() -> Target:
    """Any 64-bit ARM machine with Linux and glibc: code for the Armv8-A baseline, no optional extension.

    No peak figures: they differ by two orders of magnitude between the machines that this name covers.
    """
    note = "the baseline: a target that names the processor lets the code generator use more of it"
    title = "64-bit ARM machine (Armv8-A baseline, Linux)"
    return _target("aarch64", title, "armv8-a", aliases=("arm64", "armv8-a"), notes=(note,))


def graviton2() -> Target:
    """AWS Graviton2 (m6g, c6g, r6g, t4g): Neoverse N1."""
    return _target("graviton2", "AWS Graviton2", "neoverse-n1", cores=64, aliases=("ml_m6g", "ml_c6g", "neoverse-n1"))


def graviton3() -> Target:
    """AWS Graviton3 (m7g, c7g, r7g): Neoverse V1, SVE with 256-bit vectors."""
    return _target("graviton3", "AWS Graviton3", "neoverse-v1", cores=64, aliases=("neoverse-v1",))


def graviton4() -> Target:
    """AWS Graviton4 (m8g, c8g, r8g): Neoverse V2, SVE2 with 128-bit vectors."""
    return _target("graviton4", "AWS Graviton4", "neoverse-v2", cores=96, aliases=("neoverse-v2",))


def rasp4b() -> Target:
    """Raspberry Pi 4 model B under a 64-bit system: BCM2711."""
    note = "sold with 1, 2, 4 or 8 GB: memory is checked against the smallest"
    title = "Raspberry Pi 4 model B (64-bit)"
    return _target("rasp4b", title, "bcm2711", cores=4, memory=GIB, aliases=("bcm2711",), notes=(note,))


def rasp5() -> Target:
    """Raspberry Pi 5: BCM2712."""
    note = "sold with 2, 4, 8 or 16 GB: memory is checked against 2"
    return _target(
        "rasp5", "Raspberry Pi 5", "cortex-a76", cores=4, memory=2 * GIB, aliases=("bcm2712",), notes=(note,)
    )


def rk3399() -> Target:
    """Rockchip RK3399: two Cortex-A72 and four Cortex-A53, which have the same instructions."""
    return _target("rk3399", "Rockchip RK3399", "cortex-a72", cores=6)


def imx8qm() -> Target:
    """NXP i.MX 8QuadMax: two Cortex-A72 and four Cortex-A53, which have the same instructions."""
    return _target("imx8qm", "NXP i.MX 8QuadMax", "cortex-a72", cores=6)


def imx8mplus() -> Target:
    """NXP i.MX 8M Plus: four Cortex-A53; its neural processor is not used."""
    note = "its cores are used, its neural processor is not"
    return _target("imx8mplus", "NXP i.MX 8M Plus", "cortex-a53", cores=4, notes=(note,))


def rasp3b() -> Target:
    """Raspberry Pi 3 model B under a 32-bit system: BCM2837."""
    title = "Raspberry Pi 3 model B (32-bit)"
    return _target("rasp3b", title, "bcm2837", arch="armv7", cores=4, memory=GIB, aliases=("bcm2837",))


def rk3288() -> Target:
    """Rockchip RK3288: four Cortex-A17."""
    return _target("rk3288", "Rockchip RK3288", "cortex-a17", arch="armv7", cores=4)
