"""Plausible sizes for open dimensions: what the weights demand, else what the axis looks like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from neoc.compile.contracts import Dim, TensorSpec
from neoc.compile.input_roles import Kind, Role
from neoc.compile.input_uses import Use, size

Options = tuple[int, ...]
"""sizes to try, the most plausible first"""

_BATCH: Options = (1,)
_COLOURS: Options = (3, 1)
_SPATIAL: Options = (224, 64, 32, 256, 299, 512, 640, 28)
_SAMPLES: Options = (512, 16000, 4096, 1024, 256, 22050)
_TOKENS: Options = (16, 8, 64, 128, 512, 1)
_PAST: Options = (4, 1, 0)
_ANY: Options = (16, 1, 4, 64)

_NAMES: tuple[tuple[str, Options], ...] = (
    (r"past", _PAST),
    (r"batch|^(n|b|bs|nb)$|dynamicdimension\.0$", _BATCH),
    (r"channel|^c$", _COLOURS),
    (r"height|width|^(h|w)$", _SPATIAL),
    (r"sample|audio|wav", _SAMPLES),
    (r"seq|length|token|time|frame|step|^(t|l|s)$", _TOKENS),
)
"""what the names of dimensions commonly mean"""


@dataclass(frozen=True)
class Wanted:
    """One input, with what is known of it."""

    spec: TensorSpec
    role: Role
    uses: Sequence[Use]


def key(name: str, axis: int, dim: Dim) -> str:
    """How a size assignment names a dimension: by its own name, or as INPUT[AXIS] where it has none."""
    return dim if isinstance(dim, str) else f"{name}[{axis}]"


def ladder(inputs: Sequence[Wanted]) -> Iterator[dict[str, int]]:
    """Size assignments to try in this order, each complete: names of dimensions and INPUT[AXIS] -> size."""
    options = _options(inputs)
    tried: list[dict[str, int]] = []
    for rung in range(max(map(len, options.values()), default=1)):
        sizes = {name: choices[min(rung, len(choices) - 1)] for name, choices in options.items()}
        _add_sums(sizes)
        if sizes not in tried:
            tried.append(sizes)
            yield sizes


def _add_sums(sizes: dict[str, int]) -> None:
    """A decoder's mask covers what is cached and what is new: total = past + new."""
    past = next((name for name in sizes if "past" in name.lower() and not _symbols(name)), None)
    new = next((n for n in sizes if "seq" in n.lower() and not re.search("past|total|mask|encoder", n.lower())), None)
    if past is None or new is None:
        return
    for name in sizes:
        if re.search("total|mask", name.lower()) and "seq" in name.lower():
            sizes[name] = sizes[past] + sizes[new]


