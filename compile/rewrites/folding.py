"""Scales and shifts by channel go into the weights of the linear operator beside them.

    (W x + b) * s + t = (s W) x + (s b + t)        W (x * s + t) + b = (W s) x + (W t + b)        (x A) B = x (A B)

A BatchNormalization outside of training is such a scale and shift. Behind a padding the shift is not the same at the
border, so before a padded convolution only scales are moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import LIMIT
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.terms import producer, sole

_LINEAR = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_AFFINE = frozenset({"Mul", "Div", "Add", "Sub", "BatchNormalization"})
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class _Affine:
    """y = x * scale + shift; both are constants as they stand in the graph, None: 1 and 0."""

    x: ir.Value
    scale: np.ndarray | None
    shift: np.ndarray | None
    by_channel: bool
    """whether they lie along axis 1 as vectors, as a BatchNormalization's do"""
    training: bool = False


def _affine(node: ir.Node | None) -> _Affine | None:
    if node is None or node.domain != g.ONNX or node.op_type not in _AFFINE or node.inputs[0] is None:
        return None
    if node.op_type == "BatchNormalization":
        given = [g.constant(v) for v in node.inputs[1:5]]
        if len(given) < 4 or any(c is None for c in given):
            return None
        scale, shift, mean, var = (c.numpy().astype(np.float64) for c in given if c is not None)
        epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
        factor = scale / np.sqrt(var + epsilon)
        training = bool(g.attribute_int(node, "training_mode", 0)) or any(map(g.is_used, node.outputs[1:]))
        return _Affine(node.inputs[0], factor, shift - factor * mean, True, training)
    x: ir.Value | None = node.inputs[0]
    constant = g.constant(node.inputs[1])
    if constant is None and node.op_type in ("Mul", "Add"):
        x, constant = node.inputs[1], g.constant(node.inputs[0])
    if constant is None or x is None or constant.size > LIMIT or constant.dtype not in _FLOATS:
        return None
    array = constant.numpy().astype(np.float64)
    if node.op_type == "Div" and np.any(array == 0):
        return None
    if node.op_type in ("Mul", "Div"):
        return _Affine(x, array if node.op_type == "Mul" else 1 / array, None, False)
    return _Affine(x, None, array if node.op_type == "Add" else -array, False)


@dataclass(frozen=True)
class _Linear:
    """A Conv, ConvTranspose, MatMul or Gemm with constant weights, as it is written."""

    node: ir.Node
    weight: np.ndarray
    bias: np.ndarray | None
    """along the channels of the result; a Gemm's may have any shape"""
    group: int
    out: int
    """the axis of `weight` that the channels of the result lie along"""
    inside: int
    """the axis that the channels of the input lie along"""
    pads: bool

    @property
    def channel(self) -> int:
        """The axis of input and result that the channels lie along, from behind for products."""
        return 1 if self.node.op_type.startswith("Conv") else -1


def _linear(node: ir.Node | None) -> _Linear | None:
    if node is None or node.domain != g.ONNX or node.op_type not in _LINEAR or len(node.inputs) < 2:
        return None
    constant = g.constant(node.inputs[1])
    third = node.inputs[2] if len(node.inputs) > 2 else None
    bias = g.constant(third)
    if constant is None or constant.size > LIMIT or (third is not None and bias is None):
        return None
    if constant.dtype not in _FLOATS or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    weight = constant.numpy().astype(np.float64)
    plain = bias.numpy().astype(np.float64) if bias is not None else None
    group = g.attribute_int(node, "group", 1)
    if node.op_type in ("Conv", "ConvTranspose"):
        auto = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
        pads = any(g.attribute_ints(node, "pads") or []) or auto.startswith("SAME")
        axes = (0, 1) if node.op_type == "Conv" else (1, 0)
        return _Linear(node, weight, plain, group, *axes, pads)
    if weight.ndim != 2:
        return None
    if node.op_type == "Gemm":
        ones = all(node.attributes[a].as_float() == 1 for a in ("alpha", "beta") if a in node.attributes)
        if not ones or g.attribute_int(node, "transA", 0) or (plain is not None and plain.ndim != 1):
            return None
        turned = bool(g.attribute_int(node, "transB", 0))
        return _Linear(node, weight, plain, 1, *((0, 1) if turned else (1, 0)), False)
    return _Linear(node, weight, plain, 1, 1, 0, False)


