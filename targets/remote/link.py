"""This side of a connection: a worker whose process is on a device (compile/worker.py), and what only devices do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import wire
from neoc.compile.artifact import Artifact
from neoc.compile.child import Watch
from neoc.compile.contracts import Feeds, Session
from neoc.compile.errors import (
    InvalidArtifact,
    NeocError,
    UsageError,
    WorkerCrashed,
    WorkerFailure,
)
from neoc.compile.wire import Message
from neoc.compile.worker import RemoteSession, Worker, restored
from neoc.targets.host import HostFacts
from neoc.targets.opening import admit_chip
from neoc.targets.remote import ssh
from neoc.targets.remote.book import Book, Device

CHUNK_BYTES = 4 << 20
Progress = Callable[[str, str], None]


def _silent(stage: str, detail: str) -> None:
    pass


class DeviceWorker(Worker):
    """A connection to a device. Everything that was sent or started over it is gone there when it closes.

    known_hosts: the file with the device's key; None: the user's book. timeout_s: bound on every single call.

    Beside what a worker raises, every call raises DeviceUnreachable or HostKeyMismatch where no connection came about,
    and DeviceLost where it, or the process over there, ended in the middle.
    """

    def __init__(self, device: Device, known_hosts: Path | None = None, timeout_s: float | None = None) -> None:
        super().__init__(f"device {device.name}", interpreter=device.python, timeout_s=timeout_s)
        self.device = device
        self._known_hosts = known_hosts or Book.of_user().known_hosts

    @property
    def host(self) -> HostFacts:
        """The machine over there."""
        return HostFacts.from_dict(self.facts["host"])

    def send(self, path: Path, progress: Progress = _silent, name: str = "") -> int:
        """Copy a file there, as `name` (by default its own); the number it has there.

        An artifact is checked there against its digest here.

        Raises DeviceFull, InvalidArtifact.
        """
        artifact = Artifact.open(path) if path.suffix == ".neoc" else None
        size = path.stat().st_size
        body = {
            "name": re.sub(r"[^A-Za-z0-9._-]", "_", name or path.name).lstrip(".-") or "file",
            "size": size,
            "content_digest": None if artifact is None else artifact.content_digest,
        }
        number: int = self._call(Message("receive", body), f"sending {path.name}").body["file"]
        whole, sent = hashlib.sha256(), 0
        with path.open("rb") as file:
            while True:
                data = file.read(CHUNK_BYTES)
                whole.update(data)
                sent += len(data)
                last = whole.hexdigest() if len(data) < CHUNK_BYTES else None
                chunk = Message("chunk", {"file": number, "last": last}, {"bytes": np.frombuffer(data, np.uint8)})
                self._call(chunk, f"sending {path.name}")
                progress("sending", f"{path.name}: {sent:,} of {size:,} bytes")
                if last is not None:
                    return number

    def open_sent(
        self, number: int, name: str, threads: int | None, device: str | None, options: Mapping[str, str]
    ) -> RemoteSession:
        """A session over an artifact that was sent."""
        body = {"file": number, "threads": threads, "device": device, "options": dict(options)}
        return self._opened(Message("open_sent", body), name)

    def bench(
        self,
        subjects: Sequence[tuple[str, int]],
        files: Mapping[str, Sequence[int]],
        options: Mapping[str, Any],
        progress: Progress,
    ) -> dict[str, Any]:
        """The record of a benchmark that runs there from beginning to end. subjects: (name, number of its artifact)."""
        body = {"subjects": list(subjects), "files": dict(files), "options": dict(options)}
        answer = self._call(Message("bench", body), "measuring", Watch.TIMING)
        while answer.kind == "progress":
            progress(answer.body["stage"], answer.body["detail"])
            answer = self._call(None, "measuring", Watch.TIMING)
        record: dict[str, Any] = answer.body["record"]
        return record

    # ---- how it differs from a worker here -----------------------------------------------------

    def _command(self) -> list[str]:
        remote = [self.device.python, "-P", "-m", "neoc.targets.remote.device_main"]
        return ssh.command(self.device, self._known_hosts, remote)

    def _check_hello(self, hello: Message) -> None:
        """Raises DeviceUnreachable for another neoc there, DeviceFull."""
        facts = hello.body
        here, there = version("neoc"), str(facts.get("neoc"))
        if facts.get("protocol") != wire.PROTOCOL or minor(there) != minor(here):
            raise ssh.lacks_neoc(self.device, f"it has neoc {there} (protocol {facts.get('protocol')}), here is {here}")
        if fault := facts.get("fault"):
            raise restored({"neoc": fault, "type": fault["kind"], "text": "", "trace": ""}, "", self._where())
        if facts["standin"] != self.device.standin:
            raise UsageError("a stand-in device must be added as one", where=self._where())

    def _no_hello(self, log: str, failure: WorkerFailure) -> NeocError:
        return ssh.refusal(self.device, log, failure.why)

    def _told(self, failure: WorkerFailure, doing: str, log: str) -> NeocError:
        if not isinstance(failure, WorkerCrashed):
            return failure
        return ssh.loss(self.device, doing, log, failure.why)

    def _where(self) -> str:
        return f"device {self.device.name!r}"


def minor(text: str) -> tuple[str, ...]:
    """'0.1.3' -> ('0', '1'): versions that differ in the rest understand each other."""
    return tuple(text.split(".")[:2])


def open_on(
    name: str,
    path: str | Path,
    threads: int | None = None,
    device: str | None = None,
    options: Mapping[str, str] | None = None,
    progress: Progress = _silent,
) -> DeviceSession:
    """A session over the artifact on the device of that name; as `open_artifact`, but there.

    Raises what `open_artifact` raises (WrongDevice before anything is sent), DeviceUnreachable, HostKeyMismatch,
    DeviceLost, DeviceFull, and UsageError for a name that was not added.
    """
    path = Path(path)
    book = Book.of_user()
    artifact = Artifact.open(path)
    with ExitStack() as stack:
        worker = DeviceWorker(book.get(name), book.known_hosts)
        stack.callback(worker.close)
        admit_there(artifact, worker, dict(options or {}).get("executor", ""))
        number = worker.send(path, progress)
        session = worker.open_sent(number, path.name, threads, device, options or {})
        stack.pop_all()
    return DeviceSession(session, worker)


def admit_there(artifact: Artifact, worker: DeviceWorker, executor: str = "") -> None:
    """Whether the device has the chip that the artifact is for; its software is looked at over there.

    Raises WrongDevice.
    """
    if artifact.path.suffix != ".neoc":
        raise InvalidArtifact("an artifact's name ends in .neoc", where=str(artifact.path), fix="rename it")
    if executor:
        return
    for variant in artifact.together():
        admit_chip(artifact, variant, worker.host)


class DeviceSession(Session):
    """A session on a device that takes its connection with it."""

    def __init__(self, session: RemoteSession, worker: DeviceWorker) -> None:
        self.inputs, self.outputs, self.concurrency = session.inputs, session.outputs, session.concurrency
        self.stamp, self.raw = session.stamp, session.raw
        self.worker = worker
        self._session = session
        if worker.device.standin:
            self.stamp = f"stand-in device {worker.device.name}: nothing here says anything about a chip"

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return self._session.run(feeds, outputs)

    def close(self) -> None:
        self.worker.close()
