"""Attention, spelled out in products and a Softmax, as the one operator of opset 23.

Softmax(scale * q k^T + mask) v = Attention(q, k, v, mask)
"""

from __future__ import annotations

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.terms import producer, product, sole, total


def _rank(value: ir.Value | None) -> int:
    return 0 if value is None or value.shape is None else len(value.shape)


def _find(node: ir.Node, opset: int) -> Site | None:
    """Facts: q, k (keys turned: [..., size, keys]), v, mask (or None), scale, axis (of the Softmax)."""
    softmax = producer(node.inputs[0], "Softmax")
    if softmax is None or node.inputs[1] is None or not sole(node.inputs[0]):
        return None
    sum_ = total(softmax.inputs[0])
    for index, value in enumerate(sum_.values[:2]):
        scaled = product(value)
        scores = producer(scaled.values[0], "MatMul") if len(scaled.values) == 1 else None
        if scores is None or len(sum_.values) > 2 or scores.inputs[0] is None or scores.inputs[1] is None:
            continue
        mask = sum_.values[1 - index] if len(sum_.values) == 2 else None
        q, k = product(scores.inputs[0]), product(scores.inputs[1])
        first = q.values[0] if len(q.values) == 1 else scores.inputs[0]
        second = k.values[0] if len(k.values) == 1 else scores.inputs[1]
        scale = scaled.number * (q.number if first is not scores.inputs[0] else 1.0)
        scale *= k.number if second is not scores.inputs[1] else 1.0
        nodes = (*q.nodes, *k.nodes, scores, *scaled.nodes, *sum_.nodes, softmax, node)
        facts: dict[str, object] = {
            "q": first,
            "k": second,
            "v": node.inputs[1],
            "mask": mask,
            "scale": scale,
            "shift": sum_.number,
        }
        facts |= {"axis": g.attribute_int(softmax, "axis", -1), "scores": scores}
        return Site(node, opset, tuple(dict.fromkeys(nodes)), facts)
    return None


def _four(site: Site) -> bool:
    """Batch, heads, positions and size in each of the three; a mask of no more axes."""
    return all(_rank(site[name]) == 4 for name in "qkv") and _rank(site["mask"]) <= 4


def _heads(site: Site) -> bool:
    """Batch and heads are the same numbers in all three: nothing is broadcast."""
    q, k, v = (site[name].shape[:2] for name in "qkv")
    return all(a is not None and a == b == c and isinstance(a, int) for a, b, c in zip(q, k, v, strict=True))


def _last(site: Site) -> bool:
    """The Softmax runs over the keys."""
    return site["axis"] in (-1, _rank(site["scores"].outputs[0]) - 1)


def _sizes(site: Site) -> bool:
    """A mask can be laid along queries and keys."""
    shape = site["scores"].outputs[0].shape
    return site["mask"] is None or (shape is not None and all(isinstance(d, int) for d in shape[-2:]))


def _attention(site: Site, editor: Editor, way: int) -> ir.Value:
    k: ir.Value = site["k"]
    turned = producer(k, "Transpose")
    perm = g.attribute_ints(turned, "perm") if turned is not None else None
    if turned is not None and perm is not None:
        source = turned.inputs[0]
        assert source is not None
        swapped = [*perm[:2], perm[3], perm[2]]
        keys = source if swapped == [0, 1, 2, 3] else editor.transpose(source, *swapped)
    else:
        keys = editor.transpose(k, 0, 1, 3, 2)
    mask: ir.Value | None = site["mask"]
    if mask is not None:  # engines want it whole along the queries, and along the keys
        wanted = [d if isinstance(d, int) else 1 for d in (mask.shape or [])][:-2]
        wanted += [int(d) for d in site["scores"].outputs[0].shape[-2:]]
        mask = mask if list(mask.shape or []) == wanted else editor.op("Expand", mask, editor.ints(*wanted))
    given = [site["q"], keys, site["v"], *([] if mask is None else [mask])]
    return editor.op("Attention", *given, scale=float(site["scale"]))


ATTENTION = Rule(
    "attention",
    "Softmax(scale * q k^T + mask) v = Attention(q, k, v, mask)",
    frozenset({"MatMul"}),
    _find,
    (
        Guard("axis", _last),
        Guard("rank", _four),
        Guard("broadcast", _heads),
        Guard("dynamic", _sizes),
        Guard("scale", lambda site: site["scale"] > 0),
    ),
    _attention,
    opset=23,
)
