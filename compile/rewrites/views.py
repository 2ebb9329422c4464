"""Chains of operators that only give a tensor another shape are one Reshape, or nothing.

    Squeeze(Unsqueeze(x)) = x      Reshape(Squeeze(x), s) = Reshape(x, s)

Exporters write one for every axis that a framework's layer adds or drops. An engine that treats them as nodes of their
own pays for each, and one that looks for patterns across them may not find these.
"""

from __future__ import annotations

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""operators whose elements stay, and stay in order"""


def behind(value: ir.Value) -> ir.Value:
    """The value that `value` shows in another shape, as far back as it is known to be so."""
    while (node := value.producer()) is not None and node.domain == g.ONNX and node.op_type in VIEWS:
        if node.inputs[0] is None:
            break
        value = node.inputs[0]
    return value


def _find(node: ir.Node, opset: int) -> Site | None:
    value = node.inputs[0]
    source = None if value is None else behind(value)
    if source is None or source is value or _passed_on(node):
        return None
    return Site(node, opset, facts={"source": source})


def _passed_on(node: ir.Node) -> bool:
    """Only the last of a chain is rewritten; the others then have no reader left."""
    output = node.outputs[0]
    readers = [user for user, _ in output.uses()]
    return not output.is_graph_output() and all(r.op_type in VIEWS and r.domain == g.ONNX for r in readers)


def _open_axes(site: Site) -> int:
    shape = site.output.shape
    return 99 if shape is None else sum(not isinstance(d, int) for d in shape)


def _one_shape(site: Site, editor: Editor, way: int) -> ir.Value:
    source: ir.Value = site["source"]
    shape = site.output.shape
    dims = [d if isinstance(d, int) else -1 for d in shape or ()]
    if g.static_shape(source) == tuple(dims):
        return source
    return editor.reshape(source, *dims)


ONE_VIEW = Rule(
    "one-view",
    "Reshape(Squeeze(Unsqueeze(x))) = Reshape(x)",
    VIEWS,
    _find,
    (
        Guard("dynamic", lambda site: _open_axes(site) <= 1),
        Guard("empty", lambda site: 0 not in (site.output.shape or ())),
    ),
    _one_shape,
)
