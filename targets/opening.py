"""Opening an artifact: requirements first, then digests, then the engine. No framework, no compiler is imported."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import registry
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import (
    Engine,
    FeedCheck,
    Feeds,
    Level,
    Place,
    Requirement,
    Session,
    Signature,
    Target,
    Toolchain,
    Variant,
)
from neoc.compile.errors import (
    FeedError,
    InvalidArtifact,
    MissingTool,
    NeocError,
    PortableForm,
    Unavailable,
    UsageError,
    WrongDevice,
)
from neoc.compile.padding import Padding
from neoc.compile.settings import Settings
from neoc.targets import emulation, requirements
from neoc.targets.buckets import BucketSession
from neoc.targets.engines import ENGINES
from neoc.targets.host import HostFacts, detect
from neoc.targets.statics import StaticsSession

registry.declare(registry.ENGINES, ENGINES)


def open_artifact(
    path: str | Path,
    threads: int | None = None,
    device: str | None = None,
    variant: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Session:
    """A session over the artifact, on this machine.

    threads: None takes what the variant was raced with. device: None lets the engine choose. variant: an id; None for
    the first or, where the variants are buckets, for all of them: each call then runs in the smallest that holds it.
    Beside the first those of fixed sizes are opened, which serve the calls of exactly their sizes.
    options: {"executor": NAME} runs what the artifact holds in the engine's simulator or emulator of that name instead
    of on its chip; the session's `stamp` then says so, and its times mean nothing. qemu takes a CPU model, too:
    "qemu:cortex-a72"; what the model lacks refuses the artifact before anything is started.
    Raises InvalidArtifact (damaged, tampered with, of a future version), WrongDevice (for another chip), MissingTool
    (with the command that installs what is missing), Unavailable (nothing in it can run), UsageError (no such variant).
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads cannot run anything", fix="give 1 or more")
    executor, model = emulation.parsed(_executor(options or {}))
    artifact = Artifact.open(path)
    padding = None if variant is not None else _padding(artifact)
    chosen = artifact.together() if variant is None else [artifact.variant(variant)]
    if padding is None and variant is None and "portable" in chosen[0] and not executor:
        one, own = _openable(artifact, chosen[0], detect())
        chosen, engines = [one], [own]  # such artifacts hold no other variants
    else:
        engines = [admit(artifact, one, _host(artifact, executor, model), executor) for one in chosen]
    here = [
        step
        for one, own in zip(chosen, engines, strict=True)
        for step, engine in zip(one["steps"], own, strict=True)
        if _opens_with(engine, executor) is None
    ]
    contents, places = _contents(artifact, here)
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(_open_variant(artifact, contents, places, one, own, threads, device, executor, model))
            for one, own in zip(chosen, engines, strict=True)
        ]
        if places:
            artifact.unchanged()  # an engine may have opened the file by its name
        stack.pop_all()
    session = sessions[0]
    if padding is not None:
        buckets = [(one["bind"], each) for one, each in zip(chosen, sessions, strict=True)]
        session = BucketSession(buckets, artifact.signature, padding)
        session.stamp = sessions[0].stamp
    elif len(sessions) > 1:
        session = StaticsSession(session, sessions[1:])
        session.stamp = sessions[0].stamp
    _surround(session, artifact)
    return session


def _openable(
    artifact: Artifact, variant: Mapping[str, Any], host: HostFacts
) -> tuple[Mapping[str, Any], list[Engine]]:
    """The variant, or where it was made for another CPU or version its portable one, which is said by a warning.

    With its engines. Raises what `admit` raises where neither can run.
    """
    try:
        return variant, admit(artifact, variant, host)
    except (WrongDevice, MissingTool) as error:
        portable = artifact.variant(variant["portable"])
        try:
            engines = admit(artifact, portable, host)
        except NeocError:
            raise error from None
        text = f"{artifact.path.name} opens in its portable form {portable['id']}, which starts slower: {error.why}"
        warnings.warn(f"{text}; compile it on this machine to mend that", PortableForm, stacklevel=3)
        return portable, engines


