"""Where the taps of a resize lie and what they weigh, as each library computes it.

A table is made once per (input length, output length). Every rounding below is copied from the library
named, because the last bit of a weight decides the last bit of a pixel. `image_twin.py` shows the tables at work in
plain numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPENCV_BITS = 11
"""Fixed-point bits of a weight in OpenCV's 8-bit resize (INTER_RESIZE_COEF_BITS)."""
PILLOW_BITS = 22
"""Fixed-point bits of a weight in Pillow's 8-bit resize (PRECISION_BITS = 32 - 8 - 2)."""


@dataclass(frozen=True)
class Taps:
    """For each of n output positions: the first input index and the weights of the following inputs.

    first: int64 [n]; weight: [n, k], int32 (fixed point with `bits` fraction bits), float32 or float64.
    Weights beyond a position's own taps are zero, and may lie beyond the input's end.
    """

    first: NDArray[np.int64]
    weight: NDArray[Any]
    bits: int = 0

    def part(self, start: int, stop: int) -> Taps:
        """The taps of output positions start..stop: a crop of the result."""
        return Taps(self.first[start:stop], self.weight[start:stop], self.bits)


def opencv_linear(n_in: int, n_out: int, axis: str) -> Taps:
    """cv::resize INTER_LINEAR, 8 bit. Along x the weight is clamped at the borders, along y only the row index is.

    Two taps (i, i+1); an index below 0 or past the end is to be clamped by the reader.
    """
    scale = 1.0 / (n_out / n_in)
    position = ((np.arange(n_out) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    fraction = position - first.astype(np.float32)
    if axis == "x":
        outside = (first < 0) | (first >= n_in - 1)
        fraction = np.where(outside, np.float32(0), fraction)
        first = np.clip(first, 0, n_in - 1)
    return Taps(first, _opencv_fixed(np.stack([np.float32(1) - fraction, fraction], axis=1)), OPENCV_BITS)


def opencv_area_upscale(n_in: int, n_out: int, axis: str) -> Taps:
    """cv::resize INTER_AREA where an axis enlarges: two taps, weights of the 'area' kind, in fixed point."""
    inverse = n_out / n_in
    scale = 1.0 / inverse
    index = np.arange(n_out)
    first = np.floor(index * scale).astype(np.int64)
    fraction = ((index + 1) - (first + 1) * inverse).astype(np.float32)
    fraction = np.where(fraction <= 0, np.float32(0), fraction - np.floor(fraction)).astype(np.float32)
    if axis == "x":
        fraction = np.where(first >= n_in - 1, np.float32(0), fraction).astype(np.float32)
        first = np.minimum(first, n_in - 1)
    return Taps(first, _opencv_fixed(np.stack([np.float32(1) - fraction, fraction], axis=1)), OPENCV_BITS)


def opencv_cubic(n_in: int, n_out: int) -> Taps:
    """cv::resize INTER_CUBIC (a = -0.75), 8 bit: four taps from i-1, indices to be clamped by the reader."""
    scale = 1.0 / (n_out / n_in)
    position = ((np.arange(n_out) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    x = position - first.astype(np.float32)
    a, one = np.float32(-0.75), np.float32(1)
    four, five, eight = np.float32(4), np.float32(5), np.float32(8)
    two, three = np.float32(2), np.float32(3)
    u = x + one
    v = one - x
    w0 = ((a * u - five * a) * u + eight * a) * u - four * a
    w1 = ((a + two) * x - (a + three)) * x * x + one
    w2 = ((a + two) * v - (a + three)) * v * v + one
    w3 = one - w0 - w1 - w2
    return Taps(first - 1, _opencv_fixed(np.stack([w0, w1, w2, w3], axis=1)), OPENCV_BITS)


def _opencv_fixed(weight: NDArray[np.float32]) -> NDArray[np.int32]:
    """saturate_cast<short>(w * 2048): rounded half to even."""
    scaled = np.rint(weight * np.float32(1 << OPENCV_BITS))
    return np.asarray(np.clip(scaled, -32768, 32767), np.int32)


def opencv_area(n_in: int, n_out: int) -> Taps:
    """cv::resize INTER_AREA where it shrinks by a ratio that is no integer: float32 weights of covered cells."""
    scale = 1.0 / (n_out / n_in)
    firsts, weights = [], []
    for i in range(n_out):
        begin = i * scale
        end = begin + scale
        cell = min(scale, n_in - begin)
        lo, hi = int(np.ceil(begin)), int(np.floor(end))
        hi = min(hi, n_in - 1)
        lo = min(lo, hi)
        taps: list[tuple[int, float]] = []
        if lo - begin > 1e-3:
            taps.append((lo - 1, (lo - begin) / cell))
        taps += [(j, 1.0 / cell) for j in range(lo, hi)]
        if end - hi > 1e-3:
            taps.append((hi, min(min(end - hi, 1.0), cell) / cell))
        firsts.append(taps[0][0])
        weights.append([w for _, w in taps])
    width = max(map(len, weights))
    table = np.zeros((n_out, width), np.float32)
    for row, values in zip(table, weights, strict=True):
        row[: len(values)] = values
    return Taps(np.asarray(firsts, np.int64), table)


# --- Pillow and torch: one scheme, other filters and other precision ----------------------------------


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _hamming(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    safe = np.where(x == 0, 1.0, x * np.pi)
    # The library's constants are float32.
    value = np.sin(safe) / safe * (float(np.float32(0.54)) + float(np.float32(0.46)) * np.cos(safe))
    return np.where(x == 0, 1.0, np.where(x >= 1.0, 0.0, value))


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    def sinc(v: NDArray[np.float64]) -> NDArray[np.float64]:
        safe = np.where(v == 0, 1.0, v * np.pi)
        return np.where(v == 0, 1.0, np.sin(safe) / safe)

    return np.where((x >= -3.0) & (x < 3.0), sinc(x) * sinc(x / 3), 0.0)


FILTERS = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


def antialiased(n_in: int, n_out: int, name: str, real: type[np.floating[Any]] = np.float64) -> Taps:
    """The filter stretched by the scale where it shrinks; weights that sum to 1 (Pillow's precompute_coeffs).

    real: the precision in which positions are found; torch uses that of the image.
    """
    function, reach = FILTERS[name]
    scale = real(n_in) / real(n_out)
    stretch = max(scale, real(1.0))
    support = real(reach) * stretch
    width = int(np.ceil(support)) * 2 + 1
    centre = (np.arange(n_out).astype(real) + real(0.5)) * scale
    # (int) truncates toward zero; the values below zero are then clamped to it anyway.
    first = np.maximum(np.trunc(centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum(np.trunc(centre + support + 0.5).astype(np.int64), n_in)
    tap = np.arange(width)
    inverse = 1.0 / stretch
    weight = function((tap[None, :] + first[:, None] - centre[:, None] + 0.5) * inverse)
    weight = np.where(tap[None, :] < (last - first)[:, None], weight, 0.0)
    total = np.zeros(n_out)
    for column in weight.T:  # in tap order, as the library adds them
        total += column
    return Taps(first, np.where(total[:, None] != 0.0, weight / np.where(total == 0, 1, total)[:, None], weight))


def pillow(n_in: int, n_out: int, name: str) -> Taps:
    """Pillow's 8-bit weights: 22 fraction bits, rounded half away from zero."""
    taps = antialiased(n_in, n_out, name)
    weight = taps.weight.astype(np.float64)
    scaled = weight * (1 << PILLOW_BITS)
    fixed = np.trunc(np.where(weight < 0, scaled - 0.5, scaled + 0.5)).astype(np.int32)
    return Taps(taps.first, fixed, PILLOW_BITS)


def _torch_scale(n_in: int, n_out: int, align_corners: bool, real: type[np.floating[Any]]) -> np.floating[Any]:
    if align_corners:
        return real(n_in - 1) / real(n_out - 1) if n_out > 1 else real(0.0)
    return real(n_in) / real(n_out)


def torch_uint8(n_in: int, n_out: int, name: str, antialias: bool) -> Taps:
    """torch.nn.functional.interpolate on uint8: weights in int16 with as many fraction bits as the largest allows."""
    taps = antialiased(n_in, n_out, name) if antialias else torch_plain(n_in, n_out, name, False)
    weight = taps.weight.astype(np.float64)
    largest = float(weight.max())
    bits = next((b for b in range(22) if int(0.5 + largest * (1 << (b + 1))) >= 1 << 15), 22)
    scaled = weight * (1 << bits)
    fixed = np.trunc(np.where(scaled < 0, scaled - 0.5, scaled + 0.5)).astype(np.int32)
    return Taps(taps.first, fixed, bits)


def torch_plain(
    n_in: int, n_out: int, name: str, align_corners: bool, real: type[np.floating[Any]] = np.float64
) -> Taps:
    """torch's interpolation without antialias: 'bilinear', or 'bicubic' (a = -0.75).

    Taps beyond a border are added to the border's own weight.
    """
    scale = _torch_scale(n_in, n_out, align_corners, real)
    index = np.arange(n_out)
    half = real(0.5)
    position = scale * index.astype(real) if align_corners else scale * (index.astype(real) + half) - half
    if name == "bilinear":
        position = np.maximum(position, real(0.0))
    base = np.floor(position).astype(np.int64)
    x = position - base
    offsets: tuple[int, ...]
    if name == "bilinear":
        base = np.minimum(base, n_in - 1)
        offsets, weights = (0, 1), np.stack([1.0 - x, x], axis=1)
    else:
        offsets, weights = (-1, 0, 1, 2), _cubic_weights(x)
    width = len(offsets)
    first = np.clip(base + offsets[0], 0, max(n_in - width, 0))
    folded = np.zeros((n_out, max(width, 1)))
    for k, offset in enumerate(offsets):
        place = np.clip(base + offset, 0, n_in - 1) - first
        np.add.at(folded, (index, place), weights[:, k])
    return Taps(first, folded)


def _cubic_weights(x: NDArray[np.float64]) -> NDArray[np.float64]:
    a = -0.75

    def near(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a + 2) * v - (a + 3)) * v * v + 1

    def far(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((a * v - 5 * a) * v + 8 * a) * v - 4 * a

    return np.stack([far(x + 1), near(x), near(1 - x), far(2 - x)], axis=1)


# --- layouts that the kernels read --------------------------------------------------------------------

PIXELS = 16
"""Rows of pixels are padded to a multiple of this."""


def padded(n_out: int) -> int:
    return -(-n_out // PIXELS) * PIXELS


def pack_pairs(taps: Taps, n_in: int) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """(byte offset of each padded pixel's first tap, int16 [groups of 4, 4 pixels * 4 channels, 2 taps])."""
    width = padded(len(taps.first))
    offset = np.zeros(width, np.int32)
    offset[: len(taps.first)] = taps.first * 3
    weight = np.zeros((width, 4, 2), np.int16)
    weight[: len(taps.first), :3] = taps.weight[:, None, :]
    return offset, np.ascontiguousarray(weight.reshape(width // 4, 16, 2))


def pack_weights(taps: Taps, in_bytes: bool) -> tuple[NDArray[np.int32], NDArray[np.uint8], int]:
    """(byte offsets, weights as `fixed_horizontal` reads them, quads of taps).

    in_bytes: three signed bytes a weight (base 256, digits -128..127), else two int16 (base 2048, low part 0..2047).
    """
    n_out, k = taps.weight.shape
    quads = -(-k // 4)
    width = padded(n_out)
    offset = np.zeros(width, np.int32)
    offset[:n_out] = taps.first * 3
    fixed = np.zeros((width, 4 * quads), np.int64)
    fixed[:n_out, :k] = taps.weight
    parts = _signed_bytes(fixed) if in_bytes else np.stack([fixed & 2047, fixed >> 11])
    # [parts, groups, pixels, quads, taps] -> spread over the four channels
    parts = parts.reshape(len(parts), width // 4, 4, quads, 4)
    if in_bytes:
        lanes = np.repeat(parts.transpose(1, 3, 0, 2, 4)[:, :, :, :, None, :], 4, axis=4)
        return offset, np.ascontiguousarray(lanes.astype(np.int8)).view(np.uint8).reshape(-1), quads
    halves = parts.reshape(2, width // 4, 4, quads, 2, 2).transpose(1, 3, 0, 4, 2, 5)
    lanes = np.repeat(halves[:, :, :, :, :, None, :], 4, axis=5)
    return offset, np.ascontiguousarray(lanes.astype(np.int16)).view(np.uint8).reshape(-1), quads


def _signed_bytes(fixed: NDArray[np.int64]) -> NDArray[np.int64]:
    low = ((fixed + 128) & 255) - 128
    rest = (fixed - low) >> 8
    middle = ((rest + 128) & 255) - 128
    return np.stack([low, middle, (rest - middle) >> 8])


# --- the words of a mode ------------------------------------------------------------------------------


def pillow_vertical_first(h_in: int, w_in: int, h_out: int, w_out: int) -> bool:
    """Pillow 13 resamples along y first where the height shrinks much more than the width; Pillow up to 12 never
    did.
    """
    return h_in > h_out and h_in - h_out > 2 * (w_in - w_out)


def torch_words(mode: str) -> tuple[str, bool, bool]:
    """'torch-bilinear-antialias' -> (filter, antialias, align_corners). torchvision antialiases unless told not to."""
    library, name, *words = mode.split("-")
    antialias = "antialias" in words if library == "torch" else "noantialias" not in words
    return name, antialias, "aligncorners" in words


def torch_float(n_in: int, n_out: int, name: str, antialias: bool, align_corners: bool) -> Taps:
    """interpolate on float32: the weights of `torch_uint8` before they are made integers."""
    if antialias:
        taps = antialiased(n_in, n_out, name, np.float32)
    else:
        taps = torch_plain(n_in, n_out, name, align_corners, np.float32)
    return Taps(taps.first, taps.weight.astype(np.float32))


def opencv_nearest(n_in: int, n_out: int) -> Taps:
    """cv::resize INTER_NEAREST: floor(i * scale)."""
    scale = 1.0 / (n_out / n_in)
    first = np.minimum(np.floor(np.arange(n_out) * scale).astype(np.int64), n_in - 1)
    return Taps(first, np.ones((n_out, 1), np.int32), 1)
