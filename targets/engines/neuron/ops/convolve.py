"""Windows, and convolution over 1 to 3 spatial axes, channels first.

Two constraints of the compiler shape the lowering. A window may not be dilated in a reduce-window (NCC_EVRF018):
dilated pools are elementwise over shifted slices instead. A convolution may dilate its input (a transposed one does)
only with stride 1 and an undilated kernel (NCC_EVRF010, NCC_EVRF011): a dilated kernel is spread out with zeros first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.normalise import per_channel
from neoc.targets.engines.neuron.table import FLOATS, In, Op, Xla

Array = Any
Pads = list[tuple[int, int]]
SPATIAL = In(FLOATS, ranks=(3, 5))
PADDED = {"auto_pad": ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")}


# ---- windows ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes, one entry an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    """as the operator states them"""
    extra: tuple[int, ...]
    """what ceil_mode adds at the end"""

    @property
    def padding(self) -> Pads:
        """Of the whole tensor: batch and channels, too."""
        return [(0, 0), (0, 0)] + [(a, b + e) for (a, b), e in zip(self.pads, self.extra, strict=True)]

    @property
    def is_dilated(self) -> bool:
        return any(d > 1 for d in self.dilations)


def window_of(c: Call, kernel: Sequence[int]) -> Window:
    """The window of a Conv or a pool over the call's first input."""
    sizes = c.shape()[2:]
    n = len(sizes)
    strides = tuple(c.attribute("strides", (1,) * n))
    dilations = tuple(c.attribute("dilations", (1,) * n))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(c, sizes, spans, strides)
    extra = [0] * n
    if c.attribute("ceil_mode", 0):
        extra = [_ceil_extra(*args) for args in zip(sizes, spans, strides, pads, strict=True)]
    return Window(tuple(kernel), strides, dilations, tuple(pads), tuple(extra))


