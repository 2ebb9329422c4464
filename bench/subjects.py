"""What can be measured or compared: an artifact, or ENGINE:MODEL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neoc.compile import registry
from neoc.compile.artifact import is_artifact
from neoc.compile.contracts import Engine, Signature
from neoc.compile.errors import UsageError
from neoc.compile.settings import Settings
from neoc.compile.worker import RemoteSession, Worker


@dataclass(frozen=True)
class Subject:
    """`engine` None: an artifact at `path`; else that engine on the untouched source at `path`."""

    text: str
    path: Path
    engine: str | None = None

    @property
    def label(self) -> str:
        return self.path.name if self.engine is None else f"{self.engine}:{self.path.name}"


def parse(text: str) -> Subject:
    """Only a registered engine's name counts as a prefix. Raises UsageError."""
    prefix, colon, rest = text.partition(":")
    if colon and prefix in registry.engine_names():
        return _existing(Subject(text, Path(rest), prefix))
    subject = _existing(Subject(text, Path(text)))
    if not is_artifact(subject.path):
        raise UsageError(
            f"{text} is no artifact",
            fix=f"compile it first, or measure an engine on it: onnxruntime:{text}",
        )
    return subject


def _existing(subject: Subject) -> Subject:
    if not subject.path.is_file():
        raise UsageError(
            f"there is no file {subject.path}", where=subject.text, fix="name a .neoc file or ENGINE:MODEL"
        )
    return subject


@dataclass
class Opened:
    """A subject open in a process of its own."""

    subject: Subject
    worker: Worker
    session: RemoteSession

    def close(self) -> None:
        self.worker.close()


def signature_of(subject: Subject) -> Signature:
    """Inputs and outputs without opening anything."""
    if subject.engine is None:
        from neoc.compile.artifact import Artifact

        return Artifact.open(subject.path).signature
    from neoc.compile.frontends import load

    return load(subject.path, {}).signature


def open_subject(subject: Subject, threads: int) -> Opened:
    """Open it in a worker. Raises WrongDevice, MissingTool, WorkerFailure."""
    settings = Settings.read()
    engine = None if subject.engine is None else registry.load_engine(subject.engine)
    worker = Worker(
        subject.label,
        interpreter=None if engine is None else engine.interpreter,
        memory_bytes=settings.worker_memory_bytes,
        timeout_s=settings.worker_timeout_s,
    )
    try:
        if engine is None:
            session = worker.open_artifact(subject.path, threads)
        elif type(engine).plain_call is Engine.plain_call:
            if not engine.oracle:
                raise UsageError(
                    f"engine {engine.name} does not run plain models", fix="compile the model and name the artifact"
                )
            session = worker.open_source(engine.name, subject.path, signature_of(subject))
        else:
            session = worker.open_plain(engine.name, subject.path, signature_of(subject), threads)
    except BaseException:
        worker.close()
        raise
    return Opened(subject, worker, session)
