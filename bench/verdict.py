"""Is B faster than A? Evidence by process runs, a measured floor, a second look, and a correction for many questions.

    blocks    one block = fresh processes of every subject, driven in turns A B B A
    value     a cycle (one A B B A) gives log(B's metric / A's); a block the median of its cycles
    effect    the median over blocks; its interval is the wider of two bootstraps: of cycles within their blocks, and of
              blocks. The first sees noise within a process, the second what differs from process to process
    floor     the same interval of A against a second A, measured in the same blocks: what cannot be told apart here
    verdict   only where the interval excludes 0, the effect is past the floor, and a second set of fresh blocks says so
              again; and where the family's false discovery rate (Benjamini and Hochberg 1995) allows it

Everything is in logarithms of time: positive is slower, for rates as well (their logarithm's sign is turned).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

CONFIDENCE = 0.95
FALSE_DISCOVERY_RATE = 0.05
MIN_BLOCKS = 6
"""below six, the bootstrap of a median cannot reach 95 %"""
RESAMPLES = 2000
RESOLVE = 0.05
"""what a user hopes to see; where the floor leaves too little room for it, the verdict says so"""
RESOLVABLE = 0.6
"""a floor of up to this share of a difference lets it be named nine times in ten (make selftest: 3 % for 5 %)"""

Cycles = Sequence[np.ndarray]
"""for each block the log values of its cycles"""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Effect:
    """log(new / base) in time: the median over blocks, its interval, and the two that the interval is the wider of."""

    median: float
    low: float
    high: float
    within: Interval
    between: Interval
    p: float
    """sign-flip permutation test over blocks, two-sided, exact up to twelve blocks"""
    blocks: int

    @property
    def ratio(self) -> float:
        return math.exp(self.median)

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, Any]:
        def ratios(pair: Interval) -> list[float | None]:
            return [round(math.exp(x), 5) if math.isfinite(x) else None for x in pair]

        return {
            "ratio": round(self.ratio, 5),
            "interval": ratios((self.low, self.high)),
            "within": ratios(self.within),
            "between": ratios(self.between),
            "p": round(self.p, 6),
            "blocks": self.blocks,
        }


def effect(base: Cycles, new: Cycles, *, seed: int = 0) -> Effect:
    """Of blocks that were run in turns: block i of `new` against block i of `base`, cycle by cycle.

    Cycles that only one of the two has are left out. Raises ValueError where nothing is left.
    """
    pairs = [
        np.asarray(b)[:m] - np.asarray(a)[:m] for a, b in zip(base, new, strict=True) if (m := min(len(a), len(b)))
    ]
    if not pairs:
        raise ValueError("no block has cycles of both")
    rng = np.random.default_rng(seed)
    blocks = np.array([np.median(cycles) for cycles in pairs])
    between = np.median(blocks[_draws(rng, len(blocks))], axis=1)
    within = np.median(np.stack([_medians(rng, cycles) for cycles in pairs], axis=1), axis=1)
    return _effect(float(np.median(blocks)), within, between, sign_flip(blocks), len(blocks))


def unpaired_effect(base: Cycles, new: Cycles, *, seed: int = 0) -> Effect:
    """Of blocks that were run apart, in two records: medians of each side, resampled independently."""
    if not base or not new:
        raise ValueError("a side has no blocks")
    rng = np.random.default_rng(seed)
    sides = [np.array([np.median(cycles) for cycles in side]) for side in (base, new)]
    drawn = [np.median(values[_draws(rng, len(values))], axis=1) for values in sides]
    inner = [np.median(np.stack([_medians(rng, cycles) for cycles in side], axis=1), axis=1) for side in (base, new)]
    middle = float(np.median(sides[1]) - np.median(sides[0]))
    p = _permutation(rng, sides[0], sides[1])
    return _effect(middle, inner[1] - inner[0], drawn[1] - drawn[0], p, min(len(base), len(new)))


def _effect(middle: float, within: np.ndarray, between: np.ndarray, p: float, blocks: int) -> Effect:
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    inner, outer = ((float(low), float(high)) for low, high in (np.quantile(d, tails) for d in (within, between)))
    if blocks < MIN_BLOCKS:
        return Effect(middle, -math.inf, math.inf, inner, outer, p, blocks)
    low, high = max(inner, outer, key=lambda pair: pair[1] - pair[0])
    return Effect(middle, low, high, inner, outer, p, blocks)


def _draws(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, n, (RESAMPLES, n))


def _medians(rng: np.random.Generator, cycles: np.ndarray) -> np.ndarray:
    values = np.asarray(cycles)
    drawn: np.ndarray = np.median(values[_draws(rng, len(values))], axis=1)
    return drawn


def sign_flip(values: np.ndarray) -> float:
    """P of a mean at least this far from 0 if every sign were a coin's: 2^n flips, or 4096 drawn ones past n = 12."""
    n = len(values)
    if n <= 12:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), (4095, n))
        signs = np.vstack([np.ones(n), signs])
    means = np.abs(signs @ values)
    return float(np.mean(means >= means[0] * (1 - 1e-12)))


