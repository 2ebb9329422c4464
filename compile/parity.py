"""Proof that two runs computed the same thing: the comparison rule, and the report that says how well it held.

The rule, per output: |a - b| <= rtol * max|b| + 1e-6, where b is the reference. Integers, booleans, strings, and the
positions of NaN and of each infinity are exact. An output that does not move when the inputs move is `vacuous`:
agreement on it proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neoc.compile.contracts import dtype_name

ATOL = 1e-6
RTOL = {"fp32": 1e-4, "bf16": 5e-2}
"""relative tolerance by precision; bf16 keeps 8 bits of mantissa (2^-8 = 4e-3) and loses some more on the way"""

Outputs = Mapping[str, Any]
"""name -> array, or a list of them for a sequence"""


@dataclass(frozen=True)
class OutputReport:
    """How one output compared, over all samples: errors are the worst seen."""

    name: str
    dtype: str
    ok: bool
    max_abs_error: float
    scale: float
    """max|b| over the finite values of the sample with the worst error"""
    rtol: float
    why: str = ""
    moved: bool = True
    """False: vacuous, the reference's own output did not move when the inputs did"""
    identical: bool = False
    """whether every bit of every sample was the reference's"""

    @property
    def exact(self) -> bool:
        """Whether no tolerance applies: integers, booleans and strings."""
        return self.dtype.startswith(("int", "uint", "bool", "string"))

    @property
    def floating(self) -> bool:
        """Whether the tolerance applies; a sequence or map of floats counts by its worst item's dtype."""
        return self.dtype.startswith(("float", "bfloat", "complex"))

    @property
    def relative(self) -> float:
        """max_abs_error / scale, the figure that people quote; 0 where both are 0."""
        if self.max_abs_error == 0:
            return 0.0
        return self.max_abs_error / self.scale if self.scale else float("inf")

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype,
            "ok": self.ok,
            "max_abs_error": _short(self.max_abs_error),
            "scale": _short(self.scale),
            "relative": _short(self.relative),
            "rtol": self.rtol,
            "why": self.why,
            "vacuous": not self.moved,
            "identical": self.identical,
        }


def _short(value: float) -> float | str:
    """Two digits: enough to judge by, few enough to be equal from run to run. Infinity is no JSON number."""
    return float(f"{value:.1e}") if np.isfinite(value) else str(value)


def tolerance(precision: str, asked: float | None) -> float:
    """The user's tolerance where one was given, else the precision's."""
    return RTOL[precision] if asked is None else asked


def compare(name: str, got: Any, want: Any, rtol: float) -> OutputReport:
    """One output against its reference. Never raises: what cannot be compared is not ok, with the reason."""
    if isinstance(want, Mapping) or isinstance(got, Mapping):
        return _compare_maps(name, got, want, rtol)
    if isinstance(want, list) or isinstance(got, list):
        return _compare_sequences(name, got, want, rtol)
    if want is None or got is None:
        ok = want is None and got is None
        error = 0.0 if ok else float("inf")
        return OutputReport(name, "optional", ok, error, 0.0, rtol, "" if ok else "one of the two is empty")
    want, got = np.asarray(want), np.asarray(got)
    dtype = dtype_name(want.dtype)

    def refuse(why: str, error: float = float("inf")) -> OutputReport:
        return OutputReport(name, dtype, False, error, 0.0, rtol, why)

    if dtype_name(got.dtype) != dtype:
        return refuse(f"dtype is {dtype_name(got.dtype)}, not {dtype}")
    if got.shape != want.shape:
        return refuse(f"shape is {got.shape}, not {want.shape}")
    if dtype == "string" or np.issubdtype(want.dtype, np.integer) or want.dtype.kind == "b":
        report = _compare_exact(name, dtype, got, want, rtol)
        return replace(report, identical=report.ok)
    report = _compare_floats(name, dtype, got, want, max(rtol, _resolution(want.dtype)))
    return replace(report, identical=report.ok and got.tobytes() == want.tobytes())


