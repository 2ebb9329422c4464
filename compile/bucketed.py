"""A model with open dimensions, compiled for several sizes: what each bucket is given, and the proof of padding.

The proof is made on the source itself, before anything is compiled: for several lengths in every bucket, padded feeds
must give, cut back, what the feeds give as they are. So a refusal speaks of the model, not of an engine. The padded
feeds are then among the samples on which every candidate of that bucket is checked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import buckets, inputs, parity
from neoc.compile.answers import Sample
from neoc.compile.build import Workshop
from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import (
    FeedError,
    InvalidInput,
    NeocError,
    NoCandidate,
    PaddingChanges,
    UnsupportedModel,
    UsageError,
    WorkerFailure,
    WorkerRefused,
)
from neoc.compile.input_roles import Kind
from neoc.compile.options import Bucketing, CompileOptions
from neoc.compile.padding import Cut, Padding, evaluate
from neoc.compile.parity import OutputReport
from neoc.compile.program import Program
from neoc.compile.raw_proof import RawProof, prove_pre
from neoc.compile.reference import gather, oracles

LENGTHS = 4
"""tested in each bucket: the shortest, the longest that is padded, and others between them"""

Lower = Callable[[CompileOptions, str], Program]
"""(options with all inputs bound, name of the bucket) -> the program in normal form"""


@dataclass(frozen=True)
class Bucket:
    """One variant to be compiled."""

    bind: Mapping[str, int]
    program: Program
    options: CompileOptions
    samples: tuple[Sample, ...]
    """padded feeds; the first `given` are the user's own"""
    given: int
    proven: Mapping[str, Any]
    """the lengths that were tested, and the largest relative error"""


@dataclass(frozen=True)
class Prepared:
    plan: buckets.BucketPlan
    padding: Padding
    buckets: tuple[Bucket, ...]
    raw: RawProof | None = None
    """of the steps around the model, on requests among those that were padded"""

    def as_dict(self) -> dict[str, Any]:
        """For the evidence: the plan and what was tested."""
        return {
            "dims": [dim.as_dict() for dim in self.plan.dims],
            "padding": [{"bind": dict(b.bind), **b.proven} for b in self.buckets],
        }


def prepare(shop: Workshop, program: Program, lower: Lower) -> Prepared:
    """Plan the buckets of `program`, prove that padding changes nothing, and bind one program for each.

    Raises UsageError, InvalidInput; PaddingChanges; NoCandidate where nothing runs the source.
    """
    options = shop.options
    assert options.bucketing is not None
    where = program.provenance.name
    plan = buckets.plan(options.bucketing, program.signature, where)
    _check_pads(options.bucketing, program.signature, where)
    shop.progress("buckets", "; ".join(f"{d.dim}: {', '.join(map(str, d.sizes))}" for d in plan.dims))
    proof = _prove(shop, program, plan)
    made = []
    for bind in plan.binds():
        name = buckets.label(bind)
        bound = replace(
            options,
            inputs=buckets.bound(options.inputs, program.signature, bind),
            data=None,
            preprocess=(),  # steps stay around all the buckets together, where they are proven
            postprocess=(),
            raw_data=None,
            bucketing=None,
            dump=None if options.dump is None else options.dump / name,
            race_seconds=options.race_seconds / len(plan.binds()),
            decision=decision_of(shop, options.decision, name),
        )
        tested = [t for t in proof.trials if t.bind == bind]
        padded = tuple(proof.padding.pad(program.signature, t.feeds, bind) for t in tested)
        made.append(
            Bucket(bind, lower(bound, name), bound, padded, sum(t.given for t in tested), _proven(tested, proof))
        )
    return Prepared(plan, proof.padding, tuple(made), proof.raw)


@contextmanager
def turn(shop: Workshop, bucket: Bucket) -> Iterator[None]:
    """The workshop set up for one bucket: its options, its reference, no worker of another one."""
    kept = shop.options, shop.losses
    shop.options, shop.losses = bucket.options, []
    shop.progress("bucket", buckets.label(bucket.bind))
    try:
        rtol = parity.tolerance(bucket.options.precision, bucket.options.tolerance)
        shop.reference = gather(shop, bucket.program, rtol, bucket.samples, bucket.given)
        yield
    finally:
        shop.rest()
        shop.reference = shop.exact = None
        shop.options, shop.losses = kept


def _check_pads(bucketing: Bucketing, signature: Signature, where: str) -> None:
    known = [spec.name for spec in signature.inputs]
    for name in bucketing.pad:
        if name not in known:
            raise InvalidInput(
                f"--pad names {name!r}, which is no input", where=where, fix=f"the inputs are {', '.join(known)}"
            )


