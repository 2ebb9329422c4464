"""A convolution that cuts frames out of one signal (a learned or fixed short-time transform) is a matrix product.

    y[c, t] = sum_k w[c, k] x[t*s + k]    =    frames @ w^T,  frames[t] = x[t*s : t*s + k]

Engines choose the kernel of a Conv by channels, of which the signal has one. The frames are made by one Gather, or,
where k is a multiple of s, out of whole hops: frames[t] = hop[t], hop[t+1] ...
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import AUTO_PAD, DILATION, DTYPE, GROUP, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.slices import cuts_of

GATHER, HOPS = 1, 2
VIEWS = frozenset(["Unsqueeze", "Squeeze", "Reshape"])
_LONG = 32
"""taps from which a frame is one"""


def find_frames(node: ir.Node, opset: int) -> Site | None:
    """A Conv whose kernel lies along one axis, all others being one wide. Facts: conv, axis."""
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


def signal(site: Site, editor: Editor) -> tuple[ir.Value, np.ndarray]:
    """The signal as [N, L], and for every sample of the Conv's input which of the L it is.

    Where the input was cut out of a longer one just before, or padded with the signal's own samples, the signal is the
    one before that.
    """
    conv: Conv = site["conv"]
    size = conv.spatial[site["axis"]]
    value = site.node.inputs[0]
    assert size is not None
    assert value is not None
    where = np.arange(size)
    while (step := _before(value, site.opset)) is not None:
        value, of = step
        where = of[where]
    return editor.reshape(value, -1, _last(value) or size), where


def _last(value: ir.Value | None) -> int:
    """The size of the last axis, 0 where it is not known."""
    last = value.shape[-1] if value is not None and value.shape is not None and len(value.shape) else None
    return last if isinstance(last, int) else 0


def _before(value: ir.Value, opset: int) -> tuple[ir.Value, np.ndarray] | None:
    """What `value` was made of without arithmetic, line by line, and which of its samples each sample is."""
    node = value.producer()
    source = node.inputs[0] if node is not None and node.domain == g.ONNX and node.inputs else None
    if node is None or source is None or not _last(source) or not _last(value):
        return None
    if node.op_type in VIEWS:
        return (source, np.arange(_last(source))) if _last(source) == _last(value) else None
    where = None
    if node.op_type == "Pad":
        where = _padded(node, source)
    elif (found := cuts_of(node, opset)) is not None and source.shape is not None:
        last = len(source.shape) - 1
        where = np.arange(*found[1][last]) if set(found[1]) == {last} else None
    return (source, where) if where is not None and len(where) == _last(value) else None


def _padded(node: ir.Node, source: ir.Value) -> np.ndarray | None:
    """For every sample behind a padding by the signal's own samples, along the last axis alone, which one it is."""
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    pads = g.constant_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if mode not in ("reflect", "edge") or pads is None or any(v is not None for v in node.inputs[3:]):
        return None
    widths = np.reshape(pads, (2, -1))
    if np.any(widths[:, :-1]) or np.any(widths < 0):
        return None
    first, last = (int(w) for w in widths[:, -1])
    return np.pad(np.arange(_last(source)), (first, last), mode="reflect" if mode == "reflect" else "edge")


def as_convolved(site: Site, editor: Editor, y: ir.Value) -> ir.Value:
    """`y` [N, filters, frames] in the shape of the Conv's result."""
    conv: Conv = site["conv"]
    if len(conv.kernel) == 1:
        return y
    out = [1] * len(conv.kernel)
    out[site["axis"]] = conv.out(site["axis"])
    return editor.reshape(y, -1, conv.shape[0], *out)


def _frames(site: Site, editor: Editor, way: int) -> ir.Value:
    conv: Conv = site["conv"]
    axis = site["axis"]
    taps, stride, count = conv.kernel[axis], conv.strides[axis], conv.out(axis)
    size = conv.spatial[axis]
    assert size is not None
    value = site.node.inputs[0]
    assert value is not None
    if way == HOPS:
        line = editor.reshape(value, -1, size)
        hops = count + taps // stride - 1
        line = line if hops * stride == size else editor.cut(line, 1, 0, hops * stride)
        pieces = editor.reshape(line, -1, hops, stride)
        parts = [editor.cut(pieces, 1, i, i + count) for i in range(taps // stride)]
        frames = parts[0] if len(parts) == 1 else editor.op("Concat", *parts, axis=2)
    else:
        line, where = signal(site, editor)
        index = where[np.arange(count)[:, None] * stride + np.arange(taps)]
        frames = editor.op("Gather", line, editor.const(index.astype(np.int64)), axis=1)
    weight = conv.weight.numpy().reshape(conv.shape[0], taps)
    y = editor.op("MatMul", frames, editor.const(weight.T))
    if conv.bias is not None:
        y = editor.op("Add", y, conv.bias)
    return as_convolved(site, editor, editor.transpose(y, 0, 2, 1))


CHANNELS = Guard("channels", lambda site: site["conv"].shape[1] == 1)
PAD = Guard("pad", lambda site: not any(site["conv"].pads))
DYNAMIC = Guard("dynamic", lambda site: site["conv"].spatial[site["axis"]] is not None)
LINE = Guard("axis", _line)
LONG = Guard("size", _long)

FRAMING = Rule(
    "framing",
    "Conv(x) of one channel = frames(x) @ w^T",
    frozenset({"Conv"}),
    find_frames,
    (
        CHANNELS,
        GROUP,
        AUTO_PAD,
        PAD,
        DILATION,
        DYNAMIC,
        LINE,
    ),
    _frames,
    worth=(DTYPE, LONG),
    choices=_ways,
    key=lambda site: site["conv"].key(),
)
