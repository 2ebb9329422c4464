"""What follows the trees as one function in LLVM IR: several rows at a time, a row in each lane of a vector.

    finish_K(margins, n, out...):                     K = 0: all outputs; K = 1 + i: output i alone, and what it needs
      for `lanes` rows at a time, then for one row at a time what is left:
        margin:          lane r = margins[row + r][column]
        each step:       one vector a column, in registers up to 4 columns, else in a buffer, column by column
        outputs:         out[row + r][column] = lane r

No step crosses lanes (the sum of a softmax runs over the columns, in their order), so a row's results do not depend on
how many rows it came with, and one and sixteen lanes give the same bits.

    neoc_finish(args):                          args: those of the trees' kernel (tables, rows, n, margins, scratch);
      kernel(args), if there is one                   its address, or 0; K; out...
      finish_K(margins, n, out...)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from neoc.kernels.ir import DECLARATIONS, Function
from neoc.kernels.trees.finish import BOOL, F32, FLOATS, INTEGERS, MARGIN, Finish, Number, Op, itemsize
from neoc.kernels.trees.ir_base import attributes_of
from neoc.kernels.trees.ir_math import Lanes
from neoc.kernels.trees.isa import Isa

ENTRY = "neoc_finish"
FIRST_OUT = 7
"""place of the first output among the arguments"""
IN_REGISTERS = 4
"""columns up to which a value is kept in registers"""
_BUFFER = 1 << 14
"""bytes of one value for all lanes: with very many classes fewer rows are taken at a time"""
_TYPES = {"float32": "float", "float64": "double", "int32": "i32", "int64": "i64", "bool": "i1"}


def lanes_of(finish: Finish, isa: Isa) -> int:
    """Rows at a time. One on 32-bit ARM, whose vectors of floats take denormals for zero."""
    if isa.integer_keys:
        return 1
    most = max(op.columns for op in (finish.value(k) for k in range(len(finish.ops) + 1)))
    lanes = isa.line // 4
    while lanes > 1 and most * lanes * 8 > _BUFFER:
        lanes //= 2
    return lanes


@dataclass(frozen=True)
class _Value:
    """A value of some rows: vectors of its columns, or where they lie in memory, or a constant."""

    op: Op
    registers: tuple[str, ...] = ()
    buffer: str = ""
    table: str = ""


class FinishWriter:
    """Writes the functions for one Finish and one ISA."""

    def __init__(self, finish: Finish, isa: Isa) -> None:
        self.finish, self.isa = finish, isa
        self.lanes = lanes_of(finish, isa)
        self.tables: dict[int, str] = {}
        self.used: set[str] = set()

    def functions(self) -> list[Function]:
        outputs = self.finish.outputs
        return [self.function(0, outputs), *(self.function(1 + i, (k,)) for i, k in enumerate(outputs))]

    def function(self, number: int, outputs: tuple[int, ...]) -> Function:
        """finish_<number>: the values `outputs` of all rows."""
        pointers = "".join(f", ptr noalias %out{k}" for k in range(len(outputs)))
        f = Function(f"finish_{number}", f"ptr %margins, i64 %n{pointers}", True, attributes_of(self.isa))
        end = f.add("%n", 1 - self.lanes)
        with f.loop(0, end, self.lanes) as row:
            self._rows(f, row, outputs, self.lanes)
        if self.lanes > 1:
            with f.loop(f.value(f"and i64 %n, {-self.lanes}"), "%n") as row:
                self._rows(f, row, outputs, 1)
        return f

    def _rows(self, f: Function, row: str, outputs: tuple[int, ...], lanes: int) -> None:
        body = _Body(self, f, row, lanes)
        for number in self.finish.needed(outputs):
            body.compute(number)
        for k, number in enumerate(outputs):
            body.store(number, f"%out{k}")

    def table(self, number: int) -> str:
        """The name of a Constant with several numbers."""
        return self.tables.setdefault(number, f"@constant_{number}")

    def globals(self) -> str:
        """The tables that the functions named."""
        return "".join(f"{name} = internal constant {self._table_text(k)}\n" for k, name in sorted(self.tables.items()))

    def _table_text(self, number: int) -> str:
        op = self.finish.value(number)
        kind = memory_type(op.dtype)
        return f"[{len(op.data)} x {kind}] [{', '.join(f'{kind} {literal(v, op.dtype)}' for v in op.data)}], align 64"


class _Body:
    """The steps for `lanes` rows from `row` on."""

    def __init__(self, writer: FinishWriter, f: Function, row: str, lanes: int) -> None:
        self.writer, self.f, self.row, self.lanes = writer, f, row, lanes
        self.double = Lanes(f, lanes)
        self.values: dict[int, _Value] = {}

    # --- values ---

    def vector(self, dtype: str) -> str:
        return f"<{self.lanes} x {_TYPES[dtype]}>"

    def each(self, dtype: str, value: Number) -> str:
        return "<" + ", ".join([f"{_TYPES[dtype]} {literal(value, dtype)}"] * self.lanes) + ">"

    def compute(self, number: int) -> None:
        op = self.writer.finish.value(number)
        if number == MARGIN:
            made = self._made(op, lambda column: self._margin(op, column))
        elif op.operator == "Constant":
            made = self._constant(number, op)
        elif op.operator == "Concat":
            made = self._concat(op)
        elif op.operator in ("ArgMax", "ArgMin"):
            made = _Value(op, (self._arg(op),))
        elif op.operator == "Gather":
            made = _Value(op, (self._gathered(op),))
        elif op.operator == "Softmax":
            made = self._softmax(op)
        else:
            inputs = [self.values[i] for i in op.inputs]
            made = self._made(op, lambda column: self._elementwise(op, inputs, column))
        self.values[number] = made

    def _made(self, op: Op, column: Callable[[str], str]) -> _Value:
        """The value whose columns `column` computes."""
        if op.columns <= IN_REGISTERS:
            return _Value(op, tuple(column(str(c)) for c in range(op.columns)))
        buffer = self._buffer(op)
        with self.f.loop(0, op.columns) as c:
            self._keep(op, buffer, c, column(c))
        return _Value(op, buffer=buffer)

    def _buffer(self, op: Op) -> str:
        return self.f.buffer(f"[{op.columns * self.lanes} x {memory_type(op.dtype)}]")

    def _keep(self, op: Op, buffer: str, column: str, value: str) -> None:
        kind = f"<{self.lanes} x {memory_type(op.dtype)}>"
        if op.dtype == BOOL:
            value = self.f.value(f"zext {self.vector(BOOL)} {value} to {kind}")
        self.f.store(kind, value, self._kept_at(op, buffer, column), itemsize(op.dtype))

    def _kept_at(self, op: Op, buffer: str, column: str) -> str:
        return self.f.at(f"[{self.lanes} x {memory_type(op.dtype)}]", buffer, column)

    def column(self, value: _Value, column: str) -> str:
        """The vector of one column; a value of one column is the same in all."""
        if len(value.registers) == 1:
            return value.registers[0]
        if value.registers:
            return value.registers[int(column)]
        kind = f"<{self.lanes} x {memory_type(value.op.dtype)}>"
        if value.table:
            kept = self.f.load(memory_type(value.op.dtype), self.f.at(memory_type(value.op.dtype), value.table, column))
            kept = self.f.splat(self.lanes, memory_type(value.op.dtype), kept)
        else:
            kept = self.f.load(kind, self._kept_at(value.op, value.buffer, column), itemsize(value.op.dtype))
        return self.f.value(f"trunc {kind} {kept} to {self.vector(BOOL)}") if value.op.dtype == BOOL else kept

    def _constant(self, number: int, op: Op) -> _Value:
        if len(op.data) <= IN_REGISTERS:
            return _Value(op, tuple(self.each(op.dtype, v) for v in op.data))
        return _Value(op, table=self.writer.table(number))

    # --- memory ---

    def _margin(self, op: Op, column: str) -> str:
        kind, align = _TYPES[op.dtype], itemsize(op.dtype)
        if op.columns == 1:
            return self.f.load(self.vector(op.dtype), self.f.at(kind, "%margins", self.row), align)
        first = self.f.add(self.f.mul(self.row, op.columns), column)
        found = "poison"
        for lane in range(self.lanes):
            one = self.f.load(kind, self.f.at(kind, "%margins", self.f.add(first, lane * op.columns)), align)
            found = self.f.value(f"insertelement {self.vector(op.dtype)} {found}, {kind} {one}, i64 {lane}")
        return found

    def store(self, number: int, out: str) -> None:
        value = self.values[number]
        op = value.op
        if op.columns <= IN_REGISTERS:
            for c in range(op.columns):
                self._store_column(op, out, str(c), self.column(value, str(c)))
            return
        with self.f.loop(0, op.columns) as column:
            self._store_column(op, out, column, self.column(value, column))

    def _store_column(self, op: Op, out: str, column: str, vector: str) -> None:
        kind, align = memory_type(op.dtype), itemsize(op.dtype)
        whole = f"<{self.lanes} x {kind}>"
        if op.dtype == BOOL:
            vector = self.f.value(f"zext {self.vector(BOOL)} {vector} to {whole}")
        if op.columns == 1:
            self.f.store(whole, vector, self.f.at(kind, out, self.row), align)
            return
        first = self.f.add(self.f.mul(self.row, op.columns), column)
        for lane in range(self.lanes):
            one = self.f.value(f"extractelement {whole} {vector}, i64 {lane}")
            self.f.store(kind, one, self.f.at(kind, out, self.f.add(first, lane * op.columns)), align)

    # --- steps across columns ---

    def _concat(self, op: Op) -> _Value:
        inputs = [self.values[i] for i in op.inputs]
        if op.columns <= IN_REGISTERS:
            return _Value(op, tuple(self.column(v, str(c)) for v in inputs for c in range(v.op.columns)))
        buffer, place = self._buffer(op), 0
        for value in inputs:
            if value.op.columns <= IN_REGISTERS:
                for c in range(value.op.columns):
                    self._keep(op, buffer, str(place + c), self.column(value, str(c)))
            else:
                with self.f.loop(0, value.op.columns) as each:
                    self._keep(op, buffer, self.f.add(each, place), self.column(value, each))
            place += value.op.columns
        return _Value(op, buffer=buffer)

    def _arg(self, op: Op) -> str:
        """best = column 0; for c: a better one replaces it; NaN is better than any number, as numpy has it."""
        value = self.values[op.inputs[0]]
        kind = self.vector(value.op.dtype)
        test = {("ArgMax", False): "ogt", ("ArgMax", True): "oge", ("ArgMin", False): "olt", ("ArgMin", True): "ole"}
        better = test[op.operator, op.last]
        best = self.f.variable(kind, self.column(value, "0"))
        where = self.f.variable(self.vector("int32"), "zeroinitializer")
        flags = f"<{self.lanes} x i1>"

        def step(column: str) -> None:
            x, now = self.column(value, column), self.f.load(kind, best)
            is_better = self.f.value(f"fcmp {better} {kind} {x}, {now}")
            is_nan = self.f.value(f"fcmp uno {kind} {x}, {x}")
            if not op.last:
                number = self.f.value(f"fcmp ord {kind} {now}, {now}")
                is_nan = self.f.value(f"and {flags} {is_nan}, {number}")
            taken = self.f.value(f"or {flags} {is_better}, {is_nan}")
            self.f.store(kind, self.f.value(f"select {flags} {taken}, {kind} {x}, {kind} {now}"), best)
            narrow = self.f.splat(self.lanes, "i32", self.f.value(f"trunc i64 {column} to i32"))
            before = self.f.load(self.vector("int32"), where)
            picked = f"select {flags} {taken}, {self.vector('int32')} {narrow}, {self.vector('int32')} {before}"
            self.f.store(self.vector("int32"), self.f.value(picked), where)

        self._over_columns(value.op.columns, step, first=1)
        found = self.f.load(self.vector("int32"), where)
        return self.f.value(f"zext {self.vector('int32')} {found} to {self.vector('int64')}")

    def _over_columns(self, columns: int, step: Callable[[str], None], first: int = 0) -> None:
        if columns <= IN_REGISTERS:
            for c in range(first, columns):
                step(str(c))
        else:
            with self.f.loop(first, columns) as column:
                step(column)

    def _gathered(self, op: Op) -> str:
        value = self.values[op.inputs[0]]
        if len(op.inputs) == 1:
            return self.column(value, str(int(op.data[0])))
        index = self.values[op.inputs[1]]
        kind, wide = memory_type(op.dtype), self.vector(index.op.dtype)
        table = self.writer.table(op.inputs[0])
        found = "poison"
        for lane in range(self.lanes):
            one = self.f.value(f"extractelement {wide} {index.registers[0]}, i64 {lane}")
            if index.op.dtype != "int64":
                one = self.f.value(f"zext i32 {one} to i64")
            item = self.f.load(kind, self.f.at(kind, table, one), itemsize(op.dtype))
            found = self.f.value(f"insertelement <{self.lanes} x {kind}> {found}, {kind} {item}, i64 {lane}")
        return self.f.value(f"trunc <{self.lanes} x i8> {found} to {self.vector(BOOL)}") if op.dtype == BOOL else found

    def _softmax(self, op: Op) -> _Value:
        """m = max over c; e[c] = exp(x[c] - m); e[c] / sum over c, in order, of e[c], added in float64"""
        value, kind = self.values[op.inputs[0]], self.vector(op.dtype)
        largest = self.f.variable(kind, self.column(value, "0"))

        def larger(column: str) -> None:
            x, now = self.column(value, column), self.f.load(kind, largest)
            is_larger = self.f.value(f"fcmp ugt {kind} {x}, {now}")  # a NaN stays: all classes become NaN
            self.f.store(kind, self._select(is_larger, kind, x, now), largest)

        self._over_columns(value.op.columns, larger, first=1)
        top = self.f.load(kind, largest)
        total = self.f.variable(self.double.kind, self.double.number(0.0))

        def power(column: str) -> str:
            e = self._exp(op.dtype, self.f.value(f"fsub {kind} {self.column(value, column)}, {top}"))
            wide = self.double.add(self.f.load(self.double.kind, total), self._wide(op.dtype, e))
            self.f.store(self.double.kind, wide, total)
            return e

        powers = self._made(op, power)
        divisor = self._narrow(op.dtype, self.f.load(self.double.kind, total))
        return self._made(op, lambda column: self.f.value(f"fdiv {kind} {self.column(powers, column)}, {divisor}"))

    def _select(self, test: str, kind: str, a: str, b: str) -> str:
        return self.f.value(f"select <{self.lanes} x i1> {test}, {kind} {a}, {kind} {b}")

    # --- steps within a column ---

    def _wide(self, dtype: str, x: str) -> str:
        return self.f.value(f"fpext {self.vector(F32)} {x} to {self.double.kind}") if dtype == F32 else x

    def _narrow(self, dtype: str, x: str) -> str:
        return self.f.value(f"fptrunc {self.double.kind} {x} to {self.vector(F32)}") if dtype == F32 else x

    def _exp(self, dtype: str, x: str) -> str:
        return self._narrow(dtype, self.double.exp(self._wide(dtype, x), dtype == F32))

    def _elementwise(self, op: Op, inputs: Sequence[_Value], column: str) -> str:
        columns = [self.column(v, column) for v in inputs]
        if op.operator in _COMPARE:
            dtype = inputs[0].op.dtype
            test = f"fcmp {_COMPARE[op.operator][0]}" if dtype in FLOATS else f"icmp {_COMPARE[op.operator][1]}"
            return self.f.value(f"{test} {self.vector(dtype)} {columns[0]}, {columns[1]}")
        if op.operator == "Cast":
            return self._cast(op, inputs[0].op, columns[0])
        if op.operator == "Where":
            return self._select(columns[0], self.vector(op.dtype), columns[1], columns[2])
        if op.operator in _ARITHMETIC:
            name = _ARITHMETIC[op.operator]
            name = f"f{name}" if op.dtype in FLOATS else name
            return self.f.value(f"{name} {self.vector(op.dtype)} {columns[0]}, {columns[1]}")
        return _RULES[op.operator](self, op.dtype, columns)

    def _cast(self, op: Op, before: Op, x: str) -> str:
        had, has = self.vector(before.dtype), self.vector(op.dtype)
        if before.dtype == op.dtype:
            return x
        if op.dtype == BOOL:
            zero = "fcmp une" if before.dtype in FLOATS else "icmp ne"
            return self.f.value(f"{zero} {had} {x}, zeroinitializer")
        if before.dtype in FLOATS:
            return self.f.value(f"{'fptrunc' if before.dtype != F32 else 'fpext'} {had} {x} to {has}")
        if op.dtype in INTEGERS:
            name = "zext" if before.dtype == BOOL else "trunc" if before.dtype == "int64" else "sext"
            return self.f.value(f"{name} {had} {x} to {has}")
        if before.operator in ("ArgMax", "ArgMin"):  # small: 32-bit ARM has no instruction for 64-bit numbers
            had, x = self.vector("int32"), self.f.value(f"trunc {had} {x} to {self.vector('int32')}")
        return self.f.value(f"{'uitofp' if before.dtype == BOOL else 'sitofp'} {had} {x} to {has}")

    # --- rules: (dtype, columns of the inputs) -> column ---

    def neg(self, dtype: str, x: Sequence[str]) -> str:
        kind = self.vector(dtype)
        return self.f.value(f"fneg {kind} {x[0]}" if dtype in FLOATS else f"sub {kind} zeroinitializer, {x[0]}")

    def abs(self, dtype: str, x: Sequence[str]) -> str:
        kind = self.vector(dtype)
        negated, below = self.neg(dtype, x), "fcmp olt" if dtype in FLOATS else "icmp slt"
        if dtype in FLOATS:  # -0.0 is not below 0: the sign's bit is cleared
            whole = self.vector("int32" if dtype == F32 else "int64")
            bits = self.f.value(f"bitcast {kind} {x[0]} to {whole}")
            mask = self.each("int32" if dtype == F32 else "int64", (1 << (8 * itemsize(dtype) - 1)) - 1)
            return self.f.value(f"bitcast {whole} {self.f.value(f'and {whole} {bits}, {mask}')} to {kind}")
        return self._select(self.f.value(f"{below} {kind} {x[0]}, zeroinitializer"), kind, negated, x[0])

    def sign(self, dtype: str, x: Sequence[str]) -> str:
        """1, -1, 0; NaN stays."""
        kind, test = self.vector(dtype), "fcmp o" if dtype in FLOATS else "icmp s"
        equal = "fcmp oeq" if dtype in FLOATS else "icmp eq"
        found = self._select(self.f.value(f"{equal} {kind} {x[0]}, zeroinitializer"), kind, "zeroinitializer", x[0])
        for word, one in (("gt", 1), ("lt", -1)):
            is_so = self.f.value(f"{test}{word} {kind} {x[0]}, zeroinitializer")
            found = self._select(is_so, kind, self.each(dtype, one), found)
        return found

    def relu(self, dtype: str, x: Sequence[str]) -> str:
        is_below = self.f.value(f"fcmp olt {self.vector(dtype)} {x[0]}, zeroinitializer")
        return self._select(is_below, self.vector(dtype), "zeroinitializer", x[0])

    def largest(self, dtype: str, x: Sequence[str]) -> str:
        return self._better(dtype, x, "ogt", "sgt")

    def smallest(self, dtype: str, x: Sequence[str]) -> str:
        return self._better(dtype, x, "olt", "slt")

    def _better(self, dtype: str, x: Sequence[str], test: str, whole: str) -> str:
        """Of two; a NaN wins, as in numpy's maximum and minimum."""
        kind = self.vector(dtype)
        if dtype not in FLOATS:
            return self._select(self.f.value(f"icmp {whole} {kind} {x[0]}, {x[1]}"), kind, x[0], x[1])
        found = self._select(self.f.value(f"fcmp {test} {kind} {x[0]}, {x[1]}"), kind, x[0], x[1])
        return self._select(self.f.value(f"fcmp uno {kind} {x[0]}, {x[0]}"), kind, x[0], found)

    def exp(self, dtype: str, x: Sequence[str]) -> str:
        return self._exp(dtype, x[0])

    def exp2(self, dtype: str, x: Sequence[str]) -> str:
        return self._narrow(dtype, self.double.exp2(self._wide(dtype, x[0]), dtype == F32))

    def log(self, dtype: str, x: Sequence[str]) -> str:
        return self._narrow(dtype, self.double.log(self._wide(dtype, x[0])))

    def sqrt(self, dtype: str, x: Sequence[str]) -> str:
        """Of floats by doubles, which is exact: 32-bit NEON has no square root."""
        name = f"llvm.sqrt.v{self.lanes}f64"
        kind = self.double.kind
        self.writer.used.add(f"declare {kind} @{name}({kind})")
        return self._narrow(dtype, self.f.value(f"call {kind} @{name}({kind} {self._wide(dtype, x[0])})"))

    def sigmoid(self, dtype: str, x: Sequence[str]) -> str:
        """1 / (1 + e^-x), each step rounded as XGBoost and LightGBM round it."""
        kind, one = self.vector(dtype), self.each(dtype, 1.0)
        e = self._exp(dtype, self.f.value(f"fneg {kind} {x[0]}"))
        return self.f.value(f"fdiv {kind} {one}, {self.f.value(f'fadd {kind} {one}, {e}')}")

    def softplus(self, dtype: str, x: Sequence[str]) -> str:
        return self._narrow(dtype, self.double.log1p_exp(self._wide(dtype, x[0])))


