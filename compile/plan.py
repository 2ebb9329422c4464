"""Every way in which a target could serve a program, and every reason why an engine cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neoc.compile import registry
from neoc.compile.contracts import Engine, Gap, Plan, Step, Target
from neoc.compile.errors import MissingTool, UnsupportedModel, UsageError
from neoc.compile.options import CompileOptions
from neoc.compile.program import Program


@dataclass(frozen=True)
class EngineView:
    """What one engine says of one program on one target."""

    name: str
    fallback: bool
    missing: str | None
    """why it cannot build here"""
    gaps: tuple[Gap, ...]
    plans: tuple[Plan, ...]
    note: str = ""
    """why there is no plan although nothing is missing and nothing gapes"""
    analysis: Mapping[str, Any] | None = None
    """the program's report in the form of the engine's vendor, where it has one"""

    def as_dict(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "fallback": self.fallback,
            "missing": self.missing,
            "gaps": [gap.as_dict() for gap in self.gaps],
            "variants": [plan.id for plan in self.plans],
            "note": self.note,
            **({} if self.analysis is None else {"analysis": self.analysis}),
        }


def engines_for(target: Target, options: CompileOptions) -> tuple[Engine, ...]:
    """The engines to ask, best first: the user's own list, else the target's, then others that serve it.

    Where an option asks for something that only some engines make, no other is asked. Raises UsageError for an engine
    that does not serve the target, and for such an option that no engine of the target takes.
    """
    found = _engines(target, options)
    keys = {key for engine in registry.engines() for key in engine.decisive} & {key for key, _ in options.pairs}
    able = tuple(engine for engine in found if keys <= engine.decisive)
    if not able:
        makers = [e.name for e in registry.engines() if keys <= e.decisive]
        raise UsageError(
            f"no engine that may be used for {target.name} takes the option {', '.join(sorted(keys))}",
            why=f"it is for {', '.join(makers) or 'no engine'}",
            fix="leave the option out, or name another target or engine",
        )
    return able


def _engines(target: Target, options: CompileOptions) -> tuple[Engine, ...]:
    if options.engines:
        chosen = [registry.load_engine(name) for name in options.engines]
        for engine in chosen:
            if not engine.serves(target):
                raise UsageError(
                    f"engine {engine.name!r} does not serve {target.name}",
                    fix=f"leave --engine out, or name one of: {', '.join(_serving(target))}",
                )
        return tuple(chosen)
    names = [name for name in target.engines if name not in registry.broken(registry.ENGINES)]
    names += [n for n in _serving(target) if n not in names and not registry.load_engine(n).opt_in]
    engines = [registry.load_engine(name) for name in names]
    if not options.reference_engine:
        engines = [engine for engine in engines if not engine.fallback]
    return tuple(engines)


def _serving(target: Target) -> list[str]:
    return [engine.name for engine in registry.engines() if engine.serves(target)]


def views(program: Program, target: Target, options: CompileOptions) -> tuple[EngineView, ...]:
    """One view an engine, in order of preference."""
    return tuple(_guarded(engine, program, target, options) for engine in engines_for(target, options))


def _guarded(engine: Engine, program: Program, target: Target, options: CompileOptions) -> EngineView:
    """The view; an engine whose own code fails loses only itself, with its reason."""
    try:
        return _view(engine, program, target, options)
    except UsageError:  # an option that the user got wrong
        raise
    except Exception as error:  # another package's code, whatever it raises
        why = f"it failed to answer: {type(error).__name__}: {' '.join(str(error).split())[:500]}"
        return EngineView(engine.name, engine.fallback, why, (), ())


def _view(engine: Engine, program: Program, target: Target, options: CompileOptions) -> EngineView:
    gaps = engine.gaps(program, target)
    missing = engine.missing()
    plans: tuple[Plan, ...] = ()
    note = ""
    if not gaps and missing is None:
        variants = engine.variants(program, target, options.for_engines())
        plans = tuple(Plan((program,), (Step(engine.name, variant),)) for variant in variants)
        if not plans:
            note = engine.why_no_variant(program, target, options.for_engines())
    analysis = engine.analysis(program, target)
    return EngineView(engine.name, engine.fallback, missing, gaps, plans, note, analysis)


def require_plans(seen: Sequence[EngineView], target: Target, where: str) -> None:
    """Raises, where no engine has a plan: UnsupportedModel with all gaps, or MissingTool where only tools lack."""
    if any(view.plans for view in seen):
        return
    gaps = [gap for view in seen for gap in view.gaps]
    lacking = [view for view in seen if view.missing is not None]
    if any(not view.gaps for view in lacking):
        raise MissingTool(
            f"no engine for {target.name} can build here",
            where=where,
            why="; ".join(f"{view.name}: {view.missing}" for view in lacking),
            fix="install one of them (neoc doctor lists the commands)",
        )
    reasons = [f"{view.name}: {_short(view)}" for view in seen]
    raise UnsupportedModel(
        f"no engine for {target.name} takes this model",
        gaps=gaps,
        where=where,
        why="; ".join(reasons) or f"no engine serves {target.name}",
        fix=f"`neoc check {where} --target {target.name}` lists every gap with a suggestion",
    )


def _short(view: EngineView) -> str:
    if view.gaps:
        operators = sorted({gap.operator for gap in view.gaps if gap.operator})
        shown = ", ".join(operators[:4]) + (", ..." if len(operators) > 4 else "")
        count = "1 gap" if len(view.gaps) == 1 else f"{len(view.gaps)} gaps"
        return f"{count} ({shown or view.gaps[0].reason})"
    return view.missing or view.note
