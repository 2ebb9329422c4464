"""Model output to answers: softmax, top-k, labels by threshold, box decoding, non-maximum suppression, greedy CTC.

Functions of arrays with a numpy twin each in `post_twin.py`; `PostProcess` makes a chain of them from plain options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit, memory
from neoc.kernels.errors import KernelInputError, KernelOptionError

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_ROUND = np.float32(12582912.0)
# Cephes' expf polynomial, degree 6: at most 2 ulp on [-87, 0], which softmax does not leave.
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@jit.kernel("f32*", "f32*", "i32*", "i64", "i64")
def _softmax(x: Any, out: Any, bits: Any, rows: int, width: int) -> None:
    """bits: the memory of out as int32; 2^n is made there, in the exponent's place."""
    for r in range(rows):
        base = r * width
        top = x[base]
        bad = False
        for i in range(base, base + width):
            v = x[i]
            top = v if v > top else top
            bad = bad | (v != v)
        if bad or not (top < np.float32(np.inf)) or top == np.float32(-np.inf):
            for i in range(base, base + width):
                out[i] = np.float32(np.nan)
            continue
        for i in range(base, base + width):
            v = max(x[i] - top, np.float32(-87.0))
            n = np.int32((v * _LOG2E + _ROUND) - _ROUND)
            bits[i] = (n + np.int32(127)) << np.int32(23)
        for i in range(base, base + width):
            v = max(x[i] - top, np.float32(-87.0))
            n = (v * _LOG2E + _ROUND) - _ROUND
            f = (v - n * _LN2_HIGH) - n * _LN2_LOW
            y = ((((_P0 * f + _P1) * f + _P2) * f + _P3) * f + _P4) * f + _P5
            e = ((y * f) * f + f + np.float32(1.0)) * out[i]
            out[i] = e if x[i] - top >= np.float32(-87.0) else np.float32(0.0)
        total = 0.0
        for i in range(base, base + width):
            total += np.float64(out[i])
        scale = np.float32(1.0 / total)
        for i in range(base, base + width):
            out[i] = out[i] * scale


