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
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit, memory
from neoc.kernels.errors import KernelInputError, KernelOptionError
from neoc.kernels.tabular_columns import Columns
from neoc.kernels.tabular_ir import MOST_COLUMNS
from neoc.kernels.tabular_kernels import CATEGORY, LANES, NUMERIC, ONEHOT, ROWS, RUN, VECTOR, WHOLE

STEPS = ("subtract", "divide", "multiply", "add", "at_least", "at_most", "impute", "missing", "bucketise")


@dataclass(frozen=True)
class Numeric:
    """steps: (name, value) in order; 'bucketise' has a tuple of rising edges: the index of x among them."""

    column: int
    steps: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Category:
    """categories: the known values (None is missing). values: a number each (ordinal, target), or None for one-hot.

    keep: one-hot: the output of each category, -1 for a dropped one. unknown: 'error', or the number that an
    unseen value
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
_MOST_COMPARED = 64
"""outputs of a one-hot column that is written by comparing; with more, a zeroed row and one store cost less"""
_LEAST_RUN = 4
"""fewest neighbouring columns that are worth a kernel of their own"""
_TABLE = 1 << 16
"""longest range of whole numbers that is looked up by index; wider ones are searched"""


@dataclass(frozen=True)
class _Places:
    """Of a one-hot column: a value's place among the outputs is value - numbers[0]; see `tabular_rows`."""

    outputs: int
    numbers: tuple[float, float, float, float]


@dataclass(frozen=True)
class _OneHotRun:
    members: tuple[int, ...]
    """indices among the category blocks"""
    arguments: tuple[Any, ...]
    unseen: NDArray[np.int64]


