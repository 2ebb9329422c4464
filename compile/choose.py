"""Which candidate is shipped: an interleaved race where the chip is here, the order of preference elsewhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neoc.compile import contests
from neoc.compile.build import Candidate, Workshop
from neoc.compile.contracts import Numerics, Plan
from neoc.compile.errors import UsageError
from neoc.compile.measure import Timed, interleave, ratio
from neoc.compile.options import CompileOptions
from neoc.compile.plan import EngineView
from neoc.compile.race import race as run_race
from neoc.compile.rewrites.spec import MARK
from neoc.compile.verify import Verified

REPORT_SECONDS = 2.0
"""the figures reported are measured anew after the race, for this long"""


@dataclass(frozen=True)
class Chosen:
    """The decision and what it rests on."""

    verified: Verified
    by: str
    """'race', 'preference', 'cold-start' or 'size'"""
    corroborated_by: tuple[str, ...] = ()
    """other engines whose candidates passed the same check"""
    race: dict[str, Any] | None = None
    reported: dict[str, Any] | None = None
    contest: dict[str, Any] | None = None
    """what decided where it was not the race: each candidate's figures"""
    portable: Verified | None = None
    """what opens where the chosen form, made for this very CPU and version, does not"""

    @property
    def candidate(self) -> Candidate:
        return self.verified.candidate


def tiers(seen: Sequence[EngineView], options: CompileOptions) -> Iterator[list[Plan]]:
    """Plans to try together: the compiled engines first, then those of last resort.

    Where a decision is replayed, only the tier that holds it: all of it, since the others bear witness to the numbers.
    """
    wanted = None if options.decision is None else read_decision(options.decision)["plan"].partition(MARK)[0]
    every = [plan for view in seen for plan in view.plans]
    if wanted is not None and wanted not in [plan.id for plan in every]:
        raise UsageError(
            f"the decision names {wanted}, which cannot be built here",
            where=str(options.decision),
            why=f"on offer: {', '.join(plan.id for plan in every)}",
            fix="install the engine that it names, or compile without --decision",
        )
    for fallback in (False, True):
        plans = [plan for view in seen if view.fallback is fallback for plan in view.plans]
        if plans and (wanted is None or wanted in [plan.id for plan in plans]):
            yield plans


def read_decision(path: Path) -> dict[str, str]:
    """{'plan', 'chosen_by', 'rewrites'} of an artifact or of its evidence.json. Raises UsageError."""
    try:
        decision = read_evidence(path)["decision"]
        rewrites = str(decision.get("rewrites", ""))
        return {"plan": str(decision["plan"]), "chosen_by": str(decision["chosen_by"]), "rewrites": rewrites}
    except (KeyError, TypeError) as error:
        raise _undecided(path, error) from error


def decided_rewrites(options: CompileOptions) -> tuple[str, str] | None:
    """(the plan on the program as it was, the rules) of a replayed decision, None without one. Raises UsageError."""
    if options.decision is None:
        return None
    told = read_decision(options.decision)
    return told["plan"].partition(MARK)[0], told["rewrites"]


def read_evidence(path: Path) -> dict[str, Any]:
    """The evidence of an artifact, or an evidence.json. Raises UsageError."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                evidence = json.loads(archive.read("evidence.json"))
        else:
            evidence = json.loads(path.read_text())
        if not isinstance(evidence, dict):
            raise TypeError("it is no JSON object")
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _undecided(path, error) from error
    return evidence


def _undecided(path: Path, error: Exception) -> UsageError:
    return UsageError(
        "the decision cannot be read",
        where=str(path),
        why=f"{type(error).__name__}: {error}",
        fix="give a .neoc file or an evidence.json that neoc wrote",
    )


def choose(shop: Workshop, verified: Sequence[Verified]) -> Chosen:
    """The fastest, by an interleaved race; where the chip is not here, the first in the target's preference.

    A replayed decision is neither: its plan is taken if it holds. Raises UsageError where it does not.
    """
    # Only what runs on the chip may be timed: a simulator's or an emulator's seconds say nothing of it.
    timers = {v.id: v.worker.timed(v.sample) for v in verified if v.worker and v.numerics is Numerics.EXECUTED}
    winner, by, result = verified[0], "preference", None
    contest: dict[str, Any] | None = None
    if shop.options.decision is not None:
        winner, by = _replayed(shop, verified, shop.options.decision)
    elif shop.options.optimize != "latency" and timers:
        contest = contests.CONTESTS[shop.options.optimize](shop, [v for v in verified if v.id in timers])
        winner, by = next(v for v in verified if v.id == contest["winner"]), shop.options.optimize
    elif len(timers) > 1:
        shop.progress("race", f"{len(timers)} candidates, at most {shop.options.race_seconds:.0f} s")
        result = run_race(timers, budget_s=shop.options.race_seconds, prefer=list(timers))
        winner, by = next(v for v in verified if v.id == result.winner), "race"
    engines = {v.candidate.step.engine for v in verified if v.reference is not None}
    return Chosen(
        winner,
        by,
        corroborated_by=tuple(sorted(engines - {winner.candidate.step.engine})),
        race=None if result is None else result.as_dict(),
        reported=_report(shop, winner, verified, timers) if timers else None,
        contest=contest,
        portable=_portable(winner, verified),
    )


def _portable(winner: Verified, verified: Sequence[Verified]) -> Verified | None:
    """For a form that only this CPU or this version of the engine opens: the first one that others open too."""
    if not winner.candidate.built.bound:
        return None
    free = [v for v in verified if not v.candidate.built.bound]
    same = [v for v in free if v.candidate.step.engine == winner.candidate.step.engine]
    return next(iter([*same, *free]), None)


def _replayed(shop: Workshop, verified: Sequence[Verified], decision: Path) -> tuple[Verified, str]:
    """The decided candidate, and the word for how it was decided: the same decision gives the same digest."""
    told = read_decision(decision)
    for v in verified:
        if v.id == told["plan"]:
            return v, told["chosen_by"]
    reasons = [f"{loss.stage}: {loss.error}" for loss in shop.losses if loss.plan == told["plan"]]
    raise UsageError(
        f"the decision names {told['plan']}, which does not hold here",
        where=str(decision),
        why="; ".join(reasons),
        fix="compile without --decision",
    )


def _report(
    shop: Workshop, winner: Verified, verified: Sequence[Verified], timers: Mapping[str, Timed]
) -> dict[str, Any]:
    """Fresh figures of the winner and of every other engine's first variant: not the figures raced on."""
    rivals: dict[str, str] = {}
    for v in verified:
        if v.candidate.step.engine != winner.candidate.step.engine:
            rivals.setdefault(v.candidate.step.engine, v.id)
    shown = [winner.id, *rivals.values()]
    shop.progress("measure", winner.id)
    measured = interleave(
        {name: timers[name] for name in shown}, budget_s=min(REPORT_SECONDS, shop.options.race_seconds)
    )
    rows = []
    for rival in shown[1:]:
        if lost := measured[rival].lost or measured[winner.id].lost:
            rows.append({"id": rival, "lost": lost})
        else:
            rows.append({"id": rival, **ratio(measured[winner.id], measured[rival]).as_dict()})
    return {
        "winner": {"id": winner.id, **measured[winner.id].as_dict()},
        "rivals": rows,
        "seconds": min(REPORT_SECONDS, shop.options.race_seconds),
    }
