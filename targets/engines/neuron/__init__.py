"""AWS Neuron: ONNX -> HLO by an op table and jax -> neuronx-cc where it is installed.

Without the compiler the artifact holds the compiler's input, checked by the rules of its documentation. Without the
device that input is run on this machine's CPU and compared with the model: level `simulated`. Members: see members.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Gap,
    Numerics,
    Placement,
    Scalar,
    Session,
    Signature,
    Target,
    Toolchain,
    Variant,
)
from neoc.compile.errors import UnsupportedModel, WrongDevice
from neoc.compile.settings import Settings
from neoc.targets.engines.neuron.members import IO, MODULE, NEFF, STANDIN_NEFF, WEIGHTS, read_weights, write_members

if TYPE_CHECKING:
    from neoc.compile.program import Program
    from neoc.targets.engines.neuron.compiler import Compiler
    from neoc.targets.engines.neuron.lower import Lowered

__all__ = ["IO", "MODULE", "NEFF", "STANDIN_NEFF", "WEIGHTS", "Neuron", "read_weights"]


class Neuron(Engine):
    name = "neuron"
    whole_graph = True
    executor = "xla-cpu"

    @property
    def runtime_interpreter(self) -> str | None:  # type: ignore[override]
        """The environment that the user names for AWS's runtime: its packages do not go with those that build."""
        return Settings.read().neuron_python or None

    def missing(self) -> str | None:
        if importlib.util.find_spec("jax") is None:
            return "jax is not installed; install it with: pip install 'neoc[neuron-lower]'"
        return None

    def serves(self, target: Target) -> bool:
        return target.arch == "neuron"

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.neuron.gaps import find_gaps

        return find_gaps(program, self.name, target)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        """fp32 as the model has it; bf16 in the matrix engine alone, or everywhere. None for an archived chip."""
        from neoc.targets.engines.neuron.compiler import chosen_options

        if not target.fact("compiler_target"):
            return ()
        extra = chosen_options(options.pairs, target)
        if options.precision == "fp32":
            return (_variant("fp32", "fp32", "none", extra),)
        if options.precision == "bf16":
            casts = ("matmult", "all")
            return tuple(_variant(f"bf16-{cast}", "bf16", cast, extra) for cast in casts)
        return ()

    def why_no_variant(self, program: Program, target: Target, options: EngineOptions) -> str:
        return str(target.fact("archived", "")) or super().why_no_variant(program, target, options)

    def analysis(self, program: Program, target: Target) -> Mapping[str, Any]:
        from neoc.targets.engines.neuron.analysis import analyse

        return analyse(program, self.gaps(program, target))

    def tools(self) -> Mapping[str, str]:
        """The HLO follows from the program and these: the op table's digest stands for the lowering's own code."""
        from neoc.targets.engines.neuron.compiler import PROGRAM, find_compiler
        from neoc.targets.engines.neuron.preflight import rule_set

        compiler = find_compiler()
        found = {"neuron-rules": rule_set().name, "neuron-table": _table_digest(), **_versions("jax", "jaxlib")}
        return found | ({PROGRAM: compiler.version} if compiler else {})

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.targets.engines.neuron import compiler as neuronx_cc
        from neoc.targets.engines.neuron.lower import lower
        from neoc.targets.engines.neuron.preflight import rule_set

        if gaps := self.gaps(program, target):
            raise UnsupportedModel(f"{target.name} cannot take the model", gaps=gaps, fix="see the gaps")
        lowered = lower(program)
        warnings = self._examined(lowered, target)
        found = neuronx_cc.find_compiler()
        members = write_members(lowered, folder, _facts(lowered, target, variant, found))
        toolchain = Toolchain.NONE
        if found:
            neff = folder / NEFF
            neuronx_cc.compile_module(found, members[MODULE], target.fact("compiler_target"), variant, neff)
            toolchain = Toolchain.STANDIN if neuronx_cc.seal(neff) else Toolchain.REAL
            name = STANDIN_NEFF if toolchain is Toolchain.STANDIN else NEFF
            members[name] = neff.rename(folder / name)
        notes = [f"the module passes neoc's preflight, rules of {rule_set().name}", *warnings, *_notes(lowered)]
        return Built(
            members=members,
            requirements=(),
            tools=self.tools(),
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            toolchain=toolchain,
            notes=(*notes, *_unreal(toolchain, neuronx_cc.why_none)),
        )

    def _examined(self, lowered: Lowered, target: Target) -> list[str]:
        """The preflight's warnings. Raises UnsupportedModel for its errors."""
        from neoc.targets.engines.neuron import hlo
        from neoc.targets.engines.neuron.preflight import examine, rule_set

        findings = examine(hlo.read(lowered.module), rule_set())
        errors = [f for f in findings if f.is_error]
        if errors:
            raise UnsupportedModel(
                f"the program lowered for {target.name} breaks rules of its compiler",
                gaps=[
                    Gap(self.name, f.instruction.source, f.instruction.opcode, f.message, "", f.advice, f.code)
                    for f in errors
                ],
                why=str(errors[0]),
                fix="see the gaps",
            )
        return list(dict.fromkeys(str(f) for f in findings))

    def rehearsal(self, target: Target) -> tuple[Numerics, str]:
        if why := self.missing():
            return Numerics.UNCHECKED, why
        return Numerics.SIMULATED, "the emitted program was run by XLA on this machine's processor instead"

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        from neoc.targets.engines.neuron.rehearsal import Rehearsal

        return Rehearsal(members, signature)

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        from neoc.targets.devices import neuron_cores, neuron_devices

        if STANDIN_NEFF in members:
            return self._open_standin(members, signature, device)
        if not neuron_devices():
            raise WrongDevice(
                "the artifact is for an AWS Neuron device, and this machine has none",
                why="no device of the Neuron driver was found",
                fix="open it on an inf2 instance; on this machine, compile for --target host",
            )
        if NEFF not in members:
            raise WrongDevice(
                "the artifact holds no program for the device",
                why="it was made without the Neuron compiler: it holds the compiler's input only",
                fix="compile the model again where neuronx-cc is installed",
            )
        from neoc.targets.engines.neuron.session import NeuronSession, cores_of

        return NeuronSession(members, NEFF, signature, cores_of(device, neuron_cores()), marked=False)

    def _open_standin(self, members: Mapping[str, memoryview], signature: Signature, device: str | None) -> Session:
        from neoc.targets import standins
        from neoc.targets.engines.neuron.session import NeuronSession, cores_of

        if not standins.allowed():
            raise WrongDevice(
                "the artifact was made by a stand-in of the Neuron compiler",
                why="it exists to test neoc, and no device can run it",
                fix="compile the model again where neuronx-cc is installed",
            )
        return NeuronSession(members, STANDIN_NEFF, signature, cores_of(device, 0), marked=True)


