"""Compiled tables against scikit-learn, bit for bit, and against the numpy twin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.kernels.errors import KernelInputError, KernelOptionError
from neoc.kernels.tabular import Block, Category, Hashed, Numeric, TabularPreprocess
from neoc.kernels.tabular_columns import Columns
from neoc.kernels.tabular_kernels import VECTOR

pytestmark = pytest.mark.needs("sklearn")


def numbers(rows: int, seed: int = 0) -> np.ndarray:
    """22 columns of numbers with holes, 8 of whole-number categories with holes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 30)) * np.exp(rng.uniform(-3, 3, 30))
    x[:, 22:] = rng.integers(-3, 12, (rows, 8))
    x[rng.random(x.shape) < 0.05] = np.nan
    return x


def fitted(**one_hot):  # type: ignore[no-untyped-def]
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    options = {"handle_unknown": "ignore", "sparse_output": False} | one_hot
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return ColumnTransformer([("n", numeric, list(range(22))), ("c", OneHotEncoder(**options), list(range(22, 30)))])


def equal(transformer, x, **options) -> np.ndarray:  # type: ignore[no-untyped-def]
    """float64 has scikit-learn's bits, float32 is that rounded; the twin agrees. Returns scikit-learn's result."""
    want = np.asarray(transformer.transform(x), np.float64)
    double = TabularPreprocess.from_sklearn(transformer, dtype="float64", **options)
    np.testing.assert_array_equal(double(x), want)
    np.testing.assert_array_equal(TabularPreprocess.from_sklearn(transformer, **options)(x), want.astype(np.float32))
    np.testing.assert_array_equal(double.reference(x), want)
    again = TabularPreprocess.from_spec(json.loads(json.dumps(double.to_spec())))
    np.testing.assert_array_equal(again(x), want)
    return want


def test_the_named_workload_with_nan_and_unseen_categories() -> None:
    x = numbers(5000)
    transformer = fitted().fit(x[:3000])
    x[10, 25], x[11, 26], x[12, 27] = 99.0, 2.5, -1e300
    want = equal(transformer, x)
    assert want[10].sum() != want[11].sum()
    equal(transformer, x, threads=3)
    equal(transformer, np.asfortranarray(x))
    equal(transformer, x[::-2])


def test_unseen_categories_are_an_error_where_sklearn_says_so() -> None:
    x = numbers(500)
    step = TabularPreprocess.from_sklearn(fitted(handle_unknown="error").fit(x))
    step(x)
    x[3, 24] = 1234
    with pytest.raises(KernelInputError, match="unseen category"):
        step(x)


@pytest.mark.parametrize("drop", ["first", "if_binary"])
def test_dropped_categories(drop: str) -> None:
    x = numbers(800)
    x[:, 22] = np.arange(800) % 2
    equal(fitted(drop=drop).fit(x), x)


def test_every_scaler_and_encoder() -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import (
        KBinsDiscretizer,
        MaxAbsScaler,
        MinMaxScaler,
        OrdinalEncoder,
        RobustScaler,
        StandardScaler,
        TargetEncoder,
    )

    x = numbers(2000, 1)
    x[:, 10] = np.nan_to_num(x[:, 10])
    y = (np.nan_to_num(x[:, 0]) > 0).astype(float)
    transformer = ColumnTransformer(
        [
            ("minmax", make_pipeline(SimpleImputer(), MinMaxScaler(clip=True)), [0, 1, 2, 3, 4]),
            ("maxabs", MaxAbsScaler(), [3, 4]),
            ("robust", make_pipeline(SimpleImputer(strategy="constant", fill_value=-1), RobustScaler()), [5, 6, 7, 8]),
            ("bins", KBinsDiscretizer(6, encode="ordinal", quantile_method="averaged_inverted_cdf"), [10]),
            ("flags", MissingIndicator(), [11, 12]),
            ("marked", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(with_mean=False)), [13, 14]),
            ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-7), [22, 23]),
            ("target", TargetEncoder(random_state=0), [24]),
            (
                "imputed",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"),
                    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
                ),
                [25],
            ),
            ("same", "passthrough", [15, 16]),
            ("gone", "drop", [17]),
        ]
    ).fit(x[:1500], y[:1500])
    x[1600:1700, 0] *= 100
    x[1800, 22:26] = 55
    equal(transformer, x)