def _vector(array: np.ndarray | None, rank: int, channel: int, size: int, by_channel: bool) -> np.ndarray | None:
    """`array` as one number a channel; None where it differs along another axis, or has more axes than `rank`."""
    if array is None:
        return None
    if by_channel:
        return array
    if array.ndim > rank:
        return None
    wide = array.reshape((1,) * (rank - array.ndim) + array.shape)
    axis = channel % rank
    if wide.size != wide.shape[axis] or wide.shape[axis] not in (1, size):
        return None
    return np.broadcast_to(wide.reshape(-1), (size,))


def _along(vector: np.ndarray, axis: int, rank: int) -> np.ndarray:
    return vector.reshape([-1 if a == axis else 1 for a in range(rank)])


def _remade(editor: Editor, of: _Linear, x: ir.Value, weight: np.ndarray, bias: np.ndarray | None) -> ir.Value:
    """The operator with other weights; a MatMul with a bias is followed by an Add."""
    kind = of.node.inputs[1].dtype.numpy()  # type: ignore[union-attr]
    given = [x, editor.const(weight, kind)]
    if bias is not None and of.node.op_type != "MatMul":
        given.append(editor.const(bias, kind))
    y = editor.like(of.node, *given)
    if bias is not None and of.node.op_type == "MatMul":
        return editor.op("Add", y, editor.const(bias, kind))
    return y


def _out_size(of: _Linear) -> int:
    return int(of.weight.shape[of.out]) * (of.group if of.node.op_type == "ConvTranspose" else 1)


# ---- behind ----------------------------------------------------------------------------------------


def _find_behind(node: ir.Node, opset: int) -> Site | None:
    affine = _affine(node)
    before = producer(affine.x, *_LINEAR) if affine is not None else None
    linear = _linear(before)
    if affine is None or linear is None or before is None:
        return None
    rank = len(affine.x.shape) if affine.x.shape is not None else 0
    facts = {"linear": linear, "affine": affine, "rank": rank, "x": affine.x}
    return Site(node, opset, (before, node), facts)


def _vectors(site: Site, size: int, channel: int) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    affine: _Affine = site["affine"]
    found = [_vector(a, site["rank"], channel, size, affine.by_channel) for a in (affine.scale, affine.shift)]
    lost = any(a is not None and v is None for a, v in zip((affine.scale, affine.shift), found, strict=True))
    return None if lost else (found[0], found[1])


def _behind_fits(site: Site) -> bool:
    linear: _Linear = site["linear"]
    return _vectors(site, _out_size(linear), linear.channel) is not None


def _fold_behind(site: Site, editor: Editor, way: int) -> ir.Value:
    linear: _Linear = site["linear"]
    size = _out_size(linear)
    vectors = _vectors(site, size, linear.channel)
    assert vectors is not None
    scale, shift = vectors
    weight, bias = linear.weight, linear.bias
    if scale is not None:
        along = scale if linear.node.op_type != "ConvTranspose" or linear.group == 1 else None
        weight = weight * (_along(along, linear.out, weight.ndim) if along is not None else _grouped(scale, linear))
        bias = None if bias is None else bias * scale
    if shift is not None:
        bias = shift if bias is None else bias + shift
    x = linear.node.inputs[0]
    assert x is not None
    return _remade(editor, linear, x, weight, bias)


