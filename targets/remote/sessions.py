"""A device's side of a connection: one folder a connection, and nothing that outlives it. Standard library alone.

    NEOC_CACHE_DIR/device/session-x1y2/    lock    held while anything of this connection lives
                                           files/  what was sent
                                           tmp/    working directory and temporary files of all that runs

The guardian clears a folder away when its connection ends, however it ends. Where the guardian is gone too (power cut,
everything killed), the next connection finds the lock free and clears it away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "NEOC_DEVICE_SESSION"
"""environment variable of every program that a connection starts: the name of its folder"""
PREFIX = "session-"
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Folder:
    """`swept`: what earlier connections had left."""

    path: Path
    lock: int
    swept: tuple[str, ...] = ()

    @property
    def files(self) -> Path:
        return self.path / "files"

    @property
    def scratch(self) -> Path:
        return self.path / "tmp"


def begin(root: Path) -> Folder:
    """A fresh folder under `root`, locked, after what is left of dead connections was removed. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(root / ".lock"):
        swept = sweep(root)
        path = Path(tempfile.mkdtemp(dir=root, prefix=PREFIX))
        try:
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = Folder(path, lock, tuple(swept))
            for inner in (folder.files, folder.scratch):
                inner.mkdir()
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
    return folder


def sweep(root: Path) -> list[str]:
    """Remove the folders that nobody holds, and end what still runs of their connections; their names."""
    gone = []
    for path in sorted(root.glob(PREFIX + "*")):
        if _is_dead(path):
            _end(_marked(path.name))
            _remove(path)
            gone.append(path.name)
    return gone


def clear(folder: Folder) -> None:
    """End all that runs for this connection beside this process, and remove its folder."""
    _end({*_group_mates(), *_marked(folder.path.name)})
    _remove(folder.path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_dead(path: Path) -> bool:
    try:
        handle = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # it ended between making the folder and making the lock: `begin` holds the lock of the root
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _remove(path: Path) -> None:
    """Until it is gone: a process that is just dying may still write into it."""
    until = time.monotonic() + PATIENCE_S
    while path.exists() and time.monotonic() < until:
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            time.sleep(0.02)


def _end(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())


def _marked(name: str) -> set[int]:
    """Processes whose environment names this folder: engines' own workers, which make groups of their own."""
    word = f"{MARK}={name}".encode()
    found = set()
    for pid in _processes():
        with suppress(OSError):  # another user's, or gone
            if word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def _group_mates() -> set[int]:
    group = os.getpgrp()
    found = set()
    for pid in _processes():
        with suppress(OSError):
            if os.getpgid(pid) == group:
                found.add(pid)
    return found