def _pads(c: Call, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> Pads:
    n, auto = len(sizes), c.attribute("auto_pad", "NOTSET")
    if auto == "NOTSET":
        flat = c.attribute("pads", (0,) * (2 * n))
        return [(flat[i], flat[i + n]) for i in range(n)]
    if auto == "VALID":
        return [(0, 0)] * n
    totals = [max((-(-i // s) - 1) * s + span - i, 0) for i, s, span in zip(sizes, strides, spans, strict=True)]
    return [_halves(total, auto == "SAME_UPPER") for total in totals]


def _halves(total: int, upper: bool) -> tuple[int, int]:
    """A total padding in two; the odd one goes to the end where `upper`, else to the beginning."""
    small = total // 2
    return (small, total - small) if upper else (total - small, small)


def _ceil_extra(size: int, span: int, stride: int, pad: tuple[int, int]) -> int:
    """How much more padding the last window needs where the output's size is rounded up.

    A window that would begin in the padding at the end is none.
    """
    padded = size + sum(pad)
    count = -(-(padded - span) // stride) + 1
    if (count - 1) * stride >= size + pad[0]:
        count -= 1
    return max((count - 1) * stride + span - padded, 0)


def reduce_window(j: Xla, x: Array, window: Window, start: Any, combine: Callable[..., Array]) -> Array:
    """`combine` over each window of `x`, padded with `start`."""
    if not window.is_dilated:
        sizes, steps = (1, 1, *window.kernel), (1, 1, *window.strides)
        return j.lax.reduce_window(x, start, combine, sizes, steps, window.padding)
    return functools.reduce(combine, shifted_slices(j, x, window, start))


def shifted_slices(j: Xla, x: Array, window: Window, start: Any) -> list[Array]:
    """For each place of the kernel, in order, the element that every window has there; `start` in the padding."""
    padded = j.lax.pad(x, start, [(a, b, 0) for a, b in window.padding])
    counts = [
        (padded.shape[2 + i] - (k - 1) * d - 1) // s + 1
        for i, (k, d, s) in enumerate(zip(window.kernel, window.dilations, window.strides, strict=True))
    ]
    slices = []
    for offsets in itertools.product(*map(range, window.kernel)):
        begin = [o * d for o, d in zip(offsets, window.dilations, strict=True)]
        end = [b + (n - 1) * s + 1 for b, n, s in zip(begin, counts, window.strides, strict=True)]
        whole = [0, 0], list(padded.shape[:2])
        slices.append(j.lax.slice(padded, whole[0] + begin, whole[1] + end, (1, 1, *window.strides)))
    return slices


# ---- convolution ---------------------------------------------------------------------------------------


def layout(j: Xla, rank: int) -> Any:
    axes = tuple(range(rank))
    return j.lax.ConvDimensionNumbers(axes, axes, axes)


def convolve(c: Call, j: Xla, x: Array, weights: Array, bias: Array | None = None) -> Array:
    """Any dtype that the caller made equal: int32 sums of quantised values, too."""
    window = window_of(c, weights.shape[2:])
    y = j.lax.conv_general_dilated(
        x,
        weights,
        window.strides,
        window.pads,
        rhs_dilation=window.dilations,
        feature_group_count=c.attribute("group", 1),
        dimension_numbers=layout(j, x.ndim),
    )
    return y if bias is None else y + per_channel(bias, x.ndim)


def transposed(c: Call, j: Xla, x: Array, weights: Array, bias: Array | None = None) -> Array:
    """The gradient of a convolution: stride 1 over the input spread out by `strides`, with the kernel turned round."""
    n, groups = x.ndim - 2, c.attribute("group", 1)
    strides, pads, extra = _transposed_window(c, x.shape[2:], weights.shape[2:])
    dilations = tuple(c.attribute("dilations", (1,) * n))
    # (C, M/group, k...) -> (M, C/group, k...), each group by itself
    kernel = weights.reshape((groups, weights.shape[0] // groups, *weights.shape[1:]))
    kernel = j.np.swapaxes(kernel, 1, 2).reshape((-1, weights.shape[0] // groups, *weights.shape[2:]))
    kernel = j.lax.rev(kernel, tuple(range(2, x.ndim)))
    if any(d > 1 for d in dilations):
        spread = [(0, 0, 0)] * 2 + [(0, 0, d - 1) for d in dilations]
        kernel = j.lax.pad(kernel, j.np.zeros((), kernel.dtype), spread)
    spans = kernel.shape[2:]
    padding = [(k - 1 - a, k - 1 - b + e) for k, (a, b), e in zip(spans, pads, extra, strict=True)]
    y = j.lax.conv_general_dilated(
        x,
        kernel,
        (1,) * n,
        padding,
        lhs_dilation=strides,
        feature_group_count=groups,
        dimension_numbers=layout(j, x.ndim),
    )
    return y if bias is None else y + per_channel(bias, x.ndim)


def _transposed_window(
    c: Call, sizes: Sequence[int], kernel: Sequence[int]
) -> tuple[tuple[int, ...], Pads, tuple[int, ...]]:
    """Strides, pads and output padding of a ConvTranspose, by the formulas of its definition."""
    n = len(sizes)
    strides = tuple(c.attribute("strides", (1,) * n))
    dilations = c.attribute("dilations", (1,) * n)
    extra = tuple(c.attribute("output_padding", (0,) * n))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto, wanted = c.attribute("auto_pad", "NOTSET"), c.attribute("output_shape")
    if auto in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = [i * s for i, s in zip(sizes, strides, strict=True)]
    if wanted is None:
        flat = c.attribute("pads", (0,) * (2 * n)) if auto == "NOTSET" else (0,) * (2 * n)
        return strides, [(flat[i], flat[i + n]) for i in range(n)], extra
    totals = [
        s * (i - 1) + e + span - out for s, i, e, span, out in zip(strides, sizes, extra, spans, wanted, strict=True)
    ]
    # A negative total is an output that is larger than the windows reach: it is padded, not cut.
    extra = tuple(e + max(-t, 0) for e, t in zip(extra, totals, strict=True))
    return strides, [_halves(max(t, 0), auto == "SAME_UPPER") for t in totals], extra


# ---- blocks of pixels ------------------------------------------------------------------------------------------


def _depth_to_space(c: Call, j: Xla, x: Array) -> Array:
    n, channels, height, width = x.shape
    b = c.attribute("blocksize")
    if c.attribute("mode", "DCR") == "DCR":
        x = x.reshape(n, b, b, channels // (b * b), height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, channels // (b * b), b, b, height, width).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, channels // (b * b), height * b, width * b)


def _space_to_depth(c: Call, j: Xla, x: Array) -> Array:
    n, channels, height, width = x.shape
    b = c.attribute("blocksize")
    x = x.reshape(n, channels, height // b, b, width // b, b)
    order = (0, 3, 5, 1, 2, 4) if c.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.transpose(order).reshape(n, channels * b * b, height // b, width // b)


# ---- convolution with a memory ---------------------------------------------------------------------------------


def _causal(
    c: Call, j: Xla, x: Array, weights: Array, bias: Array | None = None, past: Array | None = None
) -> tuple[Array, Array]:
    """Each channel by itself, over the steps before and its own; the last k-1 steps are kept for the next call."""
    size = weights.shape[2]
    before = j.np.zeros((*x.shape[:2], size - 1), x.dtype) if past is None else past
    padded = j.lax.concatenate([before, x], 2)
    y = j.lax.conv_general_dilated(
        padded, weights, (1,), [(0, 0)], feature_group_count=x.shape[1], dimension_numbers=layout(j, 3)
    )
    y = y if bias is None else y + per_channel(bias, 3)
    if c.attribute("activation", "none") in ("silu", "swish"):
        wide = y.astype(j.np.float32)
        y = (wide * j.lax.logistic(wide)).astype(x.dtype)
    return y, j.lax.slice_in_dim(padded, padded.shape[2] - (size - 1), padded.shape[2], axis=2)


_BIAS = In(FLOATS, ranks=(1, 1))
_PIXELS = In(FLOATS | {"int8", "uint8", "int32"}, ranks=(4, 4))
_LINE = In(FLOATS, ranks=(3, 3))

OPS = (
    Op(
        "CausalConvWithState",
        (27, 27),
        (_LINE, _LINE, _BIAS, _LINE),
        _causal,
        {"activation": ("none", "silu", "swish")},
        outputs=2,
    ),
    Op("Conv", (1, 22), (SPATIAL, SPATIAL, _BIAS), convolve, PADDED),
    Op("ConvTranspose", (1, 22), (SPATIAL, SPATIAL, _BIAS), transposed, PADDED),
    Op("DepthToSpace", (1, 28), (_PIXELS,), _depth_to_space, {"mode": ("DCR", "CRD")}),
    Op("SpaceToDepth", (1, 28), (_PIXELS,), _space_to_depth, {"mode": ("DCR", "CRD")}),
)
