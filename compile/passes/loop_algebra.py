"""Reading the body of a recurrent loop as sums of products: x W + h R + b, however its nodes are arranged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_invariants import through_identity

_MOST_TERMS = 32
_END = 2**31 - 1
_MOST_ROWS = 1 << 20
"""entries of a constant whose rows are compared"""


@dataclass(frozen=True)
class Term:
    """One summand: columns [low, high) of `value`; high None: to the end."""

    value: ir.Value
    low: int = 0
    high: int | None = None

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The same columns of a constant whose last axis has one entry for each of them."""
        return array[..., self.low : self.high]


@dataclass(frozen=True)
class Affine:
    """A sum of products with constant matrices, a constant vector, and what is neither."""

    products: list[tuple[ir.Value, np.ndarray]]
    """(operand, matrix [inputs, columns])"""
    bias: np.ndarray
    rest: list[ir.Value]


def commuted(value: ir.Value, operator: str) -> Iterator[tuple[ir.Value, ir.Value]]:
    """The two operands of a commutative operator in both orders; nothing where `value` is made by another one."""
    inner = through_identity(value)
    node = None if inner is None else inner.producer()
    if node is not None and node.op_type == operator and node.domain == g.ONNX and len(node.inputs) == 2:
        first, second = node.inputs
        if first is not None and second is not None:
            yield first, second
            yield second, first


def terms(value: ir.Value, low: int = 0, high: int | None = None) -> list[Term] | None:
    """The summands of columns [low, high) of `value`, cuts along the last axis carried down into them.

    None where there are too many.
    """
    done: list[Term] = []
    waiting = [Term(value, low, high)]
    while waiting:
        if len(done) + len(waiting) > _MOST_TERMS:
            return None
        term = waiting.pop()
        inner = through_identity(term.value)
        node = None if inner is None else inner.producer()
        if inner is None or node is None or node.domain != g.ONNX:
            done.append(term)
            continue
        if node.op_type == "Add" and None not in node.inputs:
            waiting += [Term(operand, term.low, term.high) for operand in node.inputs if operand is not None]
            continue
        part = cut(node, inner)
        if part is None:
            done.append(Term(inner, term.low, term.high))
        else:
            source, low, high = part
            end = high if term.high is None else low + term.high
            if high is not None and end is not None and end > high:
                return None
            waiting.append(Term(source, low + term.low, end))
    return done


def cut(node: ir.Node, output: ir.Value) -> tuple[ir.Value, int, int | None] | None:
    """(source, low, high) where `output` is columns of a matrix: of Split or Slice along the last axis."""
    source = node.inputs[0] if node.inputs else None
    if source is None:
        return None
    if node.op_type == "Split":
        return _split(node, output, source)
    if node.op_type != "Slice" or len(node.inputs) < 4:
        return None
    starts, ends, axes = (g.constant_ints(node.inputs[i]) for i in (1, 2, 3))
    steps = g.constant_ints(node.inputs[4]) if len(node.inputs) > 4 and node.inputs[4] is not None else [1, 1]
    if starts is None or ends is None or axes is None or steps is None or set(steps) != {1}:
        return None
    low, high = 0, None
    for start, end, axis in zip(starts, ends, axes, strict=True):
        if axis in (1, -1):
            if start < 0 or end < 0:
                return None
            low, high = start, None if end >= _END else end
        elif axis != 0 or start != 0 or end < _END:
            return None
    return source, low, high


def _split(node: ir.Node, output: ir.Value, source: ir.Value) -> tuple[ir.Value, int, int | None] | None:
    axis, rank = g.attribute_int(node, "axis", 0), None if source.shape is None else len(source.shape)
    if axis != -1 and (axis != 1 or rank != 2):
        return None
    sizes = g.constant_ints(node.inputs[1]) if len(node.inputs) > 1 else g.attribute_ints(node, "split")
    if sizes is None:
        width, parts = None if source.shape is None else source.shape[-1], len(node.outputs)
        if not isinstance(width, int) or width % parts:
            return None
        sizes = [width // parts] * parts
    place = list(node.outputs).index(output)
    low = sum(sizes[:place])
    return source, low, low + sizes[place]


def affine(summands: Sequence[Term] | None) -> Affine | None:
    """The sum as products, bias and rest; None where there is no product or the widths do not agree."""
    if summands is None:
        return None
    products: list[tuple[ir.Value, np.ndarray]] = []
    rest: list[ir.Value] = []
    vectors: list[np.ndarray] = []
    for term in summands:
        vector = constant_vector(term.value)
        if vector is not None:
            vectors.append(term.cut(vector) if vector.size > 1 else vector)
            continue
        found = _product(term)
        if found is not None:
            products.append((found[0], found[1]))
            vectors += found[2]
        elif term.low == 0 and term.high is None:
            rest.append(term.value)
        else:
            return None
    if not products:
        return None
    width = products[0][1].shape[1]
    if any(matrix.shape[1] != width for _, matrix in products) or any(v.size not in (1, width) for v in vectors):
        return None
    bias = np.zeros(width, products[0][1].dtype)
    for vector in vectors:
        bias = bias + vector.astype(bias.dtype)
    return Affine(products, bias, rest)


def constant_vector(value: ir.Value | None) -> np.ndarray | None:
    """A constant of one row, or of equal rows, as a vector."""
    tensor = g.constant(value)
    if tensor is None or tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE):
        return None
    array = tensor.numpy()
    if array.size == 1 or (array.ndim and array.shape[-1] == array.size):
        return array.reshape(-1)
    # A product of zeros was folded into a row for each of the batch.
    return (
        array[0] if array.ndim == 2 and len(array) and array.size <= _MOST_ROWS and (array == array[0]).all() else None
    )


def _product(term: Term) -> tuple[ir.Value, np.ndarray, list[np.ndarray]] | None:
    """(operand, its matrix, biases) of MatMul, or of Gemm with plain factors, by a constant matrix."""
    node = term.value.producer()
    if node is None or node.domain != g.ONNX or node.op_type not in ("MatMul", "Gemm") or node.inputs[0] is None:
        return None
    tensor = g.constant(node.inputs[1])
    if tensor is None or len(tensor.shape) != 2:
        return None
    matrix = tensor.numpy()
    biases: list[np.ndarray] = []
    if node.op_type == "Gemm":
        plain = all(node.attributes[name].as_float() == 1 for name in ("alpha", "beta") if name in node.attributes)
        if not plain or g.attribute_int(node, "transA", 0):
            return None
        matrix = matrix.T if g.attribute_int(node, "transB", 0) else matrix
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            vector = constant_vector(node.inputs[2])
            if vector is None:
                return None
            biases.append(term.cut(vector) if vector.size > 1 else vector)
    return node.inputs[0], term.cut(matrix), biases