def softmax(x: NDArray[np.float32], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Along the last axis, within 4e-7 of float64. A row with NaN or +inf, or of nothing but -inf, is NaN."""
    x = _array(x, "x")
    if out is None:
        out = memory.empty(x.shape, np.float32)
    elif out.shape != x.shape or out.dtype != np.float32 or not out.flags.c_contiguous or np.shares_memory(out, x):
        raise KernelInputError(
            "out does not fit", where="out", why=f"{out.dtype} {out.shape}, or it is the input itself"
        )
    if x.size:
        _softmax(x, out, out.view(np.int32), x.size // x.shape[-1], x.shape[-1])
    return out


@jit.kernel("f32*", "f32*", "i64*", "i64", "i64", "i64")
def _top_k(x: Any, values: Any, indices: Any, rows: int, width: int, k: int) -> None:
    """Insertion into a sorted list of k; a value equal to one in the list goes after it."""
    for r in range(rows):
        base, to = r * width, r * k
        held = 0
        for i in range(width):
            v = x[base + i]
            if v != v:
                continue
            if held == k and v <= values[to + k - 1]:
                continue
            at = min(held, k - 1)
            while at > 0 and values[to + at - 1] < v:
                values[to + at] = values[to + at - 1]
                indices[to + at] = indices[to + at - 1]
                at -= 1
            values[to + at] = v
            indices[to + at] = i
            held = min(held + 1, k)
        for i in range(held, k):
            values[to + i] = np.float32(np.nan)
            indices[to + i] = -1


def top_k(x: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k largest of the last axis, falling, and their indices; the lower index first among equals.

    NaN is never chosen; where fewer than k numbers are left the rest is (NaN, -1).
    """
    x = _array(x, "x")
    if not 1 <= k <= x.shape[-1]:
        raise KernelOptionError("k does not fit", where="k", why=f"{k} of {x.shape[-1]}")
    shape = (*x.shape[:-1], k)
    values, indices = np.empty(shape, np.float32), np.empty(shape, np.int64)
    if x.size:
        _top_k(x, values, indices, x.size // x.shape[-1], x.shape[-1], k)
    return values, indices


def labels(scores: NDArray[np.float32], threshold: float, names: Sequence[str] | None = None) -> list[list[Any]]:
    """For each row the classes whose score is at least `threshold`, falling by score: indices, or their names."""
    scores = _array(scores, "scores")
    if scores.ndim != 2:
        raise KernelInputError("scores must be [rows, classes]", where="scores", why=f"shape {scores.shape}")
    if names is not None and len(names) != scores.shape[1]:
        raise KernelOptionError("names do not fit the classes", why=f"{len(names)} for {scores.shape[1]}")
    result: list[list[Any]] = []
    for row in scores:
        found = np.flatnonzero(row >= np.float32(threshold))
        order = found[np.argsort(-row[found], kind="stable")].tolist()
        result.append([names[i] for i in order] if names is not None else order)
    return result


# --- boxes --------------------------------------------------------------------------------------------


@jit.kernel("f32*", "f32*", "f32*", "i64", "f32", "f32", "f32", "f32", "f32")
def _decode_boxes(
    deltas: Any, anchors: Any, out: Any, n: int, vx: float, vy: float, vw: float, vh: float, limit: float
) -> None:
    for i in range(n):
        x0, y0, x1, y1 = anchors[4 * i], anchors[4 * i + 1], anchors[4 * i + 2], anchors[4 * i + 3]
        w, h = x1 - x0, y1 - y0
        cx, cy = x0 + np.float32(0.5) * w, y0 + np.float32(0.5) * h
        cx += deltas[4 * i] * vx * w
        cy += deltas[4 * i + 1] * vy * h
        w *= np.float32(np.exp(np.float64(min(deltas[4 * i + 2] * vw, limit))))
        h *= np.float32(np.exp(np.float64(min(deltas[4 * i + 3] * vh, limit))))
        out[4 * i], out[4 * i + 1] = cx - np.float32(0.5) * w, cy - np.float32(0.5) * h
        out[4 * i + 2], out[4 * i + 3] = cx + np.float32(0.5) * w, cy + np.float32(0.5) * h


def decode_boxes(
    deltas: NDArray[np.float32],
    anchors: NDArray[np.float32],
    variances: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    limit: float = 4.135166556742356,
) -> NDArray[np.float32]:
    """SSD / Faster R-CNN deltas (dx, dy, dw, dh) on anchors (x0, y0, x1, y1) to boxes (x0, y0, x1, y1): [n, 4].

    limit: the largest dw and dh (log(1000 / 16), as torchvision's BoxCoder).
    """
    deltas, anchors = _array(deltas, "deltas"), _array(anchors, "anchors")
    if deltas.ndim != 2 or deltas.shape[1] != 4 or anchors.shape != deltas.shape or len(variances) != 4:
        raise KernelInputError("deltas and anchors must both be [n, 4]", why=f"{deltas.shape} and {anchors.shape}")
    out = np.empty(deltas.shape, np.float32)
    if len(out):
        _decode_boxes(deltas, anchors, out, len(out), *map(float, variances), float(limit))
    return out


@jit.kernel("f32*", "i64*", "i64*", "i64", "f32", "u8*", "i64*", "i64*", "i64")
def _nms(
    boxes: Any, order: Any, classes: Any, n: int, limit: float, gone: Any, kept: Any, count: Any, most: int
) -> None:
    found = 0
    for a in range(n):
        i = order[a]
        if gone[i] != 0:
            continue
        kept[found] = i
        found += 1
        if found == most:
            break
        x0, y0, x1, y1 = boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]
        area = (x1 - x0) * (y1 - y0)
        for b in range(a + 1, n):
            j = order[b]
            w = min(x1, boxes[4 * j + 2]) - max(x0, boxes[4 * j])
            h = min(y1, boxes[4 * j + 3]) - max(y0, boxes[4 * j + 1])
            inner = max(w, np.float32(0)) * max(h, np.float32(0))
            other = (boxes[4 * j + 2] - boxes[4 * j]) * (boxes[4 * j + 3] - boxes[4 * j + 1])
            if inner / (area + other - inner) > limit and classes[i] == classes[j]:
                gone[j] = 1
    count[0] = found


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    iou: float,
    classes: NDArray[np.int64] | None = None,
    score: float = float("-inf"),
    most: int | None = None,
) -> NDArray[np.int64]:
    """Indices of the boxes that stay, falling by score: none overlaps a better one of its class by more than `iou`.

    boxes [n, 4] as (x0, y0, x1, y1). Boxes scored below `score` or NaN are left out first; at most `most` are returned.
    """
    boxes, scores = _array(boxes, "boxes"), _array(scores, "scores")
    n = len(boxes)
    groups = np.zeros(n, np.int64) if classes is None else np.ascontiguousarray(classes, np.int64)
    if boxes.shape != (n, 4) or scores.shape != (n,) or groups.shape != (n,):
        raise KernelInputError(
            "boxes [n, 4], scores [n] and classes [n] go together", why=f"{boxes.shape}, {scores.shape}"
        )
    if not 0 <= iou <= 1 or (most is not None and most < 1):
        raise KernelOptionError("nms cannot use these options", why=f"iou={iou}, most={most}")
    candidates = np.flatnonzero(scores >= np.float32(score))
    order = np.ascontiguousarray(candidates[np.argsort(-scores[candidates], kind="stable")], np.int64)
    if not len(order):
        return np.empty(0, np.int64)
    gone, kept, count = np.zeros(n, np.uint8), np.empty(len(order), np.int64), np.zeros(1, np.int64)
    _nms(boxes, order, groups, len(order), float(iou), gone, kept, count, most or len(order))
    return kept[: count[0]].copy()


