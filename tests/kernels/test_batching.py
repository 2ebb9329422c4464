"""The batching core: exact under virtual time, whole under threads, fair between models."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import CancelledError

import pytest

from neoc.kernels.batching import Batcher, VirtualClock, WorkerGroup
from neoc.kernels.errors import BatcherClosed, DeadlineExceeded, KernelInputError, KernelOptionError, QueueFull


def virtual(run, **options):  # type: ignore[no-untyped-def]
    clock = VirtualClock()
    return clock, Batcher(run, group=WorkerGroup(clock), **options)


def test_deadlines_are_exact_under_the_virtual_clock() -> None:
    log: list[tuple[float, list[int]]] = []

    def run(items: list[int]) -> list[int]:
        log.append((clock(), list(items)))
        return items

    clock, batcher = virtual(run, max_batch=4, max_delay_ms=10)
    batcher.submit(1)
    clock.advance(0.004)
    batcher.submit(2)
    clock.advance(0.005999)
    assert log == []
    clock.advance(0.000001)
    assert log == [(pytest.approx(0.010), [1, 2])]
    for i in range(9):
        batcher.submit(i)
    clock.advance(0)  # two full batches at once, the rest waits for its time
    assert [items for _, items in log[1:]] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    clock.advance(1)
    assert log[3] == (pytest.approx(0.020), [8])


def test_a_request_past_its_own_deadline_is_not_run() -> None:
    ran: list[int] = []

    def run(items: list[int]) -> list[int]:
        ran.extend(items)
        return items

    clock, batcher = virtual(run, max_batch=8, max_delay_ms=10)
    late, fine = batcher.submit(1, deadline_ms=5), batcher.submit(2, deadline_ms=50)
    clock.advance(0.02)
    assert isinstance(late.exception(), DeadlineExceeded)
    assert fine.result() == 2
    assert ran == [2]


def test_buckets_keep_lengths_apart() -> None:
    batches: list[list[str]] = []

    def run(items: list[str]) -> list[str]:
        batches.append(items)
        return items

    clock, batcher = virtual(run, max_batch=2, max_delay_ms=1, length=len, buckets=(2, 5))
    for text in ("a", "bbb", "cc", "dddd", "e"):
        batcher.submit(text)
    clock.advance(1)
    assert sorted(batches) == [["a", "cc"], ["bbb", "dddd"], ["e"]]
    with pytest.raises(KernelInputError):
        batcher.submit("ffffff")


def test_one_bad_request_fails_alone_and_is_not_run_with_others_again_and_again() -> None:
    calls: list[int] = []

    def run(items: list[int]) -> list[int]:
        calls.append(len(items))
        if 13 in items:
            raise ValueError("unlucky")
        return [i * 2 for i in items]

    clock, batcher = virtual(run, max_batch=64, max_delay_ms=1)
    futures = [batcher.submit(i) for i in range(64)]
    clock.advance(1)
    assert [f.result() for i, f in enumerate(futures) if i != 13] == [2 * i for i in range(64) if i != 13]
    assert isinstance(futures[13].exception(), ValueError)
    assert len(calls) == 13  # halving: 1 + 2 * log2(64)


def test_a_result_that_is_an_exception_fails_its_request_and_a_wrong_count_fails_all() -> None:
    clock, batcher = virtual(lambda items: [KeyError(i) if i == 1 else i for i in items], max_batch=3, max_delay_ms=0)
    futures = [batcher.submit(i) for i in range(3)]
    clock.advance(0)
    assert futures[0].result() == 0
    assert isinstance(futures[1].exception(), KeyError)
    assert futures[2].result() == 2
    clock, batcher = virtual(lambda items: [], max_batch=1, max_delay_ms=0)
    future = batcher.submit(1)
    clock.advance(0)
    assert isinstance(future.exception(), KernelInputError)


def test_cancelled_requests_are_left_out() -> None:
    seen: list[int] = []

    def run(items: list[int]) -> list[int]:
        seen.extend(items)
        return items

    clock, batcher = virtual(run, max_batch=8, max_delay_ms=1)
    futures = [batcher.submit(i) for i in range(4)]
    assert futures[1].cancel()
    clock.advance(1)
    assert seen == [0, 2, 3]
    assert not futures[0].cancel()
    with pytest.raises(CancelledError):
        futures[1].result()


def test_the_queue_is_bounded() -> None:
    clock, batcher = virtual(lambda items: items, max_batch=2, max_queue=2, max_delay_ms=1)
    batcher.submit(1)
    batcher.submit(2)
    with pytest.raises(QueueFull):
        batcher.submit(3, wait=False)
    clock.advance(0)
    batcher.submit(3, wait=False)


def test_models_share_time_by_weight() -> None:
    clock = VirtualClock()
    group = WorkerGroup(clock)
    order: list[str] = []

    def model(name: str, seconds: float):  # type: ignore[no-untyped-def]
        def run(items: list[int]) -> list[int]:
            order.append(name)
            clock._now += seconds
            return items

        return run

    slow = Batcher(model("slow", 0.03), max_batch=1, max_delay_ms=0, group=group)
    fast = Batcher(model("fast", 0.01), max_batch=1, max_delay_ms=0, group=group)
    for i in range(40):
        slow.submit(i)
        fast.submit(i)
    for _ in range(40):
        group.run_once()
    assert 0.45 < 0.03 * order.count("slow") / (0.03 * order.count("slow") + 0.01 * order.count("fast")) < 0.55


def test_close_drains_or_fails_what_waits() -> None:
    _, batcher = virtual(lambda items: items, max_batch=8, max_delay_ms=1e6)
    future = batcher.submit(5)
    batcher.close()
    assert future.result(0) == 5
    with pytest.raises(BatcherClosed):
        batcher.submit(1)
    _, batcher = virtual(lambda items: items, max_batch=8, max_delay_ms=1e6)
    future, bulk = batcher.submit(5), batcher.submit_many([1, 2])
    batcher.close(drain=False)
    assert isinstance(future.exception(0), BatcherClosed)
    assert all(isinstance(e, BatcherClosed) for e in bulk.result(0))


def test_options_that_contradict() -> None:
    for options in ({"max_batch": 0}, {"max_batch": 9, "max_queue": 8}, {"max_delay_ms": -1}, {"buckets": (1,)}):
        with pytest.raises(KernelOptionError):
            Batcher(lambda items: items, **options)  # type: ignore[arg-type]


def test_bulk_submission_is_larger_than_the_queue_and_keeps_places() -> None:
    with Batcher(lambda items: [ValueError() if i == 77 else -i for i in items], max_batch=16, max_queue=32) as batcher:
        results = batcher.submit_many(range(1000)).result(10)
    assert isinstance(results[77], ValueError)
    assert [r for i, r in enumerate(results) if i != 77] == [-i for i in range(1000) if i != 77]


def test_asyncio_results_errors_cancellation_and_back_pressure() -> None:
    largest = 0

    def run(items: list[int]) -> list[object]:
        nonlocal largest
        largest = max(largest, len(items))
        return [ValueError(i) if i % 50 == 7 else i + 1 for i in items]

    async def main() -> None:
        batcher = Batcher(run, max_batch=16, max_delay_ms=1, max_queue=16)
        outcomes = await asyncio.gather(*(batcher.asubmit(i) for i in range(500)), return_exceptions=True)
        for i, outcome in enumerate(outcomes):
            assert isinstance(outcome, ValueError) if i % 50 == 7 else outcome == i + 1
        task = asyncio.ensure_future(batcher.asubmit(1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await batcher.asubmit(41) == 42
        await asyncio.to_thread(batcher.close)
        with pytest.raises(BatcherClosed):
            await batcher.asubmit(1)

    asyncio.run(asyncio.wait_for(main(), 30))
    assert 2 <= largest <= 16


def stress(total: int, clients: int = 8) -> None:
    """Random cancellations and poisoned requests: none lost, none run twice, order per client kept."""
    ran: list[list[tuple[int, int]]] = []

    def run(items: list[tuple[int, int]]) -> list[object]:
        ran.append(items)
        return [ValueError(item) if item[1] % 101 == 3 else item for item in items]

    batcher = Batcher(run, max_batch=64, max_delay_ms=1, max_queue=1024)
    problems: list[str] = []
    cancelled: list[set[tuple[int, int]]] = [set() for _ in range(clients)]

    def client(c: int) -> None:
        rng = random.Random(c)
        for start in range(0, total // clients, 50):
            futures = [((c, i), batcher.submit((c, i))) for i in range(start, min(start + 50, total // clients))]
            for item, future in futures:
                if rng.random() < 0.05 and future.cancel():
                    cancelled[c].add(item)
            for item, future in futures:
                if item in cancelled[c]:
                    continue
                error = future.exception(60)
                right = isinstance(error, ValueError) and error.args == (item,) if item[1] % 101 == 3 else error is None
                if not right or (error is None and future.result() != item):
                    problems.append(f"{item}: {error!r}")

    threads = [threading.Thread(target=client, args=(c,)) for c in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    batcher.close()
    assert not problems, problems[:5]
    seen = [item for batch in ran for item in batch]
    expected = {(c, i) for c in range(clients) for i in range(total // clients)} - set().union(*cancelled)
    assert len(seen) == len(set(seen))
    assert set(seen) == expected
    for c in range(clients):
        mine = [i for k, i in seen if k == c]
        assert mine == sorted(mine)
    assert sum(map(len, cancelled)) > total // 1000


def test_stress_of_100_000_requests() -> None:
    stress(100_000)


@pytest.mark.slow
def test_stress_of_1_000_000_requests() -> None:
    stress(1_000_000)


def test_a_lone_request_waits_no_longer_than_its_delay() -> None:
    with Batcher(lambda items: items, max_batch=100, max_delay_ms=20) as batcher:
        started = time.perf_counter()
        batcher.submit(1).result(5)
        assert 0.018 < time.perf_counter() - started < 1.0
