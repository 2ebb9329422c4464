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
from neoc.kernels.trees.predictor import _address, _quick_address


class Finisher:
    """Safe to call from many threads: it keeps nothing between calls."""

    def __init__(self, image: bytes | memoryview, total: type, targets: int, shapes: Sequence[Any]) -> None:
        """image: as `code.finish_image` made it. shapes: (dtype, columns; None for [rows]) of each output.

        Raises KernelCompileError for damaged bytes.
        """
        self._entry, self._area = code.load(image)
        self._total, self._targets, self._guard = np.dtype(total), targets, jit.guarded()
        self._shapes = [(np.dtype(dtype), columns) for dtype, columns in shapes]
        self._pack = [struct.Struct(f"{3 + n}Q").pack for n in (len(self._shapes), 1)]

    def all(self, margins: NDArray[Any]) -> list[NDArray[Any]]:
        """Every output, in their order. margins [n, targets], C-contiguous."""
        return self._called(margins, 0, self._shapes)

    def one(self, margins: NDArray[Any], number: int) -> NDArray[Any]:
        """Output `number`, and nothing that it does not need."""
        return self._called(margins, 1 + number, [self._shapes[number]])[0]

    def _called(self, margins: NDArray[Any], which: int, shapes: list[Any]) -> list[NDArray[Any]]:
        if margins.dtype != self._total or margins.shape[1:] != (self._targets,) or not margins.flags.c_contiguous:
            why = f"{margins.dtype}{list(margins.shape)}, not {self._total}[n, {self._targets}]"
            raise KernelInputError("margins do not fit what follows the trees", why=why)
        n = len(margins)
        outs = [np.empty(n if columns is None else (n, columns), dtype) for dtype, columns in shapes]
        if self._guard:
            self._guarded(margins, which, outs)
        else:
            addresses = [_quick_address(o) for o in outs]
            self._entry(self._pack[which > 0](n, _quick_address(margins), which, *addresses))
        return outs

    def _guarded(self, margins: NDArray[Any], which: int, outs: list[NDArray[Any]]) -> None:
        """On copies that lie against unreadable pages: NEOC_KERNELS_GUARD=1."""
        from neoc.kernels import guard

        def call(values: list[Any]) -> None:
            words = [v if isinstance(v, int) else _address(v) for v in values]
            self._entry(self._pack[which > 0](len(margins), words[0], which, *words[1:]))

        guard.call(call, (margins, *outs), run_twice=True)
