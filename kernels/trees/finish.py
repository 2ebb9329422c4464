"""What becomes of the sums of a row: a straight list of operators over a handful of numbers a row, as data.

    margin [rows, targets]  --Sigmoid--> p  --Sub from 1, Concat--> probability [rows, 2]
                                        `--Greater 0.5, Cast--> label [rows]

A value has so many columns for each row and is computed from other values of the same row, or from constants; no value
depends on another row. `ir_finish` makes one function of it, run behind the trees on the rows they were run on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from neoc.kernels.errors import KernelInputError

Number = int | float
F32, F64, I32, I64, BOOL = "float32", "float64", "int32", "int64", "bool"
FLOATS, INTEGERS = (F32, F64), (I32, I64)
MARGIN = 0
"""the number of the first value: the sums"""
MOST_COLUMNS, MOST_OPS = 1 << 12, 1 << 8


@dataclass(frozen=True)
class Op:
    """One value: of an ONNX operator's name over earlier values, or 'Constant'."""

    operator: str
    inputs: tuple[int, ...]
    """numbers of earlier values"""
    dtype: str
    columns: int
    data: tuple[Number, ...] = ()
    """of a Constant: one number, or one for each column; of a Gather: the column that is taken, or nothing where the
    first input is a table that the second one looks up"""
    last: bool = False
    """of ArgMax and ArgMin: the last of equals, not the first"""


@dataclass(frozen=True)
class Finish:
    """Value 0 is the margin, value k is ops[k - 1]."""

    dtype: str
    """of the sums"""
    targets: int
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]
    """numbers of the values that are wanted"""

    def value(self, number: int) -> Op:
        return Op("Margin", (), self.dtype, self.targets) if number == MARGIN else self.ops[number - 1]

    def bound(self, number: int) -> int:
        """What a whole number stays below, from 0 on: of the results of ArgMax, ArgMin and tests; 0: not known."""
        op = self.value(number)
        if op.operator in ("ArgMax", "ArgMin"):
            return self.value(op.inputs[0]).columns
        if op.operator == "Cast" and op.dtype in INTEGERS:
            return 2 if self.value(op.inputs[0]).dtype == BOOL else self.bound(op.inputs[0])
        return 0

    def needed(self, outputs: Iterable[int]) -> tuple[int, ...]:
        """The values that these outputs are computed from, in order."""
        found, todo = set[int](), list(outputs)
        while todo:
            if (number := todo.pop()) not in found:
                found.add(number)
                todo += self.value(number).inputs
        return tuple(sorted(found))


_SAME = {"Neg": 1, "Abs": 1, "Sign": 1, "Relu": 1, "Add": 2, "Sub": 2, "Mul": 2, "Div": 2, "Max": 2, "Min": 2}
_FLOAT = {"Exp": 1, "Exp2": 1, "Log": 1, "Sqrt": 1, "Sigmoid": 1, "Softplus": 1, "Softmax": 1}
_COMPARED = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def check(f: Finish) -> None:
    """Raise KernelInputError for an operator, dtype or number of columns that the generator has no rule for."""
    if not 1 <= f.targets <= MOST_COLUMNS or f.dtype not in FLOATS or len(f.ops) > MOST_OPS or not f.outputs:
        raise _refuse("the sums or the number of steps are out of bounds", "finish")
    for number, op in enumerate(f.ops, 1):
        where = f"{op.operator} (step {number})"
        if not 1 <= op.columns <= MOST_COLUMNS or any(not 0 <= i < number for i in op.inputs):
            raise _refuse("columns or inputs are out of bounds", where)
        if why := _wrong(op, [f.value(i) for i in op.inputs]):
            raise _refuse(why, where)
        if op.operator == "Gather" and len(op.inputs) == 2 and not 0 < f.bound(op.inputs[1]) <= len(op_table(f, op)):
            raise _refuse("the index may lie outside of the table", where)
    if any(not 0 <= k <= len(f.ops) for k in f.outputs):
        raise _refuse("an output is no value", "outputs")


def _refuse(why: str, where: str) -> KernelInputError:
    return KernelInputError("what follows the trees cannot be compiled", where=where, why=why)


def _wrong(op: Op, inputs: list[Op]) -> str:
    """Why the operator does not fit its inputs; empty where it does."""
    name, dtypes = op.operator, [i.dtype for i in inputs]
    if name == "Constant":
        return "" if not inputs and len(op.data) in (1, op.columns) else "it has not one number for each column"
    if name in ("Concat", "Gather", "ArgMax", "ArgMin", "Softmax"):
        return _wrong_across(op, inputs)
    if any(i.columns not in (1, op.columns) for i in inputs):
        return "its inputs have other columns"
    if name in _SAME or name in _FLOAT:
        allowed = FLOATS if name in _FLOAT or name in ("Div", "Relu") else (*FLOATS, *INTEGERS)
        fits = set(dtypes) == {op.dtype} and op.dtype in allowed and len(inputs) == {**_SAME, **_FLOAT}[name]
    elif name in _COMPARED:
        fits = op.dtype == BOOL and len(set(dtypes)) == 1 and dtypes[0] != BOOL and len(inputs) == 2
    elif name == "Where":
        fits = len(inputs) == 3 and dtypes == [BOOL, op.dtype, op.dtype]
    elif name == "Cast":
        # From a float only to a float: what a C compiler makes of numbers out of range differs between processors.
        fits = len(inputs) == 1 and (dtypes[0] not in FLOATS or op.dtype in (*FLOATS, BOOL))
    else:
        return "the operator has no rule"
    return "" if fits else f"it does not take {', '.join(dtypes)}"


def _wrong_across(op: Op, inputs: list[Op]) -> str:
    name = op.operator
    if name == "Concat":
        fits = sum(i.columns for i in inputs) == op.columns and {i.dtype for i in inputs} == {op.dtype}
    elif name == "Gather" and len(inputs) == 1:
        fits = len(op.data) == op.columns == 1 and 0 <= op.data[0] < inputs[0].columns and inputs[0].dtype == op.dtype
    elif name == "Gather":
        fits = len(inputs) == 2 and inputs[0].operator == "Constant" and inputs[0].dtype == op.dtype
        fits = fits and inputs[1].dtype in INTEGERS and inputs[1].columns == op.columns == 1
    elif name == "Softmax":
        fits = len(inputs) == 1 and inputs[0].columns == op.columns and inputs[0].dtype == op.dtype in FLOATS
    else:
        fits = len(inputs) == 1 and op.columns == 1 and op.dtype == I64 and inputs[0].dtype in FLOATS
    return "" if fits else "its inputs do not fit"


def op_table(f: Finish, op: Op) -> tuple[Number, ...]:
    """The table of a Gather."""
    return f.value(op.inputs[0]).data


def itemsize(dtype: str) -> int:
    return np.dtype(dtype).itemsize