_COMPARE = {
    "Equal": ("oeq", "eq"),
    "Greater": ("ogt", "sgt"),
    "GreaterOrEqual": ("oge", "sge"),
    "Less": ("olt", "slt"),
    "LessOrEqual": ("ole", "sle"),
}
_ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_RULES: dict[str, Callable[[_Body, str, Sequence[str]], str]] = {
    "Neg": _Body.neg,
    "Abs": _Body.abs,
    "Sign": _Body.sign,
    "Relu": _Body.relu,
    "Max": _Body.largest,
    "Min": _Body.smallest,
    "Exp": _Body.exp,
    "Exp2": _Body.exp2,
    "Log": _Body.log,
    "Sqrt": _Body.sqrt,
    "Sigmoid": _Body.sigmoid,
    "Softplus": _Body.softplus,
}


def memory_type(dtype: str) -> str:
    return "i8" if dtype == BOOL else _TYPES[dtype]


def literal(value: Number, dtype: str) -> str:
    """The number as LLVM writes it; a float by the bits of the double that it is exactly."""
    if dtype in FLOATS:
        wide = np.float64(np.float32(value)) if dtype == F32 else np.float64(value)
        return f"0x{int(wide.view(np.uint64)):016X}"
    return str(int(value))


def entry(finish: Finish, isa: Isa) -> Function:
    """neoc_finish: see the module."""
    f = Function(ENTRY, "ptr %args", False, attributes_of(isa))
    n, margins, kernel, which = (f.load("i64", f.at("i64", "%args", str(k)), 8) for k in (2, 3, 5, 6))
    with f.when(f.value(f"icmp ne i64 {kernel}, 0")):
        f.do(f"call void {f.value(f'inttoptr i64 {kernel} to ptr')}(ptr %args)")
    margins = f.value(f"inttoptr i64 {margins} to ptr")
    for number, count in enumerate([len(finish.outputs), *[1] * len(finish.outputs)]):
        with f.when(f.value(f"icmp eq i64 {which}, {number}")):
            outs = ""
            for k in range(count):
                address = f.load("i64", f.at("i64", "%args", str(FIRST_OUT + k)), 8)
                outs += f", ptr {f.value(f'inttoptr i64 {address} to ptr')}"
            f.do(f"call void @finish_{number}(ptr {margins}, i64 {n}{outs})")
    return f


def finish_ir(finish: Finish, isa: Isa) -> str:
    """LLVM IR of everything that follows the trees, for one ISA. The Finish was checked."""
    writer = FinishWriter(finish, isa)
    bodies = [f.text() for f in (*writer.functions(), entry(finish, isa))]
    return DECLARATIONS + "\n".join(sorted(writer.used)) + "\n\n" + writer.globals() + "\n" + "\n".join(bodies)