def _contents(artifact: Artifact, steps: Sequence[Mapping[str, Any]]) -> tuple[dict[str, memoryview], dict[str, Place]]:
    """The steps' members: verified bytes in memory or, for those that engines map, the file's own, and their places.

    Mapped bytes are checked with all others of the file when this user opens it for the first time, and again when the
    file has changed since. Raises InvalidArtifact.
    """
    every = [path for step in steps for path in step["members"].values()]
    mapped = [step["members"][name] for step in steps for name in step.get("mapped", ())]
    if not mapped:
        return artifact.read(every, whole=True), {}
    from neoc.compile import trust

    known = trust.remembered(artifact)
    contents = artifact.read((path for path in every if path not in mapped), whole=not known)
    if not known:
        trust.remember(artifact)
    return contents | artifact.map(mapped), artifact.places(mapped)


def _executor(options: Mapping[str, str]) -> str:
    """The executor that was asked for; '' is the chip. Raises UsageError for an option that is not known."""
    if strangers := sorted(set(options) - {"executor"}):
        raise UsageError(f"there is no option {strangers[0]!r} for opening", fix="executor=NAME")
    return options.get("executor", "")


def _host(artifact: Artifact, executor: str, model: str) -> HostFacts | None:
    """The machine that must have what the artifact asks for; None where an executor takes the place of any."""
    if not executor:
        return detect()
    return emulation.host_of(model or str(artifact.manifest["target"]["facts"].get("emulated_as", "")))


def _opens_with(engine: Engine, executor: str) -> str | None:
    """The interpreter that opens, None for this one."""
    return engine.interpreter if executor else engine.runtime_interpreter or engine.interpreter


def _padding(artifact: Artifact) -> Padding | None:
    """How the artifact's buckets are fed; None where its variants are no buckets. Raises InvalidArtifact."""
    facts = artifact.manifest.get("padding")
    if facts is None:
        return None
    try:
        padding = Padding.from_dict(facts)
    except ValueError as error:
        raise InvalidArtifact(
            "the artifact is damaged or was tampered with", where=artifact.path.name, why=str(error)
        ) from error
    if any(variant["bind"].keys() != padding.least.keys() for variant in artifact.manifest["variants"]):
        raise InvalidArtifact(
            "the artifact is damaged or was tampered with",
            where=artifact.path.name,
            why="its variants are not the buckets that its padding speaks of",
        )
    return padding


def _open_variant(
    artifact: Artifact,
    contents: Mapping[str, memoryview],
    places: Mapping[str, Place],
    variant: Mapping[str, Any],
    engines: Sequence[Engine],
    threads: int | None,
    device: str | None,
    executor: str,
    model: str,
) -> Session:
    count = variant["threads"] if threads is None else threads
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(_open_step(artifact, contents, places, step, engine, count, device, executor, model))
            for step, engine in zip(variant["steps"], engines, strict=True)
        ]
        stack.pop_all()
    session = sessions[0] if len(sessions) == 1 else ChainedSession(sessions, artifact.signature)
    if executor:
        title = artifact.manifest["target"]["title"]
        session.stamp = f"{sessions[0].stamp or variant['level']}: run by {executor} on this machine, not by {title}"
    return session


def _surround(session: Session, artifact: Artifact) -> None:
    """The steps that the artifact declares around the model, and object code of their kernels made for this CPU."""
    facts = artifact.manifest
    if not facts["pre"] and not facts["post"]:
        return
    from neoc.compile.raw import around
    from neoc.kernels import jit
    from neoc.kernels.errors import KernelCompileError

    session.raw = around(facts["pre"], facts["post"], Signature(session.inputs, session.outputs))
    objects = facts.get("kernels", {})
    try:
        files = objects.get(jit.cpu_key(), {}) if objects else {}
    except KernelCompileError:  # without llvmlite nothing can be linked: run_raw will say so, run needs none
        return
    if files:
        contents = artifact.read(files.values())
        jit.install_objects({name: contents[path] for name, path in files.items()})


