"""Which of several entrants is the fastest: successive elimination over interleaved rounds.

All entrants run one short block a round. One that is shown to be slower leaves, and its time goes to the close ones;
the last two or three settle it among themselves. Where the budget ends before a difference is shown, there is none
that matters, and the order of preference decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neoc.compile.errors import NoCandidate
from neoc.compile.measure import (
    BLOCK_S,
    CONFIDENCE,
    WARM_SHARE,
    LoadWatch,
    Ratio,
    Samples,
    Timed,
    Timer,
    log_ratios,
    noise_note,
    ratio,
)

SLOWER = 1.02
"""an entrant leaves when its interval shows that it takes more than this times the leader's time"""
FAR_SLOWER = 1.5
"""an entrant leaves early when every one of at least two rounds shows this ratio to the leader"""
LEVEL = 1.01
"""never chosen by preference: an entrant whose median ratio to the best is over this"""
LOOK_CONFIDENCE = 0.99
"""of the intervals that drop an entrant or end the race: over the usual 95 %, since there are many looks"""
LOOK_SPACING = 1.25
FINAL_AT = 0.6
"""share of the budget after which only the finalists run on"""
FINALISTS = 3


@dataclass(frozen=True)
class Entrant:
    """How one entrant fared. `ratio`: its time over the winner's, in the rounds that both ran."""

    samples: Samples
    status: str
    """'winner'; 'level' (no difference shown, or within 1 %); 'slower'; 'lost' (it failed)"""
    why: str
    ratio: Ratio | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.samples.name,
            "status": self.status,
            "why": self.why,
            **self.samples.as_dict(),
            "ratio_to_winner": None if self.ratio is None else self.ratio.as_dict(),
        }


@dataclass(frozen=True)
class RaceResult:
    winner: str
    why: str
    """what decided: 'fastest' or 'preference', in words"""
    entrants: tuple[Entrant, ...]
    rounds: int
    budget_s: float
    used_s: float
    noise: str
    """what a reader should know before trusting the figures; empty where nothing stands out"""

    def as_dict(self) -> dict[str, Any]:
        return {
            "winner": self.winner,
            "why": self.why,
            "entrants": [entrant.as_dict() for entrant in self.entrants],
            "rounds": self.rounds,
            "budget_s": self.budget_s,
            "used_s": round(self.used_s, 3),
            "noise": self.noise,
        }


def race(
    entrants: Mapping[str, Timed],
    *,
    budget_s: float,
    prefer: Sequence[str] = (),
    block_s: float = BLOCK_S,
    clock: Callable[[], float] = time.perf_counter,
    watch_load: bool = True,
) -> RaceResult:
    """The winner of `entrants`, and how each fared.

    The winner is the fastest, by the median over rounds of its share of the round. Among entrants that are not shown to
    differ from it (the 95 % interval of the ratio reaches 1), and whose median ratio to it is at most 1.01, the first
    one of `prefer` wins; those that it does not name come last, in their own order. The race ends when that choice is
    clear or `budget_s` seconds are spent, warming up included; only the first call of each and one round come in any
    case. An entrant that raises NeocError is lost with its reason. Raises NoCandidate where all are.
    """
    start = clock()
    load = LoadWatch() if watch_load else None
    heat = _Heat(Timer(entrants, block_s, clock), prefer)
    heat.timer.warm(WARM_SHARE * budget_s)
    while heat.refresh():
        used = clock() - start
        if heat.rounds and used + heat.timer.predicted_s(heat.running) > budget_s:
            break
        if used > FINAL_AT * budget_s:
            heat.keep_finalists()
        heat.run_round()
        if heat.settled:
            break
    return heat.result(budget_s, clock() - start, load)


