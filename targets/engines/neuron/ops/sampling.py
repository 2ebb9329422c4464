"""Values between the pixels: sampled at coordinates that other tensors give.

All of it is gathers of whole pixels with weights; a pixel outside gives 0, the one at the edge, or its mirror image.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.resize import cubic_taps
from neoc.targets.engines.neuron.table import CONSTANT, FLOATS, In, Op, Rule, Xla

Array = Any


def pixels(j: Xla, x: Array, at: Sequence[Array], inside: Array | None) -> Array:
    """x (N, C, sizes...) at whole coordinates, one array (N, points...) an axis, in range; 0 where not `inside`."""
    sizes = x.shape[2:]
    flat = j.np.zeros(at[0].shape, j.np.int32)
    for index, size in zip(at, sizes, strict=True):
        flat = flat * size + index
    points = flat.reshape(flat.shape[0], 1, -1)
    found = j.np.take_along_axis(x.reshape(*x.shape[:2], -1), points, 2, mode="clip")
    found = found.reshape(*x.shape[:2], *flat.shape[1:])
    return found if inside is None else j.np.where(inside[:, None], found, 0)


# ---- GridSample --------------------------------------------------------------------------------------


def _reflected(j: Xla, x: Array, low: float, high: float) -> Array:
    """x mirrored at the borders until it lies between them."""
    span = high - low
    if span <= 0:
        return j.np.zeros_like(x)
    far = j.np.abs(x - low)
    times = j.np.floor(far / span)
    rest = far - times * span
    turned = j.np.where(times % 2 == 0, low + rest, high - rest)
    return j.np.where((x < low) | (x > high), turned, x)


def _grid_sample(c: Call, j: Xla, x: Array, grid: Array) -> Array:
    """The grid's last axis names the axes of x backwards, from -1 to 1."""
    sizes, padding = x.shape[2:], c.attribute("padding_mode", "zeros")
    corners = bool(c.attribute("align_corners", 0))
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(c.attribute("mode", "linear"), c.attribute("mode", "linear"))
    borders = [(0.0, n - 1.0) if corners else (-0.5, n - 0.5) for n in sizes]
    at = []
    for axis, (size, border) in enumerate(zip(sizes, borders, strict=True)):
        g = grid[..., len(sizes) - 1 - axis].astype(j.np.float32)
        p = (g + 1) / 2 * (size - 1) if corners else ((g + 1) * size - 1) / 2
        p = j.np.round(p) if mode == "nearest" else p
        outside = (p < border[0]) | (p > border[1])
        if mode == "cubic":
            pass  # its four taps are moved one by one, as PyTorch and onnxruntime do
        elif padding == "border":
            p = j.np.where(outside, j.np.clip(p, 0, size - 1), p)
        elif padding == "reflection":
            p = _reflected(j, p, *border)
        at.append(p)

    def whole(indices: Sequence[Array]) -> Array:
        """Pixels at indices that may lie outside."""
        inside, kept = None, []
        for i, size, border in zip(indices, sizes, borders, strict=True):
            if padding == "reflection":
                i = j.np.trunc(_reflected(j, i, *border))
            elif padding == "zeros":
                fits = (i >= 0) & (i < size)
                inside = fits if inside is None else inside & fits
            kept.append(j.np.clip(i, 0, size - 1).astype(j.np.int32))
        return pixels(j, x, kept, inside)

    if mode == "nearest":
        return whole(at)
    return _interpolated(j, at, whole, cubic=mode == "cubic").astype(x.dtype)


def _interpolated(j: Xla, at: Sequence[Array], whole: Callable[[Sequence[Array]], Array], cubic: bool) -> Array:
    """The sum over all neighbours of weight times pixel; weights are products over the axes."""
    choices = []
    for p in at:
        floor = j.np.floor(p)
        t = p - floor
        taps = cubic_taps(t, -0.75) if cubic else [1 - t, t]
        choices.append([(floor + (o - cubic), w) for o, w in enumerate(taps)])
    total: Array = 0
    for corner in itertools.product(*choices):
        weight = corner[0][1]
        for _, w in corner[1:]:
            weight = weight * w
        total = total + whole([i for i, _ in corner]).astype(j.np.float32) * weight[:, None]
    return total


