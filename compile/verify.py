"""Proof on every compile: each candidate against the reference, float64 as the judge of a dispute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neoc.compile import parity
from neoc.compile.answers import Sample
from neoc.compile.build import Candidate, Workshop
from neoc.compile.contracts import Numerics, Target, Toolchain, rehearsed
from neoc.compile.departure import first_departure
from neoc.compile.errors import NeocError, NoCandidate, ParityFailure, Unavailable, VacuousCheck
from neoc.compile.parity import OutputReport
from neoc.compile.program import Program
from neoc.compile.reference import (
    GROSS,
    Reference,
    exact_outputs,
    exact_samples,
    gather,
    narrow_like,
)
from neoc.compile.registry import load_engine
from neoc.compile.worker import Worker

SLACK = 2.0
"""two float32 runs that add in another order err alike in size, not in value"""


@dataclass(frozen=True)
class Verified:
    """A candidate that passed every check that this machine can make."""

    candidate: Candidate
    numerics: Numerics
    why_not_further: str = ""
    worker: Worker | None = None
    """where it is open, ready to be run again; None where nothing ran"""
    reports: tuple[OutputReport, ...] = ()
    judged_by: str = ""
    """the reference's name, or 'float64' where that settled a dispute"""
    reference: Reference | None = None

    @property
    def id(self) -> str:
        return self.candidate.plan.id

    @property
    def sample(self) -> Sample:
        """What it is timed on. Only of a candidate that was run."""
        assert self.reference is not None
        return self.reference.fed[0]


@dataclass(frozen=True)
class _Answer:
    candidate: Candidate
    worker: Worker
    outputs: Sequence[Mapping[str, Any]]
    numerics: Numerics
    why_not_further: str = ""


def verify_all(shop: Workshop, program: Program, target: Target, candidates: Sequence[Candidate]) -> list[Verified]:
    """The candidates that hold, in their order. Losses are noted in the shop, with the first departing node.

    Where the chip is here each candidate is run on it against the reference; elsewhere in the engine's simulator or
    emulator; where there is none, a build that succeeded is all that can be had, and says so. Candidates that reach
    less far than others are lost. Raises VacuousCheck where no output moves with the inputs, and what
    reference.gather raises.
    """
    reach = {c.plan.id: _reach(c, target) for c in candidates}
    farthest = min((numerics for numerics, _ in reach.values()), key=list(Numerics).index, default=Numerics.UNCHECKED)
    if farthest is Numerics.UNCHECKED:
        return [Verified(c, farthest, reach[c.plan.id][1]) for c in candidates]
    runnable = [c for c in candidates if reach[c.plan.id][0] is farthest]
    for c in candidates:
        if c not in runnable:
            shop.lose(c.plan, "check", Unavailable(f"it cannot be {farthest} here", why=reach[c.plan.id][1]))
    rtol = parity.tolerance(shop.options.precision, shop.options.tolerance)
    if shop.reference is None:
        shop.reference = gather(shop, program, rtol)
    reference = shop.reference
    refuse_vacuous(shop, program, reference)
    answers = [a for c in runnable if (a := _answer(shop, target, c, reach[c.plan.id], reference)) is not None]
    passed, failed = _judge(answers, reference.outputs, reference, rtol, reference.name)
    if failed and not reference.exact and not reference.framework:
        exact = exact_outputs(shop, program, reference, len(reference.samples))
        if exact is not None:
            more, failed = _settle(failed, exact, reference, rtol)
            passed += more
    located: dict[str, str] = {}  # one search an engine: its variants go wrong in the same place
    for answer, reports in failed:
        answer.worker.close()
        engine = answer.candidate.step.engine
        if not passed and engine not in located:
            located[engine] = _departure(shop, program, target, answer, reference, rtol)
        why = "; ".join(f"output {r.name} is {r.why}" for r in reports if not r.ok)
        shop.lose(
            answer.candidate.plan,
            "parity",
            ParityFailure(
                f"{answer.candidate.plan.id} computes something else than the source",
                where=located.get(engine, ""),
                why=f"{why} (against {reference.name})",
                fix="report it to the engine with the programs that --dump writes, choose another with --engine, "
                "or widen --tolerance if the difference is acceptable",
            ),
        )
    order = {c.plan.id: i for i, c in enumerate(candidates)}
    return sorted(passed, key=lambda v: order[v.id])


