"""How one source size becomes the output: tables, scratch memory and the list of native calls, strip by strip.

A strip is a run of output rows small enough that its intermediate rows stay in the second-level cache:

    source rows -> [resize] -> RGBx rows of the strip -> [finish] -> rows of the output
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import image_ir, image_scalar, jit
from neoc.kernels import image_tables as tables
from neoc.kernels.image_tables import Taps
from neoc.kernels.jit import Kernel

STRIP_BYTES = 1 << 18


class Mark(Enum):
    """Stands for a value that differs from image to image."""

    SOURCE = 0
    STRIDE = 1


@dataclass(frozen=True)
class Output:
    """The output's address plus `offset` elements."""

    offset: int


@dataclass(frozen=True)
class Call:
    kernel: Kernel
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Geometry:
    """A source of h x w is resized to `full`; rows and columns of that from `window` on make `height` x `width`."""

    source: tuple[int, int]
    full: tuple[int, int]
    window: tuple[int, int]
    height: int
    width: int
    place: tuple[int, int] = (0, 0)
    """where the result lies in the output (letterbox)"""

    @property
    def rows(self) -> slice:
        return slice(self.window[0], self.window[0] + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.window[1], self.window[1] + self.width)


Resize = Callable[[int, int, NDArray[np.uint8]], list[Call]]
"""(first output row, end, RGBx rows to write) -> calls"""


def resizer(mode: str, g: Geometry) -> Resize:
    """The resize of a mode for a geometry; called once a worker, so that scratch memory is its own."""
    library, _, rest = mode.partition("-")
    (h, w), (fh, fw) = g.source, g.full
    if library == "none" or rest == "nearest":
        return _nearest(g)
    if library in ("pillow", "pillow12"):
        y_first = library == "pillow" and tables.pillow_vertical_first(h, w, fh, fw)
        return _fixed(g, tables.pillow(w, fw, rest), tables.pillow(h, fh, rest), y_first)
    if library == "torchvision":
        name, antialias, _ = tables.torch_words(mode)
        x, y = (tables.torch_uint8(n, m, name, antialias) for n, m in ((w, fw), (h, fh)))
        return _fixed(g, x, y, False)
    if rest == "bicubic":
        return _cubic(g)
    whole = h % fh == 0 and w % fw == 0
    if (rest == "area" and whole) or (rest == "bilinear" and (h, w) == (2 * fh, 2 * fw)):
        return _area_whole(g)
    if rest == "area" and h >= fh and w >= fw:
        return _area(g)
    table = tables.opencv_linear if rest == "bilinear" else tables.opencv_area_upscale
    return _linear(g, table(w, fw, "x"), table(h, fh, "y"))


def kernels_of(mode: str) -> tuple[Kernel, ...]:
    """Every kernel that the resize of a mode may take, over all geometries."""
    library, _, rest = mode.partition("-")
    if library == "torch":
        return (image_scalar.float_resize,)
    if library == "none" or rest == "nearest":
        return (image_scalar.nearest,)
    if library != "opencv":
        return (image_ir.fixed_horizontal, image_ir.fixed_vertical)
    if rest == "bicubic":
        return (image_scalar.opencv_cubic,)
    area = (image_scalar.opencv_area,) if rest == "area" else ()
    return (image_ir.opencv_linear, image_scalar.opencv_area_whole, *area)


def _rows(y: Taps, g: Geometry, count: int) -> NDArray[np.int32]:
    """The row index of each tap, clamped: int32 [height, count]."""
    index = y.first[:, None] + np.arange(count)
    return np.ascontiguousarray(np.clip(index, 0, g.source[0] - 1), np.int32)


def _safe_rows(offset: NDArray[np.int32], reach: int, g: Geometry) -> tuple[int, int]:
    """(rows whose loads stay inside the image, bytes that a copied row needs)."""
    h, w = g.source
    end = int(offset.max()) + reach
    beyond = max(0, end - 3 * w)
    return max(0, h - math.ceil(beyond / (3 * w))), max(end, 3 * w) + image_ir.SLACK


