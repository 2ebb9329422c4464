"""Single requests in, batches out: a bounded queue that runs a batch when it is full or its oldest request is due.

    submit / asubmit / submit_many
        -> Batcher: one queue per length bucket, FIFO          (what waits, what is due: no thread, no clock of its own)
        -> WorkerGroup: one thread for any number of batchers   (the batcher that has had the least time runs next)
        -> run_batch(items) -> one result an item
        -> futures: a result, or this request's own error

Under a `VirtualClock` there is no thread: `advance` runs what is due, at the exact virtual time at which it is due.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from neoc.kernels.errors import BatcherClosed, DeadlineExceeded, KernelInputError, KernelOptionError, QueueFull

RunBatch = Callable[[list[Any]], Sequence[Any]]


class _Sink(Protocol):
    """Where the outcome of a request goes."""

    def start(self) -> bool:
        """The request's batch begins; False where it was cancelled."""

    def settle(self, index: int, value: Any, error: BaseException | None, later: _Later) -> None: ...


class _Later:
    """Deliveries to event loops, one call a loop and batch."""

    def __init__(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any, Any]]] = {}

    def add(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], value: Any, error: Any) -> None:
        self._by_loop.setdefault(loop, []).append((future, value, error))

    def deliver(self) -> None:
        for loop, outcomes in self._by_loop.items():
            _call_loop(loop, _settle_futures, outcomes)


def _call_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        if not loop.is_closed():  # a closed loop has nobody left to tell
            raise


def _settle_futures(outcomes: list[tuple[asyncio.Future[Any], Any, Any]]) -> None:
    for future, value, error in outcomes:
        if not future.done():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


class _Request(Future):  # type: ignore[type-arg]
    """A concurrent future that is its own sink."""

    def start(self) -> bool:
        return self.set_running_or_notify_cancel()

    def settle(self, index: int, value: Any, error: BaseException | None, later: _Later) -> None:
        if error is None:
            self.set_result(value)
        else:
            self.set_exception(error)


class _LoopRequest:
    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def start(self) -> bool:
        return not self.future.done()

    def settle(self, index: int, value: Any, error: BaseException | None, later: _Later) -> None:
        later.add(self.loop, self.future, value, error)


class _Bulk(Future):  # type: ignore[type-arg]
    """One future for many requests: a list of results, an exception in the place of each that failed."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._results: list[Any] = [None] * count
        self._left = count

    def start(self) -> bool:
        return not self.cancelled()

    def settle(self, index: int, value: Any, error: BaseException | None, later: _Later) -> None:
        self._results[index] = value if error is None else error
        self._left -= 1
        if not self._left and self.set_running_or_notify_cancel():
            self.set_result(self._results)


# (item, sink, index within the sink, time of arrival, time after which it must not start)
_Entry = tuple[Any, _Sink, int, float, float]
_NEVER = float("inf")


class VirtualClock:
    """Time that moves only by `advance`. A WorkerGroup that is given one starts no thread."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self.groups: list[WorkerGroup] = []

    def __call__(self) -> float:
        """The time now, seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on, running each batch at the moment when it is due, in the order of those moments."""
        target = self._now + seconds
        while True:
            due = min((group.next_due() for group in self.groups), default=_NEVER)
            if due > target:
                break
            self._now = max(self._now, due)
            for group in self.groups:
                if group.next_due() <= self._now:
                    group.run_once()
        self._now = target