def test_float32_input_is_rounded_step_by_step_as_sklearn_does() -> None:
    x = numbers(3000, 2).astype(np.float32)
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x[:, :22])
    want = scaler.transform(x[:, :22])
    assert want.dtype == np.float32
    got = TabularPreprocess.from_sklearn(scaler)(x[:, :22])
    np.testing.assert_array_max_ulp(got, want, maxulp=1)


@pytest.mark.needs("pandas", "pyarrow")
def test_dataframes_and_arrow_tables() -> None:
    import pandas as pd
    import pyarrow as pa
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    rng = np.random.default_rng(3)
    n = 700
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(40, 9, n)),
            "town": rng.choice(["Oslo", "Rome", "Łódź", "東京"], n),
            "visits": rng.integers(0, 50, n),
            "plan": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "size": rng.choice([1.5, 2.5, 1000000.0], n),
        }
    )
    transformer = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
            ("t", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["town", "size"]),
            ("o", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["plan"]),
        ]
    ).fit(frame[:500])
    frame.loc[600, "town"] = "Lima"
    want = np.asarray(transformer.transform(frame), np.float64)
    step = TabularPreprocess.from_sklearn(transformer, dtype="float64")
    shuffled = frame[["size", "plan", "age", "town", "visits"]]
    arrow = pa.Table.from_pandas(shuffled, preserve_index=False)
    chunked = pa.concat_tables([arrow[:300], arrow[300:]])
    mapping = {c: frame[c].to_numpy() for c in ("age", "visits", "size")} | {
        c: frame[c].to_numpy(object) for c in ("town", "plan")
    }
    for table in (frame, shuffled, arrow, chunked, mapping):
        np.testing.assert_array_equal(step(table), want)
    np.testing.assert_array_equal(step.reference(arrow), want)
    with pytest.raises(KernelInputError, match="age"):
        step(frame.drop(columns="age"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 300), st.sampled_from(["float32", "float64"]))
