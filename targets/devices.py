"""Which accelerators are here: NVIDIA GPUs by compute capability, Neuron devices by family.

Asked only where an artifact needs one, through files and libraries of the drivers: no framework is imported.
"""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

# Tegra SoC in the device tree -> compute capability of its GPU (NVIDIA, "CUDA GPU Compute Capability": Jetson rows).
_TEGRA = {
    "nvidia,tegra210": "sm_53",
    "nvidia,tegra186": "sm_62",
    "nvidia,tegra194": "sm_72",
    "nvidia,tegra234": "sm_87",
    "nvidia,tegra264": "sm_110",
}


@cache
def detect_devices() -> tuple[str, ...]:
    """Names such as 'cuda:sm_90' and 'neuron:inf2', each once, sorted."""
    return tuple(sorted({*cuda_devices(), *neuron_devices()}))


def cuda_devices(compatible: Path = Path("/proc/device-tree/compatible")) -> set[str]:
    """GPUs that the NVIDIA driver serves here. NVML leaves the GPU alone: no context is made on it."""
    try:
        words = compatible.read_bytes().decode("ascii", "replace").split("\0")
    except OSError:
        words = []
    found = {f"cuda:{_TEGRA[word]}" for word in words if word in _TEGRA}
    return found or _nvml_devices() or _smi_devices()


def smi_devices(text: str) -> set[str]:
    """GPUs in what `nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader` prints: 'Tesla T4, 7.5'."""
    found = (re.fullmatch(r".+,\s*(\d+)\.(\d+)", line.strip()) for line in text.splitlines())
    return {f"cuda:sm_{one[1]}{one[2]}" for one in found if one}


def _smi_devices() -> set[str]:
    """Where the library is not on the loader's path (WSL), but the program that brings its own way to it is."""
    import subprocess

    if (program := shutil.which("nvidia-smi")) is None:
        return set()
    words = [program, "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return smi_devices(done.stdout.decode(errors="replace")) if done.returncode == 0 else set()


def _nvml_devices() -> set[str]:
    import ctypes

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return set()  # no driver
    if nvml.nvmlInit_v2() != 0:
        return set()  # driver library without a working driver
    try:
        count, found = ctypes.c_uint(), set()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return set()
        for index in range(count.value):
            handle, major, minor = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
            if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
                continue  # not visible to this process
            capability = nvml.nvmlDeviceGetCudaComputeCapability
            if capability(handle, ctypes.byref(major), ctypes.byref(minor)) == 0:
                found.add(f"cuda:sm_{major.value}{minor.value}")
        return found
    finally:
        nvml.nvmlShutdown()


def neuron_cores(sysfs: Path = Path("/sys/devices/virtual/neuron_device")) -> int:
    """Neuron cores of this machine, by the driver's `core_count` of each device (Neuron Sysfs User Guide)."""
    count = 0
    for path in sysfs.glob("neuron*/core_count"):
        try:
            count += int(path.read_text())
        except (OSError, ValueError):
            continue
    return count


def neuron_devices(sysfs: Path = Path("/sys/devices/virtual/neuron_device")) -> set[str]:
    """Neuron families by the driver's `instance_type` ('Inf2', 'Trn1' ...; Neuron Sysfs User Guide)."""
    found = set()
    for path in sysfs.glob("neuron*/info/architecture/instance_type"):
        try:
            found.add(f"neuron:{path.read_text().strip().lower()}")
        except OSError:
            continue  # the device went away between listing and reading
    return found
