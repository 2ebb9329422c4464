"""Calibration: what range of float values an 8-bit tensor should stand for.

A histogram is fed with batches and grows with what it sees, so that no batch has to be kept. Three readings of it:
min-max; percentile; entropy (the range whose 8-bit version has the least Kullback-Leibler divergence from what was
seen,
after Migacz, "8-bit inference with TensorRT", GTC 2017).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit
from neoc.kernels.errors import KernelInputError, KernelOptionError

METHODS = ("min-max", "percentile", "entropy")


@jit.kernel("f32*", "i64", "f32*", "i64*")
def _extremes(x: Any, n: int, found: Any, counts: Any) -> None:
    """found: smallest and largest finite value, +inf and -inf where there is none. counts[0]: values that are not
    finite.
    """
    low, high = np.float32(np.inf), np.float32(-np.inf)
    odd = 0
    for i in range(n):
        v = x[i]
        fine = v - v == np.float32(0.0)
        odd += 0 if fine else 1
        low = v if fine and v < low else low
        high = v if fine and v > high else high
    found[0], found[1] = low, high
    counts[0] = odd


@jit.kernel("f32*", "i64", "f64", "f64", "i64", "i64*")
def _count(x: Any, n: int, low: float, scale: float, bins: int, counts: Any) -> None:
    for i in range(n):
        v = x[i]
        if v - v == np.float32(0.0):
            k = np.int64((np.float64(v) - low) * scale)
            counts[min(max(k, 0), bins - 1)] += 1


class Histogram:
    """Counts of float32 values in `bins` equal bins of a range that grows by whole doublings.

    NaN and infinities are not counted; `ignored` says how many there were.
    """

    def __init__(self, bins: int = 2048) -> None:
        if bins < 256 or bins % 2:
            raise KernelOptionError("a histogram needs an even number of bins, 256 at least", why=str(bins))
        self.bins = bins
        self.counts: NDArray[np.int64] = np.zeros(bins, np.int64)
        self.edge = 0.0
        """bins cover -edge..edge"""
        self.low, self.high = np.inf, -np.inf
        self.ignored = 0

    def observe(self, x: NDArray[np.float32]) -> None:
        """Add an array. Raises KernelInputError unless it is float32."""
        if not isinstance(x, np.ndarray) or x.dtype != np.float32:
            raise KernelInputError("a histogram takes float32 arrays", why=str(getattr(x, "dtype", type(x).__name__)))
        x = np.ascontiguousarray(x)
        if not x.size:
            return
        found, odd = np.zeros(2, np.float32), np.zeros(1, np.int64)
        _extremes(x, x.size, found, odd)
        self.ignored += int(odd[0])
        if found[0] > found[1]:
            return
        self.low, self.high = min(self.low, float(found[0])), max(self.high, float(found[1]))
        self._grow(max(abs(float(found[0])), abs(float(found[1]))))
        _count(x, x.size, -self.edge, self.bins / (2 * self.edge), self.bins, self.counts)

    def _grow(self, reach: float) -> None:
        """Double the range until it holds `reach`: two bins become one, so no count has to be split."""
        if self.edge == 0.0:
            self.edge = float(2.0 ** np.ceil(np.log2(max(reach, 1e-30))))
        while self.edge < reach:
            half = self.bins // 2
            pairs = self.counts.reshape(half, 2).sum(axis=1)
            self.counts = np.zeros(self.bins, np.int64)
            self.counts[half // 2 : half // 2 + half] = pairs
            self.edge *= 2

    def range(self, method: str = "min-max", percentile: float = 99.99) -> tuple[float, float]:
        """(low, high) to be represented. Raises KernelOptionError, or KernelInputError where nothing was seen."""
        if method not in METHODS:
            raise KernelOptionError("an unknown calibration", why=repr(method), fix=f"one of {', '.join(METHODS)}")
        if not np.isfinite(self.low):
            raise KernelInputError("the histogram has seen no finite value", fix="observe data first")
        if method == "min-max":
            return self.low, self.high
        centres = (np.arange(self.bins) + 0.5) * (2 * self.edge / self.bins) - self.edge
        if method == "percentile":
            if not 50 < percentile <= 100:
                raise KernelOptionError("a percentile lies in 50..100", why=str(percentile))
            part = np.cumsum(self.counts) / self.counts.sum()
            tail = (100 - percentile) / 100
            low, high = centres[np.searchsorted(part, tail)], centres[np.searchsorted(part, 1 - tail)]
            return max(self.low, float(low)), min(self.high, float(high))
        reach = (
            _entropy_reach(self.counts[self.bins // 2 :] + self.counts[: self.bins // 2][::-1])
            * 2
            * self.edge
            / self.bins
        )
        return max(self.low, -reach), min(self.high, reach)

    def parameters(
        self, dtype: str = "int8", symmetric: bool = True, method: str = "min-max", percentile: float = 99.99
    ) -> tuple[float, int]:
        """(scale, zero_point) for `quantize`; the range always holds 0, so that zero is exact."""
        low, high = self.range(method, percentile)
        low, high = min(low, 0.0), max(high, 0.0)
        if dtype not in ("int8", "uint8"):
            raise KernelOptionError("calibration is for int8 and uint8", why=dtype)
        least = -128 if dtype == "int8" else 0
        if symmetric:
            scale = max(-low, high) / 127
            return (scale or 1.0), (0 if dtype == "int8" else 128)
        scale = (high - low) / 255 or 1.0
        return scale, int(np.clip(round(least - low / scale), least, least + 255))


def _entropy_reach(counts: NDArray[np.int64], levels: int = 128) -> int:
    """How many bins from zero to keep: of all cuts, the one that loses the least information."""
    best, least = len(counts), np.inf
    seen = counts.astype(np.float64)
    beyond = seen.sum() - np.cumsum(seen)
    for cut in range(levels, len(counts) + 1, max(1, len(counts) // 256)):
        reference = seen[:cut].copy()
        reference[-1] += beyond[cut - 1]
        edges = np.linspace(0, cut, levels + 1).astype(np.int64)
        used = seen[:cut] > 0
        sums = np.add.reduceat(seen[:cut], edges[:-1])
        filled = np.add.reduceat(used.astype(np.float64), edges[:-1])
        each = np.divide(sums, filled, out=np.zeros(levels), where=filled > 0)
        model = np.repeat(each, np.diff(edges)) * used
        p, q = reference / max(reference.sum(), 1), model / max(model.sum(), 1)
        mask = p > 0
        divergence = float(np.sum(p[mask] * np.log(p[mask] / np.maximum(q[mask], 1e-12))))
        if divergence < least:
            best, least = cut, divergence
    return best
