"""A transposed convolution whose windows do not overlap is a convolution of one tap, its results put side by side.

    ConvTranspose(x, w, kernel s, stride s) = DepthToSpace(Conv1x1(x, w'))       w'[o, y, x] = w[o] at (y, x)
    Conv1x1(DepthToSpace(x), w) = DepthToSpace(Conv1x1(x, w, s*s groups))        f(DepthToSpace(x)) = DepthToSpace(f(x))

Engines have a fast convolution of one tap, and an ordinary transposed one. What follows it, tap by tap, is done before
the results are put in place, and so, where two of them stand in a row, are both.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.slices import ELEMENTWISE
from neoc.compile.rewrites.terms import sole


def _find(node: ir.Node, opset: int) -> Site | None:
    site = find_conv(node, opset)
    if site is None or len(site["conv"].kernel) != 2:
        return None
    if site["conv"].bias is not None and g.constant(site["conv"].bias) is None:
        return None
    more = g.attribute_ints(node, "output_padding") or [0, 0]
    site.facts["more"] = more
    site.facts["asked"] = g.attribute_ints(node, "output_shape")
    return site


def _side_by_side(site: Site) -> bool:
    """Kernel and stride are one number, s. Then even auto_pad = SAME pads nothing."""
    conv: Conv = site["conv"]
    return len({*conv.kernel, *conv.strides}) == 1 and conv.strides[0] > 1


def _plain(site: Site) -> bool:
    return not any(site["conv"].pads) and not any(site["more"]) and site["asked"] is None


def _as_conv(site: Site, editor: Editor, way: int) -> ir.Value:
    """way 1: the place within a window is the outer index of the channels (DCR), 2: the inner (CRD)."""
    conv: Conv = site["conv"]
    weight = conv.weight.numpy()
    size = conv.strides[0]
    inner = way == 2
    taps = weight.reshape(*weight.shape[:2], -1)  # [in, out, place]
    rows = taps.transpose(1, 2, 0) if inner else taps.transpose(2, 1, 0)
    given = [site.node.inputs[0], editor.const(rows.reshape(-1, weight.shape[0], 1, 1))]
    bias = g.constant(conv.bias)
    if bias is not None:
        own = bias.numpy()
        given.append(editor.const(np.repeat(own, size**2) if inner else np.tile(own, size**2)))
    y = editor.op("Conv", *given, kernel_shape=[1, 1])
    return editor.op("DepthToSpace", y, blocksize=size, mode="CRD" if inner else "DCR")


DECONV_AS_CONV = Rule(
    "deconv-as-conv",
    "ConvTranspose(x, w, kernel s, stride s) = DepthToSpace(Conv1x1(x, w'))",
    frozenset({"ConvTranspose"}),
    _find,
    (
        Guard("stride", _side_by_side),
        Guard("pad", _plain),
        Guard("dilation", lambda site: all(d == 1 for d in site["conv"].dilations)),
        Guard("group", lambda site: site["conv"].group == 1),
    ),
    _as_conv,
    choices=lambda site: (1, 2),
    key=lambda site: site["conv"].key(),
    opset=11,
    around=("depth-sinks",),
)

_OF_TWO = frozenset({"Add", "Mul", "Sub", "Div"})

# ---- what follows ----------------------------------------------------------------------------------


def _find_behind(node: ir.Node, opset: int) -> Site | None:
    """A Conv, a BatchNormalization or a function behind DepthToSpace. Facts: before, size, conv, tensors."""
    makers = [value.producer() for value in node.inputs if value is not None and value.producer() is not None]
    before = makers[0] if makers else None
    if before is None or before.op_type != "DepthToSpace" or before.domain != g.ONNX or before.graph is not node.graph:
        return None
    if len(node.outputs) > 1 or g.attribute_int(node, "training_mode", 0):
        return None
    given = [
        (value, g.constant(value)) for value in node.inputs if value is not None and value is not before.outputs[0]
    ]
    tensors = [tensor for _, tensor in given if tensor is not None]
    if len(tensors) < len(given) or len(node.inputs) - len(given) != 1:
        return None
    conv = None
    if node.op_type == "Conv":
        found = find_conv(node, opset)
        if found is None:
            return None
        conv = found["conv"]
    facts = {"before": before, "size": g.attribute_int(before, "blocksize", 0), "conv": conv, "tensors": tensors}
    return Site(node, opset, (before, node), facts)


def _outer_places(site: Site) -> bool:
    """The place is the outer index of the channels, so that each place is one group of them."""
    mode = site["before"].attributes.get("mode")
    alike = site.node.op_type in ELEMENTWISE or all(tensor.size == 1 for tensor in site["tensors"])
    return (alike and site["conv"] is None) or mode is None or mode.as_string() == "DCR"


def _by_channel(site: Site) -> bool:
    """A second operand has one number for each channel, or one alone."""
    for tensor in site["tensors"] if site.node.op_type in _OF_TWO else ():
        dims = [int(d) for d in tensor.shape.numpy()]
        if tensor.size > 1 and (len(dims) not in (3, 4) or tensor.size != dims[-3]):
            return False
        if len(dims) > 4:
            return False
    return True


def _of_conv(holds: Callable[[Conv], bool]) -> Callable[[Site], bool]:
    return lambda site: site["conv"] is None or holds(site["conv"])


def _tiled(editor: Editor, site: Site, tensor: ir.TensorProtocol, places: int) -> ir.Value:
    axis = -3 if site.node.op_type in _OF_TWO else 0
    return editor.const(np.concatenate([tensor.numpy()] * places, axis=axis))


def _sunk(site: Site, editor: Editor, way: int) -> ir.Value:
    """A Conv has a group for each place; what is added or multiplied by channel is so at each place."""
    node, places = site.node, site["size"] ** 2
    attributes = dict(node.attributes)
    if site["conv"] is not None:
        attributes["group"] = ir.AttrInt64("group", places)
    given: list[ir.Value | None] = []
    for value in node.inputs:
        tensor = g.constant(value)
        if tensor is None:
            given.append(None if value is None else site["before"].inputs[0])
        else:
            given.append(
                value if tensor.size == 1 and node.op_type in _OF_TWO else _tiled(editor, site, tensor, places)
            )
    y = editor.op(node.op_type, *given, **attributes)
    return editor.like(site["before"], y)


DEPTH_SINKS = Rule(
    "depth-sinks",
    "Conv1x1(DepthToSpace(x), w) = DepthToSpace(Conv1x1(x, w, s*s groups)), f(DepthToSpace(x)) = DepthToSpace(f(x))",
    ELEMENTWISE | _OF_TWO | {"Conv", "BatchNormalization"},
    _find_behind,
    (
        Guard("mode", _outer_places),
        Guard("broadcast", _by_channel),
        Guard("kernel", _of_conv(lambda conv: all(k == 1 for k in conv.kernel))),
        Guard("stride", _of_conv(lambda conv: all(s == 1 for s in conv.strides))),
        Guard("pad", _of_conv(lambda conv: not any(conv.pads))),
        Guard("group", _of_conv(lambda conv: conv.group == 1)),
    ),
    _sunk,
    worth=(Guard("shared", lambda site: sole(site["before"].outputs[0])),),
    repeats=True,
)
