"""What a device answers beside what a worker does (compile/worker_serve.py). One request, one answer, in order.

    receive      name, size, content digest or null -> number of the file
    chunk        number, last: sha256 or null; bytes -> how many are there
    open_sent    number, threads, device, options -> session, as open_artifact
    bench        subjects, files, options -> the record; messages 'progress' before it

It knows neither build nor load: what runs here is neoc as it was installed here, and artifacts every byte of which was
checked against the digest that the other side named.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import registry
from neoc.compile.artifact import Artifact
from neoc.compile.errors import DeviceFull, InvalidArtifact, NeocError, Unavailable, UsageError
from neoc.compile.machine import fingerprint
from neoc.compile.wire import Message
from neoc.compile.worker_serve import Operations
from neoc.targets.host import detect
from neoc.targets.remote.sessions import Folder

SPARE_BYTES = 16 << 20
"""room that is left to the device beside what is sent"""
_FULL = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would grow past its limit",
}


@dataclass
class _Incoming:
    """A file on its way. `content_digest`: of an artifact; None for data."""

    path: Path
    size: int
    content_digest: str | None
    here: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)
    whole: bool = False


@dataclass
class DeviceOperations(Operations):
    """`fault`: why there is no folder; the other side hears of it and leaves."""

    folder: Folder | None = None
    fault: OSError | None = None
    files: dict[int, _Incoming] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        fault = None if self.fault is None else _full(self.fault, 0).as_dict()
        return {
            "host": detect().as_dict(),
            "fingerprint": fingerprint(),
            "swept": [] if self.folder is None else list(self.folder.swept),
            "standin": os.environ.get("NEOC_STANDIN_DEVICE", "") == "1",
            "fault": fault,
        }

    def table(self) -> dict[str, Callable[[Message], Message]]:
        of_workers = super().table()
        own: dict[str, Callable[[Message], Message]] = {
            "receive": self._receive,
            "chunk": self._chunk,
            "open_sent": self._open_sent,
            "bench": self._bench,
        }
        return {kind: of_workers[kind] for kind in ("put", "run", "time", "memory", "close")} | own

    # ---- files ---------------------------------------------------------------------------------

    def _receive(self, message: Message) -> Message:
        body = message.body
        name, size = str(body["name"]), int(body["size"])
        if self.folder is None or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", name) or size < 0:
            raise UsageError(f"a file named {name!r} cannot be taken")
        number = self._number()
        path = self.folder.files / str(number) / name
        try:
            free = shutil.disk_usage(self.folder.files).free
            if free < size + SPARE_BYTES:
                raise OSError(errno.ENOSPC, f"{free} bytes are free")
            path.parent.mkdir()
            path.touch()
        except OSError as error:
            raise _full(error, size) from error
        self.files[number] = _Incoming(path, size, body["content_digest"])
        return Message("file", {"file": number})

    def _chunk(self, message: Message) -> Message:
        coming = self.files[message.body["file"]]
        data = np.ascontiguousarray(message.values["bytes"]).data
        try:
            with coming.path.open("ab") as file:
                file.write(data)
        except OSError as error:
            self._drop(message.body["file"])
            raise _full(error, coming.size) from error
        coming.here += data.nbytes
        coming.sha256.update(data)
        if (digest := message.body["last"]) is not None:
            try:
                self._check(coming, digest)
            except NeocError:
                self._drop(message.body["file"])
                raise
        return Message("received", {"bytes": coming.here})

    def _check(self, coming: _Incoming, digest: str) -> None:
        """Nothing is opened that is not, byte for byte, what was meant. Raises InvalidArtifact."""
        name = coming.path.name
        if (coming.here, coming.sha256.hexdigest()) != (coming.size, digest):
            raise InvalidArtifact("the file changed on its way", where=name, fix="send it again")
        if coming.content_digest is not None:
            artifact = Artifact.open(coming.path)
            if artifact.content_digest != coming.content_digest:
                raise InvalidArtifact(
                    "the artifact is not the one that was named",
                    where=name,
                    why=f"its digest is {artifact.content_digest}, and {coming.content_digest} was named",
                    fix="send it again; let nothing write to it meanwhile",
                )
            artifact.verify()
        coming.whole = True

    def _drop(self, number: int) -> None:
        shutil.rmtree(self.files.pop(number).path.parent, ignore_errors=True)

    def _sent(self, number: int, artifact: bool) -> Path:
        coming = self.files.get(number)
        if coming is None or not coming.whole or artifact != (coming.content_digest is not None):
            raise UsageError(f"file {number} was not sent as what it is used for")
        return coming.path

    # ---- what is done with them ----------------------------------------------------------------

    def _open_sent(self, message: Message) -> Message:
        path = self._sent(message.body["file"], artifact=True)
        body = {key: message.body[key] for key in ("threads", "device", "options")}
        return self._open_artifact(Message("open_artifact", body | {"path": str(path)}))

    def _bench(self, message: Message) -> Message:
        body = message.body
        subjects = [(str(text), self._sent(number, artifact=True)) for text, number in body["subjects"]]
        files: Mapping[str, list[Path]] = {
            use: [self._sent(number, artifact=False) for number in numbers] for use, numbers in body["files"].items()
        }
        service = registry.device_service("bench")
        record = service(subjects, files, body["options"], self._progress)
        return Message("benched", {"record": record})

    def _progress(self, stage: str, detail: str) -> None:
        self.tell(Message("progress", {"stage": stage, "detail": detail}))


def _full(error: OSError, size: int) -> Unavailable:
    why = _FULL.get(error.errno or 0)
    what = "the device has no room for what is sent to it" if why else "the device's disk cannot be written"
    detail = f"{why or error.strerror or error}" + (f", where {size:,} bytes were sent" if size else "")
    fix = "make room there, or point NEOC_CACHE_DIR there to a place with room; nothing of it was kept"
    return DeviceFull(what, where=str(error.filename or ""), why=detail, fix=fix)
