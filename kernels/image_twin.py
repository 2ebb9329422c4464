"""Plain numpy twins of the image kernels: what each resize means, one array expression a step.

Slow and clear. The tests hold both these and the kernels against the libraries; the kernels against these where the
library is missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import image_tables as tables
from neoc.kernels.image_tables import Taps

Image = NDArray[Any]
"""uint8 [h, w, channels], or [rows, w] of a frame"""


def resize(image: Image, height: int, width: int, mode: str) -> NDArray[Any]:
    """image [h, w, c] uint8 -> [height, width, c]: uint8, float32 for the 'torch-' modes (levels 0..255, not
    rounded).
    """
    library, _, rest = mode.partition("-")
    if library == "none":
        return image
    if library == "opencv":
        return _OPENCV[rest](image, height, width)
    if library in ("pillow", "pillow12"):
        x, y = tables.pillow(image.shape[1], width, rest), tables.pillow(image.shape[0], height, rest)
        if library == "pillow" and tables.pillow_vertical_first(image.shape[0], image.shape[1], height, width):
            return fixed(fixed(image, y, 0), x, 1)
        return fixed(fixed(image, x, 1), y, 0)
    name, antialias, align = tables.torch_words(mode)
    if library == "torchvision":
        x, y = (
            tables.torch_uint8(n, m, name, antialias) for n, m in ((image.shape[1], width), (image.shape[0], height))
        )
        return fixed(fixed(image, x, 1), y, 0)
    x, y = (
        tables.torch_float(n, m, name, antialias, align) for n, m in ((image.shape[1], width), (image.shape[0], height))
    )
    return weighted(weighted(image.astype(np.float32), x, 1), y, 0)


def weighted(values: NDArray[Any], taps: Taps, axis: int) -> NDArray[Any]:
    """Sums of taps along an axis, in the dtype of values and weights together."""
    last = values.shape[axis] - 1
    shape = [1] * values.ndim
    shape[axis] = -1
    total = 0
    for k in range(taps.weight.shape[1]):
        total = total + values.take(np.clip(taps.first + k, 0, last), axis) * taps.weight[:, k].reshape(shape)
    return total  # type: ignore[return-value]


def fixed(image: Image, taps: Taps, axis: int) -> Image:
    """One fixed-point pass, rounded and clipped to uint8."""
    total = weighted(image.astype(np.int64), taps, axis) + (1 << (taps.bits - 1))
    return np.asarray(np.clip(total >> taps.bits, 0, 255), np.uint8)


def _opencv_linear(image: Image, height: int, width: int) -> Image:
    h, w = image.shape[:2]
    if (h, w) == (2 * height, 2 * width):
        return _opencv_area(image, height, width)
    return _two_taps(image, tables.opencv_linear(w, width, "x"), tables.opencv_linear(h, height, "y"))


def _two_taps(image: Image, x: Taps, y: Taps) -> Image:
    rows = weighted(image.astype(np.int32), x, 1) >> 4
    last = image.shape[0] - 1
    parts = [(rows[np.clip(y.first + k, 0, last)] * y.weight[:, k][:, None, None]) >> 16 for k in (0, 1)]
    return np.asarray((parts[0] + parts[1] + 2) >> 2, np.uint8)


def _opencv_cubic(image: Image, height: int, width: int) -> Image:
    """The vertical pass is float32 for whole groups of 8 values and integer for the rest of the row, as in the
    library.
    """
    h, w, c = image.shape
    x, y = tables.opencv_cubic(w, width), tables.opencv_cubic(h, height)
    rows = weighted(image.astype(np.int32), x, 1).reshape(h, width * c)
    four = [rows[np.clip(y.first + k, 0, h - 1)] for k in range(4)]
    beta = y.weight.astype(np.float32) * np.float32(2.0**-22)
    total = four[3].astype(np.float32) * beta[:, 3:]
    for k in (2, 1, 0):
        total = four[k].astype(np.float32) * beta[:, k : k + 1] + total
    out = np.clip(np.rint(total), 0, 255)
    exact = sum(four[k] * y.weight[:, k : k + 1] for k in range(4))
    tail = width * c // 8 * 8
    out[:, tail:] = np.clip((exact[:, tail:] + (1 << 21)) >> 22, 0, 255)
    return out.astype(np.uint8).reshape(height, width, c)


def _opencv_area(image: Image, height: int, width: int) -> Image:
    h, w = image.shape[:2]
    if h < height or w < width:
        x, y = tables.opencv_area_upscale(w, width, "x"), tables.opencv_area_upscale(h, height, "y")
        return _two_taps(image, x, y)
    if h % height == 0 and w % width == 0:
        sy, sx = h // height, w // width
        cells = image.reshape(height, sy, width, sx, -1).astype(np.int32).sum(axis=(1, 3))
        if (sy, sx) == (2, 2):
            return np.asarray((cells + 2) >> 2, np.uint8)
        return np.asarray(np.rint(cells.astype(np.float32) * (np.float32(1) / np.float32(sx * sy))), np.uint8)
    x, y = tables.opencv_area(w, width), tables.opencv_area(h, height)
    rows = weighted(image.astype(np.float32), x, 1)
    return np.asarray(np.clip(np.rint(weighted(rows, y, 0)), 0, 255), np.uint8)


def _opencv_nearest(image: Image, height: int, width: int) -> Image:
    y, x = (tables.opencv_nearest(n, m) for n, m in ((image.shape[0], height), (image.shape[1], width)))
    return image[y.first][:, x.first]


_OPENCV = {"bilinear": _opencv_linear, "bicubic": _opencv_cubic, "area": _opencv_area, "nearest": _opencv_nearest}


def normalise(
    pixels: NDArray[Any], divisor: float, multiply: bool, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(pixels / divisor - mean) / std over the last axis, each step in float32; multiply: by the rounded 1 /
    divisor.
    """
    x = pixels.astype(np.float32)
    x = x * np.float32(1.0 / divisor) if multiply else x / np.float32(divisor)
    return np.asarray((x - mean) / std, np.float32)


def yuv_to_rgb(frame: Image, layout: str) -> Image:
    """NV12 or I420 [h * 3 / 2, w] -> RGB, BT.601 limited range in 20-bit fixed point (cv::cvtColor
    COLOR_YUV2RGB_NV12, _I420).
    """
    w = frame.shape[1]
    h = frame.shape[0] * 2 // 3
    luma = np.maximum(frame[:h].astype(np.int32) - 16, 0) * 1220542
    chroma = frame[h:].reshape(-1)
    if layout == "nv12":
        u, v = chroma[0::2], chroma[1::2]
    else:
        u, v = chroma[: h * w // 4], chroma[h * w // 4 :]
    u, v = ((p.reshape(h // 2, w // 2).repeat(2, 0).repeat(2, 1).astype(np.int32) - 128) for p in (u, v))
    half = 1 << 19
    channels = (luma + half + 1673527 * v, luma + half - 852492 * v - 409993 * u, luma + half + 2116026 * u)
    return np.asarray(np.clip(np.stack(channels, -1) >> 20, 0, 255), np.uint8)
