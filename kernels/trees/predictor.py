"""An ensemble that is ready to be called: code, tables, scratch memory, threads."""

from __future__ import annotations

import ctypes
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit
from neoc.kernels.errors import KernelCompileError, KernelInputError
from neoc.kernels.trees import code
from neoc.kernels.trees.layout import HEADER, MAGIC

_addressof, _from_buffer = ctypes.addressof, ctypes.c_char.from_buffer
_PACK = struct.Struct("5Q").pack
_COSTS_A_THREAD = 100_000
"""rows x trees below which a second thread costs more than it saves"""


_Scratch = tuple[int, NDArray[np.uint8], int, NDArray[Any]]
"""(address, memory; address, one row of margins): what one call works in"""


class Predictor:
    """Margins of rows. Safe to call from many threads; no thread is made by a call."""

    def __init__(
        self,
        image: bytes | memoryview,
        tables: NDArray[np.uint8] | memoryview,
        row: type,
        total: type,
        rows: int,
        threads: int = 1,
    ) -> None:
        """image, tables: as `code.kernel_image` and `layout.layout_of` made them. row, total: dtypes of rows and sums.

        rows: of a block (`Isa.rows`). Raises KernelCompileError for damaged bytes.
        """
        self._entry, self._area = code.load(image)
        self.entry_at: int = ctypes.cast(self._entry, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
        """address of the kernel, for code that calls it"""
        raw = np.frombuffer(tables, np.uint8)
        head = raw[: 8 * len(HEADER)].view(np.int64).tolist() if len(raw) >= 8 * len(HEADER) else [0] * len(HEADER)
        self.header = dict(zip(HEADER, head, strict=True))
        if self.header["magic"] != MAGIC or self.header["bytes"] != len(raw):
            raise KernelCompileError("the tables of a tree kernel are damaged", fix="compile the model again")
        self._tables = _aligned(len(raw))
        self._tables[:] = raw
        self._tables_at = _address(self._tables)
        self._block, self._threads, self._guard = rows, threads, jit.guarded()
        self.features, self.targets = self.header["features"], self.header["targets"]
        self.row, self.total = np.dtype(row), np.dtype(total)
        self._scratch: list[_Scratch] = [self._fresh() for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads - 1, "neoc-trees") if threads > 1 else None
        if self._pool is not None:  # threads start now, not in a call
            for future in [self._pool.submit(_nothing) for _ in range(threads - 1)]:
                future.result()

    def _fresh(self) -> _Scratch:
        made, one = _aligned(self.header["scratch_bytes"]), np.zeros((1, self.targets), self.total)
        return _address(made), made, _address(one), one

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """rows [n, features], C-contiguous -> margins [n, targets]."""
        if (rows.dtype is not self.row and rows.dtype != self.row) or rows.ndim != 2 or rows.shape[1] != self.features:
            why = f"{rows.dtype}{list(rows.shape)}, not {self.row}[n, {self.features}]"
            raise KernelInputError("rows do not fit the trees", why=why)
        if not rows.flags.c_contiguous:
            rows = np.ascontiguousarray(rows)
        if len(rows) == 1 and not self._guard:
            return self._single(_quick_address(rows))
        out = np.empty((len(rows), self.targets), self.total)
        if self._guard:
            self._guarded(rows, out)
        elif len(rows) <= self._block:  # one block or a few rows: nothing to share out
            self._run(_quick_address(rows), len(rows), _quick_address(out))
        else:
            self.run(_address(rows), len(rows), _address(out))
        return out

    def run(self, rows: int, count: int, out: int) -> None:
        """The same from addresses: the caller keeps the memory."""
        blocks = -(-count // self._block)
        parts = min(self._threads, blocks) if count * self.header["trees"] > _COSTS_A_THREAD else 1
        if parts < 2 or self._pool is None:
            self._run(rows, count, out)
            return
        row_bytes, out_bytes = self.features * self.row.itemsize, self.targets * self.total.itemsize
        edges = [blocks * k // parts * self._block for k in range(parts)] + [count]
        pending: list[Future[None]] = []
        for a, b in pairwise(edges[1:]):
            pending.append(self._pool.submit(self._run, rows + a * row_bytes, b - a, out + a * out_bytes))
        self._run(rows, edges[1], out)
        for future in pending:
            future.result()

    def _single(self, row: int) -> NDArray[Any]:
        """A row's margins by way of the scratch's own: copying one row costs less than the address of a new array."""
        scratch = self._taken()
        self._entry(_PACK(self._tables_at, row, 1, scratch[2], scratch[0]))
        found = scratch[3].copy()
        self._scratch.append(scratch)
        return found

    def _run(self, rows: int, count: int, out: int) -> None:
        scratch = self._taken()
        self._entry(_PACK(self._tables_at, rows, count, out, scratch[0]))
        self._scratch.append(scratch)

    def _taken(self) -> _Scratch:
        try:
            return self._scratch.pop()
        except IndexError:  # more callers at once than threads
            return self._fresh()

    def _guarded(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """On copies that lie against unreadable pages: NEOC_KERNELS_GUARD=1."""
        from neoc.kernels import guard

        def call(values: list[Any]) -> None:
            self._entry(_PACK(*(v if isinstance(v, int) else v.ctypes.data for v in values)))

        scratch = np.zeros(self.header["scratch_bytes"], np.uint8)
        guard.call(call, (self._tables, rows, len(rows), out, scratch), run_twice=True)

    def close(self) -> None:
        """End the threads. The predictor still answers, on one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)


def _nothing() -> None: ...


def _quick_address(array: NDArray[Any]) -> int:
    """As `_address`, in a quarter of its microsecond where the array may be written to and is not empty."""
    try:
        return _addressof(_from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return _address(array)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _aligned(size: int) -> NDArray[np.uint8]:
    raw = np.zeros(size + 64, np.uint8)
    return raw[-raw.ctypes.data % 64 :][:size]
