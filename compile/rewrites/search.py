"""The race of rewrites: which rules stay, for one model and each engine.

Engine by engine, rule by rule in the order of the table: the program that has all rules kept so far is rewritten by
one more, built, proven, and timed against the one before, the two in turns. A rule stays where it is shown to be
faster. What was decided is kept by fingerprint, and replayed where nothing that it hangs on has changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from neoc.compile import build, passes, registry
from neoc.compile.build import Workshop
from neoc.compile.contracts import Numerics, Plan, Step, Target
from neoc.compile.errors import NeocError, OutputError, UsageError
from neoc.compile.files import write_atomically
from neoc.compile.measure import fingerprint, interleave, ratio
from neoc.compile.program import Program
from neoc.compile.rewrites.apply import brought_out, rewrite_passes
from neoc.compile.rewrites.reckoned import reckon
from neoc.compile.rewrites.rule import Rule, sites
from neoc.compile.rewrites.spec import LEFT, MARK, OPTION, Spec
from neoc.compile.rewrites.table import RULES, by_name
from neoc.compile.rewrites.tune import Tuned, tune
from neoc.compile.verify import Verified, verify_rewritten

FIRST_S = 0.5
"""seconds in which the engines' plain forms are compared, to begin with the fastest"""
TRIAL_S = 1.5
"""seconds of timing a trial"""
FASTER = 0.995
"""a rule stays where the median ratio of times is below this and its interval below 1"""
SHARE = 6.0
"""the search may take this many times the race's own budget"""
LEAST_S = 20.0
"""a search that has less is not begun: one program must be built, proven and timed on each engine"""


@dataclass(frozen=True)
class Trial:
    """One rule on one engine: what it did and what came of it."""

    engine: str
    rule: str
    sites: int
    outcome: str
    """'kept', 'no gain', 'lost' (it does not build or does not hold), 'no time'"""
    why: str = ""
    ratio: Mapping[str, Any] | None = None
    """time with the rule over time without, in the same rounds"""
    tuned: tuple[Mapping[str, Any], ...] = ()
    """for a rule with choices: what each key of sites did alone"""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "rule": self.rule,
            "sites": self.sites,
            "outcome": self.outcome,
            "why": self.why,
            "ratio": None if self.ratio is None else dict(self.ratio),
            "tuned": [dict(t) for t in self.tuned],
            "seconds": round(self.seconds, 2),
        }


@dataclass
class Found:
    """What the search left: candidates that hold and are faster than their engine's plain ones, and why."""

    verified: list[Verified] = field(default_factory=list)
    preferred: list[Verified] = field(default_factory=list)
    """for a chip that is not here: rewritten candidates that leave less to do, and hold"""
    specs: dict[str, str] = field(default_factory=dict)
    """engine -> the spec that it is fastest with"""
    trials: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    remembered: bool = False
    """whether the decision was made before, on this machine, for the same program"""

    def as_dict(self) -> dict[str, Any]:
        return {
            "specs": self.specs,
            "trials": self.trials,
            "seconds": round(self.seconds, 2),
            "remembered": self.remembered,
        }


def rewritten_plan(program: Program, plan: Plan, spec: Spec) -> Plan:
    """`plan` on the rewritten program. Raises PassFailure where a rule breaks it."""
    step = plan.steps[0]
    variant = replace(
        step.variant,
        id=f"{step.variant.id}{MARK}{','.join(spec.names)}",
        options=tuple(sorted((*step.variant.options, (OPTION, str(spec))))),
    )
    made = passes.run(program, rewrite_passes(spec))
    return Plan((made,), (Step(step.engine, variant),))


def search(
    shop: Workshop,
    program: Program,
    target: Target,
    verified: Sequence[Verified],
    wanted: tuple[str, str] | None = None,
) -> Found:
    """The fastest rewritten form of `program` for every engine that runs it here; of a chip that is not here, the one
    that leaves the least to do. `wanted`: plan and spec to replay."""
    found = Found()
    rules = allowed(shop.options.rewrites)
    bases = _bases(verified) if shop.options.precision == "fp32" else []
    started = time.monotonic()
    if wanted is not None:
        for base in (v for v in verified if v.id == wanted[0]):
            _replay(shop, program, target, base, wanted[1], found)
    elif (budget := _budget(shop)) and rules and bases and _any_site(program, rules):
        bases = _fastest_first(bases)
        for index, base in enumerate(bases):
            left = started + budget - time.monotonic()
            _Search(shop, program, target, base, rules, found).run(left / (len(bases) - index))
    elif _budget(shop) and rules and shop.options.precision == "fp32" and (first := _absent(verified)) is not None:
        _reckon(shop, program, target, first, rules, found)
    found.seconds = time.monotonic() - started
    return found


def _absent(verified: Sequence[Verified]) -> Verified | None:
    """The preferred candidate, where it was run, though not on the chip, and its engine compiles what it is given."""
    first = verified[0]
    ran = first.numerics in (Numerics.SIMULATED, Numerics.EMULATED)
    return first if ran and registry.load_engine(first.candidate.step.engine).whole_graph else None


