"""AWS Neuron targets: Inferentia2, Trainium, Trainium2, and the archived Inferentia. One function a target.

Figures are of one chip. One compiled program uses one NeuronCore (on Trainium2 one logical core, by default two
physical ones), so it reaches its share of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from neoc.compile.contracts import Engine, Figure, Numerics, Requirement, Target, rehearsed
from neoc.targets.devices import neuron_devices

_HARDWARE = "AWS Neuron documentation 2.32, about-neuron/arch/neuron-hardware"
GIB = 2**30


@dataclass(frozen=True)
class NeuronTarget(Target):
    """A Neuron chip. The machine around it may be of any architecture that the Neuron driver runs on."""

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        if f"neuron:{self.level}" in neuron_devices():
            return Numerics.EXECUTED, ""
        why = f"no {self.title} is attached to this machine"
        return rehearsed(engine, self, why, f"run the artifact on an {self.level} instance to check its numbers there")

    def requirements(self) -> tuple[Requirement, ...]:
        return (Requirement("device", f"neuron:{self.level}"),)


def _figures(page: str, **values: float) -> dict[str, Figure]:
    return {dtype: Figure(value, f"{_HARDWARE}/{page}") for dtype, value in values.items()}


def inf2() -> Target:
    """AWS Inferentia2: two NeuronCores-v2."""
    return NeuronTarget(
        name="inf2",
        title="AWS Inferentia2 chip",
        arch="neuron",
        level="inf2",
        cores=2,
        memory_bytes=32 * GIB,
        peak_flops=_figures("inferentia2.rst", bfloat16=190e12, float16=190e12, int8=380e12, float32=47.5e12),
        bandwidth=Figure(820 * GIB, f"{_HARDWARE}/inferentia2.rst"),
        engines=("neuron",),
        aliases=("inferentia2", "ml_inf2"),
        notes=("peaks and bandwidth are of the chip; one compiled program uses one of its two NeuronCores-v2",),
        facts=(("compiler_target", "inf2"), ("core", "NeuronCore-v2"), ("logical_cores", 2)),
    )


def trn1() -> Target:
    """AWS Trainium: the cores and figures of Inferentia2, another flag of the compiler."""
    return NeuronTarget(
        name="trn1",
        title="AWS Trainium chip",
        arch="neuron",
        level="trn1",
        cores=2,
        memory_bytes=32 * GIB,
        peak_flops=_figures("trainium.rst", bfloat16=190e12, float16=190e12, int8=380e12, float32=47.5e12),
        bandwidth=Figure(820 * GIB, f"{_HARDWARE}/trainium.rst"),
        engines=("neuron",),
        aliases=("trainium", "ml_trn1"),
        notes=("peaks and bandwidth are of the chip; one compiled program uses one of its two NeuronCores-v2",),
        facts=(("compiler_target", "trn1"), ("core", "NeuronCore-v2"), ("logical_cores", 2)),
    )


def trn2() -> Target:
    """AWS Trainium2: eight NeuronCores-v3, joined in pairs to four logical cores unless --option neuron.lnc=1."""
    return NeuronTarget(
        name="trn2",
        title="AWS Trainium2 chip",
        arch="neuron",
        level="trn2",
        cores=8,
        memory_bytes=96 * GIB,
        peak_flops=_figures("trainium2.rst", bfloat16=667e12, float16=667e12, float8_e4m3=1299e12, float32=181e12),
        bandwidth=Figure(2.9e12, f"{_HARDWARE}/trainium2.rst"),
        engines=("neuron",),
        aliases=("trainium2",),
        notes=(
            "peaks and bandwidth are of the chip; one compiled program uses one logical core: a quarter of them, "
            "an eighth with --option neuron.lnc=1",
        ),
        facts=(("compiler_target", "trn2"), ("core", "NeuronCore-v3"), ("logical_cores", 4)),
    )


def inf1() -> Target:
    """AWS Inferentia, archived by AWS: reported on, never built for."""
    return NeuronTarget(
        name="inf1",
        title="AWS Inferentia chip",
        arch="neuron",
        level="inf1",
        cores=4,
        memory_bytes=8 * GIB,
        peak_flops=_figures("inferentia.rst", bfloat16=64e12, float16=64e12, int8=128e12),
        bandwidth=Figure(50 * GIB, f"{_HARDWARE}/inferentia.rst"),
        engines=("neuron",),
        aliases=("inferentia", "ml_inf1"),
        notes=("archived by AWS; neoc reports operators and the roofline for it and builds nothing",),
        facts=(
            (
                "archived",
                "AWS has archived Inferentia1: its compiler, neuron-cc, is no longer developed and takes TensorFlow "
                "graphs, not HLO; neoc reports operators and the roofline for it and builds nothing",
            ),
            ("core", "NeuronCore-v1"),
            ("logical_cores", 4),
        ),
    )
