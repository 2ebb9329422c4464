"""A convolution and one of a single tap behind it, with nothing but a scale between, are one convolution.

    W2 (s (W1 * x + b1) + t) + b2      =      (W2 s W1) * x + W2 (s b1 + t) + b2

Networks of inverted residuals end a block without an activation and begin the next one by widening it: where the
narrow map between them is read by nobody else, it need not be made.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import DTYPE, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site


def _find(node: ir.Node, opset: int) -> Site | None:
    """A Conv behind a Conv, or behind a BatchNormalization behind one, all of fixed weights."""
    outer = find_conv(node, opset)
    if outer is None or node.inputs[0] is None:
        return None
    norm = node.inputs[0].producer()
    between: tuple[ir.Node, ...] = ()
    scale = None
    first = norm
    if norm is not None and norm.domain == g.ONNX and norm.op_type == "BatchNormalization":
        scale = _scale(norm)
        between, first = (norm,), None if norm.inputs[0] is None else norm.inputs[0].producer()
        if scale is None:
            return None
    if first is None or first.domain != g.ONNX or first.op_type != "Conv" or first.graph is not node.graph:
        return None
    inner = find_conv(first, opset)
    biases = [None if c is None or c["conv"].bias is None else c["conv"].bias for c in (inner, outer)]
    if inner is None or any(b is not None and g.constant(b) is None for b in biases):
        return None
    facts = {"conv": outer["conv"], "inner": inner["conv"], "first": first, "scale": scale}
    return Site(node, opset, (first, *between, node), facts)


def _scale(node: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """(s, t) of BatchNormalization(x) = s x + t, in double precision; None where it learns or is not fixed."""
    tensors = [g.constant(value) for value in node.inputs[1:5]]
    if len(tensors) < 4 or None in tensors or g.attribute_int(node, "training_mode", 0) or len(node.outputs) > 1:
        return None
    gamma, beta, mean, variance = (t.numpy().astype(np.float64) for t in tensors if t is not None)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    s = gamma / np.sqrt(variance + epsilon)
    return s, beta - mean * s


def _alone(site: Site) -> bool:
    """Nobody else reads what lies between: else it would be made all the same."""
    values = [node.outputs[0] for node in site.covered[:-1]]
    return all(len(value.uses()) == 1 and not value.is_graph_output() for value in values)


def _less_work(site: Site) -> bool:
    """Products for each position of the result, strides of the first included in both."""
    outer, inner = site["conv"].shape, site["inner"].shape
    taps = int(np.prod(inner[1:]))
    return bool(outer[0] * taps <= inner[0] * taps + outer[0] * outer[1])


def _bias(conv: Conv) -> np.ndarray:
    tensor = g.constant(conv.bias)
    return np.zeros(conv.shape[0]) if tensor is None else tensor.numpy().astype(np.float64)


def _chained(site: Site, editor: Editor, way: int) -> ir.Value:
    outer: Conv = site["conv"]
    inner: Conv = site["inner"]
    w1, w2 = inner.weights(), outer.weights().reshape(outer.shape[0], -1)
    b1 = _bias(inner)
    if site["scale"] is not None:
        s, t = site["scale"]
        w1, b1 = w1 * s.reshape(-1, *[1] * (w1.ndim - 1)), b1 * s + t
    weight, bias = np.tensordot(w2, w1, axes=1), w2 @ b1 + _bias(outer)
    kind = inner.weight.numpy().dtype
    given = [site["first"].inputs[0], editor.const(weight, kind), editor.const(bias, kind)]
    return editor.op("Conv", *given, **dict(site["first"].attributes))


CONV_CHAIN = Rule(
    "conv-chain",
    "W2 (s (W1 * x + b1) + t) + b2 = (W2 s W1) * x + W2 (s b1 + t) + b2",
    frozenset({"Conv"}),
    _find,
    (
        Guard("kernel", lambda site: all(k == 1 for k in site["conv"].kernel)),
        Guard("stride", lambda site: all(s == 1 for s in site["conv"].strides)),
        Guard("pad", lambda site: not any(site["conv"].pads)),
        Guard("group", lambda site: site["conv"].group == site["inner"].group == 1),
    ),
    _chained,
    worth=(DTYPE, Guard("shared", _alone), Guard("work", _less_work)),
    repeats=True,
)
