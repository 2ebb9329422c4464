"""Native code of the `onnx` package in a process of its own, because it aborts where it should refuse.

A convolution whose kernel is larger than its input gives onnx's shape inference a negative size, and a Slice of that
ends the process by an assertion. One child serves all passes; it is started at the first request, replaced when it
dies, bounded in time, and ends with its parent, whose end of the pipe closes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from neoc.compile.passes.native_child import ANSWER, REQUEST

TIME_BOUND_S = 300.0
"""of one request; the largest models take seconds"""

_CHILD = Path(__file__).with_name("native_child.py")


class NativeError(Exception):
    """What the tool answered instead of a model, or how its process was lost."""


class NativeTools:
    """Shape inference and version conversion of serialized models. May be used from several threads."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-P", str(_CHILD)), bound_s: float = TIME_BOUND_S):
        self._command = command
        self._bound_s = bound_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def infer(self, model: bytes) -> bytes:
        """The model with types and shapes. Raises NativeError."""
        return self._ask(b"i", 0, model)

    def convert(self, model: bytes, version: int) -> bytes:
        """The model at another version of the default domain. Raises NativeError."""
        return self._ask(b"c", version, model)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, job: bytes, version: int, model: bytes) -> bytes:
        with self._lock:
            process = self._running()
            timer = threading.Timer(self._bound_s, process.kill)
            timer.start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(REQUEST.pack(job, version, len(model)) + model)
                process.stdin.flush()
                verdict, length = ANSWER.unpack(_exactly(process.stdout, ANSWER.size))
                data = _exactly(process.stdout, length)
            except (BrokenPipeError, EOFError) as error:
                raise NativeError(self._post_mortem(late=not timer.is_alive())) from error
            except BaseException:  # interrupted half-way: what the pipe still holds belongs to nobody
                self._end()
                raise
            finally:
                timer.cancel()
        if verdict == b"n":
            raise NativeError(data.decode(errors="replace"))
        return data

    def _running(self) -> subprocess.Popen[bytes]:
        # After a fork the pipe is the parent's.
        if self._process is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _post_mortem(self, late: bool) -> str:
        assert self._process is not None
        status = self._process.wait()
        self._end()
        if late:
            return f"onnx did not answer within {self._bound_s:g} s"
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return f"onnx crashed on the model ({how})"

    def _end(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
        self._process = None


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


TOOLS = NativeTools()
"""the one that the passes share"""
