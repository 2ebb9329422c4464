"""What runs inside a subject's own process: the closed loop of single-stream, and warming up.

A driver is called with the engine's call, the samples, options and the session; it gives JSON-able facts and arrays
(`RemoteSession.drive`). Between the clock and the engine there is one function call and nothing else.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from neoc.bench.steady import LIMIT_S, warm_up
from neoc.compile.contracts import Feeds, Session

Call = Callable[[Feeds], object]
Driven = tuple[dict[str, Any], dict[str, np.ndarray]]
MOST_ITERATIONS = 1 << 20
"""of one stint: what a no-op gives in half a second, and eight megabytes of nanoseconds"""


def time_cycle(calls: Sequence[Callable[[], object]], iterations: int) -> np.ndarray:
    """Nanoseconds of each of `iterations` calls, taken in turns from `calls`; the cycle collector is off meanwhile."""
    times = np.empty(iterations, np.int64)
    clock = time.perf_counter_ns
    turns = itertools.cycle(calls)
    was_on = gc.isenabled()
    gc.disable()
    try:
        for i in range(iterations):
            call = next(turns)
            start = clock()
            call()
            times[i] = clock() - start
    finally:
        if was_on:
            gc.enable()
    return times


def calls_of(
    call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session | None = None
) -> list[Callable[[], object]]:
    """One call a sample, or with `raw` in the options one a group of raw items (pipeline.py).

    With `slow_down` 0.05 each takes 5 % longer than it would (self-test only).
    """
    factor = float(options.get("slow_down", 0.0))
    made: list[Callable[[], object]] = [partial(call, feed) for feed in feeds]
    if options.get("raw") and session is not None:
        from neoc.bench.pipeline import raw_calls

        made = raw_calls(session, options["raw"], int(options["raw_batch"]))
    return [partial(slowed, one, factor) for one in made] if factor else made


def slowed(call: Callable[[], object], factor: float) -> object:
    """`call`, then a spin for `factor` times what it took: a slow-down of known size."""
    clock = time.perf_counter_ns
    start = clock()
    result = call()
    now = clock()
    until = now + factor * (now - start)
    while clock() < until:
        pass
    return result


def first(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """The first inference, alone: engines finish their set-up in it."""
    times = time_cycle(calls_of(call, feeds, options, session), 1)
    return {"first_s": float(times[0]) / 1e9}, {}


def warm(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """Until the change-point test finds no change in the last window (steady.py)."""
    calls = calls_of(call, feeds, options, session)
    # A batch is a whole number of turns: samples of different cost would look like changes.
    found = warm_up(lambda n: _turns(calls, n), float(options.get("limit_s", LIMIT_S)))
    return found.as_dict(), {}


def _turns(calls: Sequence[Callable[[], object]], iterations: int) -> np.ndarray:
    turns = max(1, round(iterations / len(calls)))
    times = time_cycle(calls, turns * len(calls))
    return np.repeat(times.reshape(turns, len(calls)).mean(axis=1), 1)


def single_stream(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """MLPerf's single-stream: the next request leaves when the last one is answered. options: iterations."""
    iterations = min(int(options["iterations"]), MOST_ITERATIONS)
    calls = calls_of(call, feeds, options, session)
    busy, start = time.process_time(), time.perf_counter()
    times = time_cycle(calls, iterations)
    wall, cpu = time.perf_counter() - start, time.process_time() - busy
    return {"wall_s": wall, "cpu_s": cpu}, {"ns": times}
