"""The server scenario against an M/D/1 queue, and LoadGen as its driver."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

from neoc.bench import loadgen, server
from neoc.bench.scenarios import Load


class OneAtATime:
    concurrency = 1


def engine(seconds: float):  # type: ignore[no-untyped-def]
    def call(feeds: Mapping[str, Any]) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass

    def drive(name: str, options: Mapping[str, Any]):  # type: ignore[no-untyped-def]
        return loadgen.run(call, [{}], options, OneAtATime())  # type: ignore[arg-type]

    return drive


def test_the_simulated_queue_is_the_known_one() -> None:
    """Pollaczek and Khinchine: mean wait of M/D/1 = rho * S / (2 (1 - rho))."""
    for rho in (0.3, 0.6, 0.8):
        waits = server.md1_latencies(rho / 0.01, 0.01, 1_000_000) - 0.01
        assert waits.mean() == pytest.approx(rho * 0.01 / (2 * (1 - rho)), rel=0.03)


def test_the_search_finds_the_rate_of_a_queue_in_simulated_time() -> None:
    service, bound = 0.001, 0.005
    true = server.md1_rate(service, bound, 0.9, requests=300_000)

    def search(seed: int) -> float:
        def probe(rate: float, seconds: float, number: int) -> tuple[np.ndarray, dict[str, Any]]:
            rng = np.random.default_rng([seed, number])
            gaps = rng.exponential(1 / rate, max(2, rng.poisson(rate * seconds)))
            walk = np.concatenate([[0.0], np.cumsum(service - gaps)])
            ns = (walk - np.minimum.accumulate(walk) + service) * 1e9
            return ns, {"seconds": seconds, "rate": len(gaps) / gaps.sum()}

        return server.find_rate(probe, service * 1e9, Load(stint_s=60, latency_s=bound, percentile=0.9)).rate

    errors = [abs(search(seed) / true - 1) for seed in range(10)]
    assert max(errors) < 0.05


def test_an_engine_slower_than_the_bound_holds_no_rate() -> None:
    found = server.find_rate(lambda *_: pytest.fail("nothing to try"), 2e9, Load(latency_s=1.0))  # type: ignore[arg-type,return-value]
    assert found.rate == 0


@pytest.mark.needs("mlperf_loadgen")
def test_loadgen_drives_every_scenario_and_counts_from_the_scheduled_time() -> None:
    drive = engine(0.002)
    facts, arrays = drive("", {"scenario": "server", "rate": 1000.0, "seconds": 0.5, "expected_ns": 2e6})
    # Twice as many as it can serve: the queue grows, and the last request has waited for about half the test.
    assert facts["samples"] > 300
    assert arrays["ns"][-1] > 0.3 * facts["samples"] * 2e6
    assert arrays["ns"][-1] > 50 * arrays["ns"][0]
    facts, arrays = drive("", {"scenario": "multi-stream", "seconds": 0.3, "expected_ns": 2e6})
    assert min(arrays["ns"]) >= 8 * 2e6
    facts, arrays = drive("", {"scenario": "offline", "seconds": 0.3, "expected_ns": 2e6})
    assert 0 < facts["samples"] / facts["seconds"] <= 500
    # One call answers a batch of four.
    facts, _ = drive("", {"scenario": "offline", "seconds": 0.3, "expected_ns": 2e6, "batch": 4})
    assert facts["samples"] / facts["seconds"] > 600


@pytest.mark.needs("mlperf_loadgen")
def test_what_an_engine_raises_comes_out_of_loadgen() -> None:
    def broken(feeds: Mapping[str, Any]) -> None:
        raise RuntimeError("no memory")

    options = {"scenario": "offline", "seconds": 0.05, "expected_ns": 1e6}
    with pytest.raises(RuntimeError, match="no memory"):
        loadgen.run(broken, [{}], options, OneAtATime())  # type: ignore[arg-type]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Real-time priority where it is allowed: the test is of the harness, not of what else the machine does."""
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))
    try:
        yield
    finally:
        with suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.mark.slow
@pytest.mark.needs("mlperf_loadgen")
@pytest.mark.timeout(400)
def test_the_rate_found_with_loadgen_is_that_of_the_queue() -> None:
    """A synthetic engine of one millisecond, in real time: within 5 % of the M/D/1 simulation."""
    service, bound = 0.001, 0.005
    with undisturbed():
        found = server.search(engine(service), service * 1e9, Load(stint_s=60, latency_s=bound, percentile=0.9))
    true = server.md1_rate(service, bound, 0.9)
    print(f"server scenario: {found.rate:.1f}/s, M/D/1: {true:.1f}/s, {found.rate / true - 1:+.1%}; {found.probes}")
    assert found.rate == pytest.approx(true, rel=0.05)
