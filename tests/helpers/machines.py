"""Machines by the text of their /proc/cpuinfo (tests/data/cpuinfo)."""

from __future__ import annotations

from pathlib import Path

from neoc.targets.host import HostFacts

CPUINFO = Path(__file__).parents[1] / "data" / "cpuinfo"
ARCH = {
    "zen4": "x86_64",
    "skylake-x": "x86_64",
    "haswell": "x86_64",
    "nehalem": "x86_64",
    "cortex-a72": "aarch64",
    "neoverse-n1": "aarch64",
    "neoverse-v1": "aarch64",
    "rk3588": "aarch64",
    "armv7-pi3": "armv7l",
}


def text(name: str) -> str:
    return (CPUINFO / f"{name}.txt").read_text()


def machine(name: str, devices: tuple[str, ...] = ()) -> HostFacts:
    return HostFacts.parse(text(name), arch=ARCH[name], devices=devices)