def _affine_grid(c: Call, j: Xla, theta: Array, size: np.ndarray) -> Array:
    """theta times the homogeneous coordinates of every element, the last axis first."""
    sizes = [int(n) for n in size.reshape(-1)[2:]]
    corners = bool(c.attribute("align_corners", 0))
    axes = [np.linspace(-1, 1, n) if corners else (np.arange(n) * 2 + 1) / n - 1 for n in sizes]
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*mesh[::-1], np.ones_like(mesh[0])], -1).astype(np.float32)
    flat = j.np.asarray(base.reshape(-1, len(sizes) + 1), theta.dtype)
    grid = j.np.matmul(flat[None], j.np.swapaxes(theta, 1, 2))
    return grid.reshape(theta.shape[0], *sizes, len(sizes))


# ---- deformable convolution ------------------------------------------------------------------------------


def _bilinear(j: Xla, x: Array, y_at: Array, x_at: Array) -> Array:
    """x (N, C, H, W) at real coordinates (N, points...); what lies outside is 0."""
    sizes = x.shape[2:]

    def whole(indices: Sequence[Array]) -> Array:
        inside = j.np.ones(indices[0].shape, bool)
        for i, size in zip(indices, sizes, strict=True):
            inside &= (i >= 0) & (i < size)
        kept = [j.np.clip(i, 0, n - 1).astype(j.np.int32) for i, n in zip(indices, sizes, strict=True)]
        return pixels(j, x, kept, inside)

    return _interpolated(j, [y_at, x_at], whole, cubic=False)


