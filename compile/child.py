"""A child process that can neither outlive nor outgrow its bounds, and speaks in messages (see wire.py).

It runs in a session, and so in a process group, of its own: what ends it ends whatever it started. Three things end it:
its owner (`end`, garbage collection, interpreter exit), a bound (time per exchange, resident memory of the whole tree),
and, where neoc itself is killed, the guardian that the child keeps beside it (worker_main.py).
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING

from neoc.compile import wire
from neoc.compile.errors import WorkerCrashed, WorkerFailure, WorkerOutOfMemory, WorkerTimeout
from neoc.compile.wire import Message, WireError

if TYPE_CHECKING:
    import psutil

LOG_BYTES = 64 << 10
PIPE_BYTES = 1 << 20
LAST_WORDS = 6, 160
"""how many of the last lines of standard error an error shows, and how much of each"""


class Watch(Enum):
    """How closely memory is watched: seconds between looks, and looks between scans of the whole tree."""

    IDLE = (0.25, 0)
    WORKING = (0.05, 1)
    RUNNING = (0.1, 4)
    TIMING = (0.25, 8)
    """rarely: a scan of /proc costs milliseconds, which a measurement should not feel"""


class ChildProcess:
    """Starts `command`; `exchange` sends one message and returns the answer.

    `doing` in the errors is what the caller was about, e.g. 'building with openvino'. After any failure the process is
    gone. Raises OSError where the command cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], memory_bytes: int) -> None:
        self.name = name
        scratch = Path(tempfile.mkdtemp(prefix="neoc-worker-"))
        try:
            # Engines litter: their working directory and temporary files go where they are swept up.
            process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=scratch,
                env={**environment, "TMPDIR": str(scratch)},
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._guard = MemoryGuard(process, memory_bytes)
        # Also called at interpreter exit and when the last reference goes; it must not hold `self`.
        self._finalizer = weakref.finalize(self, _end, process, self._guard, scratch)
        self._process = process
        self._read, self._write = process.stdout.fileno(), process.stdin.fileno()
        for pipe in (self._read, self._write):
            os.set_blocking(pipe, False)
            _widen(pipe)
        self.log = Log(process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._finalizer.alive

    def exchange(self, message: Message | None, timeout_s: float, doing: str, watch: Watch = Watch.WORKING) -> Message:
        """Send `message` (None: only listen) and return the answer.

        Raises WorkerTimeout, WorkerOutOfMemory, WorkerCrashed; WireError, before anything is sent, for a value that
        cannot be sent.
        """
        buffers = [] if message is None else wire.encode(message)
        deadline = time.monotonic() + timeout_s
        self._guard.watch(watch)
        try:
            self._send(buffers, deadline)
            answer = wire.decode(lambda view: self._fill(view, deadline))
            if watch is Watch.WORKING:
                self._guard.look(tree=True)  # who left its group is found only while the process lives
            return answer
        except (EOFError, BrokenPipeError, TimeoutError, WireError) as cause:
            failure = self._failure(cause, timeout_s, doing)
            self.end()
            failure.add_note(f"What the worker wrote:\n{self.log.text()}")
            raise failure from None
        except BaseException:  # a half-spoken exchange cannot be taken up again, KeyboardInterrupt included
            self.end()
            raise
        finally:
            self._guard.watch(Watch.IDLE)

    def leave(self, farewell: Message, patience_s: float) -> None:
        """Ask the process to exit, and end it in any case."""
        if not self.alive:
            return
        deadline = time.monotonic() + patience_s
        self._guard.look(tree=True)
        try:
            self._send(wire.encode(farewell), deadline)
            self._await_exit(deadline - time.monotonic())
        except (BrokenPipeError, TimeoutError, EOFError):
            pass  # it does not listen: the end that follows needs no consent
        finally:
            self.end()

    def kill(self) -> None:
        """Kill everything that is left of it, from any thread; an exchange in flight ends with WorkerCrashed."""
        if self.alive:
            kill_tree(self._process, self._guard.seen)

    def end(self) -> None:
        """Kill everything that is left of it, and wait until it is gone. Safe to call twice."""
        self._finalizer()

    # ---- bytes -----------------------------------------------------------------------------

    def _send(self, buffers: Sequence[memoryview], deadline: float) -> None:
        for buffer in buffers:
            sent = 0
            while sent < buffer.nbytes:
                try:
                    sent += os.write(self._write, buffer[sent : sent + PIPE_BYTES])
                except BlockingIOError:
                    self._wait(self._write, select.POLLOUT, deadline)

    def _fill(self, view: memoryview, deadline: float) -> None:
        got = 0
        while got < view.nbytes:
            try:
                count = os.readv(self._read, [view[got:]])
            except BlockingIOError:
                self._wait(self._read, select.POLLIN, deadline)
                continue
            if count == 0:
                raise EOFError
            got += count

    def _wait(self, pipe: int, event: int, deadline: float) -> None:
        """Until `pipe` is ready. Raises TimeoutError at the deadline, EOFError where the process has died.

        The end of the pipe alone would not do: a grandchild may hold its other end open.
        """
        poller = select.poll()
        poller.register(pipe, event)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if poller.poll(min(left, 1.0) * 1e3):
                return
            if _exited(self._process):
                raise EOFError

    def _await_exit(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while not _exited(self._process) and time.monotonic() < deadline:
            time.sleep(0.002)

    # ---- words -----------------------------------------------------------------------------

    def _failure(self, cause: Exception, timeout_s: float, doing: str) -> WorkerFailure:
        where = f"worker {self.name!r}"
        if isinstance(cause, EOFError | BrokenPipeError):
            self._await_exit(5.0)
        if self._guard.exceeded is not None:
            return WorkerOutOfMemory(
                f"{doing} needed too much memory",
                where=where,
                why=f"it held {_mebibytes(self._guard.exceeded)} resident where {_mebibytes(self._guard.limit)} "
                "is the bound",
                fix="allow more with NEOC_WORKER_MEMORY_BYTES",
            )
        if isinstance(cause, TimeoutError):
            return WorkerTimeout(
                f"{doing} did not finish within {timeout_s:g} s",
                where=where,
                why=self._last_words(),
                fix="allow more with --timeout or NEOC_WORKER_TIMEOUT_S",
            )
        if isinstance(cause, WireError):
            return WorkerCrashed(f"{doing} broke off", where=where, why=f"it answered no message: {cause}")
        died = _death(self._process)
        self.end()
        self.log.drained(1.0)
        words = self._last_words()
        return WorkerCrashed(f"{doing} crashed", where=where, why=f"{died}; {words}" if words else died)

    def _last_words(self) -> str:
        words = self.log.tail()
        return f"it last wrote: {words}" if words else ""


class Log:
    """The last of what comes through a pipe, read by a thread of its own so that the writer never blocks."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._bytes = stream, bytearray()
        self._thread = threading.Thread(target=self._read, name="neoc worker log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while data := os.read(self._stream.fileno(), 1 << 16):
                self._bytes += data
                del self._bytes[:-LOG_BYTES]

    def drained(self, patience_s: float) -> None:
        """Wait until the writer has closed its end."""
        self._thread.join(patience_s)

    def text(self) -> str:
        return bytes(self._bytes).decode(errors="replace")

    def tail(self) -> str:
        """The last lines in one, shortened; without the stack that Python's fault handler adds to a crash."""
        count, width = LAST_WORDS
        lines = [line.strip() for line in self.text().partition("Fatal Python error:")[0].splitlines()]
        return " | ".join(line[:width] for line in [line for line in lines if line][-count:])


class MemoryGuard:
    """Kills the process where the resident memory of its tree exceeds `limit` bytes, and notes how much it was.

    Pages that processes of the tree share count once for each: a bound that errs on the safe side.
    """

    def __init__(self, process: subprocess.Popen[bytes], limit: int) -> None:
        self.limit = limit
        self.exceeded: int | None = None
        self.seen: list[psutil.Process] = []
        """the descendants at the last scan"""
        self._process, self._level = process, Watch.IDLE
        self._wake, self._stopped = threading.Event(), False
        threading.Thread(target=self._run, name="neoc memory guard", daemon=True).start()

    def watch(self, level: Watch) -> None:
        before, self._level = self._level, level
        if level is Watch.WORKING and before is Watch.IDLE:
            self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        looks = 0
        while not self._stopped:
            self._wake.wait(self._level.value[0])
            self._wake.clear()
            per_scan = self._level.value[1]
            if self._stopped or not per_scan:
                continue
            looks += 1
            resident = self.look(tree=looks % per_scan == 0)
            if resident > self.limit:
                self.exceeded = resident
                kill_tree(self._process, self.seen)
                return

    def look(self, tree: bool) -> int:
        """Resident bytes of the process, or of it and all its descendants; 0 where it is gone."""
        import psutil

        try:
            top = psutil.Process(self._process.pid)
            if tree:
                self.seen = top.children(recursive=True)
        except psutil.NoSuchProcess:
            return 0
        total = 0
        for process in [top, *self.seen] if tree else [top]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_info().rss
        return total


def kill_tree(process: subprocess.Popen[bytes], seen: Sequence[psutil.Process]) -> None:
    """SIGKILL to the group, and to descendants that left it: those it has now, and those `seen` before.

    The process must not have been reaped; psutil.Process knows a number that was given to another one.
    """
    import psutil

    if process.returncode is not None:
        return
    strays = set(seen)
    with suppress(psutil.NoSuchProcess):
        strays.update(psutil.Process(process.pid).children(recursive=True))
    with suppress(ProcessLookupError, PermissionError):  # nothing left there, or only what another user owns
        os.killpg(process.pid, signal.SIGKILL)
    for stray in strays:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            stray.kill()


def _end(process: subprocess.Popen[bytes], guard: MemoryGuard, scratch: Path) -> None:
    guard.stop()
    kill_tree(process, guard.seen)
    with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: it dies as soon as that lets go
        process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    shutil.rmtree(scratch, ignore_errors=True)


def _exited(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has died, without reaping it: its number, and its group's, must stay its own until the end."""
    if process.returncode is not None:
        return True
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _death(process: subprocess.Popen[bytes]) -> str:
    """How a process that was not ended by neoc died."""
    try:
        facts = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return "it died"  # reaped elsewhere: this program ignores SIGCHLD
    if facts is None:
        return "it closed its pipe and did not exit"
    if facts.si_code == os.CLD_EXITED:
        return f"it exited with status {facts.si_status}"
    name = signal.Signals(facts.si_status).name
    if facts.si_status == signal.SIGKILL:
        return f"killed by {name}, which neoc did not send: probably the kernel's out-of-memory killer"
    return f"killed by {name}"


def _widen(pipe: int) -> None:
    import fcntl

    with suppress(OSError, AttributeError):  # over the user's quota, or no Linux: small pipes are only slower
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
