"""The top level of a protobuf message, read without its schema: what recognition needs, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def fields(file: IO[bytes], start: int, end: int, most: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, start of the content, its size) of each field in bytes [start, end) of `file`.

    Contents are skipped. What is no protobuf, or has more than `most` fields, ends with the field (0, 0, 0, 0), which
    no message can have.
    """
    at = start
    for _ in range(most):
        if at == end:
            return
        file.seek(at)
        head = file.read(min(20, end - at))
        key, used = varint(head, 0)
        wire = key & 7
        if used < 0 or wire not in (_VARINT, _FIXED64, _LENGTH, _FIXED32):
            break
        if wire == _LENGTH:
            size, used = varint(head, used)
        elif wire == _VARINT:
            before = used
            _, used = varint(head, used)
            size, used = (used - before, before) if used >= 0 else (0, -1)
        else:
            size = 8 if wire == _FIXED64 else 4
        if used < 0 or at + used + size > end:
            break
        yield key >> 3, wire, at + used, size
        at += used + size
    yield 0, 0, 0, 0


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, next position); position -1 where the data is no varint of at most 64 bits."""
    value = 0
    for i in range(at, min(at + 10, len(data))):
        value |= (data[i] & 0x7F) << 7 * (i - at)
        if not data[i] & 0x80:
            return value, i + 1
    return 0, -1
