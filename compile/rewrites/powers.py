"""Powers of a small constant exponent, which engines compute as exp(k log x) or in a kernel of their own."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

_FORMS: dict[float, Callable[[Editor, ir.Value], ir.Value]] = {
    2.0: lambda editor, x: editor.op("Mul", x, x),
    3.0: lambda editor, x: editor.op("Mul", editor.op("Mul", x, x), x),
    0.5: lambda editor, x: editor.op("Sqrt", x),
    -1.0: lambda editor, x: editor.op("Reciprocal", x),
}
"""exponent -> the same by other operators"""


def _find(node: ir.Node, opset: int) -> Site | None:
    x, constant = node.inputs[0], g.constant(node.inputs[1])
    if x is None or constant is None or not constant.size:
        return None
    exponents = constant.numpy()
    return Site(node, opset, facts={"x": x, "exponents": exponents, "exponent": float(exponents.flat[0])})


def _widens(site: Site) -> bool:
    """The exponent's shape makes the result no larger than x."""
    exponents, shape = site["exponents"], site["x"].shape
    return exponents.size == 1 and (exponents.ndim == 0 or (shape is not None and exponents.ndim <= len(shape)))


POWERS = Rule(
    "powers",
    "x^2 = x * x, x^3 = x * x * x, x^0.5 = Sqrt(x), x^-1 = Reciprocal(x)",
    frozenset({"Pow"}),
    _find,
    (
        Guard("exponent", lambda site: site["exponent"] in _FORMS),
        Guard("broadcast", _widens),
        Guard("dtype", lambda site: site["x"].dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE)),
    ),
    lambda site, editor, way: _FORMS[site["exponent"]](editor, site["x"]),
)
