"""Normalisations that exporters spell out, as the operator that the standard has for each.

    (x - mean x) / sqrt(mean (x - mean x)^2 + e) * s + b = LayerNormalization(x, s, b)
    x / sqrt(mean x^2 + e) * s                           = RMSNormalization(x, s)

The variance may be spelled as mean x^2 - (mean x)^2, whose cancellation the operator does not have: the result is then
nearer to the exact one. Where the axis is not the last one, the value is transposed before and after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.terms import near, producer, product, scalar, sole, total

_VIEWS = ("Reshape", "Unsqueeze", "Squeeze", "Expand")
"""what lays a row of statistics along the value again; guards look at the shape that comes of it"""
Nodes = tuple[ir.Node, ...]


@dataclass(frozen=True)
class _Mean:
    """mean(of) over `axes`, as they are written; None: all."""

    of: ir.Value
    axes: tuple[int, ...] | None
    used: ir.Value
    """the mean in the shape in which it is used"""
    number: float
    """what the sum is multiplied with, times the count of elements: 1 where it is a mean"""
    nodes: Nodes


def _bare(value: ir.Value | None) -> tuple[ir.Value | None, Nodes]:
    """`value` without views and without Max(0, ...), which changes no variance."""
    nodes: list[ir.Node] = []
    while value is not None:
        node = producer(value, *_VIEWS, "Max")
        if node is None or (node.op_type == "Max" and (len(node.inputs) != 2 or 0 not in _each(node))):
            break
        nodes.append(node)
        value = node.inputs[1] if node.op_type == "Max" and _each(node)[0] == 0 else node.inputs[0]
    return value, tuple(reversed(nodes))


def _each(node: ir.Node) -> tuple[float | None, float | None]:
    """The numbers among both operands."""
    return scalar(node.inputs[0], node.inputs[1]), scalar(node.inputs[1], node.inputs[0])


def _mean(value: ir.Value | None) -> _Mean | None:
    """A ReduceMean, or a ReduceSum times one over the count."""
    core, views = _bare(value)
    scaled = product(core)
    node = producer(core, "ReduceMean")
    number, nodes = 1.0, views
    if node is None and len(scaled.values) == 1:
        node = producer(scaled.values[0], "ReduceSum")
        number, nodes = scaled.number, (*scaled.nodes, *views)
    if node is None or value is None or (of := node.inputs[0]) is None:
        return None
    axes = g.attribute_ints(node, "axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] is not None:
        axes = g.constant_ints(node.inputs[1])
        if axes is None:
            return None
    if node.op_type == "ReduceSum":
        sizes = [d if isinstance(d, int) else 0 for d in of.shape or ()]
        number *= float(np.prod([sizes[a] for a in axes] if axes is not None else sizes)) if sizes else 0.0
    return _Mean(of, None if axes is None else tuple(axes), value, number, (node, *nodes))


def _square(value: ir.Value | None) -> tuple[ir.Value, Nodes] | None:
    """x where `value` is x^2."""
    node = producer(value, "Mul", "Pow")
    if node is None or node.inputs[0] is None:
        return None
    twice = node.inputs[0] is node.inputs[1] if node.op_type == "Mul" else scalar(node.inputs[1], node.inputs[0]) == 2
    return (node.inputs[0], (node,)) if twice else None


def _root(value: ir.Value | None) -> tuple[ir.Value, Nodes] | None:
    """v where `value` is sqrt(v)."""
    node = producer(value, "Sqrt", "Pow")
    if (
        node is None
        or node.inputs[0] is None
        or (node.op_type == "Pow" and scalar(node.inputs[1], node.inputs[0]) != 0.5)
    ):
        return None
    return node.inputs[0], (node,)


def _inverse_root(value: ir.Value) -> tuple[ir.Value, Nodes] | None:
    """v where `value` is 1 / sqrt(v)."""
    node = producer(value, "Reciprocal", "Div", "Pow")
    if node is None or (node.op_type == "Div" and scalar(node.inputs[0], node.inputs[1]) != 1):
        return None
    if node.op_type == "Pow":
        return (
            (node.inputs[0], (node,))
            if node.inputs[0] is not None and scalar(node.inputs[1], node.inputs[0]) == -0.5
            else None
        )
    root = _root(node.inputs[-1])
    return None if root is None else (root[0], (*root[1], node))


@dataclass(frozen=True)
class _Core:
    """value / sqrt(under) * scale * factor."""

    value: ir.Value
    under: ir.Value
    scale: ir.Value | None
    factor: float
    nodes: Nodes


def _core(node: ir.Node) -> _Core | None:
    if node.op_type == "Div":
        root = _root(node.inputs[1])
        d = node.inputs[0]
        return None if root is None or d is None else _Core(d, root[0], None, 1.0, (*root[1], node))
    factors = product(node.outputs[0])
    scales = [v for v in factors.values if g.constant(v) is not None]
    inverse = [(v, found) for v in factors.values if (found := _inverse_root(v)) is not None]
    others = [v for v in factors.values if v not in scales and all(v is not one for one, _ in inverse)]
    if len(inverse) != 1 or len(others) != 1 or len(scales) > 1:
        return None
    under, nodes = inverse[0][1]
    return _Core(others[0], under, scales[0] if scales else None, factors.number, (*nodes, *factors.nodes))


def _find(node: ir.Node, opset: int) -> Site | None:
    """Either normalisation. Facts: x, centred (whether the mean is taken away), means, epsilon, scale, bias."""
    core = _core(node)
    if core is None:
        return None
    sum_ = total(core.under)
    spread, views = _bare(sum_.values[0]) if len(sum_.values) == 1 else (None, ())
    variance = _variance(spread, core.value)
    if variance is None:
        return None
    x, means, inner = variance
    scale, bias, after = core.scale, None, Nodes()
    if scale is None:
        scale, after = _constant_of(node.outputs[0], "Mul")
    if after and node.op_type == "Mul":
        return None  # found at the last factor
    if x is not core.value:
        bias, last = _constant_of((after or (node,))[-1].outputs[0], "Add")
        after += last
    facts = {"x": x, "centred": x is not core.value, "means": means, "spread": sum_.values[0]}
    facts |= {"epsilon": sum_.number, "scale": scale, "factor": core.factor, "bias": bias}
    return Site(node, opset, tuple(dict.fromkeys((*inner, *views, *sum_.nodes, *core.nodes, *after))), facts)


def _variance(spread: ir.Value | None, d: ir.Value) -> tuple[ir.Value, list[_Mean], Nodes] | None:
    """x, where `spread` is its variance, or its mean square where nothing is taken away: d is x - mean x, or x."""
    centre = producer(d, "Sub")
    taken = _mean(centre.inputs[1]) if centre is not None else None
    if centre is None or taken is None or centre.inputs[0] is not taken.of:
        taken = None
    difference = producer(spread, "Sub")
    if difference is not None and taken is not None and centre is not None:
        return _of_squares(difference, taken, centre)
    mean = _mean(spread)
    square = _square(mean.of) if mean is not None else None
    if mean is None or square is None or square[0] is not d:
        return None
    nodes = (*square[1], *mean.nodes)
    if taken is not None and centre is not None:
        return taken.of, [taken, mean], (*taken.nodes, centre, *nodes)
    return d, [mean], nodes


def _of_squares(difference: ir.Node, taken: _Mean, centre: ir.Node) -> tuple[ir.Value, list[_Mean], Nodes] | None:
    """mean x^2 - (mean x)^2"""
    first, second = _mean(difference.inputs[0]), _square(difference.inputs[1])
    inner = _square(first.of) if first is not None else None
    mean = _mean(second[0]) if second is not None else None
    if first is None or second is None or inner is None or mean is None:
        return None
    if inner[0] is not taken.of or mean.of is not taken.of:
        return None
    nodes = (*inner[1], *first.nodes, *mean.nodes, *second[1], difference, *taken.nodes, centre)
    return taken.of, [taken, first, mean], nodes


def _constant_of(value: ir.Value, operator: str) -> tuple[ir.Value | None, Nodes]:
    """The constant that `value` goes into `operator` with, and that node, where nobody else reads it."""
    if not sole(value):
        return None, ()
    node, _ = next(iter(value.uses()))
    if node.op_type != operator or node.domain != g.ONNX:
        return None, ()
    other = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
    return (None, ()) if g.constant(other) is None else (other, (node,))


# ---- guards ----------------------------------------------------------------------------------------


def _axes(site: Site) -> list[int] | None:
    shape = site["x"].shape
    mean: _Mean = site["means"][0]
    if shape is None:
        return None
    return [*range(len(shape))] if mean.axes is None else sorted(a % len(shape) for a in mean.axes)


def _alike(site: Site) -> bool:
    """All means are over the same axes."""
    axes = _axes(site)
    if axes is None:
        return False
    rank = len(site["x"].shape)
    return all(m.axes is None or sorted(a % rank for a in m.axes) == axes for m in site["means"])


def _kept(site: Site) -> bool:
    """The statistics that are taken away and divided by lie along x, one wide where they were taken."""
    shape, axes = site["x"].shape, _axes(site)
    assert axes is not None
    wanted = [1 if a in axes else d for a, d in enumerate(shape)]
    used = [site["spread"], *([site["means"][0].used] if site["centred"] else [])]
    return all(v.shape is not None and list(v.shape) == wanted for v in used)


def _known(site: Site) -> bool:
    axes = _axes(site)
    return axes is not None and all(isinstance(site["x"].shape[a], int) for a in axes)


def _shapes(site: Site) -> bool:
    """Scale and bias lie along the normalised axes alone."""
    return all(_laid(site, site[name]) is not None for name in ("scale", "bias") if site[name] is not None)


def _laid(site: Site, value: ir.Value) -> np.ndarray | None:
    """A constant in the shape of the normalised axes; None where it differs along another, or has more axes than x."""
    constant, axes = g.constant(value), _axes(site)
    assert constant is not None
    assert axes is not None
    array, rank = constant.numpy(), len(site["x"].shape)
    if array.ndim > rank:
        return None
    wide = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if any(wide.shape[a] != 1 for a in range(rank) if a not in axes):
        return None
    sizes = [d if isinstance(d := site["x"].shape[a], int) else 0 for a in axes]
    if any(wide.shape[a] not in (1, size) for a, size in zip(axes, sizes, strict=True)):
        return None
    return np.broadcast_to(wide.reshape([wide.shape[a] for a in axes]), sizes)


def _unshared(site: Site) -> bool:
    """Nobody else reads what lies inside, the mean among it."""
    inside = set(site.covered)
    return all(
        not v.is_graph_output() and {user for user, _ in v.uses()} <= inside
        for node in site.covered[:-1]
        for v in node.outputs
    )


AXIS = Guard("axis", _alike)
DYNAMIC = Guard("dynamic", _known)
KEPT = Guard("keepdims", _kept)
COUNT = Guard("constant", lambda site: all(near(m.number, 1.0) for m in site["means"]))
BROADCAST = Guard("broadcast", _shapes)
SOLE = Guard("shared", _unshared)


# ---- rewrites --------------------------------------------------------------------------------------


def _norm(operator: str, with_bias: bool):  # type: ignore[no-untyped-def]
    def rewrite(site: Site, editor: Editor, way: int) -> ir.Value:
        axes = _axes(site)
        assert axes is not None
        rank = len(site["x"].shape)
        sizes = [int(site["x"].shape[a]) for a in axes]
        kind = site["x"].dtype.numpy()
        perm = [a for a in range(rank) if a not in axes] + axes
        turned = perm != [*range(rank)]
        x = editor.transpose(site["x"], *perm) if turned else site["x"]
        given = [x]
        for name, neutral in (("scale", 1.0), ("bias", 0.0))[: 1 + with_bias]:
            laid = np.full(sizes, neutral) if site[name] is None else _laid(site, site[name])
            if site[name] is not None or name == "scale":
                assert laid is not None
                given.append(editor.const(laid * (site["factor"] if name == "scale" else 1.0), kind))
        y = editor.op(operator, *given, axis=-len(axes), epsilon=float(site["epsilon"]))
        return editor.transpose(y, *np.argsort(perm).tolist()) if turned else y

    return rewrite


LAYER_NORM = Rule(
    "layer-norm",
    "(x - mean x) / sqrt(var x + e) * s + b = LayerNormalization(x, s, b)",
    frozenset({"Div", "Mul"}),
    lambda node, opset: site if (site := _find(node, opset)) is not None and site["centred"] else None,
    (AXIS, DYNAMIC, KEPT, COUNT, BROADCAST),
    _norm("LayerNormalization", with_bias=True),
    worth=(SOLE,),
    opset=17,
)

RMS_NORM = Rule(
    "rms-norm",
    "x / sqrt(mean x^2 + e) * s = RMSNormalization(x, s)",
    frozenset({"Div", "Mul"}),
    lambda node, opset: site if (site := _find(node, opset)) is not None and not site["centred"] else None,
    (DYNAMIC, KEPT, COUNT, BROADCAST),
    _norm("RMSNormalization", with_bias=False),
    worth=(SOLE,),
    opset=23,
)
