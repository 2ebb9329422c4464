"""Spectra. The compiler has no Fourier transform: a discrete one is a product with a matrix of cosines and sines.

The matrix is made in the program from whole numbers, so that the module stays small and angles keep their precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import CONSTANT, FLOATS, In, Op, Rule, Xla

Array = Any
LONGEST = 8192
"""points of one transform: its matrix has the square of that"""


def _waves(j: Xla, inputs: int, outputs: int, length: int) -> tuple[Array, Array]:
    """cos and sin of 2 pi n k / length, (inputs, outputs)."""
    shape = (inputs, outputs)
    turns = j.lax.broadcasted_iota(j.np.int32, shape, 0) * j.lax.broadcasted_iota(j.np.int32, shape, 1) % length
    return _sine(j, 4 * turns + length, length), _sine(j, 4 * turns, length)


def _sine(j: Xla, quarters: Array, length: int) -> Array:
    """The sine of so many quarters of 1/length of a turn: folded to the first quarter of it, where it is precise."""
    u = quarters % (4 * length)
    u = j.np.where(u > 2 * length, u - 4 * length, u)
    u = j.np.where(u > length, 2 * length - u, j.np.where(u < -length, -2 * length - u, u))
    return j.np.sin(u.astype(j.np.float32) * np.float32(np.pi / (2 * length)))


def fourier(j: Xla, x: Array, axis: int, length: int, inverse: bool, onesided: bool) -> Array:
    """x (..., 1 or 2): real, or real and imaginary. Cut or filled with zeros to `length` along the axis first."""
    x = j.np.moveaxis(x, axis, -2)
    if inverse and onesided:
        return j.np.moveaxis(_real_inverse(j, x, length), -2, axis)
    lacking = length - x.shape[-2]
    x = x[..., :length, :]
    if lacking > 0:
        x = j.lax.pad(x, j.np.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - 2) + [(0, lacking, 0), (0, 0, 0)])
    outputs = length // 2 + 1 if onesided else length
    cos, sin = _waves(j, length, outputs, length)
    sign = 1.0 if inverse else -1.0
    real = x[..., 0].astype(j.np.float32)
    re, im = real @ cos, sign * (real @ sin)
    if x.shape[-1] == 2:
        imaginary = x[..., 1].astype(j.np.float32)
        re, im = re - sign * (imaginary @ sin), im + imaginary @ cos
    y = j.np.stack([re, im], -1) / (length if inverse else 1)
    return j.np.moveaxis(y, -2, axis)


def _real_inverse(j: Xla, x: Array, length: int) -> Array:
    """The real signal of which x is the first half of the spectrum, (..., length, 1)."""
    bins = length // 2 + 1
    x = x[..., :bins, :].astype(j.np.float32)
    cos, sin = _waves(j, x.shape[-2], length, length)
    # every bin but the first, and the last of an even length, stands for its mirror image, too
    twice = np.full(x.shape[-2], 2.0, np.float32)
    twice[0] = 1
    if length % 2 == 0 and x.shape[-2] == bins:
        twice[-1] = 1
    y = (x[..., 0] * twice) @ cos
    if x.shape[-1] == 2:
        y = y - (x[..., 1] * twice) @ sin
    return (y / length)[..., None]


def _dft(c: Call, j: Xla, x: Array, length: np.ndarray | None = None, axis: np.ndarray | None = None) -> Array:
    at, size, inverse, onesided = _dft_plan(c)
    return fourier(j, x, at, size, inverse, onesided).astype(x.dtype)


def _dft_plan(c: Call) -> tuple[int, int, bool, bool]:
    """Axis, length, inverse, one-sided."""
    shape = c.shape()
    given = c.value(2)
    axis = int(given.reshape(())) if given is not None else c.attribute("axis", 1 if c.version < 20 else -2)
    axis %= len(shape)
    inverse, onesided = bool(c.attribute("inverse", 0)), bool(c.attribute("onesided", 0))
    size = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
    length = c.value(1)
    return axis, size if length is None else int(length.reshape(())), inverse, onesided


def _stft(c: Call, j: Xla, x: Array, step: Any, window: Any = None, length: Any = None) -> Array:
    """Frames of the signal (batch, steps, 1 or 2), each times the window, each transformed."""
    size, frames = _frames(c)
    places = np.arange(frames)[:, None] * int(step.reshape(())) + np.arange(size)
    cut = j.np.take(x, places, axis=1, mode="clip")
    if window is not None:
        cut = cut * window.astype(x.dtype)[:, None]
    return fourier(j, cut, 2, size, False, bool(c.attribute("onesided", 1))).astype(x.dtype)


def _frames(c: Call) -> tuple[int, int]:
    """Length and number of the frames."""
    length, step = c.value(3), c.value(1)
    assert step is not None
    size = int(length.reshape(())) if length is not None else c.shape(2)[0] if c.has(2) else c.shape()[1]
    return size, 1 + (c.shape()[1] - size) // int(step.reshape(()))


def _mel(c: Call, j: Xla, bins: Any, length: Any, rate: Any, low: Any, high: Any) -> Array:
    """The triangles of a mel filter bank: constants, computed here by the definition's formulas."""
    count, points, per_second = (int(v.reshape(())) for v in (bins, length, rate))
    bottom, top = (2595 * np.log10(1 + float(v.reshape(())) / 700) for v in (low, high))
    mels = np.arange(count + 2) * ((top - bottom) / (count + 2)) + bottom
    edges = (((points + 1) * 700 * (10 ** (mels / 2595) - 1)) // per_second).astype(int)
    matrix = np.zeros((points // 2 + 1, count))
    for i in range(count):
        left, centre, right = edges[i : i + 3]
        if left == centre:
            matrix[centre, i] = 1
        else:
            rising = np.arange(left, centre + 1)
            matrix[rising, i] = (rising - left) / (centre - left)
        falling = np.arange(centre, right)
        matrix[falling, i] = (right - falling) / max(right - centre, 1)
    return j.np.asarray(matrix.astype(np.float32)).astype(c.dtype_attribute("output_datatype", "float32"))


def _window(*terms: float) -> Any:
    """terms[0] + terms[1] cos(t) + terms[2] cos(2 t), t from 0 to 2 pi over the window: a constant."""

    def lower(c: Call, j: Xla, size: np.ndarray) -> Array:
        count = int(size.reshape(()))
        span = count if c.attribute("periodic", 1) else count - 1
        angle = np.arange(count) * (2 * np.pi / max(span, 1))
        values = sum(a * np.cos(k * angle) for k, a in enumerate(terms))
        return j.np.asarray(np.asarray(values, np.float32)).astype(c.dtype_attribute("output_datatype", "float32"))

    return lower


_TOO_LONG = Rule(
    lambda c: ((length := c.value(1)) is not None and int(length.reshape(())) > LONGEST) or max(c.shape()) > LONGEST,
    f"a transform of more than {LONGEST} points has too large a matrix",
    "transform shorter frames",
)
_FRAMES_TOO_LONG = Rule(
    lambda c: c.value(1) is not None and _frames(c)[0] > LONGEST,
    f"frames of more than {LONGEST} points have too large a matrix",
    "take shorter frames",
)
_MISREAD = Rule(
    lambda c: (
        (y := c.outputs[0]) is not None
        and y.shape is not None
        and c.value(1) is not None
        and y.shape[2] != (_frames(c)[0] // 2 + 1 if c.attribute("onesided", 1) else _frames(c)[0])
    ),
    "ONNX's shape inference gives it another shape than the operator does (onesided is left out)",
    "write the attribute onesided=1 out",
)
_HALF_COMPLEX = Rule(
    lambda c: bool(c.attribute("onesided", 0)) and not c.attribute("inverse", 0) and c.shape()[-1] == 2,
    "half a spectrum says all only of a real signal",
)
_F = In(FLOATS)
_DTYPE = {"output_datatype": (1, 10, 16)}
_SIZE = (In(frozenset({"int32", "int64"}), constant=True),)

OPS = (
    Op("BlackmanWindow", (17, 17), _SIZE, _window(0.42, -0.5, 0.08), _DTYPE),
    Op("DFT", (17, 20), (_F, CONSTANT, CONSTANT), _dft, rules=(_TOO_LONG, _HALF_COMPLEX)),
    Op("HammingWindow", (17, 17), _SIZE, _window(25 / 46, -21 / 46), _DTYPE),
    Op("HannWindow", (17, 17), _SIZE, _window(0.5, -0.5), _DTYPE),
    Op("MelWeightMatrix", (17, 17), (CONSTANT,), _mel, _DTYPE),
    Op("STFT", (17, 17), (In(FLOATS, ranks=(3, 3)), CONSTANT, _F, CONSTANT), _stft, rules=(_FRAMES_TOO_LONG, _MISREAD)),
)
