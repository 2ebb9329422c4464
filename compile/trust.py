"""Artifacts that were verified here before: what is mapped need not be read again to be believed.

Members are mapped so that a process starts without reading them; hashing them at every start would undo that. So a file
whose every byte was once checked is noted in the cache of the user who checked it, with its device, inode, size and the
times of its last changes. The kernel sets the time of an inode's last change (ctime) at every write, and no program can
set it back. Not seen: writes that pass the file system by, and clocks that were set back. A file that changed less than
`SETTLED_NS` ago is not noted, since a write in the same tick of the kernel's clock would leave the times as they are.

Only artifacts with mapped members come here; all others are hashed whenever they are opened
(docs/adr/0003-verified-bytes.md, docs/adr/0013-mapped-members.md).
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from neoc.compile.artifact import Artifact
from neoc.compile.errors import OutputError
from neoc.compile.files import write_atomically
from neoc.compile.settings import Settings

FOLDER = "verified"
SETTLED_NS = 2 * 10**9
MOST_NOTES = 1000
"""the oldest go first"""


def remembered(artifact: Artifact) -> bool:
    """Whether every byte of this very file was checked before, by this user."""
    place = _note(artifact)
    try:
        handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    with os.fdopen(handle) as file:
        facts = os.fstat(file.fileno())
        if facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False  # somebody else may have written it
        return file.read(4096) == _text(artifact)


def remember(artifact: Artifact) -> None:
    """Note that every byte of the file was checked. Where that cannot be noted, it will be checked again."""
    if time.time_ns() - artifact.identity[-1] < SETTLED_NS:
        return
    place = _note(artifact)
    with suppress(OSError, OutputError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(place, _text(artifact).encode())
        os.chmod(place, 0o600)
        notes = sorted(place.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for old in notes[:-MOST_NOTES]:
            old.unlink(missing_ok=True)


def _note(artifact: Artifact) -> Path:
    device, inode = artifact.identity[:2]
    name = f"{artifact.content_digest.removeprefix('sha256:')[:24]}-{device:x}-{inode:x}.json"
    return Settings.read().cache_dir / FOLDER / name


def _text(artifact: Artifact) -> str:
    evidence = artifact.manifest["evidence"]["sha256"]
    return json.dumps({"content": artifact.content_digest, "evidence": evidence, "file": list(artifact.identity)})