def _grouped(scale: np.ndarray, linear: _Linear) -> np.ndarray:
    """A ConvTranspose's weights are [in, out/group, ...]: rows of one group share their part of the channels."""
    rows = np.repeat(np.arange(linear.group), linear.weight.shape[0] // linear.group)
    by_row = scale.reshape(linear.group, -1)[rows]
    return by_row.reshape(by_row.shape + (1,) * (linear.weight.ndim - 2))


def _no_add_alone(site: Site) -> bool:
    """A MatMul with an Add behind it is as folded as it can be."""
    return site["linear"].node.op_type != "MatMul" or site["affine"].scale is not None


TRAINING = Guard("training", lambda site: not site["affine"].training)
SOLE = Guard("shared", lambda site: sole(site["x"]))
"""nobody else reads the result as it was: else it would be computed twice"""

FOLD_BEHIND = Rule(
    "fold-behind",
    "(W x + b) * s + t = (s W) x + (s b + t)",
    _AFFINE,
    _find_behind,
    (TRAINING, Guard("broadcast", _behind_fits)),
    _fold_behind,
    worth=(SOLE, Guard("use", _no_add_alone)),
    repeats=True,
)

# ---- before ----------------------------------------------------------------------------------------


def _find_before(node: ir.Node, opset: int) -> Site | None:
    linear = _linear(node)
    x = node.inputs[0]
    if linear is None or x is None:
        return None
    affine = _affine(x.producer())
    if affine is None or affine.x.shape is None or node.op_type == "ConvTranspose":
        return None
    before = x.producer()
    assert before is not None
    return Site(node, opset, (before, node), {"linear": linear, "affine": affine, "rank": len(affine.x.shape), "x": x})


def _in_size(linear: _Linear) -> int:
    return int(linear.weight.shape[linear.inside]) * (linear.group if linear.node.op_type == "Conv" else 1)


def _before_fits(site: Site) -> bool:
    linear: _Linear = site["linear"]
    same = site["affine"].by_channel or (site["x"].shape is not None and len(site["x"].shape) == site["rank"])
    return same and _vectors(site, _in_size(linear), linear.channel) is not None


def _no_border(site: Site) -> bool:
    """A shift is not the same where zeros were padded."""
    return site["affine"].shift is None or not site["linear"].pads


def _fold_before(site: Site, editor: Editor, way: int) -> ir.Value:
    linear: _Linear = site["linear"]
    vectors = _vectors(site, _in_size(linear), linear.channel)
    assert vectors is not None
    scale, shift = vectors
    weight, bias = linear.weight, linear.bias
    if shift is not None:
        moved = _moved(weight, shift, linear)
        bias = moved if bias is None else bias + moved
    if scale is not None:
        weight = weight * _of_inputs(scale, linear)
    return _remade(editor, linear, site["affine"].x, weight, bias)


def _of_inputs(vector: np.ndarray, linear: _Linear) -> np.ndarray:
    """One number an input channel, along the weights: a group of filters reads its own part of the channels."""
    if linear.node.op_type != "Conv":
        return _along(vector, linear.inside, linear.weight.ndim)
    rows = np.repeat(np.arange(linear.group), linear.weight.shape[0] // linear.group)
    by_row = vector.reshape(linear.group, -1)[rows]
    return by_row.reshape(by_row.shape + (1,) * (linear.weight.ndim - 2))


def _moved(weight: np.ndarray, shift: np.ndarray, linear: _Linear) -> np.ndarray:
    """W t, one number a channel of the result."""
    product = weight * _of_inputs(shift, linear)
    return np.asarray(product.sum(axis=tuple(a for a in range(weight.ndim) if a != linear.out)))


FOLD_BEFORE = Rule(
    "fold-before",
    "W (x * s + t) + b = (W s) x + (W t + b)",
    frozenset({"Conv", "MatMul", "Gemm"}),
    _find_before,
    (TRAINING, Guard("broadcast", _before_fits), Guard("pad", _no_border)),
    _fold_before,
    worth=(SOLE,),
    repeats=True,
)

# ---- two products ----------------------------------------------------------------------------------


def _find_chain(node: ir.Node, opset: int) -> Site | None:
    """(x A) B with constants A and B."""
    second, before = _linear(node), producer(node.inputs[0], "MatMul")
    first = _linear(before)
    if second is None or first is None or before is None:
        return None
    return Site(node, opset, (before, node), {"first": first, "second": second, "x": node.inputs[0]})


def _smaller(site: Site) -> bool:
    """One product is no more work than two: the middle is not much narrower than both ends."""
    a, b = site["first"].weight, site["second"].weight
    return bool(a.shape[0] * b.shape[1] <= a.size + b.size)


def _chained(site: Site, editor: Editor, way: int) -> ir.Value:
    first, second = site["first"], site["second"]
    x = first.node.inputs[0]
    return _remade(editor, second, x, first.weight @ second.weight, None)


PRODUCT_CHAIN = Rule(
    "product-chain",
    "(x A) B = x (A B)",
    frozenset({"MatMul"}),
    _find_chain,
    (),
    _chained,
    worth=(SOLE, Guard("size", _smaller)),
    repeats=True,
)
