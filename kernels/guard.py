"""Arrays that lie against unreadable pages, so that an access out of bounds ends the process (Linux, macOS)."""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.jit import At

_LOCK = threading.Lock()
_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Guarded:
    """`array`: a copy of `source` that ends (or begins) at an unreadable page. Keep the object while it is used."""

    def __init__(self, source: NDArray[Any], at_end: bool) -> None:
        size = source.nbytes
        body = -(-max(size, 1) // _PAGE) * _PAGE
        self._map = mmap.mmap(-1, body + 2 * _PAGE)
        whole = np.frombuffer(self._map, np.uint8)
        base = whole.ctypes.data
        for page in (base, base + _PAGE + body):
            if _libc.mprotect(page, _PAGE, 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        start = _PAGE + (body - size if at_end else 0)
        flat = whole[start : start + size]
        self.array: NDArray[Any] = flat.view(source.dtype).reshape(source.shape)
        self.array[...] = source
        self._base, self._body = base, body

    def release(self) -> None:
        """Make the pages ordinary again, so that the mapping can be freed."""
        for page in (self._base, self._base + _PAGE + self._body):
            _libc.mprotect(page, _PAGE, mmap.PROT_READ | mmap.PROT_WRITE)


def call(run: Callable[[list[Any]], None], arguments: tuple[Any, ...], run_twice: bool) -> None:
    """Run on guarded copies of the C-contiguous array arguments, at the end and at the start; results are copied back.

    Arrays that share memory share one copy. Other arguments pass as they are. One call at a time: a copy that is
    written
    back must not undo what another thread wrote.
    """
    with _LOCK:
        _call(run, arguments, run_twice)


def _call(run: Callable[[list[Any]], None], arguments: tuple[Any, ...], run_twice: bool) -> None:
    offsets = [getattr(a, "offset", None) for a in arguments]  # jit.At
    arguments = tuple(a.array if o is not None else a for a, o in zip(arguments, offsets, strict=True))
    originals = [a.copy() if isinstance(a, np.ndarray) else None for a in arguments]
    for at_end in (True, False) if run_twice else (True,):
        copies: dict[tuple[int, int], Guarded] = {}
        values: list[Any] = []
        for argument, original in zip(arguments, originals, strict=True):
            if original is None or not argument.flags.c_contiguous:
                values.append(argument)
                continue
            key = (argument.ctypes.data, argument.nbytes)
            if key not in copies:
                copies[key] = Guarded(original, at_end)
            shared = copies[key].array
            values.append(
                shared if shared.dtype == argument.dtype else shared.view(argument.dtype).reshape(argument.shape)
            )
        run([v if o is None else At(v, o) for v, o in zip(values, offsets, strict=True)])
        for argument, value in zip(arguments, values, strict=True):
            if value is not argument and isinstance(argument, np.ndarray) and argument.flags.writeable:
                argument[...] = value
        for made in copies.values():
            made.release()
