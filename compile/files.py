"""Files that are either whole or not there: written beside, fsynced, renamed."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from neoc.compile.errors import OutputError

_SUFFIX = ".partial"

_REASONS = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would grow past its limit",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.EISDIR: "a folder of that name exists",
}


@contextmanager
def atomic_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file object; `path` appears, whole, when the block ends well, and is untouched otherwise.

    `durable` False leaves out the sync: for scratch files that need not outlive a power cut.
    Raises OutputError where it cannot be written.
    """
    temporary: Path | None = None
    try:
        _sweep(path)
        file, temporary = _beside(path)
        with file:
            os.chmod(temporary, 0o666 & ~_umask())
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            os.replace(temporary, path)  # while it is locked: an unlocked one may be swept
            temporary = None
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            "the output cannot be written",
            where=str(path),
            why=_REASONS.get(error.errno or 0, error.strerror or str(error)),
            fix="make room or name another place",
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _beside(path: Path) -> tuple[IO[bytes], Path]:
    """A new file next to `path`, locked for as long as this process has it open."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX)
        file = os.fdopen(handle, "w+b")
        with suppress(OSError):  # a file system without locks is never swept
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink > 0:
            return file, Path(name)
        file.close()  # swept by another process between its creation and its lock


def _sweep(path: Path) -> None:
    """Remove what writers of `path` that were killed left behind: their files are no longer locked."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*{_SUFFIX}"):
        with suppress(OSError), stale.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stale.unlink()


def write_atomically(path: Path, data: bytes) -> None:
    """`data` at `path`, whole or not at all. Raises OutputError."""
    with atomic_file(path) as file:
        file.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; file systems that cannot sync a folder are left alone."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
