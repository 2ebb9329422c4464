"""Chains of operators that only give a tensor another shape are one Reshape, or nothing.

    Squeeze(Unsqueeze(x)) = x      Reshape(Squeeze(x), s) = Reshape(x, s)

Exporters write one for every axis that a framework's layer adds or drops. An engine that treats them as nodes of their
own pays for each, and one that looks for patterns across them may not find these.
"""

from __future__ import annotations

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.slices import ELEMENTWISE
from neoc.compile.rewrites.terms import sole
from neoc.compile.rewrites.transposes import OF_TWO

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


# ---- views behind functions --------------------------------------------------------------------


def _find_function(node: ir.Node, opset: int) -> Site | None:
    """A function of each element alone, of a value that was just laid in another shape, and of constants."""
    if node.op_type not in ELEMENTWISE | OF_TWO or len(node.outputs) != 1:
        return None
    values = [v for v in node.inputs if v is not None and g.constant(v) is None]
    constants = [c for v in node.inputs if v is not None and (c := g.constant(v)) is not None]
    source = behind(values[0]) if len(set(values)) == 1 else None
    if source is None or source is values[0]:
        return None
    facts = {"source": source, "value": values[0], "constants": constants}
    return Site(node, opset, facts=facts)


def _numbers(site: Site) -> bool:
    """Every constant is one number: others lie along axes that the value has only in its later shape."""
    return all(c.size == 1 for c in site["constants"])


def _sink(site: Site, editor: Editor, way: int) -> ir.Value:
    node, source = site.node, site["source"]
    y = editor.like(node, *(source if value is site["value"] else value for value in node.inputs))
    return editor.reshape(y, *(d if isinstance(d, int) else -1 for d in site.output.shape or ()))


VIEW_SINKS = Rule(
    "view-sinks",
    "f(Reshape(x)) = Reshape(f(x)), f of each element alone",
    ELEMENTWISE | OF_TWO,
    _find_function,
    (
        Guard("dynamic", lambda site: _open_axes(site) <= 1),
        Guard("empty", lambda site: 0 not in (site.output.shape or ())),
        Guard("broadcast", _numbers),
    ),
    _sink,
    worth=(Guard("shared", lambda site: sole(site["value"])),),
    repeats=True,
)