def _reckon(
    shop: Workshop, program: Program, target: Target, base: Verified, rules: Sequence[Rule], found: Found
) -> None:
    """The rules that leave less to do on paper, in one candidate; where it does not hold, without the last of them."""
    engine = base.candidate.step.engine
    spec, tried = reckon(program, target, tuple(rules))
    held = None
    while spec.rules and held is None:
        losses = len(shop.losses)
        held = _proven(shop, program, target, rewritten_plan(program, base.candidate.plan, spec))
        if held is None:
            why = str(shop.losses[-1].error) if len(shop.losses) > losses else "it does not hold"
            found.trials.append(
                Trial(engine, spec.names[-1], 0, "lost", f"of {', '.join(spec.names)}: {why}").as_dict()
            )
            spec = Spec(spec.rules[:-1])
    for name, count, share in tried:
        outcome = "kept" if name in spec.names else "no gain"
        why = f"modelled, not measured: {share:.3f} of the work (FLOPs, and bytes by the chip's balance)"
        found.trials.append(Trial(engine, name, count, outcome, why).as_dict())
    if held is not None:
        found.preferred.append(held)
        found.specs[engine] = str(spec)


def allowed(names: Sequence[str] | None) -> tuple[Rule, ...]:
    """The rules that the user lets in, in the order of the table; None: all. Raises UsageError."""
    if names is None:
        return RULES
    chosen = {by_name(name).name for name in names}
    return tuple(rule for rule in RULES if rule.name in chosen)


def _budget(shop: Workshop) -> float:
    """Seconds; 0 where a short race tells that the user is in a hurry, or what is sought is no speed of requests."""
    given = shop.options.rewrite_seconds
    if shop.options.optimize != "latency":
        return 0.0
    if given is not None:
        return given
    share = SHARE * shop.options.race_seconds
    return share if share >= LEAST_S else 0.0


def _bases(verified: Sequence[Verified]) -> list[Verified]:
    """The first candidate of each compiled engine that was run on the chip itself."""
    first: dict[str, Verified] = {}
    for v in verified:
        engine = v.candidate.step.engine
        if v.numerics is Numerics.EXECUTED and v.worker is not None and not registry.load_engine(engine).fallback:
            first.setdefault(engine, v)
    return list(first.values())


def _fastest_first(bases: Sequence[Verified]) -> list[Verified]:
    """In the order of their own speed: where the budget does not last for all, the slower ones go without."""
    timers = {v.id: v.worker.timed(v.sample) for v in bases if v.worker is not None}
    if len(timers) < 2:
        return list(bases)
    measured = interleave(timers, budget_s=FIRST_S)
    return sorted(bases, key=lambda v: math.inf if measured[v.id].lost else measured[v.id].median_ns)


def _any_site(program: Program, rules: Sequence[Rule]) -> bool:
    return any(next(sites(program.model, rule, program.opset), None) is not None for rule in rules)


def _replay(shop: Workshop, program: Program, target: Target, base: Verified, spec: str, found: Found) -> bool:
    """Adds the candidate that `spec` names; False where it does not hold.

    Raises UsageError for what is no spec or names no rule, PassFailure where a rule breaks the program.
    """
    if not spec:
        return True
    try:
        asked = Spec.parse(spec)
    except ValueError as error:
        raise UsageError(
            f"a decision's rewrites cannot be read: {spec!r}",
            why=str(error),
            fix="compile without it, and the rewrites are decided anew",
        ) from error
    held = _proven(shop, program, target, rewritten_plan(program, base.candidate.plan, asked))
    if held is None:
        return False
    found.verified.append(held)
    found.specs[held.candidate.step.engine] = spec
    return True


def _proven(shop: Workshop, program: Program, target: Target, plan: Plan) -> Verified | None:
    candidates = build.build_all(shop, [plan], target)
    return next(iter(verify_rewritten(shop, program, target, candidates)), None)


