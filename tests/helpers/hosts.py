"""Whole machines by the texts of tests/data/hosts.toml, read by the code that reads a real one."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import machines

from neoc.targets import devices
from neoc.targets.host import HostFacts

TEXTS: dict[str, dict[str, Any]] = tomllib.loads((machines.CPUINFO.parent / "hosts.toml").read_text())


def host(name: str) -> HostFacts:
    text = TEXTS[name]
    return HostFacts.parse(machines.text(text["cpuinfo"]), arch=text["arch"], devices=accelerators(text))


def accelerators(text: dict[str, Any]) -> tuple[str, ...]:
    """As `detect_devices` joins them, from files where a real machine has them."""
    found = devices.smi_devices(text.get("nvidia_smi", ""))
    with tempfile.TemporaryDirectory() as folder:
        if tree := text.get("device_tree"):
            compatible = Path(folder, "compatible")
            compatible.write_bytes(tree.replace(" ", "\0").encode() + b"\0")
            found |= {one for one in devices.cuda_devices(compatible) if one in TEGRA.values()}
        if family := text.get("neuron"):
            place = Path(folder, "neuron0/info/architecture")
            place.mkdir(parents=True)
            (place / "instance_type").write_text(family)
            found |= devices.neuron_devices(Path(folder))
    return tuple(sorted(found))


TEGRA = {name: f"cuda:{sm}" for name, sm in devices._TEGRA.items()}
"""a device tree without a Tegra in it says nothing; the GPU of the machine that tests must not take its place"""


def raw_words(name: str) -> frozenset[str]:
    """The words of the flags or Features line that every processor has: an oracle that shares no code with neoc."""
    lines = [
        line.partition(":")[2].split()
        for line in machines.text(TEXTS[name]["cpuinfo"]).splitlines()
        if line.split(":")[0].strip() in ("flags", "Features")
    ]
    return frozenset.intersection(*map(frozenset, lines))
