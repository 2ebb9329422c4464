"""Ragged token sequences to rectangular arrays: padding, masks, bucketing by length, packing.

Tokenising is not here: the `tokenizers` library does it well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit, memory
from neoc.kernels.errors import KernelInputError, KernelOptionError

Ragged = Sequence[NDArray[Any]] | Sequence[Sequence[int]]

_POINTER = {"int32": "i32", "int64": "i64", "float32": "f32"}


def _make_collate(pointer: str) -> jit.Kernel:
    @jit.kernel(
        f"{pointer}*",
        "i64*",
        f"{pointer}*",
        "i64*",
        "i64",
        "i64",
        f"{pointer}*",
        "i64",
        name=f"collate_{pointer}",
    )
    def collate_rows(flat: Any, lengths: Any, ids: Any, mask: Any, rows: int, width: int, pad: Any, left: int) -> None:
        start = 0
        fill = pad[0]
        for r in range(rows):
            n = min(lengths[r], width)
            base = r * width
            shift = (width - n) * left
            for i in range(base, base + shift):
                ids[i] = fill
                mask[i] = 0
            for i in range(n):
                ids[base + shift + i] = flat[start + i]
                mask[base + shift + i] = 1
            for i in range(base + shift + n, base + width):
                ids[i] = fill
                mask[i] = 0
            start += lengths[r]

    return collate_rows


_COLLATE = {np.dtype(name): _make_collate(pointer) for name, pointer in _POINTER.items()}
"""by dtype in the machine's byte order: to ask a dtype for its name takes longer than to look it up"""


