"""Tree ensembles as machine code of neoc's own (`neoc.kernels.trees`), for every CPU.

Build needs llvmlite, no compiler, no linker, never the processor. Open needs numpy: the code is mapped and called.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
    Numerics,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.errors import WrongDevice
from neoc.kernels.errors import KernelCompileError, KernelInputError
from neoc.kernels.jit import guarded
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.targets import tree_runner
from neoc.targets.emulation import Emulated
from neoc.targets.engines import trees_standalone
from neoc.targets.engines.tensors import chosen, closed
from neoc.targets.host import machine

if TYPE_CHECKING:
    from neoc.compile.program import Program

FORMAT = "3"
"""of what a build leaves: raised where another neoc's builds in the cache would not do"""
CODE, TABLES, STEPS = "kernel.bin", "tables.bin", "steps.json"
FINISH = "outputs.bin"
"""what follows the trees, where that is more than names of the margin"""
CONSTANTS = "constants.npz"
_ARCHITECTURES = ("x86_64", "aarch64", "armv7")


class Trees(Emulated):
    name = "trees"
    dispatches = False
    options = trees_standalone.OPTIONS
    decisive = frozenset({trees_standalone.FORM})

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
        counts, form = sorted({1, options.threads}), trees_standalone.asked(options, target)
        return tuple(Variant.of("lines" if n == 1 else f"lines-{n}", threads=n, **form) for n in counts)

    def tools(self) -> Mapping[str, str]:
        return {"llvmlite": version("llvmlite"), "neoc-trees": FORMAT} if self.missing() is None else {}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.kernels.trees.code import finish_image, kernel_image
        from neoc.kernels.trees.layout import layout_of
        from neoc.targets.engines.trees_finish import lower
        from neoc.targets.engines.trees_program import take_apart

        parts = take_apart(program)
        lowered = lower(parts, [spec.name for spec in program.signature.outputs])
        isa = isa_for(target)
        layout = layout_of(parts.ensemble, isa)
        (folder / CODE).write_bytes(kernel_image(layout.shape, isa))
        (folder / TABLES).write_bytes(layout.tables.tobytes())
        facts = {
            "block": isa.rows,
            "row": np.dtype(parts.ensemble.row_dtype).name,
            "total": np.dtype(parts.ensemble.sum_dtype).name,
            "margin": parts.margin,
            "finished": [[n, *s] for n, s in zip(lowered.names, lowered.shapes, strict=True)],
            "steps": lowered.left,
            "before": parts.before,
            "fed": parts.fed,
        }
        (folder / STEPS).write_text(json.dumps(facts, sort_keys=True))
        used = {name for step in (*lowered.left, *parts.before) for name in step["inputs"]}
        with (folder / CONSTANTS).open("wb") as file:
            np.savez(file, allow_pickle=False, **{n: a for n, a in parts.constants.items() if n in used})
        members = {name: folder / name for name in (CODE, TABLES, STEPS, CONSTANTS)}
        if lowered.finish is not None:
            members[FINISH] = folder / FINISH
            members[FINISH].write_bytes(finish_image(lowered.finish, isa))
        notes = [f"{layout.facts['trees']} trees in {layout.facts['groups']} groups, sums {parts.ensemble.sum}"]
        tools = dict(self.tools())
        if variant.get(trees_standalone.FORM):
            prefix = variant.get(trees_standalone.PREFIX)
            compiled = trees_standalone.Compiled(parts, lowered, layout, isa)
            files, linkers, note = trees_standalone.build(program, target, compiled, prefix, folder)
            members, tools, notes = members | files, tools | linkers, [*notes, note]
        return Built(
            members=members,
            requirements=_requirements(isa, target),
            tools=tools,
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            notes=tuple(notes),
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

    def rehearsal(self, target: Target) -> tuple[Numerics, str]:
        numerics, by = super().rehearsal(target)
        if numerics is Numerics.EMULATED and target.arch == "armv7":
            by += "; steps behind the trees that are no machine code were taken by this machine"
        return numerics, by

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        """On 64-bit ARM as every engine; 32-bit code in static programs."""
        model = target.fact("emulated_as")
        if target.arch != "armv7" or model is None or self.emulates(target):
            return super().rehearse(members, signature, variant, target)

        def emulated(image: memoryview, tables: memoryview, row: type, total: type, *_: int) -> Any:
            return tree_runner.EmulatedPredictor(image, tables, row, total, arch="armv7", cpu=str(model))

        def finished(image: memoryview, total: type, targets: int, shapes: Sequence[Any]) -> Any:
            return tree_runner.EmulatedFinisher(image, total, targets, shapes, arch="armv7", cpu=str(model))

        session = TreesSession(members, signature, 1, emulated, finished)
        session.concurrency, session.stamp = 1, f"emulated: qemu ran the machine code of the trees as a {model}"
        return session


def isa_for(target: Target) -> Isa:
    """The instructions that a target promises."""
    return isa_of(target.arch, target.features, str(target.fact("mcpu", "")))


def _requirements(isa: Isa, target: Target) -> tuple[Requirement, ...]:
    """What the code uses beyond what the target's own requirements already ask for."""
    extra = [f for f in ("avx512vbmi",) if f in isa.attributes]
    return tuple(Requirement("isa", f) for f in extra if f not in target.features)


_Step = tuple[Callable[..., np.ndarray], tuple[str, ...], str]
"""function, the values that it takes, the name of its result"""


def _identity(x: np.ndarray) -> np.ndarray:
    return x


class TreesSession(Session):
    """One native call gives the margins, another one what is computed from them; the rest are names and texts."""

    concurrency = 64
    """every call has scratch memory of its own"""

    def __init__(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        threads: int,
        predictor: Callable[..., Any] | None = None,
        finisher: Callable[..., Any] | None = None,
    ) -> None:
        """predictor, finisher: what takes the place of `Predictor` and `Finisher`, with their arguments."""
        from neoc.kernels.trees.finisher import Finisher
        from neoc.kernels.trees.predictor import Predictor

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
        self._finished = tuple(name for name, *_ in facts.get("finished", ()))
        self._finish: Any = None
        if FINISH in members:
            shapes = [shape for _, *shape in facts["finished"]]
            self._finish = (finisher or Finisher)(members[FINISH], total.type, self._predict.targets, shapes)
        self._steps = [self._bound(s["operator"], s["inputs"], s["output"], s["attributes"]) for s in facts["steps"]]
        ahead = facts.get("before", ())  # artifacts of before there were such steps have none
        self._before = [self._bound(s["operator"], s["inputs"], s["output"], s["attributes"]) for s in ahead]
        self._fed = facts.get("fed", "")
        self._at_once = isinstance(self._finish, Finisher) and not guarded()
        self._one = (1, self._predict.features)
        self._check = FeedCheck(self.inputs).check
        self._input = self.inputs[0].name
        self._names = tuple(spec.name for spec in self.outputs)
        self._plans: dict[tuple[str, ...], tuple[list[_Step], tuple[str, ...], tuple[int, ...]]] = {}

    def _bound(self, operator: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any]) -> _Step:
        """The step with its constants in their places, and without numpy's wrapper where it costs a microsecond."""
        from neoc.targets.engines.trees_program import STEPS as OPERATORS

        function = OPERATORS[operator]
        fixed = {k: self._constants[name] for k, name in enumerate(inputs) if name in self._constants}
        moving = tuple(name for name in inputs if name not in self._constants)
        if operator == "Identity" and moving:
            return _identity, moving, output
        if operator == "Squeeze" and list(fixed) == [1]:
            return partial(np.ndarray.squeeze, axis=tuple(map(int, fixed[1]))), moving, output
        if not fixed:
            return partial(function, **attributes) if attributes else function, moving, output

        def placed(*values: np.ndarray) -> np.ndarray:
            rest = iter(values)
            return function(*[fixed[k] if k in fixed else next(rest) for k in range(len(inputs))], **attributes)

        return placed, moving, output

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        x = feeds.get(self._input)
        if len(feeds) != 1 or type(x) is not np.ndarray or self._before:
            self._check(feeds)
            x = self._prepared(feeds[self._input])
        wanted = self._names if outputs is None else tuple(outputs)
        plan = self._plans.get(wanted)
        if plan is None:
            plan = self._plans[wanted] = self._plan(tuple(chosen(wanted, self._names)))
        try:
            values = self._native(x, plan[2])
        except KernelInputError:  # of the wrong dtype or shape, which the predictor sees: the check has the words
            self._check(feeds)
            raise
        for function, inputs, output in plan[0]:
            if len(inputs) == 1:
                values[output] = function(values[inputs[0]])
            else:
                values[output] = function(*[values[name] for name in inputs])
        if len(wanted) == 1 and (value := values[plan[1][0]]).flags.c_contiguous:
            return {wanted[0]: value}
        return self._fresh(wanted, [values[name] for name in plan[1]])

    def _native(self, x: np.ndarray, numbers: tuple[int, ...]) -> dict[str, np.ndarray]:
        """The margin, and what the compiled part gives of these numbers."""
        every = len(numbers) == len(self._finished)
        if numbers and self._at_once and x.shape == self._one and x.dtype == self._predict.row:
            margin, found = self._finish.row(self._predict, x, 0 if every else 1 + numbers[0])
        else:
            margin = self._predict(x)
            found = self._finish.all(margin) if numbers and every else []
        found += [self._finish.one(margin, k) for k in numbers[len(found) :]]
        return {self._margin: margin, **{self._finished[k]: v for k, v in zip(numbers, found, strict=True)}}

    def _prepared(self, x: np.ndarray) -> np.ndarray:
        """What the trees read of the features."""
        values = {self._input: x}
        with np.errstate(all="ignore"):  # infinities and NaN pass through arithmetic as they do in the source
            for function, inputs, output in self._before:
                values[output] = function(*[values[name] for name in inputs])
        return values.get(self._fed, x).astype(self._predict.row, "C", copy=False)

    def _plan(self, wanted: tuple[str, ...]) -> tuple[list[_Step], tuple[str, ...], tuple[int, ...]]:
        """(the steps to take, what holds each output, what the compiled part must give).

        Identities are names, and what nobody asked for is left out.
        """
        same: dict[str, str] = {}
        steps: list[_Step] = []
        for function, inputs, output in self._steps:
            inputs = tuple(same.get(name, name) for name in inputs)
            if function is _identity:
                same[output] = inputs[0]
            else:
                steps.append((function, inputs, output))
        held = tuple(same.get(name, name) for name in wanted)
        needed, kept = set(held), []
        for step in reversed(steps):
            if step[2] in needed:
                kept.append(step)
                needed |= set(step[1])
        return kept[::-1], held, tuple(k for k, name in enumerate(self._finished) if name in needed)

    @staticmethod
    def _fresh(names: tuple[str, ...], held: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Results that share no memory: two outputs may be views of one margin."""
        found, owners = {}, set()
        for name, value in zip(names, held, strict=True):
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
            if hasattr(self._finish, "close"):
                self._finish.close()
        self._predict = closed
