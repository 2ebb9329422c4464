"""The zip layer of an artifact: stored, aligned members in one fixed layout, written and accepted byte for byte.

    local header + padding | data | local header + padding | data | ... | directory | ZIP64 end | ZIP64 locator | end

Every member carries ZIP64 sizes, so that a file of 5 GB goes the same way as one of 5 kB. The extra field of a local
header is padded until the data begin at a multiple of 64 bytes. Names, sizes and CRC-32s determine all other bytes: a
reader rebuilds what the writer must have written and compares, and so no flag, date, gap, overlap or second directory
can hide anything.

The standard zipfile module reads these files (the tests hold it to that) but cannot replace this one: it does not
align, it ignores what the local headers say beside the name, and it accepts gaps and leading bytes. Format: PKWARE
APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neoc.compile.errors import InvalidArtifact

ALIGNMENT = 64
"""bytes: a cache line, and what AVX-512 loads want"""
MAX_MEMBERS = 65_534
MAX_NAME = 1024

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_TAIL = _END64.size + _LOCATOR.size + _END.size
_PAD = struct.Struct("<2HH")
_SIZES64 = struct.Struct("<2H2Q")
_CENTRAL64 = struct.Struct("<2H3Q")

_VERSION = 45  # of the zip format: ZIP64
_UNIX = 3 << 8
_MODE = 0o100644 << 16
_DATE = (1 << 5) | 1  # 1980-01-01, the zero of zip time
_MAX32 = 0xFFFFFFFF
_PADDING_ID = 0xD935  # "Android ZIP alignment" in APPNOTE's list of extra fields: the alignment, then zeros
_ENCRYPTED = 0x2041  # flag bits 0, 6 and 13: encrypted data, strong encryption, masked headers


@dataclass(frozen=True)
class Entry:
    """One member: where its local header begins, and what the directory says of its data."""

    name: str
    size: int
    crc: int
    offset: int

    @property
    def start(self) -> int:
        """Offset of the data in the file, a multiple of ALIGNMENT."""
        return _align(self.offset + _LOCAL.size + len(self.name) + _SIZES64.size + _PAD.size)

    @property
    def end(self) -> int:
        return self.start + self.size

    def header(self) -> bytes:
        """The local header, padding included: the bytes from `offset` to `start`."""
        name = self.name.encode("ascii")
        length = self.start - self.offset - _LOCAL.size - len(name)
        padding = length - _SIZES64.size - _PAD.size
        fields = (b"PK\3\4", _VERSION, 0, 0, 0, _DATE, self.crc, _MAX32, _MAX32, len(name), length)
        sizes = _SIZES64.pack(1, 16, self.size, self.size)
        return _LOCAL.pack(*fields) + name + sizes + _PAD.pack(_PADDING_ID, padding + 2, ALIGNMENT) + bytes(padding)

    def record(self) -> bytes:
        """The member's record in the directory."""
        name = self.name.encode("ascii")
        fields = (b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0, 0, _DATE, self.crc, _MAX32, _MAX32)
        more = (len(name), _CENTRAL64.size, 0, 0, 0, _MODE, _MAX32)
        return _CENTRAL.pack(*fields, *more) + name + _CENTRAL64.pack(1, 24, self.size, self.size, self.offset)


def lay_out(members: Iterable[tuple[str, int, int]]) -> tuple[Entry, ...]:
    """Entries for (name, size, crc), each behind the one before. Raises ValueError for an unusable name."""
    entries: list[Entry] = []
    for name, size, crc in members:
        why = name_fault(name)
        if why:
            raise ValueError(f"member name {name!r} {why}")
        entries.append(Entry(name, size, crc, entries[-1].end if entries else 0))
    if len(entries) > MAX_MEMBERS or len({entry.name for entry in entries}) < len(entries):
        raise ValueError("too many members, or one name twice")
    return tuple(entries)


def directory(entries: Sequence[Entry]) -> bytes:
    """All that follows the data of the last member."""
    records = b"".join(entry.record() for entry in entries)
    start, count = (entries[-1].end if entries else 0), len(entries)
    end64 = _END64.pack(
        b"PK\6\6", _END64.size - 12, _UNIX | _VERSION, _VERSION, 0, 0, count, count, len(records), start
    )
    locator = _LOCATOR.pack(b"PK\6\7", 0, start + len(records), 1)
    end = _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _MAX32, _MAX32, 0)
    return records + end64 + locator + end


def name_fault(name: str) -> str:
    """Why a member may not be called so; empty where it may."""
    if not name or len(name) > MAX_NAME:
        return f"has {len(name)} characters, not 1 to {MAX_NAME}"
    if not (name.isascii() and name.isprintable()):
        return "has characters beside printable ASCII"
    if "\\" in name or ":" in name:
        return "has a backslash or a colon"
    if name.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty, '.' or '..' part"
    return ""


