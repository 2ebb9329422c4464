"""NVIDIA targets: data-centre and desktop GPUs beside an x86-64 host, Jetson modules with their own ARM cores.

A function a target, named by an entry point. `level` is the compute capability as the compilers spell it (sm_75); the
limits that a kernel meets there are in targets/engines/cuda/occupancy.py. Figures are dense ones: what a data sheet
reaches with structured sparsity is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from neoc.compile.contracts import Engine, Figure, Numerics, Requirement, Target, rehearsed
from neoc.targets.devices import cuda_devices
from neoc.targets.host import machine

GIB, GB = 2**30, 10**9
ENGINES = ("cuda", "cuda-trees", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt")
RTX = (80, 86, 89)
"""compute capabilities that TensorRT-RTX builds for (targets/engines/tensorrt/rtx.py)"""
_JETSON_ENGINES = ("cuda", "cuda-trees", "tensorrt")
"""onnxruntime's GPU wheels are for x86-64; for Jetson each JetPack release has builds of its own"""


@dataclass(frozen=True)
class NvidiaTarget(Target):
    """A GPU and the machine around it: an artifact holds code for both."""

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        if f"cuda:{self.level}" in cuda_devices() and machine() == self.fact("host_arch"):
            return Numerics.EXECUTED, ""
        why = f"no {self.title} is attached to this machine"
        return rehearsed(engine, self, why, "run the artifact on a machine that has one to check its numbers there")

    def requirements(self) -> tuple[Requirement, ...]:
        return (Requirement("device", f"cuda:{self.level}"),)