def collate(
    sequences: Ragged,
    pad_value: float = 0,
    multiple_of: int = 1,
    *,
    max_length: int | None = None,
    side: str = "right",
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Rows padded to one length, and the mask of real elements: (ids [n, width], mask int64 [n, width]).

    sequences: 1-D arrays (int32, int64 or float32; mixed ones as numpy promotes them), or sequences of Python ints
    (int64). The width is the
    longest length, cut to `max_length` (ends are dropped), rounded up to `multiple_of`. side: where padding goes.
    Raises KernelInputError for other dtypes or ranks, KernelOptionError for options.
    """
    if multiple_of < 1 or (max_length is not None and max_length < 1) or side not in ("left", "right"):
        raise KernelOptionError(
            "collate cannot use these options", why=f"multiple_of={multiple_of}, max_length={max_length}, side={side!r}"
        )
    flat, lengths = _flatten(sequences)
    longest = int(lengths.max(initial=0))
    if max_length is not None:
        longest = min(longest, max_length)
    width = -(-longest // multiple_of) * multiple_of
    # Rows that fill up the last multiple are padding, never elements beyond max_length.
    if max_length is not None and width > longest:
        lengths_used, flat = _truncate(flat, lengths, longest)
    else:
        lengths_used = lengths
    ids = memory.empty((len(lengths), width), flat.dtype)
    mask = memory.empty((len(lengths), width), np.int64)
    if ids.size:
        pad = np.array([pad_value]).astype(flat.dtype)
        if pad[0] != pad_value and not (pad_value != pad_value and flat.dtype.kind == "f"):
            raise KernelOptionError("pad_value does not fit the dtype", why=f"{pad_value} in {flat.dtype}")
        kernel = _COLLATE[flat.dtype]
        kernel(flat, lengths_used, ids, mask, len(lengths), width, pad, int(side == "left"))
    return ids, mask


def _flatten(sequences: Ragged) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(all elements in a row, length of each sequence)."""
    count = len(sequences)
    try:
        lengths = np.fromiter(map(len, sequences), np.int64, count)
    except TypeError as error:
        raise KernelInputError("a sequence has no length", where="sequences", why=str(error)) from error
    if count == 0:
        return np.empty(0, np.int64), lengths
    if isinstance(sequences[0], np.ndarray):
        joined = _joined(sequences, sequences[0].dtype)
        return (_concatenate(sequences) if joined is None else joined), lengths
    try:
        flat = np.fromiter(chain.from_iterable(sequences), np.int64, int(lengths.sum()))
    except (TypeError, ValueError, OverflowError) as error:
        raise KernelInputError(
            "a sequence is neither a 1-D array nor a list of ints", where="sequences", why=str(error)
        ) from error
    return flat, lengths


def _joined(sequences: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Contiguous 1-D arrays of one dtype in a row, in less than half of np.concatenate's time; None for others."""
    count = len(sequences)
    try:
        same = list(map(_DTYPE, sequences)).count(dtype) == count == list(map(_NDIM, sequences)).count(1)
        return np.frombuffer(b"".join(sequences), dtype) if same and dtype in _COLLATE else None
    except (AttributeError, TypeError, ValueError, BufferError):
        return None


_DTYPE, _NDIM = attrgetter("dtype"), attrgetter("ndim")


def _concatenate(sequences: Sequence[Any]) -> NDArray[Any]:
    try:
        flat = np.concatenate(sequences)
    except (TypeError, ValueError) as error:
        raise KernelInputError("sequences must be 1-D arrays", where="sequences", why=str(error)) from error
    if flat.ndim != 1 or flat.dtype not in _COLLATE:
        raise KernelInputError(
            "sequences must be 1-D arrays of a dtype that collate knows",
            where="sequences",
            why=f"together they are {flat.ndim}-D {flat.dtype}",
            fix=f"give {', '.join(_POINTER)}",
        )
    return flat


def _truncate(flat: NDArray[Any], lengths: NDArray[np.int64], longest: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    kept = np.minimum(lengths, longest)
    if np.array_equal(kept, lengths):
        return lengths, flat
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return kept, np.concatenate([flat[s : s + n] for s, n in zip(starts, kept, strict=True)])


def bucket(lengths: Sequence[int] | NDArray[np.int64], boundaries: Sequence[int]) -> list[NDArray[np.int64]]:
    """Indices grouped by length: group k holds boundaries[k-1] < length <= boundaries[k], in their order.

    Returns len(boundaries) arrays. Raises KernelInputError where a length is beyond the last boundary.
    """
    limits = np.asarray(boundaries, np.int64)
    if limits.ndim != 1 or not limits.size or np.any(np.diff(limits) <= 0):
        raise KernelOptionError("boundaries must rise", where="boundaries", why=str(boundaries))
    given = np.asarray(lengths, np.int64)
    if given.size and given.max() > limits[-1]:
        raise KernelInputError("a sequence is longer than the last bucket", why=f"{given.max()} > {limits[-1]}")
    place = np.searchsorted(limits, given)
    return [np.flatnonzero(place == k) for k in range(len(limits))]


@dataclass(frozen=True)
class Packed:
    """Several sequences a row. segment: 1, 2, ... in a row, 0 is padding; position restarts in each segment.

    ids, segment, position: [rows, length]; `where[i]` is (row, offset) of sequence i.
    """

    ids: NDArray[Any]
    segment: NDArray[np.int32]
    position: NDArray[np.int32]
    where: NDArray[np.int64]


def pack(sequences: Ragged, length: int, pad_value: float = 0) -> Packed:
    """Fill rows of `length` with whole sequences, longest first, each into the first row with room.

    This is first-fit decreasing.

    Raises KernelInputError where a sequence is longer than a row.
    """
    flat, lengths = _flatten(sequences)
    if length < 1:
        raise KernelOptionError("a row must have room", where="length", why=str(length))
    if lengths.max(initial=0) > length:
        raise KernelInputError("a sequence is longer than a row", where="length", why=f"{lengths.max()} > {length}")
    where = np.zeros((len(lengths), 2), np.int64)
    used: list[int] = []
    for i in np.argsort(-lengths, kind="stable"):
        n = int(lengths[i])
        row = next((r for r, u in enumerate(used) if u + n <= length), len(used))
        if row == len(used):
            used.append(0)
        where[i] = row, used[row]
        used[row] += n
    ids = np.full((len(used), length), pad_value, flat.dtype)
    segment = np.zeros(ids.shape, np.int32)
    position = np.zeros(ids.shape, np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for i in np.lexsort((where[:, 1], where[:, 0])):
        row, at = where[i]
        n = lengths[i]
        if n:
            ids[row, at : at + n] = flat[starts[i] : starts[i] + n]
            segment[row, at : at + n] = segment[row].max() + 1
            position[row, at : at + n] = np.arange(n)
    return Packed(ids, segment, position, where)