def verify_rewritten(
    shop: Workshop, program: Program, target: Target, candidates: Sequence[Candidate]
) -> list[Verified]:
    """The rewritten candidates that hold: on every sample against the reference, and against float64 on the first ones.

    A rewrite orders additions anew, so another float32 engine is no judge of it where that engine itself is off: what
    departs from the reference is judged by a float64 run of the original graph on all samples. Losses are noted in the
    shop. `shop.reference` must have been gathered.
    """
    reference = shop.reference
    assert reference is not None
    rtol = parity.tolerance(shop.options.precision, shop.options.tolerance)
    answers = [a for c in candidates if (a := _answer(shop, target, c, _reach(c, target), reference)) is not None]
    exact = exact_outputs(shop, program, reference, exact_samples(program, reference))
    head = [] if exact is None else _narrowed(exact, reference)
    judge = "float64" if head else reference.name
    passed, failed = _judge(answers, [*head, *reference.outputs[len(head) :]], reference, rtol, judge)
    if failed and not reference.exact and not reference.framework:
        every = exact_outputs(shop, program, reference, len(reference.samples))
        if every is not None:
            more, failed = _settle(failed, every, reference, rtol)
            passed += more
    for answer, reports in failed:
        answer.worker.close()
        why = "; ".join(f"output {r.name} is {r.why}" for r in reports if not r.ok)
        what = f"{answer.candidate.plan.id} computes something else than the source"
        shop.lose(answer.candidate.plan, "parity", ParityFailure(what, why=f"{why} (against {judge})"))
    return passed


def _narrowed(exact: Sequence[Mapping[str, Any]], reference: Reference) -> list[Mapping[str, Any]]:
    return [{n: narrow_like(e[n], o[n]) for n in o} for e, o in zip(exact, reference.outputs, strict=False)]


def _reach(candidate: Candidate, target: Target) -> tuple[Numerics, str]:
    """How far this candidate can be checked here, and why not further."""
    engine = load_engine(candidate.step.engine)
    numerics, why = target.verifiable(engine)
    if numerics is Numerics.EXECUTED and candidate.built.toolchain is not Toolchain.REAL:
        return rehearsed(engine, target, "it holds no program for the chip: no compiler for it was found")
    return numerics, why


def nothing_left(shop: Workshop, program: Program) -> NeocError:
    """The verdict when every candidate was lost: the first parity failure, else all the reasons."""
    for loss in shop.losses:
        if isinstance(loss.error, ParityFailure):
            return loss.error
    return NoCandidate(
        "every candidate was lost",
        losses={loss.plan: f"{loss.stage}: {loss.error}" for loss in shop.losses},
        where=program.provenance.name,
        why="; ".join(f"{loss.plan} ({loss.stage}): {loss.error}" for loss in shop.losses),
        fix="`neoc doctor` shows what each engine lacks",
    )


def refuse_vacuous(shop: Workshop, program: Program, reference: Reference) -> None:
    """Raises VacuousCheck where nothing moved although the outputs hang on the inputs."""
    hanging = [name for name in reference.moved if depends_on_input(program, name)]
    if shop.options.allow_vacuous or not hanging or any(reference.moved[name] for name in hanging):
        return
    raise VacuousCheck(
        "no output changes when the inputs change, so agreement would prove nothing",
        where=program.provenance.name,
        why=f"{len(reference.samples)} different samples gave the same {', '.join(hanging)}",
        fix="give --data FILE.npz with inputs that the model tells apart, or accept it with --allow-vacuous",
    )


def depends_on_input(program: Program, output: str) -> bool:
    """Whether the value of an output hangs on the value (not only on the shape) of any input."""
    graph = program.model.graph
    fed = {spec.name for spec in program.signature.inputs}
    by_name = {v.name: v for v in graph.outputs}
    todo, seen = [by_name[output]], set()
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.name in fed and value.producer() is None:
            return True
        node = value.producer()
        if node is None or node.op_type in ("Shape", "Size"):
            continue
        todo += [v for v in node.inputs if v is not None]
        for attr in node.attributes.values():
            for body in _bodies(attr):
                todo += [v for n in body.all_nodes() for v in n.inputs if v is not None]
    return False


