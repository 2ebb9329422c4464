"""Buckets: the sizes of an open dimension that a chip with static shapes is compiled for.

A request of length L runs in the smallest bucket that holds it, padded. `choose_sizes` finds the buckets that waste the
least padding for a histogram of lengths; `plan` turns what the user said into bindings, one for each variant.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import Signature
from neoc.compile.errors import InvalidInput, UsageError
from neoc.compile.options import Bucketing, InputBinding

DEFAULT_COUNT = 4
"""buckets of a dimension, where a histogram is given and no number"""
MOST_VARIANTS = 64
"""one artifact holds no more: each is compiled, proven and opened by itself"""
MOST_LENGTHS = 100_000
"""different lengths in one histogram: the plan's time grows with their number"""
_LARGEST = 2**31 - 1

Histogram = Mapping[int, float]
"""length -> how often it comes, in any unit"""


# ---- the plan ------------------------------------------------------------------------------------


def choose_sizes(lengths: Histogram, count: int, candidates: Sequence[int] | None = None) -> tuple[int, ...]:
    """At most `count` sizes, ascending, that hold all lengths with the least padding, sum(n * (bucket - length)).

    The sizes come from `candidates` or, by default, from the lengths themselves, among which an optimum always lies: a
    bucket larger than its longest length wastes more. Dynamic programming over the sizes in order: the best way to
    serve all lengths up to size j with k buckets ends with a bucket of size j over the best way with k - 1 up to some
    smaller size. O(count * sizes^2), a row at a time. Raises ValueError for no lengths, no count, or candidates that
    are all too small.
    """
    if not lengths or count < 1:
        raise ValueError("a plan needs lengths and at least one bucket")
    values = np.array(sorted(lengths), np.int64)
    weights = np.array([lengths[int(v)] for v in values], np.float64)
    sizes = values if candidates is None else np.unique(np.array(candidates, np.int64))
    if sizes[-1] < values[-1]:
        raise ValueError(f"the largest size, {sizes[-1]}, holds no length of {values[-1]}")
    sizes = sizes[: np.searchsorted(sizes, values[-1]) + 1]
    # Below size j lie below[j] lengths' weight, and moment[j] of weight * length.
    until = np.searchsorted(values, sizes, side="right")
    below = np.concatenate([[0.0], np.cumsum(weights)])[until]
    moment = np.concatenate([[0.0], np.cumsum(weights * values)])[until]
    best = sizes * below - moment  # with one bucket
    choice: list[np.ndarray] = []
    for _ in range(min(count, len(sizes)) - 1):
        row, where = best.copy(), np.full(len(sizes), -1)
        for j in range(1, len(sizes)):
            costs = best[:j] + sizes[j] * (below[j] - below[:j]) - (moment[j] - moment[:j])
            i = int(np.argmin(costs))
            if costs[i] < row[j]:
                row[j], where[j] = costs[i], i
        choice.append(where)
        best = row
    return tuple(_traced(sizes, choice))


def _traced(sizes: np.ndarray, choice: Sequence[np.ndarray]) -> list[int]:
    """The chosen sizes, from the largest back: -1 says that fewer buckets were as good."""
    at, found = len(sizes) - 1, [int(sizes[-1])]
    for where in reversed(choice):
        if where[at] >= 0:
            at = int(where[at])
            found.append(int(sizes[at]))
    return found[::-1]


def padding(lengths: Histogram, sizes: Sequence[int]) -> float:
    """sum(n * (bucket - length)). Raises ValueError for a length above the largest size."""
    ordered = sorted(sizes)
    if max(lengths) > ordered[-1]:
        raise ValueError(f"no size holds a length of {max(lengths)}")
    return float(sum(n * (next(s for s in ordered if s >= length) - length) for length, n in lengths.items()))


# ---- what the user says --------------------------------------------------------------------------


