"""What a subject takes beside time: memory, threads, energy, instructions. Every figure that cannot be read is None.

Energy: RAPL (the kernel's powercap interface, microjoules) and NVML (millijoules). Both count the whole package or
card, so a figure is what the machine spent while the subject ran. Instructions: perf_event_open(2), this process alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neoc.bench.drive import Call, Driven, calls_of, time_cycle
from neoc.compile.contracts import Feeds, Session

RAPL = Path("/sys/class/powercap")
PROBE_S = 0.3
_SYSCALLS = {"x86_64": 298, "aarch64": 241}
"""perf_event_open's number; sources: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h"""


def probe(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """Run for a while and read the counters around it: per inference instructions, joules of package and card."""
    typical = float(options["typical_ns"])
    iterations = max(1, round(PROBE_S * 1e9 / max(typical, 1.0)))
    calls = calls_of(call, feeds, options, session)
    counter = Instructions.open()
    before, rapl, card = counter.read() if counter else None, rapl_uj(), nvml_mj()
    start = time.perf_counter()
    time_cycle(calls, iterations)
    seconds = time.perf_counter() - start
    after = counter.read() if counter else None
    facts: dict[str, Any] = {
        "instructions": (after - before) / iterations if counter and after and before is not None else None,
        "package_j": _spent(rapl, rapl_uj(), 1e6, iterations),
        "gpu_j": _spent(card, nvml_mj(), 1e3, iterations),
        "gpu_bytes": gpu_bytes(os.getpid()),
        "iterations": iterations,
        "seconds": seconds,
    }
    if counter:
        counter.close()
    return facts, {}


def _spent(before: float | None, after: float | None, unit: float, iterations: int) -> float | None:
    """Joules an inference; None where the counter is not there or has wrapped around."""
    return (
        (after - before) / unit / iterations if before is not None and after is not None and after >= before else None
    )


def rapl_uj(root: Path = RAPL) -> float | None:
    """Microjoules of all packages since boot; None without RAPL, or where only root may read it."""
    zones = [
        zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1
    ]  # the rest are parts of these
    try:
        return sum(float((zone / "energy_uj").read_text()) for zone in zones) if zones else None
    except (OSError, ValueError):
        return None


def _nvml() -> Any:
    """pynvml, initialised; None without the package or the driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # NVMLError of many kinds: no library, no driver, no device
        return None
    return pynvml


def nvml_mj() -> float | None:
    """Millijoules of all cards since the driver was loaded."""
    pynvml = _nvml()
    return _ask(pynvml, lambda card: pynvml.nvmlDeviceGetTotalEnergyConsumption(card))


def gpu_bytes(pid: int) -> float | None:
    """Bytes that a process holds on all cards."""
    pynvml = _nvml()

    def of(card: Any) -> float:
        running = pynvml.nvmlDeviceGetComputeRunningProcesses(card)
        return sum(float(p.usedGpuMemory or 0) for p in running if p.pid == pid)

    return _ask(pynvml, of)


def _ask(pynvml: Any, of: Callable[[Any], float]) -> float | None:
    if pynvml is None:
        return None
    try:
        return sum(float(of(pynvml.nvmlDeviceGetHandleByIndex(i))) for i in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return None


class Instructions:
    """User-space instructions retired by this process and its threads from now on. Source: perf_event_open(2)."""

    # type HARDWARE, size of the first version, config INSTRUCTIONS, then flags: inherit, exclude kernel and hypervisor.
    _ATTRIBUTES = struct.pack("=IIQQQQQIIQQQQ", 0, 112, 1, 0, 0, 0, 0b1100010, 0, 0, 0, 0, 0, 0)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls) -> Instructions | None:
        """None where there is no counter: most virtual machines, or perf_event_paranoid above 2."""
        number = _SYSCALLS.get(platform.machine())
        if number is None or not hasattr(os, "sched_getaffinity"):
            return None
        attributes = ctypes.create_string_buffer(cls._ATTRIBUTES.ljust(112, b"\0"), 112)
        words = [ctypes.c_long(x) for x in (0, -1, -1, 0)]
        descriptor = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), attributes, *words))
        return cls(descriptor) if descriptor >= 0 else None

    def read(self) -> int:
        return int(struct.unpack("=Q", os.read(self._descriptor, 8))[0])

    def close(self) -> None:
        os.close(self._descriptor)