def admit(artifact: Artifact, variant: Mapping[str, Any], host: HostFacts | None, executor: str = "") -> list[Engine]:
    """The engines of the variant's steps, if it can run on `host`. Decided from the manifest: no member is read.

    `executor`: takes the chip's place, so that what the chip asks for is asked of `host` only where that is a machine
    which the executor imitates. Raises WrongDevice, MissingTool, Unavailable, and InvalidArtifact for an engine that
    the name does not register.
    """
    needs = [Requirement.from_dict(r) for r in variant["requirements"]]
    where = artifact.path.name
    if executor:
        engines = [_rehearsing(step["engine"], executor, artifact, variant) for step in variant["steps"]]
        if host is not None:
            requirements.require([r for r in needs if r.kind != "package"], host, where)
        return engines
    assert host is not None
    admit_chip(artifact, variant, host)
    requirements.require([r for r in needs if r.kind == "runtime"], host, where)
    _admit_level(artifact, variant)
    engines = [_engine(step["engine"], where) for step in variant["steps"]]
    software = [r for r in needs if r.kind == "package"]
    for interpreter in {_opens_with(engine, executor) for engine in engines}:
        requirements.require(software, host, where, None if interpreter is None else packages_of(interpreter))
    return engines


def admit_chip(artifact: Artifact, variant: Mapping[str, Any], host: HostFacts) -> None:
    """Whether `host`, which may be another machine, is the chip that the variant is for. Raises WrongDevice."""
    needs = [Requirement.from_dict(r) for r in variant["requirements"]]
    chip = [r for r in needs if r.kind not in ("package", "runtime")]
    try:
        requirements.require(chip, host, artifact.path.name)
    except WrongDevice as error:
        if variant["level"] in (Level.EMITTED, Level.STANDIN):
            error.why += f"; and it is of level {variant['level']}: no compiler of that chip has made it"
        raise


def _rehearsing(name: str, executor: str, artifact: Artifact, variant: Mapping[str, Any]) -> Engine:
    """The engine, if it has that executor and what it takes. Raises UsageError, MissingTool, Unavailable."""
    engine = _engine(name, artifact.path.name)
    if engine.executor != executor:
        has = f"its executor is {engine.executor}" if engine.executor else "it has none beside the chip"
        raise UsageError(f"engine {name!r} has no executor {executor!r}", where=artifact.path.name, why=has)
    _admit_standin(artifact, variant)
    if lacking := engine.missing():
        raise MissingTool(f"the executor {executor!r} cannot run here", where=artifact.path.name, why=lacking)
    return engine


def _engine(name: str, where: str) -> Engine:
    if ":" in name:  # 'module:attribute' would import whatever the file says
        raise InvalidArtifact(
            f"the artifact names the engine {name!r}, which cannot be registered",
            where=where,
            fix="open only artifacts whose engines are registered by installed packages (entry point neoc.engines)",
        )
    try:
        return registry.load_engine(name)
    except UsageError as error:
        raise MissingTool(
            f"the artifact runs on the engine {name!r}, which is not installed",
            where=where,
            why=f"installed are: {', '.join(registry.engine_names())}",
            fix="install the package that registers it, or a newer neoc: pip install --upgrade neoc",
        ) from error


def _admit_standin(artifact: Artifact, variant: Mapping[str, Any]) -> None:
    if variant["toolchain"] == Toolchain.STANDIN and not Settings.read().allow_standin:
        raise Unavailable(
            "the artifact was made by a stand-in tool chain",
            where=artifact.path.name,
            why="it exists to test neoc and computes nothing that counts",
            fix="compile the model with the real tool chain; NEOC_ALLOW_STANDIN=1 opens it all the same",
        )


def _admit_level(artifact: Artifact, variant: Mapping[str, Any]) -> None:
    _admit_standin(artifact, variant)
    if variant["toolchain"] == Toolchain.NONE:
        raise Unavailable(
            "the artifact holds compiler input, not machine code",
            where=artifact.path.name,
            why=f"it is of level {variant['level']}: no compiler of {artifact.manifest['target']['title']} has run",
            fix="compile the model where that compiler is installed (`neoc doctor` names it)",
        )


def packages_of(interpreter: str) -> list[Path]:
    """Where another interpreter's environment keeps its packages."""
    prefix = Path(interpreter).absolute().parent.parent  # not resolved: an environment's python is a link
    return sorted(prefix.glob("lib*/python3*/site-packages"))


