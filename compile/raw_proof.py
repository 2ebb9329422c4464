"""Proof on raw items: kernels against their plain numpy twins before and behind the model, the model between them.

    raw items --twins--> feeds of the source --reference--> outputs --twins--> answers
    raw items --kernels--> feeds of the candidate --engine--> outputs --kernels--> answers

Each column is compared where it stands: the kernels' feeds with the twins' on the same items, the engine's outputs with
the reference's (parity.py), the kernels' answers with the twins' on the reference's outputs. Comparing only the ends
would let a near tie in a top-k fail a right model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile import raw_files
from neoc.compile.errors import FeedError, InvalidInput, ParityFailure
from neoc.compile.program import Program
from neoc.compile.raw import Items, RawPipeline
from neoc.compile.raw_items import made_up

if TYPE_CHECKING:
    from neoc.compile.build import Workshop

BATCHES = 2
"""of made-up items: two, so that outputs can be seen to move"""
FEW = 4
"""items of a made-up batch where the model leaves its size open"""


@dataclass
class RawProof:
    """Samples made of raw items, and how far each step's kernel was from its twin."""

    pipeline: RawPipeline
    samples: list[dict[str, np.ndarray]] = field(default_factory=list)
    """feeds of the source, by the twins"""
    fed: list[dict[str, np.ndarray]] = field(default_factory=list)
    """feeds of the candidates, by the kernels"""
    counts: list[int] = field(default_factory=list)
    """items of each sample"""
    given_samples: int = 0
    """how many of the samples, the first ones, are of the user's items"""
    errors: dict[str, tuple[float, float]] = field(default_factory=dict)
    """step -> (largest error, its bound)"""

    def as_dict(self) -> dict[str, Any]:
        return {
            "items": sum(self.counts),
            "given_items": sum(self.counts[: self.given_samples]),
            "steps": [
                {"step": step, "max_abs_error": float(f"{error:.1e}"), "bound": float(f"{bound:.1e}")}
                for step, (error, bound) in self.errors.items()
            ],
        }

    def prove_post(self, outputs: tuple[Mapping[str, Any], ...]) -> RawProof:
        """Kernels against twins on what the reference gave for the samples. Raises ParityFailure."""
        for out, count in zip(outputs, self.counts, strict=True):
            try:
                values = self.pipeline.own(out, count)
                for step, names, output in self.pipeline.post:
                    arrays = [np.ascontiguousarray(values[name]) for name in names]
                    got, want = step(*arrays), step.reference(*arrays)
                    self._note(f"{output} ({step.name})", distance(got, want), step.bound() * _scale(want))
                    values[output] = got
            except (FeedError, ValueError) as error:
                raise InvalidInput(
                    "the model's outputs do not fit postprocess",
                    where=getattr(error, "where", ""),
                    why=getattr(error, "why", "") or str(error),
                    fix="compare the steps with the outputs that `neoc inspect` shows",
                ) from error
        return self

    def _note(self, step: str, error: float, bound: float) -> None:
        if not error <= bound:
            raise ParityFailure(
                "a kernel departs from its plain twin",
                where=step,
                why=f"it is off by {error:.3g} where {bound:.3g} is allowed",
                fix="this is a bug in neoc: please report it with the items and the CPU",
            )
        before = self.errors.get(step, (0.0, 0.0))
        self.errors[step] = (max(before[0], error), max(before[1], bound))


def prove_pre(shop: Workshop, program: Program, served: Program, limits: Mapping[str, int] | None = None) -> RawProof:
    """Samples for the reference and the candidates, of the user's raw items and of made-up ones.

    program: as the source takes it; served: what the candidates were built from; limits: largest sizes of open
    dimensions. Raises ParityFailure where a kernel
    departs from its twin, InvalidInput where the user's items do not fit.
    """
    around = RawPipeline(*_described(served), served.signature)
    source = RawPipeline(*_described(program), program.signature)
    proof = RawProof(around)
    if not program.pre:
        return proof
    most = (limits or {}).get(str(around.batch_dim), around.usual())
    size = around.batch or min(FEW, most)
    if shop.options.raw_data is not None:
        shop.progress("raw items", str(shop.options.raw_data))
        given = raw_files.load(shop.options.raw_data, around.slots).items
        _add(
            proof, source, Items(given, [slot.kind for slot in around.slots]), around.batch or min(around.usual(), most)
        )
        proof.given_samples = len(proof.samples)
    made = made_up(around, program, shop.options.seed, size * BATCHES)
    _add(proof, source, Items(made, [slot.kind for slot in around.slots]), size)
    return proof


def _described(program: Program) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return [s.as_dict() for s in program.pre], [s.as_dict() for s in program.post]


def _add(proof: RawProof, source: RawPipeline, items: Items, size: int) -> None:
    for start in range(0, len(items), size):
        some = items.pick(list(range(start, min(start + size, len(items)))))
        try:
            fed = proof.pipeline.feeds(some)
            plain = proof.pipeline.feeds(some, reference=True)
            proof.samples.append(dict(source.filled(source.feeds(some, reference=True))))
        except FeedError as error:
            raise InvalidInput(
                "the raw items do not fit preprocess", where=error.where, why=error.why or error.what, fix=error.fix
            ) from error
        for step, names in proof.pipeline.pre:
            for name in names:
                proof._note(f"{name} ({step.name})", distance(fed[name], plain[name]), step.bound())
        proof.fed.append(dict(proof.pipeline.filled(fed)))
        proof.counts.append(len(some))


def distance(got: Any, want: Any) -> float:
    """The largest difference of floats; infinity where anything else differs: kinds, shapes, whole numbers, texts."""
    if isinstance(want, Mapping):
        if not isinstance(got, Mapping) or got.keys() != want.keys():
            return float("inf")
        return max((distance(got[key], want[key]) for key in want), default=0.0)
    if isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            return float("inf")
        return max((distance(a, b) for a, b in zip(got, want, strict=True)), default=0.0)
    if not isinstance(want, np.ndarray):
        return 0.0 if got == want else float("inf")
    a, b = np.asarray(got), want
    if a.shape != b.shape or (a.dtype.kind in "iub") != (b.dtype.kind in "iub"):
        return float("inf")
    if b.dtype.kind in "iub":
        return float(np.max(np.abs(a.astype(np.int64) - b.astype(np.int64)), initial=0))
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | np.isnan(b), 0.0, np.abs(a - b))
    return float(np.max(gap, initial=0.0))


def _scale(want: Any) -> float:
    if not isinstance(want, np.ndarray) or want.dtype.kind != "f":
        return 1.0
    finite = np.abs(want[np.isfinite(want)])
    return max(1.0, float(np.max(finite, initial=0.0)))