def read_lengths(path: Path) -> dict[int, float]:
    """A histogram from a file: JSON (a list of lengths, or {"length": count}) or text, one `length [count]` a line.

    In text, commas, semicolons and blanks separate; `#` begins a comment; a first line of words is a header. Raises
    InvalidInput, which names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise InvalidInput(
            "the lengths cannot be read", where=str(path), why=why, fix="name a readable file"
        ) from error
    rows = _from_json(text, path) if text.lstrip()[:1] in ("[", "{") else _from_text(text, path)
    found: Counter[int] = Counter()
    for length, count, where in rows:
        if not 1 <= length <= _LARGEST or not 0 <= count < float("inf"):
            raise _unreadable(path, where, f"{length} is no length, or {count:g} no number of times")
        found[length] += count  # type: ignore[assignment]
    kept = {length: float(count) for length, count in found.items() if count > 0}
    if not kept or len(kept) > MOST_LENGTHS:
        why = "it has no length in it" if not kept else f"it has {len(kept)} different lengths, and {MOST_LENGTHS} is"
        raise _unreadable(path, "", why if not kept else f"{why} the most")
    return kept


def _from_json(text: str, path: Path) -> Iterator[tuple[int, float, str]]:
    try:
        data = json.loads(text)
        pairs = data.items() if isinstance(data, dict) else ((value, 1) for value in data)
        for number, (length, count) in enumerate(pairs):
            if isinstance(length, bool | float) or isinstance(count, bool | str | list | dict) or count is None:
                raise _unreadable(path, f"entry {number}", f"{length!r}: {count!r} is no length and its count")
            yield int(length), float(count), f"entry {number}"
    except (ValueError, TypeError, RecursionError) as error:
        raise _unreadable(path, "", f"{error}") from error


def _from_text(text: str, path: Path) -> Iterator[tuple[int, float, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"[\s,;]+", line.partition("#")[0].strip())
        if words == [""] or (number == 1 and not any(word[:1].isdigit() for word in words)):
            continue
        try:
            length, count = int(words[0]), float(words[1]) if len(words) > 1 else 1.0
        except ValueError as error:
            raise _unreadable(path, f"line {number}", f"{line.strip()[:60]!r} is no length and its count") from error
        if len(words) > 2:
            raise _unreadable(path, f"line {number}", "it has more than a length and its count")
        yield length, count, f"line {number}"


def _unreadable(path: Path, where: str, why: str) -> InvalidInput:
    place = f"{path}, {where}" if where else str(path)
    return InvalidInput(
        "the lengths cannot be read", where=place, why=why, fix="write one `length count` a line, or a JSON list"
    )


# ---- bindings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DimPlan:
    """The buckets of one dimension."""

    dim: str
    sizes: tuple[int, ...]
    lengths: Histogram | None = None
    """what they were planned for, where a histogram was given"""

    def as_dict(self) -> dict[str, Any]:
        """The share of padding in all that is computed, with these buckets and with one; None without a histogram."""
        return {
            "dim": self.dim,
            "sizes": list(self.sizes),
            "padding_share": self._share(self.sizes),
            "padding_share_with_one_bucket": self._share(self.sizes[-1:]),
        }

    def _share(self, sizes: Sequence[int]) -> float | None:
        if self.lengths is None:
            return None
        waste, useful = padding(self.lengths, sizes), sum(n * length for length, n in self.lengths.items())
        return round(waste / (waste + useful), 4)


@dataclass(frozen=True)
class BucketPlan:
    """The buckets of every dimension that has some."""

    dims: tuple[DimPlan, ...]

    def binds(self) -> list[dict[str, int]]:
        """One {dim: size} a variant, by number of elements: all combinations of the dimensions' buckets."""
        names = [d.dim for d in self.dims]
        made = [dict(zip(names, sizes, strict=True)) for sizes in product(*(d.sizes for d in self.dims))]
        return sorted(made, key=lambda bind: (prod(bind.values()), tuple(bind.values())))

    def floor(self, bind: Mapping[str, int]) -> dict[str, int]:
        """dim -> the smallest length for which this bucket is the smallest that holds it."""
        return {d.dim: max((size for size in d.sizes if size < bind[d.dim]), default=0) + 1 for d in self.dims}


