"""Process runs in ABBA blocks.

    block 0   open A, A', B fresh; first inference; warm up (change-point test)
              cycle   A A' B | B A' A       one stint each, in an order that reverses
              cycle   A A' B | B A' A       and so on; then close all
    block 1   fresh processes again, the order rotated: A' B A | A B A'

A' is the first subject a second time: what differs between A and A' is this machine's floor. A block in which other
programs or the hypervisor took more of the CPU than allowed is void, and another one takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neoc.bench import scenarios, verdict
from neoc.bench.scenarios import Load, Scenario, Stint
from neoc.bench.subjects import Opened, Subject, open_subject
from neoc.compile.contracts import Feeds
from neoc.compile.errors import NeocError
from neoc.compile.machine import throttled
from neoc.compile.measure import Load as OtherLoad
from neoc.compile.measure import LoadWatch, ordered

STEAL = 0.1
"""of the load that is allowed, how much the hypervisor may take: stolen time hits the subject, others' time may not"""
MOST_CYCLES = 50
TRIES = 2
"""blocks that are tried for each that is wanted, before too much load ends the run"""
TWIN = " (again)"
"""what the second run of the first subject is called"""

Progress = Callable[[str, str], None]
Open = Callable[[Subject, int], Opened]


@dataclass
class Run:
    """One process of one subject in one block. Cycle values: metric -> log time of each cycle."""

    open_s: float
    first_s: float
    warm_up: dict[str, Any]
    cycles: dict[str, list[float]] = field(default_factory=dict)
    stints: list[Stint] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)

    @property
    def ns(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.int64), *(stint.ns for stint in self.stints)])


@dataclass
class Block:
    """`runs`: subject's name -> its process. `void`: why it does not count; empty where it does."""

    set: int
    runs: dict[str, Run]
    load: OtherLoad
    void: str = ""


@dataclass(frozen=True)
class Setting:
    """How to measure. `seconds`: driving time of one set of blocks, all subjects together."""

    scenario: Scenario
    samples: Sequence[Feeds]
    load: Load = field(default_factory=Load)
    threads: int = 1
    blocks: int = verdict.MIN_BLOCKS
    seconds: float = 10.0
    max_load: float = 0.1
    warm_limit_s: float = 5.0
    open: Open = open_subject
    also: Mapping[str, Any] = field(default_factory=dict)
    """options for every driver: where the raw items are"""
    slow_down: Callable[[str], float] = lambda name: 0.0
    """the self-test's: by how much a subject is slowed down at this moment"""

    def load_of(self, name: str) -> Load:
        slow = self.slow_down(name)
        return replace(self.load, slow_down=slow) if slow else self.load


@dataclass
class Measured:
    """Blocks of all sets, and who was lost on the way."""

    names: tuple[str, ...]
    """the first is the base; its twin is not among them"""
    scenario: Scenario
    blocks: list[Block] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)

    @property
    def valid(self) -> list[Block]:
        return [block for block in self.blocks if not block.void]

    @property
    def sets(self) -> int:
        return 1 + max((block.set for block in self.blocks), default=-1)

    def runs(self, name: str, valid_only: bool = True) -> list[Run]:
        return [b.runs[name] for b in self.blocks if name in b.runs and not (valid_only and b.void)]

    def cycles(self, name: str, metric: str, number: int | None = None) -> list[np.ndarray]:
        """Log values of the cycles of each valid block (of set `number`)."""
        blocks = [b for b in self.valid if name in b.runs and (number is None or b.set == number)]
        values = (np.array(b.runs[name].cycles[metric]) for b in blocks)
        return [v[np.isfinite(v)] for v in values if np.isfinite(v).any()]

    def effect(self, base: str, new: str, metric: str, number: int | None = None) -> verdict.Effect | None:
        """Of the blocks that both took part in; None where there is none."""
        blocks = [b for b in self.valid if base in b.runs and new in b.runs and (number is None or b.set == number)]
        sides = [[np.array(b.runs[name].cycles[metric]) for b in blocks] for name in (base, new)]
        kept = [(a, b) for a, b in zip(*sides, strict=True) if len(a) and np.isfinite(a).all() and np.isfinite(b).all()]
        return verdict.effect([a for a, _ in kept], [b for _, b in kept]) if kept else None


def measure(subjects: Sequence[Subject], setting: Setting, progress: Progress, sets: int = 1) -> Measured:
    """`sets` sets of blocks of all subjects and the first one's twin.

    A subject that fails is lost with its reason. Raises what the first one raises.
    """
    entrants = {subject.text: subject for subject in subjects}
    found = Measured(tuple(entrants), setting.scenario)
    entrants[subjects[0].text + TWIN] = subjects[0]
    for number in range(sets):
        add_set(found, entrants, setting, number, progress)
    return found


def add_set(
    found: Measured, entrants: Mapping[str, Subject], setting: Setting, number: int, progress: Progress
) -> None:
    """One set of blocks more: `blocks` valid ones, or as many as TRIES times that many tries give."""
    valid = 0
    for index in range(TRIES * setting.blocks):
        alive = {name: subject for name, subject in entrants.items() if name not in found.lost}
        progress("block", f"{valid + 1} of {setting.blocks}, set {number + 1}: {len(alive)} processes")
        block = run_block(alive, setting, number, index, found.lost)
        found.blocks.append(block)
        valid += not block.void
        if valid == setting.blocks:
            return
        if block.void:
            progress("void", block.void)


