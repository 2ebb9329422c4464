"""The child side of a worker: `python -P -m neoc.compile.worker_main`, started by worker.py.

What lies here readies the process and imports nothing heavy; worker_serve.py answers the messages.

    neoc -- pipes --> worker      reads messages on fd 0, answers on what was fd 1
                        |-- guardian    kills the whole process group once neoc or the worker is gone
                        `-- whatever the engine starts
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Never

OWN_GROUP = "--own-group"
"""argument: neoc made a process group for this worker, so that the guardian may kill the group"""
DIE_WITH_PARENT = "--die-with-parent"
"""argument: neoc's own thread lives as long as neoc does, so that the kernel may tell the worker of its end"""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_OOM_SCORE = "900"
"""of 1000: where memory runs out, the kernel takes a worker before it takes neoc"""


def main() -> None:
    reading, writing = take_over_pipes()
    prctl = process_control()
    guardian = start_guardian(reading, writing, prctl) if OWN_GROUP in sys.argv else None
    if DIE_WITH_PARENT in sys.argv:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # an engine's daemons stay in our tree, where neoc finds them
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)

    import faulthandler

    faulthandler.enable()
    from neoc.compile.worker_serve import serve

    farewell = serve(reading, writing)
    if guardian is not None and not farewell:
        # neoc is gone, and its end of the pipe was closed before the kernel told us so: what engines started goes too.
        os.killpg(0, signal.SIGKILL)
    if guardian is not None:
        os.kill(guardian, signal.SIGKILL)
        os.waitpid(guardian, 0)
    os._exit(0)  # an engine's own tear-down may crash, and nothing here needs it


def take_over_pipes() -> tuple[int, int]:
    """(reading, writing): private copies of fd 0 and fd 1, which then lead to nothing and to standard error.

    So an engine that prints, or reads standard input, cannot break the protocol; nor can the programs it starts.
    """
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return reading, writing


def start_guardian(
    reading: int, writing: int, prctl: Callable[[int, int], None], leave: Callable[[], None] | None = None
) -> int:
    """Fork the guardian, while this process is still small and has one thread; its process number.

    `leave`: what it does before it ends the group and itself.
    """
    worker = os.getpid()
    pid = os.fork()
    if pid == 0:
        for pipe in (0, 1, 2, writing):  # what stayed open here would hide the worker's end from neoc
            os.close(pipe)
        _guard(worker, reading, prctl, leave)
    return pid


def _guard(worker: int, reading: int, prctl: Callable[[int, int], None], leave: Callable[[], None] | None) -> Never:
    """Wait for the end of the worker (a signal) or of neoc (the pipe hangs up), then kill the group and itself."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            if leave is not None:
                leave()
        finally:
            os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == worker:
        poller = select.poll()
        # The hang-up is always reported; of a socket (sshd's) that is closed on one side only, the other half is asked.
        poller.register(reading, getattr(select, "POLLRDHUP", 0))
        poller.poll()
    end()
    os._exit(1)


def process_control() -> Callable[[int, int], None]:
    """prctl(2) with one argument; does nothing where there is none. Raises nothing: each use is a second safety."""
    if sys.platform != "linux":
        return lambda option, value: None
    import ctypes

    function = ctypes.CDLL(None).prctl

    def prctl(option: int, value: int) -> None:
        function(option, *(ctypes.c_ulong(word) for word in (value, 0, 0, 0)))

    return prctl


if __name__ == "__main__":
    main()
