"""Between the clock and the engine there is next to nothing."""

from __future__ import annotations

import time

import numpy as np

from neoc.bench import drive
from neoc.compile.contracts import Session, TensorSpec


class Nothing(Session):
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def run(self, feeds, outputs=None):  # type: ignore[no-untyped-def]
        return {}

    def close(self) -> None:
        pass


def test_the_harness_costs_at_most_a_microsecond_beyond_the_clock() -> None:
    """An inference that does nothing: what is recorded of it is the clock and the harness."""
    clock = time.perf_counter_ns
    session = Nothing()

    def once() -> float:
        _, arrays = drive.single_stream(lambda feeds: None, [{}], {"iterations": 20_000}, session)
        pairs = np.empty(20_000, np.int64)
        for i in range(len(pairs)):
            start = clock()
            pairs[i] = clock() - start
        return float(np.median(arrays["ns"]) - np.median(pairs))

    assert min(once() for _ in range(5)) < 1000


def test_samples_take_turns_and_a_slow_down_is_of_the_size_asked() -> None:
    seen: list[int] = []

    def call(feeds):  # type: ignore[no-untyped-def]
        seen.append(feeds["x"])
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass

    def median(slow: float) -> float:
        _, arrays = drive.single_stream(call, [{"x": 1}, {"x": 2}], {"iterations": 40, "slow_down": slow}, Nothing())
        return float(np.min(arrays["ns"]))

    plain, slowed = median(0.0), median(0.5)
    assert seen[:4] == [1, 2, 1, 2]
    assert 1.4 < slowed / plain < 1.7
