"""Whether a machine has what an artifact asks for, and if not, why not and what mends it. Reads no weight."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import groupby
from pathlib import Path

from neoc.compile import registry
from neoc.compile.contracts import Requirement
from neoc.compile.errors import MissingTool, NeocError, WrongDevice
from neoc.targets.host import X86_LEVELS, HostFacts, normalise

_ACCELERATORS = {"nvidia": "cuda", "neuron": "neuron"}
"""an 'arch' that is no CPU -> the kind of device that stands for it"""


@dataclass(frozen=True)
class Lack:
    """One thing that is missing."""

    reason: str
    fix: str
    software: bool
    """True: installing something mends it; False: it takes another machine, or another artifact"""

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


def unmet(requirements: Iterable[Requirement], host: HostFacts, packages: Sequence[Path] | None = None) -> list[str]:
    """A sentence for everything that `host` lacks, with the nearest fix. Empty: the artifact can be opened there."""
    return [str(lack) for lack in lacks(requirements, host, packages)]


def lacks(requirements: Iterable[Requirement], host: HostFacts, packages: Sequence[Path] | None = None) -> list[Lack]:
    """What `unmet` says, in parts; hardware before software.

    packages: folders in which to look for Python packages; None: those of this interpreter.
    """
    order = list(_CHECKS)
    known = sorted(requirements, key=lambda r: order.index(r.kind) if r.kind in order else len(order))
    found: list[Lack] = []
    for kind, group in groupby(known, key=lambda r: r.kind):
        found += _CHECKS.get(kind, _unknown)(list(group), host, packages)
        if kind == "arch" and found:
            return found  # another architecture's features and libraries say nothing
    return found


def require(
    requirements: Iterable[Requirement], host: HostFacts, where: str, packages: Sequence[Path] | None = None
) -> None:
    """Raises WrongDevice where the hardware does not fit, MissingTool where only software is missing."""
    found = lacks(requirements, host, packages)
    if not found:
        return
    hardware = [lack for lack in found if not lack.software]
    kind: type[NeocError] = WrongDevice if hardware else MissingTool
    shown = hardware or found
    raise kind(
        "the artifact is for another chip" if hardware else "this machine lacks software that the artifact needs",
        where=where,
        why="; ".join(lack.reason for lack in shown),
        fix=_joined([lack.fix for lack in shown]),
    )


def _joined(fixes: list[str]) -> str:
    """Each fix once; several `pip install` as one command."""
    pip = [fix.removeprefix(_PIP) for fix in dict.fromkeys(fixes) if fix.startswith(_PIP)]
    others = [fix for fix in dict.fromkeys(fixes) if not fix.startswith(_PIP)]
    return "; ".join([*([_PIP + " ".join(pip)] if pip else []), *others])


_PIP = "pip install "


def _arch(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    found = []
    for requirement in asked:
        family = _ACCELERATORS.get(requirement.name)
        if family is not None:
            if not any(device.startswith(f"{family}:") for device in host.present_devices()):
                found.append(_no_device(f"any {requirement.name} device", host))
        elif requirement.name != host.arch:
            reason = f"it holds code for {requirement.name}, and this machine ({host.cpu}) is {host.arch}"
            found.append(Lack(reason, _recompile(host), software=False))
    return found


def _isa(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    missing = sorted({normalise(r.name) for r in asked} - host.features)
    if not missing:
        return []
    reason = f"its code uses {', '.join(missing)}, which this CPU ({host.cpu}"
    reason += f", {host.level})" if host.arch == "x86_64" else ")"
    return [Lack(f"{reason} does not have", _recompile(host), software=False)]


def _cpu(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    wanted = sorted({r.name for r in asked} - {host.cpu_key})
    if not wanted:
        return []
    reason = f"it was prepared for one kind of CPU ({wanted[0]}), and this one ({host.cpu}) is {host.cpu_key}"
    fix = "open its portable variant, or compile the model on this machine: neoc compile MODEL --target host"
    return [Lack(reason, f"{fix} --optimize cold-start", software=False)]


def _named(host: HostFacts) -> str | None:
    """The target of the only named chip that has this machine's core, of ARM's; of several cores the biggest counts."""
    if host.level in X86_LEVELS or not host.cpu:
        return None
    core = host.cpu.split("+")[0]
    names = [name for name in registry.target_names() if name not in registry.broken(registry.TARGETS)]
    found = [t.name for t in map(registry.load_target, names) if t.arch == host.arch and t.fact("mcpu") == core]
    return found[0] if len(found) == 1 else None


def _recompile(host: HostFacts) -> str:
    """The nearest target that runs here; a psABI v2 machine runs what was made for the baseline."""
    named = _named(host)
    target = named or {"x86-64-v2": "x86-64"}.get(host.level, host.level)
    if target not in X86_LEVELS and target != "aarch64" and named is None:
        return "open it on such a machine: neoc serves no target of this one yet"
    return f"compile the model for this machine: `neoc compile MODEL --target {target}`"


def _device(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    present = host.present_devices()
    return [_no_device(requirement.name, host) for requirement in asked if requirement.name not in present]


def _no_device(name: str, host: HostFacts) -> Lack:
    devices = ", ".join(host.present_devices()) or "none"
    fix = f"open it on a machine with {name}, or {_recompile(host)}"
    return Lack(f"it needs {name}, and the accelerators here are: {devices}", fix, software=False)


def _package(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    found = []
    for requirement in asked:
        present = installed(requirement.name, packages)
        if present is not None and _fits(requirement, present):
            continue
        wanted = _wanted(requirement)
        reason = f"it needs the package {wanted}, "
        reason += "which is not installed" if present is None else f"and {present} is installed"
        command = f"'{wanted}'" if "*" in wanted else wanted
        found.append(Lack(reason, _PIP + command, software=True))
    return found


def installed(name: str, packages: Sequence[Path] | None = None) -> str | None:
    """The version of an installed package; None where there is none."""
    if packages is None:
        return _installed_here(name)
    found = metadata.distributions(name=name, path=[str(path) for path in packages])
    return next((distribution.version for distribution in found), None)


@cache
def _installed_here(name: str) -> str | None:
    """As metadata.version, which parses the whole METADATA as e-mail: that takes as long as opening a small model.

    Of a package that is imported already its own word counts: that is what will run.
    """
    loaded = getattr(sys.modules.get(name.replace("-", "_")), "__version__", None)
    if isinstance(loaded, str) and re.fullmatch(r"\d+(\.\d+)+", loaded):
        return loaded
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
    found = re.search(r"^Version: *(\S+) *$", head, re.MULTILINE)
    return found[1] if found else distribution.version


def _fits(requirement: Requirement, present: str) -> bool:
    if requirement.match == "any" or not requirement.version:
        return True
    if requirement.match == "exact":
        return _public(present) == _public(requirement.version)
    return _minor(present) == _minor(requirement.version)


def _wanted(requirement: Requirement) -> str:
    if requirement.match == "any" or not requirement.version:
        return requirement.name
    if requirement.match == "exact":
        return f"{requirement.name}=={_public(requirement.version)}"
    return f"{requirement.name}=={'.'.join(map(str, _minor(requirement.version)))}.*"


def _public(version: str) -> str:
    """Without the local part: 2.13.0+cpu is a build of 2.13.0 (PEP 440)."""
    return version.partition("+")[0]


def _minor(version: str) -> tuple[int, ...]:
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    return (int(numbers[1]), int(numbers[2] or 0)) if numbers else ()


def _runtime(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    """Native libraries: only loading tells whether one can be loaded."""
    import ctypes

    found = []
    for requirement in asked:
        try:
            ctypes.CDLL(requirement.name)
        except OSError as error:
            fix = f"install what provides {requirement.name}"
            found.append(Lack(f"it needs the native library {requirement.name} ({error})", fix, software=True))
    return found


def _unknown(asked: list[Requirement], host: HostFacts, packages: Sequence[Path] | None) -> list[Lack]:
    words = ", ".join(f"{r.kind} {r.name}" for r in asked)
    reason = f"it needs {words}, of which this version of neoc knows nothing"
    return [Lack(reason, _PIP + "--upgrade neoc", software=True)]


_CHECKS: dict[str, Callable[[list[Requirement], HostFacts, Sequence[Path] | None], list[Lack]]] = {
    "arch": _arch,
    "cpu": _cpu,
    "isa": _isa,
    "device": _device,
    "runtime": _runtime,
    "package": _package,
}
"""In order: what another machine would mend comes before what an installation mends."""
