"""ARM artifacts opened without the chip: their own machine code under qemu's user mode, with an explicit CPU model.

    this process --pipes--> qemu-aarch64 -cpu cortex-a72 -L root python3.11 -m neoc.compile.worker_main

The engine that opens is the one that opens on the chip, in its aarch64 build, and speaks the worker protocol. An
instruction that the CPU model lacks ends the emulated process with SIGILL: that is what the level `emulated` says
beyond the numbers. It says nothing of time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neoc.compile.contracts import Engine, Feeds, Numerics, Session, Signature, Target, Variant
from neoc.compile.errors import MissingTool, UsageError, WorkerCrashed, WrongDevice
from neoc.targets import guest
from neoc.targets.host import HostFacts

if TYPE_CHECKING:
    from neoc.compile.worker import Worker

EXECUTOR = "qemu"
"""--option executor=qemu, or executor=qemu:MODEL for another CPU model than the target's own"""
START_S = 300.0
"""bound on the start of an emulated interpreter: some five seconds on an idle machine"""

_A53 = "fp asimd aes pmull sha1 sha2 crc32 cpuid"
_A55 = f"{_A53} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_V1 = (
    f"{_A55} jscvt fcma sha3 sm3 sm4 sha512 sve asimdfhm dit uscat ilrcpc flagm paca pacg dcpodp svei8mm svebf16 i8mm "
    "bf16 rng"
)
_V7 = "half thumb fastmult vfp edsp asimd vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
MODELS: dict[str, tuple[str, frozenset[str]]] = {
    name: (arch, frozenset(features.split()))
    for name, arch, features in (
        ("cortex-a53", "aarch64", _A53),
        ("cortex-a55", "aarch64", _A55),
        ("cortex-a57", "aarch64", _A53),
        ("cortex-a72", "aarch64", _A53),
        ("cortex-a76", "aarch64", _A55),
        ("neoverse-n1", "aarch64", _A55),
        (
            "neoverse-n2",
            "aarch64",
            f"{_V1} sb sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint bti mte",
        ),
        ("neoverse-v1", "aarch64", _V1),
        ("cortex-a7", "armv7", _V7),
        ("cortex-a15", "armv7", _V7),
    )
}
"""qemu's -cpu -> (architecture, features as qemu 10 itself shows them in the emulated /proc/cpuinfo)"""


class Emulated(Engine):
    """An engine whose ARM code can be opened under qemu."""

    executor = EXECUTOR

    def emulates(self, target: Target) -> str:
        """'' where its code for the target can be run under qemu here, else why not."""
        found = guest.find()
        if isinstance(found, str):
            return found
        return _lacks(found, self.guest_packages(target))

    def guest_packages(self, target: Target) -> Sequence[str]:
        """The distributions that opening takes, beside numpy."""
        return ()

    def rehearsal(self, target: Target) -> tuple[Numerics, str]:
        model = target.fact("emulated_as")
        if model is None:
            return Numerics.UNCHECKED, ""
        if why := self.emulates(target):
            return Numerics.UNCHECKED, why
        return Numerics.EMULATED, f"qemu ran its machine code as a {model}{_caveat(target)}"

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        if target.fact("emulated_as") is None:
            raise UsageError(f"qemu does not stand in for {target.title}", fix="open the artifact without an executor")
        if why := self.emulates(target):
            raise MissingTool("the artifact cannot be run under qemu", where=target.name, why=why)
        return EmulatedSession(self.name, members, signature, variant, target)


def _lacks(found: guest.Guest, packages: Sequence[str]) -> str:
    absent = [name for name in packages if found.has(name) is None]
    return f"the ARM file system was made without {', '.join(absent)}" if absent else ""


def _caveat(target: Target) -> str:
    caveat = target.fact("caveat", "")
    return f" ({caveat})" if caveat else ""


class EmulatedSession(Session):
    """A session in an emulated interpreter, which goes with it."""

    def __init__(
        self,
        engine: str,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        target: Target,
    ) -> None:
        self.model = str(target.fact("emulated_as"))
        found = guest.find()
        if isinstance(found, str):
            raise MissingTool("the artifact cannot be run under qemu", where=target.name, why=found)
        with ExitStack() as stack:
            worker = stack.enter_context(worker_on(found, self.model, f"{engine} under qemu", stack))
            with tempfile.TemporaryDirectory(prefix="neoc-emulated-") as folder:
                files = {name: _written(Path(folder) / name, data) for name, data in members.items()}
                with _trapped(self.model):
                    self._session = worker.open(engine, files, signature, variant, variant.threads, None)
            self._stack = stack.pop_all()
        self.inputs, self.outputs = self._session.inputs, self._session.outputs
        self.stamp = f"emulated: qemu {found.qemu_version} ran the machine code as a {self.model}"

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        with _trapped(self.model):
            return self._session.run(feeds, outputs)

    def close(self) -> None:
        self._stack.close()


def worker_on(found: guest.Guest, model: str, name: str, stack: ExitStack) -> Worker:
    """A worker whose interpreter is the ARM one; what it needs lives as long as `stack`."""
    from neoc.compile.worker import Worker

    env = guest_environment(found, stack.enter_context(guest.own_packages()))
    return Worker(name, interpreter=str(found.python), prefix=found.command(model), env=env, start_s=START_S)


def guest_environment(found: guest.Guest, own: Path) -> dict[str, str]:
    """Variables of an emulated interpreter; own: what `guest.own_packages` gave."""
    return {
        "PYTHONPATH": f"{found.site}:{own}",
        "PYTHONNOUSERSITE": "1",
        # The emulated dynamic linker reads them, too, and what they name is of this machine's architecture.
        "LD_LIBRARY_PATH": "",
        "LD_PRELOAD": "",
    }


def _written(path: Path, data: memoryview) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@contextmanager
def _trapped(model: str) -> Iterator[None]:
    """Says of an illegal instruction what it means here. Raises WrongDevice."""
    try:
        yield
    except WorkerCrashed as error:
        if "SIGILL" not in error.why:
            raise
        raise WrongDevice(
            f"the code uses an instruction that a {model} does not have",
            why="the emulated process was ended by SIGILL",
            fix="compile the model for a target whose core is this one or a lesser one",
        ) from error


# ---- another CPU model -----------------------------------------------------------------------


def parsed(executor: str) -> tuple[str, str]:
    """('qemu', 'cortex-a72') of 'qemu:cortex-a72'; the model is '' where none is named. Raises UsageError."""
    name, _, model = executor.partition(":")
    if model and model not in MODELS:
        raise UsageError(f"neoc knows no CPU model {model!r} of qemu's", fix=f"one of: {', '.join(MODELS)}")
    return name, model


def on_model(target: Target, model: str) -> Target:
    """The target as another CPU model is to run it; the target itself where the model is ''."""
    if not model:
        return target
    facts = {**dict(target.facts), "emulated_as": model}
    return replace(target, facts=tuple(sorted(facts.items())))


def host_of(model: str) -> HostFacts | None:
    """The machine that qemu makes of a CPU model, for the check of requirements; None for a model not known."""
    if model not in MODELS:
        return None
    arch, features = MODELS[model]
    return HostFacts(arch, f"{model} under qemu", features, 1, 1, 0)
