"""The kernels under pytest-benchmark, interleaved: before every round of ours each peer has run once and been timed.

make bench-kernels              run, and print the table of docs/kernels.md
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pytest

from neoc.bench.kernels.workloads import GROUPS, Workload

WORKLOADS = [w for group in GROUPS for w in group()]


@pytest.mark.parametrize("workload", WORKLOADS, ids=[w.name for w in WORKLOADS])
def test_workload(benchmark: Any, workload: Workload) -> None:
    """Results are compared first; then ours and the peers are timed in turn."""
    ours = workload.ours()
    for name, peer in workload.peers.items():
        result = peer()  # also the warm-up
        if name in workload.same:
            for a, b in zip(ours, result, strict=True) if isinstance(ours, tuple) else ((ours, result),):
                np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    del ours
    seconds: dict[str, list[float]] = {name: [] for name in workload.peers}

    def peers_first() -> None:
        for name, peer in workload.peers.items():
            started = time.perf_counter()
            peer()
            seconds[name].append(time.perf_counter() - started)

    benchmark.pedantic(workload.ours, setup=peers_first, rounds=workload.rounds, warmup_rounds=1)
    benchmark.extra_info.update(
        peers={name: statistics.median(times[1:]) for name, times in seconds.items()},
        per=workload.per,
        target=workload.target,
        limit_us=workload.limit_us,
    )
