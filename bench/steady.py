"""When is a process warm? When a change-point test no longer finds a change in what it does, not after N iterations.

The test is Pettitt's (A Non-Parametric Approach to the Change-Point Problem, Applied Statistics 28, 1979): it works on
ranks, so that one scheduler hiccup does not count as a change. Runs in the child and needs numpy alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

WINDOW = 20
"""batches that must pass without a change: with fewer, Pettitt's p-value cannot get small"""
ALPHA = 0.05
SMALLEST = 0.01
"""relative step below which a change is not one that warm-up could still be about"""
BATCH_S = 0.002
LIMIT_S = 5.0


@dataclass(frozen=True)
class Change:
    """The likeliest change: the first `at` values differ from the rest, with this p-value and relative step."""

    at: int
    p: float
    step: float


def change_point(series: np.ndarray) -> Change:
    """Pettitt's test of one change in the level of `series`; p is his approximation, good for p below 0.5."""
    n = len(series)
    ranks = np.empty(n)
    ordered, inverse, counts = np.unique(series, return_inverse=True, return_counts=True)
    if len(ordered) == 1:
        return Change(0, 1.0, 0.0)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]  # ties share their mean rank
    t = np.arange(1, n)
    u = 2 * np.cumsum(ranks)[:-1] - t * (n + 1)
    at = int(np.argmax(np.abs(u))) + 1
    p = min(1.0, 2.0 * float(np.exp(-6.0 * float(u[at - 1]) ** 2 / (n**3 + n**2))))
    before, after = float(np.median(series[:at])), float(np.median(series[at:]))
    return Change(at, p, abs(before - after) / max(min(before, after), 1e-12))


@dataclass(frozen=True)
class WarmUp:
    """What warming up took. `steady` False: it was still changing when the limit came, and the record says so."""

    iterations: int
    seconds: float
    steady: bool
    changes: int
    typical_ns: float
    """median of one iteration in the last window"""

    def as_dict(self) -> dict[str, Any]:
        return {
            "iterations": self.iterations,
            "seconds": round(self.seconds, 4),
            "steady": self.steady,
            "changes": self.changes,
            "typical_ns": self.typical_ns,
        }


def warm_up(
    timed: Callable[[int], np.ndarray], limit_s: float = LIMIT_S, clock: Callable[[], float] = time.perf_counter
) -> WarmUp:
    """Run until the last WINDOW batches hold no change (or `limit_s` is over). `timed(n)`: ns of each of n iterations.

    After a change everything before it is forgotten, so a process that gets faster in steps is followed to its last.
    """
    begin = clock()
    medians: list[float] = []
    iterations, size, changes = 0, 1, 0
    while True:
        batch = timed(size)
        iterations += size
        medians.append(float(np.median(batch)))
        size = max(1, round(BATCH_S * 1e9 / max(medians[-1], 1.0)))
        spent = clock() - begin
        if len(medians) >= WINDOW:
            found = change_point(np.array(medians))
            if found.p >= ALPHA or found.step < SMALLEST:
                return WarmUp(iterations, spent, True, changes, float(np.median(medians)))
            changes += 1
            medians = medians[found.at :]
        if spent > limit_s:
            return WarmUp(iterations, spent, False, changes, float(np.median(medians)))