def _resolution(dtype: np.dtype[Any]) -> float:
    """What the dtype itself can tell apart, four units in the last place; matters for fp16, bf16 and fp8."""
    if dtype.type.__module__ == "numpy":
        return 4 * float(np.finfo(dtype).eps)
    import ml_dtypes

    try:
        return 4 * float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    except ValueError:  # int4, uint2 and their like: exact
        return 0.0


def _compare_exact(name: str, dtype: str, got: Any, want: Any, rtol: float) -> OutputReport:
    wrong = int(np.count_nonzero(got != want))
    why = f"{wrong} of {want.size} values differ; integers, labels and strings are exact" if wrong else ""
    error = 0.0
    if wrong and dtype != "string":
        error = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64))))
    scale = float(np.max(np.abs(want.astype(np.float64)), initial=0.0)) if dtype != "string" else 0.0
    return OutputReport(name, dtype, not wrong, error, scale, rtol, why)


def _compare_floats(name: str, dtype: str, got: Any, want: Any, rtol: float) -> OutputReport:
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    a, b = got.astype(wide), want.astype(wide)
    finite = np.isfinite(b)
    for what, odd in (("NaN", np.isnan), ("Inf", np.isinf)):
        if not np.array_equal(odd(a), odd(b)):
            why = f"{what} stands at other positions ({int(odd(a).sum())}, reference {int(odd(b).sum())})"
            return OutputReport(name, dtype, False, float("inf"), 0.0, rtol, why)
    infinite = np.isinf(b)
    if not np.array_equal(a[infinite], b[infinite]):
        why = "infinities of the other sign"
        return OutputReport(name, dtype, False, float("inf"), 0.0, rtol, why)
    error = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))
    scale = float(np.max(np.abs(b[finite]), initial=0.0))
    ok = error <= rtol * scale + ATOL
    why = "" if ok else f"off by {error:.3g} where {rtol * scale + ATOL:.3g} is allowed"
    return OutputReport(name, dtype, ok, error, scale, rtol, why)


def _compare_sequences(name: str, got: Any, want: Any, rtol: float) -> OutputReport:
    if not (isinstance(want, list) and isinstance(got, list) and len(got) == len(want)):
        sizes = [len(x) if isinstance(x, list) else "no sequence" for x in (got, want)]
        return OutputReport(name, "sequence", False, float("inf"), 0.0, rtol, f"{sizes[0]} items, not {sizes[1]}")
    parts = [compare(name, a, b, rtol) for a, b in zip(got, want, strict=True)]
    if not parts:
        return OutputReport(name, "sequence", True, 0.0, 0.0, rtol)
    return worst(parts)


def _compare_maps(name: str, got: Any, want: Any, rtol: float) -> OutputReport:
    """Maps, as ZipMap gives them: the same keys, each value by the rule of its dtype."""
    if not (isinstance(got, Mapping) and isinstance(want, Mapping) and got.keys() == want.keys()):
        return OutputReport(name, "map", False, float("inf"), 0.0, rtol, "the keys differ")
    parts = [compare(name, np.asarray(got[key]), np.asarray(value), rtol) for key, value in want.items()]
    return worst(parts) if parts else OutputReport(name, "map", True, 0.0, 0.0, rtol)


def worst(reports: Sequence[OutputReport]) -> OutputReport:
    """Of one output's reports over samples: the first failure, else the largest relative error."""
    failed = [r for r in reports if not r.ok]
    found = failed[0] if failed else max(reports, key=lambda r: r.relative)
    return replace(found, identical=all(r.identical for r in reports))


def compare_all(
    got: Sequence[Outputs], want: Sequence[Outputs], rtol: float, moved: Mapping[str, bool]
) -> tuple[OutputReport, ...]:
    """Every output over every sample, worst case each; `moved` as `movement` gave it."""
    return tuple(
        replace(
            worst([compare(name, g.get(name), w[name], rtol) for g, w in zip(got, want, strict=True)]),
            moved=moved[name],
        )
        for name in want[0]
    )


def movement(samples: Sequence[Outputs], rtol: float) -> dict[str, bool]:
    """Which outputs differ between any two samples by more than the tolerance that parity allows."""
    first = samples[0]
    return {name: any(not compare(name, other[name], first[name], rtol).ok for other in samples[1:]) for name in first}