def _variant(id: str, precision: str, auto_cast: str, extra: Mapping[str, Scalar]) -> Variant:
    return Variant(id, tuple(sorted({"auto_cast": auto_cast, **extra}.items())), precision=precision)


def _facts(lowered: Lowered, target: Target, variant: Variant, found: Compiler | None) -> dict[str, Any]:
    """What io.json says of the module beside its parameters and results."""
    from neoc.targets.engines.neuron.compiler import flags

    return {
        "module_sha256": hashlib.sha256(lowered.module).hexdigest(),
        "compiler": None if found is None else found.version,
        "flags": flags(target.fact("compiler_target"), variant),
        "int64": "kept in the module; the compiler narrows to int32 unless its flags say otherwise",
    }


@cache
def _table_digest() -> str:
    """Of every file of this package: whatever of it changes, builds are made anew."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".json"):
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def _unreal(toolchain: Toolchain, why_none: Callable[[], str]) -> list[str]:
    if toolchain is Toolchain.STANDIN:
        return ["stand-in: an imitation of neuronx-cc was used; the artifact holds no program for a Neuron device"]
    return [] if toolchain is Toolchain.REAL else [f"not compiled: {why_none()}"]


def _versions(*distributions: str) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _notes(lowered: Lowered) -> list[str]:
    notes = []
    if lowered.dropped:
        notes.append(f"no output depends on {', '.join(map(repr, lowered.dropped))}: the module does not take it")
    if any(spec.dtype in ("int64", "uint64") for spec in (*lowered.parameters, *lowered.results)):
        notes.append("the compiler narrows 64-bit integers to 32 bits")
    return notes
