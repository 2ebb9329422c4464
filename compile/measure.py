"""The interleaved timer, and what may be said of its samples.

Entrants take turns in short blocks, in an order that rotates and reverses from round to round, so that what drifts or
disturbs meets all of them alike:

    round 0   A B C        round 2   B C A
    round 1   C B A        round 3   A C B

The unit of evidence is the round, not the iteration: iterations of one block share their luck. Two entrants are
compared by the log ratio of their block medians, round by round, and a bootstrap over rounds gives the interval.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neoc.compile.errors import NeocError
from neoc.compile.machine import fingerprint as fingerprint

Timed = Callable[[int], np.ndarray]
"""n -> the nanoseconds that each of n iterations took"""

BLOCK_S = 0.03
"""seconds of one block: thousands of timer ticks, a few scheduler slices, many blocks in a short budget"""
CONFIDENCE = 0.95
MIN_ROUNDS = 6
"""the range of n medians holds the true one with probability 1 - 2^(1-n): over 95 % from six on"""
RESAMPLES = 2000
WARM_BLOCKS = 3
WARM_SHARE = 0.2
"""of the budget, at most, for warming up; the first call of each entrant comes in any case"""


def time_calls(call: Callable[[], object], iterations: int) -> np.ndarray:
    """Nanoseconds of each of `iterations` calls, int64; what it returns is dropped inside the time, as a caller would.

    The cycle collector is off meanwhile. The clock itself costs about 0.05 us a call, which is not subtracted.
    """
    times = np.empty(iterations, np.int64)
    clock = time.perf_counter_ns
    was_on = gc.isenabled()
    gc.disable()
    try:
        for i in range(iterations):
            start = clock()
            call()
            times[i] = clock() - start
    finally:
        if was_on:
            gc.enable()
    return times


# ---- samples -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Percentile:
    """ns at or below which a share `q` of the iterations stays, with an upper bound for the true figure."""

    q: float
    ns: float
    high: float


@dataclass
class Samples:
    """What was measured of one entrant: one array of nanoseconds for each round that it took part in."""

    name: str
    blocks: dict[int, np.ndarray] = field(default_factory=dict)
    lost: str = ""
    """why it could not go on; empty for one that did"""

    @property
    def ns(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.int64), *self.blocks.values()])

    @property
    def iterations(self) -> int:
        return sum(len(block) for block in self.blocks.values())

    @property
    def median_ns(self) -> float:
        return float(np.median(self.ns)) if self.blocks else math.nan

    def block_medians(self, rounds: Sequence[int] | None = None) -> np.ndarray:
        return np.array([np.median(self.blocks[r]) for r in (self.blocks if rounds is None else rounds)])

    @property
    def spread(self) -> float:
        """How much the rounds differ among themselves: interquartile range of the block medians over their median."""
        if len(self.blocks) < 2:
            return 0.0
        low, middle, high = np.quantile(self.block_medians(), [0.25, 0.5, 0.75])
        return float((high - low) / middle) if middle else 0.0

    def percentile(self, q: float, confidence: float = CONFIDENCE) -> Percentile | None:
        return percentile(self.ns, q, confidence)

    def as_dict(self) -> dict[str, Any]:
        """Median, and p90 and p99 where the sample supports them, in ns."""
        tails = {f"p{q * 100:.0f}": self.percentile(q) for q in (0.9, 0.99)}
        return {
            "median_ns": None if not self.blocks else self.median_ns,
            "iterations": self.iterations,
            "rounds": len(self.blocks),
            "spread": round(self.spread, 4),
            **{f"{name}_ns": tail.ns for name, tail in tails.items() if tail is not None},
            **({"lost": self.lost} if self.lost else {}),
        }


def percentile(ns: np.ndarray, q: float, confidence: float = CONFIDENCE) -> Percentile | None:
    """The q-quantile and its upper confidence bound; None where the sample is too small to bound it.

    The k-th smallest of n independent samples is at or above the true quantile with probability P(Bin(n, q) <= k - 1)
    (David and Nagaraja, Order Statistics, 7.1; the same tail bound stops MLPerf's loads early). The bound is the
    smallest such k that reaches `confidence`. There is one where 1 - q^n >= confidence: 29 samples for p90 at 95 %, 299
    for p99. Iterations of one process are not quite independent, so the bound is, if anything, a little low.
    """
    n = len(ns)
    if n == 0 or q**n > 1 - confidence:
        return None
    ordered = np.sort(ns)
    k = int(np.searchsorted(_binomial_cdf(n, q), confidence)) + 1
    return Percentile(q, float(np.quantile(ordered, q, method="higher")), float(ordered[min(k, n) - 1]))


def _binomial_cdf(n: int, q: float) -> np.ndarray:
    """P(Bin(n, q) <= k) for k = 0..n-1."""
    k = np.arange(1, n)
    choose = np.concatenate([[0.0], np.cumsum(np.log((n - k + 1) / k))])
    at = np.arange(n)
    cdf: np.ndarray = np.cumsum(np.exp(choose + at * math.log(q) + (n - at) * math.log1p(-q)))
    return cdf


# ---- comparison ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """How many times as long as another an entrant takes: above 1 is slower. Low and high bound it with `confidence`.

    Fewer than six rounds bound nothing: 0 and infinity.
    """

    median: float
    low: float
    high: float
    rounds: int
    confidence: float = CONFIDENCE

    def as_dict(self) -> dict[str, Any]:
        bounded = math.isfinite(self.high)
        return {
            "ratio": round(self.median, 5),
            "low": round(self.low, 5) if bounded else None,
            "high": round(self.high, 5) if bounded else None,
            "rounds": self.rounds,
            "confidence": self.confidence,
        }


def log_ratios(a: Samples, b: Samples) -> np.ndarray:
    """log(median of a's block / median of b's block) for every round that both took part in."""
    rounds = sorted(a.blocks.keys() & b.blocks.keys())
    if not rounds:
        return np.empty(0)
    above, below = (np.maximum(samples.block_medians(rounds), 1.0) for samples in (a, b))
    logs: np.ndarray = np.log(above / below)
    return logs


def ratio(a: Samples, b: Samples, *, confidence: float = CONFIDENCE, seed: int = 0) -> Ratio:
    """a's time over b's: the median over rounds of the ratio of block medians, with its bootstrap interval.

    Pairing by round takes out what both met: drift, frequency, other load. The interval is the percentile bootstrap of
    the median (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3), rounds drawn with replacement; `seed`
    makes it repeatable. Raises ValueError where no round has both.
    """
    logs = log_ratios(a, b)
    n = len(logs)
    if n == 0:
        raise ValueError(f"{a.name} and {b.name} never ran in the same round")
    middle = math.exp(float(np.median(logs)))
    if n < MIN_ROUNDS:
        return Ratio(middle, 0.0, math.inf, n, confidence)
    drawn = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    medians = np.median(logs[drawn], axis=1)
    low, high = np.exp(np.quantile(medians, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return Ratio(middle, float(low), float(high), n, confidence)


# ---- the timer -----------------------------------------------------------------------------

ORDERS = ("rotate+reverse", "rotate", "fixed")


def ordered(names: Sequence[str], index: int, order: str = "rotate+reverse") -> list[str]:
    """The order of round `index`; two entrants go A B, B A, B A, A B and so on."""
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(ORDERS)}, not {order!r}")
    if order == "fixed" or not names:
        return list(names)
    paired = order == "rotate+reverse"
    start = (index // 2 if paired else index) % len(names)
    turned = [*names[start:], *names[:start]]
    return turned[::-1] if paired and index % 2 else turned


class Timer:
    """Runs entrants in blocks. One that raises NeocError is out from then on, with the reason in its `lost`.

    `clock` gives seconds; tests put a virtual one.
    """

    def __init__(
        self, entrants: Mapping[str, Timed], block_s: float = BLOCK_S, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.samples = {name: Samples(name) for name in entrants}
        self._entrants, self._block_s, self._clock = entrants, block_s, clock
        self._typical_s: dict[str, float] = {}
        self._wall_s: dict[str, float] = {}
        """per iteration, what lies between and around the timed calls included"""
        self._rounds = 0

    @property
    def alive(self) -> list[str]:
        return [name for name, samples in self.samples.items() if not samples.lost]

    def warm(self, budget_s: float) -> None:
        """Each entrant until it has run for three blocks, within its share of `budget_s`, but once in any case."""
        for name in list(self.samples):
            start = self._clock()
            iterations = 1
            while not self.samples[name].lost:
                block = self._run(name, iterations)
                spent = self._clock() - start
                if block is None or spent >= min(WARM_BLOCKS * self._block_s, budget_s / len(self.samples)):
                    break
                iterations = min(2 * iterations, self._per_block(name))

    def predicted_s(self, names: Sequence[str]) -> float:
        """What a round of `names` will take."""
        return sum(self._per_block(name) * self._wall_s[name] for name in names)

    def round(self, names: Sequence[str], order: str = "rotate+reverse") -> None:
        """One block of each. A round in which one was lost counts for the others."""
        index, self._rounds = self._rounds, self._rounds + 1
        for name in ordered(names, index, order):
            if self.samples[name].lost:
                continue
            block = self._run(name, self._per_block(name))
            if block is not None:
                self.samples[name].blocks[index] = block

    def _run(self, name: str, iterations: int) -> np.ndarray | None:
        start = self._clock()
        try:
            block = np.asarray(self._entrants[name](iterations))
        except NeocError as error:
            self.samples[name].lost = str(error)
            return None
        self._wall_s[name] = (self._clock() - start) / iterations
        self._typical_s[name] = max(float(np.median(block)), 1.0) / 1e9
        return block

    def _per_block(self, name: str) -> int:
        return max(1, round(self._block_s / self._typical_s[name]))


def interleave(
    entrants: Mapping[str, Timed],
    *,
    budget_s: float,
    block_s: float = BLOCK_S,
    rounds: int | None = None,
    order: str = "rotate+reverse",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Samples]:
    """Every entrant measured in turns, for `rounds` rounds, or as many as fit into `budget_s` seconds.

    The budget includes warming up and is kept, except that the first call of each and one round always come.
    """
    start = clock()
    timer = Timer(entrants, block_s, clock)
    timer.warm(WARM_SHARE * budget_s)
    done = 0
    while timer.alive and (rounds is None or done < rounds):
        if done and clock() - start + timer.predicted_s(timer.alive) > budget_s:
            break
        timer.round(timer.alive, order)
        done += 1
    return timer.samples


# ---- noise ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """Shares of all CPU time in an interval: spent on other programs, and stolen by the hypervisor."""

    others: float
    steal: float

    def as_dict(self) -> dict[str, float]:
        return {"others": round(self.others, 3), "steal": round(self.steal, 3)}


class LoadWatch:
    """What else the machine did between the making of this and `read()`."""

    def __init__(self) -> None:
        self._before = _cpu_seconds()

    def read(self) -> Load:
        total, busy, own, steal = (after - before for after, before in zip(_cpu_seconds(), self._before, strict=True))
        if total <= 0:
            return Load(0.0, 0.0)
        return Load(max(0.0, busy - own) / total, max(0.0, steal) / total)


def _cpu_seconds() -> tuple[float, float, float, float]:
    """(all, busy, this process and its descendants, stolen) CPU seconds since boot."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    steal = getattr(times, "steal", 0.0)
    busy = times.user + times.nice + times.system + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    me = psutil.Process()
    own = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            own += sum(process.cpu_times()[:4])  # user and system, of its own and of children that it has reaped
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return idle + steal + busy, busy, own, steal


def noise_note(samples: Mapping[str, Samples], load: Load | None = None) -> str:
    """What a reader should know before trusting the figures; empty where nothing stands out."""
    notes = []
    spreads = {name: s.spread for name, s in samples.items() if len(s.blocks) >= MIN_ROUNDS}
    if spreads:
        name = max(spreads, key=lambda n: spreads[n])
        if spreads[name] > 0.05:
            notes.append(f"rounds of {name} differ by {spreads[name]:.0%}")
    if load is not None and load.others > 0.1:
        notes.append(f"other programs took {load.others:.0%} of the CPU time")
    if load is not None and load.steal > 0.01:
        notes.append(f"the hypervisor took {load.steal:.0%} of the CPU time")
    return "; ".join(notes)
