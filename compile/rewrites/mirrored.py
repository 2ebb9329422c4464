"""Filters that are their own mirror image, even or odd, as the cosines and sines of a Fourier transform are.

    w[c-n] =  w[n]:   y[t] = sum_n w[n] x[t*s + n] = sum over pairs w[n] (x[t*s + n] + x[t*s + c-n])
    w[c-n] = -w[n]:   y[t]                         = sum over pairs w[n] (x[t*s + n] - x[t*s + c-n])

Half the products, for one addition and one subtraction a sample. What pads the signal by its own samples (a reflection,
the edge) is an index too: it goes into the Gathers, and the padding vanishes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.rewrites.conv import AUTO_PAD, DILATION, DTYPE, GROUP, Conv
from neoc.compile.rewrites.framing import CHANNELS, DYNAMIC, LINE, LONG, PAD, as_convolved, find_frames, signal
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

_ALIKE = 1e-6
"""of a filter's largest value: how far the two of a pair may be apart, a few steps of float32"""


@dataclass(frozen=True)
class _Mirror:
    """Which taps are pairs, and which filters are even and odd about the same centre."""

    first: np.ndarray
    second: np.ndarray
    """the two taps of each pair; a tap without a partner is its own"""
    even: np.ndarray
    """[pairs, filters] the weights of the sums"""
    odd: np.ndarray
    """[pairs, filters] the weights of the differences"""
    places: np.ndarray
    """for every filter, which of (even ones, then odd ones) it is"""
    holds: bool
    """whether every filter is one of the two"""


def _mirror(weight: np.ndarray) -> _Mirror:
    """`weight`: [filters, taps], double. About n <-> taps - n, as periodic windows have it, or n <-> taps - 1 - n."""
    taps = weight.shape[1]
    periodic = _about(weight, np.append(np.arange(1, taps // 2 + 1), 0), taps)
    return periodic if periodic.holds else _about(weight, np.arange((taps + 1) // 2), taps - 1)


def _about(weight: np.ndarray, first: np.ndarray, centre: int) -> _Mirror:
    second = np.where(centre - first < weight.shape[1], centre - first, first)
    used = np.any((weight[:, first] != 0) | (weight[:, second] != 0), axis=0)
    first, second = first[used], second[used]  # a window often begins with a zero
    low, high = weight[:, first], weight[:, second]
    room = _ALIKE * np.abs(weight).max(axis=1, keepdims=True)
    odd = np.all(np.abs(low + high) <= room, axis=1)  # a filter of zeros is both
    even = np.all(np.abs(low - high) <= room, axis=1)
    share = np.where(first == second, 0.25, 0.5)  # a tap that is its own partner is added to itself
    order = np.concatenate([np.flatnonzero(~odd), np.flatnonzero(odd)])
    return _Mirror(
        first,
        second,
        (share * (low + high))[~odd].T,
        ((low - high) / 2)[odd].T,
        np.argsort(order),
        bool(np.all(even | odd)),
    )


def _find(node: ir.Node, opset: int) -> Site | None:
    site = find_frames(node, opset)
    if site is not None:
        conv: Conv = site["conv"]
        first = conv.weight.numpy()[:, 0].reshape(conv.shape[0], -1)
        site.facts["mirror"] = _mirror(first.astype(np.float64))
    return site


def _both(site: Site) -> bool:
    """Even and odd ones, and enough of each for a product of matrices."""
    mirror: _Mirror = site["mirror"]
    return bool(min(mirror.even.shape[1], mirror.odd.shape[1]) >= 8)


def _halves(site: Site, editor: Editor, way: int) -> ir.Value:
    conv: Conv = site["conv"]
    mirror: _Mirror = site["mirror"]
    axis = site["axis"]
    line, where = signal(site, editor)
    start = np.arange(conv.out(axis))[:, None] * conv.strides[axis]
    first, second = (
        editor.op("Gather", line, editor.const(where[start + taps]), axis=1) for taps in (mirror.first, mirror.second)
    )
    parts = []
    for operator, weight in (("Add", mirror.even), ("Sub", mirror.odd)):
        if weight.shape[1]:
            product = editor.op("MatMul", editor.op(operator, first, second), editor.const(weight, np.float32))
            parts.append(editor.transpose(product, 0, 2, 1))
    y = parts[0] if len(parts) == 1 else editor.op("Concat", *parts, axis=1)
    if np.any(np.diff(mirror.places) != 1):
        y = editor.op("Gather", y, editor.const(mirror.places.astype(np.int64)), axis=1)
    if conv.bias is not None:
        y = editor.op("Add", y, editor.reshape(conv.bias, -1, 1))
    return as_convolved(site, editor, y)


MIRRORED_FRAMES = Rule(
    "mirrored-frames",
    "even and odd filters over one signal: sum_n w[n] x[n] = sum over pairs w[n] (x[n] +- x[-n])",
    frozenset({"Conv"}),
    _find,
    (
        CHANNELS,
        GROUP,
        AUTO_PAD,
        PAD,
        DILATION,
        DYNAMIC,
        LINE,
        Guard("symmetry", lambda site: site["mirror"].holds),
    ),
    _halves,
    worth=(DTYPE, LONG, Guard("both", _both)),
    around=("slice-above-conv", "slice-of-concat", "powers", "transpose-sinks"),
)
