"""Trace replay: requests at the times, and of the lengths, at which they really came.

    arrival_s,length
    0.000,12
    0.031,80

An open loop: a request is due at its recorded time whether or not the engine is free, and its latency counts from then.
"""

from __future__ import annotations

import csv
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench.drive import Call, Driven, calls_of
from neoc.compile.contracts import Feeds, Session, Signature
from neoc.compile.errors import InvalidInput

SPIN_S = 0.0005
"""the last of a wait is spun: sleeping is only so exact"""


def replay(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """options: arrivals (seconds), samples (number of the sample for each; empty: in turns), concurrency."""
    calls = calls_of(call, feeds, options, session)
    arrivals = np.asarray(options["arrivals"], float)
    which = options.get("samples") or [i % len(calls) for i in range(len(arrivals))]
    workers = min(int(options.get("concurrency", 1)), max(1, session.concurrency))
    ns = open_loop(arrivals, [calls[i] for i in which], workers)
    return {"seconds": float(arrivals[-1] - arrivals[0]) + float(ns[-1]) / 1e9, "samples": len(ns)}, {"ns": ns}


def open_loop(
    arrivals: np.ndarray,
    calls: Sequence[Callable[[], object]],
    workers: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> np.ndarray:
    """ns from each arrival's intended time to the end of its call. One worker: this thread, first come first served."""
    start = clock() - float(arrivals[0])
    latencies = np.zeros(len(arrivals), np.int64)

    def serve(index: int) -> None:
        calls[index]()
        latencies[index] = round((clock() - start - arrivals[index]) * 1e9)

    if workers == 1:
        for index, due in enumerate(arrivals):
            _wait(start + due, clock, sleep)
            serve(index)
        return latencies
    waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    failed: list[BaseException] = []

    def work() -> None:
        while (index := waiting.get()) is not None:
            try:
                serve(index)
            except BaseException as error:  # told to the caller, below
                failed.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for index, due in enumerate(arrivals):
        _wait(start + due, clock, sleep)
        waiting.put(index)
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return latencies


def _wait(until: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    while (left := until - clock()) > 0:
        if left > SPIN_S:
            sleep(left - SPIN_S)


# ---- the file ------------------------------------------------------------------------------


def read_trace(path: Path) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """(arrival seconds, lengths) of a CSV with the columns arrival_s and, if requests differ in size, length.

    Raises InvalidInput that names the line.
    """
    arrivals: list[float] = []
    lengths: list[int] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if "arrival_s" not in (rows.fieldnames or ()):
                raise _bad(path, 1, "it has no column arrival_s")
            for number, row in enumerate(rows, 2):
                try:
                    arrivals.append(float(row["arrival_s"]))
                    if row.get("length"):
                        lengths.append(int(row["length"]))
                except (TypeError, ValueError) as error:
                    raise _bad(path, number, str(error)) from error
                if not np.isfinite(arrivals[-1]) or (len(arrivals) > 1 and arrivals[-1] < arrivals[-2]):
                    raise _bad(path, number, "arrivals must not go back in time")
                if lengths and (len(lengths) != len(arrivals) or lengths[-1] < 1):
                    raise _bad(path, number, "either every request has a length above 0, or none has")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "the trace cannot be read", where=str(path), why=str(error), fix="name a CSV file"
        ) from error
    if not arrivals:
        raise _bad(path, 1, "it has no request")
    return tuple(arrivals), tuple(lengths)


def _bad(path: Path, line: int, why: str) -> InvalidInput:
    return InvalidInput(
        "the trace cannot be replayed", where=f"{path}:{line}", why=why, fix="columns: arrival_s (seconds), length"
    )


def samples_by_length(
    samples: Sequence[Mapping[str, np.ndarray]], lengths: Sequence[int], signature: Signature, most: int
) -> tuple[list[dict[str, np.ndarray]], tuple[int, ...]]:
    """One feed for each distinct length, and which one each request takes.

    A feed is the first sample, cut or repeated along the open dimension (the last one that every input with open
    dimensions has) to the length. More than `most` lengths are rounded up to `most` steps. Raises InvalidInput where
    the model has no open dimension to stretch.
    """
    if not lengths:
        return [dict(sample) for sample in samples], ()
    axes = {
        spec.name: max(i for i, dim in enumerate(spec.shape) if not isinstance(dim, int))
        for spec in signature.inputs
        if spec.shape is not None and not spec.is_static
    }
    if not axes:
        raise InvalidInput(
            "the trace has lengths, and the model takes one size",
            where=", ".join(str(spec) for spec in signature.inputs),
            fix="leave the column length out, or compile the model with an open dimension",
        )
    steps = np.unique(lengths)
    if len(steps) > most:
        steps = np.unique(np.quantile(steps, np.linspace(0, 1, most + 1)[1:], method="higher"))
    feeds = []
    for length in steps:
        feeds.append(
            {
                name: _stretched(array, axes[name], int(length)) if name in axes else np.asarray(array)
                for name, array in samples[0].items()
            }
        )
    return feeds, tuple(int(i) for i in np.searchsorted(steps, lengths))


def _stretched(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    times = -(-length // max(1, array.shape[axis]))
    repeated = np.concatenate([array] * times, axis=axis)
    taken: np.ndarray = np.ascontiguousarray(np.take(repeated, range(length), axis=axis))
    return taken
