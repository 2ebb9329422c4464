"""Members that are mostly equal, stored once: the weights of several variants.

Programs of one model that are bound to different sizes have the same weights and a few folded constants of their own,
so the files that engines make of them agree in long runs, at other offsets. Such files are cut where the runs begin and
end; a run is stored once, and each file is listed as its parts in order. What is in the files does not matter: no
engine has to know of it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from neoc.compile.digests import Piece, Source

LEAST_BYTES = 64 << 10
"""smaller members are stored as they are"""
RUN_BYTES = 16 << 10
"""shorter runs are not worth a member"""
MOST_RUNS = 256
"""of one member: the longest are kept"""
MOST_BASES = 16
_PROBE = 256
_STRIDE = 1 << 20

Run = tuple[int, int, int]
"""(offset in the base, offset in the other, bytes)"""


@dataclass(frozen=True)
class Shared:
    """Members cut into parts."""

    sources: Mapping[str, Source]
    """what is stored: whole members and parts"""
    parts: Mapping[str, tuple[str, ...]]
    """member that is no longer stored -> the stored ones that make it"""


def share(members: Mapping[str, Source]) -> Shared:
    """Cut members that have long runs in common. `members`: of different contents, in the order of preference."""
    with ExitStack() as stack:
        views = {name: _view(stack, source) for name, source in members.items()}
        return _shared(members, views)


def _view(stack: ExitStack, source: Source) -> bytes | mmap.mmap:
    if isinstance(source, bytes):
        return source
    path, start, size = (source.path, source.start, source.size) if isinstance(source, Piece) else (source, 0, 0)
    if start or path.stat().st_size < LEAST_BYTES:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size or -1)
    file = stack.enter_context(path.open("rb"))
    return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _shared(members: Mapping[str, Source], views: Mapping[str, bytes | mmap.mmap]) -> Shared:
    bases: dict[str, list[tuple[str, Run]]] = {}
    likened: dict[str, tuple[str, list[Run]]] = {}
    for name, view in views.items():
        if len(view) < LEAST_BYTES:
            continue
        best: tuple[str, list[Run]] | None = None
        for base in bases:
            found = runs(views[base], view)
            if best is None or _covered(found) > _covered(best[1]):
                best = base, found
        if best is not None and _covered(best[1]) >= len(view) // 4:
            likened[name] = best
            bases[best[0]] += [(name, run) for run in best[1]]
        elif len(bases) < MOST_BASES:
            bases[name] = []
    cuts = {base: _cuts(len(views[base]), [run for _, run in uses]) for base, uses in bases.items() if uses}
    sources: dict[str, Source] = {n: s for n, s in members.items() if n not in cuts and n not in likened}
    parts: dict[str, tuple[str, ...]] = {}
    for base, edges in cuts.items():
        named = {(a, b): f"{base}.{i:03d}" for i, (a, b) in enumerate(pairwise(edges))}
        sources |= {part: _piece(members[base], a, b - a) for (a, b), part in named.items()}
        parts[base] = tuple(named.values())
    for name, (base, found) in likened.items():
        parts[name] = tuple(_parts_of(name, members[name], len(views[name]), found, base, cuts[base], sources))
    return Shared(sources, parts)


def _parts_of(
    name: str,
    source: Source,
    size: int,
    found: Sequence[Run],
    base: str,
    edges: Sequence[int],
    sources: dict[str, Source],
) -> Iterator[str]:
    """The parts of a member that is like a base; its own pieces are added to `sources`."""
    at, own = 0, 0
    for start, offset, length in [*sorted(found, key=lambda run: run[1]), (0, size, 0)]:
        if offset > at:
            part = f"{name}.{own:03d}"
            own += 1
            sources[part] = _piece(source, at, offset - at)
            yield part
        for index in range(edges.index(start), edges.index(start + length)) if length else ():
            yield f"{base}.{index:03d}"
        at = offset + length


def _cuts(size: int, found: Sequence[Run]) -> list[int]:
    return sorted({0, size, *(a for a, _, n in found), *(a + n for a, _, n in found)})


def _piece(source: Source, start: int, size: int) -> Source:
    if isinstance(source, bytes):
        return source[start : start + size]
    if isinstance(source, Piece):
        return Piece(source.path, source.start + start, size)
    return Piece(Path(source), start, size)


def _covered(found: Sequence[Run]) -> int:
    return sum(n for _, _, n in found)


# ---- runs ----------------------------------------------------------------------------------------


def runs(base: bytes | mmap.mmap, other: bytes | mmap.mmap) -> list[Run]:
    """Long runs that `other` has in common with `base`: in order in `other`, which they never overlap in.

    Walks through `other`. Where the two part, a probe of the bytes that follow is looked for, first further on in the
    base, then from its beginning; a probe that is nowhere is followed by one twice as far ahead, and the run that it
    then finds is extended backwards. Not every common run is found; every one that is found is common.
    """
    found: list[Run] = []
    a = b = 0
    while b < len(other):
        length = _equal(base, other, a, b)
        if length >= RUN_BYTES:
            found.append((a, b, length))
        a, b = a + length, b + length
        match = _resume(base, other, a, b)
        if match is None:
            break
        a, b = match
    return sorted(sorted(found, key=lambda run: -run[2])[:MOST_RUNS], key=lambda run: run[1])


def _resume(base: bytes | mmap.mmap, other: bytes | mmap.mmap, a: int, b: int) -> tuple[int, int] | None:
    """Where the two agree again, at or after `b` in `other`."""
    ahead = 0
    while b + ahead + _PROBE <= len(other):
        probe = other[b + ahead : b + ahead + _PROBE]
        if probe.count(probe[:1]) < _PROBE:  # a constant stretch is found everywhere
            at = base.find(probe, a)
            at = base.find(probe) if at < 0 else at
            if at >= 0:
                back = 0
                while back < ahead and at > back and base[at - back - 1] == other[b + ahead - back - 1]:
                    back += 1
                return at - back, b + ahead - back
        ahead = ahead * 2 if ahead >= _PROBE else ahead + 16
    return None


def _equal(base: bytes | mmap.mmap, other: bytes | mmap.mmap, a: int, b: int) -> int:
    """How many bytes are equal from `a` and `b` on."""
    size = min(len(base) - a, len(other) - b)
    done = 0
    while done < size:
        count = min(_STRIDE, size - done)
        x = np.frombuffer(base[a + done : a + done + count], np.uint8)
        y = np.frombuffer(other[b + done : b + done + count], np.uint8)
        differ = x != y
        if differ.any():
            return done + int(differ.argmax())
        done += count
    return size
