"""Transposes move towards the outputs, behind whatever treats all elements alike, until two meet and are one or none.

    f(Transpose(x)) = Transpose(f(x))      Transpose(x, p) + Transpose(y, p) = Transpose(x + y, p)
    Transpose(Transpose(x, p), q) = Transpose(x, p[q])

Each step takes a transpose nearer to the outputs, or leaves one less, so there is an end.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.slices import ELEMENTWISE

OF_TWO = frozenset(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Clip"])
"""operators of several inputs, broadcast element by element"""


def _perm(value: ir.Value | None) -> list[int] | None:
    """How `value` was transposed just before; None where it was not."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Transpose" or node.domain != g.ONNX or node.inputs[0] is None:
        return None
    perm = g.attribute_ints(node, "perm")
    if perm is None and node.inputs[0].shape is not None:
        perm = [*range(len(node.inputs[0].shape))][::-1]
    return perm


def _find(node: ir.Node, opset: int) -> Site | None:
    """A node that reads one transposed value, or several, or one and constants. Facts: perm, values, constants."""
    if len(node.outputs) != 1 or node.op_type not in (ELEMENTWISE | OF_TWO | {"Transpose"}):
        return None
    values = [v for v in node.inputs if v is not None and g.constant(v) is None]
    perms = [_perm(v) for v in values]
    if not perms or any(p is None for p in perms) or (node.op_type == "Clip" and len(values) > 1):
        return None
    constants = [c for v in node.inputs if v is not None and (c := g.constant(v)) is not None]
    return Site(node, opset, facts={"perm": perms[0], "perms": perms, "values": values, "constants": constants})


def _inside_rank(site: Site) -> bool:
    """No constant has more axes than what is transposed: the result would have more."""
    return all(len(c.shape.numpy()) <= len(site["perm"]) for c in site["constants"])


def _small(site: Site) -> bool:
    """Constants are turned over, too: not the large ones."""
    return all(c.size <= 1 << 16 for c in site["constants"])


def _last_readers(site: Site) -> bool:
    """Nobody else reads the transposed values: else there would be more transposes, not as many."""
    return all(
        not v.is_graph_output() and {user for user, _ in v.uses()} == {site.node} for v in dict.fromkeys(site["values"])
    )


def _turned(constant: ir.TensorProtocol, perm: list[int]) -> np.ndarray:
    """The constant as it must be for the value before the transpose: axis i of the result is axis perm[i] of it."""
    array = constant.numpy()
    if array.size == 1:
        return array
    wide = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
    return wide.transpose(np.argsort(perm))


def _sink(site: Site, editor: Editor, way: int) -> ir.Value:
    node, perm = site.node, site["perm"]
    if node.op_type == "Transpose":
        outer = g.attribute_ints(node, "perm") or [*range(len(perm))][::-1]
        return editor.op("Transpose", _source(node.inputs[0]), perm=[perm[i] for i in outer])
    given: list[ir.Value | None] = []
    for value in node.inputs:
        constant = g.constant(value)
        if value is None or constant is None:
            given.append(None if value is None else _source(value))
        else:
            given.append(value if constant.size == 1 else editor.const(_turned(constant, perm)))
    return editor.op("Transpose", editor.like(node, *given), perm=perm)


def _source(value: ir.Value | None) -> ir.Value:
    node = None if value is None else value.producer()
    assert node is not None
    assert node.inputs[0] is not None
    return node.inputs[0]


TRANSPOSE_SINKS = Rule(
    "transpose-sinks",
    "f(Transpose(x)) = Transpose(f(x)), Transpose(x, p) + Transpose(y, p) = Transpose(x + y, p)",
    ELEMENTWISE | OF_TWO | {"Transpose"},
    _find,
    (
        Guard("axis", lambda site: all(p == site["perm"] for p in site["perms"])),
        Guard("broadcast", _inside_rank),
    ),
    _sink,
    worth=(Guard("shared", _last_readers), Guard("size", _small)),
    repeats=True,
)
