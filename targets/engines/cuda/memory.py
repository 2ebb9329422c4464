"""The gap where a device has less memory than a program needs at least (compile/fit.py reckons that)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neoc.compile.contracts import Gap, Target

if TYPE_CHECKING:
    from neoc.compile.program import Program

SHARED_RESERVE = 2**30
"""bytes that the system of a Jetson takes of the memory it shares with the GPU: an idle JetPack, rounded down"""


def usable_bytes(target: Target) -> int | None:
    """Of the device's memory, what a model can have; None where the target does not say."""
    if target.memory_bytes is None:
        return None
    return target.memory_bytes - (SHARED_RESERVE if target.fact("host_arch") == "aarch64" else 0)


def memory_gaps(program: Program, target: Target, engine: str) -> tuple[Gap, ...]:
    """One gap where the program cannot fit the device, none where it can."""
    from neoc.compile.fit import memory

    needs, usable = memory(program, target), usable_bytes(target)
    if usable is None or needs.total <= usable:
        return ()
    reason = f"it needs at least {_gib(needs.total)} ({_gib(needs.weights)} of weights and "
    reason += f"{_gib(needs.activations)} of values), and {target.title} has {_gib(usable)} for a model"
    suggestion = "bind smaller sizes with --input, take a smaller model, or a device with more memory"
    return (Gap(engine, "", "", reason, suggestion=suggestion),)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
