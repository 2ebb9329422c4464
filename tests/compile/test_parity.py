"""The comparison rule, its edges, and the check that an output moves at all."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neoc.compile import parity

FLOATS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=5), elements=st.floats(-1e3, 1e3, width=32))


@given(FLOATS, st.floats(1e-5, 1e-2))
def test_the_bound_is_relative_to_the_largest_value(want: np.ndarray, rtol: float) -> None:
    allowed = rtol * float(np.max(np.abs(want.astype(np.float64)))) + parity.ATOL
    wide = want.astype(np.float64)
    inside, outside = wide.copy(), wide.copy()
    inside.flat[0] += 0.99 * allowed
    outside.flat[0] += 1.01 * allowed
    assert parity.compare("y", inside, wide, rtol).ok
    report = parity.compare("y", outside, wide, rtol)
    assert not report.ok
    assert report.max_abs_error == pytest.approx(1.01 * allowed, rel=1e-6)


def test_a_small_value_beside_a_large_one_is_judged_by_the_large_one() -> None:
    want = np.array([1000.0, 0.0], np.float32)
    assert parity.compare("y", np.array([1000.0, 0.05], np.float32), want, 1e-4).ok
    assert not parity.compare("y", np.array([1000.0, 0.2], np.float32), want, 1e-4).ok


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_odd_values_must_stand_at_the_same_places(odd: float) -> None:
    want = np.array([1.0, odd, 3.0], np.float32)
    assert parity.compare("y", want.copy(), want, 1e-4).ok
    assert not parity.compare("y", np.array([odd, 1.0, 3.0], np.float32), want, 1e-4).ok
    assert not parity.compare("y", np.array([1.0, 2.0, 3.0], np.float32), want, 1e-4).ok
    assert not parity.compare("y", want, np.array([1.0, 2.0, 3.0], np.float32), 1e-4).ok


def test_infinities_keep_their_sign() -> None:
    assert not parity.compare("y", np.array([-np.inf], np.float32), np.array([np.inf], np.float32), 1e-4).ok


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
def test_integers_are_exact(dtype: str) -> None:
    want = np.array([0, 1, 0, 1]).astype(dtype)
    got = want.copy()
    assert parity.compare("y", got, want, 1e-1).ok
    got[2] = 1
    report = parity.compare("y", got, want, 1e-1)
    assert not report.ok
    assert "1 of 4 values differ" in report.why


def test_strings_are_exact() -> None:
    want = np.array(["cat", "dog"], dtype=object)
    assert parity.compare("label", np.array(["cat", "dog"]), want, 1e-4).ok
    assert not parity.compare("label", np.array(["cat", "cow"]), want, 1e-4).ok


def test_dtype_and_shape_must_match() -> None:
    want = np.zeros((2, 3), np.float32)
    assert "dtype" in parity.compare("y", np.zeros((2, 3)), want, 1e-4).why
    assert "shape" in parity.compare("y", np.zeros((3, 2), np.float32), want, 1e-4).why


def test_half_precision_outputs_are_allowed_their_own_resolution() -> None:
    want = np.array([1.0, 2.0], ml_dtypes.bfloat16)
    one_ulp = np.array([1.0, 2.015625], ml_dtypes.bfloat16)
    assert parity.compare("y", one_ulp, want, 1e-4).ok
    assert not parity.compare("y", np.array([1.0, 2.25], ml_dtypes.bfloat16), want, 1e-4).ok


def test_sequences_compare_item_by_item() -> None:
    want = [np.zeros(2, np.float32), np.ones(3, np.float32)]
    assert parity.compare("s", [w.copy() for w in want], want, 1e-4).ok
    assert not parity.compare("s", want[:1], want, 1e-4).ok
    assert not parity.compare("s", [want[0], want[1] * 2], want, 1e-4).ok
    assert not parity.compare("s", want[0], want, 1e-4).ok


def test_maps_compare_value_by_value() -> None:
    want = [{"a": 0.1, "b": 0.9}]
    assert parity.compare("m", [{"a": 0.1 + 1e-9, "b": 0.9}], want, 1e-4).ok
    assert not parity.compare("m", [{"a": 0.2, "b": 0.9}], want, 1e-4).ok
    assert not parity.compare("m", [{"a": 0.1}], want, 1e-4).ok


def test_the_worst_sample_is_reported() -> None:
    want = [{"y": np.array([1.0], np.float32)}] * 2
    got = [{"y": np.array([1.00001], np.float32)}, {"y": np.array([1.5], np.float32)}]
    (report,) = parity.compare_all(got, want, 1e-4, {"y": True})
    assert not report.ok
    assert report.max_abs_error == pytest.approx(0.5)


def test_an_output_that_stands_still_is_vacuous() -> None:
    samples = [
        {"alive": np.array([0.1], np.float32), "dead": np.array([1e-9], np.float32)},
        {"alive": np.array([0.9], np.float32), "dead": np.array([2e-9], np.float32)},
    ]
    assert parity.movement(samples, 1e-4) == {"alive": True, "dead": False}


def test_a_missing_output_fails() -> None:
    (report,) = parity.compare_all([{}], [{"y": np.zeros(1, np.float32)}], 1e-4, {"y": True})
    assert not report.ok


def test_the_report_is_json_able_even_when_nothing_can_be_measured() -> None:
    import json

    report = parity.compare("y", np.zeros(2, np.float32), np.zeros(3, np.float32), 1e-4)
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["max_abs_error"] == "inf"


def test_identical_means_every_bit_of_every_sample() -> None:
    one = {"x": np.array([1.0, -0.0, np.nan], np.float32)}
    near = {"x": np.array([1.0, 0.0, np.nan], np.float32)}
    labels = {"x": np.array([1, 2])}
    assert parity.compare_all([one], [one], 1e-4, {"x": True})[0].as_dict()["identical"]
    assert parity.compare_all([labels], [labels], 1e-4, {"x": True})[0].identical
    (mixed,) = parity.compare_all([one, near], [one, one], 1e-4, {"x": True})
    assert mixed.ok
    assert not mixed.identical