class _Heat:
    """The state of a race."""

    def __init__(self, timer: Timer, preference: Sequence[str]) -> None:
        self.timer = timer
        self.running = list(timer.samples)
        self.rounds = 0
        self.settled = False
        self._preference = list(dict.fromkeys([*preference, *timer.samples]))
        self._dropped: dict[str, str] = {}
        self._next_look = 1.0

    def refresh(self) -> list[str]:
        """Who still runs. Where the last of them was lost, those that had left come back. Raises NoCandidate."""
        alive = self.timer.alive
        self.running = [name for name in self.running if name in alive]
        if not self.running:
            self.running, self.settled = alive, False
            self._dropped.clear()
        if not self.running:
            losses = {name: samples.lost for name, samples in self.timer.samples.items() if samples.lost}
            raise NoCandidate(
                "every candidate was lost in the race",
                losses=losses,
                why="; ".join(f"{name}: {reason}" for name, reason in losses.items()),
                fix="allow them more time or memory, or name other engines with --engine",
            )
        return self.running

    def run_round(self) -> None:
        self.timer.round(self.running)
        self.rounds += 1
        self.refresh()
        self._drop_far_slower()
        if self.rounds >= self._next_look:
            self._next_look = self.rounds * LOOK_SPACING
            self._look()
        self.settled = self.settled or (len(self.running) == 1 and self.rounds > 1)

    def keep_finalists(self) -> None:
        """The best two, and the one that preference would choose now; the others leave."""
        if len(self.running) <= FINALISTS or not self.rounds:
            return
        standing = self._standing(self.running)
        ranked = sorted(self.running, key=lambda name: standing[name])
        chosen = self._choice()
        keep = {*ranked[: FINALISTS - 1], chosen}
        for name in ranked[FINALISTS - 1 :]:
            if len(keep) < FINALISTS:
                keep.add(name)
        for name in ranked:
            if name not in keep:
                self._drop(name, "not among the best when the last heat began")

    # ---- who leaves ------------------------------------------------------------------------

    def _drop(self, name: str, why: str) -> None:
        self._dropped[name] = why
        self.running = [other for other in self.running if other != name]

    def _drop_far_slower(self) -> None:
        best = self._best(self.running)
        for name in self.running:
            logs = log_ratios(self._samples(name), self._samples(best))
            if len(logs) >= 2 and np.min(logs) > math.log(FAR_SLOWER):
                self._drop(name, f"over {FAR_SLOWER:g}x the leader in each of its {len(logs)} rounds")

    def _look(self) -> None:
        """Drop who is shown to be slower; note whether more rounds could still change the choice for the better."""
        best = self._best(self.running)
        for name in [name for name in self.running if name != best]:
            found = self._ratio(name, best, LOOK_CONFIDENCE)
            if found.low > SLOWER:
                self._drop(name, f"shown to be over {SLOWER:g}x the leader after {found.rounds} rounds")
        chosen = self._choice()
        self.settled = all(self._beats(chosen, name) for name in self.running if name != chosen)

    def _beats(self, chosen: str, other: str) -> bool:
        """Shown to be faster than one that is preferred to it; than any other, not to be slower by more than 1 %."""
        preferred = self._preference.index(other) < self._preference.index(chosen)
        return self._ratio(chosen, other, LOOK_CONFIDENCE).high <= (1.0 if preferred else LEVEL)

    # ---- who leads -------------------------------------------------------------------------

    def _samples(self, name: str) -> Samples:
        return self.timer.samples[name]

    def _ratio(self, name: str, to: str, confidence: float) -> Ratio:
        return ratio(self._samples(name), self._samples(to), confidence=confidence)

    def _standing(self, names: Sequence[str]) -> dict[str, float]:
        """Median over common rounds of log(own time / geometric mean of the round): drift falls out."""
        rounds = sorted(set.intersection(*(set(self._samples(name).blocks) for name in names)))
        if not rounds:
            return {name: math.log(max(self._samples(name).median_ns, 1.0)) for name in names}
        logs = np.log(np.maximum([self._samples(name).block_medians(rounds) for name in names], 1.0))
        return dict(zip(names, np.median(logs - logs.mean(axis=0), axis=1).tolist(), strict=True))

    def _best(self, names: Sequence[str]) -> str:
        standing = self._standing(names)
        return min(names, key=lambda name: (standing[name], self._preference.index(name)))

    def _choice(self) -> str:
        """Who wins by what is known now."""
        best = self._best(self.running)
        level = [best]
        for name in self.running:
            if name != best:
                found = self._ratio(name, best, CONFIDENCE)
                if found.median <= LEVEL and found.low <= 1:
                    level.append(name)
        return min(level, key=self._preference.index)

    # ---- the result ------------------------------------------------------------------------

    def result(self, budget_s: float, used_s: float, load: LoadWatch | None) -> RaceResult:
        best, winner = self._best(self.running), self._choice()
        entrants = tuple(self._entrant(name, winner) for name in self.timer.samples)
        level = [entrant.samples.name for entrant in entrants if entrant.status == "level"]
        if not level:
            why = "the fastest: every other one is shown to be slower, or was lost"
        elif winner == best:
            why = f"the fastest by its median; no difference from {', '.join(level)} is shown"
        else:
            why = f"preferred: no difference from {best} is shown"
        noise = noise_note({n: self._samples(n) for n in self.running}, None if load is None else load.read())
        return RaceResult(winner, why, entrants, self.rounds, budget_s, used_s, noise)

    def _entrant(self, name: str, winner: str) -> Entrant:
        samples, won = self._samples(name), self._samples(winner)
        if name == winner:
            return Entrant(samples, "winner", "", None)
        found = ratio(samples, won) if samples.blocks.keys() & won.blocks.keys() else None
        if samples.lost:
            return Entrant(samples, "lost", samples.lost, found)
        if name in self._dropped:
            return Entrant(samples, "slower", self._dropped[name], found)
        if found is not None and found.low > 1:
            return Entrant(samples, "slower", "shown to be slower", found)
        return Entrant(samples, "level", "no difference shown", found)
