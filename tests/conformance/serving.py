"""neoc's own decision about one model, made in this process: what `compile_model` would serve, and what that answers.

The steps are those of The Page, in its own functions: front end, passes, plans, builds, verification against the
reference. Two things differ, for speed: engines build and open here rather than in a worker process each (the whole
process is the worker: the runner restarts it when it dies), and instead of racing its variants each engine is asked for
its first one. Every candidate that passes verification is returned, since a race may choose any of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from neoc.compile import build, choose, plan, reference, registry, verify
from neoc.compile.contracts import Built, Place, Plan, Session, Signature, Target, Variant
from neoc.compile.errors import NeocError, WorkerRefused
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import lower
from neoc.compile.program import Program
from neoc.compile.settings import Settings
from neoc.compile.worker_serve import map_file


class LocalSession(Session):
    """An engine's session behind the errors that a worker would give."""

    def __init__(self, session: Session) -> None:
        self.inputs, self.outputs, self._session = session.inputs, session.outputs, session

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Any]:
        with _as_a_worker():
            return self._session.run(feeds, outputs)

    def close(self) -> None:
        self._session.close()


class _as_a_worker:
    """Errors of neoc pass as they are; whatever else an engine raises becomes WorkerRefused, as over the pipe."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, NeocError | TimeoutError):
            raise WorkerRefused("the engine raised an error", why=f"{type(error).__name__}: {error}") from error


@dataclass
class LocalWorker:
    """The methods of `Worker` that verification uses, without the process."""

    name: str
    session: Session | None = None

    def build(self, engine: str, program: Path, target: Target, variant: Variant, folder: Path) -> Built:
        with _as_a_worker():
            return registry.load_engine(engine).build(Program.load(program), target, variant, folder)

    def open(
        self,
        engine: str,
        members: Mapping[str, Path],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
        rehearsed_for: Target | None = None,
        mapped: Sequence[str] = (),
    ) -> Session:
        maps = {name: map_file(Path(path)) for name, path in members.items()}
        places = {name: Place(Path(members[name]), 0, maps[name].nbytes) for name in mapped}
        chosen = registry.load_engine(engine)
        with _as_a_worker():
            if places:
                self.session = chosen.open_mapped(maps, places, signature, variant, threads, device)
            elif rehearsed_for is None:
                self.session = chosen.open(maps, signature, variant, threads, device)
            else:
                self.session = chosen.rehearse(maps, signature, variant, rehearsed_for)
        return LocalSession(self.session)

    def open_source(self, engine: str, source: Path, signature: Signature) -> Session:
        with _as_a_worker():
            self.session = registry.load_engine(engine).open_source(source, signature)
        return LocalSession(self.session)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


class LocalWorkshop(build.Workshop):
    def worker(self, name: str, engine: str, target: Target | None = None, on_chip: bool = False) -> Any:
        worker = LocalWorker(name)
        self.stack.callback(worker.close)
        return worker


@dataclass(frozen=True)
class Served:
    """One verified candidate and its answer to each of the given samples."""

    engine: str
    compiled: bool
    answers: tuple[Mapping[str, Any], ...]


def serve(model: Path, samples: Sequence[Mapping[str, Any]]) -> list[Served]:
    """All that would pass, in the target's order of preference, with `samples` as the user's --data.

    Raises the NeocError with which `neoc compile` would end.
    """
    options = CompileOptions(data=model, allow_vacuous=True, use_cache=False)
    chip = registry.load_target("host")
    program = lower(model, options)
    with tempfile.TemporaryDirectory(prefix="neoc-conformance-") as scratch, ExitStack() as stack:
        shop = LocalWorkshop(Path(scratch), Settings.read(), options, lambda stage, detail: None, None, stack)
        # An .npz holds no sequences and no optionals; the suite's inputs do.
        with mock.patch.object(reference.inputs, "load_data", return_value=list(samples)):
            seen = tuple(replace(view, plans=first_variants(view.plans)) for view in plan.views(program, chip, options))
            plan.require_plans(seen, chip, model.name)
            for plans in choose.tiers(seen, options):
                candidates = build.build_all(shop, plans, chip)
                verified = verify.verify_all(shop, program, chip, candidates)
                if verified:
                    return [_served(v, program.signature, samples) for v in verified]
            raise verify.nothing_left(shop, program)


def first_variants(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The default variant of each engine."""
    first: dict[str, Plan] = {}
    for one in plans:
        first.setdefault(one.steps[0].engine, one)
    return tuple(first.values())


def _served(verified: verify.Verified, signature: Signature, samples: Sequence[Mapping[str, Any]]) -> Served:
    engine = registry.load_engine(verified.candidate.step.engine)
    worker: Any = verified.worker
    session = LocalSession(worker.session)
    return Served(engine.name, not engine.fallback, tuple(session.run(sample) for sample in samples))