class _Search:
    """The search for one engine: forward, one rule at a time."""

    def __init__(
        self,
        shop: Workshop,
        program: Program,
        target: Target,
        base: Verified,
        rules: Sequence[Rule],
        found: Found,
    ) -> None:
        self._shop, self._program, self._target = shop, program, target
        self._base, self._rules, self._found = base, rules, found
        self._engine = base.candidate.step.engine
        self._sample = base.sample
        self._best, self._spec, self._current = base, Spec(), program
        self._trials: list[Trial] = []

    def run(self, budget_s: float) -> None:
        memory = _Memory(self._shop, self._program, self._target, self._base, self._rules)
        known = memory.read()
        if known is not None and self._recalled(known["spec"]):
            self._found.remembered = True
            self._found.trials += known["trials"]
            return
        deadline = time.monotonic() + budget_s
        for rule in self._rules:
            self._try(rule, deadline)
        trials = [trial.as_dict() for trial in self._trials]
        self._found.trials += trials
        if self._spec.rules:
            self._found.specs[self._engine] = str(self._spec)
            self._found.verified.append(self._best)
        if not any(trial.outcome == "no time" for trial in self._trials):
            memory.write({"spec": str(self._spec), "trials": trials})

    def _recalled(self, spec: str) -> bool:
        """Whether the remembered decision can be carried out. A damaged one is not: it is decided, and kept, anew."""
        try:
            return _replay(self._shop, self._program, self._target, self._base, spec, self._found)
        except NeocError as error:
            self._shop.progress("cache", f"{self._engine}: a remembered decision is of no use: {error}")
            return False

    def _try(self, rule: Rule, deadline: float) -> None:
        count = sum(1 for _ in sites(self._current.model, rule, self._current.opset))
        if rule.opset > self._current.opset or rule.around:
            count = self._sites_later(rule)
        if not count:
            return
        started = time.monotonic()
        trial = Trial(self._engine, rule.name, count, "no time", "the budget of the search was spent")
        if started < deadline:
            try:
                trial = self._tried(rule, count, deadline)
            except NeocError as error:
                trial = replace(trial, outcome="lost", why=str(error))
        trial = replace(trial, seconds=time.monotonic() - started)
        self._trials.append(trial)
        self._shop.progress("rewrite", f"{self._engine} {rule.name}: {trial.outcome} {_words(trial)}".rstrip())

    def _sites_later(self, rule: Rule) -> int:
        """Sites in the program as it is once it has the version that the rule needs, and its pattern is brought out."""
        raised = brought_out(self._current, rule)
        return sum(1 for _ in sites(raised.model, rule, raised.opset))

    def _tried(self, rule: Rule, count: int, deadline: float) -> Trial:
        step, tuned = self._base.candidate.step, list[Tuned]()
        if rule.choices is not None:
            tuned = tune(self._shop, self._target, step, self._current, rule, self._sample, deadline)
        told = tuple(t.as_dict() for t in tuned)
        if rule.choices is not None and all(t.choice == LEFT for t in tuned):
            return Trial(self._engine, rule.name, count, "no gain", "no site is faster alone", tuned=told)
        spec = self._spec.plus(rule.name, {t.key: t.choice for t in tuned})
        plan = rewritten_plan(self._program, self._base.candidate.plan, spec)
        losses = len(self._shop.losses)
        held = _proven(self._shop, self._program, self._target, plan)
        if held is None:
            why = str(self._shop.losses[-1].error) if len(self._shop.losses) > losses else "it does not hold"
            return Trial(self._engine, rule.name, count, "lost", why, tuned=told)
        return self._raced(rule, count, told, spec, held)

    def _raced(self, rule: Rule, count: int, told: tuple[dict[str, Any], ...], spec: Spec, held: Verified) -> Trial:
        assert self._best.worker is not None
        assert held.worker is not None
        timers = {v.id: v.worker.timed(self._sample) for v in (self._best, held) if v.worker is not None}
        seconds = min(TRIAL_S, self._shop.options.race_seconds)
        measured = interleave(timers, budget_s=seconds)
        lost = measured[held.id].lost or measured[self._best.id].lost
        if lost:
            held.worker.close()
            return Trial(self._engine, rule.name, count, "lost", lost, tuned=told)
        seen = ratio(measured[held.id], measured[self._best.id])
        if seen.median > FASTER or (seen.high is not None and seen.high >= 1):
            held.worker.close()
            return Trial(self._engine, rule.name, count, "no gain", "", seen.as_dict(), told)
        if self._best is not self._base:
            self._best.worker.close()
        self._best, self._spec, self._current = held, spec, held.candidate.plan.programs[0]
        return Trial(self._engine, rule.name, count, "kept", "", seen.as_dict(), told)


def _words(trial: Trial) -> str:
    return trial.why if trial.ratio is None else f"{trial.ratio['ratio']:.3f}"


class _Memory:
    """What was decided before, by everything that it hangs on."""

    def __init__(self, shop: Workshop, program: Program, target: Target, base: Verified, rules: Sequence[Rule]) -> None:
        step = base.candidate.step
        shapes = {name: str(getattr(value, "shape", "")) for name, value in base.sample.items()}
        key = {
            "build": dict(build.cache_key(program, step, target)),
            "variant": step.variant.as_dict(),
            "shapes": shapes,
            "rules": [rule.name for rule in rules],
            "machine": fingerprint()["digest"],
            "tolerance": shop.options.tolerance,
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        self._path = shop.settings.cache_dir / "rewrites" / f"{digest}.json"
        self._shop, self._use = shop, shop.options.use_cache

    def read(self) -> dict[str, Any] | None:
        if not self._use:
            return None
        try:
            known = json.loads(self._path.read_text())
            return {"spec": str(known["spec"]), "trials": [Trial(**told).as_dict() for told in known["trials"]]}
        except (OSError, ValueError, KeyError, TypeError):  # none, or half of one: the search is run again
            return None

    def write(self, decision: Mapping[str, Any]) -> None:
        if not self._use:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(decision, indent=1).encode())
        except (OSError, OutputError) as error:  # the next compilation searches again
            self._shop.progress("cache", str(error))