def _chip(
    name: str,
    title: str,
    sm: int,
    gib: float,
    flops: dict[str, float],
    bandwidth: float,
    source: str,
    *,
    sms: int,
    aliases: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Target:
    """A GPU on a card: `flops` in FLOP/s by dtype, `bandwidth` in bytes/s, both of `source`; `sms` multiprocessors."""
    return _target(
        name, title, sm, gib, flops, bandwidth, source, sms, aliases, notes,
        engines=tuple(e for e in ENGINES if e != "tensorrt-rtx" or sm in RTX),
        # The least that a host of such a card has: every one of these cards is younger than AVX2.
        host=("x86_64", "x86-64-v3", "x86_64-linux-gnu"),
    )  # fmt: skip


def _jetson(
    name: str,
    title: str,
    sm: int,
    gib: float,
    flops: dict[str, float],
    bandwidth: float,
    source: str,
    *,
    sms: int,
    core: str,
    aliases: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Target:
    """A module whose GPU and ARM cores (LLVM's name of them: `core`) share one memory of `gib` GiB."""
    shared = "GPU and processor share the memory: what the system and the program take is not there for the model"
    return _target(
        name, title, sm, gib, flops, bandwidth, source, sms, aliases, (shared, *notes),
        engines=_JETSON_ENGINES,
        host=("aarch64", core, "aarch64-linux-gnu"),
    )  # fmt: skip


def _target(
    name: str,
    title: str,
    sm: int,
    gib: float,
    flops: dict[str, float],
    bandwidth: float,
    source: str,
    sms: int,
    aliases: tuple[str, ...],
    notes: tuple[str, ...],
    *,
    engines: tuple[str, ...],
    host: tuple[str, str, str],
) -> Target:
    arch, mcpu, triple = host
    return NvidiaTarget(
        name=name,
        title=title,
        arch="nvidia",
        level=f"sm_{sm}",
        cores=sms,
        memory_bytes=int(gib * GIB),
        peak_flops={dtype: Figure(value, source) for dtype, value in flops.items()},
        bandwidth=Figure(bandwidth, source),
        engines=engines,
        aliases=aliases,
        notes=notes,
        facts=(("host_arch", arch), ("mcpu", mcpu), ("sm", sm), ("triple", triple)),
    )


_OLD_DRIVER = (
    "CUDA 13 has dropped this generation: its kernels are compiled by CUDA 12, and opening them takes a TVM runtime "
    "built for the CUDA release that its driver serves"
)


def t4() -> Target:
    """Turing, the GPU of g4dn instances."""
    flops = {"float32": 8.1e12, "float16": 65e12, "int8": 130e12}
    return _chip("t4", "NVIDIA T4", 75, 16, flops, 320 * GB, "NVIDIA T4 data sheet", sms=40, aliases=("ml_g4dn",))


def v100() -> Target:
    """Volta, the GPU of p3 instances."""
    flops = {"float32": 15.7e12, "float16": 125e12, "float64": 7.8e12}
    source = "NVIDIA V100 data sheet (SXM2, 16 GB)"
    notes = (_OLD_DRIVER,)
    return _chip("v100", "NVIDIA V100", 70, 16, flops, 900 * GB, source, sms=80, aliases=("ml_p3",), notes=notes)


def a10() -> Target:
    """Ampere for inference; the A10G of g5 instances is the same chip with slower tensor cores."""
    flops = {"float32": 31.2e12, "bfloat16": 125e12, "float16": 125e12, "int8": 250e12}
    return _chip("a10", "NVIDIA A10", 86, 24, flops, 600 * GB, "NVIDIA A10 data sheet", sms=72)


def a100() -> Target:
    """Ampere, the GPU of p4d instances."""
    flops = {"float32": 19.5e12, "bfloat16": 312e12, "float16": 312e12, "int8": 624e12, "float64": 9.7e12}
    return _chip("a100", "NVIDIA A100", 80, 40, flops, 1555 * GB, "NVIDIA A100 data sheet (SXM4, 40 GB)", sms=108)


def l4() -> Target:
    """Ada Lovelace, the GPU of g6 instances."""
    flops = {"float32": 30.3e12, "bfloat16": 121e12, "float16": 121e12, "int8": 242e12}
    return _chip("l4", "NVIDIA L4", 89, 24, flops, 300 * GB, "NVIDIA L4 data sheet", sms=58)


def h100() -> Target:
    """Hopper, the GPU of p5 instances."""
    flops = {"float32": 67e12, "bfloat16": 989e12, "float16": 989e12, "int8": 1979e12, "float64": 34e12}
    return _chip("h100", "NVIDIA H100", 90, 80, flops, 3350 * GB, "NVIDIA H100 data sheet (SXM5)", sms=132)


def rtx4090() -> Target:
    """Ada Lovelace on the desk."""
    flops = {"float32": 82.6e12, "bfloat16": 165.2e12, "float16": 330.3e12, "int8": 660.6e12}
    source = "NVIDIA Ada GPU architecture white paper, GeForce RTX 4090"
    return _chip("rtx4090", "NVIDIA GeForce RTX 4090", 89, 24, flops, 1008 * GB, source, sms=128)


def jetson_orin() -> Target:
    """Jetson AGX Orin; Orin NX and Nano are the same generation with less of everything."""
    flops = {"float32": 5.3e12, "float16": 42.5e12, "int8": 85e12}
    source = "NVIDIA Jetson AGX Orin series data sheet (64 GB)"
    notes = ("the code runs on every Orin: sm_87; memory and figures are of the AGX Orin with 64 GB",)
    return _jetson(
        "jetson-orin", "Jetson AGX Orin", 87, 64, flops, 204.8 * GB, source, sms=16, core="cortex-a78ae", notes=notes
    )


def jetson_xavier() -> Target:
    """Jetson AGX Xavier and Xavier NX."""
    flops = {"float32": 1.4e12, "float16": 11e12, "int8": 22e12}
    source = "NVIDIA Jetson AGX Xavier series data sheet (32 GB)"
    return _jetson(
        "jetson-xavier", "Jetson AGX Xavier", 72, 32, flops, 136.5 * GB, source, sms=8, core="carmel",
        aliases=("jetson_xavier",), notes=(_OLD_DRIVER,),
    )  # fmt: skip


def jetson_tx2() -> Target:
    """Jetson TX2."""
    flops = {"float32": 0.665e12, "float16": 1.33e12}
    return _jetson(
        "jetson-tx2", "Jetson TX2", 62, 8, flops, 59.7 * GB, "NVIDIA Jetson TX2 series data sheet", sms=2,
        core="cortex-a57", aliases=("jetson_tx2",), notes=(_OLD_DRIVER,),
    )  # fmt: skip


def jetson_tx1() -> Target:
    """Jetson TX1."""
    flops = {"float32": 0.512e12, "float16": 1.024e12}
    return _jetson(
        "jetson-tx1", "Jetson TX1", 53, 4, flops, 25.6 * GB, "NVIDIA Jetson TX1 data sheet", sms=2,
        core="cortex-a57", aliases=("jetson_tx1",), notes=(_OLD_DRIVER,),
    )  # fmt: skip


def jetson_nano() -> Target:
    """Jetson Nano: one multiprocessor, 4 GB for everything."""
    flops = {"float32": 0.236e12, "float16": 0.472e12}
    return _jetson(
        "jetson-nano", "Jetson Nano", 53, 4, flops, 25.6 * GB, "NVIDIA Jetson Nano data sheet", sms=1,
        core="cortex-a57", aliases=("jetson_nano",), notes=(_OLD_DRIVER,),
    )  # fmt: skip
