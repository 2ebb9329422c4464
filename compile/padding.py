"""Padding: feeds of any length in the shape of a bucket, and outputs cut back to what the feeds asked for.

What a session does with every call, and what the compiler has proven to change nothing. Imports numpy and the contracts
alone.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Any

import numpy as np

from neoc.compile.contracts import Feeds, Scalar, Signature

Cut = Mapping[int, str]
"""axis of an output -> its size as an expression of the bucketed dimensions: 'seq', '2*seq + 1'"""


@dataclass(frozen=True)
class Padding:
    """How feeds become those of a bucket, and outputs those of the feeds."""

    least: Mapping[str, int]
    """bucketed dimension -> the smallest size that was proven"""
    values: Mapping[str, float] = field(default_factory=dict)
    """input -> what it is padded with; 0 where it is not named"""
    cuts: Mapping[str, Cut] = field(default_factory=dict)
    """output -> what of it belongs to the request"""

    def sizes(self, signature: Signature, feeds: Feeds) -> dict[str, int]:
        """The sizes that feeds have in the bucketed dimensions. The feeds were checked against the signature."""
        found: dict[str, int] = {}
        for spec in signature.inputs:
            for axis, dim in enumerate(spec.shape or ()):
                if dim in self.least:
                    found[str(dim)] = feeds[spec.name].shape[axis]
        return found

    def pad(self, signature: Signature, feeds: Feeds, bind: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Feeds in the bucket's shape; an array that has it already is passed on as it is."""
        return {spec.name: self._padded(spec.name, spec.shape, feeds[spec.name], bind) for spec in signature.inputs}

    def _padded(
        self, name: str, shape: tuple[int | str | None, ...] | None, array: np.ndarray, bind: Mapping[str, int]
    ) -> np.ndarray:
        wanted = tuple(
            bind[dim] if isinstance(dim, str) and dim in self.least else size
            for dim, size in zip(shape or (), array.shape, strict=False)
        )
        if wanted == array.shape or shape is None:
            return array
        value: Any = "" if array.dtype.kind in "OUS" else self.values.get(name, 0)
        made = np.full(wanted, value, array.dtype)
        made[tuple(slice(size) for size in array.shape)] = array
        return made

    def cut(self, outputs: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
        """Outputs without what padding added: fresh, C-contiguous arrays."""
        return {name: self._cut(value, self.cuts.get(name, {}), sizes) for name, value in outputs.items()}

    def _cut(self, value: Any, cut: Cut, sizes: Mapping[str, int]) -> Any:
        if not cut:
            return value
        index = [slice(None)] * value.ndim
        for axis, text in cut.items():
            index[axis] = slice(evaluate(text, sizes))
        part = value[tuple(index)]
        return value if part.shape == value.shape else np.ascontiguousarray(part)

    def as_dict(self) -> dict[str, Any]:
        cuts = {name: {str(axis): text for axis, text in cut.items()} for name, cut in self.cuts.items() if cut}
        return {"least": dict(self.least), "values": dict(self.values), "cuts": cuts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Padding:
        """Raises ValueError for a cut that is no expression of the dimensions."""
        cuts = {name: {int(axis): text for axis, text in cut.items()} for name, cut in data["cuts"].items()}
        for cut in cuts.values():
            for text in cut.values():
                evaluate(text, data["least"])
        return cls(dict(data["least"]), dict(data["values"]), cuts)


# ---- expressions of sizes ------------------------------------------------------------------------

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
FUNCTIONS: dict[str, Callable[..., Scalar]] = {
    "floor": floor,
    "ceiling": ceil,
    "ceil": ceil,
    "max": max,
    "Max": max,
    "min": min,
    "Min": min,
}


_LONGEST = 500
"""characters of an expression"""


def evaluate(text: str, sizes: Mapping[str, int]) -> int:
    """An expression such as 'floor(seq/2) + 1' at these sizes. Raises ValueError for all but arithmetic of them."""
    if text in sizes:  # names such as batch-size are no expressions
        return sizes[text]
    try:
        if len(text) > _LONGEST:
            raise TypeError("it is too long")
        value = _value(ast.parse(text.strip(), mode="eval").body, sizes)
    except (SyntaxError, ArithmeticError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is no size: {error}") from error
    if value != int(value) or value < 0:
        raise ValueError(f"{text!r} is {value}, which is no size")
    return int(value)


def _value(node: ast.expr, sizes: Mapping[str, int]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) < 2**31:
        return node.value
    if isinstance(node, ast.Name):
        return sizes[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, sizes)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left, sizes), _value(node.right, sizes))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and node.args:
        return FUNCTIONS[node.func.id](*(_value(argument, sizes) for argument in node.args))
    raise TypeError(f"{ast.dump(node)[:80]} is no arithmetic of sizes")
