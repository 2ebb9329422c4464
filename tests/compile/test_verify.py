"""What float64 may excuse, and what it may not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neoc.compile import parity
from neoc.compile.contracts import Numerics
from neoc.compile.verify import _errs_alike, _settle

EXACT = np.array([100.0, 200.0])


class _Answer:
    def __init__(self, outputs: dict[str, Any]) -> None:
        self.outputs = [outputs]
        self.candidate = self.worker = None
        self.numerics, self.why_not_further = Numerics.EXECUTED, ""


class _Reference:
    def __init__(self, outputs: dict[str, Any]) -> None:
        self.outputs = (outputs,)
        self.agreed = ()
        self.moved = dict.fromkeys(outputs, True)
        self.name = "the reference"


def _settled(got: Any, want: Any, exact: Any, rtol: float = 1e-4) -> bool:
    """Whether a candidate's output that departed from the reference is let through."""
    reference = _Reference({"y": want})
    answer = _Answer({} if got is None else {"y": got})
    first = parity.compare_all(answer.outputs, reference.outputs, rtol, reference.moved)
    assert not first[0].ok
    passed, failed = _settle([(answer, first)], [{"y": exact}], reference, rtol)  # type: ignore[list-item,arg-type]
    assert len(passed) + len(failed) == 1
    return bool(passed)


def _off(relative: float) -> np.ndarray:
    return (EXACT * (1 + relative)).astype(np.float32)


def test_nearer_to_float64_than_tolerance_is_right() -> None:
    assert _settled(_off(1e-6), _off(3e-4), EXACT)


def test_as_far_off_as_the_reference_itself_is_excused() -> None:
    assert _settled(_off(-4e-4), _off(3e-4), EXACT)


def test_much_farther_than_the_reference_is_wrong() -> None:
    assert not _settled(_off(-9e-4), _off(3e-4), EXACT)


def test_a_grossly_wrong_reference_excuses_nobody() -> None:
    assert not _settled(_off(-5e-2), _off(4e-2), EXACT)


@pytest.mark.parametrize(
    ("got", "want", "exact"),
    [
        (None, _off(3e-4), EXACT),
        (np.array(["a"]), np.array(["b"]), np.array(["b"])),
        (np.array([503]), np.array([500]), np.array([501])),
    ],
    ids=["missing", "strings", "integers"],
)
def test_nothing_but_floats_has_an_excuse(got: Any, want: Any, exact: Any) -> None:
    assert not _settled(got, want, exact)


def test_an_output_of_zeros_has_no_order_of_error() -> None:
    zeros = parity.compare("y", np.zeros(2, np.float32), np.zeros(2, np.float32), 1e-4)
    other = parity.compare("y", np.ones(2, np.float32), np.zeros(2, np.float32), 1e-4)
    assert not _errs_alike(other, zeros)