def decision_of(shop: Workshop, path: Path | None, name: str) -> Path | None:
    """The own part of a bucket or static variant in a decision that is replayed, as a file. Raises UsageError."""
    if path is None:
        return None
    from neoc.compile.choose import read_evidence

    found = read_evidence(path).get("decisions", {}).get(name)
    if found is None:
        raise UsageError(f"the decision does not speak of {name}", where=str(path), fix="compile without --decision")
    file = shop.folder("decision") / "evidence.json"
    file.write_text(json.dumps({"decision": found}))
    return file


# ---- the proof -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trial:
    """Feeds of a length, the bucket that they fall into, and what the source gives for them."""

    bind: Mapping[str, int]
    sizes: Mapping[str, int]
    feeds: Sample
    wanted: Mapping[str, Any]
    given: bool = False


@dataclass(frozen=True)
class _Proof:
    padding: Padding
    trials: tuple[_Trial, ...]
    reports: tuple[tuple[OutputReport, ...], ...]
    """of each trial"""
    raw: RawProof | None = None


def _proven(tested: Sequence[_Trial], proof: _Proof) -> dict[str, Any]:
    errors = [
        r.relative for t, reports in zip(proof.trials, proof.reports, strict=True) if t in tested for r in reports
    ]
    return {
        "lengths": [dict(t.sizes) for t in tested],
        "largest_relative_error": float(f"{max(errors, default=0.0):.1e}"),
    }


def _prove(shop: Workshop, program: Program, plan: buckets.BucketPlan) -> _Proof:
    """Ask the oracles in turn until one runs the source. Raises PaddingChanges, NoCandidate."""
    assert program.source is not None
    refusals: dict[str, str] = {}
    for engine in oracles():
        shop.progress("padding", engine)
        worker = shop.worker(f"padding {engine}", engine)
        try:
            session = worker.open_source(engine, program.source.graph, program.signature)
            return _proof(shop, session, program, plan)
        except (WorkerFailure, UnsupportedModel) as error:
            refusals[engine] = str(error)
        finally:
            worker.close()
    raise NoCandidate(
        "nothing here runs the source model, so padding could not be tested",
        losses=refusals,
        where=program.provenance.name,
        why="; ".join(f"{k}: {v}" for k, v in refusals.items()),
        fix="check the model with `neoc inspect`",
    )


def _proof(shop: Workshop, session: Session, program: Program, plan: buckets.BucketPlan) -> _Proof:
    assert shop.options.bucketing is not None
    seed = shop.options.seed
    least, others = _least(session, program, plan, seed)
    given = _given(shop, session, program, plan)
    raw, cooked = _cooked(shop, session, program, plan)
    trials = [*given, *cooked, *_generated(session, program, plan, least, others, seed)]
    first: PaddingChanges | None = None
    for values, flipped in _pad_values(program, shop.options.bucketing):
        if flipped:
            trials = [_flipped(session, trial, flipped) for trial in trials]
        padding = Padding(least, values)
        runs = [_padded_run(session, program, padding, trial) for trial in trials]
        padding = replace(padding, cuts=_cuts(program, plan, trials, runs))
        try:
            return _Proof(padding, tuple(trials), tuple(_compared(shop, program, padding, trials, runs)), raw)
        except PaddingChanges as error:
            first = first or error
    assert first is not None
    raise first


def _least(
    session: Session, program: Program, plan: buckets.BucketPlan, seed: int
) -> tuple[dict[str, int], Mapping[str, int]]:
    """The smallest sizes that the source accepts in the smallest bucket, and sizes for the other open dimensions."""
    smallest = plan.binds()[0]
    refused: NeocError | None = None
    for others in inputs.candidates(program, seed):
        least = dict.fromkeys(smallest, 1)
        while True:
            try:
                session.run(inputs.generate(program, seed, 1, {**others, **least})[0])
                return least, others
            except (FeedError, WorkerRefused) as error:
                refused = error
            if least == smallest:
                break
            least = {dim: min(2 * size, smallest[dim]) for dim, size in least.items()}
    assert refused is not None
    raise InvalidInput(
        "the model rejects every input that neoc could make up for the smallest bucket",
        where=f"{program.provenance.name}, {buckets.label(smallest)}",
        why=refused.why or str(refused),
        fix="name larger buckets with --bucket, or bind the other open dimensions with --input",
    )


