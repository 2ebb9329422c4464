"""The table kernels that are worth LLVM IR: neighbouring columns, eight float64 at a time, and whole rows."""

from __future__ import annotations

from neoc.kernels.ir import DECLARATIONS, Function

_LANES = 8
_V = "<8 x double>"
_AHEAD = 4096
"""bytes; the hardware's own prefetching stops at the end of a page"""


def run_ir(name: str, reciprocal: bool) -> str:
    """((x or its substitute) - a) / b for `count` neighbours of each row, see `tabular_run_*`.

    reciprocal: the quotient is x * low + x * high with 1 / b = high + low, rounded once; its error of at most
    0.5 + 2^-50 ulp of float64 is lost when it is rounded to float32, in a tenth of a division's time. Else a division.
    """
    f = Function(
        name,
        "ptr noalias %source, i64 %stride, ptr noalias %numbers, i64 %count, i64 %target, i64 %row0, i64 %row1, "
        "ptr noalias %out, i64 %width",
    )
    kind = "float" if name.endswith("f32") else "double"
    wide = f.value(f"icmp sge i64 %count, {_LANES}")
    narrow = f.value(f"icmp slt i64 %count, {_LANES}")
    last = f.value(f"sub i64 %count, {_LANES}")
    for condition, lanes in ((wide, _LANES), (narrow, 1)):
        with f.when(condition), f.loop("%row0", "%row1") as row:
            source = f.at("double", "%source", f.mul(row, "%stride"))
            out = f.at(kind, "%out", f.add(f.mul(row, "%width"), "%target"))
            _prefetch(f, source)
            with f.loop(0, "%count", lanes) as i:
                # The last vector ends with the last column; what it has in common with the one before is done twice.
                j = f.smaller(i, last) if lanes > 1 else i
                x = f.load(_vector("double", lanes), f.at("double", source, j))
                value = _standardised(f, x, j, lanes, reciprocal)
                if kind == "float":
                    value = f.value(f"fptrunc {_vector('double', lanes)} {value} to {_vector('float', lanes)}")
                f.store(_vector(kind, lanes), value, f.at(kind, out, j))
    return DECLARATIONS + _DECLARATIONS + f.text()


_DECLARATIONS = (
    "".join(
        f"declare {v} @llvm.{op}.{s}({', '.join([v] * n)})\n"
        for v, s in ((_V, "v8f64"), ("double", "f64"))
        for op, n in (("fma", 3), ("fabs", 1))
    )
    + "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n"
)


def _prefetch(f: Function, row: str) -> None:
    """The four cache lines some rows ahead; an address past the table's end is no fault."""
    for line in range(4):
        ahead = f.at("i8", row, str(_AHEAD + 64 * line))
        f.do(f"call void @llvm.prefetch.p0(ptr {ahead}, i32 0, i32 3, i32 1)")


def _vector(kind: str, lanes: int) -> str:
    return f"<{lanes} x {kind}>" if lanes > 1 else kind


def _standardised(f: Function, x: str, j: str, lanes: int, reciprocal: bool) -> str:
    v = _vector("double", lanes)
    suffix = "v8f64" if lanes > 1 else "f64"

    def number(k: int) -> str:
        start = f.add(f.mul("%count", k), j)
        return f.load(v, f.at("double", "%numbers", start))

    is_nan = f.value(f"fcmp uno {v} {x}, {x}")
    bits = f"<{lanes} x i1>" if lanes > 1 else "i1"
    x = f.value(f"select {bits} {is_nan}, {v} {number(0)}, {v} {x}")
    x = f.value(f"fsub {v} {x}, {number(1)}")
    if not reciprocal:
        return f.value(f"fdiv {v} {x}, {number(2)}")
    high = number(3)
    small = f.value(f"fmul {v} {x}, {number(4)}")
    quotient = f.value(f"call {v} @llvm.fma.{suffix}({v} {x}, {v} {high}, {v} {small})")
    # Infinity times the low part has the wrong sign or is NaN: there the high part alone is right.
    plain = f.value(f"fmul {v} {x}, {high}")
    size = f.value(f"call {v} @llvm.fabs.{suffix}({v} {x})")
    infinity = "0x7FF0000000000000"
    limit = f"<{', '.join([f'double {infinity}'] * lanes)}>" if lanes > 1 else infinity
    endless = f.value(f"fcmp oeq {v} {size}, {limit}")
    return f.value(f"select {bits} {endless}, {v} {plain}, {v} {quotient}")


