"""A fitted scikit-learn transformer as blocks. Objects are told by their class's name; scikit-learn is not imported.

Columns are followed symbolically: each transformer takes a list of blocks, one a column, and returns another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from neoc.kernels.errors import KernelOptionError
from neoc.kernels.tabular import Block, Category, Numeric


def read(transformer: Any) -> tuple[list[Block], int, list[str] | None]:
    """(blocks, number of input columns, their names where it was fitted with names). Raises KernelOptionError."""
    if not hasattr(transformer, "n_features_in_"):
        raise KernelOptionError("the transformer is not fitted", why=type(transformer).__name__, fix="call fit first")
    count = int(transformer.n_features_in_)
    names = getattr(transformer, "feature_names_in_", None)
    listed = None if names is None else [str(n) for n in names]
    return _apply(transformer, [Numeric(j) for j in range(count)], listed), count, listed


def _refuse(transformer: Any, why: str, fix: str = "") -> KernelOptionError:
    return KernelOptionError("a transformer cannot be compiled", where=type(transformer).__name__, why=why, fix=fix)


def _apply(transformer: Any, blocks: list[Block], names: list[str] | None) -> list[Block]:
    if isinstance(transformer, str):
        if transformer == "drop":
            return []
        if transformer == "passthrough":
            return blocks
    kind = type(transformer).__name__
    if kind == "ColumnTransformer":
        made: list[Block] = []
        for _, inner, columns in transformer.transformers_:
            chosen = _chosen(columns, len(blocks), names)
            made += _apply(inner, [blocks[j] for j in chosen], [names[j] for j in chosen] if names else None)
        return made
    if kind == "Pipeline":
        for _, inner in transformer.steps:
            # Only the first step sees the table, and its names.
            blocks, names = _apply(inner, blocks, names), None
        return blocks
    if kind not in _READERS:
        raise _refuse(transformer, "this class is not known", f"use one of {', '.join(sorted(_READERS))}")
    return _READERS[kind](transformer, blocks)


def _chosen(columns: Any, count: int, names: list[str] | None) -> list[int]:
    """The positions that a ColumnTransformer's column selection means."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            assert names is not None
            start = 0 if columns.start is None else names.index(columns.start)
            stop = count if columns.stop is None else names.index(columns.stop) + 1
            return list(range(start, stop))
        return list(range(count))[columns]
    listed = [columns] if isinstance(columns, (str, int, np.integer)) else list(columns)
    if listed and all(isinstance(c, (bool, np.bool_)) for c in listed):
        return [j for j, wanted in enumerate(listed) if wanted]
    if names is not None and any(isinstance(c, str) for c in listed):
        return [names.index(str(c)) for c in listed]
    return [int(c) % count for c in listed]


def _numeric(transformer: Any, blocks: list[Block]) -> list[Numeric]:
    if not all(isinstance(b, Numeric) for b in blocks):
        raise _refuse(transformer, "it follows an encoder")
    return blocks  # type: ignore[return-value]


def _then(block: Numeric, *steps: tuple[str, Any]) -> Numeric:
    return replace(block, steps=(*block.steps, *((n, v if isinstance(v, tuple) else _scalar(v)) for n, v in steps)))


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _scaled(transformer: Any, blocks: list[Block], *steps: tuple[str, Any]) -> list[Block]:
    """Each (step name, array or None) on each column."""
    used = [(name, values) for name, values in steps if values is not None]
    return [_then(b, *((n, v[j]) for n, v in used)) for j, b in enumerate(_numeric(transformer, blocks))]


def _standard(t: Any, blocks: list[Block]) -> list[Block]:
    return _scaled(
        t, blocks, ("subtract", t.mean_ if t.with_mean else None), ("divide", t.scale_ if t.with_std else None)
    )


def _min_max(t: Any, blocks: list[Block]) -> list[Block]:
    scaled = _scaled(t, blocks, ("multiply", t.scale_), ("add", t.min_))
    if not t.clip:
        return scaled
    low, high = t.feature_range
    return [_then(b, ("at_least", low), ("at_most", high)) for b in _numeric(t, scaled)]


