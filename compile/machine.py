"""What machine this is, and in what state: part of every measurement, since a figure without it means nothing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NO_LIMIT = 1 << 60
"""cgroup v1 writes 'no limit' as the largest multiple of a page: anything this large is none"""


def fingerprint(packages: Sequence[str] = (), root: Path = Path("/")) -> dict[str, Any]:
    """The machine, its state now, the versions of neoc, numpy and `packages`, and a digest.

    machine: what makes two machines alike for measurements: CPU, its features, how many cores this process may use,
    memory, and how the frequency is governed. digest: 12 hex digits over it; measurements compare within one digest.
    state: what changes from run to run. A fact that this system does not tell is None. All of it is JSON.
    Sources: proc(5), the kernel's cpu-freq and cgroup documentation. `root` is where /proc and /sys are looked for.
    """
    machine = {**_cpu(root), **_frequency(root), **_limits(root), **_places(root)}
    state = {
        "kernel": _line(root / "proc/sys/kernel/osrelease"),
        "load_1m": _load(root),
        "transparent_hugepages": _chosen(_line(root / "sys/kernel/mm/transparent_hugepage/enabled")),
        "frequency_khz": _number(root / _CPUFREQ / "scaling_cur_freq"),
        "celsius": _celsius(root),
        "throttled": throttled(root),
        "aslr": _number(root / "proc/sys/kernel/randomize_va_space"),
    }
    versions = {name: _version(name) for name in ("neoc", "numpy", *packages)}
    text = json.dumps(machine, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return {"machine": machine, "state": state, "versions": versions, "digest": digest}


_CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"


def _cpu(root: Path) -> dict[str, Any]:
    """From /proc/cpuinfo, in the spelling of x86 ('model name', 'flags') or of ARM ('CPU part', 'Features')."""
    blocks = _text(root / "proc/cpuinfo").strip().split("\n\n")
    processors = [_pairs(block) for block in blocks]
    processors = [p for p in processors if "processor" in p] or [{}]
    first = processors[0]
    part = "/".join(first[k] for k in ("CPU implementer", "CPU part", "CPU variant") if k in first)
    features = sorted((first.get("flags") or first.get("Features") or "").split())
    cores = {(p.get("physical id"), p["core id"]) for p in processors if "core id" in p}
    return {
        "arch": os.uname().machine,
        "cpu": first.get("model name") or part or None,
        "stepping": "/".join(first[k] for k in ("cpu family", "model", "stepping") if k in first) or None,
        "features_digest": hashlib.sha256(" ".join(features).encode()).hexdigest()[:12] if features else None,
        "virtual": "hypervisor" in features,
        "logical_cpus": len(processors),
        "cores": len(cores) or None,
        "smt": _flag(root / "sys/devices/system/cpu/smt/active"),
    }


def _frequency(root: Path) -> dict[str, Any]:
    cpufreq = root / _CPUFREQ
    no_turbo = _flag(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    turbo = _flag(root / "sys/devices/system/cpu/cpufreq/boost") if no_turbo is None else not no_turbo
    return {
        "governor": _line(cpufreq / "scaling_governor"),
        "frequency_driver": _line(cpufreq / "scaling_driver"),
        "frequency_preference": _line(cpufreq / "energy_performance_preference"),
        "max_frequency_khz": _number(cpufreq / "scaling_max_freq"),
        "turbo": turbo,
    }


def _limits(root: Path) -> dict[str, Any]:
    """What this process may use of the machine. Memory in GiB, rounded: firmware takes a little, differently."""
    memory = _pairs(_text(root / "proc/meminfo")).get("MemTotal", "0 kB").split()[0]
    bound = _cgroup_memory(root)
    return {
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cgroup_cpus": _cgroup_cpus(root),
        "memory_gib": round(int(memory) / 2**20),
        "cgroup_memory_gib": None if bound is None else round(bound / 2**30, 1),
    }


def _places(root: Path) -> dict[str, Any]:
    """NUMA nodes, power mode, and the drivers that an accelerator is reached through (None, or none: there is none)."""
    nodes = sorted(p.name for p in (root / "sys/devices/system/node").glob("node[0-9]*"))
    nvidia = _line(root / "proc/driver/nvidia/version")
    return {
        "numa_nodes": len(nodes) or None,
        "power_profile": _line(root / "sys/firmware/acpi/platform_profile"),
        "power_mode": _line(root / "var/lib/nvpmodel/status"),
        "on_mains": _on_mains(root),
        "nvidia_driver": nvidia.splitlines()[0].partition("Module")[2].split()[0]
        if nvidia and "Module" in nvidia
        else None,
        "gpus": [
            _pairs(_text(p)).get("Model") for p in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
        ],
        "neuron_driver": _line(root / "sys/module/neuron/version"),
    }


def _on_mains(root: Path) -> bool | None:
    """False on battery; None where the machine has no such supply."""
    supplies = sorted((root / "sys/class/power_supply").glob("*"))
    online = [_flag(p / "online") for p in supplies if _line(p / "type") == "Mains"]
    return any(online) if online else None


def _celsius(root: Path) -> float | None:
    """The hottest thermal zone."""
    found = [_number(p / "temp") for p in (root / "sys/class/thermal").glob("thermal_zone*")]
    known = [x for x in found if x is not None]
    return max(known) / 1000 if known else None


def throttled(root: Path = Path("/")) -> int | None:
    """How often a core was slowed down for heat since boot, all cores; a run in which it grows was too hot."""
    folders = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    counts = [_number(p / "core_throttle_count") for p in folders]
    known = [x for x in counts if x is not None]
    return sum(known) if known else None


# ---- cgroups -------------------------------------------------------------------------------


def _cgroup_folders(root: Path, controller: str) -> list[Path]:
    """This process's group and the groups around it, innermost first, for version 2 and for a controller of version 1.

    In a container whose view starts at its own group the path of /proc/self/cgroup may not exist: the top then serves.
    """
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            tops = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            tops = [root / "sys/fs/cgroup" / controller, root / "sys/fs/cgroup" / controllers]
        else:
            continue
        for top in tops:
            inner = top / path.lstrip("/")
            found += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(top)]
    return found


def _cgroup_cpus(root: Path) -> float | None:
    """CPUs' worth of time that the tightest group around this process grants; None for no bound."""
    bounds = []
    for folder in _cgroup_folders(root, "cpu"):
        words = (_line(folder / "cpu.max") or "").split()
        if not words:
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
            words = [str(quota), str(period)] if quota is not None and quota > 0 and period else []
        if len(words) == 2 and words[0] != "max":
            bounds.append(int(words[0]) / int(words[1]))
    return round(min(bounds), 2) if bounds else None


def _cgroup_memory(root: Path) -> int | None:
    """Bytes that the tightest group around this process grants; None for no bound."""
    bounds = []
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            value = _number(folder / name)
            if value is not None and value < NO_LIMIT:
                bounds.append(value)
    return min(bounds) if bounds else None


# ---- small files ---------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # this kernel, or this container, does not tell
        return ""


def _line(path: Path) -> str | None:
    return _text(path).strip() or None


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _flag(path: Path) -> bool | None:
    number = _number(path)
    return None if number is None else bool(number)


def _pairs(block: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _chosen(text: str | None) -> str | None:
    """The word in brackets, of 'always [madvise] never'."""
    return text.partition("[")[2].partition("]")[0] if text else None


def _load(root: Path) -> float | None:
    words = _text(root / "proc/loadavg").split()
    return float(words[0]) if words else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
