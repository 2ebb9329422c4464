"""sha256 of members: made while packing, checked while the bytes are read into memory of this process alone.

One sha256 runs at 0.4 GB/s (AVX2) to 2 GB/s (SHA instructions) on one core, so members of more than one chunk also
carry a digest per chunk, and chunks are checked in parallel. Why bytes are read and not mapped:
docs/adr/0003-verified-bytes.md.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from neoc.compile.errors import InvalidArtifact

CHUNK_BYTES = 16 << 20
_BLOCK_BYTES = 1 << 20
"""read and hashed at once: stays in a core's second-level cache in between"""
_PARALLEL_ABOVE_BYTES = 2 << 20
_MAX_THREADS = 8


@dataclass(frozen=True)
class Piece:
    """A stretch of a file."""

    path: Path
    start: int
    size: int


Source = Path | bytes | Piece
"""what becomes a member: a file, a stretch of one, or the bytes themselves"""


@dataclass(frozen=True)
class Digest:
    """What is known of some bytes. `chunks`: sha256 of each CHUNK_BYTES of them, empty for a single chunk."""

    size: int
    sha256: str
    crc: int
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """A member's place in the artifact's file and the digests that its bytes must have."""

    path: str
    start: int
    size: int
    sha256: str
    chunk_bytes: int = 0
    chunks: tuple[str, ...] = ()
    parts: tuple[Member, ...] = ()
    """the members that make this one, where it has no place of its own"""


def blocks(source: Source, size: int = _BLOCK_BYTES) -> Iterator[bytes | memoryview]:
    """The source in pieces of `size` bytes, the last one shorter. Raises OSError."""
    if isinstance(source, bytes):
        view = memoryview(source)
        yield from (view[at : at + size] for at in range(0, len(view), size))
        return
    path, start, left = (source, 0, -1) if isinstance(source, Path) else (source.path, source.start, source.size)
    with path.open("rb") as file:
        file.seek(start)
        while block := file.read(size if left < 0 else min(size, left)):
            left -= len(block) if left > 0 else 0
            yield block


def digest(source: Source) -> Digest:
    """All digests in one pass. Raises OSError."""
    whole, crc, size = hashlib.sha256(), 0, 0
    chunk, chunks = hashlib.sha256(), list[str]()
    for block in blocks(source, min(_BLOCK_BYTES, CHUNK_BYTES)):
        whole.update(block)
        chunk.update(block)
        crc = zlib.crc32(block, crc)
        size += len(block)
        if size % CHUNK_BYTES == 0:
            chunks.append(chunk.hexdigest())
            chunk = hashlib.sha256()
    if size % CHUNK_BYTES:
        chunks.append(chunk.hexdigest())
    return Digest(size, whole.hexdigest(), crc, tuple(chunks) if len(chunks) > 1 else ())


def load(
    handle: int, members: Sequence[Member], where: str, threads: int | None = None, beside: Sequence[Member] = ()
) -> dict[str, memoryview]:
    """Path -> the member's verified bytes, in private, page-aligned, read-only memory.

    The memory is given back when the last view of it goes. `beside`: members whose bytes are checked and not kept.
    `threads`: None for one a usable core. Raises InvalidArtifact.
    """
    memory = {member.path: _private(member.size) for member in members}
    jobs = deque(job for member in members for job in _jobs(handle, member, memory[member.path], where))
    jobs.extend(job for member in beside for job in _jobs(handle, member, None, where))
    total = sum(member.size for member in (*members, *beside))
    count = 1 if total < _PARALLEL_ABOVE_BYTES else min(threads or _usable_cores(), len(jobs), _MAX_THREADS)
    _run(jobs, count)
    return {path: view.toreadonly() for path, view in memory.items()}


def copy(handle: int, member: Member, file: IO[bytes], where: str) -> None:
    """Write the member's bytes to `file`; what was written is void where InvalidArtifact is raised. Raises OSError."""
    state = hashlib.sha256()
    for block in _blocks_of(handle, member, where):
        state.update(block)
        file.write(block)
    if state.hexdigest() != member.sha256:
        raise damaged(member, where)


def check(handle: int, member: Member, where: str) -> None:
    """Every digest of the member, its sha256 as a whole included. Raises InvalidArtifact."""
    load(handle, [], where, beside=[member])
    if member.chunks or member.parts:
        state = hashlib.sha256()
        for block in _blocks_of(handle, member, where):
            state.update(block)
        if state.hexdigest() != member.sha256:
            raise damaged(member, where, "its chunks are whole, yet its sha256 is not the one in the manifest")


def _blocks_of(handle: int, member: Member, where: str) -> Iterator[bytes]:
    """The member's bytes in order, unchecked. Raises InvalidArtifact where the file ends first."""
    for part in member.parts:
        yield from _blocks_of(handle, part, where)
    done = member.size if member.parts else 0
    while done < member.size:
        block = os.pread(handle, min(_BLOCK_BYTES, member.size - done), member.start + done)
        if not block:
            raise damaged(member, where, "the file ends before it does")
        yield block
        done += len(block)


def damaged(member: Member, where: str, why: str = "its sha256 is not the one in the manifest") -> InvalidArtifact:
    return InvalidArtifact(
        "the artifact is damaged or was tampered with",
        where=f"{where}, member {member.path}",
        why=why,
        fix="fetch it again, or compile the model anew",
    )


def _private(size: int) -> memoryview:
    if size == 0:
        return memoryview(bytearray())
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # without flags it would be shared memory
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)  # a fault per 2 MiB instead of per 4 KiB: seven times faster to fill
    return memoryview(memory)


def _jobs(handle: int, member: Member, memory: memoryview | None, where: str) -> Iterator[Callable[[], None]]:
    at = 0
    for part in member.parts:
        yield from _jobs(handle, part, None if memory is None else memory[at : at + part.size], where)
        at += part.size
    if member.parts:
        return
    size = member.chunk_bytes if member.chunks else member.size
    for index, sha256 in enumerate(member.chunks or (member.sha256,)):
        begin = index * size
        end = min(begin + size, member.size)
        yield _Check(handle, member, begin, end, sha256, None if memory is None else memory[begin:end], where)


@dataclass(frozen=True)
class _Check:
    """Reads bytes `begin` to `end` of a member, into `view` where there is one, and checks their digest."""

    handle: int
    member: Member
    begin: int
    end: int
    sha256: str
    view: memoryview | None
    where: str

    def __call__(self) -> None:
        state, size, done = hashlib.sha256(), self.end - self.begin, 0
        scratch = memoryview(bytearray(min(size, _BLOCK_BYTES))) if self.view is None else self.view
        while done < size:
            block = scratch[: size - done] if self.view is None else scratch[done : done + _BLOCK_BYTES]
            count = os.preadv(self.handle, [block], self.member.start + self.begin + done)
            if count == 0:
                raise damaged(self.member, self.where, "the file ends before it does")
            state.update(block[:count])
            done += count
        if state.hexdigest() != self.sha256:
            raise damaged(self.member, self.where)


def _run(jobs: deque[Callable[[], None]], count: int) -> None:
    """Do the jobs in `count` threads; the first error ends them all and is raised here."""
    faults: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                try:
                    job = jobs.popleft()
                except IndexError:
                    return
                job()
        except BaseException as fault:  # handed to the caller below, whatever it is
            faults.append(fault)
            jobs.clear()

    others = [threading.Thread(target=work, name="neoc-digest", daemon=True) for _ in range(count - 1)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if faults:
        raise faults[0]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
