"""Arithmetic on shapes: what is known of Shape -> Gather -> Concat -> Reshape chains becomes constant.

Every small integer tensor that hangs on a shape is followed element by element. An element is a number, a dimension
that has no number yet (its name, or the value and axis it was taken from), or unknown. A tensor that is all numbers is
replaced: one static dimension of a dynamic tensor is enough for a Gather that picks it. The target of a Reshape is
replaced too where 0 (copy this dimension) or -1 (whatever is left) says the rest:

    Reshape(x, [n, m, 12, 64])  ->  Reshape(x, [0, 0, 12, 64])   for x of shape [n, m, 768]
    Reshape(x, [d, 12, 64])     ->  Reshape(x, [-1, 12, 64])     as 12 * 64 > 0, the size of x leaves one choice for d

Only shapes that inference derived from inputs and constants count, those of graph outputs may rest on a declaration of
the source. Dimensions of one name are equal: sessions hold their callers to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program

_LARGEST = 256
"""elements; shapes and what is computed from them are small"""

_DTYPES = (ir.DataType.INT64, ir.DataType.INT32)


@dataclass(frozen=True)
class Unnamed:
    """The size of `value` along `axis`. (No tuple: numpy would take that for a sequence of elements.)"""

    value: ir.Value
    axis: int


Element = int | str | Unnamed | None
"""a number, a named dimension, an unnamed one, or unknown"""

Partial = np.ndarray
"""an object array of Elements"""

Known = dict[ir.Value, Partial]


@dataclass(frozen=True)
class FoldShapes:
    """Replaces known shape tensors, and targets of Reshape with one unknown element."""

    def __call__(self, program: Program) -> Program:
        if not any(node.op_type in ("Shape", "Size") for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        known: Known = {}
        did = False
        for graph in g.graphs(copy.model):
            for node in graph:
                did |= _visit(node, known, names)
        return g.changed(program, copy, did)


def _visit(node: ir.Node, known: Known, names: g.Names) -> bool:
    if node.domain != g.ONNX:
        return False
    if node.op_type == "Reshape" and (target := _target(node, known)) is not None:
        tensor = ir.tensor(np.array(target, np.int64))
        assert node.graph is not None
        node.replace_input_with(1, g.add_initializer(node.graph, names.fresh("shape"), tensor))
        return True
    rule = RULES.get(node.op_type)
    if rule is None or len(node.outputs) != 1:
        return False
    result = rule(node, known)
    if result is None or result.size > _LARGEST:
        return False
    output = node.outputs[0]
    if output.dtype not in _DTYPES or not _fits(result, output.dtype):
        return False
    if not all(isinstance(e, int) for e in result.flat):
        known[output] = result
        return False
    tensor = ir.tensor(result.astype(output.dtype.numpy()), dtype=output.dtype)
    g.become_constant(output, tensor, names)
    g.discard(node)
    return True


def _fits(result: Partial, dtype: ir.DataType) -> bool:
    limits = np.iinfo(dtype.numpy())
    return all(not isinstance(e, int) or limits.min <= e <= limits.max for e in result.flat)


def _target(node: ir.Node, known: Known) -> list[int] | None:
    """The target of a Reshape with 0 or -1 for what is no number; None where that does not say it exactly.

    0 and -1 are not mixed: where the copied dimension is empty, -1 beside it has no answer.
    """
    target = known.get(node.inputs[1]) if node.inputs[1] is not None else None
    if target is None or target.ndim != 1 or any(isinstance(e, int) and e <= 0 for e in target):
        return None
    source = _dims(node.inputs[0]) or []
    copies = [i < len(source) and e is not None and e == source[i] for i, e in enumerate(target)]
    if all(isinstance(e, int) or c for e, c in zip(target, copies, strict=True)):
        return None if g.attribute_int(node, "allowzero", 0) else [e if isinstance(e, int) else 0 for e in target]
    if sum(not isinstance(e, int) for e in target) == 1:
        return [e if isinstance(e, int) else -1 for e in target]
    return None


# ---- what is known of a value --------------------------------------------------------------------


def _look(value: ir.Value | None, known: Known) -> Partial | None:
    if value is None:
        return None
    if value in known:
        return known[value]
    array = g.constant_array(value, _LARGEST)
    return None if array is None or array.dtype.kind not in "iu" else array.astype(object)


def _dims(value: ir.Value | None) -> list[Element] | None:
    if value is None or value.shape is None or value.is_graph_output():
        return None
    return [d if isinstance(d, int) else d.value or Unnamed(value, i) for i, d in enumerate(value.shape)]


def _partial(elements: list[Element]) -> Partial:
    array = np.empty(len(elements), object)
    for index, element in enumerate(elements):
        array[index] = element
    return array


# ---- one rule an operator --------------------------------------------------------------------------


def _shape(node: ir.Node, known: Known) -> Partial | None:
    """Shape(x)[i] = x.shape[i]"""
    dims = _dims(node.inputs[0])
    if dims is None:
        return None
    start, end = g.attribute_int(node, "start", 0), node.attributes.get("end")
    return _partial(dims[slice(start, None if end is None else end.as_int())])


def _size(node: ir.Node, known: Known) -> Partial | None:
    """Size(x) = product of x.shape, where all of it is known"""
    dims = _dims(node.inputs[0])
    numbers = [d for d in dims or () if isinstance(d, int)]
    if dims is None or len(numbers) < len(dims):
        return None
    return np.array(int(np.prod(numbers, dtype=np.int64)), object)


def _gather(node: ir.Node, known: Known) -> Partial | None:
    """Gather(v, i) = v[i], along the one axis of v"""
    data, indices = _look(node.inputs[0], known), g.constant_array(node.inputs[1], _LARGEST)
    if data is None or indices is None or data.ndim != 1:
        return None
    if any(not -len(data) <= i < len(data) for i in indices.flat):
        return None
    picked = np.empty(indices.shape, object)
    for place in np.ndindex(indices.shape):
        picked[place] = data[indices[place]]
    return picked


def _slice(node: ir.Node, known: Known) -> Partial | None:
    """Slice(v, a, b, 0, s) = v[a:b:s]"""
    data = _look(node.inputs[0], known)
    arguments = [g.constant_ints(v) for v in node.inputs[1:]]
    if data is None or data.ndim != 1 or len(arguments) < 2 or any(a is None or len(a) != 1 for a in arguments):
        return None
    start, end, axis, step = [a[0] for a in arguments if a] + [0, 1][len(arguments) - 2 :]
    if axis not in (0, -1) or step < 1:
        return None
    return data[start:end:step]


def _concat(node: ir.Node, known: Known) -> Partial | None:
    """Concat(u, v) = [u..., v...]; a part of known length may have unknown elements"""
    parts: list[Partial] = []
    for value in node.inputs:
        part = _look(value, known)
        if part is None:
            length = g.static_shape(value)
            if length is None or len(length) != 1 or length[0] > _LARGEST or (value and value.is_graph_output()):
                return None
            part = _partial([None] * length[0])
        parts.append(part)
    return np.concatenate(parts) if all(p.ndim == 1 for p in parts) else None


def _flat(node: ir.Node, known: Known) -> Partial | None:
    """Squeeze([e]) = e, Unsqueeze(e) = [e], Reshape(v, shape): the same elements in another shape"""
    data, shape = _look(node.inputs[0], known), g.static_shape(node.outputs[0])
    if data is None or shape is None or int(np.prod(shape)) != data.size:
        return None
    return data.reshape(shape)


def _same(node: ir.Node, known: Known) -> Partial | None:
    """Identity(v) = v; Cast(v) = v between the integer types that hold shapes"""
    if node.op_type == "Cast" and node.attributes["to"].as_int() not in _DTYPES:
        return None
    return _look(node.inputs[0], known)


def _elementwise(function: Callable[[int, int], int]) -> Callable[[ir.Node, Known], Partial | None]:
    """f(u, v)[i] = f(u[i], v[i]); unknown where one of them is no number"""

    def rule(node: ir.Node, known: Known) -> Partial | None:
        left, right = _look(node.inputs[0], known), _look(node.inputs[1], known)
        if left is None or right is None:
            return None
        both = np.broadcast_arrays(left, right)
        result = np.empty(both[0].shape, object)
        for place in np.ndindex(result.shape):
            a, b = both[0][place], both[1][place]
            result[place] = function(a, b) if isinstance(a, int) and isinstance(b, int) else None
        return result

    return rule


RULES: dict[str, Callable[[ir.Node, Known], Partial | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _flat,
    "Unsqueeze": _flat,
    "Reshape": _flat,
    "Identity": _same,
    "Cast": _same,
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
}
"""Div and the rest need all their elements: FoldConstants takes them once those are known"""
