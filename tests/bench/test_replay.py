"""Trace replay: latency from the intended time, lengths into feeds, bad traces named, a real client agrees."""

from __future__ import annotations

import multiprocessing
import os
import time
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.bench import replay
from neoc.bench.measurement import BenchOptions, bench
from neoc.bench.subjects import Subject, open_subject
from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.errors import InvalidInput


class Clock:
    """A time in which only `work` and sleeping pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1e-9  # spinning must end
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0)

    def work(self, seconds: float):  # type: ignore[no-untyped-def]
        def call() -> None:
            self.now += seconds

        return call


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """No coordinated omission: a closed loop would report one slow request of ten, the client sees all of them."""
    monkeypatch.setattr(replay, "SPIN_S", 0.0)
    clock = Clock()
    arrivals = np.arange(10) * 0.010
    calls = [clock.work(0.100 if i == 0 else 0.001) for i in range(10)]
    ns = replay.open_loop(arrivals, calls, clock=clock, sleep=clock.sleep)
    wanted = [100 + i - 10 * i for i in range(10)]  # ms: what is ahead of it, and its own millisecond
    assert ns / 1e6 == pytest.approx(wanted, abs=0.01)
    alone = replay.open_loop(arrivals, [clock.work(0.001)] * 10, clock=clock, sleep=clock.sleep)
    assert alone / 1e6 == pytest.approx([1.0] * 10, abs=0.01)


def test_two_workers_take_from_one_queue() -> None:
    start = time.perf_counter()
    ns = replay.open_loop(np.zeros(4), [lambda: time.sleep(0.1)] * 4, workers=2)
    assert time.perf_counter() - start < 0.35
    assert sorted(ns // 10**7)[-1] >= 20

    def broken() -> None:
        raise RuntimeError("x")

    with pytest.raises(RuntimeError):
        replay.open_loop(np.zeros(2), [broken] * 2, workers=2)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("a,b\n1,2\n", 1, "no column arrival_s"),
        ("arrival_s\n", 1, "no request"),
        ("arrival_s\n0\nx\n", 3, "could not convert"),
        ("arrival_s\n1\n0.5\n", 3, "back in time"),
        ("arrival_s\n0\nnan\n", 3, "back in time"),
        ("arrival_s,length\n0,5\n1,\n", 3, "every request has a length"),
        ("arrival_s,length\n0,0\n", 2, "every request has a length"),
    ],
)
def test_a_bad_trace_is_named_by_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InvalidInput) as raised:
        replay.read_trace(path)
    assert f"t.csv:{line}" in raised.value.where
    assert why in raised.value.why


def test_lengths_stretch_the_open_dimension() -> None:
    signature = Signature((TensorSpec("ids", "int64", (1, "seq")), TensorSpec("k", "int64", (1,))), ())
    samples = [{"ids": np.array([[1, 2, 3]]), "k": np.array([7])}]
    feeds, which = replay.samples_by_length(samples, [2, 5, 2, 5], signature, 16)
    assert [f["ids"].tolist() for f in feeds] == [[[1, 2]], [[1, 2, 3, 1, 2]]]
    assert which == (0, 1, 0, 1)
    feeds, which = replay.samples_by_length(samples, list(range(1, 101)), signature, 4)
    assert [f["ids"].shape[1] for f in feeds] == [26, 51, 76, 100]
    assert all(feeds[w]["ids"].shape[1] >= n for w, n in zip(which, range(1, 101), strict=True))
    static = Signature((TensorSpec("x", "float32", (1, 4)),), ())
    with pytest.raises(InvalidInput, match="one size"):
        replay.samples_by_length([{"x": np.zeros((1, 4))}], [3], static, 16)


# ---- against a real client -----------------------------------------------------------------


def trace_file(path: Path, requests: int, rate: float) -> tuple[float, ...]:
    arrivals = np.cumsum(np.random.default_rng(3).exponential(1 / rate, requests)) - 0.0
    path.write_text("arrival_s\n" + "\n".join(f"{x:.6f}" for x in arrivals) + "\n")
    return replay.read_trace(path)[0]


def serve(path: Path, address: str, feeds: dict[str, Any]) -> None:
    """A server as an application has one: the session in this process, requests over a socket, one after the other."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for _ in range(20):
        session.run(None, feeds)
    with Listener(address, "AF_UNIX") as listener, listener.accept() as connection:
        while (number := connection.recv()) is not None:
            session.run(None, feeds)
            connection.send(number)