def plan(bucketing: Bucketing, signature: Signature, where: str) -> BucketPlan:
    """The buckets for a model with `signature`. Several dimensions are planned each by itself.

    That is the best grid where their lengths are independent of each other: the padded size of a request is then the
    product of independent factors. Raises UsageError, InvalidInput.
    """
    wanted: dict[str, tuple[Sequence[int] | None, Histogram | None]] = {}
    for dim, sizes in bucketing.sizes.items():
        wanted[dim] = (sizes, None)
    for name, path in bucketing.lengths.items():
        dim = name or _only_dim(signature, where)
        wanted[dim] = (wanted.get(dim, (None, None))[0], read_lengths(path))
    _check_dims(wanted, signature, where)
    made = BucketPlan(tuple(_dim_plan(dim, *wanted[dim], bucketing.count, where) for dim in sorted(wanted)))
    count = prod(len(d.sizes) for d in made.dims)
    if count > MOST_VARIANTS:
        parts = " x ".join(f"{len(d.sizes)} of {d.dim}" for d in made.dims)
        why = f"{parts} are {count} variants, and {MOST_VARIANTS} is the most that one artifact holds"
        raise UsageError("there are too many buckets", where=where, why=why, fix="name fewer, or give --buckets N")
    return made


def _dim_plan(
    dim: str, sizes: Sequence[int] | None, lengths: Histogram | None, count: int | None, where: str
) -> DimPlan:
    if sizes is not None and lengths is None:  # the sizes themselves, each as likely as the others
        equal = dict.fromkeys(sizes, 1.0)
        return DimPlan(dim, choose_sizes(equal, count or len(equal)))
    assert lengths is not None
    if sizes is not None and max(sizes) < max(lengths):
        raise UsageError(
            f"the largest bucket of {dim} is too small",
            where=where,
            why=f"the lengths go up to {max(lengths)}, the buckets to {max(sizes)}",
            fix=f"add --bucket {dim}={max(lengths)}",
        )
    default = DEFAULT_COUNT if sizes is None else len(sizes)
    return DimPlan(dim, choose_sizes(lengths, count or default, sizes), lengths)


def open_dims(signature: Signature) -> list[str]:
    """The named open dimensions of the inputs, each once, in order."""
    dims = [dim for spec in signature.inputs for dim in spec.shape or () if isinstance(dim, str)]
    return list(dict.fromkeys(dims))


def _only_dim(signature: Signature, where: str) -> str:
    dims = open_dims(signature)
    if len(dims) == 1:
        return dims[0]
    raise UsageError(
        "--lengths does not say of which dimension",
        where=where,
        why=f"the model's named open dimensions are: {', '.join(dims) or 'none'}",
        fix="write --lengths DIM=FILE, or bind the other dimensions with --input"
        if dims
        else "name one: --input NAME=1,seq calls the second axis of NAME seq",
    )


def _check_dims(dims: Mapping[str, object], signature: Signature, where: str) -> None:
    known = open_dims(signature)
    for dim in dims:
        if dim in known:
            continue
        listed = "; ".join(map(str, signature.inputs))
        raise InvalidInput(
            f"the model has no open dimension {dim!r}",
            where=where,
            why=f"its named open dimensions are: {', '.join(known) or 'none'}",
            fix=f"its inputs are {listed}; --input NAME=1,{dim if dim.isidentifier() else 'seq'} gives an axis a name",
        )
    for spec in signature.inputs:
        for size in spec.shape or ():
            if not isinstance(size, str) or size in dims:
                continue
            used = set(re.findall(r"[A-Za-z_][\w.]*", size)) & dims.keys()
            if used:
                raise UsageError(
                    f"input {spec.name!r} has an axis of size {size}",
                    where=where,
                    why=f"it is reckoned from {', '.join(sorted(used))}, which has buckets, and cannot be padded so",
                    fix=f"give that axis a name with --input {spec.name}=..., and buckets of its own",
                )


def bound(inputs: Mapping[str, InputBinding], signature: Signature, bind: Mapping[str, int]) -> dict[str, InputBinding]:
    """The user's --input bindings with the bucketed dimensions bound too. `signature`: with the user's own applied."""
    made = dict(inputs)
    for spec in signature.inputs:
        if spec.shape is None or not any(dim in bind for dim in spec.shape):
            continue
        shape = tuple(bind[dim] if isinstance(dim, str) and dim in bind else dim for dim in spec.shape)
        made[spec.name] = InputBinding(shape, inputs[spec.name].dtype if spec.name in inputs else None)
    return made


def label(bind: Mapping[str, int]) -> str:
    """'seq=128', 'batch=1,seq=32'."""
    return ",".join(f"{dim}={size}" for dim, size in sorted(bind.items()))
