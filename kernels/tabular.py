"""Tables to a dense float matrix: impute, scale, encode, bucketise, hash, in one pass over blocks of rows.

A table step is a list of blocks, each from one input column:

    Numeric(column, steps)         one output: impute, subtract, divide, multiply, add, clip, bucketise, missing
    Category(column, ...)          one-hot (one output a kept category), or one number a category (ordinal, target)
    Hashed(column, buckets)        one-hot of a hash

`from_sklearn` reads a fitted ColumnTransformer into that list; scikit-learn is not imported. Arithmetic is float64 in
scikit-learn's order of operations, so a float64 result has its bits; float32 is that, rounded once.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit, memory
from neoc.kernels.errors import KernelInputError, KernelOptionError
from neoc.kernels.tabular_columns import Columns

STEPS = ("subtract", "divide", "multiply", "add", "at_least", "at_most", "impute", "missing", "bucketise")


@dataclass(frozen=True)
class Numeric:
    """steps: (name, value) in order; 'bucketise' has a tuple of rising edges: the index of x among them."""

    column: int
    steps: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Category:
    """categories: the known values (None is missing). values: a number each (ordinal, target), or None for one-hot.

    keep: one-hot: the output of each category, -1 for a dropped one. unknown: 'error', or the number that an unseen value
    gets (one-hot: any number, no output is set). impute: the value that a missing one is taken for.
    """

    column: int
    categories: tuple[Any, ...]
    values: tuple[float, ...] | None = None
    keep: tuple[int, ...] | None = None
    unknown: str | float = "error"
    impute: Any = None

    @property
    def outputs(self) -> int:
        return 1 if self.values is not None else max(self.slots(), default=-1) + 1

    def slots(self) -> tuple[int, ...]:
        return self.keep if self.keep is not None else tuple(range(len(self.categories)))


@dataclass(frozen=True)
class Hashed:
    """One-hot of crc32(text of the value) % buckets; missing sets nothing."""

    column: int
    buckets: int


Block = Numeric | Category | Hashed
_KINDS = {"numeric": Numeric, "category": Category, "hashed": Hashed}
_ROWS = 64
"""of a block: its output stays in the first-level cache while every column writes to it"""
_TABLE = 1 << 16
"""longest range of whole numbers that is looked up by index; wider ones are searched"""


def _make_numeric(pointer: str) -> jit.Kernel:
    real = np.float32 if pointer == "f32" else np.float64

    @jit.kernel(
        *("f64**", "i64*", "i64*", "i32*", "f64*", "f64*", "i64*", "i64", "i64"),
        *("f64*", "i64", "i64", f"{pointer}*", "i64"),
        name=f"tabular_numeric_{pointer}",
    )
    def numeric(
        columns: Any,
        strides: Any,
        starts: Any,
        codes: Any,
        numbers: Any,
        edges: Any,
        targets: Any,
        count: int,
        single: int,
        block: Any,
        row0: int,
        row1: int,
        out: Any,
        width: int,
    ) -> None:
        """Rows row0..row1 (at most _ROWS): zero them, then each numeric column through its steps. out begins at row 0."""
        rows = row1 - row0
        for i in range(row0 * width, row1 * width):
            out[i] = real(0)
        for j in range(count):
            column, stride = columns[j], strides[j]
            for r in range(rows):
                block[r] = column[(row0 + r) * stride]
            for s in range(starts[j], starts[j + 1]):
                code, v = codes[s], numbers[s]
                if code == 0:
                    for r in range(rows):
                        block[r] = block[r] - v
                elif code == 1:
                    for r in range(rows):
                        block[r] = block[r] / v
                elif code == 2:
                    for r in range(rows):
                        block[r] = block[r] * v
                elif code == 3:
                    for r in range(rows):
                        block[r] = block[r] + v
                elif code == 4:
                    for r in range(rows):
                        x = block[r]
                        block[r] = v if x < v else x
                elif code == 5:
                    for r in range(rows):
                        x = block[r]
                        block[r] = v if x > v else x
                elif code == 6:
                    for r in range(rows):
                        x = block[r]
                        block[r] = x if x == x else v
                elif code == 7:
                    for r in range(rows):
                        x = block[r]
                        block[r] = 0.0 if x == x else 1.0
                else:
                    first = np.int64(v)
                    inner = np.int64(edges[first])
                    for r in range(rows):
                        x = block[r]
                        n = 0.0
                        for k in range(inner):
                            n += 1.0 if edges[first + 1 + k] <= x else 0.0
                        block[r] = n if x == x else np.float64(inner)
                if single != 0:  # the source is float32 and every step is rounded to it
                    for r in range(rows):
                        block[r] = np.float64(np.float32(block[r]))
            at = row0 * width + targets[j]
            for r in range(rows):
                out[at + r * width] = real(block[r])

    return numeric


def _make_category(pointer: str) -> jit.Kernel:
    real = np.float32 if pointer == "f32" else np.float64

    @jit.kernel(
        *("i32**", "f64**", "i64*", "i64*", "f64*", "i32*", "f64*", "f64*", "i64*", "i64"),
        *("i64", "i64", f"{pointer}*", "i64"),
        name=f"tabular_category_{pointer}",
    )
    def category(
        coded: Any,
        valued: Any,
        strides: Any,
        facts: Any,
        reals: Any,
        lookup: Any,
        sorted_values: Any,
        values: Any,
        unseen: Any,
        count: int,
        row0: int,
        row1: int,
        out: Any,
        width: int,
    ) -> None:
        """facts[j]: source (0 codes, 1 table, 2 search), lookup start, its size, first of values, output, is one-hot.

        reals[j]: low end of the table, impute value, value of unknown ones. The last lookup entry is that of NaN.
        """
        for j in range(count):
            source, start, size = facts[6 * j], facts[6 * j + 1], facts[6 * j + 2]
            first_value, target, onehot = facts[6 * j + 3], facts[6 * j + 4], facts[6 * j + 5]
            low, impute, other = reals[3 * j], reals[3 * j + 1], reals[3 * j + 2]
            stride = strides[j]
            missed = 0
            for r in range(row0, row1):
                k = np.int64(-1)
                if source == 0:
                    k = np.int64(coded[j][r])
                else:
                    x = valued[j][r * stride]
                    x = x if x == x else impute
                    if x != x:
                        k = np.int64(lookup[start + size - 1])
                    elif source == 1:
                        place = x - low
                        if place >= 0.0 and place < size - 1:
                            whole = np.int64(place)
                            if np.float64(whole) == place:
                                k = np.int64(lookup[start + whole])
                    else:
                        a, b = np.int64(0), size - 1
                        while a < b:
                            middle = (a + b) >> 1
                            if sorted_values[start + middle] < x:
                                a = middle + 1
                            else:
                                b = middle
                        if a < size - 1 and sorted_values[start + a] == x:
                            k = np.int64(lookup[start + a])
                if k < 0:
                    missed += 1
                    if onehot == 0:
                        out[r * width + target] = real(other)
                elif onehot == 0:
                    out[r * width + target] = real(values[first_value + k])
                else:
                    slot = values[first_value + k]
                    if slot >= 0.0:
                        out[r * width + target + np.int64(slot)] = real(1)
            unseen[j] += missed

    return category


_NUMERIC = {"float32": _make_numeric("f32"), "float64": _make_numeric("f64")}
_CATEGORY = {"float32": _make_category("f32"), "float64": _make_category("f64")}


class TabularPreprocess:
    """A function of tables: blocks of columns to a dense matrix [rows, outputs].

    blocks: in the order of their outputs. names: of the input columns, needed where tables come with names. dtype: float32 or
    float64. Called with a 2-D array, a DataFrame, an Arrow table or a mapping of columns. Raises KernelOptionError.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        columns: int,
        names: Sequence[str] | None = None,
        dtype: str = "float32",
        threads: int = 1,
    ) -> None:
        if dtype not in _NUMERIC or threads < 1:
            raise KernelOptionError("a table step cannot use these options", why=f"dtype={dtype!r}, threads={threads}")
        if names is not None and len(names) != columns:
            raise KernelOptionError("names do not fit the columns", why=f"{len(names)} names, {columns} columns")
        self.blocks, self.columns, self.dtype, self.threads = tuple(blocks), columns, dtype, threads
        self.names = None if names is None else tuple(names)
        for block in self.blocks:
            _check_block(block, columns)
        self._numeric = [(b, t) for b, t in self._placed() if isinstance(b, Numeric)]
        self._category = [(b, t) for b, t in self._placed() if isinstance(b, Category)]
        self._hashed = [(b, t) for b, t in self._placed() if isinstance(b, Hashed)]
        self._steps = _numeric_tables([b for b, _ in self._numeric])

    @classmethod
    def from_sklearn(cls, transformer: Any, dtype: str = "float32", threads: int = 1) -> TabularPreprocess:
        """Of a fitted ColumnTransformer, Pipeline, scaler, imputer or encoder. Raises KernelOptionError naming what is not known."""
        from neoc.kernels.tabular_sklearn import read

        blocks, columns, names = read(transformer)
        return cls(blocks, columns, names, dtype, threads)

    # --- as data ---

    def to_spec(self) -> dict[str, Any]:
        """The options as JSON values."""
        kinds = {made: name for name, made in _KINDS.items()}
        blocks = [{"kind": kinds[type(b)], **asdict(b)} for b in self.blocks]
        names = None if self.names is None else list(self.names)
        options = {"columns": self.columns, "names": names, "dtype": self.dtype, "threads": self.threads}
        return {"blocks": [_plain(b) for b in blocks], **options}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> TabularPreprocess:
        """The inverse of `to_spec`. Raises KernelOptionError."""
        blocks = []
        try:
            for given in spec["blocks"]:
                fields = {k: _tupled(v) for k, v in given.items() if k != "kind"}
                blocks.append(_KINDS[given["kind"]](**fields))
            return cls(blocks, **{k: v for k, v in spec.items() if k != "blocks"})
        except (KeyError, TypeError) as error:
            raise KernelOptionError("a table step has options that do not fit", why=repr(error)) from error

    @property
    def outputs(self) -> int:
        """Columns of the result."""
        return sum(_outputs(b) for b in self.blocks)

    def _placed(self) -> list[tuple[Block, int]]:
        """Each block and its first output."""
        placed, at = [], 0
        for block in self.blocks:
            placed.append((block, at))
            at += _outputs(block)
        return placed

    # --- the call ---

    def __call__(self, table: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """[rows, outputs] of `dtype`. Raises KernelInputError: another shape, a column of the wrong kind, an unseen category."""
        source = Columns.of(table, self.columns, self.names)
        shape = (source.rows, self.outputs)
        if out is None:
            out = memory.empty(shape, self.dtype)
        elif out.shape != shape or str(out.dtype) != self.dtype or not (out.flags.c_contiguous and out.flags.writeable):
            raise KernelInputError("out does not fit", where="out", why=f"{out.dtype} {out.shape}, not {self.dtype} {shape}")
        if not source.rows or not self.outputs:
            return out
        numeric = self._numeric_arguments(source)
        category = self._category_arguments(source)
        self._run(source, numeric, category, out)
        unseen = category[-2]
        for (block, _), count in zip(self._category, unseen, strict=False):
            if count and block.unknown == "error":
                raise KernelInputError(
                    "a column holds an unseen category",
                    where=self._name(block.column),
                    why=f"{count} rows hold none of the {len(block.categories)} known ones",
                    fix="fit with handle_unknown='ignore' (or set `unknown`), or clean the data",
                )
        for hashed, at in self._hashed:
            buckets = source.buckets(hashed.column, hashed.buckets)
            present = np.flatnonzero(buckets >= 0)
            out[present, at + buckets[present]] = 1
        return out

    def _name(self, column: int) -> str:
        return self.names[column] if self.names else f"column {column}"

    def _numeric_arguments(self, source: Columns) -> tuple[Any, ...]:
        found = [source.numbers(b.column, self._name(b.column)) for b, _ in self._numeric]
        addresses = np.array([address for address, _ in found] or [0], np.uint64)
        strides = np.array([stride for _, stride in found] or [0], np.int64)
        targets = np.array([t for _, t in self._numeric] or [0], np.int64)
        return (addresses, strides, *self._steps, targets, len(found), int(source.single))

    def _category_arguments(self, source: Columns) -> tuple[Any, ...]:
        count = len(self._category)
        coded, valued = np.zeros(max(count, 1), np.uint64), np.zeros(max(count, 1), np.uint64)
        strides = np.zeros(max(count, 1), np.int64)
        facts, reals = np.zeros((max(count, 1), 6), np.int64), np.zeros((max(count, 1), 3))
        lookups: list[NDArray[np.int32]] = []
        sorted_values: list[NDArray[np.float64]] = []
        values: list[NDArray[np.float64]] = []
        for j, (block, target) in enumerate(self._category):
            numbers = block.slots() if block.values is None else block.values
            other = 0.0 if block.unknown == "error" else float(block.unknown)
            facts[j, 3:] = sum(map(len, values)), target, int(block.values is None)
            values.append(np.asarray(numbers, np.float64))
            if source.is_number(block.column):
                kind, low, lookup, ordered = _number_lookup(block)
                facts[j, :3] = kind, sum(map(len, lookups)), len(lookup)
                lookups.append(lookup)
                sorted_values.append(ordered)
                impute = np.nan if block.impute is None else float(block.impute)
                reals[j] = low, impute, other
                valued[j], strides[j] = source.numbers(block.column, self._name(block.column))
            else:
                reals[j, 2] = other
                coded[j] = source.codes(block.column, block.categories, block.impute)
        joined = [np.concatenate(part) if part else np.zeros(1) for part in (lookups, sorted_values, values)]
        tables = (joined[0].astype(np.int32), joined[1].astype(np.float64), joined[2].astype(np.float64))
        return (coded, valued, strides, facts, reals, *tables, np.zeros(max(count, 1), np.int64), count)

    def _run(self, source: Columns, numeric: tuple[Any, ...], category: tuple[Any, ...], out: NDArray[Any]) -> None:
        """Block by block, both kernels on each, so that a block's output is written while it is in cache."""
        parts = np.linspace(0, source.rows, self.threads + 1).astype(int)
        width = out.shape[1]

        def work(k: int) -> None:
            rows = (int(parts[k]), int(parts[k + 1]))
            scratch = np.empty(_ROWS)
            calls = [
                (_NUMERIC[self.dtype], (*numeric, scratch, *rows, out, width)),
                (_CATEGORY[self.dtype], (*category, *rows, out, width)),
            ]
            jit.run_blocks(calls, rows, _ROWS, row_slots=(len(numeric) + 1, len(category)))

        if self.threads == 1:
            work(0)
            return
        with ThreadPoolExecutor(self.threads - 1) as pool:
            pending = [pool.submit(work, k) for k in range(1, self.threads)]
            work(0)
            for future in pending:
                future.result()

    # --- the twin ---

    def reference(self, table: Any) -> NDArray[Any]:
        """What the call gives, by plain numpy."""
        from neoc.kernels.tabular_twin import transform

        return transform(self, table)


def _outputs(block: Block) -> int:
    if isinstance(block, Category):
        return block.outputs
    return block.buckets if isinstance(block, Hashed) else 1


def _check_block(block: Block, columns: int) -> None:
    if not 0 <= block.column < columns:
        raise KernelOptionError("a block's column does not exist", why=f"{block.column} of {columns}")
    if isinstance(block, Numeric):
        for name, value in block.steps:
            if name not in STEPS:
                raise KernelOptionError("an unknown step", why=f"{name!r}", fix=f"one of {', '.join(STEPS)}")
            if name == "bucketise" and list(value) != sorted(value):
                raise KernelOptionError("bucket edges must rise", why=f"{value}")
    elif isinstance(block, Category):
        for given, what in ((block.values, "values"), (block.keep, "keep")):
            if given is not None and len(given) != len(block.categories):
                raise KernelOptionError("a number a category is needed", where=what, why=f"{len(given)} given")
        if isinstance(block.unknown, str) and block.unknown != "error":
            raise KernelOptionError("unknown is 'error' or a number", why=repr(block.unknown))
    elif block.buckets < 1:
        raise KernelOptionError("a hash needs buckets", why=str(block.buckets))


def _numeric_tables(blocks: list[Numeric]) -> tuple[NDArray[Any], ...]:
    """(starts, codes, numbers, edges) of all steps."""
    starts, codes, numbers, edges = [0], [], [], [0.0]
    for block in blocks:
        for name, value in block.steps:
            codes.append(STEPS.index(name))
            if name == "bucketise":
                numbers.append(float(len(edges)))
                edges += [float(len(value)), *map(float, value)]
            else:
                numbers.append(float(value))
        starts.append(len(codes))
    return (
        np.array(starts, np.int64),
        np.array(codes or [0], np.int32),
        np.array(numbers or [0], np.float64),
        np.array(edges, np.float64),
    )


def _number_lookup(block: Category) -> tuple[int, float, NDArray[np.int32], NDArray[np.float64]]:
    """(1 table or 2 search, low end, category of each entry with NaN's last, sorted values or padding)."""
    try:
        known = {float(v): k for k, v in enumerate(block.categories) if v is not None and v == v}
    except (TypeError, ValueError) as error:
        raise KernelInputError("a column of numbers has categories that are none", why=str(error)) from error
    missing = next((k for k, v in enumerate(block.categories) if v is None or v != v), -1)
    ordered = sorted(known)
    whole = all(v == int(v) for v in ordered) if ordered and np.isfinite(ordered).all() else False
    if whole and ordered[-1] - ordered[0] < _TABLE:
        low = ordered[0]
        lookup = np.full(int(ordered[-1] - low) + 2, -1, np.int32)
        for v, k in known.items():
            lookup[int(v - low)] = k
        lookup[-1] = missing
        return 1, low, lookup, np.zeros(len(lookup))
    lookup = np.array([*(known[v] for v in ordered), missing], np.int32)
    return 2, 0.0, lookup, np.array([*ordered, np.inf])


def _plain(value: Any) -> Any:
    """Tuples as lists, numpy scalars as Python's, NaN as None: JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and value != value else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def bucket_of(value: Any, buckets: int) -> int:
    """The hash of `Hashed`: crc32 of the text in UTF-8."""
    return zlib.crc32(str(value).encode()) % buckets