class TabularPreprocess:
    """A function of tables: blocks of columns to a dense matrix [rows, outputs].

    blocks: in the order of their outputs. names: of the input columns, needed where tables come with names. dtype:
    float32 or
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
        if dtype not in NUMERIC or threads < 1:
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

    @classmethod
    def from_sklearn(cls, transformer: Any, dtype: str = "float32", threads: int = 1) -> TabularPreprocess:
        """Of a fitted ColumnTransformer, Pipeline, scaler, imputer or encoder. Raises KernelOptionError naming
        what is not known.
        """
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
                for name in {"unknown", "values", "steps"} & set(fields):  # a number that JSON has not
                    fields[name] = _numbers(fields[name]) if fields[name] is not None or name == "unknown" else None
                blocks.append(_KINDS[given["kind"]](**fields))
            return cls(blocks, **{k: v for k, v in spec.items() if k != "blocks"})
        except (KeyError, TypeError) as error:
            raise KernelOptionError("a table step has options that do not fit", why=repr(error)) from error

    @property
    def outputs(self) -> int:
        """Columns of the result."""
        return sum(_outputs(b) for b in self.blocks)

    def kernels(self) -> tuple[jit.Kernel, ...]:
        """Every kernel that a call may use, whatever the table."""
        return (*(table[self.dtype] for table in (NUMERIC, RUN, ONEHOT, CATEGORY, WHOLE)), jit.RUN_CALLS)

    def _placed(self) -> list[tuple[Block, int]]:
        """Each block and its first output."""
        placed, at = [], 0
        for block in self.blocks:
            placed.append((block, at))
            at += _outputs(block)
        return placed

    # --- the call ---

    def __call__(self, table: Any, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """[rows, outputs] of `dtype`. Raises KernelInputError: another shape, a column of the wrong kind, an
        unseen category.
        """
        source = Columns.of(table, self.columns, self.names)
        shape = (source.rows, self.outputs)
        if out is None:
            out = memory.empty(shape, self.dtype)
        elif out.shape != shape or str(out.dtype) != self.dtype or not (out.flags.c_contiguous and out.flags.writeable):
            raise KernelInputError(
                "out does not fit", where="out", why=f"{out.dtype} {out.shape}, not {self.dtype} {shape}"
            )
        if not source.rows or not self.outputs:
            return out
        runs = [] if source.single else self._runs(source)
        whole = self._whole_rows(source, runs)
        if whole is not None and self._run_whole(source, whole, out):
            return out
        inside = {j for first, count, _ in runs for j in range(first, first + count)}
        numeric = self._numeric_arguments(source, [j for j in range(len(self._numeric)) if j not in inside])
        onehots = self._onehot_runs(source)
        together = {j for run in onehots for j in run.members}
        rest = [j for j in range(len(self._category)) if j not in together]
        category = self._category_arguments(source, rest)
        self._run(source, numeric, runs, onehots, category, out)
        strict = any(self._category[j][0].unknown == "error" for j in together)
        if strict and any(run.unseen[0] for run in onehots):  # which column it is, only the other kernel counts
            rest = list(range(len(self._category)))
            category = self._category_arguments(source, rest)
            self._run(source, numeric, runs, [], category, out)
        for (block, _), count in zip([self._category[j] for j in rest], category[-2], strict=False):
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

    def _runs(self, source: Columns) -> list[tuple[int, int, NDArray[np.float64]]]:
        """(first, count, numbers) of numeric blocks that `tabular_run` can take together."""
        runs: list[tuple[int, int, NDArray[np.float64]]] = []
        members: list[tuple[int, tuple[float, float, float], tuple[int, int, int]]] = []
        for j, (block, target) in enumerate(self._numeric):
            if (form := _standard_form(block)) is not None:
                address, stride = source.numbers(block.column, self._name(block.column))
                members.append((j, form, (address, stride, target)))
        start = 0
        for i in range(1, len(members) + 1):
            if i < len(members) and members[i][0] == members[i - 1][0] + 1:
                (a, s, t), (b, u, v) = members[i - 1][2], members[i][2]
                if (b, u, v) == (a + 8, s, t + 1):
                    continue
            if i - start >= _LEAST_RUN:
                numbers = [(*form, *_inverse(form[2])) for _, form, _ in members[start:i]]
                runs.append((members[start][0], i - start, np.array(numbers).T.copy()))
            start = i
        return runs

    def _whole_rows(self, source: Columns, runs: list[tuple[int, int, NDArray[np.float64]]]) -> tuple[Any, ...] | None:
        """The arguments of `tabular_rows`, where numeric neighbours and then one-hot neighbours are all there is."""
        count, columns = len(self._numeric), len(self._category)
        if len(runs) != 1 or runs[0][1] != count or self._hashed or not 1 <= columns <= MOST_COLUMNS:
            return None
        found = [_onehot_places(b) if source.is_number(b.column) else None for b, _ in self._category]
        places = [p for p in found if p is not None]
        if len(places) < columns or self._numeric[0][1] != 0:
            return None
        address, stride = source.numbers(self._numeric[0][0].column, "")
        first, _ = source.numbers(self._category[0][0].column, "")
        target, vectors = count, []
        for i, ((block, at), own) in enumerate(zip(self._category, places, strict=True)):
            if at != target or source.numbers(block.column, "") != (first + 8 * i, stride):
                return None
            vectors += [(i, at + k, k) for k in range(0, own.outputs, VECTOR[self.dtype])]
            target += own.outputs
        # What the last vector of a row writes too much must lie in the next row's own part.
        if target != self.outputs or self.outputs < 2 * VECTOR[self.dtype]:
            return None
        table = np.array(vectors, np.int32)
        steps = (table[:, 2:] + np.arange(VECTOR[self.dtype])).astype(self.dtype)
        reals = np.array([own.numbers for own in places]).T.copy()
        numbers = (runs[0][2], count, reals, columns, table[:, :2].T.copy(), steps, len(table), np.zeros(1, np.int64))
        return (address, first, stride, *numbers)

    def _run_whole(self, source: Columns, arguments: tuple[Any, ...], out: NDArray[Any]) -> bool:
        """Whether all is done: unseen values that are errors are left to the kernels that count them by column."""
        kernel = WHOLE[self.dtype]
        parts = np.linspace(0, source.rows, self.threads + 1).astype(int).tolist()

        def work(k: int) -> int:
            unseen = np.zeros(1, np.int64)
            kernel(*arguments[:-1], unseen, parts[k], parts[k + 1], out, out.shape[1])
            return int(unseen[0])

        if self.threads == 1:
            unseen = work(0)
        else:
            with ThreadPoolExecutor(self.threads - 1) as pool:
                pending = [pool.submit(work, k) for k in range(1, self.threads)]
                unseen = work(0) + sum(future.result() for future in pending)
        return not (unseen and any(block.unknown == "error" for block, _ in self._category))

    def _numeric_arguments(self, source: Columns, wanted: list[int]) -> tuple[Any, ...]:
        blocks = [self._numeric[j] for j in wanted]
        found = [source.numbers(b.column, self._name(b.column)) for b, _ in blocks]
        addresses = np.array([address for address, _ in found] or [0], np.uint64)
        strides = np.array([stride for _, stride in found] or [0], np.int64)
        targets = np.array([t for _, t in blocks] or [0], np.int64)
        steps = _numeric_tables([b for b, _ in blocks], source.single)
        return (addresses, strides, *steps, targets, len(found), int(source.single))

    def _onehot_runs(self, source: Columns) -> list[_OneHotRun]:
        """The one-hot columns that `tabular_onehot` can take together: neighbours of whole numbers without gaps."""
        runs: list[_OneHotRun] = []
        group: list[int] = []
        for j, (block, _) in enumerate(self._category):
            fits = block.values is None and source.is_number(block.column)
            kind, _, members, _ = _number_lookup(block) if fits else (0, 0.0, np.array([-1, 0]), None)
            fits = fits and kind == 1 and bool((members[:-1] >= 0).all())
            if fits and group:
                before, here = (
                    source.numbers(self._category[i][0].column, self._name(self._category[i][0].column))
                    for i in (group[-1], j)
                )
                if group[-1] != j - 1 or here != (before[0] + 8, before[1]):
                    group = []
            group = [*group, j] if fits else []
            if len(group) == LANES:
                runs.append(self._onehot_run(source, tuple(group)))
                group = []
        return runs

    def _onehot_run(self, source: Columns, members: tuple[int, ...]) -> _OneHotRun:
        reals, first = np.zeros((3, len(members))), np.zeros(len(members), np.int32)
        targets: list[NDArray[np.int64]] = []
        values: list[NDArray[np.float64]] = []
        for i, j in enumerate(members):
            block, target = self._category[j]
            _, low, known, _ = _number_lookup(block)
            slots, _ = _category_entries(block)
            if block.impute is not None:
                substitute = float(block.impute) - low
            else:  # NaN keeps an entry of its own, or falls out of the range like any unseen value
                substitute = np.nan if known[-1] >= 0 else -1.0
            reals[:, i] = low, len(known) - 1, substitute
            first[i] = sum(map(len, targets))
            targets.append(target + np.maximum(slots, 0))
            values.append((slots >= 0).astype(np.float64))
        column = self._category[members[0]][0].column
        place = source.numbers(column, self._name(column))
        tables = (np.concatenate(targets).astype(np.int32), np.concatenate(values).astype(self.dtype))
        return _OneHotRun(members, (*place, reals, first, *tables), np.zeros(1, np.int64))

    def _category_arguments(self, source: Columns, wanted: list[int]) -> tuple[Any, ...]:
        blocks = [self._category[j] for j in wanted]
        count = max(len(blocks), 1)
        coded, valued, strides = np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.zeros(count, np.int64)
        facts, reals = np.zeros((count, 5), np.int64), np.zeros((count, 2))
        parts: list[tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]] = []
        for j, (block, target) in enumerate(blocks):
            facts[j, 3:] = target, int(block.values is None)
            facts[j, 1] = sum(len(p[0]) for p in parts)
            if source.is_number(block.column):
                kind, low, members, ordered = _number_lookup(block)
                facts[j, 0], reals[j] = kind, (low, np.nan if block.impute is None else float(block.impute))
                valued[j], strides[j] = source.numbers(block.column, self._name(block.column))
            else:
                members = np.arange(len(block.categories) + 1)
                members[-1] = -1  # the codes name the missing category themselves
                ordered = np.zeros(len(members))
                coded[j] = source.codes(block.column, block.categories, block.impute)
            facts[j, 2] = len(members) - 1
            parts.append((*_entries(block, members), np.append(ordered, 0.0)))
        tables = [np.concatenate(p) for p in zip(*parts, strict=True)] if parts else [np.zeros(1)] * 3
        typed = (tables[0].astype(np.int32), tables[1].astype(np.float64), tables[2].astype(np.float64))
        return (coded, valued, strides, facts, reals, *typed, np.zeros(count, np.int64), len(blocks))

    def _run(
        self,
        source: Columns,
        numeric: tuple[Any, ...],
        runs: list[tuple[int, int, NDArray[np.float64]]],
        onehots: list[_OneHotRun],
        category: tuple[Any, ...],
        out: NDArray[Any],
    ) -> None:
        """Block by block, every kernel on each, so that a block's output is written while it is in cache."""
        parts = np.linspace(0, source.rows, self.threads + 1).astype(int)
        width = out.shape[1]

        def work(k: int) -> None:
            rows = (int(parts[k]), int(parts[k + 1]))
            calls = [(NUMERIC[self.dtype], (*numeric, np.empty(ROWS), *rows, out, width))]
            slots = [len(numeric) + 1]
            for first, count, numbers in runs:
                block, target = self._numeric[first]
                column = source.numbers(block.column, "")
                calls.append((RUN[self.dtype], (*column, numbers, count, target, *rows, out, width)))
                slots.append(5)
            for onehot in onehots:
                tail = (onehot.unseen, len(onehot.members), *rows, out, width)
                calls.append((ONEHOT[self.dtype], (*onehot.arguments, *tail)))
                slots.append(8)
            if category[-1]:
                scratch = (np.empty(ROWS), np.empty(ROWS, np.int32))
                calls.append((CATEGORY[self.dtype], (*category[:-1], *scratch, category[-1], *rows, out, width)))
                slots.append(len(category) + 2)
            jit.run_blocks(calls, rows, ROWS, slots)

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


