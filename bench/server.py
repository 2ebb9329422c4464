"""The server scenario: the highest rate of Poisson arrivals at which the tail latency holds its bound.

Bisection in the logarithm of the rate, LoadGen driving each probe. A probe is decided by the binomial bound
(percentiles.holds) where the sample allows it, else by its own quantile; each uses another schedule, so that the result
is no property of one. The last probes are longer: they are where the answer is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neoc.bench import percentiles
from neoc.bench.scenarios import Drive, Load

ROUNDS = 8
LAST = 3
"""probes at the end that get LAST_SHARE of the time"""
LAST_SHARE = 0.6
NEAR = 0.3
"""distance in log rate within which probes say something about the answer"""
TOLERANCE = 0.01
Probe = Callable[[float, float, int], tuple[np.ndarray, Mapping[str, Any]]]
"""(rate, seconds, number) -> latencies in ns, facts"""


@dataclass
class Found:
    """`rate`: requests per second; 0 where even the slowest did not hold. `ns`: latencies at that rate."""

    rate: float
    ns: np.ndarray
    seconds: float
    probes: list[dict[str, Any]] = field(default_factory=list)
    sure: bool = False
    """whether the binomial bound itself says that the bound holds at `rate`"""

    def as_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, "probes": self.probes, "sure": self.sure}


def search(drive: Drive, typical_ns: float, load: Load) -> Found:
    """With LoadGen in the subject's process."""

    def probe(rate: float, seconds: float, number: int) -> tuple[np.ndarray, Mapping[str, Any]]:
        options = {
            "scenario": "server",
            "rate": rate,
            "seconds": seconds,
            "expected_ns": typical_ns,
            "latency_ns": (load.latency_s or 1.0) * 1e9,
            "percentile": load.percentile,
            "concurrency": load.concurrency,
            "seed": load.seed + number,
        }
        facts, arrays = drive("neoc.bench.loadgen:run", options)
        return arrays["ns"], facts

    return find_rate(probe, typical_ns, load)


def find_rate(probe: Probe, typical_ns: float, load: Load) -> Found:
    """`load.stint_s` is what all probes take together. The most that one server can do bounds the search above."""
    bound = (load.latency_s or 1.0) * 1e9
    most = load.concurrency * 1e9 / typical_ns
    low, high = most / 64, most * 1.05
    found = Found(0.0, np.empty(0, np.int64), 0.0)
    if typical_ns > bound:
        return found
    early = load.stint_s * (1 - LAST_SHARE) / (ROUNDS - LAST)
    late = load.stint_s * LAST_SHARE / LAST
    for number in range(ROUNDS):
        rate = math.sqrt(low * high)
        ns, facts = probe(rate, early if number < ROUNDS - LAST else late, number)
        sure = percentiles.holds(ns, load.percentile, bound)
        holds = sure if sure is not None else bool(len(ns)) and float(np.quantile(ns, load.percentile)) <= bound
        # A short Poisson process has not quite the rate that it was asked for: what came is what was held.
        rate = float(facts.get("rate", rate))
        found.seconds += float(facts["seconds"])
        over = int(np.count_nonzero(ns > bound))
        found.probes.append(
            {"rate": round(rate, 3), "n": len(ns), "over": over, "holds": bool(holds), "sure": sure is not None}
        )
        if holds and rate < high:
            low, found.rate, found.ns, found.sure = max(low, rate), max(low, rate), ns, bool(sure)
        elif not holds and rate > low:
            high = rate
        if high / low < 1 + TOLERANCE:
            break
    if found.rate > 0:
        found.rate = smoothed(found.probes, found.rate, 1 - load.percentile)
    return found


def smoothed(probes: Sequence[Mapping[str, Any]], rate: float, share: float) -> float:
    """The rate at which a `share` of requests is over the bound, by a line through all probes near `rate`.

    Bisection believes its last probe; near the answer the logarithm of the share that is late is a line in that of the
    rate, and a weighted fit of it uses every request of the probes within a third of `rate`.
    """
    near = [p for p in probes if abs(math.log(p["rate"] / rate)) < NEAR and p["n"] >= 50]
    x = np.log([p["rate"] / rate for p in near])
    y = np.log([(p["over"] + 0.5) / (p["n"] + 1) for p in near])
    if len(near) < 3 or float(np.ptp(x)) < TOLERANCE:
        return rate
    weights = np.sqrt([p["over"] + 0.5 for p in near])
    slope, level = np.polyfit(x, y, 1, w=weights)
    if slope <= 1:  # lateness grows at least as fast as the load: this is noise
        return rate
    step = (math.log(share) - level) / slope
    return rate * math.exp(float(np.clip(step, x.min(), x.max())))


def md1_latencies(rate: float, service_s: float, requests: int, seed: int = 0) -> np.ndarray:
    """Seconds that each request takes in an M/D/1 queue: Lindley's recursion, W' = max(0, W + S - A)."""
    rng = np.random.default_rng(seed)
    steps = service_s - rng.exponential(1 / rate, requests - 1)
    walk = np.concatenate([[0.0], np.cumsum(steps)])
    waits: np.ndarray = walk - np.minimum.accumulate(walk)
    return waits + service_s


def md1_rate(service_s: float, bound_s: float, percentile: float, requests: int = 1_000_000, seed: int = 0) -> float:
    """The highest rate at which an M/D/1 queue holds the bound: what the search should find for such an engine."""
    low, high = 1e-3 / service_s, 0.9999 / service_s
    while high / low > 1.0005:
        rate = math.sqrt(low * high)
        holds = float(np.quantile(md1_latencies(rate, service_s, requests, seed), percentile)) <= bound_s
        low, high = (rate, high) if holds else (low, rate)
    return low
