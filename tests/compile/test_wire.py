"""Framing: what goes in comes out, and bytes that are no message end in one kind of error."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neoc.compile import wire
from neoc.compile.wire import Message, WireError

DTYPES = [*sorted(wire._NUMPY_DTYPES), "bfloat16", "float8_e4m3fn", "int4", "uint2"]


def round_trip(value: object) -> object:
    return wire.from_bytes(wire.to_bytes(Message("k", {}, {"v": value}))).values["v"]


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        if not (isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape):
            return False
        return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b or (a != a and b != b)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)])
def test_every_dtype_and_shape_survives(name: str, shape: tuple[int, ...]) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    back = round_trip(array)
    assert same(array, back)
    assert back.flags.c_contiguous
    assert back.flags.writeable
    assert not back.size or back.ctypes.data % wire.ALIGNMENT == 0


def test_layouts_that_are_not_contiguous_or_not_native_keep_their_values() -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for array in (base.T, base[::2, ::-1], base.astype(">f4"), np.broadcast_to(base[0], (3, 6))):
        back = round_trip(array)
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, array)


def test_contiguous_arrays_are_sent_without_a_copy() -> None:
    array = np.zeros(1 << 16, np.float32)
    payload = wire.encode(Message("k", {}, {"v": array}))[1]
    assert np.shares_memory(np.frombuffer(payload, np.uint8), array)


def test_strings_of_every_kind_arrive_as_text() -> None:
    expected = np.array([["é", ""], ["a\x00b", "\ud800"]], dtype=object)
    assert same(expected, round_trip(expected))
    assert same(np.array(["ab", "c"], dtype=object), round_trip(np.array(["ab", "c"])))
    assert same(np.array(["é"], dtype=object), round_trip(np.array(["é".encode()], dtype=object)))


def test_sequences_maps_and_empty_optionals_survive() -> None:
    value = [
        None,
        [np.array([1, 2], np.int64), np.zeros((2, 0), np.float32)],
        {1: 0.5, 7: float("inf")},
        {"label": np.array(3.5)},
        True,
        "text",
    ]
    assert same(value, round_trip(value))
    assert math.isnan(round_trip(float("nan")))


def test_the_body_and_its_kind_survive_in_order() -> None:
    message = Message("run", {"b": [1, {"x": None}], "a": "é"}, {"z": np.int8(1), "a": np.float32(2)})
    back = wire.from_bytes(wire.to_bytes(message))
    assert (back.kind, back.body) == ("run", message.body)
    assert list(back.values) == ["z", "a"]
    assert back.values["z"].shape == ()


@pytest.mark.parametrize(
    "value",
    [object(), np.array([1, None], dtype=object), np.zeros(2, "f4,i4"), np.zeros(1, "M8[s]"), b"raw", {1}],
)
def test_what_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(WireError):
        wire.encode(Message("k", {}, {"v": value}))


def frame(specs: object, payload: bytes = b"") -> bytes:
    head = json.dumps({"kind": "k", "body": {}, "values": specs}).encode()
    return wire._PREFIX.pack(b"neoc", len(head), len(payload)) + head + payload


@pytest.mark.parametrize(
    ("specs", "payload"),
    [
        # Raw bytes must never become object pointers, nor fields.
        ({"v": {"array": "object", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "O", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "void64", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "f4,f4", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "finfo", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "__doc__", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "float32", "shape": [3]}}, bytes(8)),
        ({"v": {"array": "float32", "shape": [1]}}, bytes(8)),
        ({"v": {"array": "float32", "shape": [-1]}}, bytes(8)),
        ({"v": {"array": "float32", "shape": [True, 2]}}, bytes(8)),
        ({"v": {"array": "float32", "shape": [10**30]}}, bytes(8)),
        ({"v": {"array": "float32", "shape": [0, 10**30]}}, b""),
        ({"v": {"strings": 10**15, "shape": [1]}}, b"[]"),
        ({"v": {"strings": 4, "shape": [10**15]}}, b'["a"'),
        ({"v": {"strings": 5, "shape": [2]}}, b'["a"]'),
        ({"v": {"strings": 3, "shape": [1]}}, b"[1]"),
        ({"v": {"map": [[{"list": []}, {"plain": 1}]]}}, b""),
        ({"v": {"unknown": 1}}, b""),
        ({"v": 3}, b""),
        ([1], b""),
        ({}, b"unclaimed"),
    ],
)
def test_hostile_headers_are_refused(specs: object, payload: bytes) -> None:
    with pytest.raises(WireError):
        wire.from_bytes(frame(specs, payload))


def test_deep_nesting_is_refused_not_a_crash() -> None:
    head = b'{"kind":"k","body":{},"values":{"v":' + b'{"list":[' * 50_000 + b"]}" * 50_000 + b"}}"
    with pytest.raises(WireError):
        wire.from_bytes(wire._PREFIX.pack(b"neoc", len(head), 0) + head)


def test_a_cut_message_is_the_end_of_the_stream_at_every_length() -> None:
    whole = wire.to_bytes(Message("k", {"a": 1}, {"v": np.arange(3), "s": np.array(["x"], dtype=object)}))
    for cut in range(len(whole)):
        with pytest.raises(EOFError):
            wire.from_bytes(whole[:cut])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_never_raise_anything_else(data: bytes, framed: bool) -> None:
    data = wire._PREFIX.pack(b"neoc", min(len(data), 60), max(len(data) - 60, 0)) + data if framed else data
    with pytest.raises((WireError, EOFError)):
        wire.from_bytes(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_byte_gives_a_message_or_a_wire_error(data: st.DataObject) -> None:
    values = {"v": np.arange(4, dtype=np.int16), "s": np.array(["a", "b"], dtype=object), "n": [None]}
    whole = bytearray(wire.to_bytes(Message("run", {"a": [1, 2]}, values)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    try:
        message = wire.from_bytes(bytes(whole))
    except (WireError, EOFError):
        return
    assert isinstance(message.kind, str)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(),
    hnp.arrays(
        hnp.scalar_dtypes().filter(lambda d: d.name in wire._NUMPY_DTYPES and d.isnative),
        hnp.array_shapes(min_dims=0, min_side=0),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)))
def test_any_tree_of_values_survives(value: object) -> None:
    assert same(value, round_trip(value))