class WorkerGroup:
    """One thread that serves several batchers, so that models share a device fairly.

    The batcher with the least weighted run time goes first; one that was idle starts level with the least of the busy.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.wake = threading.Condition(self.lock)
        self._batchers: list[Batcher] = []
        self._idle = False
        self._virtual = isinstance(clock, VirtualClock)
        self._thread: threading.Thread | None = None
        if isinstance(clock, VirtualClock):
            clock.groups.append(self)

    def add(self, batcher: Batcher) -> None:
        with self.lock:
            self._batchers.append(batcher)
            if self._thread is None and not self._virtual:
                self._thread = threading.Thread(target=self._serve, name="neoc-batcher", daemon=True)
                self._thread.start()

    def notify(self) -> None:
        """Called with the lock held."""
        if self._idle:
            self._idle = False
            self.wake.notify()

    def next_due(self) -> float:
        """The earliest time at which a batch is due; infinity where nothing waits."""
        return min((b.due_time() for b in self._batchers), default=_NEVER)

    def run_once(self) -> None:
        """Run one due batch in the calling thread (virtual time only)."""
        with self.lock:
            chosen = self._choose(self.clock())
            entries = chosen.take() if chosen else []
        if chosen and entries:
            self._run(chosen, entries)

    def _choose(self, now: float) -> Batcher | None:
        ready = [b for b in self._batchers if b.due_time() <= now]
        return min(ready, key=lambda b: b.served) if ready else None

    def _run(self, batcher: Batcher, entries: list[_Entry]) -> None:
        started = self.clock()
        batcher.execute(entries, started)
        spent = self.clock() - started
        with self.lock:
            batcher.served += max(spent, 1e-9) / batcher.weight

    def _serve(self) -> None:
        while True:
            with self.lock:
                chosen = self._wait()
                if chosen is None:
                    self._thread = None
                    return
                entries = chosen.take()
            if entries:
                self._run(chosen, entries)

    def _wait(self) -> Batcher | None:
        """The next batcher to run; None when every one is closed and empty. Called with the lock held."""
        while True:
            self._batchers = [b for b in self._batchers if not b.finished()]
            if not self._batchers:
                return None
            now = self.clock()
            if chosen := self._choose(now):
                return chosen
            due = self.next_due()
            self._idle = True
            self.wake.wait(None if due == _NEVER else max(due - now, 0.0))
            self._idle = False


class Batcher:
    """Collects requests and runs them in batches.

    run_batch: gets 1..max_batch items in order of arrival and returns one result an item; a result that is an
        exception fails that request alone. If run_batch raises, the batch is halved and run again until the items that
        make it raise are alone; only those fail.
    max_delay_ms: the longest that the oldest request of a batch waits for company; 0: whatever waits goes at once.
    max_queue: requests that may wait; beyond it `submit` blocks (or raises QueueFull), `asubmit` awaits.
    length, buckets: group requests so that a batch holds items of one bucket only, buckets[k-1] < length(item) <=
    buckets[k].
        Order is kept within a bucket.
    group: a WorkerGroup shared with other batchers; weight: this one's share of it.
    """

    def __init__(
        self,
        run_batch: RunBatch,
        max_batch: int = 32,
        max_delay_ms: float = 2.0,
        max_queue: int = 4096,
        *,
        length: Callable[[Any], int] | None = None,
        buckets: Sequence[int] = (),
        group: WorkerGroup | None = None,
        weight: float = 1.0,
    ) -> None:
        if max_batch < 1 or max_queue < max_batch or max_delay_ms < 0 or weight <= 0:
            raise KernelOptionError(
                "the batcher's limits do not fit together",
                why=f"max_batch={max_batch}, max_queue={max_queue}, max_delay_ms={max_delay_ms}, weight={weight}",
                fix="1 <= max_batch <= max_queue, max_delay_ms >= 0, weight > 0",
            )
        if (length is None) != (not buckets) or list(buckets) != sorted(set(buckets)):
            raise KernelOptionError("length and rising buckets go together", why=f"buckets={list(buckets)}")
        self._run_batch = run_batch
        self._max_batch = max_batch
        self._max_delay = max_delay_ms / 1e3
        self._max_queue = max_queue
        self._length, self._limits = length, list(buckets)
        self._queues: list[deque[_Entry]] = [deque() for _ in range(len(buckets) or 1)]
        self._waiting = 0
        self._closed = False
        self._running = False
        self.weight = weight
        self.served = 0.0
        """weighted seconds of run time; owned by the group"""
        self._group = group or WorkerGroup()
        self._lock = self._group.lock
        self._room = threading.Condition(self._lock)
        self._room_waiters: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._blocked = 0
        self._group.add(self)

    # --- submission ---

    def submit(self, item: Any, *, wait: bool = True, deadline_ms: float | None = None) -> Future[Any]:
        """Queue one request. The future may be cancelled until its batch starts.

        wait: False raises QueueFull where the queue is full. deadline_ms: fail with DeadlineExceeded where the batch
        has not started within this time. Raises BatcherClosed.
        """
        request = _Request()
        queue = self._queue_of(item)
        with self._lock:
            self._make_room(1, wait)
            now = self._group.clock()
            queue.append((item, request, 0, now, _NEVER if deadline_ms is None else now + deadline_ms / 1e3))
            self._added(1, queue)
        return request

    def submit_many(self, items: Iterable[Any], *, wait: bool = True) -> Future[list[Any]]:
        """Queue many requests at the price of few: one future of all results, an exception in the place of each
        failure.

        They may take more places than are free; then this call blocks for the rest. Raises QueueFull (wait=False, when
        not all fit) and BatcherClosed.
        """
        entries = list(items)
        bulk = _Bulk(len(entries))
        if not entries:
            bulk.set_result([])
            return bulk
        queues = [self._queue_of(item) for item in entries] if self._length else None
        done = 0
        while done < len(entries):
            with self._lock:
                self._make_room(1 if wait else len(entries), wait)
                end = min(len(entries), done + self._max_queue - self._waiting)
                now = self._group.clock()
                if queues is None:
                    self._queues[0].extend((entries[i], bulk, i, now, _NEVER) for i in range(done, end))
                    self._added(end - done, self._queues[0])
                else:
                    for i in range(done, end):
                        queues[i].append((entries[i], bulk, i, now, _NEVER))
                        self._added(1, queues[i])
                done = end
        return bulk

    async def asubmit(self, item: Any, *, wait: bool = True, deadline_ms: float | None = None) -> Any:
        """Queue one request from an event loop and return its result. Cancelling the task cancels the request."""
        loop = asyncio.get_running_loop()
        queue = self._queue_of(item)
        request = _LoopRequest(loop)
        while not self._offer(queue, item, request, deadline_ms):
            if not wait:
                raise self._full()
            await self._room_for(loop)
        return await request.future

    def _offer(self, queue: deque[_Entry], item: Any, request: _LoopRequest, deadline_ms: float | None) -> bool:
        with self._lock:
            if self._closed:
                raise BatcherClosed("the batcher is closed")
            if self._waiting >= self._max_queue:
                return False
            now = self._group.clock()
            queue.append((item, request, 0, now, _NEVER if deadline_ms is None else now + deadline_ms / 1e3))
            self._added(1, queue)
            return True

    async def _room_for(self, loop: asyncio.AbstractEventLoop) -> None:
        waiter: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._waiting < self._max_queue or self._closed:
                return
            self._room_waiters.append((loop, waiter))
        await waiter

    def _queue_of(self, item: Any) -> deque[_Entry]:
        if self._length is None:
            return self._queues[0]
        length = self._length(item)
        place = bisect_left(self._limits, length)
        if place == len(self._limits):
            raise KernelInputError("an item is longer than the last bucket", why=f"{length} > {self._limits[-1]}")
        return self._queues[place]

    def _make_room(self, count: int, wait: bool) -> None:
        """Return when `count` places are free. Called with the lock held."""
        while not self._closed and self._waiting + count > self._max_queue:
            if not wait:
                raise self._full()
            self._blocked += 1
            try:
                self._room.wait()
            finally:
                self._blocked -= 1
        if self._closed:
            raise BatcherClosed("the batcher is closed")

    def _full(self) -> QueueFull:
        return QueueFull("the batcher's queue is full", why=f"{self._waiting} requests wait", fix="wait, or shed load")

    def _added(self, count: int, queue: deque[_Entry]) -> None:
        """Wake the worker where this changes what it waits for. Called with the lock held."""
        if not self._waiting:  # idle until now: no claim to time that it did not use
            busy = [b.served for b in self._group._batchers if b is not self and b._waiting]
            self.served = max(self.served, min(busy, default=self.served))
        self._waiting += count
        if len(queue) == count or len(queue) >= self._max_batch:
            self._group.notify()

    # --- what the group asks; called with the lock held ---

    def due_time(self) -> float:
        """When the next batch is due: -infinity for a full one, infinity for none."""
        best = _NEVER
        for queue in self._queues:
            if queue:
                full = self._closed or len(queue) >= self._max_batch
                best = min(best, float("-inf") if full else queue[0][3] + self._max_delay)
        return best

    def finished(self) -> bool:
        return self._closed and not self._waiting

    def take(self) -> list[_Entry]:
        """Remove the batch whose oldest request came first among the queues that are due."""
        now = self._group.clock()
        ready = [
            q
            for q in self._queues
            if q and (self._closed or len(q) >= self._max_batch or q[0][3] + self._max_delay <= now)
        ]
        if not ready:
            return []
        queue = min(ready, key=lambda q: q[0][3])
        entries = [queue.popleft() for _ in range(min(self._max_batch, len(queue)))]
        self._waiting -= len(entries)
        self._running = True
        if self._blocked:
            self._room.notify(len(entries))
        for _ in range(min(len(entries), len(self._room_waiters))):
            loop, waiter = self._room_waiters.popleft()
            _call_loop(loop, _settle_futures, [(waiter, None, None)])
        return entries

    # --- running ---

    def execute(self, entries: list[_Entry], now: float) -> None:
        """Run one batch in this thread and settle each of its requests exactly once."""
        later = _Later()
        alive = []
        for entry in entries:
            if not entry[1].start():
                if isinstance(entry[1], _Bulk):
                    entry[1].settle(entry[2], None, None, later)
            elif entry[4] < now:
                error = DeadlineExceeded("the request was not started in time", why=f"{now - entry[3]:.6f} s waited")
                entry[1].settle(entry[2], None, error, later)
            else:
                alive.append(entry)
        try:
            if alive:
                self._run_and_settle(alive, later)
        finally:
            later.deliver()
            with self._lock:
                self._running = False
                if self._closed and not self._waiting:
                    self._room.notify_all()

    def _run_and_settle(self, entries: list[_Entry], later: _Later) -> None:
        try:
            results = self._run_batch([entry[0] for entry in entries])
            if len(results) != len(entries):
                raise KernelInputError(
                    "run_batch must return one result an item", why=f"{len(results)} results for {len(entries)} items"
                )
        except BaseException as error:
            if len(entries) == 1 or not isinstance(error, Exception):
                for entry in entries:
                    entry[1].settle(entry[2], None, error, later)
                if not isinstance(error, Exception):
                    raise
                return
            middle = len(entries) // 2
            self._run_and_settle(entries[:middle], later)
            self._run_and_settle(entries[middle:], later)
            return
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, BaseException):
                entry[1].settle(entry[2], None, result, later)
            else:
                entry[1].settle(entry[2], result, None, later)

    # --- the end ---

    def close(self, drain: bool = True) -> None:
        """Take no more requests; run those that wait (drain) or fail them with BatcherClosed. Returns when all is
        settled.
        """
        with self._lock:
            self._closed = True
            dropped = []
            if not drain:
                dropped = list(itertools.chain.from_iterable(self._queues))
                for queue in self._queues:
                    queue.clear()
                self._waiting = 0
            waiters, self._room_waiters = list(self._room_waiters), deque()
            self._room.notify_all()
            self._group.wake.notify_all()
        for loop, waiter in waiters:
            _call_loop(loop, _settle_futures, [(waiter, None, None)])
        later = _Later()
        for _, sink, index, _, _ in dropped:
            if sink.start() or isinstance(sink, _Bulk):
                sink.settle(index, None, BatcherClosed("the batcher was closed before the request ran"), later)
        later.deliver()
        self._finish()

    def _finish(self) -> None:
        if isinstance(self._group.clock, VirtualClock):
            while self._waiting:
                self._group.run_once()
            return
        with self._lock:
            while (self._waiting or self._running) and threading.current_thread().name != "neoc-batcher":
                self._room.wait(0.1)

    def __enter__(self) -> Batcher:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