def _given(shop: Workshop, session: Session, program: Program, plan: buckets.BucketPlan) -> Iterator[_Trial]:
    if shop.options.data is None:
        return
    for number, feeds in enumerate(inputs.load_data(shop.options.data, program.signature)):
        sizes, bind = _place(program, plan, feeds)
        where = f"{shop.options.data}, sample {number}"
        if bind is None:
            raise InvalidInput(
                "the given data does not fit the buckets",
                where=where,
                why=f"it has {buckets.label(sizes)}, and the largest bucket is {buckets.label(plan.binds()[-1])}",
                fix="add a larger bucket, or give shorter data",
            )
        try:
            yield _Trial(bind, sizes, feeds, session.run(feeds), given=True)
        except (FeedError, WorkerRefused) as error:
            raise InvalidInput("the model rejects the given data", where=where, why=error.why or str(error)) from error


def _place(
    program: Program, plan: buckets.BucketPlan, feeds: Sample
) -> tuple[dict[str, int], Mapping[str, int] | None]:
    """The sizes of the bucketed dimensions, and the smallest bucket that holds them."""
    sizes = Padding(plan.binds()[0]).sizes(program.signature, feeds)
    return sizes, next((b for b in plan.binds() if all(size <= b[dim] for dim, size in sizes.items())), None)


def _cooked(
    shop: Workshop, session: Session, program: Program, plan: buckets.BucketPlan
) -> tuple[RawProof | None, list[_Trial]]:
    """Requests that the program's own steps make of raw items; made-up ones that no bucket holds are left out."""
    if not program.pre and not program.post:
        return None, []
    raw = prove_pre(shop, program, program, plan.binds()[-1])
    trials, kept = [], []
    for number, feeds in enumerate(raw.samples):
        sizes, bind = _place(program, plan, feeds)
        given = number < raw.given_samples
        if bind is None and given:
            raise InvalidInput(
                "the raw items do not fit the buckets",
                where=f"{shop.options.raw_data}, batch {number}",
                why=f"it has {buckets.label(sizes)}, and the largest bucket is {buckets.label(plan.binds()[-1])}",
                fix="add a larger bucket, or let the step cut items with max_length",
            )
        if bind is not None:
            trials.append(_Trial(bind, sizes, feeds, session.run(feeds), given=given))
            kept.append(raw.counts[number])
    raw.counts = kept
    return raw.prove_post(tuple(t.wanted for t in trials)), trials


def _generated(
    session: Session,
    program: Program,
    plan: buckets.BucketPlan,
    least: Mapping[str, int],
    others: Mapping[str, int],
    seed: int,
) -> Iterator[_Trial]:
    for number, bind in enumerate(plan.binds()):
        floor = {dim: max(low, least[dim]) for dim, low in plan.floor(bind).items()}
        for index, sizes in enumerate(_lengths(floor, bind, random.Random(f"{seed} {number}"))):
            for feeds in inputs.generate(program, seed + index, 2, {**others, **sizes}):
                yield _Trial(bind, sizes, feeds, session.run(feeds))


def _lengths(floor: Mapping[str, int], bind: Mapping[str, int], source: random.Random) -> list[dict[str, int]]:
    """Different sizes that the bucket is for: the least, one short of it, others between, and the bucket's own."""
    found = [dict(floor), {dim: max(floor[dim], size - 1) for dim, size in bind.items()}]
    for _ in range(8 * LENGTHS):
        if len({tuple(f.items()) for f in found}) >= LENGTHS:
            break
        found.append({dim: source.randint(floor[dim], size) for dim, size in bind.items()})
    found.append(dict(bind))
    return [dict(pairs) for pairs in dict.fromkeys(tuple(f.items()) for f in found)]


def _pad_values(program: Program, bucketing: Bucketing) -> Iterator[tuple[dict[str, float], list[str]]]:
    """What inputs are padded with, and masks of which made-up values are to be flipped, in the order of trying.

    Zeros; then ones in masks, where a mask may say 1 where there is nothing.
    """
    chosen = dict(bucketing.pad)
    yield chosen, []
    masks = [w.spec.name for w in inputs.wanted(program) if w.role.kind is Kind.MASK and w.spec.name not in chosen]
    if masks:
        yield chosen | dict.fromkeys(masks, 1.0), masks


def _flipped(session: Session, trial: _Trial, masks: Sequence[str]) -> _Trial:
    """Made-up masks are mostly 1, 'look at it': of the other sense they are mostly 0. The user's data stay."""
    if trial.given:
        return trial
    feeds = {n: (1 - a).astype(a.dtype) if n in masks else a for n, a in trial.feeds.items()}
    return replace(trial, feeds=feeds, wanted=session.run(feeds))


