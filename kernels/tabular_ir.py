"""The table kernels that are worth LLVM IR: neighbouring columns, eight float64 at a time."""

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
