"""The plain numpy twin of `TabularPreprocess`: one column after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.errors import KernelInputError
from neoc.kernels.tabular_columns import Columns

if TYPE_CHECKING:
    from neoc.kernels.tabular import Category, Numeric, TabularPreprocess


def transform(step: TabularPreprocess, table: Any) -> NDArray[Any]:
    """The matrix that `step` makes of `table`."""
    from neoc.kernels.tabular import Category, Numeric, bucket_of

    source = Columns.of(table, step.columns, step.names)
    parts = []
    for block in step.blocks:
        values = source.array(block.column)
        if isinstance(block, Numeric):
            parts.append(_numeric(block, np.asarray(values, np.float64), source.single)[:, None])
        elif isinstance(block, Category):
            parts.append(_category(block, list(values)))
        else:
            onehot = np.zeros((source.rows, block.buckets))
            for i, v in enumerate(values):
                if v is not None and v == v:
                    onehot[i, bucket_of(v, block.buckets)] = 1
            parts.append(onehot)
    return np.concatenate(parts, axis=1).astype(step.dtype)


def _numeric(block: Numeric, x: NDArray[np.float64], single: bool) -> NDArray[np.float64]:
    for name, v in block.steps:
        v = float(np.float32(v)) if single and name != "bucketise" else v
        if name == "subtract":
            x = x - v
        elif name == "divide":
            x = x / v
        elif name == "multiply":
            x = x * v
        elif name == "add":
            x = x + v
        elif name == "at_least":
            x = np.where(x < v, v, x)
        elif name == "at_most":
            x = np.where(x > v, v, x)
        elif name == "impute":
            x = np.where(np.isnan(x), v, x)
        elif name == "missing":
            x = np.isnan(x).astype(np.float64)
        else:  # NaN sorts last
            x = np.searchsorted(np.asarray(v), x, side="right").astype(np.float64)
        if single:
            x = x.astype(np.float32).astype(np.float64)
    return x


def _category(block: Category, values: list[Any]) -> NDArray[np.float64]:
    def missing(v: Any) -> bool:
        return v is None or v != v

    known = {None if missing(v) else v: k for k, v in enumerate(block.categories)}
    found = [
        known.get((block.impute if missing(v) else v) if not (missing(v) and block.impute is None) else None, -1)
        for v in values
    ]
    if block.unknown == "error" and -1 in found:
        raise KernelInputError("a column holds an unseen category", where=f"column {block.column}")
    out = np.zeros((len(values), block.outputs))
    for i, k in enumerate(found):
        if block.values is not None:
            out[i, 0] = block.values[k] if k >= 0 else float(block.unknown)
        elif k >= 0 and block.slots()[k] >= 0:
            out[i, block.slots()[k]] = 1
    return out