def onehot_ir(name: str) -> str:
    """Neighbouring columns of whole-number categories, eight at a time: entry = value - low, then one store a column.

    reals: [3, count]: low end, number of entries, substitute for NaN (less the low end). first: int32 [count], of each
    column's entries in `target` (int32: output, one that exists) and `value` (1, or 0 where nothing is to be set).
    After the entries come that of NaN and that of unseen values, whose number is added to unseen[0]. count is a
    multiple of 8.
    """
    f = Function(
        name,
        "ptr noalias %source, i64 %stride, ptr noalias %reals, ptr noalias %first, ptr noalias %target, "
        "ptr noalias %value, ptr noalias %unseen, i64 %count, i64 %row0, i64 %row1, ptr noalias %out, i64 %width",
    )
    kind = "float" if name.endswith("f32") else "double"
    index = f.buffer("[8 x i32]")
    missed = f.variable("<8 x i32>", "zeroinitializer")
    with f.loop("%row0", "%row1") as row:
        source = f.at("double", "%source", f.mul(row, "%stride"))
        out = f.at(kind, "%out", f.mul(row, "%width"))
        with f.loop(0, "%count", _LANES) as j:
            x = f.load(_V, f.at("double", source, j))
            entry, unknown = _entries(f, x, j)
            f.store("<8 x i32>", entry, index, 32)
            more = f.value(f"zext <8 x i1> {unknown} to <8 x i32>")
            f.store("<8 x i32>", f.value(f"add <8 x i32> {f.load('<8 x i32>', missed, 32)}, {more}"), missed, 32)
            for lane in range(_LANES):
                at = f.index(index, str(lane))
                place = f.index("%target", at)
                f.store(kind, f.element(kind, "%value", at), f.at(kind, out, place))
    total = f.value(f"call i32 @llvm.vector.reduce.add.v8i32(<8 x i32> {f.load('<8 x i32>', missed, 32)})")
    before = f.load("i64", "%unseen")
    f.store("i64", f.add(before, f.value(f"zext i32 {total} to i64")), "%unseen")
    declarations = "declare <8 x double> @llvm.floor.v8f64(<8 x double>)\n"
    return DECLARATIONS + declarations + "declare i32 @llvm.vector.reduce.add.v8i32(<8 x i32>)\n" + f.text()


def _entries(f: Function, x: str, j: str) -> tuple[str, str]:
    """(entry of each of eight values, as an index over all columns' entries; whether it is the unseen one)."""

    def number(k: int) -> str:
        return f.load(_V, f.at("double", "%reals", f.add(f.mul("%count", k), j)))

    size = number(1)
    is_nan = f.value(f"fcmp uno {_V} {x}, {x}")
    x = f.value(f"fsub {_V} {x}, {number(0)}")
    x = f.value(f"select <8 x i1> {is_nan}, {_V} {number(2)}, {_V} {x}")
    whole = f.value(f"call {_V} @llvm.floor.v8f64({_V} {x})")
    tests = [
        f.value(f"fcmp oge {_V} {x}, zeroinitializer"),
        f.value(f"fcmp olt {_V} {x}, {size}"),
        f.value(f"fcmp oeq {_V} {x}, {whole}"),
    ]
    good = f.value(f"and <8 x i1> {f.value(f'and <8 x i1> {tests[0]}, {tests[1]}')}, {tests[2]}")
    still_nan = f.value(f"fcmp uno {_V} {x}, {x}")
    one = f"<{', '.join(['double 1.0'] * _LANES)}>"
    after = f.value(f"fadd {_V} {size}, {one}")
    other = f.value(f"select <8 x i1> {still_nan}, {_V} {size}, {_V} {after}")
    chosen = f.value(f"select <8 x i1> {good}, {_V} {x}, {_V} {other}")
    entry = f.value(f"fptosi {_V} {chosen} to <8 x i32>")
    start = f.load("<8 x i32>", f.at("i32", "%first", j))
    neither = f.value(f"or <8 x i1> {good}, {still_nan}")
    unknown = f.value(f"xor <8 x i1> {neither}, <{', '.join(['i1 true'] * _LANES)}>")
    return f.value(f"add <8 x i32> {entry}, {start}"), unknown