def _permutation(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided permutation test of the difference of means, 4096 drawn arrangements, the observed one among them."""
    pooled, n = np.concatenate([a, b]), len(a)
    shuffled = rng.permuted(np.tile(pooled, (4095, 1)), axis=1)
    drawn = np.abs(shuffled[:, :n].mean(axis=1) - shuffled[:, n:].mean(axis=1))
    seen = abs(a.mean() - b.mean())
    return float((1 + np.count_nonzero(drawn >= seen * (1 - 1e-12))) / 4096)


def floor_of(twin: Effect) -> float:
    """What A against A shows, in log: the farther end of its interval. Infinite where too few blocks bound it."""
    return max(abs(twin.low), abs(twin.high))


@dataclass(frozen=True)
class Verdict:
    """`word`: faster, slower, no difference shown, void. `why` completes it. `effect` is of all blocks together."""

    word: str
    why: str
    effect: Effect | None
    floor: float
    confirmed: bool
    p_adjusted: float | None = None
    resolves: bool = True
    """False: the floor is too high for what was to be resolved, so that silence says nothing"""

    @property
    def text(self) -> str:
        return f"{self.word} ({self.why})" if self.why else self.word

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.word,
            "why": self.why,
            "effect": None if self.effect is None else self.effect.as_dict(),
            "floor": round(math.expm1(self.floor), 5) if math.isfinite(self.floor) else None,
            "confirmed": self.confirmed,
            "p_adjusted": None if self.p_adjusted is None else round(self.p_adjusted, 6),
            "resolves": self.resolves,
        }


NONE = "no difference shown"


def shows(found: Effect, floor: float) -> bool:
    """Whether one set of blocks alone points at a difference."""
    return found.excludes_zero and abs(found.median) > floor


def judge(sets: Sequence[Effect], together: Effect, floor: float, resolve: float = RESOLVE) -> Verdict:
    """The verdict from the effects of one or two sets of blocks, of all blocks `together`, and the A/A floor (log)."""
    resolves = floor <= math.log1p(RESOLVABLE * resolve)
    blind = "" if resolves else f"cannot resolve {resolve:.0%} here: A against A differs by up to {_percent(floor)}"
    if together.blocks < MIN_BLOCKS:
        why = f"{together.blocks} blocks bound nothing, {MIN_BLOCKS} do"
        return Verdict(NONE, why, together, floor, False, resolves=False)
    if not shows(sets[0], floor):
        return Verdict(NONE, blind, together, floor, False, resolves=resolves)
    seen = f"{_percent(abs(sets[0].median))} was seen once"
    if len(sets) == 1:
        return Verdict(
            NONE, f"{seen}; a second set of blocks must confirm it", together, floor, False, resolves=resolves
        )
    if not (shows(sets[1], floor) and sets[0].median * sets[1].median > 0):
        return Verdict(NONE, f"{seen} and not confirmed", together, floor, False, resolves=resolves)
    return Verdict("slower" if together.median > 0 else "faster", "", together, floor, True, resolves=resolves)


def _percent(log: float) -> str:
    return f"{math.expm1(log):.1%}" if math.isfinite(log) else "any amount"


def void(why: str) -> Verdict:
    """Too little is left after other load voided runs."""
    return Verdict("void", why, None, math.inf, False, resolves=False)


def adjust(family: Mapping[str, Verdict], rate: float = FALSE_DISCOVERY_RATE) -> dict[str, Verdict]:
    """Benjamini-Hochberg over the questions of one run: the step-up adjusted p of each; past `rate`, no verdict."""
    asked = [(name, verdict.effect.p) for name, verdict in family.items() if verdict.effect is not None]
    order = sorted(asked, key=lambda item: item[1])
    adjusted: dict[str, float] = {}
    best = 1.0
    for rank, (name, p) in reversed(list(enumerate(order, 1))):
        best = min(best, p * len(order) / rank)
        adjusted[name] = best
    return {name: _with_p(verdict, adjusted.get(name), rate) for name, verdict in family.items()}


def _with_p(verdict: Verdict, p: float | None, rate: float) -> Verdict:
    if p is None:
        return verdict
    if verdict.confirmed and p > rate:
        why = f"p = {p:.3g} among the questions of this run"
        return replace(verdict, word=NONE, why=why, confirmed=False, p_adjusted=p)
    return replace(verdict, p_adjusted=p)
