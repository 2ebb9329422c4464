"""Padding feeds, cutting outputs, and the arithmetic of sizes that a manifest may carry."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.padding import Padding, evaluate

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("b", "t", 2)), TensorSpec("m", "bool", ("b", "t")), TensorSpec("k", "int64", ())),
    (TensorSpec("y", "float32", ("b", "t")),),
)
PADDING = Padding({"b": 1, "t": 1}, {"x": -3.0}, {"y": {0: "b", 1: "t"}, "z": {1: "2*t + 1"}})


def feeds(b: int, t: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(b * 100 + t)
    return {
        "x": random.standard_normal((b, t, 2)).astype(np.float32),
        "m": np.ones((b, t), bool),
        "k": np.array(7),
    }


def test_feeds_are_padded_at_the_end_of_each_bucketed_axis() -> None:
    given = feeds(2, 3)
    assert PADDING.sizes(SIGNATURE, given) == {"b": 2, "t": 3}
    made = PADDING.pad(SIGNATURE, given, {"b": 4, "t": 5})
    assert {name: array.shape for name, array in made.items()} == {"x": (4, 5, 2), "m": (4, 5), "k": ()}
    np.testing.assert_array_equal(made["x"][:2, :3], given["x"])
    assert (made["x"][2:] == -3).all()
    assert (made["x"][:, 3:] == -3).all()
    assert made["m"].sum() == 6
    assert all(made[name].dtype == given[name].dtype for name in given)


def test_what_fits_is_not_copied() -> None:
    given = feeds(2, 3)
    made = PADDING.pad(SIGNATURE, given, {"b": 2, "t": 3})
    assert all(made[name] is given[name] for name in given)


def test_outputs_are_cut_to_fresh_contiguous_arrays() -> None:
    y, z = np.arange(20.0).reshape(4, 5), np.arange(22.0).reshape(2, 11)
    cut = PADDING.cut({"y": y, "z": z, "other": y}, {"b": 2, "t": 3})
    np.testing.assert_array_equal(cut["y"], y[:2, :3])
    np.testing.assert_array_equal(cut["z"], z[:, :7])
    assert cut["y"].flags.c_contiguous
    assert not np.shares_memory(cut["y"], y)
    assert cut["other"] is y


def test_strings_are_padded_with_empty_ones() -> None:
    signature = Signature((TensorSpec("s", "string", ("t",)),), ())
    made = Padding({"t": 1}).pad(signature, {"s": np.array(["a", "b"], object)}, {"t": 3})
    assert list(made["s"]) == ["a", "b", ""]


def test_padding_survives_the_manifest() -> None:
    assert Padding.from_dict(PADDING.as_dict()) == PADDING


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("t", 9),
        ("2*t + 1", 19),
        ("t//2", 4),
        ("floor(t/2) + 1", 5),
        ("ceiling(t/2)", 5),
        ("max(t, 12)", 12),
        ("-t + 20", 11),
    ],
)
def test_sizes_are_reckoned(text: str, value: int) -> None:
    assert evaluate(text, {"t": 9}) == value


def test_a_name_that_looks_like_arithmetic_is_a_name() -> None:
    assert evaluate("batch-size", {"batch-size": 3}) == 3


@pytest.mark.parametrize(
    "text",
    [
        "u",
        "t.real",
        "t**9",
        "__import__('os')",
        "t/2",
        "t - 10",
        "(lambda: 1)()",
        "t/0",
        "[t]",
        "'a'",
        "",
        "1" * 600,
        "max()",
    ],
)
def test_nothing_but_arithmetic_is_a_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no size|which is no size"):
        evaluate(text, {"t": 9})
    with pytest.raises(ValueError, match=r"is no size|which is no size"):
        Padding.from_dict({"least": {"t": 9}, "values": {}, "cuts": {"y": {"0": text}}})


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_refusal(text: str) -> None:
    with suppress(ValueError):
        assert evaluate(text, {"t": 9}) >= 0
