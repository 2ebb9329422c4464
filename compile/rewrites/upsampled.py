"""A 3x3 convolution over enlarged maps does each product s*s times. It becomes a transposed one on the small map.

    Conv3x3(Concat(up(a, s), b))  =  ConvTranspose(a, kernel s+2, stride s, pads 1) + Conv3x3(b)

    wt[q] = sum over j in [0, s) of w[j - q + 2], where that is a tap (0, 1 or 2), in both directions

up copies each value s times (Resize, nearest, asymmetric, floor). Feature pyramids end like this.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import DILATION, DTYPE, GROUP, STRIDE, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

_Branch = tuple[ir.Value, ir.Node | None, int]
"""what the branch convolves, the Resize that enlarged it, its channels"""


def _find(node: ir.Node, opset: int) -> Site | None:
    """A Conv of a Concat over channels, or of one value, some of it enlarged by Resize."""
    site = find_conv(node, opset)
    value = node.inputs[0]
    if site is None or value is None or len(site["conv"].kernel) != 2:
        return None
    joint = value.producer()
    parts = [value]
    joined = joint is not None and joint.op_type == "Concat" and joint.domain == g.ONNX
    if joined and joint is not None:
        parts = [v for v in joint.inputs if v is not None]
    branches: list[_Branch] = []
    for part in parts:
        maker = part.producer()
        enlarged = maker is not None and maker.op_type == "Resize" and maker.domain == g.ONNX
        channels = part.shape[1] if part.shape is not None and len(part.shape) == 4 else None
        if not isinstance(channels, int):
            return None
        branches.append((part, maker if enlarged else None, channels))
    if not any(maker for _, maker, _ in branches):
        return None
    site.facts |= {"branches": branches, "joint": joint if joined else None}
    return site


def _scales(node: ir.Node) -> list[float] | None:
    array = g.constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    return None if array is None or array.size != 4 else [float(x) for x in array.reshape(-1)]


def _resizes(site: Site) -> list[ir.Node]:
    return [maker for _, maker, _ in site["branches"] if maker is not None]


def _whole(site: Site) -> bool:
    """Fixed whole scales, the same both ways, of the last two axes alone."""
    if any("axes" in node.attributes for node in _resizes(site)):
        return False  # scales in an order of their own
    scales = [_scales(node) for node in _resizes(site)]
    return all(s is not None and s[:2] == [1, 1] and s[2] == s[3] and s[2] == int(s[2]) >= 2 for s in scales)


def _word(node: ir.Node, name: str, default: str) -> str:
    return node.attributes[name].as_string() if name in node.attributes else default


def _copies(site: Site) -> bool:
    """Each value is copied s times: y[i] = x[i // s]. Other modes blend, or begin elsewhere."""
    return all(
        _word(node, "mode", "nearest") == "nearest"
        and _word(node, "coordinate_transformation_mode", "half_pixel") == "asymmetric"
        and _word(node, "nearest_mode", "round_prefer_floor") == "floor"
        for node in _resizes(site)
    )


def _joined_by_channels(site: Site) -> bool:
    joint: ir.Node | None = site["joint"]
    return joint is None or g.attribute_int(joint, "axis", 0) in (1, -3)


def _pads_of_one(site: Site) -> bool:
    return bool(site["conv"].pads == (1, 1, 1, 1))


def _three(site: Site) -> bool:
    return bool(site["conv"].kernel == (3, 3))


def _spread(weight: np.ndarray, scale: int) -> np.ndarray:
    """The kernel of the transposed convolution: [Cin, Cout, s+2, s+2]."""
    wide = np.zeros((weight.shape[1], weight.shape[0], scale + 2, scale + 2))
    for qy, jy in ((q, j) for q in range(scale + 2) for j in range(scale) if 0 <= j - q + 2 < 3):
        for qx, jx in ((q, j) for q in range(scale + 2) for j in range(scale) if 0 <= j - q + 2 < 3):
            wide[:, :, qy, qx] += weight[:, :, jy - qy + 2, jx - qx + 2].T
    return wide


def _split(site: Site, editor: Editor, way: int) -> ir.Value:
    conv: Conv = site["conv"]
    weight, first = conv.weights(), 0
    plain: list[tuple[ir.Value, np.ndarray]] = []
    sums: list[ir.Value] = []
    for part, maker, channels in site["branches"]:
        own, first = weight[:, first : first + channels], first + channels
        if maker is None:
            plain.append((part, own))
            continue
        scales = _scales(maker)
        assert scales is not None
        scale = int(scales[2])
        kernel = editor.const(_spread(own, scale), np.float32)
        shape: dict[str, Any] = {"kernel_shape": [scale + 2] * 2, "strides": [scale] * 2, "pads": [1] * 4}
        sums.append(editor.op("ConvTranspose", maker.inputs[0], kernel, **shape))
    if plain:
        values = [value for value, _ in plain]
        joined = values[0] if len(values) == 1 else editor.op("Concat", *values, axis=1)
        given = [joined, editor.const(np.concatenate([w for _, w in plain], axis=1), np.float32)]
        given += [] if conv.bias is None else [conv.bias]
        sums.insert(0, editor.op("Conv", *given, kernel_shape=[3, 3], pads=[1] * 4))
    elif conv.bias is not None:
        sums[0] = editor.op("Add", sums[0], editor.reshape(conv.bias, 1, -1, 1, 1))
    return reduce(lambda a, b: editor.op("Add", a, b), sums)


UPSAMPLED_CONV = Rule(
    "upsampled-conv",
    "Conv(Concat(up(a), b)) = ConvTranspose(a) + Conv(b)",
    frozenset({"Conv"}),
    _find,
    (
        DTYPE,
        GROUP,
        DILATION,
        STRIDE,
        Guard("kernel", _three),
        Guard("pad", _pads_of_one),
        Guard("axis", _joined_by_channels),
        Guard("scale", _whole),
        Guard("mode", _copies),
    ),
    _split,
)
