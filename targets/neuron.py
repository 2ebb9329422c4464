"""AWS Neuron targets. One function a target, named by an entry point."""

from __future__ import annotations

from dataclasses import dataclass

from neoc.compile.contracts import Engine, Figure, Numerics, Requirement, Target, rehearsed
from neoc.targets.devices import neuron_devices

_GUIDE = "AWS Neuron documentation 2.32, about-neuron/arch/neuron-hardware/inferentia2.rst"


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


def inf2() -> Target:
    """AWS Inferentia2, figures for one chip of two cores. A compiled program runs on one core: half of each."""
    return NeuronTarget(
        name="inf2",
        title="AWS Inferentia2 chip",
        arch="neuron",
        level="inf2",
        cores=2,
        memory_bytes=32 * 2**30,
        peak_flops={
            "bfloat16": Figure(190e12, _GUIDE),
            "float16": Figure(190e12, _GUIDE),
            "int8": Figure(380e12, _GUIDE),
            "float32": Figure(47.5e12, _GUIDE),
        },
        bandwidth=Figure(820 * 2**30, _GUIDE),
        engines=("neuron",),
        aliases=("inferentia2", "ml_inf2"),
        notes=("peaks and bandwidth are of the chip; one compiled program uses one of its two NeuronCores-v2",),
        facts=(("compiler_target", "inf2"), ("core", "NeuronCore-v2")),
    )
