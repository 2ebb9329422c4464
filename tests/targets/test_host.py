"""What machines are, by the text of their /proc/cpuinfo."""

from __future__ import annotations

import os
from pathlib import Path

import machines
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoc.compile.errors import Unavailable
from neoc.targets import devices
from neoc.targets.host import X86_LEVELS, HostFacts, detect, machine, normalise, x86_level


@pytest.mark.parametrize(
    ("name", "level", "cpu", "logical", "physical"),
    [
        ("zen4", "x86-64-v4", "AMD Ryzen 5 7600 6-Core Processor", 12, 6),
        ("skylake-x", "x86-64-v4", "Intel(R) Xeon(R) Platinum 8124M CPU @ 3.00GHz", 4, 2),
        ("haswell", "x86-64-v3", "Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz", 8, 4),
        ("nehalem", "x86-64-v2", "Intel(R) Xeon(R) CPU           X5570  @ 2.93GHz", 16, 8),
    ],
)
def test_x86_machines(name: str, level: str, cpu: str, logical: int, physical: int) -> None:
    facts = machines.machine(name)
    assert (facts.level, facts.cpu) == (level, cpu)
    assert (facts.logical_cores, facts.physical_cores) == (logical, physical)


@pytest.mark.parametrize(
    ("name", "arch", "cpu", "cores", "has", "has_not"),
    [
        ("cortex-a72", "aarch64", "cortex-a72", 4, ["asimd", "crc32"], ["atomics", "asimddp", "sve"]),
        ("neoverse-n1", "arm64", "neoverse-n1", 4, ["asimddp", "atomics", "fphp"], ["sve", "bf16", "i8mm"]),
        ("neoverse-v1", "aarch64", "neoverse-v1", 2, ["sve", "bf16", "i8mm", "svei8mm"], ["sve2"]),
        ("rk3588", "aarch64", "cortex-a55+cortex-a76", 8, ["asimddp"], ["sve"]),
        ("armv7-pi3", "armv7l", "cortex-a53", 4, ["neon", "vfpv4"], ["sve"]),
    ],
)
def test_arm_machines(name: str, arch: str, cpu: str, cores: int, has: list[str], has_not: list[str]) -> None:
    facts = HostFacts.parse(machines.text(name), arch=arch)
    assert facts.cpu == cpu
    assert facts.arch == facts.level == {"arm64": "aarch64", "armv7l": "armv7"}.get(arch, arch)
    assert facts.logical_cores == facts.physical_cores == cores
    assert all(facts.has(feature) for feature in has)
    assert not any(facts.has(feature) for feature in has_not)


def test_affinity_counts_only_the_cores_that_may_be_used() -> None:
    text = machines.text("zen4")
    one_core = HostFacts.parse(text, arch="x86_64", affinity={0, 6})  # the two threads of core 0
    assert (one_core.logical_cores, one_core.physical_cores) == (2, 1)
    three = HostFacts.parse(text, arch="x86_64", affinity={0, 1, 8})
    assert (three.logical_cores, three.physical_cores) == (3, 3)


def test_a_feature_must_be_on_every_core() -> None:
    text = machines.text("zen4")
    first, rest = text.split("\n\n", 1)
    facts = HostFacts.parse(first.replace(" avx512bw", "") + "\n\n" + rest, arch="x86_64")
    assert not facts.has("avx512bw")
    assert facts.level == "x86-64-v3"


def test_other_spellings() -> None:
    facts = machines.machine("haswell")
    assert facts.has("lzcnt")
    assert facts.has("sse3")
    assert facts.has("sse4.2")
    assert machines.machine("neoverse-n1").has("neon")
    assert normalise("avx2") == "avx2"