# --- CTC ----------------------------------------------------------------------------------------------


@jit.kernel("f32*", "i64*", "i64", "i64", "i64", "i64", "i64*", "i64*")
def _ctc(scores: Any, lengths: Any, batch: int, steps: int, classes: int, blank: int, out: Any, counts: Any) -> None:
    for b in range(batch):
        last = np.int64(-1)
        n = 0
        for t in range(lengths[b]):
            base = (b * steps + t) * classes
            best = np.int64(0)
            for c in range(1, classes):
                if scores[base + c] > scores[base + best]:
                    best = np.int64(c)
            if best != last and best != blank:
                out[b * steps + n] = best
                n += 1
            last = best
        counts[b] = n


def ctc_greedy(
    scores: NDArray[np.float32], lengths: Sequence[int] | None = None, blank: int = 0
) -> list[NDArray[np.int64]]:
    """Best class of each step, repeats merged, blanks removed. scores [batch, steps, classes]: logits or
    probabilities.
    """
    scores = _array(scores, "scores")
    if scores.ndim != 3:
        raise KernelInputError("scores must be [batch, steps, classes]", where="scores", why=f"shape {scores.shape}")
    batch, steps, classes = scores.shape
    used = np.full(batch, steps, np.int64) if lengths is None else np.asarray(lengths, np.int64)
    if used.shape != (batch,) or np.any(used < 0) or np.any(used > steps):
        raise KernelInputError("lengths do not fit", where="lengths", why=f"{used.tolist()[:8]} for {steps} steps")
    if not 0 <= blank < classes:
        raise KernelOptionError("blank is no class", where="blank", why=f"{blank} of {classes}")
    out, counts = np.empty((batch, steps), np.int64), np.zeros(batch, np.int64)
    if scores.size:
        _ctc(scores, np.ascontiguousarray(used), batch, steps, classes, blank, out, counts)
    return [row[:n].copy() for row, n in zip(out, counts, strict=True)]


def _array(x: NDArray[Any], where: str) -> NDArray[np.float32]:
    if not isinstance(x, np.ndarray) or x.dtype != np.float32 or x.ndim == 0:
        got = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise KernelInputError("an array must be float32 of at least one axis", where=where, why=got)
    return np.ascontiguousarray(x)


# --- as data ------------------------------------------------------------------------------------------

_FUNCTIONS: dict[str, Any] = {
    "softmax": softmax,
    "top_k": top_k,
    "labels": labels,
    "decode_boxes": decode_boxes,
    "nms": nms,
    "ctc_greedy": ctc_greedy,
}


class PostProcess:
    """One post-processing function with its options fixed: `PostProcess('top_k', k=5)(scores)`."""

    def __init__(self, name: str, **options: Any) -> None:
        if name not in _FUNCTIONS:
            raise KernelOptionError("an unknown post-processing", why=repr(name), fix=f"one of {', '.join(_FUNCTIONS)}")
        self.name, self.options = name, options

    def __call__(self, *arrays: NDArray[Any]) -> Any:
        return _FUNCTIONS[self.name](*arrays, **self.options)

    def to_spec(self) -> dict[str, Any]:
        """The options as JSON values, 'name' among them."""
        return {"name": self.name, **self.options}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> PostProcess:
        """The inverse of `to_spec`. Raises KernelOptionError."""
        options = dict(spec)
        return cls(options.pop("name", ""), **options)
