"""Linear operators that read the same value are one, whose result is split.

Conv(x, v), Conv(x, w) = Split(Conv(x, [v; w]))      x V + a, x W + b = Split(x [V W] + [a b])
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import GROUP, LIMIT, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Rule, Site

# ---- convolutions ----------------------------------------------------------------------------------


def _readers(value: ir.Value, operator: str, graph: ir.Graph | ir.Function | None) -> list[ir.Node]:
    """The nodes of this graph that read `value` as their first input, in order."""
    users = {user for user, index in value.uses() if index == 0 and user.op_type == operator and user.domain == g.ONNX}
    return [node for node in graph or () if node in users]


def _find_convs(node: ir.Node, opset: int) -> Site | None:
    """The first of several: facts: conv (its numbers), all (of every one)."""
    x = node.inputs[0]
    if x is None:
        return None
    found = [(n, s) for n in _readers(x, "Conv", node.graph) if (s := find_conv(n, opset)) is not None]
    if len(found) < 2 or found[0][0] is not node:
        return None
    lead: Conv = found[0][1]["conv"]
    alike = [(n, s["conv"]) for n, s in found if _alike(lead, s["conv"])]
    if len(alike) < 2:
        return None
    nodes = [n for n, _ in alike]
    remade = tuple(n.outputs[0] for n in nodes)
    # What is made stands before the first of them, where x is there and no reader of theirs has come yet.
    return Site(node, opset, (*nodes[1:], node), {"conv": lead, "all": [c for _, c in alike]}, remade)


def _alike(a: Conv, b: Conv) -> bool:
    same = (a.kernel, a.strides, a.dilations, a.pads, a.group, a.auto_pad)
    fixed = all(c.bias is None or g.constant(c.bias) is not None for c in (a, b))
    return (
        fixed
        and same == (b.kernel, b.strides, b.dilations, b.pads, b.group, b.auto_pad)
        and (a.weight.dtype == b.weight.dtype)
    )


def _one_conv(site: Site, editor: Editor, way: int) -> list[ir.Value]:
    convs: list[Conv] = site["all"]
    weight = np.concatenate([c.weight.numpy() for c in convs])
    given = [site.node.inputs[0], editor.const(weight)]
    if any(c.bias is not None for c in convs):
        parts = [np.zeros(c.shape[0]) if (b := g.constant(c.bias)) is None else b.numpy() for c in convs]
        given.append(editor.const(np.concatenate(parts), weight.dtype))
    y = editor.like(site.node, *given)
    sizes = editor.ints(*(c.shape[0] for c in convs))
    return editor.ops("Split", len(convs), y, sizes, axis=1)


SIBLING_CONVS = Rule(
    "sibling-convs",
    "Conv(x, v), Conv(x, w) = Split(Conv(x, [v; w]))",
    frozenset({"Conv"}),
    _find_convs,
    (GROUP,),
    _one_conv,
    opset=13,
)

# ---- products --------------------------------------------------------------------------------------


def _biased(node: ir.Node) -> tuple[ir.Node, np.ndarray] | None:
    """The Add of a constant vector that alone reads the product, and the vector."""
    y = node.outputs[0]
    if len(y.uses()) != 1 or y.is_graph_output():
        return None
    add, index = next(iter(y.uses()))
    bias = g.constant(add.inputs[1 - index]) if add.op_type == "Add" and add.domain == g.ONNX else None
    return None if bias is None or len(bias.shape.numpy()) != 1 else (add, bias.numpy())


def _find_products(node: ir.Node, opset: int) -> Site | None:
    x = node.inputs[0]
    if x is None:
        return None
    nodes = [n for n in _readers(x, "MatMul", node.graph) if (w := g.constant(n.inputs[1])) is not None and _matrix(w)]
    if len(nodes) < 2 or nodes[0] is not node:
        return None
    weights = [w.numpy() for n in nodes if (w := g.constant(n.inputs[1])) is not None]
    if any(w.dtype != weights[0].dtype for w in weights):
        return None
    added = [b for n in nodes if (b := _biased(n)) is not None]
    fits = len(added) == len(nodes) and all(b[1].shape == (w.shape[1],) for b, w in zip(added, weights, strict=True))
    last = [a for a, _ in added] if fits else nodes
    facts = {"weights": weights, "biases": [b for _, b in added] if fits else None}
    others = [n for n in (*(last if fits else ()), *nodes) if n is not node]
    return Site(node, opset, (*others, node), facts, tuple(n.outputs[0] for n in last))


def _matrix(weight: ir.TensorProtocol) -> bool:
    return len(weight.shape.numpy()) == 2 and weight.size <= LIMIT


def _one_product(site: Site, editor: Editor, way: int) -> list[ir.Value]:
    weights: list[np.ndarray] = site["weights"]
    y = editor.op("MatMul", site.node.inputs[0], editor.const(np.concatenate(weights, axis=1)))
    if site["biases"] is not None:
        y = editor.op("Add", y, editor.const(np.concatenate(site["biases"])))
    return editor.ops("Split", len(weights), y, editor.ints(*(w.shape[1] for w in weights)), axis=-1)


SIBLING_PRODUCTS = Rule(
    "sibling-products",
    "x V + a, x W + b = Split(x [V W] + [a b])",
    frozenset({"MatMul"}),
    _find_products,
    (),
    _one_product,
    opset=13,
)
