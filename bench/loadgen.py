"""MLCommons' LoadGen as the driver, inside the subject's process: server, offline, multi-stream.

LoadGen decides when each query is due and counts its latency from then, whatever the engine was busy with: its trace
holds the scheduled time and the time to completion of every sample. With one request at a time the query is answered
inside LoadGen's own call, so that no queue or thread of neoc's stands between; LoadGen then issues what is overdue at
once. With more, as many threads take requests from one queue.
"""

from __future__ import annotations

import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench.drive import Call, Driven, calls_of
from neoc.compile.contracts import Feeds, Session
from neoc.compile.errors import MissingTool

SAMPLES_PER_QUERY = 8
"""of multi-stream, by MLPerf's rules"""
_SAMPLE = re.compile(
    rb'"name":"Sample","cat":"default","ph":"b".*?"ts":([\d.-]+),"args":\{"sample_seq":(\d+),"query_seq":(\d+),'
    rb'"sample_idx":\d+,"issue_start_ns":(\d+),"complete_ns":(\d+)'
)


def load_module() -> Any:
    """LoadGen's bindings. Raises MissingTool."""
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise MissingTool(
            "LoadGen is not installed",
            why=f"it drives multi-stream, server and offline: {error}",
            fix="pip install 'neoc[bench]'",
        ) from error
    return mlperf_loadgen


def run(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """One test. options: scenario, seconds, expected_ns (of one call), batch (samples a call answers), rate (server),
    concurrency, seed. Gives 'ns': latency of every query from its scheduled time, in schedule order."""
    loadgen = load_module()
    workers = min(int(options.get("concurrency", 1)), max(1, session.concurrency))
    calls = calls_of(call, feeds, options, session)
    batch = int(options.get("batch", 1))
    with (
        tempfile.TemporaryDirectory(prefix="neoc-loadgen-") as scratch,
        _Server(loadgen, calls, workers, batch) as server,
    ):
        settings = _settings(loadgen, options, batch)
        logs = _logs(loadgen, Path(scratch))
        sut = loadgen.ConstructSUT(server.issue, server.flush)
        library = loadgen.ConstructQSL(len(calls), len(calls), lambda samples: None, lambda samples: None)
        start = time.perf_counter()
        try:
            loadgen.StartTestWithLogSettings(sut, library, settings, logs)
        finally:
            seconds = time.perf_counter() - start
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(sut)
        if server.failed is not None:
            raise server.failed
        return _read(Path(scratch), options, seconds)


# ---- the system under test -----------------------------------------------------------------


class _Server:
    """Answers LoadGen's queries: in its own call, or by `workers` threads from one queue."""

    def __init__(self, loadgen: Any, calls: Sequence[Callable[[], object]], workers: int, batch: int) -> None:
        self._loadgen, self._calls, self._batch = loadgen, calls, batch
        self._queue: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers if workers > 1 else 0)]
        self.failed: BaseException | None = None

    def __enter__(self) -> _Server:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def issue(self, samples: list[Any]) -> None:
        if self._threads:
            for start in range(0, len(samples), self._batch):
                self._queue.put(samples[start : start + self._batch])
            return
        self._answer(samples)

    def flush(self) -> None:
        pass

    def _work(self) -> None:
        while (samples := self._queue.get()) is not None:
            self._answer(samples)

    def _answer(self, samples: list[Any]) -> None:
        """Call by call; a query is complete when its last call is. After a failure the rest is answered empty."""
        response = self._loadgen.QuerySampleResponse
        for start in range(0, len(samples), self._batch):
            group = samples[start : start + self._batch]
            if self.failed is None:
                try:
                    self._calls[group[0].index % len(self._calls)]()
                except BaseException as error:  # it may not pass through LoadGen's C++
                    self.failed = error
            self._loadgen.QuerySamplesComplete([response(sample.id, 0, 0) for sample in group])


# ---- LoadGen's settings and logs -----------------------------------------------------------


def _settings(loadgen: Any, options: Mapping[str, Any], batch: int) -> Any:
    settings = loadgen.TestSettings()
    seconds, expected = float(options["seconds"]), max(float(options["expected_ns"]), 1.0)
    name = options["scenario"]
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_query_count, settings.min_duration_ms = 1, round(seconds * 1000)
    settings.schedule_rng_seed = settings.sample_index_rng_seed = settings.qsl_rng_seed = 1 + int(
        options.get("seed", 0)
    )
    if name == "server":
        settings.scenario = loadgen.TestScenario.Server
        settings.server_target_qps = float(options["rate"])
        settings.server_target_latency_ns = round(float(options.get("latency_ns", 1e9)))
        settings.server_target_latency_percentile = float(options.get("percentile", 0.99))
    elif name == "offline":
        settings.scenario = loadgen.TestScenario.Offline
        settings.offline_expected_qps = batch * 1e9 / expected
        settings.min_query_count = batch
    else:
        settings.scenario = loadgen.TestScenario.MultiStream
        settings.multi_stream_samples_per_query = SAMPLES_PER_QUERY
        settings.multi_stream_expected_latency_ns = max(1, round(expected * -(-SAMPLES_PER_QUERY // batch)))
    return settings


def _logs(loadgen: Any, folder: Path) -> Any:
    logs, places = loadgen.LogSettings(), loadgen.LogOutputSettings()
    places.outdir, places.prefix, places.copy_summary_to_stdout = str(folder), "loadgen_", False
    logs.log_output, logs.enable_trace = places, True
    return logs


def _read(folder: Path, options: Mapping[str, Any], seconds: float) -> Driven:
    """Latencies of queries from LoadGen's trace; a query's is that of its last sample."""
    trace = (folder / "loadgen_trace.json").read_bytes()
    rows = np.array([[float(x) for x in match.groups()] for match in _SAMPLE.finditer(trace)])
    if not len(rows):
        return {"seconds": seconds, "samples": 0, "valid": False}, {"ns": np.empty(0, np.int64)}
    rows = rows[np.argsort(rows[:, 1])]
    scheduled, query, issued, done = rows[:, 0], rows[:, 2].astype(np.int64), rows[:, 3], rows[:, 4]
    span = float(np.max(scheduled * 1e3 + done) - np.min(scheduled * 1e3)) / 1e9
    latency = np.zeros(query.max() + 1, np.int64)
    np.maximum.at(latency, query, done.astype(np.int64))
    summary = (folder / "loadgen_summary.txt").read_text(errors="replace")
    facts = {
        "seconds": span,
        "samples": len(rows),
        "rate": (len(rows) - 1) / max((scheduled[-1] - scheduled[0]) / 1e6, 1e-9),
        "valid": "Result is : VALID" in summary,
        "loadgen": [line.strip(" *\n") for line in summary.splitlines() if "arly stopping" in line.lower()],
        "median_delay_ns": float(np.median(issued)),
    }
    if options["scenario"] == "offline":  # one query: what each sample waited says nothing
        latency = np.array([round(span * 1e9)], np.int64)
    return facts, {"ns": latency}
