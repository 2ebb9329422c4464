"""Samples that a source accepts, and what it answers: the user's own first, then made-up ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neoc.compile import frontends, inputs
from neoc.compile.contracts import Session
from neoc.compile.errors import FeedError, InvalidInput, WorkerRefused
from neoc.compile.program import Program

Sample = Mapping[str, np.ndarray]

OTHER_SHAPES = 4
"""assignments of other sizes that are tried, after the first that the source accepted"""


@dataclass
class Answers:
    samples: list[Sample] = field(default_factory=list)
    outputs: list[Mapping[str, Any]] = field(default_factory=list)
    alike: int = 0
    """how many, the first ones, can be compared with each other: the rest have other shapes"""

    def add(self, samples: Sequence[Sample], outputs: Sequence[Mapping[str, Any]]) -> None:
        self.samples += samples
        self.outputs += outputs


def answer(
    session: Session, program: Program, given: Sequence[Sample], seed: int | None, notes: list[str]
) -> Answers | None:
    """None where no generated sample is accepted and none was given; without a seed none is generated.

    A source that was converted is asked at a second assignment of its open dimensions too: a size that the conversion
    froze shows there and nowhere else. Raises InvalidInput where the source rejects the user's data.
    """
    found = Answers()
    for index, sample in enumerate(given):
        try:
            found.add([sample], [session.run(sample)])
        except (FeedError, WorkerRefused) as error:
            raise InvalidInput(
                "the model rejects the given data",
                where=f"sample {index}",
                why=error.why or str(error),
                fix="check names, shapes and values against `neoc inspect`",
            ) from error
    if seed is None:
        found.alike = len(found.samples)
        return found
    try:
        accepted = _first_accepted(session, _generated(program, seed), found, notes)
    except InvalidInput as error:  # nothing can be made up: the user's own data must do
        if not found.samples:
            raise
        notes.append(str(error))
        accepted = None
    found.alike = len(found.samples)
    if accepted and program.source is not None and program.source.converted is not None:
        others = list(_other_shapes(program, accepted, seed))
        if others and _first_accepted(session, iter(others), found, []) is None:
            notes.append(f"the source takes no other sizes of its open dimensions than {accepted}, of those tried")
    return found if found.samples else None


Group = tuple[Mapping[str, int], Sequence[Sample]]


def _first_accepted(
    session: Session, groups: Iterator[Group], found: Answers, notes: list[str]
) -> Mapping[str, int] | None:
    """The sizes of the first group that the source takes; its samples and answers are added to `found`."""
    for sizes, samples in groups:
        try:
            outputs = [session.run(sample) for sample in samples]
        except (FeedError, WorkerRefused) as error:
            notes.append(f"generated data was rejected: {error.why or error}")
            continue
        found.add(samples, outputs)
        return sizes
    return None


def _generated(program: Program, seed: int) -> Iterator[Group]:
    """A front end's own samples; else a ladder of generated pairs, the most plausible sizes first."""
    own = frontends.own_samples(program, seed)
    if own is not None:
        for samples in own:
            yield {}, samples
        return
    for sizes in inputs.candidates(program, seed):
        yield sizes, inputs.generate(program, seed, 2, sizes)


def _other_shapes(program: Program, accepted: Mapping[str, int], seed: int) -> Iterator[Group]:
    """One sample each at other sizes: every open dimension changed, the batch alone, then further rungs."""
    rungs = [sizes for sizes in inputs.candidates(program, seed) if sizes != accepted]
    tried = [{**accepted, **rung} for rung in rungs]
    changed = [
        {name: size + 1 if size == accepted.get(name) else size for name, size in sizes.items()}
        for sizes in tried or [dict(accepted)]
    ]
    fixed = {spec.shape for spec in program.signature.inputs if not spec.is_static}
    if not fixed:
        return
    grown = {name: 2 * size for name, size in accepted.items()}
    candidates = [*changed[:1], grown, *tried]
    for sizes in [c for i, c in enumerate(candidates) if c not in candidates[:i] and c != accepted][:OTHER_SHAPES]:
        try:
            yield sizes, inputs.generate(program, seed + 1, 1, sizes)
        except InvalidInput:
            continue
