"""Which candidate is shipped: an interleaved race where the chip is here, the order of preference elsewhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.build import Candidate, Workshop
from neoc.compile.contracts import Numerics, Plan, Target
from neoc.compile.errors import UsageError
from neoc.compile.measure import interleave, ratio
from neoc.compile.options import CompileOptions
from neoc.compile.parity import OutputReport
from neoc.compile.plan import EngineView
from neoc.compile.race import race as run_race
from neoc.compile.reference import Reference
from neoc.compile.verify import Verified, numerics_of

REPORT_SECONDS = 2.0
"""the figures reported are measured anew after the race, for this long"""
RIVALS = 3


@dataclass(frozen=True)
class Chosen:
    """The decision and what it rests on."""

    candidate: Candidate
    by: str
    """'race' or 'preference'"""
    numerics: Numerics
    why_not_further: str
    reports: tuple[OutputReport, ...] = ()
    judged_by: str = ""
    reference: Reference | None = None
    corroborated_by: tuple[str, ...] = ()
    """other engines whose candidates passed the same check"""
    race: dict[str, Any] | None = None
    reported: dict[str, Any] | None = None


def tiers(seen: Sequence[EngineView], options: CompileOptions) -> Iterator[list[Plan]]:
    """Plans to try together: the compiled engines first, then those of last resort. A replayed decision is alone."""
    if options.decision is not None:
        yield _decided(seen, options.decision)
        return
    for fallback in (False, True):
        plans = [plan for view in seen if view.fallback is fallback for plan in view.plans]
        if plans:
            yield plans


def _decided(seen: Sequence[EngineView], path: Path) -> list[Plan]:
    wanted = read_decision(path)["plan"]
    plans = [plan for view in seen for plan in view.plans]
    for plan in plans:
        if plan.id == wanted:
            return [plan]
    raise UsageError(
        f"the decision names {wanted}, which cannot be built here",
        where=str(path),
        why=f"on offer: {', '.join(plan.id for plan in plans)}",
        fix="install the engine that it names, or compile without --decision",
    )


def read_decision(path: Path) -> dict[str, str]:
    """{'plan', 'chosen_by'} of an artifact or of its evidence.json. Raises UsageError."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                evidence = json.loads(archive.read("evidence.json"))
        else:
            evidence = json.loads(path.read_text())
        decision = evidence["decision"]
        return {"plan": str(decision["plan"]), "chosen_by": str(decision["chosen_by"])}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(
            "the decision cannot be read",
            where=str(path),
            why=f"{type(error).__name__}: {error}",
            fix="give a .neoc file or an evidence.json that neoc wrote",
        ) from error


def preferred(shop: Workshop, candidates: Sequence[Candidate], target: Target) -> Chosen:
    """The first that was built: candidates come in the target's order of preference."""
    first = candidates[0]
    numerics, why = numerics_of(target, first)
    return Chosen(first, _chosen_by(shop, "preference"), numerics, why)


def race(shop: Workshop, verified: Sequence[Verified], reference: Reference) -> Chosen:
    """The fastest of the verified, by an interleaved race; alone, a candidate is only measured."""
    sample = reference.samples[0]
    timers = {v.id: partial(v.worker.time, sample) for v in verified}
    shop.progress("race", f"{len(verified)} candidates, at most {shop.options.race_seconds:.0f} s")
    result = None
    winner = verified[0]
    if len(verified) > 1:
        result = run_race(timers, budget_s=shop.options.race_seconds, prefer=[v.id for v in verified])
        winner = next(v for v in verified if v.id == result.winner)
    engines = {v.candidate.step.engine for v in verified}
    return Chosen(
        candidate=winner.candidate,
        by=_chosen_by(shop, "race" if result is not None else "preference"),
        numerics=Numerics.EXECUTED,
        why_not_further="",
        reports=winner.reports,
        judged_by=winner.judged_by,
        reference=reference,
        corroborated_by=tuple(sorted(engines - {winner.candidate.step.engine})),
        race=None if result is None else result.as_dict(),
        reported=_report(shop, winner, verified, sample),
    )


def _chosen_by(shop: Workshop, found: str) -> str:
    """A replayed decision keeps its word, so that the same decision gives the same digest."""
    decision = shop.options.decision
    return found if decision is None else read_decision(decision)["chosen_by"]


def _report(
    shop: Workshop, winner: Verified, verified: Sequence[Verified], sample: dict[str, np.ndarray] | Any
) -> dict[str, Any]:
    """Fresh figures of the winner and of every other engine's first variant."""
    rivals: dict[str, Verified] = {}
    for v in verified:
        if v.candidate.step.engine != winner.candidate.step.engine:
            rivals.setdefault(v.candidate.step.engine, v)
    shown = [winner, *list(rivals.values())[:RIVALS]]
    shop.progress("measure", winner.id)
    measured = interleave({v.id: partial(v.worker.time, sample) for v in shown}, budget_s=REPORT_SECONDS)
    rows = []
    for rival in shown[1:]:
        low, middle, high = ratio(measured, winner.id, rival.id)
        rows.append({"id": rival.id, "ratio": middle, "low": low, "high": high})
    times = measured[winner.id].all_ns()
    return {
        "winner": {"id": winner.id, "median_ns": float(np.median(times)), "n": int(times.size)},
        "rivals": rows,
        "seconds": REPORT_SECONDS,
    }
