"""The load scenarios, by MLPerf's definitions: what a stint of each does, and what is said of it.

    single-stream   the next request leaves when the last is answered               p50, p90
    multi-stream    queries of eight samples, one after the other                    p50, p99
    server          requests by a Poisson process; the highest rate whose tail latency holds a bound       rate
    offline         everything is there at the start                                 samples per second
    trace           requests at the recorded times, of the recorded lengths          p50, p99

Source: mlcommons/inference_policies, inference_rules.adoc, and LoadGen, which drives all but the first and the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neoc.bench.subjects import Opened
from neoc.compile.contracts import Feeds
from neoc.compile.errors import UsageError
from neoc.compile.measure import BLOCK_S

Drive = Callable[[str, Mapping[str, Any]], tuple[dict[str, Any], dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Metric:
    """One figure of a scenario. `sign` turns its logarithm into one of time: rates count backwards."""

    name: str
    unit: str
    sign: int
    of: Callable[[Sequence[Stint]], float]


@dataclass(frozen=True)
class Stint:
    """One turn of one subject: latencies in ns (from the intended send time), or a rate, and the driver's facts."""

    ns: np.ndarray
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """What a user asks of a scenario. Times in seconds."""

    stint_s: float = BLOCK_S
    batch: int = 1
    """samples that one call answers"""
    latency_s: float | None = None
    """server: the bound"""
    percentile: float = 0.99
    """server: the share of requests that must hold the bound"""
    concurrency: int = 1
    seed: int = 0
    slow_down: float = 0.0
    arrivals: tuple[float, ...] = ()
    lengths: tuple[int, ...] = ()
    """trace: seconds from the start, and for each arrival the number of its sample"""


@dataclass(frozen=True)
class Scenario:
    name: str
    metrics: tuple[Metric, ...]
    stint: Callable[[Drive, float, Load], Stint]
    """(drive, typical ns of one call, load)"""
    short: bool
    """whether stints are short enough that a block holds many cycles"""
    percentiles: tuple[float, ...] = (0.5, 0.9, 0.99, 0.999)


# ---- metrics -------------------------------------------------------------------------------


def _quantile(q: float) -> Metric:
    def of(stints: Sequence[Stint]) -> float:
        return float(np.quantile(np.concatenate([s.ns for s in stints]), q))

    return Metric(f"p{q * 100:g}", "ns", 1, of)


def _throughput(stints: Sequence[Stint]) -> float:
    return float(sum(s.facts["samples"] for s in stints) / sum(s.seconds for s in stints))


def _rate(stints: Sequence[Stint]) -> float:
    """Geometric mean of what the searches found; 0 where one found nothing."""
    found = [float(s.facts["rate"]) for s in stints]
    return math.exp(sum(map(math.log, found)) / len(found)) if all(r > 0 for r in found) else 0.0


# ---- stints --------------------------------------------------------------------------------


def _single_stream(drive: Drive, typical_ns: float, load: Load) -> Stint:
    iterations = max(1, round(load.stint_s * 1e9 / max(typical_ns, 1.0)))
    facts, arrays = drive("neoc.bench.drive:single_stream", {"iterations": iterations, "slow_down": load.slow_down})
    return Stint(arrays["ns"], facts["wall_s"], facts)


def _by_loadgen(scenario: str) -> Callable[[Drive, float, Load], Stint]:
    def stint(drive: Drive, typical_ns: float, load: Load) -> Stint:
        options = {
            "scenario": scenario,
            "seconds": load.stint_s,
            "expected_ns": typical_ns,
            "batch": load.batch,
            "concurrency": load.concurrency,
            "seed": load.seed,
        }
        facts, arrays = drive("neoc.bench.loadgen:run", options)
        return Stint(arrays["ns"], facts["seconds"], facts)

    return stint


def _server(drive: Drive, typical_ns: float, load: Load) -> Stint:
    from neoc.bench.server import search

    found = search(drive, typical_ns, load)
    return Stint(found.ns, found.seconds, found.as_dict())


def _trace(drive: Drive, typical_ns: float, load: Load) -> Stint:
    options = {"arrivals": load.arrivals, "samples": load.lengths, "concurrency": load.concurrency}
    facts, arrays = drive("neoc.bench.replay:replay", options)
    return Stint(arrays["ns"], facts["seconds"], facts)


SCENARIOS = {
    s.name: s
    for s in (
        Scenario("single-stream", (_quantile(0.5), _quantile(0.9)), _single_stream, short=True),
        Scenario("multi-stream", (_quantile(0.5), _quantile(0.99)), _by_loadgen("multi-stream"), short=False),
        Scenario("server", (Metric("rate", "requests/s", -1, _rate),), _server, short=False),
        Scenario("offline", (Metric("throughput", "samples/s", -1, _throughput),), _by_loadgen("offline"), False, ()),
        Scenario("trace", (_quantile(0.5), _quantile(0.99)), _trace, short=False),
    )
}


def scenario(name: str) -> Scenario:
    """Raises UsageError for a name that is none."""
    if name not in SCENARIOS:
        raise UsageError(f"there is no scenario {name!r}", fix=f"one of: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def log_time(metric: Metric, value: float) -> float:
    """The metric's logarithm, turned so that more is slower; nan for a rate of nothing."""
    return metric.sign * math.log(value) if value > 0 else math.nan


def drive_of(opened: Opened, samples: Sequence[Feeds], also: Mapping[str, Any] | None = None) -> Drive:
    """Drivers run in the subject's process; `also`: options for all of them."""
    return lambda driver, options: opened.session.drive(driver, samples, {**(also or {}), **options})
