"""Builds, each in a worker process of its own, cached by content: an engine that fails loses only itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile import registry
from neoc.compile.cache import BuildCache
from neoc.compile.contracts import Built, Plan, Step, Target
from neoc.compile.errors import MissingTool, NeocError, OutputError
from neoc.compile.options import CompileOptions
from neoc.compile.own_code import code_digest
from neoc.compile.program import Program
from neoc.compile.settings import Settings
from neoc.compile.worker import Worker

if TYPE_CHECKING:
    from neoc.compile.reference import Reference

Progress = Callable[[str, str], None]
"""(stage, detail): told of every step that may take more than a second"""


@dataclass(frozen=True)
class Loss:
    """A candidate that fell out, and why."""

    plan: str
    stage: str
    error: NeocError

    def as_dict(self) -> dict[str, str]:
        return {"candidate": self.plan, "stage": self.stage, "reason": str(self.error)}


@dataclass(frozen=True)
class Candidate:
    """A plan that was built. Its variant may share the built members with others of the same engine."""

    plan: Plan
    built: Built
    cached: str
    """'hit', or why the cache had no such build"""

    @property
    def step(self) -> Step:
        return self.plan.steps[0]


@dataclass
class Workshop:
    """Where one compilation works: a scratch folder, the build cache, and every child process, ended with it."""

    scratch: Path
    settings: Settings
    options: CompileOptions
    progress: Progress
    cache: BuildCache | None
    stack: ExitStack
    losses: list[Loss] = field(default_factory=list)
    reference: Reference | None = None
    """gathered once, when the first candidate can be run"""
    exact: tuple[Mapping[str, Any], ...] | None = None
    """float64 outputs of the original graph on the reference's first samples, where a rewrite was judged by them"""
    _folders: int = 0

    @property
    def timeout_s(self) -> float:
        return self.options.timeout_s or self.settings.worker_timeout_s

    def folder(self, name: str) -> Path:
        """A new empty scratch folder."""
        self._folders += 1
        path = self.scratch / f"{self._folders:03d}-{name}"
        path.mkdir()
        return path

    def worker(self, name: str, engine: str | None, target: Target | None = None, on_chip: bool = False) -> Worker:
        """A child process for `engine` (None: for a framework), closed at the latest with the workshop.

        `on_chip`: to open on the chip itself.
        """
        owner = None if engine is None else registry.load_engine(engine)
        elsewhere = owner.runtime_interpreter if owner is not None and on_chip else None
        worker = Worker(
            name,
            interpreter=elsewhere or (None if owner is None else owner.interpreter),
            memory_bytes=self.settings.worker_memory_bytes,
            timeout_s=self.timeout_s,
            env=None if target is None else worker_environment(target),
        )
        self.stack.callback(worker.close)
        return worker

    def rest(self) -> None:
        """End every child process; the next call for a worker starts a new one."""
        self.stack.close()

    def lose(self, plan: Plan, stage: str, error: NeocError) -> None:
        self.losses.append(Loss(plan.id, stage, error))
        self.progress(stage, f"{plan.id} lost: {error}")


def worker_environment(target: Target) -> dict[str, str]:
    """Environment that caps an engine's dispatch for this target (fact 'worker_env': JSON text)."""
    return dict(json.loads(target.fact("worker_env", "{}")))


@contextmanager
def workshop(options: CompileOptions, progress: Progress) -> Iterator[Workshop]:
    settings = Settings.read()
    cache = BuildCache(settings.cache_dir / "builds", settings.cache_limit_bytes) if options.use_cache else None
    with (
        tempfile.TemporaryDirectory(prefix="neoc-", ignore_cleanup_errors=True) as scratch,
        ExitStack() as stack,
    ):
        yield Workshop(Path(scratch), settings, options, progress, cache, stack)


def build_all(shop: Workshop, plans: Sequence[Plan], target: Target) -> list[Candidate]:
    """Every plan that builds. Variants of one engine that differ only at open share one build."""
    done: dict[tuple[object, ...], Built | NeocError] = {}
    cached: dict[tuple[object, ...], str] = {}
    candidates = []
    for plan in plans:
        step = plan.steps[0]
        key = (step.engine, step.variant.build_key())
        if key not in done:
            shop.progress("build", plan.id)
            try:
                done[key], cached[key] = build(shop, plan.programs[step.program], step, target)
            except NeocError as error:
                done[key] = error
        outcome = done[key]
        if isinstance(outcome, NeocError):
            shop.lose(plan, "build", outcome)
        else:
            candidates.append(Candidate(plan, outcome, cached[key]))
    return candidates


def build(shop: Workshop, program: Program, step: Step, target: Target) -> tuple[Built, str]:
    """(build, 'hit' or the reason of the miss). Raises WorkerFailure or what the engine raised."""
    key = cache_key(program, step, target)
    if shop.cache is not None:
        entry = shop.cache.get(key)
        if entry is not None:
            return _read_built(entry), "hit"
    why = "cache off" if shop.cache is None else shop.cache.explain(key)
    folder = shop.folder(step.engine)
    source = shop.folder("program")
    program.save(source)
    worker = shop.worker(f"build {step.engine}", step.engine, target)
    try:
        built = worker.build(step.engine, source, target, step.variant, folder)
    finally:
        worker.close()
    _check_members(built, step)
    _write_built(built, folder)
    if shop.cache is not None:
        try:
            built = _read_built(shop.cache.put(key, folder))
        except OutputError as error:  # a full or locked cache costs the next compilation time, not this one its result
            shop.progress("cache", str(error))
    return built, why


def cache_key(program: Program, step: Step, target: Target) -> Mapping[str, str]:
    """What a build depends on, part by part, so that a miss can say which part changed."""
    engine = registry.load_engine(step.engine)
    description = {k: v for k, v in target.as_dict().items() if k in ("arch", "level", "features", "facts")}
    key = {
        "neoc": version("neoc"),
        "code": code_digest(),
        "program": program.digest,
        "engine": step.engine,
        "target": json.dumps(description, sort_keys=True),
    }
    key |= {f"variant.{name}": str(value) for name, value in step.variant.build_key()}
    return key | {f"tools.{name}": tool for name, tool in engine.tools().items()}


def _check_members(built: Built, step: Step) -> None:
    for name, path in built.members.items():
        if not path.is_file() or path.stat().st_size == 0:
            raise MissingTool(
                f"engine {step.engine} reported success without its output",
                where=f"member {name}",
                why="the file is missing or empty",
                fix="run with --debug and look at the engine's own log",
            )


def _write_built(built: Built, folder: Path) -> None:
    facts = built.as_dict(folder)
    (folder / "built.json").write_text(json.dumps(facts, sort_keys=True))


def _read_built(folder: Path) -> Built:
    return Built.from_dict(json.loads((folder / "built.json").read_text()), folder)
