"""Collate, bucket and pack against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.kernels import memory, sequence
from neoc.kernels.errors import KernelInputError, KernelOptionError

ragged = st.lists(st.lists(st.integers(-5, 2**31), max_size=20), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    ragged,
    st.integers(1, 16),
    st.integers(-9, 9),
    st.sampled_from(["left", "right"]),
    st.none() | st.integers(1, 12),
    st.booleans(),
)
def test_collate(rows: list[list[int]], multiple: int, pad: int, side: str, most: int | None, as_arrays: bool) -> None:
    given_rows = [np.array(r, np.int64) for r in rows] if as_arrays else rows
    ids, mask = sequence.collate(given_rows, pad, multiple, max_length=most, side=side)
    cut = [r[:most] for r in rows]
    longest = max(map(len, cut), default=0)
    width = -(-longest // multiple) * multiple
    assert ids.shape == mask.shape == (len(rows), width)
    for i, row in enumerate(cut):
        fill = [pad] * (width - len(row))
        ones = [0] * (width - len(row))
        assert ids[i].tolist() == (fill + row if side == "left" else row + fill)
        assert mask[i].tolist() == (ones + [1] * len(row) if side == "left" else [1] * len(row) + ones)


def test_collate_floats_and_int32_keep_their_dtype() -> None:
    for dtype, pad in ((np.float32, np.nan), (np.int32, -100)):
        ids, mask = sequence.collate([np.ones(3, dtype), np.ones(1, dtype)], pad)
        assert ids.dtype == dtype
        assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
        assert np.isnan(ids[1, 1]) if dtype is np.float32 else ids[1, 1] == -100


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: sequence.collate([np.zeros((2, 2), np.int64)]), KernelInputError),
        (lambda: sequence.collate([np.zeros(2, np.float64)]), KernelInputError),
        (lambda: sequence.collate([3, 4]), KernelInputError),
        (lambda: sequence.collate([["a"]]), KernelInputError),
        (lambda: sequence.collate([[2**70]]), KernelInputError),
        (lambda: sequence.collate([[1]], multiple_of=0), KernelOptionError),
        (lambda: sequence.collate([[1]], pad_value=0.5), KernelOptionError),
        (lambda: sequence.collate([[1]], side="top"), KernelOptionError),
        (lambda: sequence.bucket([5], [2, 4]), KernelInputError),
        (lambda: sequence.bucket([5], [4, 2]), KernelOptionError),
        (lambda: sequence.pack([[1, 2, 3]], 2), KernelInputError),
    ],
)
def test_bad_input_is_a_typed_error(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error):
        call()


@given(st.lists(st.integers(0, 100), max_size=50))
def test_buckets_hold_each_index_once_in_order(lengths: list[int]) -> None:
    groups = sequence.bucket(lengths, [10, 50, 100])
    assert sorted(i for g in groups for i in g.tolist()) == list(range(len(lengths)))
    for low, high, group in zip((-1, 10, 50), (10, 50, 100), groups, strict=True):
        assert all(low < lengths[i] <= high for i in group)
        assert group.tolist() == sorted(group.tolist())


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=20))
def test_pack_keeps_every_sequence_whole(rows: list[list[int]]) -> None:
    packed = sequence.pack(rows, 8, pad_value=-1)
    for row, (r, at) in zip(rows, packed.where, strict=True):
        n = len(row)
        assert packed.ids[r, at : at + n].tolist() == row
        assert packed.position[r, at : at + n].tolist() == list(range(n))
        assert len(set(packed.segment[r, at : at + n].tolist())) <= 1
    assert (packed.segment > 0).sum() == sum(map(len, rows))
    assert (packed.ids[packed.segment == 0] == -1).all()
    total = sum(map(len, rows))
    assert len(packed.ids) <= max(1, 2 * -(-total // 8))  # first-fit decreasing wastes less than half


def test_memory_is_reused_only_when_nothing_of_it_is_left() -> None:
    memory.release()
    first = memory.empty((300, 1000), np.float32)
    place = first.ctypes.data
    view = first[3:5]
    del first
    second = memory.empty((300, 1000), np.float32)
    assert second.ctypes.data != place
    del view
    third = memory.empty((300, 1000), np.float32)
    assert third.ctypes.data == place
    assert place % 64 == 0


@pytest.mark.parametrize(
    "rows",
    [
        [np.arange(9)[::2], np.arange(3)],
        [np.arange(4), np.arange(3, dtype=np.int32)],
        [np.arange(4), np.arange(3, dtype=np.float32)],
        [np.arange(4), [7, 8]],
        [np.arange(3, dtype=">i8"), np.arange(2, dtype=">i8")],
        [np.zeros(0, np.int64), np.arange(2)],
        [np.arange(4), np.arange(4).view(np.ma.MaskedArray)],
    ],
    ids=["strided", "mixed widths", "mixed kinds", "with a list", "big-endian", "empty", "a subclass"],
)
def test_rows_of_every_layout_are_joined_alike(rows: list[Any]) -> None:
    try:
        want = np.concatenate(rows)
        kind = want.dtype.newbyteorder("=")
        ids, mask = sequence.collate(rows)
    except KernelInputError:
        assert str(want.dtype) not in ("int32", "int64", "float32")
        return
    np.testing.assert_array_equal(ids[mask == 1], want.astype(kind))


@pytest.mark.parametrize("rows", [[np.zeros((3, 1), np.int64)] * 2, [np.int64(3), np.arange(2)], [np.arange(2), "ab"]])
def test_rows_that_are_none_are_typed_errors(rows: list[Any]) -> None:
    with pytest.raises(KernelInputError):
        sequence.collate(rows)
