"""A SageMaker `model.tar.gz`: unpacked into a private folder, nothing trusted, one model found in it.

Refused are: names that leave the folder, links, devices, more members or more bytes than the bounds below. Contents are
counted as they are unpacked, so a small archive that unfolds without end stops at the bound.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from neoc.compile.errors import InvalidModel

MOST_MEMBERS = 10_000
MOST_BYTES = 16 << 30
LONGEST_NAME = 1024
LONGEST_HEADER = 1 << 16
"""bytes of a long name or of extended attributes, which are held in memory before their member is seen"""
DEEPEST = 32

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"


def is_archive(path: Path) -> bool:
    """Whether the file is a tar archive, plain or in gzip: looks at the first bytes only."""
    with path.open("rb") as file:
        head = file.read(512)
        if head[257:262] == b"ustar":
            return True
        if not head.startswith(_GZIP):
            return False
        file.seek(0)
        try:
            start = zlib.decompressobj(wbits=31).decompress(file.read(1 << 16), 512)
        except zlib.error:
            return False
    return start[257:262] == b"ustar"


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(path: Path, is_model: Callable[[Path], bool]) -> tuple[Path, object]:
    """(the one model in the archive, what keeps the folder it lies in). Raises InvalidModel."""
    folder = tempfile.TemporaryDirectory(prefix="neoc-archive-", ignore_cleanup_errors=True)
    try:
        with tarfile.open(path, "r:*", tarinfo=_Header) as archive:
            _extract(archive, Path(folder.name), path.name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        why = str(error) or type(error).__name__
        raise _refused(path.name, f"it is damaged or cut short ({why})", "pack or fetch it again") from error
    return _model_in(Path(folder.name), path.name, is_model), folder


class _Header(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """tarfile's hook for every header that it meets: those that describe the next one are bounded."""
        if not self.isreg() and not self.isdir() and self.size > LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def _extract(archive: tarfile.TarFile, folder: Path, where: str) -> None:
    left = MOST_BYTES
    for count, member in enumerate(archive):
        if count >= MOST_MEMBERS:
            raise _refused(where, f"it has more than {MOST_MEMBERS} members")
        target = folder / _checked(member, where)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        if member.size > left:
            raise _refused(where, f"it unfolds to more than {MOST_BYTES >> 30} GiB")
        content = archive.extractfile(member)
        assert content is not None  # a regular file has content
        if target.exists():
            raise _refused(where, f"it holds {member.name[:80]!r} twice")
        target.parent.mkdir(parents=True, exist_ok=True)
        left -= _copy(content, target, left)


def _checked(member: tarfile.TarInfo, where: str) -> PurePosixPath:
    """The member's path, surely inside the folder."""
    shown = ascii(member.name[:80])
    if member.issym() or member.islnk():
        raise _refused(where, f"{shown} is a link")
    if not (member.isreg() or member.isdir()):
        raise _refused(where, f"{shown} is a device or pipe")
    name = PurePosixPath(member.name)
    parts = [part for part in name.parts if part != "."]
    if name.is_absolute() or ".." in parts or "\0" in member.name or "\\" in member.name:
        raise _refused(where, f"{shown} leads out of the archive")
    if len(member.name) > LONGEST_NAME or len(parts) > DEEPEST:
        raise _refused(where, f"{shown} is too long or too deep a name")
    return PurePosixPath(*parts)


def _copy(content: IO[bytes], target: Path, most: int) -> int:
    done = 0
    with target.open("xb") as file:
        while block := content.read(_BLOCK):
            done += len(block)
            if done > most:
                raise _refused(target.name, f"it unfolds to more than {MOST_BYTES >> 30} GiB")
            file.write(block)
    return done


def _model_in(folder: Path, where: str, is_model: Callable[[Path], bool]) -> Path:
    """The one thing in the folder that a front end reads, the outermost first: a folder's own files are not asked."""
    found: list[Path] = []
    level = [folder]
    while level and not found:
        found = [path for path in level if is_model(path)]
        level = sorted(child for path in level if path.is_dir() for child in path.iterdir())
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.relative_to(folder).as_posix() for path in found[:5])
    if found:
        raise _refused(where, f"it holds {len(found)} models: {names}", "unpack it and name one of them")
    held = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())[:5]
    raise _refused(where, f"it holds no model that neoc reads ({', '.join(held) or 'it is empty'})", "look into it")


def _refused(where: str, why: str, fix: str = "pack it anew: regular files under plain relative names") -> InvalidModel:
    return InvalidModel("the archive cannot be used", where=where, why=why, fix=fix)