def read_directory(handle: int, where: str) -> tuple[Entry, ...]:
    """The members of an open file, in order, after every byte that is not a member's data has been checked.

    Raises InvalidArtifact; `where` names the file in the message.
    """
    size = os.fstat(handle).st_size
    start, length, count = _find_directory(handle, size, where)
    raw = os.pread(handle, length, start)
    entries = _records(raw, count, start, where)
    for entry in entries:
        if os.pread(handle, entry.start - entry.offset, entry.offset) != entry.header():
            raise _damaged(f"{where}, member {entry.name}", _header_fault(handle, entry))
    position = 0
    for entry in entries:
        if entry.offset != position:
            verb = "overlaps" if entry.offset < position else "does not follow"
            raise _damaged(f"{where}, member {entry.name}", f"it {verb} the member before it")
        position = entry.end
    if position != start or raw + os.pread(handle, _TAIL, start + length) != directory(entries):
        raise _damaged(f"{where}, zip directory", "it is not the one that neoc writes for these members")
    return entries


def _find_directory(handle: int, size: int, where: str) -> tuple[int, int, int]:
    """(offset, length, number of records) of the directory, as the end of the file says."""
    tail = os.pread(handle, _TAIL, max(0, size - _TAIL))
    end = tail[-_END.size :]
    if not end.startswith(b"PK\5\6"):
        if os.pread(handle, 4, 0) == b"PK\3\4":
            raise _damaged(
                where, "it begins as a zip and does not end as one: it was cut short, or something was appended"
            )
        raise InvalidArtifact(
            "this is no neoc artifact",
            where=where,
            why="it is empty" if size == 0 else "it is not a zip file",
            fix="give a file that `neoc compile` wrote",
        )
    if len(tail) < _TAIL or not tail.startswith(b"PK\6\6") or tail[_END64.size :][:4] != b"PK\6\7":
        if tail[-_END.size - _LOCATOR.size :][:4] == b"PK\6\7" or tail.startswith(b"PK\6\6"):
            raise _damaged(f"{where}, zip directory", "its ZIP64 end record is not where it must be")
        raise InvalidArtifact(
            "this is no neoc artifact",
            where=where,
            why="it is a zip of another make (not ZIP64, or with a comment)",
            fix="give a file that `neoc compile` wrote; a repacked artifact is none",
        )
    count, length, start = _END64.unpack(tail[: _END64.size])[7:]
    if start + length + _TAIL != size or count > MAX_MEMBERS or length > count * (_CENTRAL.size + MAX_NAME + 64):
        raise _damaged(f"{where}, zip directory", "its place, its length or its number of members is impossible")
    return start, length, count


def _records(raw: bytes, count: int, limit: int, where: str) -> tuple[Entry, ...]:
    entries: dict[str, Entry] = {}
    position = 0
    for _ in range(count):
        try:
            fields = _CENTRAL.unpack_from(raw, position)
        except struct.error:
            raise _damaged(f"{where}, zip directory", "it ends within a record") from None
        magic, flags, method, name_length, more = fields[0], fields[3], fields[4], fields[10], fields[11] + fields[12]
        name = raw[position + _CENTRAL.size :][:name_length].decode("ascii", "backslashreplace")
        place = f"{where}, member {name}"
        if magic != b"PK\1\2" or not name:
            raise _damaged(f"{where}, zip directory", f"record {len(entries)} is broken")
        if why := name_fault(name):
            raise _damaged(place, f"the name {why}")
        if flags & _ENCRYPTED:
            raise _damaged(place, "it is encrypted")
        if method != 0:
            raise _damaged(place, f"it is compressed (method {method}); members of an artifact are stored as they are")
        if name in entries:
            raise _damaged(place, "two members have this name")
        entries[name] = _entry(raw, position, fields, name, place)
        if entries[name].end > limit:
            raise _damaged(place, f"its {entries[name].size} bytes lie outside the file")
        position += _CENTRAL.size + name_length + more
    return tuple(entries.values())


def _entry(raw: bytes, position: int, fields: tuple[int, ...], name: str, place: str) -> Entry:
    extra = raw[position + _CENTRAL.size + len(name) :][: _CENTRAL64.size]
    if fields[8:10] != (_MAX32, _MAX32) or len(extra) < _CENTRAL64.size:
        raise _damaged(place, "its record has no ZIP64 sizes")
    tag, length, stored, size, offset = _CENTRAL64.unpack(extra)
    if (tag, length) != (1, 24) or stored != size:
        raise _damaged(place, f"its record is broken: {stored} bytes stored, {size} bytes in all")
    return Entry(name, size, fields[7], offset)


def _header_fault(handle: int, entry: Entry) -> str:
    """In what the local header differs from the directory."""
    found = os.pread(handle, entry.start - entry.offset, entry.offset)
    if len(found) < _LOCAL.size or not found.startswith(b"PK\3\4"):
        return "its local header is not where the directory says"
    magic_to_method = _LOCAL.unpack_from(found)
    name = found[_LOCAL.size :][: len(entry.name)]
    if name != entry.name.encode():
        return f"its local header names {name.decode('ascii', 'backslashreplace')!r}"
    if magic_to_method[2] & _ENCRYPTED or magic_to_method[3] != 0:
        return "its local header says that it is encrypted or compressed, the directory that it is not"
    return "its local header and the directory disagree"


def _damaged(where: str, why: str) -> InvalidArtifact:
    return InvalidArtifact(
        "the artifact is damaged or was tampered with",
        where=where,
        why=why,
        fix="fetch it again, or compile the model anew",
    )


def _align(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
