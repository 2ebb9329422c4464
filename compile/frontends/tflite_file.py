"""What a `.tflite` file says, read with every offset checked: TensorFlow's own readers trust the file.

A FlatBuffer (https://flatbuffers.dev/internals/) is tables that point at each other by relative offsets; a damaged one
points anywhere. This reader follows tensorflow/compiler/mlir/lite/schema/schema.fbs, whose field numbers are the
constants below, far enough to check what TensorFlow would otherwise crash on: indices, shapes, buffers, scales.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import TypeVar

from neoc.compile.errors import InvalidModel

MAGIC = b"TFL3"
_MOST_BYTES = 2**31 - 1
_MOST_ENTRIES = 1_000_000
CUSTOM = 32
"""BuiltinOperator.CUSTOM"""

DTYPES: Mapping[int, tuple[str, int]] = {
    0: ("float32", 4), 1: ("float16", 2), 2: ("int32", 4), 3: ("uint8", 1), 4: ("int64", 8), 5: ("string", 0),
    6: ("bool", 1), 7: ("int16", 2), 8: ("complex64", 8), 9: ("int8", 1), 10: ("float64", 8), 11: ("complex128", 16),
    12: ("uint64", 8), 13: ("resource", 0), 14: ("variant", 0), 15: ("uint32", 4), 16: ("uint16", 2), 17: ("int4", 0),
    18: ("bfloat16", 2),
}  # fmt: skip
"""TensorType -> (name, bytes of one element; 0 where a buffer's size does not follow from the shape)"""

T = TypeVar("T")


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant: bool

    @property
    def quantised(self) -> bool:
        return bool(self.scales)


@dataclass(frozen=True)
class Operator:
    code: int
    """BuiltinOperator"""
    custom: str
    """the name of a custom operator; empty for a built-in one"""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Names:
    """One signature: users' names -> indices of tensors."""

    key: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class File:
    version: int
    graphs: tuple[Graph, ...]
    signatures: tuple[Names, ...]
    """of the main graph"""

    @property
    def main(self) -> Graph:
        return self.graphs[0]


def is_tflite(path: Path) -> bool:
    """The file identifier of the schema; files of before 2018 lack it and go by their suffix."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == MAGIC:
        return True
    return path.suffix.lower() == ".tflite"


def read(path: Path) -> File:
    """Raises InvalidModel for what is no whole, consistent model."""
    if path.stat().st_size > _MOST_BYTES:
        raise _damaged(path.name, "it is larger than a FlatBuffer can be (2 GB)")
    data = path.read_bytes()
    try:
        return _model(data)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise _damaged(path.name, str(error) or type(error).__name__) from error


def _damaged(where: str, why: str) -> InvalidModel:
    return InvalidModel(
        "the TensorFlow Lite model cannot be read",
        where=where,
        why=f"the file is damaged or cut short: {why}",
        fix="fetch or convert it again and compare the checksum",
    )


# ---- FlatBuffers -------------------------------------------------------------------------------------------


class _Table:
    """A table at `at`; every access is checked against the end of the data. Raises IndexError, struct.error."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        vtable = at - _number(data, "<i", at)
        size = _number(data, "<H", vtable)
        if size < 4 or vtable + size > len(data):
            raise IndexError(f"a table at {at} describes itself outside the file")
        self._fields = struct.unpack_from(f"<{size // 2 - 2}H", data, vtable + 4)

    def _field(self, index: int) -> int:
        """Position of a field; 0 where it is absent."""
        offset = self._fields[index] if index < len(self._fields) else 0
        return self.at + offset if offset else 0

    def number(self, index: int, code: str, default: int = 0) -> int:
        at = self._field(index)
        return _number(self.data, code, at) if at else default

    def _target(self, index: int) -> int:
        at = self._field(index)
        return at + _number(self.data, "<I", at) if at else 0

    def _vector(self, index: int, width: int) -> tuple[int, int]:
        """(position of the first element, number of elements)"""
        at = self._target(index)
        if not at:
            return 0, 0
        count = _number(self.data, "<I", at)
        if at + 4 + count * width > len(self.data):
            raise IndexError(f"a vector of {count} elements reaches beyond the end of the file")
        return at + 4, count

    def numbers(self, index: int, code: str) -> tuple[float, ...]:
        at, count = self._vector(index, struct.calcsize(code))
        return struct.unpack_from(f"<{count}{code}", self.data, at)

    def ints(self, index: int, code: str = "i") -> tuple[int, ...]:
        return tuple(int(number) for number in self.numbers(index, code))

    def bytes_size(self, index: int) -> int:
        return self._vector(index, 1)[1]

    def text(self, index: int) -> str:
        at, count = self._vector(index, 1)
        return self.data[at : at + count].decode() if at else ""

    def table(self, index: int) -> _Table | None:
        at = self._target(index)
        return _Table(self.data, at) if at else None

    def tables(self, index: int, build: Callable[[_Table], T]) -> tuple[T, ...]:
        at, count = self._vector(index, 4)
        if count > _MOST_ENTRIES:
            raise ValueError(f"it claims {count} entries in one list")
        places = (at + 4 * i for i in range(count))
        return tuple(build(_Table(self.data, place + _number(self.data, "<I", place))) for place in places)


def _number(data: bytes, code: str, at: int) -> int:
    if not 0 <= at <= len(data) - struct.calcsize(code):
        raise IndexError(f"an offset leads to byte {at} of {len(data)}")
    value: int = struct.unpack_from(code, data, at)[0]
    return value


# ---- the schema --------------------------------------------------------------------------------------------


def _model(data: bytes) -> File:
    root = _Table(data, _number(data, "<I", 0))
    version = root.number(0, "<I")
    if version != 3:
        raise ValueError(f"its schema version is {version}, not 3")
    codes = root.tables(1, _operator_code)
    buffers = root.tables(4, lambda table: table.bytes_size(0) or table.number(2, "<Q"))
    graphs = root.tables(2, lambda table: _graph(table, codes, buffers))
    if not graphs:
        raise ValueError("it holds no graph")
    signatures = root.tables(7, _signature)
    for names in signatures:
        _check_indices((*names.inputs.values(), *names.outputs.values()), len(graphs[0].tensors), "a signature")
    return File(version, graphs, signatures)


def _operator_code(table: _Table) -> tuple[int, str]:
    """The older field holds codes up to 126 alone and says 127 for the others."""
    code = max(table.number(3, "<i"), table.number(0, "<b"))
    if code < 0:
        raise ValueError(f"it names operator {code}")
    return code, (table.text(1) or "CUSTOM") if code == CUSTOM else ""


def _graph(table: _Table, codes: tuple[tuple[int, str], ...], buffers: tuple[int, ...]) -> Graph:
    tensors = table.tables(0, lambda entry: _tensor(entry, buffers))

    def operator(entry: _Table) -> Operator:
        index = entry.number(0, "<I")
        _check_indices((index,), len(codes), "an operator's code")
        inputs, outputs = entry.ints(1), entry.ints(2)
        _check_indices((i for i in (*inputs, *outputs) if i != -1), len(tensors), "an operator")
        return Operator(*codes[index], inputs, outputs)

    operators = table.tables(3, operator)
    inputs, outputs = table.ints(1), table.ints(2)
    _check_indices((*inputs, *outputs), len(tensors), "the graph's inputs or outputs")
    return Graph(tensors, operators, inputs, outputs)


def _tensor(table: _Table, buffers: tuple[int, ...]) -> Tensor:
    name, buffer, kind = table.text(3), table.number(2, "<I"), table.number(1, "<b")
    if kind not in DTYPES:
        raise ValueError(f"tensor {name!r} is of the unknown type {kind}")
    _check_indices((buffer,), len(buffers), f"tensor {name!r}")
    dtype, width = DTYPES[kind]
    shape, signature = table.ints(0), table.ints(7)
    if any(size < 0 for size in shape) or any(size < -1 for size in signature):
        raise ValueError(f"tensor {name!r} has the shape {list(signature or shape)}")
    constant = buffer > 0 and buffers[buffer] > 0
    if constant and width and buffers[buffer] != prod(shape) * width:
        raise ValueError(f"tensor {name!r} of {dtype}{list(shape)} has {buffers[buffer]} bytes")
    scales, zero_points = _quantisation(table.table(4), name, len(shape))
    return Tensor(name, dtype, signature or shape, scales, zero_points, constant)


def _quantisation(table: _Table | None, name: str, rank: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if table is None:
        return (), ()
    scales, zero_points = table.numbers(2, "f"), table.ints(3, "q")
    if not all(isfinite(scale) and scale >= 0 for scale in scales):
        raise ValueError(f"tensor {name!r} has a scale that is negative or no number")
    if scales and len(zero_points) not in (1, len(scales)):
        raise ValueError(f"tensor {name!r} has {len(scales)} scales and {len(zero_points)} zero points")
    if len(scales) > 1 and not 0 <= table.number(6, "<i") < max(rank, 1):
        raise ValueError(f"tensor {name!r} is quantised along an axis that it does not have")
    return scales, zero_points


def _signature(table: _Table) -> Names:
    def pairs(index: int) -> dict[str, int]:
        return dict(table.tables(index, lambda entry: (entry.text(0), entry.number(1, "<I"))))

    return Names(table.text(2), pairs(0), pairs(1))


def _check_indices(indices: Iterable[int], count: int, what: str) -> None:
    for index in indices:
        if not 0 <= index < count:
            raise ValueError(f"{what} names entry {index} of {count}")
