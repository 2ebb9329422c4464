"""The steps behind the trees as one compiled function: ONNX operators over [rows] and [rows, C] -> `Finish`.

What has no rule there (text, mostly: the names of classes) is left to numpy, behind the compiled part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees.finish import BOOL, I64, MARGIN, Finish, Op, check
from neoc.targets.engines.trees_program import ELEMENTS, Parts

Step = Mapping[str, Any]
"""operator, inputs, output, attributes"""


@dataclass(frozen=True)
class Row:
    """A lowered value: its number in the Finish, and whether it is [rows, C] or [rows]."""

    number: int
    rank: int


@dataclass(frozen=True)
class Lowered:
    """What the compiled part gives, and what is left."""

    finish: Finish | None
    """whose outputs are the values `names`; None where nothing is to be computed"""
    names: tuple[str, ...]
    shapes: tuple[tuple[str, int | None], ...]
    """(dtype, columns; None for [rows]) of each"""
    left: tuple[Step, ...]
    """steps for numpy, over those values and the margin"""
    whole: Finish | None
    """whose outputs are those of the program, one after the other; None where one of them has no rule"""
    texts: tuple[tuple[str, ...], ...]
    """of each output of `whole`: the texts that it is the index of; empty for a number"""


class _Refused(Exception):
    """The step has no rule."""


@dataclass
class _State:
    parts: Parts
    ops: list[Op] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    texts: dict[str, tuple[Row, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def finish(self) -> Finish:
        e = self.parts.ensemble
        return Finish(np.dtype(e.sum_dtype).name, e.targets, tuple(self.ops), (MARGIN,))

    def op(self, number: int) -> Op:
        return self.finish.value(number)

    def add(self, *op: Any, rank: int, **more: Any) -> Row:
        """One more value. Raises KernelInputError where the generator has no rule for it."""
        self.ops.append(Op(*op, **more))
        try:
            check(self.finish)
        except KernelInputError:
            self.ops.pop()
            raise
        return Row(len(self.ops), rank)

    def constant(self, name: str) -> np.ndarray:
        if name not in self.parts.constants:
            raise _Refused(f"{name} is no constant")
        return self.parts.constants[name]

    def row(self, name: str) -> Row:
        if name not in self.rows:
            raise _Refused(f"{name} is not lowered")
        return self.rows[name]

    def operand(self, name: str, rank: int, columns: int) -> int:
        """A value, or a constant that numpy would spread over [rows, columns] (rank 2) or [rows] (rank 1)."""
        if name in self.rows:
            if self.rows[name].rank != rank:
                raise _Refused("[rows] and [rows, C] are spread over one another")
            return self.rows[name].number
        array = self.constant(name)
        if array.dtype.name not in ELEMENTS.values() or array.ndim > rank or any(n != 1 for n in array.shape[:-1]):
            raise _Refused("a constant has a shape of its own")
        if array.size != 1 and (rank == 1 or array.size != columns):
            raise _Refused("a constant has other columns")
        return self.number_of(array, array.size)

    def number_of(self, array: np.ndarray, columns: int) -> int:
        data = tuple(array.ravel().tolist())
        return self.add("Constant", (), array.dtype.name, columns, data, rank=2).number


def lower(parts: Parts, outputs: Sequence[str]) -> Lowered:
    """As much as there is a rule for. Names of the margin itself stay steps for numpy: they copy nothing."""
    state = _State(parts)
    state.rows[parts.margin] = Row(MARGIN, 2)
    left: list[Step] = []
    for step in parts.steps:
        kept = len(state.ops)
        try:
            _lower_step(state, step)
        except (_Refused, KernelInputError):
            del state.ops[kept:]
            left.append(step)
        else:
            if state.rows[step["output"]].number == MARGIN:
                left.append(step)
    needed, behind = set(outputs), list[Step]()
    for kept_step in reversed(left):
        if kept_step["output"] in needed:
            behind.append(kept_step)
            needed |= set(kept_step["inputs"])
    rows = {name: row for name, row in state.rows.items() if name in needed and row.number != MARGIN}
    shapes = [(state.op(r.number).dtype, state.op(r.number).columns if r.rank == 2 else None) for r in rows.values()]
    finish = _checked(replace(state.finish, outputs=tuple(r.number for r in rows.values()))) if rows else None
    whole, texts = _whole(state, outputs)
    return Lowered(finish, tuple(rows), tuple(shapes), tuple(reversed(behind)), whole, texts)


def _whole(state: _State, outputs: Sequence[str]) -> tuple[Finish | None, tuple[tuple[str, ...], ...]]:
    numbers: list[int] = []
    texts: list[tuple[str, ...]] = []
    for name in outputs:
        if name in state.rows:
            numbers.append(state.rows[name].number)
            texts.append(())
        elif name in state.texts:
            numbers.append(state.texts[name][0].number)
            texts.append(state.texts[name][1])
        else:
            return None, ()
    return _checked(replace(state.finish, outputs=tuple(numbers))), tuple(texts)


def _checked(finish: Finish) -> Finish:
    check(finish)
    return finish


def _lower_step(state: _State, step: Step) -> None:
    operator, inputs = step["operator"], list(step["inputs"])
    attributes: Mapping[str, Any] = step["attributes"]
    if operator in _RENAMED or operator == "Gather":
        words = _words(state, operator, inputs, attributes)
        if words is not None:
            state.texts[step["output"]] = words
            raise _Refused("texts are numpy's")
    rule = _RULES.get(operator)
    if rule is None:
        raise _Refused(f"{operator} has no rule")
    state.rows[step["output"]] = rule(state, inputs, attributes)


def _words(
    state: _State, operator: str, inputs: list[str], attributes: Mapping[str, Any]
) -> tuple[Row, tuple[str, ...]] | None:
    """The index and the texts, where the step gives texts."""
    if operator != "Gather":
        return state.texts.get(inputs[0])
    table = state.parts.constants.get(inputs[0])
    if table is None or table.dtype.kind not in "OSU" or table.ndim != 1 or attributes.get("axis", 0) != 0:
        return None
    words = tuple(w.decode() if isinstance(w, bytes) else str(w) for w in table.tolist())
    index = state.row(inputs[1])
    bound = state.finish.bound(index.number)
    return (index, words) if 0 < bound <= len(words) else None


# ---- rules: (state, inputs, attributes) -> Row ------------------------------------------------

Rule = Callable[[_State, list[str], Mapping[str, Any]], Row]


def _plain(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    return state.row(inputs[0])


def _squeeze(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    row = state.row(inputs[0])
    axes = [int(a) for a in np.ravel(state.constant(inputs[1]))] if len(inputs) > 1 else []
    if row.rank != 2 or axes not in ([1], [-1]) or state.op(row.number).columns != 1:
        raise _Refused("it takes out other axes than the columns")
    return Row(row.number, 1)


def _unsqueeze(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    row = state.row(inputs[0])
    if row.rank != 1 or [int(a) for a in np.ravel(state.constant(inputs[1]))] not in ([1], [-1]):
        raise _Refused("it adds other axes than columns")
    return Row(row.number, 2)


def _reshape(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    row = state.row(inputs[0])
    shape = [int(s) for s in np.ravel(state.constant(inputs[1]))]
    columns = state.op(row.number).columns
    keeps_rows = shape[:1] == [-1] or (shape[:1] == [0] and not attributes.get("allowzero", 0))
    if keeps_rows and len(shape) == 1 and columns == 1:
        return Row(row.number, 1)
    if keeps_rows and len(shape) == 2 and shape[1] == columns:
        return Row(row.number, 2)
    raise _Refused("it makes other rows")


def _cast(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    row = state.row(inputs[0])
    op, dtype = state.op(row.number), ELEMENTS.get(int(attributes["to"]))
    if dtype is None:
        raise _Refused("another dtype")
    return row if op.dtype == dtype else state.add("Cast", (row.number,), dtype, op.columns, rank=row.rank)


def _elementwise(operator: str, dtype: str = "") -> Rule:
    """`dtype` of the result, where it is not that of the last input."""

    def rule(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
        rows = [state.rows[name] for name in inputs if name in state.rows]
        if not rows:
            raise _Refused("constants alone")
        rank, columns = rows[0].rank, max(state.op(r.number).columns for r in rows)
        numbers = tuple(state.operand(name, rank, columns) for name in inputs)
        return state.add(operator, numbers, dtype or state.op(numbers[-1]).dtype, columns, rank=rank)

    return rule


def _folded(operator: str) -> Rule:
    """Of any number of inputs, two at a time."""
    pair = _elementwise(operator)

    def rule(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
        if len(inputs) == 1:
            return state.row(inputs[0])
        found = pair(state, inputs[:2], attributes)
        for name in inputs[2:]:
            state.rows["\0so far"] = found
            try:
                found = pair(state, ["\0so far", name], attributes)
            finally:
                del state.rows["\0so far"]
        return found

    return rule


def _power(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    """2^x alone."""
    if not np.array_equal(np.ravel(state.constant(inputs[0])), [2]):
        raise _Refused("a power of another base")
    return _elementwise("Exp2")(state, inputs[1:], attributes)


def _columns_only(row: Row, attributes: Mapping[str, Any], default: int) -> None:
    if row.rank != 2 or int(attributes.get("axis", default)) not in (1, -1):
        raise _Refused("another axis than the columns")


def _concat(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    rows = [state.row(name) for name in inputs]
    for row in rows:
        _columns_only(row, attributes, 0)
    ops = [state.op(row.number) for row in rows]
    total = sum(op.columns for op in ops)
    return state.add("Concat", tuple(row.number for row in rows), ops[0].dtype, total, rank=2)


def _softmax(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    row = state.row(inputs[0])
    _columns_only(row, attributes, -1)
    op = state.op(row.number)
    return state.add("Softmax", (row.number,), op.dtype, op.columns, rank=2)


def _arg(operator: str) -> Rule:
    def rule(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
        row = state.row(inputs[0])
        _columns_only(row, attributes, 0)
        last = bool(attributes.get("select_last_index", 0))
        rank = 2 if attributes.get("keepdims", 1) else 1
        return state.add(operator, (row.number,), I64, 1, last=last, rank=rank)

    return rule


def _gather(state: _State, inputs: list[str], attributes: Mapping[str, Any]) -> Row:
    """table[index], or columns of a value."""
    axis = int(attributes.get("axis", 0))
    if inputs[0] in state.parts.constants:
        table, index = state.constant(inputs[0]), state.row(inputs[1])
        if table.ndim != 1 or axis != 0 or table.dtype.name not in ELEMENTS.values():
            raise _Refused("no list of numbers")
        number = state.number_of(table, len(table))
        return state.add("Gather", (number, index.number), table.dtype.name, 1, rank=index.rank)
    row, which = state.row(inputs[0]), state.constant(inputs[1])
    _columns_only(row, {"axis": axis}, 0)
    op = state.op(row.number)
    taken = [int(k) + op.columns * (int(k) < 0) for k in which.ravel()]
    columns = [state.add("Gather", (row.number,), op.dtype, 1, (k,), rank=2).number for k in taken]
    if which.ndim == 0:
        return Row(columns[0], 1)
    if which.ndim > 1:
        raise _Refused("an index of several axes")
    return state.add("Concat", tuple(columns), op.dtype, len(columns), rank=2)


_RENAMED = {"Identity": _plain, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Reshape": _reshape}
_RULES: dict[str, Rule] = {
    **_RENAMED,
    "ArgMax": _arg("ArgMax"),
    "ArgMin": _arg("ArgMin"),
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "Max": _folded("Max"),
    "Min": _folded("Min"),
    "Pow": _power,
    "Softmax": _softmax,
    **{name: _elementwise(name) for name in ("Abs", "Add", "Div", "Exp", "Log", "Mul", "Neg", "Relu", "Sigmoid")},
    **{name: _elementwise(name) for name in ("Sign", "Softplus", "Sqrt", "Sub", "Where")},
    **{n: _elementwise(n, BOOL) for n in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")},
}