def _numeric_tables(blocks: list[Numeric], single: bool) -> tuple[NDArray[Any], ...]:
    """(starts, codes, numbers, edges) of all steps. single: the numbers are rounded to float32, as scikit-learn
    does.
    """
    starts, codes, numbers, edges = [0], [], [], [0.0]
    for block in blocks:
        for name, value in block.steps:
            codes.append(STEPS.index(name))
            if name == "bucketise":
                numbers.append(float(len(edges)))
                edges += [float(len(value)), *map(float, value)]
            else:
                numbers.append(float(np.float32(value)) if single else float(value))
        starts.append(len(codes))
    return (
        np.array(starts, np.int64),
        np.array(codes or [0], np.int32),
        np.array(numbers or [0], np.float64),
        np.array(edges, np.float64),
    )


@lru_cache(maxsize=4096)
def _inverse(divisor: float) -> tuple[float, float]:
    """1 / divisor as a sum of two float64, from exact fractions; (1 / divisor, 0) where that is not finite."""
    if divisor == 0 or not np.isfinite(divisor) or not np.isfinite(1 / divisor):
        return (float(np.divide(1.0, divisor)) if divisor else float("inf")), 0.0
    return 1 / divisor, float(1 / Fraction(divisor) - Fraction(1 / divisor))


