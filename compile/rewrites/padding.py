"""Zeros that are padded before a convolution are its own padding.

Conv(Pad(x, p), w, pads = q) = Conv(x, w, pads = p + q)
"""

from __future__ import annotations

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import AUTO_PAD, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.terms import producer


def _find(node: ir.Node, opset: int) -> Site | None:
    site = find_conv(node, opset)
    pad = producer(node.inputs[0], "Pad")
    if site is None or pad is None or pad.inputs[0] is None or len(pad.inputs) < 2:
        return None
    widths = g.constant_ints(pad.inputs[1])
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    axes = pad.inputs[3] if len(pad.inputs) > 3 else None
    conv: Conv = site["conv"]
    rank = len(conv.kernel) + 2
    if widths is None or (value is not None and g.constant(value) is None) or (axes is not None):
        return None
    if len(widths) != 2 * rank:
        return None
    mode = pad.attributes["mode"].as_string() if "mode" in pad.attributes else "constant"
    site.facts |= {"x": pad.inputs[0], "widths": widths, "rank": rank, "mode": mode, "value": g.constant(value)}
    return site


def _spatial(site: Site) -> bool:
    """Nothing is padded along batch and channels."""
    widths, rank = site["widths"], site["rank"]
    return not any((*widths[:2], *widths[rank : rank + 2]))


def _zero(site: Site) -> bool:
    return site["mode"] == "constant" and (site["value"] is None or not site["value"].numpy().any())


def _into(site: Site, editor: Editor, way: int) -> ir.Value:
    conv: Conv = site["conv"]
    widths, rank = site["widths"], site["rank"]
    more = [*widths[2:rank], *widths[rank + 2 :]]
    kept = {name: value for name, value in site.node.attributes.items() if name not in ("auto_pad", "pads")}
    pads = [p + q for p, q in zip(conv.pads, more, strict=True)]
    return editor.op("Conv", site["x"], *site.node.inputs[1:], **kept, pads=pads)


PAD_INTO_CONV = Rule(
    "pad-into-conv",
    "Conv(Pad(x, p), w, pads = q) = Conv(x, w, pads = p + q)",
    frozenset({"Conv"}),
    _find,
    (
        AUTO_PAD,
        Guard("axis", _spatial),
        Guard("mode", _zero),
        Guard("pad", lambda site: min(site["widths"]) >= 0),
    ),
    _into,
)
