"""Maxima: PRelu as one, and functions moved from before a maximum to behind it, where they meet fewer values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

# ---- PRelu ---------------------------------------------------------------------------------------


def _find_prelu(node: ir.Node, opset: int) -> Site | None:
    slope = g.constant(node.inputs[1])
    value = node.inputs[0]
    return None if slope is None or value is None else Site(node, opset, facts={"slope": slope, "x": value})


def _below_one(site: Site) -> bool:
    """a <= 1: else a*x is the larger one where x > 0. And never 0, which times infinity is no number."""
    slope: np.ndarray = site["slope"].numpy()
    return bool(np.all((slope <= 1) & (slope != 0)))


PRELU_MAX = Rule(
    "prelu-max",
    "PRelu(x, a) = Max(x, a * x) where a <= 1, a != 0",
    frozenset({"PRelu"}),
    _find_prelu,
    (Guard("slope", _below_one),),
    lambda site, editor, way: editor.op(
        "Max", site.node.inputs[0], editor.op("Mul", site.node.inputs[0], site.node.inputs[1])
    ),
    worth=(Guard("dtype", lambda site: site["x"].dtype == ir.DataType.FLOAT),),
)

# ---- functions behind a maximum ------------------------------------------------------------------

_RISES = """
Ceil Clip Elu Erf Exp Floor Relu Selu Sigmoid Softplus Softsign Tanh HardSigmoid
"""
_RISING = frozenset(_RISES.split())
"""f(x) <= f(y) where x <= y, for every x and y: Sqrt and Log are out, which have no answer below 0"""
_REDUCTIONS = frozenset(["ReduceMax", "GlobalMaxPool", "MaxPool"])


def _find_sink(node: ir.Node, opset: int) -> Site | None:
    """max(f(x)) with f in one node that nobody else reads."""
    value = node.inputs[0]
    before = None if value is None else value.producer()
    if before is None or before.domain != g.ONNX or before.op_type not in _RISING or len(node.outputs) > 1:
        return None
    return Site(node, opset, (before, node), {"function": before})


def _alone(site: Site) -> bool:
    """Nobody else reads f(x): else it would be computed twice."""
    value = site["function"].outputs[0]
    return not value.is_graph_output() and len(value.uses()) == 1


def _rises(site: Site) -> bool:
    """Elu and Selu of a negative alpha, HardSigmoid of a negative slope and the like fall."""
    names = ("alpha", "gamma")
    given = [site["function"].attributes[n].as_float() for n in names if n in site["function"].attributes]
    return all(a >= 0 for a in given)


def _sink(site: Site, editor: Editor, way: int) -> ir.Value:
    node, function = site.node, site["function"]
    return editor.like(function, editor.like(node, function.inputs[0], *node.inputs[1:]), *function.inputs[1:])


MAX_SINKS = Rule(
    "max-sinks",
    "max(f(x)) = f(max(x)) where f rises",
    _REDUCTIONS,
    _find_sink,
    (Guard("slope", _rises),),
    _sink,
    worth=(Guard("shared", _alone),),
    repeats=True,
)