def _deform_conv(
    c: Call, j: Xla, x: Array, w: Array, offset: Array, bias: Array | None = None, mask: Array | None = None
) -> Array:
    """A convolution whose kernel looks beside each of its places by an offset of its own."""
    groups, shifted = c.attribute("group", 1), c.attribute("offset_group", 1)
    (kh, kw), (oh, ow), batch = w.shape[2:], offset.shape[2:], x.shape[0]
    strides, dilations = c.attribute("strides", (1, 1)), c.attribute("dilations", (1, 1))
    pads = c.attribute("pads", (0,) * 4)
    moved = offset.reshape(batch, shifted, kh, kw, 2, oh, ow).astype(j.np.float32)
    places = []
    for axis, (k, out) in enumerate(((kh, oh), (kw, ow))):
        start = np.arange(out, dtype=np.float32) * strides[axis] - pads[axis]
        within = np.arange(k, dtype=np.float32) * dilations[axis]
        shape = [(k, 1, out, 1), (1, k, 1, out)][axis]
        base = (within[:, None] + start[None, :]).reshape(shape)
        places.append(moved[:, :, :, :, axis] + base)
    fold = (batch * shifted, kh, kw, oh, ow)
    parts = x.reshape(batch * shifted, x.shape[1] // shifted, *x.shape[2:])
    sampled = _bilinear(j, parts, places[0].reshape(fold), places[1].reshape(fold))
    if mask is not None:
        sampled = sampled * mask.reshape(batch * shifted, 1, kh, kw, oh, ow)
    sampled = sampled.reshape(batch, groups, x.shape[1] // groups, kh, kw, oh, ow).astype(x.dtype)
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    y = j.np.einsum("ngcijhw,gocij->ngohw", sampled, weights).reshape(batch, w.shape[0], oh, ow)
    return y if bias is None else y + bias.reshape(1, -1, 1, 1)


# ---- regions of interest -----------------------------------------------------------------------------------


def _roi_align(c: Call, j: Xla, x: Array, rois: Array, batches: Array) -> Array:
    """Each region cut into bins, each bin sampled at ratio x ratio points, and their mean or maximum."""
    height, width = x.shape[2:]
    out = (c.attribute("output_height", 1), c.attribute("output_width", 1))
    ratio, half = c.attribute("sampling_ratio", 0), _half_pixel(c)
    scaled = rois.astype(j.np.float32) * c.attribute("spatial_scale", 1.0) - (0.5 if half else 0.0)
    places = []
    for axis, (first, last) in enumerate(((1, 3), (0, 2))):
        start, span = scaled[:, first], scaled[:, last] - scaled[:, first]
        span = span if half else j.np.maximum(span, 1.0)
        steps = (np.arange(out[axis] * ratio, dtype=np.float32) + 0.5) / ratio
        places.append(start[:, None] + span[:, None] / out[axis] * steps)
    y_at, x_at = (j.np.broadcast_to(p, (rois.shape[0], out[0] * ratio, out[1] * ratio)) for p in (
        places[0][:, :, None], places[1][:, None, :]))  # fmt: skip
    outside = (y_at < -1) | (y_at > height) | (x_at < -1) | (x_at > width)
    maps = j.np.take(x, batches, axis=0, mode="clip")
    choices = []
    for p, size in ((y_at, height), (x_at, width)):
        p = j.np.maximum(p, 0)
        low = j.np.minimum(j.np.floor(p), size - 1)
        p = j.np.where(low >= size - 1, low, p)
        choices.append(((low, 1 - (p - low)), (j.np.minimum(low + 1, size - 1), p - low)))
    corners = [
        pixels(j, maps, [a.astype(j.np.int32), b.astype(j.np.int32)], None)
        * j.np.where(outside, 0, wa * wb)[:, None].astype(x.dtype)
        for (a, wa), (b, wb) in itertools.product(*choices)
    ]
    average = c.attribute("mode", "avg") == "avg"
    points = corners[0]
    for corner in corners[1:]:  # the maximum is taken over the weighted corners, too: so the definition
        points = points + corner if average else j.np.maximum(points, corner)
    bins = points.reshape(*points.shape[:2], out[0], ratio, out[1], ratio)
    return (j.np.mean if average else j.np.max)(bins, (3, 5))


def _half_pixel(c: Call) -> bool:
    default = "output_half_pixel" if c.version < 16 else "half_pixel"
    return bool(c.attribute("coordinate_transformation_mode", default) == "half_pixel")


_ADAPTIVE = Rule(
    lambda c: c.attribute("sampling_ratio", 0) <= 0,
    "sampling_ratio 0 takes as many points as each region is large: Neuron programs have static shapes",
    "give sampling_ratio a number",
    "EMOD025",
)
_MANY = Rule(
    lambda c: prod(c.shape(1)[1:-1]) * 4 ** (c.shape(1)[-1]) > 1 << 26,
    "the grid is too large to be sampled pixel by pixel",
    "sample a smaller grid",
)
_F = In(FLOATS)
_WHOLE = In(frozenset({"int32", "int64"}))

OPS = (
    Op("AffineGrid", (20, 20), (_F, CONSTANT), _affine_grid),
    Op("DeformConv", (19, 22), (In(FLOATS, ranks=(4, 4)), In(FLOATS, ranks=(4, 4)), _F), _deform_conv),
    Op(
        "GridSample",
        (16, 22),
        (In(FLOATS, ranks=(3, 5)), _F),
        _grid_sample,
        {
            "mode": ("linear", "nearest", "cubic", "bilinear", "bicubic"),
            "padding_mode": ("zeros", "border", "reflection"),
        },
        rules=(_MANY,),
    ),
    Op(
        "RoiAlign",
        (10, 22),
        (In(FLOATS, ranks=(4, 4)), _F, _WHOLE),
        _roi_align,
        {"mode": ("avg", "max")},
        rules=(_ADAPTIVE,),
    ),
)
