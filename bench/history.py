"""Where a series of the ledger changed: Apache Otava's modified E-divisive with a t-test, deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neoc.compile.errors import MissingTool

WINDOW = 50
MAX_P = 0.001
SHORTEST = 4


@dataclass(frozen=True)
class Step:
    """The series is at another level from value `at` on. `change`: relative, positive is larger."""

    at: int
    change: float
    p: float


def missing() -> str:
    """Why change points cannot be found here; empty where they can."""
    try:
        import otava.analysis  # noqa: F401
        import scipy.stats  # noqa: F401
    except ImportError as error:
        # Otava pins one numpy for its command line; its analysis takes any.
        return f"{error}; pip install scipy && pip install --no-deps apache-otava"
    return ""


def change_points(values: Sequence[float], floor: float = 0.0) -> list[Step]:
    """Steps larger than `floor` (relative). Raises MissingTool without Otava.

    Source: Fleming et al., Hunter: Using Change Point Detection to Hunt for Performance Regressions, ICPE 2023.
    """
    reason = missing()
    if reason:
        raise MissingTool("change points cannot be found", why=reason, fix="pip install --no-deps apache-otava")
    if len(values) < SHORTEST:
        return []
    from otava.analysis import compute_change_points

    found, _ = compute_change_points([float(v) for v in values], WINDOW, MAX_P, floor)
    return [Step(int(p.index), float(p.stats.forward_rel_change()), float(p.stats.pvalue)) for p in found]
