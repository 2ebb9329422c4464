"""What follows the trees, ready to be called: margins in, outputs out, one native call."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit
from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees import code
from neoc.kernels.trees.ir_finish import FIRST_OUT
from neoc.kernels.trees.predictor import Predictor, _address, _quick_address

Kept = tuple[list[NDArray[Any]], tuple[int, ...]]
"""(outputs of one row, their addresses)"""


class Finisher:
    """Safe to call from many threads: every call has outputs of its own."""

    def __init__(self, image: bytes | memoryview, total: type, targets: int, shapes: Sequence[Any]) -> None:
        """image: as `code.finish_image` made it. shapes: (dtype, columns; None for [rows]) of each output.

        Raises KernelCompileError for damaged bytes.
        """
        self._entry, self._area = code.load(image)
        self._total, self._targets, self._guard = np.dtype(total), targets, jit.guarded()
        self._shapes = [(np.dtype(dtype), columns) for dtype, columns in shapes]
        self._pack = [struct.Struct(f"{FIRST_OUT + n}Q").pack for n in (len(self._shapes), 1)]
        self._rows: list[list[Kept]] = [[] for _ in range(1 + len(self._shapes))]

    def all(self, margins: NDArray[Any]) -> list[NDArray[Any]]:
        """Every output, in their order. margins [n, targets], C-contiguous."""
        return self._called(margins, 0)

    def one(self, margins: NDArray[Any], number: int) -> NDArray[Any]:
        """Output `number`, and nothing that it does not need."""
        return self._called(margins, 1 + number)[0]

    def row(self, predictor: Predictor, row: NDArray[Any], which: int) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        """(margin [1, targets], outputs) of [1, features], trees and all in one native call.

        which: 0 for every output, 1 + k for output k. Memory of an earlier call is used again, and its contents copied:
        for one row that costs less than the addresses of new arrays.
        """
        scratch = predictor._taken()
        kept = self._rows[which]
        outs, places = kept.pop() if kept else self._kept(which)
        row = row if row.flags.c_contiguous else np.ascontiguousarray(row)
        first = (predictor._tables_at, _quick_address(row), 1, scratch[2], scratch[0], predictor.entry_at, which)
        self._entry(self._pack[which > 0](*first, *places))
        found = scratch[3].copy(), [out.copy() for out in outs]
        predictor._scratch.append(scratch)
        kept.append((outs, places))
        return found

    def _kept(self, which: int) -> Kept:
        outs = self._empty(1, which)
        return outs, tuple(_address(out) for out in outs)

    def _empty(self, n: int, which: int) -> list[NDArray[Any]]:
        shapes = self._shapes if which == 0 else self._shapes[which - 1 : which]
        return [np.empty(n if columns is None else (n, columns), dtype) for dtype, columns in shapes]

    def _called(self, margins: NDArray[Any], which: int) -> list[NDArray[Any]]:
        if margins.dtype != self._total or margins.shape[1:] != (self._targets,) or not margins.flags.c_contiguous:
            why = f"{margins.dtype}{list(margins.shape)}, not {self._total}[n, {self._targets}]"
            raise KernelInputError("margins do not fit what follows the trees", why=why)
        n = len(margins)
        outs = self._empty(n, which)
        if self._guard:
            self._guarded(margins, which, outs)
        else:
            addresses = [_quick_address(out) for out in outs]
            self._entry(self._pack[which > 0](0, 0, n, _quick_address(margins), 0, 0, which, *addresses))
        return outs

    def _guarded(self, margins: NDArray[Any], which: int, outs: list[NDArray[Any]]) -> None:
        """On copies that lie against unreadable pages: NEOC_KERNELS_GUARD=1."""
        from neoc.kernels import guard

        def call(values: list[Any]) -> None:
            words = [v if isinstance(v, int) else _address(v) for v in values]
            self._entry(self._pack[which > 0](0, 0, len(margins), words[0], 0, 0, which, *words[1:]))

        guard.call(call, (margins, *outs), run_twice=True)
