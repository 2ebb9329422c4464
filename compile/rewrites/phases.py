"""Convolutions with few output channels leave most lanes of a vector empty. P neighbouring outputs become channels.

    y[c, P*t + j] = sum_k w[c, k] x[(P*t + j)*s + k]  =  sum_k W[j*C + c, k] x[t*P*s + k]

W[j*C + c] is w[c] moved by j*s in a kernel of k + (P-1)*s taps, zeros elsewhere: the same products, and some with zero
besides, (k + (P-1)*s)/k times as many. Which P pays differs by engine and by convolution, so it is measured.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.rewrites.conv import AUTO_PAD, DILATION, DTYPE, GROUP, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

_LANES = 16
"""float32 in a vector register of AVX-512; a convolution that fills them is left alone"""
_INFLATION = 3.5
_TRIED = (2, 4, 6, 8, 16, 32)


def _find(node: ir.Node, opset: int) -> Site | None:
    """A Conv, and the axis along which its kernel is longest for its stride: there the zeros cost least."""
    site = find_conv(node, opset)
    if site is None or len(site["conv"].kernel) > 2:
        return None
    conv: Conv = site["conv"]
    site.facts["axis"] = max(range(len(conv.kernel)), key=lambda i: conv.kernel[i] / conv.strides[i])
    return site


def _known(site: Site) -> bool:
    """All spatial sizes are fixed: the phases are put back in order by a Reshape."""
    return all(size is not None for size in site["conv"].spatial)


def _starved(site: Site) -> bool:
    conv: Conv = site["conv"]
    return conv.shape[0] < _LANES and conv.kernel[site["axis"]] >= 3 and conv.out(site["axis"]) >= 32


def _phases(site: Site) -> tuple[int, ...]:
    """P, those first that fill the lanes once."""
    conv: Conv = site["conv"]
    axis = site["axis"]
    taps, stride = conv.kernel[axis], conv.strides[axis]
    fit = [p for p in _TRIED if (taps + (p - 1) * stride) / taps <= _INFLATION and p * conv.shape[0] <= 64]
    return tuple(sorted(fit, key=lambda p: abs(p * conv.shape[0] - _LANES)))


def _expand(site: Site, editor: Editor, phases: int) -> ir.Value:
    conv: Conv = site["conv"]
    axis: int = site["axis"]
    axes, channels = len(conv.kernel), conv.shape[0]
    taps, stride, wanted = conv.kernel[axis], conv.strides[axis], conv.out(axis)
    reach = taps + (phases - 1) * stride
    groups = -(-wanted // phases)
    weight = conv.weight.numpy()
    wide = np.zeros((phases, *weight.shape[: 2 + axis], reach, *weight.shape[3 + axis :]), weight.dtype)
    for j in range(phases):
        place = [slice(None)] * weight.ndim
        place[2 + axis] = slice(j * stride, j * stride + taps)
        wide[j][tuple(place)] = weight
    wide = wide.reshape(phases * channels, *wide.shape[2:])
    size = conv.spatial[axis]
    assert size is not None
    pads = list(conv.pads)
    pads[axis + axes] = max(0, (groups * phases - 1) * stride + taps - size - pads[axis])
    strides = list(conv.strides)
    strides[axis] = phases * stride
    given = [site.node.inputs[0], editor.const(wide)]
    if conv.bias is not None:
        given.append(editor.op("Concat", *[conv.bias] * phases, axis=0))
    y = editor.op("Conv", *given, kernel_shape=list(wide.shape[2:]), strides=strides, pads=pads)
    out = [conv.out(i) for i in range(axes)]
    out[axis] = groups
    # [N, P, C, ..., G, ...] -> [N, C, ..., G, P, ...]
    y = editor.reshape(y, -1, phases, channels, *out)
    order = [0, 2, *range(3, 4 + axis), 1, *range(4 + axis, 3 + axes)]
    out[axis] = groups * phases
    y = editor.reshape(editor.transpose(y, *order), -1, channels, *out)
    return y if groups * phases == wanted else editor.cut(y, 2 + axis, 0, wanted)


PHASE_EXPANSION = Rule(
    "phase-expansion",
    "y[c, P*t + j] = Y[j*C + c, t]: P neighbouring outputs of a Conv are channels of one with stride P*s",
    frozenset({"Conv"}),
    _find,
    (GROUP, AUTO_PAD, DILATION, Guard("dynamic", _known)),
    _expand,
    worth=(DTYPE, Guard("size", _starved), Guard("phases", lambda site: bool(_phases(site)))),
    choices=_phases,
    key=lambda site: site["conv"].key(),
)
