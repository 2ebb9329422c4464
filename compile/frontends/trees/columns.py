"""Column steps (`neoc.kernels.tabular` blocks) as ONNX operators, with the bits that scikit-learn gives.

Neighbouring numeric columns with the same steps become one chain of operators over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.errors import UnsupportedModel
from neoc.kernels.tabular import Block, Category, Numeric

if TYPE_CHECKING:
    from neoc.compile.frontends.trees.graph import Builder

FEATURES, CATEGORIES = "features", "categories"


@dataclass(frozen=True)
class Table:
    """The columns that a pipeline reads: numbers in one matrix, texts in another, each in the order of the table."""

    numbers: tuple[int, ...]
    texts: tuple[int, ...]
    names: tuple[str, ...]
    """of all columns, empty where it was fitted without"""

    @classmethod
    def of(cls, blocks: Sequence[Block], columns: int, names: Sequence[str] | None) -> Table:
        texts = sorted({b.column for b in blocks if isinstance(b, Category) and _is_text(b)})
        numbers = tuple(c for c in range(columns) if c not in texts)
        return cls(numbers, tuple(texts), tuple(names or ()))

    def inputs(self, dtype: str) -> list[tuple[str, str, tuple[str | int, ...]]]:
        """(name, dtype, shape) of the graph's inputs."""
        made: list[tuple[str, str, tuple[str | int, ...]]] = []
        if self.numbers or not self.texts:
            made.append((FEATURES, dtype, ("rows", len(self.numbers))))
        if self.texts:
            made.append((CATEGORIES, "string", ("rows", len(self.texts))))
        return made


def _is_text(block: Category) -> bool:
    return any(isinstance(value, str) for value in block.categories)


def lower(b: Builder, blocks: Sequence[Block], table: Table) -> str:
    """[rows, outputs] in the graph's dtype. Raises UnsupportedModel."""
    parts: list[str] = []
    for (kind, _), group in groupby(blocks, key=lambda block: (type(block), _step_names(block))):
        run = list(group)
        if kind is Numeric:
            parts.append(_numeric(b, [block for block in run if isinstance(block, Numeric)], table))
        elif kind is Category:
            parts += [_category(b, block, table) for block in run if isinstance(block, Category)]
        else:
            raise UnsupportedModel("the pipeline cannot be compiled", why="it hashes a column", fix="encode it instead")
    if not parts:
        raise UnsupportedModel("the pipeline cannot be compiled", why="no column is left for the model")
    return parts[0] if len(parts) == 1 else b.add("Concat", *parts, axis=1)


def _step_names(block: Block) -> tuple[str, ...]:
    return tuple(name for name, _ in block.steps) if isinstance(block, Numeric) else ()


# ---- numbers -------------------------------------------------------------------------------------------


def _numeric(b: Builder, blocks: Sequence[Numeric], table: Table) -> str:
    for block in blocks:
        if block.column in table.texts:
            raise UnsupportedModel(
                "the pipeline cannot be compiled", why=f"column {block.column} is read as text and as a number"
            )
    x = _gathered(b, [table.numbers.index(block.column) for block in blocks], len(table.numbers))
    for k, name in enumerate(_step_names(blocks[0])):
        x = _STEPS[name](b, x, [block.steps[k][1] for block in blocks])
    return x


def _gathered(b: Builder, columns: Sequence[int], width: int) -> str:
    if list(columns) == list(range(width)):
        return FEATURES
    return b.add("Gather", FEATURES, b.constant(columns, "int64", "columns"), axis=1)


def _by(operator: str) -> Callable[[Builder, str, list[Any]], str]:
    return lambda b, x, values: b.add(operator, x, b.constant(values, stem=operator.lower()))


def _at_least(b: Builder, x: str, values: list[Any]) -> str:
    low = b.constant(values, stem="low")
    return b.add("Where", b.add("Less", x, low), low, x)


def _at_most(b: Builder, x: str, values: list[Any]) -> str:
    high = b.constant(values, stem="high")
    return b.add("Where", b.add("Greater", x, high), high, x)


def _impute(b: Builder, x: str, values: list[Any]) -> str:
    return b.add("Where", b.add("IsNaN", x), b.constant(values, stem="substitute"), x)