def _bodies(attr: Any) -> tuple[Any, ...]:
    import onnx_ir as ir

    if attr.type == ir.AttributeType.GRAPH:
        return (attr.value,)
    return tuple(attr.value) if attr.type == ir.AttributeType.GRAPHS else ()


def _answer(
    shop: Workshop, target: Target, candidate: Candidate, reach: tuple[Numerics, str], reference: Reference
) -> _Answer | None:
    step = candidate.step
    worker = shop.worker(candidate.plan.id, step.engine, target, on_chip=reach[0] is Numerics.EXECUTED)
    shop.progress("check", candidate.plan.id)
    signature = candidate.plan.programs[step.program].signature
    stage = "open"
    try:
        session = worker.open(
            step.engine,
            candidate.built.members,
            signature,
            step.variant,
            step.variant.threads,
            None,
            rehearsed_for=None if reach[0] is Numerics.EXECUTED else target,
            mapped=candidate.built.mapped,
        )
        stage = "run"
        outputs = [session.run(sample) for sample in reference.fed]
    except NeocError as error:
        worker.close()
        shop.lose(candidate.plan, stage, error)
        return None
    return _Answer(candidate, worker, outputs, *reach)


Judged = tuple[_Answer, tuple[OutputReport, ...]]


def _judge(
    answers: Sequence[_Answer],
    want: Sequence[Mapping[str, Any]],
    reference: Reference,
    rtol: float,
    judge: str,
) -> tuple[list[Verified], list[Judged]]:
    passed: list[Verified] = []
    failed: list[Judged] = []
    for answer in answers:
        reports = parity.compare_all(answer.outputs, want, rtol, reference.moved)
        if all(r.ok for r in reports):
            passed.append(_passed(answer, reports, judge, reference))
        else:
            failed.append((answer, reports))
    return passed, failed


def _passed(answer: _Answer, reports: tuple[OutputReport, ...], judge: str, reference: Reference) -> Verified:
    return Verified(answer.candidate, answer.numerics, answer.why_not_further, answer.worker, reports, judge, reference)


def _errs_alike(report: OutputReport, own: OutputReport) -> bool:
    """Whether a float output is as near to float64 as the reference itself is. Nothing else has an excuse."""
    comparable = report.floating and np.isfinite(report.max_abs_error) and own.scale > 0
    return bool(comparable and report.max_abs_error <= SLACK * own.max_abs_error and own.relative < GROSS)


def _settle(
    failed: Sequence[Judged], exact: Sequence[Mapping[str, Any]], reference: Reference, rtol: float
) -> tuple[list[Verified], list[Judged]]:
    """Judge again by float64: within tolerance of that or, where the reference itself is not, of its order of error.

    Integers, labels and strings that a second oracle computed too are not for float64 to overrule: rounding is part of
    what the source says.
    """
    want = [{name: narrow_like(e[name], o[name]) for name in o} for e, o in zip(exact, reference.outputs, strict=True)]
    own = {r.name: r for r in parity.compare_all(reference.outputs, want, rtol, reference.moved)}
    passed: list[Verified] = []
    still: list[Judged] = []
    for answer, first in failed:
        if reference.agreed and any(not r.ok and r.exact for r in first):
            still.append((answer, first))
            continue
        reports = tuple(
            replace(r, ok=True, why=f"the reference itself is off by {own[r.name].max_abs_error:.3g} from float64")
            if not r.ok and _errs_alike(r, own[r.name])
            else r
            for r in parity.compare_all(answer.outputs, want, rtol, reference.moved)
        )
        if all(r.ok for r in reports):
            passed.append(_passed(answer, reports, "float64", reference))
        else:
            still.append((answer, first))
    return passed, still


def _departure(
    shop: Workshop, program: Program, target: Target, answer: _Answer, reference: Reference, rtol: float
) -> str:
    """Where the first failing sample goes wrong."""
    index = next(
        i
        for i, (got, want) in enumerate(zip(answer.outputs, reference.outputs, strict=True))
        if not all(parity.compare(name, got.get(name), want[name], rtol).ok for name in want)
    )
    absent = None if answer.numerics is Numerics.EXECUTED else target
    return first_departure(shop, program, target, answer.candidate, reference.fed[index], rtol, absent)