def _linear(g: Geometry, x: Taps, y: Taps) -> Resize:
    x, y = x.part(g.columns.start, g.columns.stop), y.part(g.rows.start, g.rows.stop)
    offset, weight = tables.pack_pairs(x, g.source[1])
    groups = len(offset) // 4
    row_index, row_weight = _rows(y, g, 2), np.ascontiguousarray(y.weight, np.int16)
    safe, room = _safe_rows(offset, 16, g)
    pad, rows = np.zeros(room, np.uint8), np.zeros(2 * groups * 16, np.int16)
    row_bytes = 3 * g.source[1]

    def calls(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        source = (Mark.SOURCE, Mark.STRIDE, safe, row_bytes, pad)
        return [Call(image_ir.opencv_linear, (*source, offset, weight, groups, row_index, row_weight, a, b, rows, dst))]

    return calls


def _fixed(g: Geometry, x: Taps, y: Taps, vertical_first: bool) -> Resize:
    x, y = x.part(g.columns.start, g.columns.stop), y.part(g.rows.start, g.rows.stop)
    h, w = g.source
    offset, weight, quads = tables.pack_weights(x, image_ir.has_vnni(jit.host_features()))
    groups = len(offset) // 4
    reach = 12 * (quads - 1) + 16
    safe, room = _safe_rows(offset, reach, g)
    pad = np.zeros(room, np.uint8)
    first = np.ascontiguousarray(y.first, np.int32)
    used = (y.weight != 0)[:, ::-1].argmax(axis=1)  # zero weights at the end need no work
    count = np.minimum(y.weight.shape[1] - used, h - y.first).astype(np.int32)
    y_weight = np.ascontiguousarray(y.weight, np.int32)
    vertical = (first, count, y_weight, y_weight.shape[1], y.bits)

    def span(a: int, b: int) -> tuple[int, int]:
        return int(first[a:b].min()), int((first[a:b] + count[a:b]).max())

    def horizontal(source: tuple[Any, ...], y0: int, y1: int, dst: NDArray[np.uint8]) -> Call:
        return Call(image_ir.fixed_horizontal, (*source, pad, offset, weight, groups, quads, x.bits, y0, y1, dst))

    def along_x_first(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        y0, y1 = span(a, b)
        between = np.empty((y1 - y0, groups * 16), np.uint8)
        width = groups * 16
        return [
            horizontal((Mark.SOURCE, Mark.STRIDE, safe, 3 * w), y0, y1, between),
            Call(image_ir.fixed_vertical, (between, width, *vertical, width, y0, a, b, dst, width)),
        ]

    def along_y_first(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        stride = room
        between = np.zeros((b - a, stride), np.uint8)
        return [
            Call(image_ir.fixed_vertical, (Mark.SOURCE, Mark.STRIDE, *vertical, 3 * w, 0, a, b, between, stride)),
            horizontal((between, stride, b - a, 3 * w), 0, b - a, dst),
        ]

    return along_y_first if vertical_first else along_x_first


def _cubic(g: Geometry) -> Resize:
    x = tables.opencv_cubic(g.source[1], g.full[1]).part(g.columns.start, g.columns.stop)
    y = tables.opencv_cubic(g.source[0], g.full[0]).part(g.rows.start, g.rows.stop)
    taps = np.clip(x.first[:, None] + np.arange(4), 0, g.source[1] - 1)
    x_byte, x_weight = np.ascontiguousarray(taps * 3, np.int32), np.ascontiguousarray(x.weight, np.int32)
    y_row, y_weight = _rows(y, g, 4), np.ascontiguousarray(y.weight, np.int32)
    rows, held = np.empty(4 * 3 * g.width, np.int32), np.empty(4, np.int64)
    tail = max(0, 3 * g.full[1] // 8 * 8 - 3 * g.columns.start)

    def calls(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        arguments = (x_byte, x_weight, y_row, y_weight, g.width, tail, a, b, rows, held, dst, dst.shape[1] // 4)
        return [Call(image_scalar.opencv_cubic, (Mark.SOURCE, Mark.STRIDE, *arguments))]

    return calls


def _area(g: Geometry) -> Resize:
    x = tables.opencv_area(g.source[1], g.full[1]).part(g.columns.start, g.columns.stop)
    y = tables.opencv_area(g.source[0], g.full[0]).part(g.rows.start, g.rows.stop)
    x_byte, y_row = (x.first * 3).astype(np.int32), y.first.astype(np.int32)
    x_count, y_count = ((t.weight != 0).sum(axis=1).astype(np.int32) for t in (x, y))
    rows = np.empty(2 * 3 * g.width, np.float32)

    def calls(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        along_x = (x_byte, x_count, x.weight, x.weight.shape[1])
        along_y = (y_row, y_count, y.weight, y.weight.shape[1])
        arguments = (*along_x, *along_y, g.width, a, b, rows, dst, dst.shape[1] // 4)
        return [Call(image_scalar.opencv_area, (Mark.SOURCE, Mark.STRIDE, *arguments))]

    return calls


def _area_whole(g: Geometry) -> Resize:
    step = (g.source[1] // g.full[1], g.source[0] // g.full[0])

    def calls(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        arguments = (*step, g.columns.start, g.rows.start, g.width, a, b, dst, dst.shape[1] // 4)
        return [Call(image_scalar.opencv_area_whole, (Mark.SOURCE, Mark.STRIDE, *arguments))]

    return calls


def _nearest(g: Geometry) -> Resize:
    x = tables.opencv_nearest(g.source[1], g.full[1]).part(g.columns.start, g.columns.stop)
    y = tables.opencv_nearest(g.source[0], g.full[0]).part(g.rows.start, g.rows.stop)
    x_byte, y_row = (x.first * 3).astype(np.int32), y.first.astype(np.int32)

    def calls(a: int, b: int, dst: NDArray[np.uint8]) -> list[Call]:
        arguments = (x_byte, y_row, g.width, a, b, dst, dst.shape[1] // 4)
        return [Call(image_scalar.nearest, (Mark.SOURCE, Mark.STRIDE, *arguments))]

    return calls


@dataclass(frozen=True)
class Target:
    """Where the finish step writes: strides in elements, `offset` of the first pixel; and its constants."""

    kernel: Kernel | None
    constants: NDArray[np.float32]
    offset: int
    row: int
    plane: int
    pixel: int


def strips(g: Geometry, is_float: bool) -> list[tuple[int, int]]:
    """Runs of output rows whose intermediate rows fit STRIP_BYTES."""
    if g.height == 0 or g.width == 0:
        return []
    a_row = tables.padded(g.width) * 4 * (1 + (0 if is_float else max(1.0, g.source[0] / g.full[0])))
    size = max(8, int(STRIP_BYTES / a_row))
    count = -(-g.height // size)
    edges = [g.height * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def strip_calls(mode: str, g: Geometry, target: Target) -> list[list[Call]]:
    """The native calls of each strip, with scratch memory of their own."""
    if target.kernel is None:
        return [_float_strip(mode, g, target, a, b) for a, b in strips(g, True)]
    resize = resizer(mode, g)
    runs = strips(g, False)
    wide = tables.padded(g.width) * 4
    dst = np.zeros((max((b - a for a, b in runs), default=0), wide), np.uint8)
    result = []
    for a, b in runs:
        out = Output(target.offset + a * target.row)
        finish = (dst, b - a, g.width, out, target.row, target.plane, target.constants)
        result.append([*resize(a, b, dst), Call(target.kernel, finish)])
    return result


def _float_strip(mode: str, g: Geometry, target: Target, a: int, b: int) -> list[Call]:
    name, antialias, align = tables.torch_words(mode)
    x = tables.torch_float(g.source[1], g.full[1], name, antialias, align).part(g.columns.start, g.columns.stop)
    y = tables.torch_float(g.source[0], g.full[0], name, antialias, align).part(g.rows.start, g.rows.stop)
    x_byte, y_row = (x.first * 3).astype(np.int32), y.first.astype(np.int32)
    taps = (x.weight.shape[1], y.weight.shape[1])
    rows = np.empty((1 + taps[1]) * 3 * g.width, np.float32)
    along_x = (x_byte, np.ascontiguousarray(x.weight), taps[0], 3 * (g.source[1] - 1))
    along_y = (y_row, np.ascontiguousarray(y.weight), taps[1], g.source[0] - 1)
    out = (Output(target.offset + a * target.row), target.row, target.pixel, target.plane)
    arguments = (*along_x, *along_y, g.width, a, b, rows, target.constants, *out)
    return [Call(image_scalar.float_resize, (Mark.SOURCE, Mark.STRIDE, *arguments))]


class Template:
    """The calls of one strip as rows of slots; `filled` writes the addresses of images into copies of them."""

    WIDTH = 24

    def __init__(self, calls: list[Call], item_size: int) -> None:
        self._calls = calls  # keeps tables and scratch alive
        self._slots = np.zeros((len(calls), self.WIDTH), np.uint64)
        self._marks: dict[Mark, list[tuple[int, int]]] = {Mark.SOURCE: [], Mark.STRIDE: []}
        self._outputs: list[tuple[int, int, int]] = []
        for i, call in enumerate(calls):
            values = []
            for j, value in enumerate(call.arguments):
                if isinstance(value, Mark):
                    self._marks[value].append((i, j + 1))
                elif isinstance(value, Output):
                    self._outputs.append((i, j + 1, value.offset * item_size))
                values.append(0 if isinstance(value, (Mark, Output)) else value)
            block = np.frombuffer(call.kernel.slots(*values), np.uint64)
            self._slots[i, 0] = call.kernel.address
            self._slots[i, 1 : 1 + len(block)] = block

    def filled(
        self, sources: NDArray[np.uint64], strides: NDArray[np.uint64], outputs: NDArray[np.uint64]
    ) -> NDArray[np.uint64]:
        """[images, calls, WIDTH] for images at these addresses."""
        made = np.repeat(self._slots[None], len(sources), axis=0)
        for mark, values in ((Mark.SOURCE, sources), (Mark.STRIDE, strides)):
            for i, j in self._marks[mark]:
                made[:, i, j] = values
        for i, j, offset in self._outputs:
            made[:, i, j] = outputs + np.uint64(offset)
        return made

    def run_guarded(self, image: NDArray[np.uint8], out: NDArray[Any]) -> None:
        """Call by call with arrays, so that each is checked by the guard pages."""
        flat = out.reshape(-1)
        flat = flat.view(np.uint16) if flat.dtype == np.float16 else flat
        for call in self._calls:
            values: list[Any] = []
            for value in call.arguments:
                if value is Mark.SOURCE:
                    values.append(np.ascontiguousarray(image))
                elif value is Mark.STRIDE:
                    values.append(image.shape[1] * 3)
                else:
                    values.append(jit.At(flat, value.offset) if isinstance(value, Output) else value)
            call.kernel(*values)