def shape_of(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape under an assignment; dimensions that it leaves out get 1. Expressions of names are evaluated."""
    return tuple(
        dim if isinstance(dim, int) else resolve(key(spec.name, axis, dim), sizes)
        for axis, dim in enumerate(spec.shape or ())
    )


def resolve(name: str, sizes: Mapping[str, int], default: int = 1) -> int:
    """The size of a named dimension or of an expression over names such as `past_sequence_length + 1`."""
    if name in sizes:
        return sizes[name]
    if _symbols(name):
        try:
            value = ir.SymbolicDim(name).evaluate(sizes)
        except (ValueError, ArithmeticError, TypeError):
            return default
        return value if isinstance(value, int) and value >= 0 else default
    return default


def _symbols(name: str) -> list[str]:
    """The names in an expression; none where the name is no expression."""
    if not re.fullmatch(r"[\w.\s+\-*/%(),]+", name) or not re.search(r"[+\-*/%(]", name):
        return []
    return [word for word in re.findall(r"[A-Za-z_][\w.]*", name) if word not in ("max", "min", "floor", "mod")]


def _options(inputs: Sequence[Wanted]) -> dict[str, Options]:
    """For every open dimension of every input the sizes to try. What a weight demands beats what a name suggests."""
    chosen: dict[str, tuple[int, Options]] = {}
    for wanted in inputs:
        for axis, dim in enumerate(wanted.spec.shape or ()):
            if isinstance(dim, int):
                continue
            name = key(wanted.spec.name, axis, dim)
            for part in _symbols(name) if isinstance(dim, str) else []:
                chosen.setdefault(part, (2, _by_name(part) or _ANY))
            if name not in chosen and isinstance(dim, str) and _symbols(name):
                continue
            rank = _judge(wanted, axis, dim)
            chosen[name] = min(chosen.get(name, rank), rank, key=lambda pair: pair[0])
    return {name: options for name, (_, options) in chosen.items()}


def _judge(wanted: Wanted, axis: int, dim: Dim) -> tuple[int, Options]:
    """(how sure: 0 is certain, options)"""
    demanded = _demanded(wanted, axis)
    if demanded is not None:
        return 0, (demanded,)
    named = _by_name(dim) if isinstance(dim, str) else None
    if named is not None:
        return 1, _SAMPLES if named is _TOKENS and _is_time(wanted, axis) else named
    return 2, _by_role(wanted, axis)


def _by_name(name: str) -> Options | None:
    return next((options for pattern, options in _NAMES if re.search(pattern, name.lower())), None)


def _is_time(wanted: Wanted, axis: int) -> bool:
    shape = wanted.spec.shape or ()
    return wanted.role.kind is Kind.SIGNAL and axis == len(shape) - 1


def _by_role(wanted: Wanted, axis: int) -> Options:
    kind, rank = wanted.role.kind, len(wanted.spec.shape or ())
    if kind is Kind.STATE:
        return _PAST if rank == 4 and axis == 2 else _BATCH if axis == (1 if rank == 3 else 0) else _ANY
    if axis == 0 and rank > 1:
        return _BATCH
    if kind is Kind.IMAGE:
        colour = rank - 1 if wanted.role.channels_last else 1
        return _COLOURS if axis == colour and rank == 4 else _SPATIAL
    if kind is Kind.SIGNAL:
        return _SAMPLES if _is_time(wanted, axis) else _TOKENS
    if kind in (Kind.INDEX, Kind.MASK, Kind.POSITION):
        return _TOKENS
    if kind is Kind.OPERAND:
        return (1, 2, 4)
    return _ANY


# ---- what the weights demand -----------------------------------------------------------------------


def _demanded(wanted: Wanted, axis: int) -> int | None:
    """The size that the first dense operator on this axis asks for."""
    if wanted.role.kind is Kind.FEATURES and axis == 1:
        return max(wanted.role.columns) + 1
    for use in wanted.uses:
        where = use.axes.index(axis) if use.axes is not None and axis in use.axes else None
        if where is None or use.axes is None:
            continue
        found = _asked(use, where, len(use.axes))
        if isinstance(found, int):
            return found
    return None


def _asked(use: Use, axis: int, rank: int) -> Dim:
    operator, weight = use.operator, use.operand(1)
    last = axis == rank - 1
    if operator in ("Conv", "ConvInteger") and use.index == 0 and axis == 1:
        per_group = size(weight, 1)
        return per_group * use.number("group", 1) if isinstance(per_group, int) else None
    if operator == "ConvTranspose" and use.index == 0 and axis == 1:
        return size(weight, 0)
    if operator in ("MatMul", "MatMulInteger") and use.index == 0 and last:
        return size(weight, -2)
    if operator == "Gemm" and use.index == 0 and axis == 1 - use.number("transA", 0):
        return size(weight, use.number("transB", 0))
    if operator in ("LSTM", "GRU", "RNN"):
        return _asked_by_recurrence(use, axis)
    if operator == "BatchNormalization" and use.index == 0 and axis == 1:
        return size(weight, 0)
    if operator == "LayerNormalization" and use.index == 0 and last:
        return size(weight, 0)
    return None


def _asked_by_recurrence(use: Use, axis: int) -> Dim:
    """X [steps, batch, features], W [directions, gates*hidden, features], R [directions, gates*hidden, hidden]."""
    if use.index == 0 and axis == 2:
        return size(use.operand(1), 2)
    if use.index in (5, 6) and axis in (0, 2):
        return size(use.operand(2), axis)
    return None
