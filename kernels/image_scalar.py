"""The image kernels that plain loops serve well enough: cubic and area of OpenCV, nearest, float32 resizes, YUV.

Results are RGBx rows like those of `image_ir.py` (`wide` pixels a row, the fourth byte unset), or float32 RGB rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neoc.kernels import jit

_ROUND = np.float32(12582912.0)  # rounds half to even below 2^22, and vectorises where rint does not
_SCALE = np.float32(2.0**-22)


@jit.kernel("u8*", "i64", "i32*", "i32*", "i32*", "i32*", "i64", "i64", "i64", "i64", "i32*", "i64*", "u8*", "i64")
def opencv_cubic(
    src: Any,
    stride: int,
    x_byte: Any,
    x_weight: Any,
    y_row: Any,
    y_weight: Any,
    width: int,
    tail: int,
    y0: int,
    y1: int,
    rows: Any,
    held: Any,
    dst: Any,
    wide: int,
) -> None:
    """cv::resize INTER_CUBIC, 8 bit. x_byte, x_weight [width, 4]; y_row, y_weight [oh, 4]; rows scratch [4, width * 3].

    tail: from this value of a row on the vertical pass is in integers, before it in float32, as in the library.
    """
    size = width * 3
    for k in range(4):
        held[k] = -1
    for y in range(y0, y1):
        for k in range(4):
            row = np.int64(y_row[4 * y + k])
            place = row & 3
            if held[place] != row:
                held[place] = row
                at = place * size
                start = row * stride
                for x in range(width):
                    for c in range(3):
                        total = np.int32(0)
                        for t in range(4):
                            total += np.int32(src[start + x_byte[4 * x + t] + c]) * x_weight[4 * x + t]
                        rows[at + 3 * x + c] = total
        b0, b1, b2, b3 = y_weight[4 * y], y_weight[4 * y + 1], y_weight[4 * y + 2], y_weight[4 * y + 3]
        f0, f1 = np.float32(b0) * _SCALE, np.float32(b1) * _SCALE
        f2, f3 = np.float32(b2) * _SCALE, np.float32(b3) * _SCALE
        p0, p1 = (np.int64(y_row[4 * y]) & 3) * size, (np.int64(y_row[4 * y + 1]) & 3) * size
        p2, p3 = (np.int64(y_row[4 * y + 2]) & 3) * size, (np.int64(y_row[4 * y + 3]) & 3) * size
        line = (y - y0) * wide * 4
        for i in range(size):
            if i < tail:
                v = np.float32(rows[p2 + i]) * f2 + np.float32(rows[p3 + i]) * f3
                v = np.float32(rows[p0 + i]) * f0 + (np.float32(rows[p1 + i]) * f1 + v)
                n = np.int32((v + _ROUND) - _ROUND)
            else:
                n = rows[p0 + i] * b0 + rows[p1 + i] * b1 + rows[p2 + i] * b2 + rows[p3 + i] * b3
                n = (n + np.int32(1 << 21)) >> np.int32(22)
            dst[line + i // 3 * 4 + i % 3] = np.uint8(min(max(n, np.int32(0)), np.int32(255)))


@jit.kernel(
    "u8*", "i64", "i32*", "i32*", "f32*", "i64", "i32*", "i32*", "f32*", "i64", *["i64"] * 3, "f32*", "u8*", "i64"
)
def opencv_area(
    src: Any,
    stride: int,
    x_byte: Any,
    x_count: Any,
    x_weight: Any,
    x_taps: int,
    y_row: Any,
    y_count: Any,
    y_weight: Any,
    y_taps: int,
    width: int,
    y0: int,
    y1: int,
    rows: Any,
    dst: Any,
    wide: int,
) -> None:
    """cv::resize INTER_AREA where it shrinks, in float32 and in the library's order. rows: scratch [2, width * 3]."""
    size = width * 3
    for y in range(y0, y1):
        for i in range(size):
            rows[size + i] = np.float32(0)
        for k in range(y_count[y]):
            start = (np.int64(y_row[y]) + k) * stride
            beta = y_weight[y * y_taps + k]
            for x in range(width):
                at = start + x_byte[x]
                r = g = b = np.float32(0)
                for t in range(x_count[x]):
                    alpha = x_weight[x * x_taps + t]
                    r += np.float32(src[at + 3 * t]) * alpha
                    g += np.float32(src[at + 3 * t + 1]) * alpha
                    b += np.float32(src[at + 3 * t + 2]) * alpha
                rows[3 * x], rows[3 * x + 1], rows[3 * x + 2] = r, g, b
            for i in range(size):
                rows[size + i] += beta * rows[i]
        line = (y - y0) * wide * 4
        for x in range(width):
            for c in range(3):
                v = (rows[size + 3 * x + c] + _ROUND) - _ROUND
                dst[line + 4 * x + c] = np.uint8(np.int32(min(max(v, np.float32(0)), np.float32(255))))


