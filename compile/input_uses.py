"""Where the values of an input end up: the uses behind casts, reshapes, bodies and simple arithmetic.

What an input means is seldom in its name and always in its consumers: indices feed a Gather, a recurrent state an LSTM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile.contracts import Dim
from neoc.compile.program import Program

Axes = tuple[int | None, ...] | None
"""for each axis of a value the axis of the input that it is, None where it is another; None: nothing is known"""

_MOST_USES = 400
_LISTS = (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS)

_LAYOUT = frozenset({
    "Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Flatten", "Slice", "Split", "Expand",
    "Tile", "Concat", "Gather", "Pad", "Dropout", "CastLike", "DynamicQuantizeLinear", "QuantizeLinear",
    "DequantizeLinear",
})  # fmt: skip
"""operators that move values without changing them (or, for the last three, their meaning)"""

_SAME_SHAPE = frozenset({
    "Identity", "Cast", "CastLike", "Dropout", "Pad", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip

_ARITHMETIC = frozenset({
    "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Clip", "Max", "Min", "Relu", "LeakyRelu", "Tanh", "Sigmoid",
    "Sqrt", "Log", "Pow", "BatchNormalization", "InstanceNormalization", "LayerNormalization", "Where",
})  # fmt: skip


@dataclass(frozen=True)
class Use:
    """One consumer of an input's values."""

    node: ir.Node
    index: int
    """which of the node's inputs"""
    axes: Axes
    exact: bool = True
    """whether the values arrive as they were fed, up to `shift`"""
    shift: int = 0
    """integers arrive as fed + shift"""

    @property
    def operator(self) -> str:
        """The operator's name; 'domain::name' outside the standard domains, whose nodes no schema has checked."""
        node = self.node
        return node.op_type if node.domain in ("", "ai.onnx.ml") else f"{node.domain}::{node.op_type}"

    def operand(self, index: int) -> ir.Value | None:
        """Another input of the same node, where it has one."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def number(self, name: str, default: int) -> int:
        """An integer attribute."""
        attribute = self.node.attributes.get(name)
        known = attribute is not None and attribute.type == ir.AttributeType.INT and not attribute.is_ref()
        return attribute.as_int() if attribute is not None and known else default

    def numbers(self, name: str) -> list[Any]:
        """An attribute that is a list of numbers or texts, or a tensor; empty where there is none."""
        attribute = self.node.attributes.get(name)
        if attribute is None or attribute.is_ref():
            return []
        if attribute.type == ir.AttributeType.TENSOR:
            values: list[Any] = attribute.as_tensor().numpy().reshape(-1).tolist()
            return values
        return list(attribute.value) if attribute.type in _LISTS else []


class Follower:
    """Follows the inputs of one program."""

    def __init__(self, program: Program) -> None:
        self._functions = program.model.functions
        self._owners: dict[ir.Value, list[ir.Value]] = {}
        """the output of a body -> the outputs of the node around it that it becomes"""
        for node in program.nodes():
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                    outputs = attribute.as_graph().outputs[node.op_type == "Loop" :]
                    for inner, outer in zip(outputs, node.outputs, strict=False):
                        self._owners.setdefault(inner, []).append(outer)

    def uses(self, value: ir.Value, rank: int | None = None) -> list[Use]:
        """Every use of an input that can be followed, nearest first. `rank` stands in for one that is not known."""
        found: list[Use] = []
        rank = rank if value.shape is None else len(value.shape)
        first = Use(ir.Node("", "Input", []), 0, None if rank is None else tuple(range(rank)))
        todo: list[tuple[ir.Value, Use]] = [(value, first)]
        seen = {value}
        for current, arrived in todo:
            onward = [(outer, arrived) for outer in self._owners.get(current, ())]
            for node, index in current.uses():
                use = replace(arrived, node=node, index=index)
                found.append(use)
                if len(found) == _MOST_USES:
                    return found
                onward += self._onward(use)
            for following, then in onward:
                if following not in seen:
                    seen.add(following)
                    todo.append((following, then))
        return found

    def _onward(self, use: Use) -> Iterator[tuple[ir.Value, Use]]:
        """The values that still carry the input after this use."""
        node, operator = use.node, use.operator
        function = self._functions.get(node.op_identifier())
        if function is not None:
            if use.index < len(function.inputs):
                yield function.inputs[use.index], use
        elif operator in ("Loop", "Scan") and not (attribute := node.attributes["body"]).is_ref():
            body = attribute.as_graph()
            if use.index < len(body.inputs) and (operator == "Scan" or use.index >= 2):
                yield body.inputs[use.index], replace(use, axes=None)
        elif operator in _LAYOUT and (use.index == 0 or operator == "Concat"):
            then = use if operator in _SAME_SHAPE else replace(use, axes=_moved(use))
            yield from ((output, then) for output in node.outputs[: None if operator == "Split" else 1])
        elif operator in _ARITHMETIC:
            then = _shifted(use)
            yield from ((output, then) for output in node.outputs[:1])


def _moved(use: Use) -> Axes:
    """The axes after a layout operator, as far as they can be told."""
    axes, node = use.axes, use.node
    if axes is None:
        return None
    if node.op_type == "Transpose":
        order = use.numbers("perm") or list(reversed(range(len(axes))))
        return tuple(axes[i] for i in order) if sorted(order) == list(range(len(axes))) else None
    if node.op_type in ("Unsqueeze", "Squeeze"):
        given = use.numbers("axes") or constant_ints(use.operand(1))
        if not given:
            return None
        return (_with_axes if node.op_type == "Unsqueeze" else _without_axes)(axes, tuple(given))
    return axes if node.op_type in ("Slice", "Split", "Concat") else None


def _with_axes(axes: tuple[int | None, ...], new: tuple[int, ...]) -> Axes:
    rank = len(axes) + len(new)
    places = {axis % rank for axis in new} if rank else set()
    old = iter(axes)
    return tuple(None if i in places else next(old, None) for i in range(rank))


def _without_axes(axes: tuple[int | None, ...], gone: tuple[int, ...]) -> Axes:
    places = {axis % len(axes) for axis in gone} if axes else set()
    return tuple(axis for i, axis in enumerate(axes) if i not in places)


def _shifted(use: Use) -> Use:
    """Through arithmetic; adding an integer constant leaves the values known."""
    if use.operator in ("Add", "Sub") and use.exact:
        other = constant_ints(use.operand(1 - use.index)) if use.index < 2 else None
        if other is not None and len(other) == 1 and (use.operator == "Add" or use.index == 0):
            return replace(use, shift=use.shift + (other[0] if use.operator == "Add" else -other[0]))
    return replace(use, exact=False)


def guess_rank(uses: Sequence[Use]) -> int:
    """The rank that the first dense operator asks for, where the model does not say."""
    for use in uses:
        if use.index == 0 and use.operator in ("Conv", "ConvTranspose", "ConvInteger"):
            return next((n for n in (5, 4, 3) if size(use.operand(1), n - 1) is not None), 4)
        if use.index == 0 and use.operator in _RANKS:
            return _RANKS[use.operator]
    return 1


_RANKS = {"Gemm": 2, "MatMul": 2, "MatMulInteger": 2, "LSTM": 3, "GRU": 3, "RNN": 3, "MaxPool": 4, "AveragePool": 4}


# ---- constants and sizes ---------------------------------------------------------------------------


def constant(value: ir.Value | None, most: int = 1 << 16) -> np.ndarray | None:
    """The array of a constant of at most `most` elements: an initializer, a Constant node, or one behind a Cast."""
    for _ in range(4):
        if value is None:
            return None
        tensor = value.const_value
        node = value.producer()
        if tensor is None and node is not None and node.op_type == "Constant":
            return _constant_node(node, most)
        if tensor is not None:
            return tensor.numpy() if tensor.size <= most else None
        if node is None or node.op_type not in ("Identity", "Cast", "Unsqueeze") or not node.inputs:
            return None
        value = node.inputs[0]
    return None


def _constant_node(node: ir.Node, most: int) -> np.ndarray | None:
    for attribute in node.attributes.values():
        if attribute.is_ref() or attribute.type in (ir.AttributeType.STRING, ir.AttributeType.STRINGS):
            return None
        if attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            return tensor.numpy() if tensor.size <= most else None
        return np.asarray(attribute.value)
    return None


def constant_ints(value: ir.Value | None) -> tuple[int, ...] | None:
    """The elements of a constant of integers."""
    array = constant(value)
    return None if array is None or array.dtype.kind not in "iu" else tuple(int(x) for x in array.reshape(-1))


def size(value: ir.Value | None, axis: int) -> Dim:
    """One dimension of a value: a size, a name, or None."""
    shape: ir.Shape | None = None
    if value is not None:
        shape = value.shape
        node = value.producer()
        if value.const_value is not None:
            shape = ir.Shape(value.const_value.shape.numpy())
        elif shape is None and node is not None and node.op_type == "Constant":
            array = constant(value, 1 << 62)
            shape = None if array is None else ir.Shape(array.shape)
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    dim = shape[axis]
    return dim if isinstance(dim, int) else dim.value
