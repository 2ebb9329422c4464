"""Tree ensembles as machine code of neoc's own (`neoc.kernels.trees`), for every CPU.

Build needs llvmlite, no compiler, no linker, never the processor. Open needs numpy: the code is mapped and called.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import (
    Built,
    EngineOptions,
    FeedCheck,
    Feeds,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.errors import WrongDevice
from neoc.kernels.errors import KernelCompileError
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.targets import tree_runner
from neoc.targets.emulation import Emulated
from neoc.targets.engines.tensors import chosen, closed
from neoc.targets.host import machine

if TYPE_CHECKING:
    from neoc.compile.program import Program

CODE, TABLES, STEPS = "kernel.bin", "tables.bin", "steps.json"
CONSTANTS = "constants.npz"
_ARCHITECTURES = ("x86_64", "aarch64", "armv7")


class Trees(Emulated):
    name = "trees"
    dispatches = False

    def missing(self) -> str | None:
        if importlib.util.find_spec("llvmlite") is None:
            return "llvmlite is not installed; pip install 'neoc[kernels]'"
        return None

    def serves(self, target: Target) -> bool:
        return target.arch in _ARCHITECTURES

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.trees_program import find_gaps

        return find_gaps(program, self.name)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        if options.precision != "fp32":
            return ()
        counts = sorted({1, options.threads})
        return tuple(Variant.of("lines" if n == 1 else f"lines-{n}", threads=n) for n in counts)

    def tools(self) -> Mapping[str, str]:
        return {"llvmlite": version("llvmlite")} if self.missing() is None else {}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.kernels.trees.code import kernel_image
        from neoc.kernels.trees.layout import layout_of
        from neoc.targets.engines.trees_program import take_apart

        parts = take_apart(program)
        isa = isa_for(target)
        layout = layout_of(parts.ensemble, isa)
        (folder / CODE).write_bytes(kernel_image(layout.shape, isa))
        (folder / TABLES).write_bytes(layout.tables.tobytes())
        facts = {
            "block": isa.rows,
            "row": np.dtype(parts.ensemble.row_dtype).name,
            "total": np.dtype(parts.ensemble.sum_dtype).name,
            "margin": parts.margin,
            "steps": parts.steps,
        }
        (folder / STEPS).write_text(json.dumps(facts, sort_keys=True))
        with (folder / CONSTANTS).open("wb") as file:
            np.savez(file, allow_pickle=False, **parts.constants)
        notes = (f"{layout.facts['trees']} trees in {layout.facts['groups']} groups, sums {parts.ensemble.sum}",)
        return Built(
            members={name: folder / name for name in (CODE, TABLES, STEPS, CONSTANTS)},
            requirements=_requirements(isa, target),
            tools=self.tools(),
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            notes=notes,
        )

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if device not in (None, "cpu"):
            raise WrongDevice(f"this artifact was built for the CPU, not for {device!r}", fix="leave the device out")
        from neoc.kernels.trees.code import arch_of

        made_for, here = arch_of(members[CODE]).replace("arm", "armv7"), machine()
        if made_for != here:
            raise WrongDevice(f"the code is for {made_for}, this machine is {here}", fix="compile for this machine")
        return TreesSession(members, signature, threads)

    def emulates(self, target: Target) -> str:
        return tree_runner.why_not("armv7") if target.arch == "armv7" else super().emulates(target)

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        """On 64-bit ARM as every engine; 32-bit code in a static program, the steps behind it here."""
        model = target.fact("emulated_as")
        if target.arch != "armv7" or model is None or self.emulates(target):
            return super().rehearse(members, signature, variant, target)

        def emulated(image: memoryview, tables: memoryview, row: type, total: type, *_: int) -> Any:
            return tree_runner.EmulatedPredictor(image, tables, row, total, arch="armv7", cpu=str(model))

        session = TreesSession(members, signature, 1, emulated)
        session.concurrency, session.stamp = 1, f"emulated: qemu ran the machine code of the trees as a {model}"
        return session


def isa_for(target: Target) -> Isa:
    """The instructions that a target promises."""
    return isa_of(target.arch, target.features, str(target.fact("mcpu", "")))


def _requirements(isa: Isa, target: Target) -> tuple[Requirement, ...]:
    """What the code uses beyond what the target's own requirements already ask for."""
    extra = [f for f in ("avx512vbmi",) if f in isa.attributes]
    return tuple(Requirement("isa", f) for f in extra if f not in target.features)


class TreesSession(Session):
    """One native call gives the margins; the steps behind them are numpy's."""

    concurrency = 64
    """every call has scratch memory of its own"""

    def __init__(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        threads: int,
        predictor: Callable[..., Any] | None = None,
    ) -> None:
        """predictor: what takes the place of `Predictor`, with its arguments."""
        from neoc.kernels.trees.predictor import Predictor
        from neoc.targets.engines.trees_program import STEPS as OPERATORS

        self.inputs, self.outputs = signature.inputs, signature.outputs
        facts = json.loads(bytes(members[STEPS]))
        with np.load(io.BytesIO(members[CONSTANTS]), allow_pickle=False) as held:
            self._constants = dict(held)
        row, total = np.dtype(facts["row"]), np.dtype(facts["total"])
        try:
            self._predict: Any = (predictor or Predictor)(
                members[CODE], members[TABLES], row.type, total.type, facts["block"], threads
            )
        except OSError as error:
            raise KernelCompileError("code could not be mapped", why=str(error)) from error
        self._margin = facts["margin"]
        self._steps = [(OPERATORS[s["operator"]], s["inputs"], s["output"], s["attributes"]) for s in facts["steps"]]
        self._check = FeedCheck(self.inputs).check
        self._input = self.inputs[0].name
        self._names = tuple(spec.name for spec in self.outputs)
        self._needed: dict[tuple[str, ...], list[Any]] = {}

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check(feeds)
        wanted = self._names if outputs is None else tuple(chosen(outputs, self._names))
        values = {self._margin: self._predict(feeds[self._input])}
        steps = self._needed.get(wanted)
        if steps is None:
            steps = self._needed[wanted] = self._steps_for(wanted)
        for function, inputs, output, attributes in steps:
            values[output] = function(*[values[n] if n in values else self._constants[n] for n in inputs], **attributes)
        return self._fresh(values, wanted)

    def _steps_for(self, wanted: tuple[str, ...]) -> list[Any]:
        """Backwards from the outputs: steps that nobody asked for are not taken."""
        needed, kept = set(wanted), []
        for step in reversed(self._steps):
            if step[2] in needed:
                kept.append(step)
                needed |= set(step[1])
        return kept[::-1]

    @staticmethod
    def _fresh(values: dict[str, np.ndarray], wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Results that share no memory: two outputs may be views of one margin."""
        found, owners = {}, set()
        for name in wanted:
            value = values[name]
            owner = id(value if value.base is None else value.base)
            if owner in owners or not value.flags.c_contiguous:
                value = np.array(value, order="C")
                owner = id(value)
            owners.add(owner)
            found[name] = value
        return found

    def close(self) -> None:
        if self._predict is not closed:
            self._predict.close()
        self._predict = closed