def _open_step(
    artifact: Artifact,
    contents: Mapping[str, memoryview],
    places: Mapping[str, Place],
    step: Mapping[str, Any],
    engine: Engine,
    threads: int,
    device: str | None,
    executor: str,
    model: str,
) -> Session:
    signature = Signature.from_dict(step["signature"]) if "signature" in step else artifact.signature
    variant = Variant.from_dict(step["variant"])
    target = emulation.on_model(Target.from_dict(artifact.manifest["target"]), model) if executor else None
    if _opens_with(engine, executor) is not None:
        return _open_elsewhere(artifact, step, engine, signature, variant, threads, device, target)
    members = {name: contents[path] for name, path in step["members"].items()}
    if target is not None:
        return engine.rehearse(members, signature, variant, target)
    own = {name: places[step["members"][name]] for name in step.get("mapped", ())}
    if own:
        return engine.open_mapped(members, own, signature, variant, threads, device)
    return engine.open(members, signature, variant, threads, device)


def _open_elsewhere(
    artifact: Artifact,
    step: Mapping[str, Any],
    engine: Engine,
    signature: Signature,
    variant: Variant,
    threads: int,
    device: str | None,
    rehearsed_for: Target | None,
) -> Session:
    """A session in a worker with the engine's own interpreter, over verified copies in a private folder."""
    from neoc.compile.worker import Worker

    interpreter = _opens_with(engine, "" if rehearsed_for is None else engine.executor)
    with ExitStack() as stack:
        worker = Worker(f"{artifact.path.name} on {engine.name}", interpreter=interpreter)
        stack.callback(worker.close)
        with tempfile.TemporaryDirectory(prefix="neoc-") as folder:
            files = artifact.extract(step["members"], Path(folder), durable=False)
            members = dict(zip(step["members"], files, strict=True))
            # The worker maps the files while it opens them: they stay valid there when the folder goes.
            session = worker.open(engine.name, members, signature, variant, threads, device, rehearsed_for)
        stack.pop_all()
    return _WorkerSession(session, worker)


class _WorkerSession(Session):
    """A remote session that takes its worker with it."""

    def __init__(self, session: Session, worker: Any) -> None:
        self.inputs, self.outputs, self.concurrency = session.inputs, session.outputs, session.concurrency
        self.stamp = session.stamp
        self._session, self._worker = session, worker

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return self._session.run(feeds, outputs)

    def close(self) -> None:
        self._worker.close()


class ChainedSession(Session):
    """The steps of a plan in order: each takes its inputs by name from the feeds and from the steps before it."""

    def __init__(self, sessions: Sequence[Session], signature: Signature) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.concurrency = min(session.concurrency for session in sessions)
        self._sessions = tuple(sessions)
        self._check = FeedCheck(self.inputs)
        given = {spec.name for spec in self.inputs}
        made: set[str] = set()
        for index, session in enumerate(sessions):
            missing = sorted({spec.name for spec in session.inputs} - given - made)
            if missing:
                raise _unchained(f"step {index} takes {', '.join(missing)}, which nothing before it gives")
            names = {spec.name for spec in session.outputs}
            if names & (given | made):
                raise _unchained(f"step {index} gives {', '.join(sorted(names & (given | made)))} once more")
            made |= names
        missing = sorted({spec.name for spec in self.outputs} - made)
        if missing:
            raise _unchained(f"no step gives {', '.join(missing)}")

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        wanted = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        unknown = sorted(set(wanted) - {spec.name for spec in self.outputs})
        if unknown:
            raise FeedError(
                f"there is no output named {', '.join(map(repr, unknown))}",
                fix=f"the model gives {', '.join(spec.name for spec in self.outputs)}",
            )
        values = dict(feeds)
        for session, asked in self._needed(wanted):
            values |= session.run({spec.name: values[spec.name] for spec in session.inputs}, asked)
        return {name: values[name] for name in wanted}

    def _needed(self, wanted: Sequence[str]) -> list[tuple[Session, list[str]]]:
        """Backwards from the outputs: the steps to run, and what to ask of each."""
        needed, steps = set(wanted), []
        for session in reversed(self._sessions):
            asked = [spec.name for spec in session.outputs if spec.name in needed]
            if asked:
                steps.append((session, asked))
                needed = (needed - set(asked)) | {spec.name for spec in session.inputs}
        return steps[::-1]

    def close(self) -> None:
        for session in self._sessions:
            session.close()


def _unchained(why: str) -> InvalidArtifact:
    return InvalidArtifact("the steps of the artifact do not fit together", why=why, fix="compile the model anew")