@lru_cache(maxsize=4096)
def _standard_form(block: Numeric) -> tuple[float, float, float] | None:
    """(substitute for NaN, a, b) of ((x or its substitute) - a) / b; None for any other chain."""
    steps = list(block.steps)
    numbers = {"impute": np.nan, "subtract": 0.0, "divide": 1.0}
    for name in numbers:
        if steps and steps[0][0] == name:
            numbers[name] = float(steps.pop(0)[1])
    return None if steps else (numbers["impute"], numbers["subtract"], numbers["divide"])


@lru_cache(maxsize=4096)
def _number_lookup(block: Category) -> tuple[int, float, NDArray[np.int64], NDArray[np.float64]]:
    """(1 table or 2 search, low end, category of each entry with NaN's last and -1 for none, sorted values or
    padding).
    """
    try:
        known = {float(v): k for k, v in enumerate(block.categories) if v is not None and v == v}
    except (TypeError, ValueError) as error:
        raise KernelInputError("a column of numbers has categories that are none", why=str(error)) from error
    missing = next((k for k, v in enumerate(block.categories) if v is None or v != v), -1)
    ordered = sorted(known)
    whole = bool(ordered) and bool(np.isfinite(ordered).all()) and all(v == int(v) for v in ordered)
    if whole and ordered[-1] - ordered[0] < _TABLE:
        low = ordered[0]
        members = np.full(int(ordered[-1] - low) + 2, -1, np.int64)
        for v, k in known.items():
            members[int(v - low)] = k
        members[-1] = missing
        return 1, low, members, np.zeros(len(members))
    return 2, 0.0, np.array([*(known[v] for v in ordered), missing], np.int64), np.array([*ordered, np.inf])


@lru_cache(maxsize=4096)
def _onehot_places(block: Category) -> _Places | None:
    """For `tabular_rows`; None where the outputs do not follow the values one by one, or there are too many."""
    if block.values is not None or not 1 <= block.outputs <= _MOST_COMPARED:
        return None
    kind, low, members, _ = _number_lookup(block)
    slots, size = _category_entries(block)[0], len(members) - 1
    shift = int(-slots[0])
    if kind != 1 or shift not in (0, 1) or not np.array_equal(slots[:size], np.arange(size) - shift):
        return None
    if block.impute is not None:
        entry = float(block.impute) - low
        of_nan = entry - shift if entry == int(entry) and 0 <= entry < size else -2.0
    else:
        of_nan = float(slots[size])
    return _Places(block.outputs, (low + shift, -float(shift), float(size - shift), of_nan))


@lru_cache(maxsize=4096)
def _category_entries(block: Category) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    return _entries(block, _number_lookup(block)[2])


def _entries(block: Category, members: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(slot, value) of each table entry; one more entry stands for unseen values."""
    other = 0.0 if block.unknown == "error" else float(block.unknown)
    slots, values = np.full(len(members) + 1, -2, np.int32), np.full(len(members) + 1, other)
    onehot = block.slots()
    for i, k in enumerate(members):
        if k >= 0:
            slots[i] = onehot[k] if block.values is None else 0
            values[i] = 0.0 if block.values is None else block.values[k]
    return slots, values


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


def _numbers(value: Any) -> Any:
    """None as NaN, at any depth."""
    if isinstance(value, tuple):
        return tuple(_numbers(v) for v in value)
    return float("nan") if value is None else value


def bucket_of(value: Any, buckets: int) -> int:
    """The hash of `Hashed`: crc32 of the text in UTF-8."""
    return zlib.crc32(str(value).encode()) % buckets