MOST_COLUMNS = 256
"""one-hot columns that `tabular_rows` takes: their places lie on the stack"""


def rows_ir(name: str, reciprocal: bool) -> str:
    """Whole rows in one go: numeric neighbours as in `tabular_run`, then one-hot neighbours, which fill the row.

    A one-hot column's outputs are written by comparing its place with 0, 1, 2 ... and storing the vector of ones and
    zeros, so nothing has to be zeroed before, and memory is written once, from one end to the other.

    numbers: as `tabular_run` has them. reals: [4, columns]: what is subtracted to give the place, least place and end
    of the known ones, place of NaN (-1: known but dropped, -2: unseen). vectors: int32 [2, all]: column, first output;
    steps: [all, lanes]: the places that the lanes stand for. What a vector writes beyond its column is written again by
    the next one, beyond the row by the next row; in the last row it is cut at `width`. The number of unseen values is
    added to unseen[0]. columns: at most MOST_COLUMNS.
    """
    kind, lanes = ("float", 16) if name.endswith("f32") else ("double", 8)
    f = Function(
        name,
        "ptr noalias %numeric, ptr noalias %categories, i64 %stride, ptr noalias %numbers, i64 %count, "
        "ptr noalias %reals, i64 %columns, ptr noalias %vectors, ptr noalias %steps, i64 %all, ptr noalias %unseen, "
        "i64 %row0, i64 %row1, ptr noalias %out, i64 %width",
    )
    missed = f.variable("i64", "0")
    places = f.buffer(f"[{MOST_COLUMNS} x {kind}]")
    last = f.value("sub i64 %row1, 1")
    together = f.value(f"and i64 %columns, {-_LANES}")
    wide = f.value(f"icmp sge i64 %count, {_LANES}")
    many, few = (f.value(f"select i1 {wide}, i64 {a}, i64 {b}") for a, b in (("%count", "0"), ("0", "%count")))
    with f.loop("%row0", "%row1") as row:
        skipped = f.mul(row, "%stride")
        numeric, categories = (f.at("double", p, skipped) for p in ("%numeric", "%categories"))
        out = f.at(kind, "%out", f.mul(row, "%width"))
        _prefetch(f, numeric)
        for end, step in ((many, _LANES), (few, 1)):
            with f.loop(0, end, step) as i:
                # The last vector ends with the last column; what it has in common with the one before is done twice.
                j = f.smaller(i, f.value(f"sub i64 %count, {_LANES}")) if step > 1 else i
                v = _vector("double", step)
                value = _standardised(f, f.load(v, f.at("double", numeric, j)), j, step, reciprocal)
                if kind == "float":
                    value = f.value(f"fptrunc {v} {value} to {_vector('float', step)}")
                f.store(_vector(kind, step), value, f.at(kind, out, j))
        for begin, end, step in (("0", together, _LANES), (together, "%columns", 1)):
            with f.loop(begin, end, step) as j:
                _place_row(f, f.at("double", categories, j), j, step, (kind, places, missed))
        plain = f.value(f"icmp slt i64 {row}, {last}")
        with f.when(plain), f.loop(0, "%all") as i:
            value, target = _ones(f, i, out, kind, lanes, places)
            f.store(f"<{lanes} x {kind}>", value, target)
        with f.when(f.value(f"xor i1 {plain}, true")), f.loop(0, "%all") as i:
            value, target = _ones(f, i, out, kind, lanes, places)
            _store_inside(f, value, target, i, kind, lanes)
    f.store("i64", f.add(f.load("i64", "%unseen"), f.load("i64", missed, 8)), "%unseen")
    declarations = "declare double @llvm.floor.f64(double)\ndeclare <8 x double> @llvm.floor.v8f64(<8 x double>)\n"
    return DECLARATIONS + _DECLARATIONS + declarations + "declare i8 @llvm.ctpop.i8(i8)\n" + f.text()


