"""Channels that nobody reads are not computed, and channels that never change are added once.

Conv(f(Conv(x, w, b)), v) where v[:, c] = 0: channel c goes from w, b and v
Conv(f(Conv(x, w, b)), v) where w[c] = 0: channel c is f(b[c]), and goes into v's bias where nothing is padded
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.slices import ELEMENTWISE
from neoc.compile.rewrites.terms import producer

_VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Relu": lambda a: np.maximum(a, 0),
    "Sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "Tanh": np.tanh,
    "Abs": np.abs,
    "Neg": np.negative,
    "Exp": np.exp,
}
"""functions of which the value at a constant is known here"""


def _find(node: ir.Node, opset: int) -> Site | None:
    """Facts: second, first (Conv's), chain (the functions between, in order), dead, still (channels)."""
    site = find_conv(node, opset)
    if site is None:
        return None
    chain: list[ir.Node] = []
    value = node.inputs[0]
    while (step := producer(value, *ELEMENTWISE)) is not None:
        chain.insert(0, step)
        value = step.inputs[0]
    before = producer(value, "Conv")
    inner = find_conv(before, opset) if before is not None else None
    if inner is None or before is None:
        return None
    first, second = inner["conv"], site["conv"]
    if any(c.bias is not None and g.constant(c.bias) is None for c in (first, second)):
        return None
    axes = tuple(a for a in range(second.weight.numpy().ndim) if a != 1)
    dead = ~np.any(second.weight.numpy(), axis=axes)
    still = ~np.any(first.weight.numpy().reshape(first.shape[0], -1), axis=1)
    if second.group != 1:  # channels of the input lie along the filters then, too
        dead = np.zeros(first.shape[0], bool)
    known = all(step.op_type in _VALUES for step in chain)
    still = still & ~dead if (known and g.constant(second.bias) is not None) or second.bias is None else dead & False
    gone = dead | still
    if not gone.any() or gone.all():
        return None
    facts = {"first": first, "second": second, "chain": chain, "gone": gone, "still": still & ~dead, "before": before}
    return Site(node, opset, (before, *chain, node), facts)


def _bias(conv: Conv) -> np.ndarray:
    constant = g.constant(conv.bias)
    return np.zeros(conv.shape[0]) if constant is None else constant.numpy().astype(np.float64)


def _no_border(site: Site) -> bool:
    """A channel that never changes is zero where zeros were padded."""
    second: Conv = site["second"]
    return not site["still"].any() or (not any(second.pads) and second.auto_pad in ("NOTSET", "VALID"))


def _alone(site: Site) -> bool:
    """What lies between has one reader each: else it would be computed twice."""
    inside = [site["before"], *site["chain"]]
    return all(len(n.outputs[0].uses()) == 1 and not n.outputs[0].is_graph_output() for n in inside)


def _fewer(site: Site, editor: Editor, way: int) -> ir.Value:
    first, second, kept = site["first"], site["second"], ~site["gone"]
    bias = _bias(second)
    if site["still"].any():
        level = _bias(first)
        for step in site["chain"]:
            level = _VALUES[step.op_type](level)
        taps = second.weights().reshape(second.shape[0], second.shape[1], -1).sum(axis=2)
        bias = bias + taps[:, site["still"]] @ level[site["still"]]
    value = _narrowed(editor, site["before"], first.weight.numpy()[kept], _bias(first)[kept], site["before"].inputs[0])
    for step in site["chain"]:
        value = editor.like(step, value)
    return _narrowed(editor, site.node, second.weight.numpy()[:, kept], bias, value)


def _narrowed(editor: Editor, node: ir.Node, weight: np.ndarray, bias: np.ndarray, x: ir.Value | None) -> ir.Value:
    return editor.like(node, x, editor.const(weight), editor.const(bias, weight.dtype))


DEAD_CHANNELS = Rule(
    "dead-channels",
    "channels that no filter reads, or that never change, are not computed",
    frozenset({"Conv"}),
    _find,
    (Guard("group", lambda site: site["first"].group == 1 and site["second"].group == 1), Guard("pad", _no_border)),
    _fewer,
    worth=(Guard("shared", _alone),),
    repeats=True,
)
