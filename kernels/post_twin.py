"""Plain numpy twins of `post.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(x: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
    e = np.exp(shifted)
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def top_k(x: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Without NaN."""
    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, order, -1), order


def decode_boxes(
    deltas: NDArray[np.float32], anchors: NDArray[np.float32], variances: tuple[float, ...], limit: float
) -> NDArray[np.float64]:
    d, a = deltas.astype(np.float64) * variances, anchors.astype(np.float64)
    size = a[:, 2:] - a[:, :2]
    centre = a[:, :2] + size / 2 + d[:, :2] * size
    size = size * np.exp(np.minimum(d[:, 2:], limit))
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float, classes: NDArray[np.int64]) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if all(classes[i] != classes[j] or _overlap(boxes[i], boxes[j]) <= np.float32(iou) for j in kept):
            kept.append(i)
    return kept


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> np.float32:
    w, h = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), np.float32(0))
    inner = w * h
    both = np.prod(a[2:] - a[:2], dtype=np.float32) + np.prod(b[2:] - b[:2], dtype=np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.float32(inner / (both - inner))


def ctc_greedy(scores: NDArray[np.float32], blank: int) -> list[list[int]]:
    result = []
    for best in scores.argmax(axis=2):
        merged = [int(c) for t, c in enumerate(best) if t == 0 or c != best[t - 1]]
        result.append([c for c in merged if c != blank])
    return result
