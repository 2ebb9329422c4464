"""TargetDevice or TargetPlatform with CompilerOptions -> the name of a target.

A device has one. A platform is an operating system, an architecture and perhaps an accelerator: the target is the least
of those registered that has what mcpu, mattr or gpu-code ask for, so that the code runs on every machine so described.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from neoc.compile import registry
from neoc.compile.contracts import Target
from neoc.compile.errors import UsageError
from neoc.targets.host import normalise
from neoc.targets.job_options import Options, mattr_of, refused

ARCHS = {"X86_64": "x86_64", "ARM64": "aarch64", "ARM_EABIHF": "armv7"}
_NO_ARCH = {
    "X86": "32-bit x86 code is not built",
    "ARM_EABI": "code without a floating-point unit is not built",
}
_NO_ACCELERATOR = {
    "INTEL_GRAPHICS": "no engine builds for Intel's graphics",
    "MALI": "no engine builds for Mali GPUs",
    "NNA": "no engine builds for neural network accelerators",
}
X86_CPUS = {
    "x86-64-v4": "skylake-avx512 cascadelake cooperlake cannonlake icelake-client icelake-server tigerlake rocketlake "
    "sapphirerapids emeraldrapids graniterapids znver4 znver5 x86-64-v4",
    "x86-64-v3": "haswell broadwell skylake core-avx2 znver1 znver2 znver3 alderlake raptorlake x86-64-v3",
    "x86-64": "x86-64 x86-64-v2 nehalem westmere sandybridge ivybridge corei7 corei7-avx core-avx-i core2 nocona "
    "generic",
}
"""level -> LLVM's names of the processors that have it and not the next one (LLVM, X86TargetParser)"""


def target_of(output: Mapping[str, Any], options: Options, where: str) -> str:
    """The target's name; of a TargetDevice as it is, so that an unknown one is explained where it is resolved.

    Raises UsageError.
    """
    device, platform = output.get("TargetDevice"), output.get("TargetPlatform")
    if device is not None and platform is not None:
        raise UsageError("the job names a TargetDevice and a TargetPlatform", where=where, fix="leave one out")
    if isinstance(device, str):
        return device
    if platform is None:
        raise UsageError("the job names no TargetDevice", where=where, fix="set OutputConfig.TargetDevice")
    if not isinstance(platform, dict) or set(platform) - {"Os", "Arch", "Accelerator"}:
        raise _not_served(platform, "it is Os, Arch and perhaps Accelerator", where)
    return _of_platform(platform, {} if isinstance(options, str) else options, where)


def _of_platform(platform: Mapping[str, Any], options: Mapping[str, Any], where: str) -> str:
    system, arch, accelerator = (platform.get(key) for key in ("Os", "Arch", "Accelerator"))
    if system != "LINUX":
        raise _not_served(platform, "neoc builds for Linux", where)
    if not isinstance(arch, str) or arch not in ARCHS:
        raise _not_served(platform, _NO_ARCH.get(str(arch), f"Arch is one of {', '.join(ARCHS)}"), where)
    if accelerator is None:
        return _cpu(ARCHS[arch], options, where)
    if accelerator != "NVIDIA":
        raise _not_served(platform, _NO_ACCELERATOR.get(str(accelerator), "there is no such accelerator"), where)
    return _gpu(ARCHS[arch], options, platform, where)


def _cpu(arch: str, options: Mapping[str, Any], where: str) -> str:
    """The least target of the architecture with that mcpu and those features. Raises UsageError."""
    known = [target for target in _registered() if target.arch == arch]
    mcpu = options.get("mcpu")
    if arch == "x86_64":
        least = level_of_mcpu(str(mcpu)) if mcpu is not None else "x86-64"
        if least is None:
            raise refused(where, f"mcpu {mcpu!r} is not known", f"one of: {' '.join(X86_CPUS.values())}")
        floor = set(registry.load_target(least).features)
        fitting = [target for target in known if floor <= set(target.features) and target.name in X86_CPUS]
    else:
        fitting = [target for target in known if mcpu in (None, target.fact("mcpu"))]
        if not fitting:
            names = sorted({str(target.fact("mcpu")) for target in known})
            raise refused(where, f"mcpu {mcpu!r} is none that neoc builds for", f"one of: {', '.join(names)}")
    wanted = {normalise({"vfp4": "vfpv4"}.get(feature, feature)) for feature in mattr_of(options, where)}
    spelled = {target.name: {normalise(feature) for feature in target.features} for target in fitting}
    fitting = [target for target in fitting if wanted <= spelled[target.name]]
    if not fitting:
        asked = ", ".join(sorted(wanted))
        raise refused(where, f"no target of {arch} promises all of {asked}", "`neoc targets NAME` lists features")
    return min(fitting, key=lambda target: (len(target.features), target.name)).name


def level_of_mcpu(mcpu: str) -> str | None:
    """The psABI level of an x86 processor as LLVM names it; None for a name that is not known."""
    return next((level for level, names in X86_CPUS.items() if mcpu in names.split()), None)


def _gpu(arch: str, options: Mapping[str, Any], platform: Mapping[str, Any], where: str) -> str:
    known = [target for target in _registered() if target.arch == "nvidia" and target.fact("host_arch") == arch]
    code = options.get("gpu-code", options.get("gpu_code"))
    levels = ", ".join(sorted({target.level for target in known})) or "none"
    if code is None:
        raise refused(where, "an NVIDIA platform needs gpu-code", f'{{"gpu-code": "sm_75"}}; known are: {levels}')
    fitting = [target for target in known if target.level == code]
    if not fitting:
        raise _not_served(platform, f"gpu-code {code} is none that neoc builds for (known are: {levels})", where)
    # Of one generation the smallest memory: what fits there fits on all of them.
    return min(fitting, key=lambda target: (target.memory_bytes or 0, target.name)).name


def _registered() -> list[Target]:
    from neoc.targets import all_targets

    return list(all_targets())


def _not_served(platform: object, why: str, where: str) -> UsageError:
    return UsageError(
        f"TargetPlatform {json.dumps(platform)} is not served",
        where=where,
        why=why,
        fix="name a TargetDevice; `neoc targets` lists them",
    )