def run_block(
    entrants: Mapping[str, Subject], setting: Setting, number: int, index: int, lost: dict[str, str]
) -> Block:
    """Fresh processes of all entrants, driven in turns."""
    watch, heat = LoadWatch(), throttled()
    runs: dict[str, Run] = {}
    drives: dict[str, scenarios.Drive] = {}
    opened: dict[str, Opened] = {}
    names = ordered(list(entrants), 2 * index)
    first = next(iter(entrants))
    with ExitStack() as stack:
        for name in names:
            try:
                opened[name] = setting.open(entrants[name], setting.threads)
                stack.callback(opened[name].close)
                drives[name] = scenarios.drive_of(opened[name], setting.samples, setting.also)
                runs[name] = _start(opened[name], drives[name], setting, setting.load_of(name))
            except NeocError as error:
                if name == first:
                    raise
                lost[name] = str(error)
                runs.pop(name, None)
        for _ in range(_cycles(setting, runs)):
            _cycle([name for name in names if name in runs], first, runs, drives, setting, lost)
        for name, run in runs.items():
            run.memory = opened[name].worker.memory()
    load = watch.read()
    hot = heat is not None and throttled() != heat
    return Block(number, runs, load, "a core was throttled for heat" if hot else _void(load, setting.max_load))


def _start(opened: Opened, drive: scenarios.Drive, setting: Setting, load: Load) -> Run:
    options = {"slow_down": load.slow_down, "limit_s": setting.warm_limit_s}
    first, _ = drive("neoc.bench.drive:first", options)
    warm, _ = drive("neoc.bench.drive:warm", options)
    return Run(opened.session.open_seconds, first["first_s"], warm)


def _cycles(setting: Setting, runs: Mapping[str, Run]) -> int:
    """As many as fit into this block's share of the time; one at least."""
    if not setting.scenario.short or not runs:
        return 1
    stint = sum(max(setting.load.stint_s, run.warm_up["typical_ns"] / 1e9) for run in runs.values())
    return int(np.clip(setting.seconds / setting.blocks / (2 * stint), 2, MOST_CYCLES))


def _cycle(
    names: Sequence[str],
    first: str,
    runs: dict[str, Run],
    drives: Mapping[str, scenarios.Drive],
    setting: Setting,
    lost: dict[str, str],
) -> None:
    """A B B A: two stints of each. Raises what the first subject raises."""
    taken: dict[str, list[Stint]] = {name: [] for name in names}
    for name in (*names, *reversed(names)):
        if name not in runs:
            continue
        try:
            stint = setting.scenario.stint(drives[name], runs[name].warm_up["typical_ns"], setting.load_of(name))
            taken[name].append(stint)
        except NeocError as error:
            if name == first:
                raise
            lost[name] = str(error)
            runs.pop(name)
    for name, run in runs.items():
        run.stints += taken[name]
        for metric in setting.scenario.metrics:
            value = metric.of(taken[name])
            run.cycles.setdefault(metric.name, []).append(scenarios.log_time(metric, value))


def _void(load: OtherLoad, most: float) -> str:
    if load.others > most:
        return f"other programs took {load.others:.0%} of the CPU time ({most:.0%} is allowed)"
    if load.steal > STEAL * most:
        return f"the hypervisor took {load.steal:.1%} of the CPU time ({STEAL * most:.0%} is allowed)"
    return ""


# ---- verdicts ------------------------------------------------------------------------------


def floor(found: Measured, metric: str, known: float = 0.0) -> float:
    """A against A in these blocks, or what the ledger `known`s of this machine, target and metric: the larger (log)."""
    twin = found.effect(found.names[0], found.names[0] + TWIN, metric)
    return math.inf if twin is None else max(known, verdict.floor_of(twin))


def judge(found: Measured, new: str, metric: str, known_floor: float = 0.0) -> verdict.Verdict:
    """`new` against the first subject."""
    base = found.names[0]
    together = found.effect(base, new, metric)
    sets = [e for number in range(found.sets) if (e := found.effect(base, new, metric, number)) is not None]
    if together is None or (together.blocks < verdict.MIN_BLOCKS and any(b.void for b in found.blocks)):
        voided = [block.void for block in found.blocks if block.void]
        return verdict.void(
            f"{len(voided)} of {len(found.blocks)} blocks: {voided[-1] if voided else 'nothing was measured'}"
        )
    return verdict.judge(sets, together, floor(found, metric, known_floor))


def needs_confirmation(found: Measured, known_floors: Mapping[str, float]) -> bool:
    """Whether the first set shows a difference somewhere, so that a second one is worth its time."""
    for name in found.names[1:]:
        for metric in found.scenario.metrics:
            seen = found.effect(found.names[0], name, metric.name, 0)
            if seen is not None and verdict.shows(seen, floor(found, metric.name, known_floors.get(metric.name, 0.0))):
                return True
    return False
