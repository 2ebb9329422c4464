"""Universal Binary JSON (draft 12, ubjson.org), as XGBoost writes it. Arrays of one number type become numpy arrays.

Everything a file claims (lengths, counts, depth) is checked against the bytes that are left before memory is taken.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from neoc.compile.frontends.trees.ensemble import broken

MOST_DEPTH = 64
_MOST_FREE = 1 << 20
"""elements in all counted containers whose type takes no bytes (null, true, false)"""

_NUMBERS: dict[int, tuple[struct.Struct, np.dtype[Any]]] = {
    ord(marker): (struct.Struct(code), np.dtype(dtype))
    for marker, code, dtype in (
        ("i", ">b", "i1"), ("U", ">B", "u1"), ("I", ">h", ">i2"), ("l", ">i", ">i4"), ("L", ">q", ">i8"),
        ("d", ">f", ">f4"), ("D", ">d", ">f8"),
    )
}  # fmt: skip
_CONSTANTS: dict[int, Any] = {ord("Z"): None, ord("T"): True, ord("F"): False}
_NOTHING = ord("N")
"""no operation: padding"""


def loads(data: bytes | memoryview) -> Any:
    """The value that the bytes hold. Raises InvalidModel, which names the offset."""
    reader = _Reader(memoryview(data))
    value = reader.value(reader.marker(), 0)
    if reader.at != len(data):
        raise reader.fault(f"{len(data) - reader.at} bytes follow its end")
    return value


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._free = _MOST_FREE
        self.at = 0

    def fault(self, why: str) -> Exception:
        return broken(f"as UBJSON it is damaged: {why}", f"byte {self.at}")

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self._data) - self.at:
            raise self.fault(f"{count} bytes should follow, and {len(self._data) - self.at} do")
        self.at += count
        return self._data[self.at - count : self.at]

    def marker(self) -> int:
        while (marker := self.take(1)[0]) == _NOTHING:
            pass
        return marker

    def value(self, marker: int, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise self.fault(f"it is nested deeper than {MOST_DEPTH} levels")
        if marker in _NUMBERS:
            layout = _NUMBERS[marker][0]
            return layout.unpack(self.take(layout.size))[0]
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        match chr(marker):
            case "S":
                return self._text(self._length())
            case "C":
                return self._text(1)
            case "H":
                return self._precise(self._text(self._length()))
            case "[":
                return self._array(depth)
            case "{":
                return self._object(depth)
        raise self.fault(f"{bytes([marker])!r} is no type")

    def _length(self) -> int:
        marker = self.marker()
        if marker not in _NUMBERS or _NUMBERS[marker][1].kind == "f":
            raise self.fault(f"{bytes([marker])!r} is no type of a length")
        length = int(self.value(marker, 0))
        if length < 0:
            raise self.fault(f"a length is {length}")
        return length

    def _text(self, length: int) -> str:
        try:
            return str(self.take(length), "utf-8")
        except UnicodeDecodeError:
            raise self.fault("a text is no UTF-8") from None

    def _precise(self, digits: str) -> float:
        try:
            return float(digits)
        except ValueError:
            raise self.fault(f"{digits[:40]!r} is no number") from None

    def _shape(self) -> tuple[int | None, int | None, int]:
        """(element type, count, next marker; the marker counts only where there is no count)."""
        kind: int | None = None
        count: int | None = None
        marker = self.marker()
        if marker == ord("$"):
            kind = self.take(1)[0]
            marker = self.marker()
            if marker != ord("#"):
                raise self.fault("a typed container has no count")
        if marker == ord("#"):
            count = self._length()
            per_element = _NUMBERS[kind][0].size if kind in _NUMBERS else 0 if kind in _CONSTANTS else 1
            self._free -= 0 if per_element else count
            if count * per_element > len(self._data) - self.at or self._free < 0:
                raise self.fault(f"{count} elements should follow in {len(self._data) - self.at} bytes")
        return kind, count, marker

    def _array(self, depth: int) -> Any:
        kind, count, marker = self._shape()
        if count is None:
            items = []
            while marker != ord("]"):
                items.append(self.value(marker, depth + 1))
                marker = self.marker()
            return items
        if kind in _NUMBERS:
            dtype = _NUMBERS[kind][1]
            return np.frombuffer(self.take(count * dtype.itemsize), dtype).astype(dtype.newbyteorder("="))
        return [self.value(self.marker() if kind is None else kind, depth + 1) for _ in range(count)]

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count, marker = self._shape()
        made: dict[str, Any] = {}
        if count is None:
            while marker != ord("}"):
                self.at -= 1  # the marker is that of the key's length
                key = self._text(self._length())
                made[key] = self.value(self.marker(), depth + 1)
                marker = self.marker()
            return made
        for _ in range(count):
            key = self._text(self._length())
            made[key] = self.value(self.marker() if kind is None else kind, depth + 1)
        return made
