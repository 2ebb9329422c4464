"""Inputs for checks and measurements: the user's own from an .npz, or made up to look like what the model expects."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np

from neoc.compile.contracts import TensorSpec
from neoc.compile.errors import InvalidInput
from neoc.compile.input_roles import role
from neoc.compile.input_sizes import Wanted, ladder, shape_of
from neoc.compile.input_uses import Follower, guess_rank
from neoc.compile.input_values import make
from neoc.compile.npz import load_data, save_npz
from neoc.compile.program import Program, spec_of

__all__ = ["candidates", "generate", "load_data", "save_npz", "wanted"]

MOST_ELEMENTS = 1 << 26
"""of one generated feed: a model that needs more is given its data"""


def generate(
    program: Program, seed: int, count: int = 2, sizes: Mapping[str, int] | None = None
) -> list[dict[str, np.ndarray]]:
    """`count` made-up feeds that differ from each other; the same for the same seed.

    `sizes` sets open dimensions, by their names or as INPUT[AXIS] where they have none; the rest, and all of them by
    default, get the first of `candidates`. Raises InvalidInput where nothing can be made up.
    """
    inputs = wanted(program)
    chosen = {**next(_fitting(inputs)), **(sizes or {})}
    needed = _elements(inputs, chosen)
    if needed > MOST_ELEMENTS:
        raise _cannot(program, f"one feed would have {needed} elements, and {MOST_ELEMENTS} is the most")
    return [
        {w.spec.name: make(w.spec, w.role, chosen, _generator(seed, n, w.spec.name), n) for w in inputs}
        for n in range(count)
    ]


def candidates(program: Program, seed: int) -> Iterator[dict[str, int]]:
    """Complete size assignments for `generate`, the most plausible first; those too large to be made up are left out.

    They depend on the program alone; the seed is taken for the sake of makers that draw sizes too. At least one is
    given. Raises InvalidInput where nothing can be made up.
    """
    return _fitting(wanted(program))


def _fitting(inputs: Sequence[Wanted]) -> Iterator[dict[str, int]]:
    """The sizes of the ladder that can be made up; where none can, the first, so that the error names what it takes."""
    fit = (sizes for sizes in ladder(inputs) if _elements(inputs, sizes) <= MOST_ELEMENTS)
    first = next(fit, None)
    yield next(ladder(inputs), {}) if first is None else first
    yield from fit


def _generator(seed: int, sample: int, name: str) -> np.random.Generator:
    """A stream of its own for each input of each feed, so that one input's size does not change another's values."""
    return np.random.default_rng([seed, sample, zlib.crc32(name.encode())])


def wanted(program: Program) -> list[Wanted]:
    """The inputs that are fed, with what is known of each. Raises InvalidInput for types that cannot be made up."""
    follower = Follower(program)
    initializers = program.model.graph.initializers
    inputs: list[Wanted] = []
    for value in program.model.graph.inputs:
        if value.name in initializers:
            continue
        spec = spec_of(value)
        if spec.dtype in ("sequence", "optional", "undefined"):
            raise _cannot(
                program, f"input {spec.name!r} is of a type ({spec.dtype}) for which there are no made-up values"
            )
        uses = follower.uses(value)
        if spec.shape is None:
            spec = TensorSpec(spec.name, spec.dtype, (None,) * guess_rank(uses))
            uses = follower.uses(value, len(spec.shape or ()))
        inputs.append(Wanted(spec, role(spec, uses), uses))
    return inputs


def _elements(inputs: Sequence[Wanted], sizes: Mapping[str, int]) -> int:
    return sum(prod(shape_of(wanted.spec, sizes)) for wanted in inputs)


def _cannot(program: Program, why: str) -> InvalidInput:
    return InvalidInput(
        "no input can be made up for the model",
        where=program.provenance.name,
        why=why,
        fix="give --data FILE.npz with realistic inputs, or bind the open dimensions with --input",
    )