def drive(connection: Connection, arrivals: tuple[float, ...]) -> np.ndarray:
    """The client's own seconds from the intended time of each request to its answer."""
    import threading

    seconds = np.zeros(len(arrivals))
    start = time.perf_counter() + 0.1

    def collect() -> None:
        for _ in arrivals:
            number = connection.recv()
            seconds[number] = time.perf_counter() - start - arrivals[number]

    thread = threading.Thread(target=collect)
    thread.start()
    for number, due in enumerate(arrivals):
        replay._wait(start + due, time.perf_counter, time.sleep)
        connection.send(number)
    thread.join()
    connection.send(None)
    return seconds


def undisturbed(pid: int, policy: int = os.SCHED_FIFO, priority: int = 5) -> None:
    with suppress(OSError):
        os.sched_setscheduler(pid, policy, os.sched_param(priority))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_prediction_is_what_a_real_client_sees(zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """p50 and p99 of a replayed trace within 10 % of a client in another process that drives the same session.

    The two are taken in turns, three times, and compared by the median ratio: the machine is not the same twice. Both
    sides get real-time priority where it is allowed: the test is of the prediction, not of what else runs here.
    """
    name = "basic_pitch"
    path, feeds = zoo(name), zoo.samples(name)[0]
    arrivals = trace_file(tmp_path / "t.csv", 250, 22.0)
    ratios = []
    for turn in range(3):
        opened = open_subject(Subject("onnxruntime", path, "onnxruntime"), 1)
        try:
            undisturbed(opened.worker.facts["pid"])
            opened.session.drive("neoc.bench.drive:warm", [feeds], {})
            _, arrays = opened.session.drive("neoc.bench.replay:replay", [feeds], {"arrivals": arrivals})
        finally:
            opened.close()
        context, address = multiprocessing.get_context("spawn"), str(tmp_path / f"s{turn}")
        server = context.Process(target=serve, args=(path, address, feeds), daemon=True)
        server.start()
        until = time.time() + 60
        while not os.path.exists(address) and time.time() < until:
            time.sleep(0.05)
        undisturbed(server.pid or 0)
        undisturbed(0)
        try:
            with Client(address, "AF_UNIX") as connection:
                seen = drive(connection, arrivals)
        finally:
            undisturbed(0, os.SCHED_OTHER, 0)
        server.join(10)
        ratios.append([np.quantile(arrays["ns"] / 1e9, q) / np.quantile(seen, q) for q in (0.5, 0.99)])
    p50, p99 = np.median(ratios, axis=0)
    print(f"predicted / seen: p50 {p50:.3f}, p99 {p99:.3f}; of each turn {np.round(ratios, 3).tolist()}")
    assert p50 == pytest.approx(1, abs=0.1)
    assert p99 == pytest.approx(1, abs=0.1)


def test_bench_replays_a_trace_from_end_to_end(zoo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    name = "silero_vad_openvino_16k"
    trace_file(tmp_path / "t.csv", 200, 400.0)
    options = BenchOptions(
        trace=tmp_path / "t.csv", data=zoo.data(name), blocks=1, sets=1, max_load=1.0, footprint=False
    )
    found = bench([Subject("s", zoo(name), "onnxruntime")], options, lambda stage, detail: None)
    (result,) = found["results"]
    assert found["scenario"] == "trace"
    assert found["load"]["arrivals"] == 200
    assert result["n"] == 400  # two stints
    assert result["percentiles_ns"]["p90"] >= result["percentiles_ns"]["p50"] > 0
