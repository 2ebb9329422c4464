"""The Page: the whole product in one function, with no branch on a target's or an engine's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neoc.compile import (
    bucketed,
    build,
    choose,
    fit,
    frontends,
    modelled,
    pack,
    passes,
    plan,
    process,
    registry,
    statics,
    verify,
)
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import Target
from neoc.compile.dump import Dump
from neoc.compile.errors import UsageError
from neoc.compile.options import FOLDS, OPTIMIZE, CompileOptions
from neoc.compile.program import Program
from neoc.compile.rewrites import search

_NOTHING: Mapping[str, int] = MappingProxyType({})


def _quiet(stage: str, detail: str) -> None:
    pass


def compile_model(
    source: object,
    target: Target | str,
    options: CompileOptions | None = None,
    *,
    output: str | Path | None = None,
    example_inputs: object = None,
    progress: Callable[[str, str], None] = _quiet,
) -> Artifact:
    """Compile `source` for `target` into the artifact `output` (default: MODEL.TARGET.neoc in the working folder).

    `source` is a file or folder in any format that a front end reads, `module.py:factory`, or a live object: a torch
    module (with `example_inputs`), a Keras model, a Booster, a scikit-learn estimator.

    Raises UnsupportedModel (all gaps), ParityFailure, VacuousCheck, PaddingChanges, NoCandidate; InvalidModel,
    InvalidInput, OutputError; MissingTool. Whatever is raised, nothing half written and no process is left behind.
    """
    options = options or CompileOptions()
    if example_inputs is not None:
        options = replace(options, example_inputs=example_inputs)
    chip = registry.resolve_target(target)
    program = lower(source, options, progress)
    place = Path(output) if output is not None else Path(f"{Path(program.provenance.name).stem}.{chip.name}.neoc")
    with build.workshop(options, progress) as shop:
        bind: bucketed.Lower = lambda bound, name: lower(source, bound, progress)  # noqa: E731
        fixed = statics.prepare(shop, program, bind)
        prepared = None if options.bucketing is None else bucketed.prepare(shop, program, bind)
        decisions = [] if prepared is not None else [decide(shop, program, chip)]
        for one in fixed if prepared is None else prepared.buckets:
            with bucketed.turn(shop, one):
                decisions.append(decide(shop, one.program, chip, one.bind))
        return pack.pack_artifact(shop, program, chip, decisions, place, prepared)


def decide(shop: build.Workshop, program: Program, chip: Target, bind: Mapping[str, int] = _NOTHING) -> pack.Decision:
    """The best way to serve `program`, proven. Raises UnsupportedModel, ParityFailure, VacuousCheck, NoCandidate."""
    seen = plan.views(program, chip, shop.options)
    plan.require_plans(seen, chip, program.provenance.name)
    for plans in choose.tiers(seen, shop.options):
        candidates = build.build_all(shop, plans, chip)
        verified = verify.verify_all(shop, program, chip, candidates)
        if verified:
            found = search.search(shop, program, chip, verified, choose.decided_rewrites(shop.options))
            chosen = choose.choose(shop, [*found.preferred, *verified, *found.verified])
            return pack.Decision(bind, program, chosen, seen, tuple(shop.losses), found)
    raise verify.nothing_left(shop, program)


def lower(source: object, options: CompileOptions, progress: Callable[[str, str], None] = _quiet) -> Program:
    """The source in normal form, with its steps; every pass is dumped where options.dump names a folder."""
    if options.optimize not in OPTIMIZE:
        raise UsageError(f"neoc does not optimise for {options.optimize!r}", fix=f"one of: {', '.join(OPTIMIZE)}")
    if options.fold not in FOLDS:
        raise UsageError(f"unknown fold {options.fold!r}", fix=f"one of: {', '.join(FOLDS)}")
    progress("load", str(source) if isinstance(source, str | Path) else type(source).__name__)
    program = frontends.load(source, options.inputs, options)
    dump = Dump(options.dump)
    dump.program("loaded", program)
    progress("passes", program.provenance.name)
    program = passes.run(program, passes.DEFAULT, callback=dump.after_pass)
    program = process.attach(program, options.preprocess, options.postprocess)
    if not program.pre or options.fold == "off" or options.bucketing is not None:
        return program
    folds = passes.fold_steps(program, options.fold)
    if folds and options.data is not None:
        return program.with_note("no step was folded into the graph: --data holds tensors as the source takes them")
    return passes.run(program, folds, callback=dump.after_pass)


@dataclass(frozen=True)
class CheckReport:
    """What the engines of one target say of a model."""

    target: str
    views: tuple[plan.EngineView, ...]
    modelled: dict[str, Any] | None = None
    """bounds from the chip's documented figures (compile/modelled.py), where it states them for one core"""
    memory: fit.Memory | None = None
    fallback: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """engine with gaps -> how much of the program it leaves to others"""

    @property
    def served(self) -> bool:
        """Whether some engine takes the whole model (its tools may be missing here) and the chip can hold it."""
        fits = self.memory is None or self.memory.fits
        return fits and any(view.plans or (view.missing is not None and not view.gaps) for view in self.views)

    def as_dict(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "served": self.served,
            "engines": [view.as_dict() for view in self.views],
            "modelled": self.modelled,
            "memory": None if self.memory is None else self.memory.as_dict(),
            "fallback": {engine: dict(share) for engine, share in self.fallback.items()},
        }


def check_model(
    source: object, targets: Sequence[Target | str], options: CompileOptions | None = None
) -> tuple[CheckReport, ...]:
    """Every gap for every target, without building anything. Raises InvalidModel, InvalidInput, UsageError."""
    options = options or CompileOptions()
    program = lower(source, options)
    chips = [registry.resolve_target(target) for target in targets]
    return tuple(_checked(program, chip, options) for chip in chips)


def _checked(program: Program, chip: Target, options: CompileOptions) -> CheckReport:
    views = plan.views(program, chip, options)
    return CheckReport(
        chip.name,
        views,
        modelled.bound(program, chip, options.precision),
        fit.memory(program, chip),
        {view.name: fit.fallback_share(program, view.gaps) for view in views if view.gaps},
    )
