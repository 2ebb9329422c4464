"""A convolution that cuts frames out of one signal (a learned or fixed short-time transform) is a matrix product.

    y[c, t] = sum_k w[c, k] x[t*s + k]    =    frames @ w^T,  frames[t] = x[t*s : t*s + k]

Engines choose the kernel of a Conv by channels, of which the signal has one. The frames are made by one Gather, or,
where k is a multiple of s, out of whole hops: frames[t] = hop[t], hop[t+1] ...
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.rewrites.conv import AUTO_PAD, DILATION, DTYPE, GROUP, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

GATHER, HOPS = 1, 2
_LONG = 32
"""taps from which a frame is one"""


def _find(node: ir.Node, opset: int) -> Site | None:
    """A Conv whose kernel lies along one axis, all others being one wide."""
    site = find_conv(node, opset)
    if site is None:
        return None
    conv: Conv = site["conv"]
    wide = [i for i, k in enumerate(conv.kernel) if k > 1]
    if len(wide) != 1:
        return None
    site.facts["axis"] = wide[0]
    return site


def _line(site: Site) -> bool:
    """Every other axis is one wide, and stays so."""
    conv: Conv = site["conv"]
    axes = len(conv.kernel)
    others = [i for i in range(axes) if i != site["axis"]]
    return all(conv.spatial[i] == 1 and conv.out(i) == 1 and not conv.pads[i] for i in others)


def _ways(site: Site) -> tuple[int, ...]:
    conv: Conv = site["conv"]
    axis = site["axis"]
    whole = conv.kernel[axis] % conv.strides[axis] == 0
    return (HOPS, GATHER) if whole else (GATHER,)


def _long(site: Site) -> bool:
    conv: Conv = site["conv"]
    return conv.kernel[site["axis"]] >= _LONG and conv.shape[0] >= 8


def _frames(site: Site, editor: Editor, way: int) -> ir.Value:
    conv: Conv = site["conv"]
    axis = site["axis"]
    taps, stride, count = conv.kernel[axis], conv.strides[axis], conv.out(axis)
    size = conv.spatial[axis]
    assert size is not None
    value = site.node.inputs[0]
    assert value is not None
    line = editor.reshape(value, -1, size)
    if way == HOPS:
        hops = count + taps // stride - 1
        line = line if hops * stride == size else editor.cut(line, 1, 0, hops * stride)
        pieces = editor.reshape(line, -1, hops, stride)
        parts = [editor.cut(pieces, 1, i, i + count) for i in range(taps // stride)]
        frames = parts[0] if len(parts) == 1 else editor.op("Concat", *parts, axis=2)
    else:
        index = np.arange(count)[:, None] * stride + np.arange(taps)
        frames = editor.op("Gather", line, editor.const(index.astype(np.int64)), axis=1)
    weight = conv.weight.numpy().reshape(conv.shape[0], taps)
    y = editor.op("MatMul", frames, editor.const(weight.T))
    if conv.bias is not None:
        y = editor.op("Add", y, conv.bias)
    y = editor.transpose(y, 0, 2, 1)
    if len(conv.kernel) == 1:
        return y
    out = [1] * len(conv.kernel)
    out[axis] = count
    return editor.reshape(y, -1, conv.shape[0], *out)


FRAMING = Rule(
    "framing",
    "Conv(x) of one channel = frames(x) @ w^T",
    frozenset({"Conv"}),
    _find,
    (
        Guard("channels", lambda site: site["conv"].shape[1] == 1),
        GROUP,
        AUTO_PAD,
        Guard("pad", lambda site: not any(site["conv"].pads)),
        DILATION,
        Guard("dynamic", lambda site: site["conv"].spatial[site["axis"]] is not None),
        Guard("axis", _line),
    ),
    _frames,
    worth=(DTYPE, Guard("size", _long)),
    choices=_ways,
    key=lambda site: site["conv"].key(),
)