def _place_row(f: Function, source: str, j: str, lanes: int, state: tuple[str, str, str]) -> None:
    """Places of `lanes` columns from j on, and the number of unseen values among them."""
    kind, places, missed = state
    v = _vector("double", lanes)
    found, unknown = _places(f, f.load(v, source), j, lanes)
    if kind == "float":
        found = f.value(f"fptrunc {v} {found} to {_vector(kind, lanes)}")
    f.store(_vector(kind, lanes), found, f.at(kind, places, j))
    if lanes > 1:
        bits = f.value(f"bitcast <{lanes} x i1> {unknown} to i8")
        number = f.value(f"zext i8 {f.value(f'call i8 @llvm.ctpop.i8(i8 {bits})')} to i64")
    else:
        number = f.value(f"zext i1 {unknown} to i64")
    f.store("i64", f.add(f.load("i64", missed, 8), number), missed, 8)


def _ones(f: Function, i: str, out: str, kind: str, lanes: int, places: str) -> tuple[str, str]:
    """(ones and zeros of vector i, where they go)."""
    vector = f"<{lanes} x {kind}>"
    place = f.element(kind, places, f.index("%vectors", i))
    steps = f.load(vector, f.at(kind, "%steps", f.mul(i, lanes)))
    hit = f.value(f"fcmp oeq {vector} {f.splat(lanes, kind, place)}, {steps}")
    ones = f"<{', '.join([f'{kind} 1.0'] * lanes)}>"
    value = f.value(f"select <{lanes} x i1> {hit}, {vector} {ones}, {vector} zeroinitializer")
    return value, f.at(kind, out, f.index("%vectors", f.add("%all", i)))


def _store_inside(f: Function, value: str, target: str, i: str, kind: str, lanes: int) -> None:
    """The lanes of vector i that lie within the row, one by one: a masked store costs more than it looks."""
    room = f.value(f"sub i64 %width, {f.index('%vectors', f.add('%all', i))}")
    for lane in range(lanes):
        with f.when(f.value(f"icmp sgt i64 {room}, {lane}")):
            one = f.value(f"extractelement <{lanes} x {kind}> {value}, i64 {lane}")
            f.store(kind, one, f.at(kind, target, str(lane)))


def _places(f: Function, x: str, j: str, lanes: int) -> tuple[str, str]:
    """(where each value's one stands, from 0, or below 0 for nowhere; whether it is an unseen value)."""
    v = _vector("double", lanes)
    bits = _vector("i1", lanes)

    def constant(number: float) -> str:
        return f"<{', '.join([f'double {number}'] * lanes)}>" if lanes > 1 else f"{number}"

    def number(k: int) -> str:
        return f.load(v, f.at("double", "%reals", f.add(f.mul("%columns", k), j)))

    place = f.value(f"fsub {v} {x}, {number(0)}")
    whole = f.value(f"call {v} @llvm.floor.{'v8f64' if lanes > 1 else 'f64'}({v} {place})")
    tests = [f.value(f"fcmp {test} {v} {place}, {other}") for test, other in (
        ("oge", number(1)), ("olt", number(2)), ("oeq", whole)
    )]  # fmt: skip
    good = f.value(f"and {bits} {f.value(f'and {bits} {tests[0]}, {tests[1]}')}, {tests[2]}")
    is_nan, of_nan = f.value(f"fcmp uno {v} {x}, {x}"), number(3)
    place = f.value(f"select {bits} {good}, {v} {place}, {v} {constant(-1.0)}")
    place = f.value(f"select {bits} {is_nan}, {v} {of_nan}, {v} {place}")
    nan_known = f.value(f"fcmp ogt {v} {of_nan}, {constant(-1.5)}")
    known = f.value(f"select {bits} {is_nan}, {bits} {nan_known}, {bits} {good}")
    true = f"<{', '.join(['i1 true'] * lanes)}>" if lanes > 1 else "true"
    return place, f.value(f"xor {bits} {known}, {true}")
