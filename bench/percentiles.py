"""Which percentiles a sample supports: MLPerf's early-stopping rule, with its numbers (64 for p90, 662 for p99).

A tail percentile may be named once n is so large that, were the true one higher than the bound, seeing at most one
sample above it would have a probability of at most 1 %. The bound is what MLPerf reports: discard as many of the
largest as that probability allows, take the largest of the rest. Source: mlcommons/inference_policies, appendix Early
Stopping Criterion (tolerance d = 0, confidence c = 0.99). Samples of one process are not quite independent: a reader
who needs the last word looks at how the processes differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

CONFIDENCE = 0.99


@dataclass(frozen=True)
class Tail:
    """`value`: the q-quantile of the sample. `bound`: at or above the true one with CONFIDENCE."""

    q: float
    value: float
    bound: float


def at_most(k: int, n: int, p: float) -> float:
    """P(Bin(n, p) <= k), summed in logarithms."""
    if p <= 0 or n <= k:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * math.fsum(math.exp(x - top) for x in logs))


@cache
def needed(q: float) -> int:
    """How many samples the percentile q > 0.5 takes; 1 for the median and below."""
    if q <= 0.5:
        return 1
    low, high = 2, 4
    while at_most(1, high, 1 - q) > 1 - CONFIDENCE:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if at_most(1, middle, 1 - q) > 1 - CONFIDENCE:
            low = middle + 1
        else:
            high = middle
    return low


def discards(n: int, q: float) -> int:
    """How many of n samples may lie above the bound: the largest t with P(Bin(n, 1 - q) <= t) <= 1 - c; -1 for none."""
    t = -1
    guess = max(0, int(n * (1 - q) - 3.2 * math.sqrt(max(n * (1 - q) * q, 1.0)) - 3))
    if guess and at_most(guess, n, 1 - q) <= 1 - CONFIDENCE:
        t = guess
    while at_most(t + 1, n, 1 - q) <= 1 - CONFIDENCE:
        t += 1
    return t


def tail(values: np.ndarray, q: float) -> Tail | None:
    """The percentile with its bound; None where the sample is too small to name it (`needed`)."""
    n = len(values)
    if n == 0 or n < needed(q):
        return None
    ordered = np.sort(values)
    value = float(np.quantile(ordered, q, method="higher"))
    return Tail(q, value, value if q <= 0.5 else float(ordered[n - 1 - discards(n, q)]))


def name(q: float) -> str:
    """p50, p99, p99.9"""
    return f"p{q * 100:g}"


def percentiles(ns: np.ndarray, wanted: tuple[float, ...]) -> dict[str, Any]:
    """{'percentiles_ns': {p99: value or None}, 'bounds_ns': ..., 'needed': {p99: 662} for those that are None}."""
    found = {name(q): tail(ns, q) for q in wanted}
    return {
        "percentiles_ns": {k: None if t is None else t.value for k, t in found.items()},
        "bounds_ns": {k: None if t is None else t.bound for k, t in found.items()},
        "needed": {name(q): needed(q) for q in wanted if found[name(q)] is None},
    }


def holds(ns: np.ndarray, q: float, bound_ns: float) -> bool | None:
    """Whether the q-quantile of what `ns` samples is at most the bound, at CONFIDENCE; None where it is open."""
    n, over = len(ns), int(np.count_nonzero(ns > bound_ns))
    if n >= needed(q) and at_most(over, n, 1 - q) <= 1 - CONFIDENCE:
        return True
    # So many above it would be as improbable if it held.
    if n and over and 1 - at_most(over - 1, n, 1 - q) <= 1 - CONFIDENCE:
        return False
    return None