def test_random_specs_equal_the_twin(seed: int, rows: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)) * 4
    x[:, 4] = rng.choice([-2.0, 0.0, 3.0, 7.5, np.nan, np.inf], rows)
    x[:, 5] = rng.choice([1e9, 5, -4, np.nan], rows)
    x[rng.random(x.shape) < 0.1] = np.nan
    names = ("subtract", "divide", "multiply", "add", "at_least", "at_most", "impute", "missing")
    blocks = []
    for _ in range(int(rng.integers(1, 12))):
        steps = tuple((str(rng.choice(names)), float(rng.uniform(0.5, 2))) for _ in range(int(rng.integers(0, 4))))
        if rng.random() < 0.2:
            steps = (*steps, ("bucketise", tuple(np.sort(rng.normal(size=3)).tolist())))
        blocks.append(Numeric(int(rng.integers(0, 6)), steps))
    blocks.append(Category(4, (7.5, -2.0, None, 3.0), unknown=0.0, keep=(1, -1, 0, 2)))
    blocks.append(Category(4, (0.0, 3.0, -2.0), values=(5.0, -1.0, 0.25), unknown=9.0, impute=3.0))
    blocks.append(Category(5, (1e9, -4.0), unknown=0.0))
    blocks.append(Hashed(5, 5))
    step = TabularPreprocess(blocks, 6, dtype=dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(step(x), step.reference(x))


def test_hashing_is_stable() -> None:
    step = TabularPreprocess([Hashed(0, 4)], 1, names=["word"])
    words = ["alpha", "beta", "gamma", None]
    got = step({"word": np.array(words, object)})
    import zlib

    assert got[:3].argmax(1).tolist() == [zlib.crc32(w.encode()) % 4 for w in words[:3]]
    assert not got[3].any()


def test_bad_tables_and_options_are_typed_errors() -> None:
    step = TabularPreprocess([Numeric(0), Category(1, (1.0, 2.0), unknown=0.0)], 2)
    assert step(np.zeros((0, 2))).shape == (0, 3)
    for bad in (np.zeros((3, 3)), np.zeros(3), 7, {"a": np.zeros(3), "b": np.zeros(4)}, np.array([["x", "y"]], object)):
        with pytest.raises(KernelInputError):
            step(bad)
    with pytest.raises(KernelInputError, match="out"):
        step(np.zeros((2, 2)), out=np.zeros((2, 2), np.float32))
    for wrong in (
        lambda: TabularPreprocess([Numeric(5)], 2),
        lambda: TabularPreprocess([Numeric(0, (("cube", 1.0),))], 1),
        lambda: TabularPreprocess([Numeric(0, (("bucketise", (2.0, 1.0)),))], 1),
        lambda: TabularPreprocess([Category(0, (1,), values=(1.0, 2.0))], 1),
        lambda: TabularPreprocess([Category(0, (1,), unknown="drop")], 1),
        lambda: TabularPreprocess([], 1, dtype="float16"),
        lambda: TabularPreprocess.from_spec({"blocks": [{"kind": "cube"}], "columns": 1}),
    ):
        with pytest.raises(KernelOptionError):
            wrong()


def test_what_is_not_known_is_refused_by_name() -> None:
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

    x = np.ones((4, 2))
    for transformer in (PolynomialFeatures().fit(x), FunctionTransformer(np.log1p).fit(x)):
        with pytest.raises(KernelOptionError, match=type(transformer).__name__):
            TabularPreprocess.from_sklearn(ColumnTransformer([("t", transformer, [0, 1])]).fit(x))
    with pytest.raises(KernelOptionError, match="not fitted"):
        TabularPreprocess.from_sklearn(StandardScaler())


@given(
    numbers=st.integers(4, 19),
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=11),
    rows=st.integers(1, 140),
    dtype=st.sampled_from(["float32", "float64"]),
    threads=st.sampled_from([1, 3]),
    seed=st.integers(0, 1 << 30),
)
@settings(max_examples=60, deadline=None)
def test_whole_rows_are_the_twins(
    numbers: int, sizes: list[int], rows: int, dtype: str, threads: int, seed: int
) -> None:
    """Numeric neighbours, then one-hot neighbours: the kernel that writes each row once, from end to end."""
    rng = np.random.default_rng(seed)
    blocks: list[Block] = []
    for j in range(numbers):
        steps = (
            ("impute", float(rng.normal())),
            ("subtract", float(rng.normal())),
            ("divide", float(rng.uniform(1, 3))),
        )
        blocks.append(Numeric(j, steps[int(rng.integers(0, 3)) :]))
    columns = []
    for j, size in enumerate(sizes):
        low = int(rng.integers(-5, 5))
        known: list[float | None] = [float(low + k) for k in range(size)]
        kind = rng.integers(0, 4)
        drop = kind == 1 and size > 1
        keep = tuple(k - drop for k in range(size))
        if kind == 2:
            known, keep = [*known, None], (*keep, size)
        impute = float(low + size // 2) if kind == 3 else None
        blocks.append(Category(numbers + j, tuple(known), keep=keep, unknown=0.0, impute=impute))
        columns.append(rng.integers(low - 1, low + size + 1, rows) + rng.choice([0, 0, 0, 0.5], rows))
    table = np.concatenate([rng.normal(size=(rows, numbers)), np.array(columns).T], axis=1)
    table[rng.random(table.shape) < 0.1] = np.nan
    table[rng.random(table.shape) < 0.02] = np.inf
    step = TabularPreprocess(blocks, table.shape[1], dtype=dtype, threads=threads)
    source = Columns.of(table, table.shape[1], None)
    assert (step._whole_rows(source, step._runs(source)) is not None) == (step.outputs >= 2 * VECTOR[dtype])
    guarded = np.full((rows + 1, step.outputs), 7, dtype)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(step(table, out=guarded[:rows]), step.reference(table))
    assert (guarded[rows] == 7).all()


def test_whole_rows_name_the_column_of_an_unseen_category() -> None:
    blocks: list[Block] = [*map(Numeric, range(4)), *(Category(j, tuple(map(float, range(20)))) for j in (4, 5))]
    step = TabularPreprocess(blocks, 6, tuple("abcdef"))
    table = np.zeros((9, 6))
    np.testing.assert_array_equal(step(table), step.reference(table))
    table[8, 5] = 20
    with pytest.raises(KernelInputError, match=r"unseen category \(f\): 1 rows"):
        step(table)
    table[8, 5] = np.nan
    with pytest.raises(KernelInputError, match=r"unseen category \(f\): 1 rows"):
        step(table)
