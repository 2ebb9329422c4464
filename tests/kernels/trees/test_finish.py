"""What follows the trees: the generated functions against numpy, at every x86 level, in one and in many lanes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees import code
from neoc.kernels.trees.finish import BOOL, I32, I64, Finish, Op, check
from neoc.kernels.trees.finisher import Finisher
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.targets.host import X86_LEVELS, detect

pytestmark = pytest.mark.needs("llvmlite")


def _isas() -> list[tuple[str, Isa]]:
    here = detect().features
    found = [(level, isa_of("x86_64", needed)) for level, needed in X86_LEVELS.items() if needed <= here]
    return [*found, ("host", isa_of("x86_64", here))] if detect().arch == "x86_64" else []


ISAS = _isas()
FLOATS = ("float32", "float64")


def ran(finish: Finish, margins: np.ndarray, isa: Isa) -> list[np.ndarray]:
    check(finish)
    shapes = [(finish.value(k).dtype, finish.value(k).columns) for k in finish.outputs]
    return Finisher(code.finish_image(finish, isa), margins.dtype.type, finish.targets, shapes).all(margins)


def numbers(dtype: str, count: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(5)
    tiny, large = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, 2.0, tiny, -tiny, 1e-40, large / 4, -large / 4, 1e-310]
    drawn = [rng.normal(size=count) * 5, rng.normal(size=count) * 300, np.exp(rng.normal(size=count) * 40)]
    edges = [rng.uniform(-750, -700, count), rng.uniform(-105, -86, count), rng.uniform(80, 90, count)]
    with np.errstate(over="ignore"):
        return np.concatenate([*drawn, *edges, special]).astype(dtype)


# ---- functions of one number -------------------------------------------------------------------

MATHS: dict[str, tuple[Callable[[Any], Any], dict[str, float]]] = {
    # operator -> in extended precision, and the largest error in units in the last place
    "Exp": (np.exp, {"float32": 0.501, "float64": 0.9}),
    "Exp2": (np.exp2, {"float32": 0.501, "float64": 1.1}),
    "Log": (np.log, {"float32": 0.501, "float64": 0.85}),
    "Softplus": (lambda x: np.logaddexp(x, np.zeros_like(x)), {"float32": 0.501, "float64": 2.0}),
    "Sqrt": (np.sqrt, {"float32": 0.5, "float64": 0.5}),
}


@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_are_as_near_as_the_module_says(dtype: str) -> None:
    x = numbers(dtype)
    ops = tuple(Op(name, (0,), dtype, 1) for name in MATHS)
    finish = Finish(dtype, 1, ops, tuple(range(1, len(ops) + 1)))
    found = ran(finish, x[:, None], ISAS[-1][1])
    for (name, (function, bound)), got in zip(MATHS.items(), found, strict=True):
        with np.errstate(all="ignore"):
            exact = function(x.astype(np.longdouble))
            want = exact.astype(dtype)
        assert (np.isnan(got[:, 0]) == np.isnan(want)).all(), name
        assert (np.isinf(got[:, 0]) == np.isinf(want)).all(), name
        finite = np.isfinite(want)
        error = np.abs(got[finite, 0].astype(np.longdouble) - exact[finite]) / np.spacing(np.abs(want[finite]))
        assert error.max() <= bound[dtype], (name, error.max(), x[finite][error.argmax()])


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_level_and_every_number_of_rows_gives_the_same_bits(dtype: str) -> None:
    x = numbers(dtype, 300)[:, None]
    names = ("Exp", "Exp2", "Log", "Softplus", "Sigmoid", "Sqrt", "Neg", "Abs", "Sign", "Relu")
    finish = Finish(dtype, 1, tuple(Op(n, (0,), dtype, 1) for n in names), tuple(range(1, len(names) + 1)))
    want = ran(finish, x, ISAS[0][1])
    for level, isa in ISAS:
        for count in (0, 1, 3, 15, 16, 17, len(x)):
            for name, a, b in zip(names, ran(finish, x[:count], isa), want, strict=True):
                assert a.tobytes() == b[:count].tobytes(), (level, count, name)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_rounds_where_the_libraries_round(dtype: str) -> None:
    x = np.random.default_rng(1).normal(size=20_000).astype(dtype) * dtype_of(dtype, 4)
    (got,) = ran(Finish(dtype, 1, (Op("Sigmoid", (0,), dtype, 1),), (1,)), x[:, None], ISAS[-1][1])
    one = dtype_of(dtype, 1)
    with np.errstate(over="ignore"):
        powers = np.exp(-x.astype(np.longdouble)).astype(dtype)
    want = one / (one + powers)
    difference = np.abs(got[:, 0] - want) / np.spacing(want)
    assert difference.max() <= (1 if dtype == "float32" else 2)
    assert (difference == 0).mean() > (0.999 if dtype == "float32" else 0.8)


def dtype_of(dtype: str, value: float) -> Any:
    return np.dtype(dtype).type(value)


# ---- across columns ------------------------------------------------------------------------------


def columns_of(dtype: str, columns: int) -> np.ndarray:
    """Rows with ties, infinities and NaN."""
    rng = np.random.default_rng(columns)
    x = rng.integers(-3, 4, (137, columns)).astype(dtype) * dtype_of(dtype, 1.3)
    x[rng.random(x.shape) < 0.02] = np.inf
    x[rng.random(x.shape) < 0.02] = np.nan
    return x


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("columns", [2, 5, 700])
def test_columns_together(dtype: str, columns: int) -> None:
    x = columns_of(dtype, columns)
    table = tuple(range(100, 100 + columns))
    ops = (
        Op("ArgMax", (0,), I64, 1),
        Op("ArgMax", (0,), I64, 1, last=True),
        Op("ArgMin", (0,), I64, 1),
        Op("ArgMin", (0,), I64, 1, last=True),
        Op("Constant", (), I32, columns, table),
        Op("Gather", (5, 1), I32, 1),
        Op("Concat", (0, 0), dtype, 2 * columns),
        Op("Gather", (0,), dtype, 1, (columns - 1,)),
        Op("Cast", (1,), dtype, 1),
    )
    finish = Finish(dtype, columns, ops, (1, 2, 3, 4, 6, 7, 8, 9, 0))
    for level, isa in (ISAS[0], ISAS[-1]):
        first, last, least, least_last, looked, twice, taken, number, same = ran(finish, x, isa)
        backwards = x[:, ::-1]
        assert (first[:, 0] == x.argmax(1)).all(), level
        assert (last[:, 0] == columns - 1 - backwards.argmax(1)).all()
        assert (least[:, 0] == x.argmin(1)).all()
        assert (least_last[:, 0] == columns - 1 - backwards.argmin(1)).all()
        assert (looked[:, 0] == 100 + x.argmax(1)).all()
        assert looked.dtype == np.int32
        assert twice.tobytes() == np.concatenate([x, x], 1).tobytes()
        assert taken.tobytes() == np.ascontiguousarray(x[:, -1:]).tobytes()
        assert (number == first).all()
        assert number.dtype == dtype
        assert same.tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("columns", [1, 3, 60])
def test_softmax(dtype: str, columns: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, columns)) * 8).astype(dtype)
    x[:3, 0] = [np.nan, 3e4, -3e4]
    finish = Finish(dtype, columns, (Op("Softmax", (0,), dtype, columns),), (1,))
    found = [ran(finish, x, isa)[0] for _, isa in (ISAS[0], ISAS[-1])]
    assert all(one.tobytes() == found[0].tobytes() for one in found)
    wide = x.astype(np.longdouble)
    powers = np.exp(wide - wide.max(1, keepdims=True))
    want = (powers / powers.sum(1, keepdims=True)).astype(dtype)
    assert np.isnan(found[0][0]).all()
    normal = want[1:] > np.finfo(dtype).tiny
    error = np.abs(found[0][1:] - want[1:])[normal] / np.spacing(want[1:][normal])
    # Half a unit of the difference's rounding is 2^-24 |x - max|, which e^x carries on: it is in the libraries, too.
    assert error.max() <= (40 if columns > 1 else 0)
    assert np.ptp(found[0][1:]) > 0.9 or columns == 1


# ---- drawn programs ------------------------------------------------------------------------------


def plain(finish: Finish, margins: np.ndarray) -> list[np.ndarray]:
    """The exact operators by numpy."""
    values: list[np.ndarray] = [margins]
    rules: dict[str, Callable[..., Any]] = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Max": np.maximum,
        "Min": np.minimum,
        "Neg": np.negative,
        "Abs": np.abs,
        "Relu": lambda x: np.where(x < 0, x.dtype.type(0), x),
        "Equal": np.equal,
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
        "Where": np.where,
    }
    for op in finish.ops:
        inputs = [values[i] for i in op.inputs]
        if op.operator == "Constant":
            made = np.broadcast_to(np.array(op.data, op.dtype), (len(margins), op.columns))
        elif op.operator == "Concat":
            made = np.concatenate(inputs, 1)
        elif op.operator == "ArgMax":
            made = inputs[0].argmax(1)[:, None]
        elif op.operator == "Cast":
            made = inputs[0].astype(op.dtype)
        else:
            with np.errstate(all="ignore"):
                made = np.asarray(rules[op.operator](*inputs))
        values.append(made)
    return [np.ascontiguousarray(values[k]) for k in finish.outputs]


@st.composite
def programs(draw: st.DrawFn) -> Finish:
    dtype = draw(st.sampled_from(FLOATS))
    finish = Finish(dtype, draw(st.integers(1, 7)), (), (0,))
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from([*ARITY, *TESTS]))
        count = ARITY.get(name, 2)
        inputs = tuple(draw(st.integers(0, len(finish.ops))) for _ in range(count))
        values = [finish.value(i) for i in inputs]
        columns = max((v.columns for v in values), default=draw(st.integers(1, 6)))
        columns = {"Concat": sum(v.columns for v in values), "ArgMax": 1}.get(name, columns)
        data: tuple[float, ...] = ()
        if name == "Constant":
            data = tuple(draw(st.lists(st.sampled_from([0.0, -1.5, 3.0, 1e30]), min_size=columns, max_size=columns)))
        result = {"ArgMax": I64, "Cast": draw(st.sampled_from([*FLOATS, I32, I64, BOOL])), "Constant": dtype}.get(name)
        result = result or (BOOL if name in TESTS else values[-1].dtype)
        longer = replace(finish, ops=(*finish.ops, Op(name, inputs, result, columns, data)))
        try:
            check(longer)
        except KernelInputError:
            continue
        finish = longer
    return replace(finish, outputs=tuple(range(len(finish.ops) + 1)))


ARITY = {"Add": 2, "Sub": 2, "Mul": 2, "Max": 2, "Min": 2, "Neg": 1, "Abs": 1, "Relu": 1, "Where": 3, "Concat": 2}
ARITY |= {"ArgMax": 1, "Cast": 1, "Constant": 0}
TESTS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


@settings(max_examples=12, deadline=None)
@given(programs(), st.integers(0, 40))
def test_drawn_programs_have_the_bits_of_numpy(finish: Finish, rows: int) -> None:
    rng = np.random.default_rng(rows)
    margins = (rng.integers(-3, 4, (rows, finish.targets)) * 0.7).astype(finish.dtype)
    margins[rng.random(margins.shape) < 0.1] = np.inf
    for got, want in zip(ran(finish, margins, ISAS[-1][1]), plain(finish, margins), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op",
    [
        Op("Sigmoid", (1,), "float32", 1),
        Op("Sigmoid", (-1,), "float32", 1),
        Op("Sigmoid", (0,), "float64", 3),
        Op("Erf", (0,), "float32", 3),
        Op("Add", (0,), "float32", 3),
        Op("Softmax", (0,), "float32", 2),
        Op("Cast", (0,), I64, 3),
        Op("Gather", (0,), "float32", 1, (3,)),
        Op("Constant", (), "float32", 3, (1.0, 2.0)),
        Op("Concat", (0, 0), "float32", 5),
        Op("Where", (0, 0, 0), "float32", 3),
        Op("Exp", (0,), "float32", 1 << 20),
    ],
)
def test_what_no_rule_fits_reaches_no_generator(op: Op) -> None:
    with pytest.raises(KernelInputError):
        check(Finish("float32", 3, (op,), (1,)))


def test_a_table_is_only_read_where_the_index_is_known_to_lie_in_it() -> None:
    table, best = Op("Constant", (), I64, 2, (7, 8)), Op("ArgMax", (0,), I64, 1)
    with pytest.raises(KernelInputError, match="outside"):
        check(Finish("float32", 3, (table, best, Op("Gather", (1, 2), I64, 1)), (3,)))
    check(Finish("float32", 2, (table, best, Op("Gather", (1, 2), I64, 1)), (3,)))


def test_margins_that_do_not_fit_are_refused() -> None:
    finish = Finish("float32", 2, (Op("Exp", (0,), "float32", 2),), (1,))
    finisher = Finisher(code.finish_image(finish, ISAS[-1][1]), np.float32, 2, [("float32", 2)])
    for margins in (np.zeros((3, 3), np.float32), np.zeros((3, 2)), np.zeros((2, 6), np.float32)[:, ::3]):
        with pytest.raises(KernelInputError):
            finisher.all(margins)


@pytest.mark.parametrize("arch", ["aarch64", "armv7"])
def test_the_arm_images_need_nothing_from_outside(arch: str) -> None:
    """The cast of a class's number to a float, too, for which 32-bit ARM would call a library."""
    names = [*MATHS, "Sigmoid", "Softmax"]
    ops = [Op(n, (0,), dtype, 3) for dtype in ("float32",) for n in names]
    ops += [Op("ArgMax", (0,), I64, 1), Op("Cast", (len(ops) + 1,), "float32", 1)]
    finish = Finish("float32", 3, tuple(ops), (len(ops), *range(1, len(names) + 1)))
    check(finish)
    image = code.finish_image(finish, isa_of(arch, ()))
    assert code.arch_of(image) == {"aarch64": "aarch64", "armv7": "arm"}[arch]
    assert struct.unpack_from("<Q", image, 32)[0] == len(image) - 64
