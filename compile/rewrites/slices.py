"""Slices move towards the inputs, where they leave less to compute, until they meet what they undo.

    Slice(Slice(x)) = Slice(x)      Slice(f(x)) = f(Slice(x))      Slice(Conv(x, w)) = Conv(Slice(x), Slice(w))
    Slice(Concat(a, b)) = a

Each step takes a slice nearer to the inputs, so there is an end. A step of a Slice other than 1 is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import AUTO_PAD, GROUP, Conv, find_conv
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.terms import sole

Cuts = Mapping[int, tuple[int, int]]
"""axis -> the part of it that stays, [start, end)"""
_OPEN = 1 << 40
"""stands for a size that is only known at run: guards refuse it"""


def _find_slice(node: ir.Node, opset: int) -> Site | None:
    """A Slice with constant arguments, in the form of opset 10 and later. Facts: x, cuts, size, steps, before."""
    if len(node.inputs) < 3 or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    x = node.inputs[0]
    dims = [d if isinstance(d, int) else _OPEN for d in x.shape or ()]
    given = [g.constant_ints(value) if value is not None else None for value in node.inputs[1:]]
    starts, ends = given[0], given[1]
    if (
        starts is None
        or ends is None
        or any(v is not None and c is None for v, c in zip(node.inputs[1:], given, strict=True))
    ):
        return None
    axes = given[2] if len(given) > 2 and given[2] is not None else [*range(len(starts))]
    steps = given[3] if len(given) > 3 and given[3] is not None else [1] * len(starts)
    cuts = {}
    for start, end, axis in zip(starts, ends, axes, strict=True):
        size = dims[axis]
        first, last = (min(max(i + size if i < 0 else i, 0), size) for i in (start, end))
        cuts[axis % len(dims)] = (first, max(first, last))
    facts = {"x": x, "cuts": cuts, "dims": dims, "steps": steps, "before": x.producer()}
    return Site(node, opset, facts=facts)


def cuts_of(node: ir.Node | None, opset: int) -> tuple[ir.Value, Cuts] | None:
    """What a Slice cuts of which value, where sizes are known and every step is 1; None for any other node."""
    if node is None or node.op_type != "Slice" or node.domain != g.ONNX:
        return None
    site = _find_slice(node, opset)
    return None if site is None or not (_unit(site) and _known(site)) else (site["x"], site["cuts"])


def sliced(editor: Editor, value: ir.Value, cuts: Cuts) -> ir.Value:
    """`value` with these parts of its axes; itself where nothing is left out."""
    shape = value.shape
    sizes = [d if isinstance(d, int) else None for d in shape] if shape is not None else None
    left = {a: c for a, c in sorted(cuts.items()) if sizes is None or c != (0, sizes[a])}
    if not left:
        return value
    ends = [end for _, end in left.values()]
    starts = [start for start, _ in left.values()]
    made = editor.op("Slice", value, editor.ints(*starts), editor.ints(*ends), editor.ints(*left))
    if sizes is not None:
        made.shape = ir.Shape([left[a][1] - left[a][0] if a in left else d for a, d in enumerate(shape or ())])
    made.type = value.type
    return made


def _unit(site: Site) -> bool:
    return all(step == 1 for step in site["steps"])


def _known(site: Site) -> bool:
    return all(site["dims"][axis] != _OPEN for axis in site["cuts"])


STEP = Guard("step", _unit)
DYNAMIC = Guard("dynamic", _known)


SOLE = Guard("shared", lambda site: sole(site["x"]))
"""one reader: else what makes the value would be computed twice"""


def _is(node: ir.Node | None, *operators: str) -> bool:
    return node is not None and node.domain == g.ONNX and node.op_type in operators


# ---- a slice of a slice ------------------------------------------------------------------------


def _find_second(node: ir.Node, opset: int) -> Site | None:
    site = _find_slice(node, opset)
    if site is None or not _is(site["before"], "Slice"):
        return None
    first = _find_slice(site["before"], opset)
    if first is None:
        return None
    site.facts["first"] = first
    return site


def _one_slice(site: Site, editor: Editor, way: int) -> ir.Value:
    first: Site = site["first"]
    cuts = dict(first["cuts"])
    for axis, (start, end) in site["cuts"].items():
        begin = cuts.get(axis, (0, 0))[0]
        cuts[axis] = (begin + start, begin + end)
    return sliced(editor, first["x"], cuts)


ONE_SLICE = Rule(
    "one-slice",
    "Slice(Slice(x)) = Slice(x)",
    frozenset({"Slice"}),
    _find_second,
    (
        Guard("step", lambda site: _unit(site) and _unit(site["first"])),
        Guard("dynamic", lambda site: _known(site) and _known(site["first"])),
    ),
    _one_slice,
    repeats=True,
)


# ---- slices of one value that leave out the same -------------------------------------------------


def _find_shared(node: ir.Node, opset: int) -> Site | None:
    """One of several slices of x: the axes that all of them cut alike, and those that they do not."""
    site = _find_slice(node, opset)
    if site is None or site["x"].is_graph_output():
        return None
    readers = [user for user, _ in site["x"].uses()]
    others = [_find_slice(user, opset) if _is(user, "Slice") else None for user in readers]
    if len(readers) < 2 or any(other is None or not (_unit(other) and _known(other)) for other in others):
        return None
    alike = {
        axis: cut
        for axis, cut in site["cuts"].items()
        if all(other is not None and other["cuts"].get(axis) == cut for other in others)
    }
    if not alike or len(alike) == len(site["cuts"]):
        return None
    site.facts["alike"] = alike
    return site


def _outside(site: Site, editor: Editor, way: int) -> ir.Value:
    alike: Cuts = site["alike"]
    return sliced(editor, sliced(editor, site["x"], alike), {a: c for a, c in site["cuts"].items() if a not in alike})


SHARED_SLICE = Rule(
    "shared-slice",
    "Slice(x, [i, k]), Slice(x, [j, k]) = Slice(y, i), Slice(y, j) with y = Slice(x, k)",
    frozenset({"Slice"}),
    _find_shared,
    (),
    _outside,
)


# ---- a slice of a convolution --------------------------------------------------------------------


def _find_convolved(node: ir.Node, opset: int) -> Site | None:
    site = _find_slice(node, opset)
    if site is None or not _is(site["before"], "Conv"):
        return None
    inner = find_conv(site["before"], opset)
    if inner is None:
        return None
    site.nodes = (site["before"], node)
    site.facts["conv"] = inner["conv"]
    return site


def _sizes(site: Site) -> bool:
    conv: Conv = site["conv"]
    return _known(site) and all(conv.spatial[axis - 2] is not None for axis in site["cuts"] if axis >= 2)


def _read(conv: Conv, axis: int, start: int, end: int) -> tuple[int, int, int, int]:
    """What outputs [start, end) of a spatial axis read: the part of the input, and what is left of the padding."""
    size = conv.spatial[axis]
    low = start * conv.strides[axis] - conv.pads[axis]
    high = (end - 1) * conv.strides[axis] + (conv.kernel[axis] - 1) * conv.dilations[axis] + 1 - conv.pads[axis]
    assert size is not None
    return max(low, 0), min(high, size), max(-low, 0), max(high - size, 0)


def _narrower(site: Site, editor: Editor, way: int) -> ir.Value | None:
    conv: Conv = site["conv"]
    before: ir.Node = site["before"]
    axes = len(conv.kernel)
    pads, parts = list(conv.pads), {}
    weight, bias = conv.weight.numpy(), conv.bias
    for axis, (start, end) in site["cuts"].items():
        if axis == 0:
            parts[0] = (start, end)
        elif axis == 1:
            weight = weight[start:end]
            bias = None if bias is None else sliced(editor, bias, {0: (start, end)})
        else:
            low, high, pads[axis - 2], pads[axis - 2 + axes] = _read(conv, axis - 2, start, end)
            if end <= start or high <= low:
                return None  # nothing, or padding alone
            parts[axis] = (low, high)
    x = before.inputs[0]
    assert x is not None
    given = [sliced(editor, x, parts), editor.const(weight), *([] if bias is None else [bias])]
    return editor.op(
        "Conv",
        *given,
        kernel_shape=list(conv.kernel),
        strides=list(conv.strides),
        dilations=list(conv.dilations),
        pads=pads,
        group=conv.group,
    )


SLICE_ABOVE_CONV = Rule(
    "slice-above-conv",
    "Slice(Conv(x, w)) = Conv(Slice(x), Slice(w))",
    frozenset({"Slice"}),
    _find_convolved,
    (
        STEP,
        Guard("dynamic", _sizes),
        AUTO_PAD,
        Guard("group", lambda site: 1 not in site["cuts"] or GROUP.holds(site)),
    ),
    _narrower,
    worth=(SOLE,),
    around=("one-slice", "shared-slice"),
)


# ---- a slice of parts put together -----------------------------------------------------------------


def _find_parts(node: ir.Node, opset: int) -> Site | None:
    site = _find_slice(node, opset)
    if site is None or not _is(site["before"], "Concat"):
        return None
    axis = g.attribute_int(site["before"], "axis", 0) % len(site["dims"])
    if axis not in site["cuts"]:
        return None
    site.facts["axis"] = axis
    parts = [value for value in site["before"].inputs if value is not None]
    site.facts["parts"] = parts
    site.facts["widths"] = [d if v.shape is not None and isinstance(d := v.shape[axis], int) else _OPEN for v in parts]
    return site


def _of_parts(site: Site, editor: Editor, way: int) -> ir.Value | None:
    axis: int = site["axis"]
    start, end = site["cuts"][axis]
    others = {a: c for a, c in site["cuts"].items() if a != axis}
    found, offset = [], 0
    for part, width in zip(site["parts"], site["widths"], strict=True):
        low, high = max(start - offset, 0), min(end - offset, width)
        if low < high:
            found.append(sliced(editor, part, {**others, axis: (low, high)}))
        offset += width
    if not found:
        return None
    return found[0] if len(found) == 1 else editor.op("Concat", *found, axis=axis)


SLICE_OF_CONCAT = Rule(
    "slice-of-concat",
    "Slice(Concat(a, b)) = a, where it is what is cut out",
    frozenset({"Slice"}),
    _find_parts,
    (STEP, Guard("dynamic", lambda site: _known(site) and _OPEN not in site["widths"])),
    _of_parts,
)


# ---- a slice of a function -------------------------------------------------------------------------

_ELEMENTWISE = """
Abs Acos Asin Atan Ceil Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Reciprocal Relu Round
Selu Sigmoid Sign Sin Softplus Softsign Sqrt Tan Tanh
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
"""operators of one input whose every element hangs on its own alone"""


def _find_function(node: ir.Node, opset: int) -> Site | None:
    site = _find_slice(node, opset)
    if site is None or not _is(site["before"], *ELEMENTWISE):
        return None
    site.nodes = (site["before"], node)
    return site


def _inside(site: Site, editor: Editor, way: int) -> ir.Value:
    before: ir.Node = site["before"]
    x = before.inputs[0]
    assert x is not None
    cut = editor.op("Slice", x, *site.node.inputs[1:])
    return editor.like(before, cut)


SLICE_RISES = Rule(
    "slice-rises",
    "Slice(f(x)) = f(Slice(x)), f of each element alone",
    frozenset({"Slice"}),
    _find_function,
    (),
    _inside,
    worth=(SOLE,),
    repeats=True,
)
