"""The build cache: a build's folder under the digest of everything it depends on.

    root/entries/<sha256 of the key>/entry.json     the key, part by part, and the digest of every file
                                     content/       the build's folder
                                     lease          locked, shared, by whoever uses the entry; its mtime is the last use
    root/tmp/...                                    entries being written, and being removed

An entry appears by one rename, complete or not at all: two writers, a kill in the middle or a full disk leave nothing
half written that could be served. What a killed writer left in tmp is swept by the next one. Every entry is checked
against its digests when it is served. No process waits for another.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neoc.compile.errors import OutputError

_log = logging.getLogger(__name__)

FORMAT = 1
SWEEP_AGE_S = 60.0
"""a folder in tmp without a lease is younger than this only between two system calls of its writer"""
ATTEMPTS = 10
"""at putting an entry where others put and evict the same one all the time"""
SHOWN = 60
"""characters of a key's part that an explanation shows"""


@dataclass(frozen=True)
class CacheEntry:
    digest: str
    """of the key: the name of its folder"""
    key: Mapping[str, str]
    path: Path
    """the build's folder"""
    bytes: int
    created: str
    last_used: str
    """both in UTC, ISO 8601"""

    def as_dict(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "key": dict(self.key),
            "path": str(self.path),
            "bytes": self.bytes,
            "created": self.created,
            "last_used": self.last_used,
        }