@pytest.mark.parametrize("level", X86_LEVELS)
def test_a_level_needs_every_one_of_its_features(level: str) -> None:
    """By the psABI's own counts: 9 baseline features with OSFXSR, then 7, 9 with OSXSAVE, 5 more."""
    names = list(X86_LEVELS)
    assert [len(X86_LEVELS[name]) for name in names] == [8, 15, 24, 29]
    assert x86_level(X86_LEVELS[level]) == level
    index = names.index(level)
    for feature in X86_LEVELS[level] - (X86_LEVELS[names[index - 1]] if index else set()):
        if index == 0:
            with pytest.raises(Unavailable, match=feature):
                x86_level(X86_LEVELS[level] - {feature})
        else:
            assert x86_level(X86_LEVELS[level] - {feature}) == names[index - 1]


def test_higher_features_without_the_lower_do_not_count() -> None:
    assert x86_level((X86_LEVELS["x86-64-v4"] - {"ssse3"}) | {"amx_tile"}) == "x86-64"


def test_this_machine() -> None:
    facts = detect()
    assert facts is detect()
    assert facts.arch == machine()
    assert 1 <= facts.physical_cores <= facts.logical_cores == len(os.sched_getaffinity(0))
    assert facts.memory_bytes > 1 << 28
    assert facts.features
    assert facts.devices is None


@given(st.text(alphabet="processr: flagsFetu\t\n01xCPUidmlna", max_size=300))
def test_any_text_is_parsed(text: str) -> None:
    facts = HostFacts.parse(text, arch="x86_64")
    assert facts.logical_cores >= 1
    assert facts.physical_cores >= 1
    assert facts.level in {"x86_64", *X86_LEVELS}


def test_unknown_arm_cores_keep_their_numbers() -> None:
    text = machines.text("cortex-a72").replace("0xd08", "0xfff")
    assert HostFacts.parse(text, arch="aarch64").cpu == "arm 0x41/0xfff"
    broken = machines.text("cortex-a72").replace("0xd08", "unknown")
    assert HostFacts.parse(broken, arch="aarch64").cpu == "arm 0x41/unknown"


def test_neuron_devices_by_the_drivers_files(tmp_path: Path) -> None:
    for index, kind in enumerate(["Inf2", "Inf2", "Trn1"]):
        folder = tmp_path / f"neuron{index}" / "info" / "architecture"
        folder.mkdir(parents=True)
        (folder / "instance_type").write_text(f"{kind}\n")
    assert devices.neuron_devices(tmp_path) == {"neuron:inf2", "neuron:trn1"}
    assert devices.neuron_devices(tmp_path / "none") == set()


def test_a_jetson_by_its_device_tree(tmp_path: Path) -> None:
    path = tmp_path / "compatible"
    path.write_bytes(b"nvidia,p3737-0000+p3701-0000\0nvidia,p3701-0000\0nvidia,tegra234\0")
    assert devices.cuda_devices(path) == {"cuda:sm_87"}


class Nvml:
    """The four calls of libnvidia-ml that are used, over GPUs given as (major, minor)."""

    def __init__(self, gpus: list[tuple[int, int]], status: int = 0) -> None:
        self.gpus, self.status, self.shut = gpus, status, 0

    def nvmlInit_v2(self) -> int:
        return self.status

    def nvmlShutdown(self) -> int:
        self.shut += 1
        return 0

    def nvmlDeviceGetCount_v2(self, count: object) -> int:
        count._obj.value = len(self.gpus)  # type: ignore[attr-defined]
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: object) -> int:
        handle._obj.value = index + 1  # type: ignore[attr-defined]
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle: object, major: object, minor: object) -> int:
        major._obj.value, minor._obj.value = self.gpus[handle.value - 1]  # type: ignore[attr-defined]
        return 0


def test_gpus_by_compute_capability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ctypes

    nvml = Nvml([(9, 0), (8, 6), (9, 0)])
    monkeypatch.setattr(ctypes, "CDLL", lambda name: nvml)
    assert devices.cuda_devices(tmp_path / "none") == {"cuda:sm_90", "cuda:sm_86"}
    assert nvml.shut == 1
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Nvml([(9, 0)], status=9))  # library without a driver
    assert devices.cuda_devices(tmp_path / "none") == set()
