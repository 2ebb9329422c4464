"""Convolutions along one axis: Winograd's minimal filtering out of ordinary operators, and the form engines block.

F(m, r): m outputs of an r-tap filter by a = m + r - 1 products instead of m * r (Winograd, Arithmetic Complexity of
Computations, 1980; the matrices are Toom and Cook's, from a points, one of them at infinity):

    y = AT [ (G w) * (BT x) ]      for every tile of a inputs, the tiles m apart

BT is a Conv with stride m over each channel alone, the products of all channels are one MatMul for each of the a
points, AT is a MatMul. U = G w is computed in double precision. BT's rows are scaled to a largest entry of 1, G's by
the inverse, which keeps float32 near direct convolution.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx_ir as ir

from neoc.compile.rewrites.conv import AUTO_PAD, DILATION, DTYPE, GROUP, STRIDE, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

_POINTS = [Fraction(*p) for p in ((0, 1), (1, 1), (-1, 1), (1, 2), (-1, 2), (2, 1), (-2, 1), (1, 4), (-1, 4))]
_MOST_POINTS = 8
"""a tile needs a points; past eight float32 loses more digits than the products save"""


def matrices(m: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AT [m, a], G [a, r], BT [a, a] in double precision, exact fractions before that."""
    a = m + r - 1
    points = _POINTS[: a - 1]
    bt = [[Fraction(0)] * a for _ in range(a)]
    g = [[Fraction(0)] * r for _ in range(a)]
    for j, p in enumerate(points):
        others = [q for q in points if q != p]
        bt[j] = [*_product(others), Fraction(0)]
        scale = Fraction(1)
        for q in others:
            scale *= p - q
        g[j] = [p**k / scale for k in range(r)]
    bt[a - 1] = _product(points)
    g[a - 1][r - 1] = Fraction(1)
    at = [[p**i for p in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    for row, filters in zip(bt, g, strict=True):
        largest = max(map(abs, row))
        row[:] = [x / largest for x in row]
        filters[:] = [x * largest for x in filters]
    return tuple(np.array(matrix, np.float64) for matrix in (at, g, bt))  # type: ignore[return-value]


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, the constant first."""
    poly = [Fraction(1)]
    for root in roots:
        poly = [low - root * high for low, high in zip([Fraction(0), *poly], [*poly, Fraction(0)], strict=True)]
    return poly


# ---- Winograd ------------------------------------------------------------------------------------


def _along(conv: Conv) -> int | None:
    """The spatial axis that the kernel lies along, where it is one wide in all others."""
    wide = [i for i, k in enumerate(conv.kernel) if k > 1]
    return wide[0] if len(wide) == 1 else None


def _find(node: ir.Node, opset: int) -> Site | None:
    site = find_conv(node, opset)
    if site is None or (axis := _along(site["conv"])) is None or len(site["conv"].kernel) > 2:
        return None
    site.facts["axis"] = axis
    return site


def _known(site: Site) -> bool:
    """The axis has a fixed size, from which the number of tiles follows."""
    return site["conv"].spatial[site["axis"]] is not None


def _single_line(site: Site) -> bool:
    """The other spatial axis, if there is one, is one wide and is not padded: tiles would have to be made of lines."""
    conv: Conv = site["conv"]
    other = [i for i in range(len(conv.kernel)) if i != site["axis"]]
    return all(conv.spatial[i] == 1 and conv.pads[i] == conv.pads[i + len(conv.kernel)] == 0 for i in other)


def _enough(site: Site) -> bool:
    """Work enough that fewer products can pay for the transforms."""
    conv: Conv = site["conv"]
    out, inside, *_ = conv.shape
    return out >= 32 and inside >= 32 and conv.out(site["axis"]) >= 4


def _tiles(site: Site) -> tuple[int, ...]:
    """m, the largest first."""
    taps = site["conv"].kernel[site["axis"]]
    return tuple(m for m in (4, 6, 2) if m + taps - 1 <= _MOST_POINTS)


def _winograd(site: Site, editor: Editor, m: int) -> ir.Value | None:
    conv: Conv = site["conv"]
    axis = site["axis"]
    r, channels = conv.kernel[axis], conv.shape[1]
    a = m + r - 1
    at, g, bt = matrices(m, r)
    u = np.einsum("ak,ock->aoc", g, conv.weights().reshape(conv.shape[0], channels, r))
    length, wanted = conv.spatial[axis], conv.out(axis)
    assert length is not None
    tiles = -(-wanted // m)
    begin = conv.pads[axis]
    end = tiles * m + r - 1 - length - begin
    value = site.node.inputs[0]
    assert value is not None
    # One channel at a time, as a batch of single-channel lines: [N*C, 1, 1, L] in the 2-D form that engines block.
    lines = editor.reshape(value, -1, 1, 1, length)
    kernel = editor.const(bt.reshape(a, 1, 1, a), np.float32)
    v = editor.op("Conv", lines, kernel, kernel_shape=[1, a], strides=[1, m], pads=[0, begin, 0, max(end, 0)])
    v = editor.transpose(editor.reshape(v, -1, channels, a, tiles), 2, 0, 1, 3)  # [a, N, C, T]
    products = editor.op("MatMul", editor.const(u[:, None], np.float32), v)  # [a, N, O, T]
    flat = editor.op("MatMul", editor.const(at, np.float32), editor.reshape(products, a, -1))  # [m, N*O*T]
    y = editor.transpose(editor.reshape(flat, m, -1, conv.shape[0], tiles), 1, 2, 3, 0)  # [N, O, T, m]
    y = editor.reshape(y, -1, conv.shape[0], tiles * m)
    if tiles * m > wanted:
        y = editor.cut(y, 2, 0, wanted)
    if conv.bias is not None:
        y = editor.op("Add", y, editor.reshape(conv.bias, 1, conv.shape[0], 1))
    if len(conv.kernel) == 1:
        return y
    return editor.reshape(y, -1, conv.shape[0], *((wanted, 1) if axis == 0 else (1, wanted)))


WINOGRAD_1D = Rule(
    "winograd-1d",
    "y = AT [(G w) * (BT x)]: m outputs of r taps by m + r - 1 products",
    frozenset({"Conv"}),
    _find,
    (
        DTYPE,
        GROUP,
        AUTO_PAD,
        DILATION,
        STRIDE,
        Guard("dynamic", _known),
        Guard("axis", _single_line),
    ),
    _winograd,
    worth=(Guard("size", _enough), Guard("points", lambda site: bool(_tiles(site)))),
    choices=_tiles,
    key=lambda site: site["conv"].key(),
)


# ---- one axis as two -----------------------------------------------------------------------------


def _find_1d(node: ir.Node, opset: int) -> Site | None:
    site = find_conv(node, opset)
    return site if site is not None and len(site["conv"].kernel) == 1 else None


def _as_2d(site: Site, editor: Editor, way: int) -> ir.Value:
    """Conv(x [N,C,L]) = Squeeze(Conv(Unsqueeze(x) [N,C,1,L]))"""
    conv: Conv = site["conv"]
    value = site.node.inputs[0]
    second = editor.ints(2)
    weight = conv.weight.numpy()[:, :, None, :]
    given = [editor.op("Unsqueeze", value, second), editor.const(weight)]
    if conv.bias is not None:
        given.append(conv.bias)
    pads = [0, conv.pads[0], 0, conv.pads[1]]
    both = {"strides": [1, *conv.strides], "dilations": [1, *conv.dilations], "pads": pads}
    wide = editor.op("Conv", *given, kernel_shape=[1, *conv.kernel], group=conv.group, **both)
    return editor.op("Squeeze", wide, second)


CONV_2D = Rule(
    "conv1d-as-2d",
    "Conv(x) over one axis = Squeeze(Conv(Unsqueeze(x))) over two: layouts are blocked in two",
    frozenset({"Conv"}),
    _find_1d,
    (AUTO_PAD,),
    _as_2d,
    opset=13,
)
