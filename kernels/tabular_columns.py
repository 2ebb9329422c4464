"""One view of every kind of table: numbers as (address, stride), categories as codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.errors import KernelInputError


class Columns:
    """The columns of a table by position. Keeps every array alive whose address it has given out."""

    def __init__(self, columns: list[Any], rows: int, single: bool) -> None:
        self._columns = columns
        self.rows = rows
        self.single = single
        """the table is float32 as a whole: arithmetic is rounded to that after each step"""
        self._kept: list[NDArray[Any]] = []
        self._numbers: dict[int, tuple[int, int]] = {}

    @classmethod
    def of(cls, table: Any, count: int, names: Sequence[str] | None) -> Columns:
        """From a 2-D array, a DataFrame, an Arrow table or record batch, or a mapping of 1-D arrays. Raises
        KernelInputError.
        """
        if isinstance(table, np.ndarray):
            return cls._of_array(table, count)
        if isinstance(table, Mapping):
            found, get = list(table), table.__getitem__
        elif hasattr(table, "iloc") and hasattr(table, "columns"):
            found, get = [str(c) for c in table.columns], lambda n: table.iloc[:, found.index(n)]
        elif hasattr(table, "schema") and hasattr(table, "column_names"):
            found, get = list(table.column_names), table.column
        else:
            raise KernelInputError(
                "a table of this kind is not known",
                why=type(table).__name__,
                fix="give a 2-D array, a DataFrame, an Arrow table or a mapping of arrays",
            )
        wanted = names if names is not None else found
        missing = [n for n in wanted if n not in found]
        if missing or len(wanted) != count:
            raise KernelInputError(
                "the table lacks columns",
                why=f"{missing or len(found)}",
                fix=f"needed: {count} columns {list(names or [])}",
            )
        columns = [_reader(get(n)) for n in wanted]
        rows = {len(c) for c in columns}
        if len(rows) > 1:
            raise KernelInputError("the columns have different lengths", why=str(sorted(rows)))
        arrays = [c for c in columns if isinstance(c, np.ndarray)]
        single = len(arrays) == len(columns) and bool(arrays) and all(a.dtype == np.float32 for a in arrays)
        return cls(columns, rows.pop() if rows else 0, single)

    @classmethod
    def _of_array(cls, table: NDArray[Any], count: int) -> Columns:
        if table.ndim != 2 or table.shape[1] != count:
            raise KernelInputError("the table has the wrong shape", why=f"{table.shape}", fix=f"give [rows, {count}]")
        single = table.dtype == np.float32
        if table.dtype.kind in "fiub" and table.dtype != np.float64:
            table = table.astype(np.float64)
        return cls([table[:, j] for j in range(count)], table.shape[0], single)

    def is_number(self, j: int) -> bool:
        column = self._columns[j]
        return isinstance(column, np.ndarray) and column.dtype.kind in "fiub"

    def numbers(self, j: int, name: str) -> tuple[int, int]:
        """(address of the first float64, elements from row to row)."""
        if j not in self._numbers:
            column = self._columns[j]
            if isinstance(column, np.ndarray) and column.dtype.kind not in "fiub":
                column = _floats(column, name)
            if not isinstance(column, np.ndarray):
                raise KernelInputError("a column of numbers holds something else", where=name)
            column = np.asarray(column, np.float64)
            if column.strides[0] % 8 or column.strides[0] <= 0 or not column.flags.aligned:
                column = np.ascontiguousarray(column)
            self._kept.append(column)
            self._numbers[j] = (column.__array_interface__["data"][0], max(column.strides[0] // 8, 1))
        return self._numbers[j]

    def array(self, j: int) -> Any:
        """Values for the twin: a float64 array, or a list of objects with None for missing ones."""
        if self.is_number(j):
            return np.asarray(self._columns[j], np.float64)
        codes, uniques = _factorised(self._columns[j])
        return [None if c < 0 else uniques[c] for c in codes]

    def codes(self, j: int, categories: tuple[Any, ...], impute: Any) -> int:
        """The address of int32 codes: the index in `categories`, -1 for unseen ones; missing ones are `impute`,
        else None.
        """
        known = {v: k for k, v in enumerate(categories) if v is not None and v == v}
        missing = next((k for k, v in enumerate(categories) if v is None or v != v), -1)
        if impute is not None:
            missing = known.get(impute, -1)
        codes, uniques = _factorised(self._columns[j])
        table = np.array([*(known.get(u, -1) for u in uniques), missing], np.int32)
        made = np.ascontiguousarray(table[codes])  # a code of -1 takes the last entry
        self._kept.append(made)
        return int(made.__array_interface__["data"][0])

    def buckets(self, j: int, count: int) -> NDArray[np.int64]:
        """The hash bucket of each row, -1 where the value is missing."""
        from neoc.kernels.tabular import bucket_of

        codes, uniques = _factorised(self._columns[j])
        return np.array([*(bucket_of(u, count) for u in uniques), -1], np.int64)[codes]


class _Coded:
    """A column that came with codes: Arrow dictionaries, pandas' factorize."""

    def __init__(self, codes: NDArray[np.int64], uniques: list[Any]) -> None:
        self.codes, self.uniques = codes, uniques

    def __len__(self) -> int:
        return len(self.codes)


def _reader(column: Any) -> Any:
    """A 1-D array of numbers or objects, or _Coded."""
    if isinstance(column, np.ndarray):
        return column
    if hasattr(column, "factorize") and hasattr(column, "to_numpy"):  # pandas
        kind = getattr(column.dtype, "kind", "O")
        if kind in "fiub":
            return (
                column.to_numpy(dtype=np.float64, na_value=np.nan) if column.dtype != np.float32 else column.to_numpy()
            )
        codes, uniques = column.factorize()
        return _Coded(np.asarray(codes, np.int64), list(uniques))
    if hasattr(column, "dictionary_encode"):  # Arrow
        return _arrow(column)
    return np.asarray(column)


def _arrow(column: Any) -> Any:
    kind = str(column.type)
    if kind.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
        if kind == "bool":
            column = column.cast("uint8")
        values = column.to_numpy() if hasattr(column, "chunks") else column.to_numpy(zero_copy_only=False)
        return values if values.dtype == np.float32 else np.asarray(values, np.float64)
    encoded = column if kind.startswith("dictionary") else column.dictionary_encode()
    if hasattr(encoded, "combine_chunks"):
        encoded = encoded.unify_dictionaries().combine_chunks() if hasattr(encoded, "unify_dictionaries") else encoded
    if hasattr(encoded, "chunks"):
        encoded = encoded.chunk(0) if encoded.num_chunks else encoded
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return _Coded(indices, encoded.dictionary.to_pylist())


def _factorised(column: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """(code of each row, -1 for missing; the distinct values)."""
    if isinstance(column, _Coded):
        return column.codes, column.uniques
    place: dict[Any, int] = {}
    values = column.tolist()
    codes = [-1 if v is None or v != v else place.setdefault(v, len(place)) for v in values]
    return np.array(codes, np.int64), list(place)


def _floats(column: NDArray[Any], name: str) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if v is None else float(v) for v in column.tolist()], np.float64)
    except (TypeError, ValueError) as error:
        raise KernelInputError("a column of numbers holds something else", where=name, why=str(error)) from error