def _max_abs(t: Any, blocks: list[Block]) -> list[Block]:
    return _scaled(t, blocks, ("divide", t.scale_))


def _robust(t: Any, blocks: list[Block]) -> list[Block]:
    return _scaled(
        t,
        blocks,
        ("subtract", t.center_ if t.with_centering else None),
        ("divide", t.scale_ if t.with_scaling else None),
    )


def _imputer(t: Any, blocks: list[Block]) -> list[Block]:
    if not (t.missing_values is None or t.missing_values != t.missing_values):
        raise _refuse(t, f"missing_values={t.missing_values!r}", "mark missing values as NaN")
    made: list[Block] = []
    for block, value in zip(_numeric(t, blocks), t.statistics_, strict=True):
        if value is None or value != value:
            raise _refuse(t, "a column had no value at fit", "drop it, or set keep_empty_features")
        made.append(_then(block, ("impute", value)))
    if t.add_indicator:
        made += [_then(_numeric(t, blocks)[j], ("missing", 0.0)) for j in t.indicator_.features_]
    return made


def _indicator(t: Any, blocks: list[Block]) -> list[Block]:
    return [_then(_numeric(t, blocks)[j], ("missing", 0.0)) for j in t.features_]


def _bins(t: Any, blocks: list[Block]) -> list[Block]:
    if t.encode != "ordinal":
        raise _refuse(t, f"encode={t.encode!r}", "use encode='ordinal'")
    return [
        _then(b, ("bucketise", tuple(float(e) for e in edges[1:-1])))
        for b, edges in zip(_numeric(t, blocks), t.bin_edges_, strict=True)
    ]


def _category(t: Any, block: Numeric, categories: Any) -> Category:
    """A column with nothing but an imputation before it becomes a category."""
    steps = dict(block.steps)
    if set(steps) - {"impute"} or len(block.steps) > 1:
        raise _refuse(t, "an encoder follows a step that is no imputation")
    known = tuple(None if v is None or v != v else _scalar(v) for v in categories)
    return Category(block.column, known, impute=steps.get("impute"))


def _one_hot(t: Any, blocks: list[Block]) -> list[Block]:
    if getattr(t, "infrequent_categories_", None) and any(c is not None for c in t.infrequent_categories_):
        raise _refuse(t, "it groups infrequent categories", "fit without min_frequency and max_categories")
    made: list[Block] = []
    for j, (block, categories) in enumerate(zip(_numeric(t, blocks), t.categories_, strict=True)):
        dropped = None if t.drop_idx_ is None else t.drop_idx_[j]
        order = iter(range(len(categories)))
        keep = tuple(-1 if k == dropped else next(order) for k in range(len(categories)))
        unknown: str | float = "error" if t.handle_unknown == "error" else 0.0
        made.append(replace(_category(t, block, categories), keep=keep, unknown=unknown))
    return made


def _ordinal(t: Any, blocks: list[Block]) -> list[Block]:
    made: list[Block] = []
    for block, categories in zip(_numeric(t, blocks), t.categories_, strict=True):
        category = _category(t, block, categories)
        values = tuple(
            float(t.encoded_missing_value) if c is None else float(k) for k, c in enumerate(category.categories)
        )
        unknown = "error" if t.handle_unknown == "error" else float(t.unknown_value)
        made.append(replace(category, values=values, unknown=unknown))
    return made


def _target(t: Any, blocks: list[Block]) -> list[Block]:
    if t.target_type_ == "multiclass":
        raise _refuse(t, "its target has several classes")
    made: list[Block] = []
    for block, categories, values in zip(_numeric(t, blocks), t.categories_, t.encodings_, strict=True):
        category = _category(t, block, categories)
        made.append(replace(category, values=tuple(map(float, values)), unknown=float(t.target_mean_)))
    return made


def _function(t: Any, blocks: list[Block]) -> list[Block]:
    if t.func is not None:
        raise _refuse(t, f"it calls {getattr(t.func, '__name__', t.func)}")
    return blocks


_READERS: dict[str, Callable[[Any, list[Block]], list[Block]]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "KBinsDiscretizer": _bins,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "TargetEncoder": _target,
    "FunctionTransformer": _function,
}