class BuildCache:
    """Builds by content. `root` is made when something is first put; reading where there is none finds nothing.

    A folder that `get` or `put` returned stays until this object goes (or `close`): nobody evicts it meanwhile. It is
    not to be written to. What went wrong without stopping anything (a damaged entry that was dropped) is in `notes`.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root, self.limit_bytes = root, limit_bytes
        self.notes: list[str] = []
        self._leases: dict[str, int] = {}
        self._gone: dict[str, str] = {}

    def get(self, key: Mapping[str, str]) -> Path | None:
        """The folder that was built for this key, verified; None where there is none, or where it was damaged."""
        digest = digest_of(key)
        folder = self._entries / digest
        lease = self._lease(digest)
        if lease is None:
            return None
        damage = _damage(folder)
        if damage:
            self._release(digest)
            self._gone[digest] = f"its entry was damaged ({damage})"
            self._note(f"cache entry {digest[:12]} was damaged and is dropped: {damage}")
            self._remove(folder)
            return None
        with suppress(OSError):  # a cache that may only be read keeps no order of use
            os.utime(lease)
        return folder / "content"

    def put(self, key: Mapping[str, str], folder: Path) -> Path:
        """Copy `folder` into the cache and return the copy; where another writer was first, that one's.

        May evict others, the longest unused first, never the new one: it stays even where it alone is over the limit.
        Raises OutputError, with nothing left behind, where the cache cannot be written or the disk is full: `folder`
        is untouched, and the caller can go on with it.
        """
        digest = digest_of(key)
        target = self._entries / digest
        try:
            self._entries.mkdir(parents=True, exist_ok=True)
            staging = self._stage(key, folder)
            try:
                self._publish(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            self._sweep()
            self._evict(keep=digest)
        except OSError as error:
            raise OutputError(
                "the build cache cannot be written",
                where=str(error.filename or self.root),
                why=error.strerror or str(error),
                fix="free some space there (`neoc cache clear`), or point NEOC_CACHE_DIR to another place",
            ) from error
        if self._lease(digest) is None:
            raise OutputError("the build cache lost an entry as it was written", where=str(target), fix="run it again")
        return target / "content"

    def explain(self, key: Mapping[str, str]) -> str:
        """Why this key is a miss: which of its parts differ from those of the nearest entry.

        Nearest is the entry with the most equal parts, of several the last used.
        """
        digest = digest_of(key)
        if digest in self._gone:
            return self._gone[digest]
        entries = self.entries()
        if not entries:
            return "the cache is empty"
        if any(entry.digest == digest for entry in entries):
            return "nothing changed: this build is in the cache"
        nearest = max(entries, key=lambda entry: sum(entry.key.get(name) == part for name, part in key.items()))
        names = sorted(key.keys() | nearest.key.keys())
        changes = [(name, nearest.key.get(name), key.get(name)) for name in names]
        return "; ".join(f"{name}: {_shown(old)} -> {_shown(new)}" for name, old, new in changes if old != new)

    def entries(self) -> list[CacheEntry]:
        """Everything in the cache, the last used first."""
        found = [entry for folder in self._folders() if (entry := _read_entry(folder)) is not None]
        return sorted(found, key=lambda entry: (entry.last_used, entry.digest), reverse=True)

    def clear(self) -> list[CacheEntry]:
        """Remove everything that no other process uses; what was removed. What resists is in `notes`."""
        self.close()
        removed = []
        for folder in self._folders():
            entry = _read_entry(folder)
            if self._remove_unused(folder) and entry is not None:
                removed.append(entry)
        self._sweep()
        return removed

    def close(self) -> None:
        """Give back the folders that were served: they may be evicted from now on."""
        for digest in list(self._leases):
            self._release(digest)

    def __del__(self) -> None:
        self.close()

    # ---- writing ---------------------------------------------------------------------------

    @property
    def _entries(self) -> Path:
        return self.root / "entries"

    @property
    def _tmp(self) -> Path:
        return self.root / "tmp"

    def _stage(self, key: Mapping[str, str], source: Path) -> Path:
        """The complete entry in a folder of tmp, on the disk, locked by us. Leaves nothing where it raises."""
        staging = self._leased_folder()
        try:
            files = {name: _copy(source / name, staging / "content" / name) for name in _tree(source)}
            (staging / "content").mkdir(exist_ok=True)
            facts = {
                "format": FORMAT,
                "key": dict(key),
                "created": _utc(time.time()),
                "bytes": sum(size for size, _ in files.values()),
                "files": files,
            }
            _write(staging / "entry.json", json.dumps(facts, indent=1, sort_keys=True).encode())
            for folder in [staging, *(p for p in staging.rglob("*") if p.is_dir())]:
                _sync_folder(folder)
        except BaseException:
            self._release(staging.name)
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return staging

    def _leased_folder(self) -> Path:
        """A new folder of tmp, locked by us: the lock goes with it through the rename, and keeps sweepers off."""
        for attempt in range(ATTEMPTS):
            staging = self._tmp / f"{os.getpid()}-{uuid.uuid4().hex}"
            staging.mkdir(parents=True)
            try:
                self._leases[staging.name] = _own(staging / "lease")
                return staging
            except FileNotFoundError:  # swept before it was locked
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
        raise AssertionError("unreachable")

    def _publish(self, staging: Path, target: Path) -> None:
        """Rename into place; an entry that is there already and whole is left, a damaged one replaced."""
        digest = target.name
        try:
            for _ in range(ATTEMPTS):
                try:
                    os.rename(staging, target)
                except OSError:
                    if not target.is_dir():
                        raise
                    if _damage(target):
                        self._remove(target)
                    elif self._lease(digest) is not None:
                        return
                    continue
                _sync_folder(self._entries)
                self._release(digest)
                self._leases[digest] = self._leases.pop(staging.name)
                self._gone.pop(digest, None)
                return
        finally:
            self._release(staging.name)

    def _evict(self, keep: str) -> None:
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        for entry in reversed(entries):
            if total <= self.limit_bytes:
                return
            if entry.digest != keep and self._remove_unused(entry.path.parent):
                total -= entry.bytes
                self._gone[entry.digest] = "its entry was evicted to keep the cache within its limit"

    def _remove_unused(self, folder: Path) -> bool:
        """Whether it is gone: not where a process has leased it."""
        if folder.name in self._leases:
            return False
        try:
            lease = _lock(folder / "lease", os.O_RDONLY, fcntl.LOCK_EX)
        except BlockingIOError:
            return False
        except OSError:  # no entry of ours: nobody uses it
            return self._remove(folder)
        try:
            return self._remove(folder)
        finally:
            os.close(lease)

    def _remove(self, folder: Path) -> bool:
        """Out of the way by one rename, so that no half-removed entry is ever seen, then delete."""
        grave = self._tmp / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            self._tmp.mkdir(parents=True, exist_ok=True)
            os.rename(folder, grave)
        except FileNotFoundError:
            return False  # another process was first
        except OSError as error:
            self._note(f"cache entry {folder.name[:12]} cannot be removed: {error.strerror}")
            return False
        shutil.rmtree(grave, ignore_errors=True)
        return True

    def _sweep(self) -> None:
        """Delete what killed writers left in tmp: folders whose lease nobody holds."""
        for folder in _listed(self._tmp):
            try:
                lease = _lock(folder / "lease", os.O_RDONLY, fcntl.LOCK_EX)
            except BlockingIOError:
                continue  # being written
            except OSError:
                with suppress(OSError):
                    if time.time() - folder.stat().st_mtime > SWEEP_AGE_S:
                        shutil.rmtree(folder, ignore_errors=True)
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lease)

    # ---- reading ---------------------------------------------------------------------------

    def _folders(self) -> list[Path]:
        return _listed(self._entries)

    def _lease(self, digest: str) -> int | None:
        """A shared lock on the entry, held until `close`; None where there is no such entry."""
        path = self._entries / digest / "lease"
        if digest in self._leases:
            if path.exists():
                return self._leases[digest]
            self._release(digest)  # someone removed it by force
        try:
            lease = _lock(path, os.O_RDONLY, fcntl.LOCK_SH)
        except OSError:  # absent, unreadable, or being removed this moment
            return None
        try:
            still_there = os.path.samestat(os.fstat(lease), path.stat())
        except OSError:
            still_there = False
        if not still_there:  # it was renamed away between the opening and the lock
            os.close(lease)
            return None
        self._leases[digest] = lease
        return lease

    def _release(self, digest: str) -> None:
        lease = self._leases.pop(digest, None)
        if lease is not None:
            os.close(lease)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        _log.warning(text)


def digest_of(key: Mapping[str, str]) -> str:
    """sha256 of the key in canonical form: parts in the order of their names."""
    text = json.dumps({"format": FORMAT, "key": dict(key)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# ---- one entry -----------------------------------------------------------------------------


def _read_entry(folder: Path) -> CacheEntry | None:
    """None for one that is broken, or removed this moment: `get` reports what is broken."""
    try:
        facts = json.loads((folder / "entry.json").read_text())
        used = _utc((folder / "lease").stat().st_mtime)
        return CacheEntry(folder.name, facts["key"], folder / "content", facts["bytes"], facts["created"], used)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _damage(folder: Path) -> str:
    """What is wrong with an entry, against its own list of digests; empty where nothing is."""
    try:
        facts = json.loads((folder / "entry.json").read_text())
        listed, key = dict(facts["files"]), facts["key"]
    except OSError as error:
        return f"entry.json cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError) as error:
        return f"entry.json is broken: {error}"
    if digest_of(key) != folder.name:
        return "entry.json holds another key"
    content = folder / "content"
    try:
        present = set(_tree(content))
        if present != set(listed):
            return f"files came or went: {', '.join(sorted(present ^ set(listed)))}"
        for name, (size, digest) in sorted(listed.items()):
            path = content / name
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} bytes, not {size}"
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{name} has other bytes than were stored"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def _shown(part: str | None) -> str:
    """A part of a key as a reader can take it in: digests by their head, long texts shortened."""
    if part is None:
        return "(none)"
    if len(part) >= 32 and all(c in "0123456789abcdef" for c in part):
        return part[:12]
    return part if len(part) <= SHOWN else f"{part[: SHOWN - 3]}..."


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


# ---- files ---------------------------------------------------------------------------------


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # no cache yet, or none that may be read
        return []


def _tree(folder: Path) -> Iterator[str]:
    """Every file below `folder`, by its path relative to it, in a fixed order."""
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            yield (Path(base) / name).relative_to(folder).as_posix()


def _lock(path: Path, flags: int, mode: int) -> int:
    """A descriptor of `path` that holds the lock. Raises BlockingIOError where another holds one against it."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _own(path: Path) -> int:
    """The lock on a new lease. A sweeper may hold it for a moment, between its making and our locking: wait for it.

    Raises FileNotFoundError where the sweeper took the folder away meanwhile.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.stat(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _copy(source: Path, target: Path) -> tuple[int, str]:
    """Copy a file, on the disk when this returns; its size and sha256, of the bytes that were written."""
    if not stat.S_ISREG(source.stat().st_mode):  # to open a pipe would wait for ever
        raise OSError(errno.EINVAL, "not a regular file", str(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    state, size = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("xb") as writing:
        while block := reading.read(1 << 20):
            state.update(block)
            size += len(block)
            writing.write(block)
        os.fchmod(writing.fileno(), os.fstat(reading.fileno()).st_mode & 0o777)
        writing.flush()
        os.fsync(writing.fileno())
    return size, state.hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