def _padded_run(session: Session, program: Program, padding: Padding, trial: _Trial) -> Mapping[str, Any]:
    try:
        return session.run(padding.pad(program.signature, trial.feeds, trial.bind))
    except (FeedError, WorkerRefused) as error:
        raise PaddingChanges(
            "the model rejects padded inputs",
            where=f"{program.provenance.name}, {buckets.label(trial.sizes)} in a bucket of {buckets.label(trial.bind)}",
            why=error.why or str(error),
            fix="give --pad NAME=VALUE with a value that the model takes, or compile for exact sizes",
        ) from error


def _cuts(
    program: Program, plan: buckets.BucketPlan, trials: Sequence[_Trial], runs: Sequence[Mapping[str, Any]]
) -> dict[str, Cut]:
    """What of each output belongs to a request, as expressions of its sizes. Raises PaddingChanges."""
    cuts: dict[str, Cut] = {}
    for spec in program.signature.outputs:
        seen = [(t.sizes, t.wanted[spec.name]) for t in trials]
        seen += [(t.bind, run[spec.name]) for t, run in zip(trials, runs, strict=True)]
        shapes = [(sizes, value.shape) for sizes, value in seen if isinstance(value, np.ndarray)]
        if not shapes or len({len(shape) for _, shape in shapes}) > 1:
            continue  # no array, or not even a rank: the comparison says what that means
        own = spec.shape or (None,) * len(shapes[0][1])
        cut = {}
        for axis, dim in enumerate(own):
            text = _rule(dim, [d.dim for d in plan.dims], [(sizes, shape[axis]) for sizes, shape in shapes])
            if text is None:
                raise PaddingChanges(
                    "an output's size follows from the padded dimensions in a way that neoc cannot tell",
                    where=f"{program.provenance.name}, output {spec.name!r}, axis {axis}",
                    why="its sizes are " + ", ".join(f"{s[axis]} at {buckets.label(z)}" for z, s in shapes[:4]),
                    fix="compile for one size with --input, or give the model an output of a simpler size",
                )
            if text:
                cut[axis] = text
        cuts[spec.name] = cut
    return cuts


def _rule(dim: object, names: Sequence[str], seen: Sequence[tuple[Mapping[str, int], int]]) -> str | None:
    """The expression that gives every size seen: '' where it is the same for all, None where none is known."""
    if len({size for _, size in seen}) == 1:
        return ""
    tried = [dim] if isinstance(dim, str) else []
    for text in [*tried, *names, *_lines(names, seen)]:
        try:
            if all(evaluate(text, sizes) == size for sizes, size in seen):
                return text
        except ValueError:
            continue
    return None


def _lines(names: Sequence[str], seen: Sequence[tuple[Mapping[str, int], int]]) -> Iterator[str]:
    """'2*seq + 1' for each dimension, through the two points that are farthest apart."""
    for name in names:
        (low, y0), (high, y1) = min(seen, key=lambda s: s[0][name]), max(seen, key=lambda s: s[0][name])
        run = high[name] - low[name]
        if run and (y1 - y0) % run == 0 and name.isidentifier():
            slope = (y1 - y0) // run
            yield f"{slope}*{name} + {y0 - slope * low[name]}"


def _compared(
    shop: Workshop, program: Program, padding: Padding, trials: Sequence[_Trial], runs: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[OutputReport, ...]]:
    """How well each padded run, cut back, holds against the run as it is. Raises PaddingChanges for the first fault."""
    rtol = parity.tolerance("fp32", shop.options.tolerance)
    moved = dict.fromkeys((spec.name for spec in program.signature.outputs), True)
    for trial, run in zip(trials, runs, strict=True):
        reports = parity.compare_all([padding.cut(run, trial.sizes)], [trial.wanted], rtol, moved)
        for report in reports:
            if not report.ok:
                raise _changes(program, padding, trial, report)
        yield reports


def _changes(program: Program, padding: Padding, trial: _Trial, report: OutputReport) -> PaddingChanges:
    masks = [w.spec.name for w in inputs.wanted(program) if w.role.kind is Kind.MASK]
    said = f"it masks with {', '.join(masks)}, and that does not keep the padding out" if masks else "it takes no mask"
    values = ", ".join(f"{spec.name} with {padding.values.get(spec.name, 0):g}" for spec in program.signature.inputs)
    return PaddingChanges(
        "the model's outputs change when its inputs are padded, so buckets would compute something else",
        where=f"{program.provenance.name}, output {report.name!r}, {buckets.label(trial.sizes)} in a bucket of "
        f"{buckets.label(trial.bind)}",
        why=f"{report.why} ({said}; padded: {values})",
        fix="export the model with a mask that keeps padding out, try another value with --pad NAME=VALUE, or name "
        "every size that occurs with --bucket",
    )