def _missing(b: Builder, x: str, values: list[Any]) -> str:
    return b.cast(b.add("IsNaN", x), b.dtype)


def _bucketise(b: Builder, x: str, values: list[Any]) -> str:
    """The number of edges that are not above x. A column with fewer edges than another gets edges above everything."""
    most = max(map(len, values))
    edges = np.full((len(values), most), np.nan)
    for row, listed in zip(edges, values, strict=True):
        row[: len(listed)] = listed
    wide = b.add("Unsqueeze", x, b.constant([2], "int64", "axes"))
    reached = b.cast(b.add("GreaterOrEqual", wide, b.constant(edges, stem="edges")), b.dtype)
    return b.add("ReduceSum", reached, b.constant([2], "int64", "axes"), keepdims=0)


_STEPS: dict[str, Callable[[Builder, str, list[Any]], str]] = {
    "subtract": _by("Sub"),
    "divide": _by("Div"),
    "multiply": _by("Mul"),
    "add": _by("Add"),
    "at_least": _at_least,
    "at_most": _at_most,
    "impute": _impute,
    "missing": _missing,
    "bucketise": _bucketise,
}


# ---- categories ----------------------------------------------------------------------------------------


def _category(b: Builder, block: Category, table: Table) -> str:
    """[rows, outputs]: whether the value is each known one; then that, or one number for it."""
    known = _known(b, block, table)
    if block.values is None:
        slots = block.slots()
        keep = [k for _, k in sorted((slot, k) for k, slot in enumerate(slots) if slot >= 0)]
        hot = b.cast(known, b.dtype)
        if keep == list(range(len(slots))):
            return hot
        return b.add("Gather", hot, b.constant(keep, "int64", "kept"), axis=1)
    return _numbered(b, known, block)


def _known(b: Builder, block: Category, table: Table) -> str:
    """bool [rows, known values]."""
    text = block.column in table.texts
    source, columns = (CATEGORIES, table.texts) if text else (FEATURES, table.numbers)
    value = b.add("Gather", source, b.constant([columns.index(block.column)], "int64", "column"), axis=1)
    present = [c for c in block.categories if c is not None]
    if text:
        if len(present) != len(block.categories) or not all(isinstance(c, str) for c in present):
            raise UnsupportedModel(
                "the pipeline cannot be compiled",
                why=f"the categories of column {block.column} are not all texts",
                fix="fill missing values with a text before encoding",
            )
        return b.add("Equal", value, b.constant(present, "string", "known"))
    missing = b.add("IsNaN", value)
    if block.impute is not None:
        value = b.add("Where", missing, b.constant([float(block.impute)], stem="substitute"), value)
        missing = b.add("IsNaN", value)
    # None, the missing value, may stand anywhere among the known ones: NaN equals nothing, so its column comes apart.
    numbers = [math.nan if c is None else float(c) for c in block.categories]
    equal = b.add("Equal", value, b.constant(numbers, stem="known"))
    if None not in block.categories:
        return equal
    is_none = np.array([c is None for c in block.categories])
    return b.add("Or", equal, b.add("And", missing, b.constant(is_none, "bool", "is_missing")))


def _numbered(b: Builder, known: str, block: Category) -> str:
    assert block.values is not None
    place = b.add("ArgMax", b.cast(known, "float32"), axis=1, keepdims=1)
    number = b.add("Gather", b.constant(block.values, stem="numbers"), place)
    if block.unknown == "error":
        return number
    any_known = b.add("ReduceMax", b.cast(known, "float32"), b.constant([1], "int64", "axes"), keepdims=1)
    unknown = b.constant([float(block.unknown)], stem="unknown")
    return b.add("Where", b.cast(any_known, "bool"), number, unknown)


def known_values(blocks: Sequence[Block]) -> dict[int, tuple[tuple[Any, ...], bool]]:
    """column -> (its known categories, whether any other value is an error), for making up samples."""
    found: dict[int, tuple[tuple[Any, ...], bool]] = {}
    for block in blocks:
        if isinstance(block, Category):
            strict = block.unknown == "error" or found.get(block.column, ((), False))[1]
            found[block.column] = (block.categories, strict)
    return found