@jit.kernel("u8*", "i64", "i64", "i64", "i64", "i64", "i64", "i64", "i64", "u8*", "i64")
def opencv_area_whole(
    src: Any,
    stride: int,
    step_x: int,
    step_y: int,
    x0: int,
    y_first: int,
    width: int,
    y0: int,
    y1: int,
    dst: Any,
    wide: int,
) -> None:
    """cv::resize INTER_AREA by whole numbers: means of cells; of 2 x 2 cells in integers. x0, y_first: of the crop."""
    scale = np.float32(1.0) / np.float32(step_x * step_y)
    for y in range(y0, y1):
        top = (y_first + y) * step_y * stride
        line = (y - y0) * wide * 4
        for x in range(width):
            left = (x0 + x) * step_x * 3
            for c in range(3):
                total = np.int32(0)
                for i in range(step_y):
                    for j in range(step_x):
                        total += np.int32(src[top + i * stride + left + 3 * j + c])
                if step_x == 2 and step_y == 2:
                    n = (total + np.int32(2)) >> np.int32(2)
                else:
                    n = np.int32((np.float32(total) * scale + _ROUND) - _ROUND)
                dst[line + 4 * x + c] = np.uint8(n)


@jit.kernel("u8*", "i64", "i32*", "i32*", "i64", "i64", "i64", "u8*", "i64")
def nearest(src: Any, stride: int, x_byte: Any, y_row: Any, width: int, y0: int, y1: int, dst: Any, wide: int) -> None:
    """One tap a pixel; also the plain copy of an image that is not resized."""
    for y in range(y0, y1):
        start = np.int64(y_row[y]) * stride
        line = (y - y0) * wide * 4
        for x in range(width):
            at = start + x_byte[x]
            dst[line + 4 * x] = src[at]
            dst[line + 4 * x + 1] = src[at + 1]
            dst[line + 4 * x + 2] = src[at + 2]


@jit.kernel(
    *("u8*", "i64", "i32*", "f32*", "i64", "i64", "i32*", "f32*", "i64", "i64", "i64", "i64", "i64"),
    *("f32*", "f32*", "f32*", "i64", "i64", "i64"),
)
def float_resize(
    src: Any,
    stride: int,
    x_byte: Any,
    x_weight: Any,
    x_taps: int,
    last_byte: int,
    y_row: Any,
    y_weight: Any,
    y_taps: int,
    last_row: int,
    width: int,
    y0: int,
    y1: int,
    rows: Any,
    constants: Any,
    out: Any,
    out_row: int,
    out_pixel: int,
    out_channel: int,
) -> None:
    """A separable resize in float32, normalised and written to `out` by its strides (elements), row y0 first.

    rows: scratch [1 + y_taps, width * 3], constants: [3 channels, (factor, mean, std)]. Taps past the last byte or row
    have weight zero and read the last.
    """
    size = width * 3
    held_from: Any = np.int64(0)
    held_to: Any = np.int64(0)
    for y in range(y0, y1):
        top: Any = np.int64(y_row[y])
        first: Any = max(top, held_to) if top >= held_from and y > y0 else top
        for row in range(first, min(top + y_taps, last_row + 1)):
            at = (1 + row % y_taps) * size
            start = row * stride
            for x in range(width):
                for c in range(3):
                    total = np.float32(0)
                    for t in range(x_taps):
                        byte: Any = min(np.int64(x_byte[x]) + 3 * t, last_byte)
                        total += np.float32(src[start + byte + c]) * x_weight[x * x_taps + t]
                    rows[at + 3 * x + c] = total
        held_from, held_to = top, min(top + y_taps, last_row + 1)
        for i in range(size):
            rows[i] = np.float32(0)
        for k in range(y_taps):
            at = (1 + min(top + k, last_row) % y_taps) * size
            w = y_weight[y * y_taps + k]
            for i in range(size):
                rows[i] += rows[at + i] * w
        for c in range(3):
            factor, mean, std = constants[3 * c], constants[3 * c + 1], constants[3 * c + 2]
            at = (y - y0) * out_row + c * out_channel
            for x in range(width):
                out[at + x * out_pixel] = (rows[3 * x + c] * factor - mean) / std


@jit.kernel("u8*", "i64", "u8*", "u8*", "i64", "i64", "u8*", "i64", "i64")
def yuv_to_rgb(
    luma: Any, stride: int, u: Any, v: Any, chroma_stride: int, step: int, rgb: Any, width: int, height: int
) -> None:
    """BT.601 limited range in 20-bit fixed point, as cv::cvtColor does it. step: bytes from one chroma sample to
    the next.
    """
    half = np.int32(1 << 19)
    for y in range(height):
        line = (y >> 1) * chroma_stride
        for x in range(width):
            at = line + (x >> 1) * step
            cu = np.int32(u[at]) - np.int32(128)
            cv = np.int32(v[at]) - np.int32(128)
            bright = max(np.int32(luma[y * stride + x]) - np.int32(16), np.int32(0)) * np.int32(1220542) + half
            r = (bright + np.int32(1673527) * cv) >> np.int32(20)
            g = (bright - np.int32(852492) * cv - np.int32(409993) * cu) >> np.int32(20)
            b = (bright + np.int32(2116026) * cu) >> np.int32(20)
            i = (y * width + x) * 3
            rgb[i] = np.uint8(min(max(r, np.int32(0)), np.int32(255)))
            rgb[i + 1] = np.uint8(min(max(g, np.int32(0)), np.int32(255)))
            rgb[i + 2] = np.uint8(min(max(b, np.int32(0)), np.int32(255)))
