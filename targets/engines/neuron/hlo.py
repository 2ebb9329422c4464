"""HloModuleProto, read and rewritten on the protobuf wire format: no jaxlib, no protobuf package.

Field numbers: openxla/xla, xla/service/hlo.proto and xla/xla_data.proto. What is not listed here is passed through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

PRIMITIVES = {
    1: "pred", 2: "s8", 3: "s16", 4: "s32", 5: "s64", 6: "u8", 7: "u16", 8: "u32", 9: "u64", 10: "f16", 11: "f32",
    12: "f64", 13: "tuple", 14: "opaque", 15: "c64", 16: "bf16", 17: "token", 18: "c128", 19: "f8e5m2",
    20: "f8e4m3fn", 21: "s4", 22: "u4", 23: "f8e4m3b11fnuz", 24: "f8e5m2fnuz", 25: "f8e4m3fnuz", 26: "s2", 27: "u2",
    28: "f8e4m3", 29: "f8e3m4", 32: "f4e2m1fn", 33: "f8e8m0fnu",
}  # fmt: skip
"""PrimitiveType -> its name in HLO text"""

BITS = {"pred": 8, "tuple": 0, "opaque": 0, "token": 0, "bf16": 16, "c64": 64, "c128": 128}


class WireError(ValueError):
    """The bytes are no HloModuleProto."""


@dataclass(frozen=True)
class Shape:
    """An array's dtype and sizes, or a tuple's members."""

    dtype: str
    dims: tuple[int, ...] = ()
    dynamic: bool = False
    members: tuple[Shape, ...] = ()

    @property
    def bytes(self) -> int:
        size = BITS.get(self.dtype)
        if size is None:
            digits = "".join(c for c in self.dtype[1:].split("e")[0].split("m")[0] if c.isdigit())
            size = int(digits or 0)
        for dim in self.dims:
            size *= dim
        return -(-size // 8) + sum(m.bytes for m in self.members)

    def __str__(self) -> str:
        if self.dtype == "tuple":
            return f"({', '.join(map(str, self.members))})"
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


@dataclass(frozen=True)
class WindowDim:
    """One dimension of a window."""

    size: int = 1
    stride: int = 1
    window_dilation: int = 1
    base_dilation: int = 1


@dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    shape: Shape
    id: int
    operands: tuple[int, ...] = ()
    called: tuple[int, ...] = ()
    """ids of the computations that it calls"""
    window: tuple[WindowDim, ...] = ()
    parameter: int = 0
    custom_call_target: str = ""
    source: str = ""
    """its op_name: the node of the model that it was lowered from"""


@dataclass(frozen=True)
class Computation:
    name: str
    id: int
    root: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Module:
    name: str
    entry_id: int
    computations: tuple[Computation, ...] = field(repr=False)

    @property
    def entry(self) -> Computation:
        return next(c for c in self.computations if c.id == self.entry_id)

    def instructions(self) -> Iterator[Instruction]:
        for computation in self.computations:
            yield from computation.instructions

    def opcodes(self) -> Counter[str]:
        return Counter(i.opcode for i in self.instructions())

    def parameters(self) -> tuple[Instruction, ...]:
        """Those of the entry computation, in order."""
        found = [i for i in self.entry.instructions if i.opcode == "parameter"]
        return tuple(sorted(found, key=lambda i: i.parameter))

    def results(self) -> tuple[Shape, ...]:
        """Shapes of the entry computation's outputs."""
        root = next(i for i in self.entry.instructions if i.id == self.entry.root)
        return root.shape.members if root.shape.dtype == "tuple" else (root.shape,)

    def used_parameters(self) -> frozenset[int]:
        """The numbers of the parameters that the entry's root depends on."""
        by_id = {i.id: i for i in self.entry.instructions}
        seen: set[int] = set()
        pending = [self.entry.root]
        while pending:
            at = pending.pop()
            if at not in seen:
                seen.add(at)
                pending.extend(by_id[at].operands)
        return frozenset(by_id[i].parameter for i in seen if by_id[i].opcode == "parameter")


# ---- the wire ----------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a number is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, int, int | bytes, bytes]]:
    """(number, wire type, value, the field's own bytes) of each field. Raises WireError."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise WireError("field number 0")
        value: int | bytes
        if kind == VARINT:
            value, at = _varint(data, at)
        elif kind in (FIXED64, BYTES, FIXED32):
            size = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
            if kind == BYTES:
                size, at = _varint(data, at)
            value = data[at : at + size]
            if len(value) != size:
                raise WireError("a field is cut off")
            at += size
        else:
            raise WireError(f"wire type {kind}")
        yield number, kind, value, data[start:at]


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise WireError("a number where a message belongs")
    return value


def _number(value: int | bytes) -> int:
    """A signed 64-bit number."""
    if not isinstance(value, int):
        raise WireError("a message where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def _numbers(value: int | bytes) -> list[int]:
    """A repeated number: one of it, or a packed run."""
    if isinstance(value, int):
        return [_number(value)]
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(_number(one))
    return found


def _text(value: int | bytes) -> str:
    try:
        return _message(value).decode()
    except UnicodeDecodeError as error:
        raise WireError("a name that is no UTF-8") from error


# ---- reading -----------------------------------------------------------------------------------------


def read(data: bytes) -> Module:
    """The module in the bytes of an HloModuleProto. Raises WireError for anything else."""
    name, entry, computations = "", None, []
    for number, _, value, _ in fields(data):
        if number == 1:
            name = _text(value)
        elif number == 6:
            entry = _number(value)
        elif number == 3:
            computations.append(_computation(_message(value)))
    if entry is None or all(c.id != entry for c in computations):
        raise WireError("it has no entry computation")
    module = Module(name, entry, tuple(computations))
    for computation in computations:
        known = {i.id for i in computation.instructions}
        if computation.root not in known or any(set(i.operands) - known for i in computation.instructions):
            raise WireError(f"computation {computation.name!r} refers to an instruction that it does not have")
    return module


def _computation(data: bytes) -> Computation:
    name, own, root, instructions = "", 0, 0, []
    for number, _, value, _ in fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            instructions.append(_instruction(_message(value)))
        elif number == 5:
            own = _number(value)
        elif number == 6:
            root = _number(value)
    return Computation(name, own, root, tuple(instructions))


def _instruction(data: bytes) -> Instruction:
    name = opcode = target = source = ""
    own = parameter = 0
    shape = Shape("token")
    operands: list[int] = []
    called: list[int] = []
    window: tuple[WindowDim, ...] = ()
    for number, _, value, _ in fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            opcode = _text(value)
        elif number == 3:
            shape = _shape(_message(value))
        elif number == 7:
            source = next((_text(v) for n, _, v, _ in fields(_message(value)) if n == 2), "")
        elif number == 9:
            parameter = _number(value)
        elif number == 15:
            window = tuple(_window(_message(v)) for n, _, v, _ in fields(_message(value)) if n == 1)
        elif number == 28:
            target = _text(value)
        elif number == 35:
            own = _number(value)
        elif number == 36:
            operands += _numbers(value)
        elif number == 38:
            called += _numbers(value)
    return Instruction(name, opcode, shape, own, tuple(operands), tuple(called), window, parameter, target, source)


def _shape(data: bytes) -> Shape:
    dtype, dims, dynamic, members = "?", [], False, []
    for number, _, value, _ in fields(data):
        if number == 2:
            code = _number(value)
            dtype = PRIMITIVES.get(code, f"?{code}")
        elif number == 3:
            dims += _numbers(value)
        elif number == 4:
            members.append(_shape(_message(value)))
        elif number == 6:
            dynamic = dynamic or any(_numbers(value))
    return Shape(dtype, tuple(dims), dynamic or any(m.dynamic for m in members), tuple(members))


def _window(data: bytes) -> WindowDim:
    names = {1: "size", 2: "stride", 5: "window_dilation", 6: "base_dilation"}
    return WindowDim(**{names[n]: _number(v) for n, _, v, _ in fields(data) if n in names})


# ---- rewriting ---------------------------------------------------------------------------------------


def _encoded(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while True:
        byte, number = number & 127, number >> 7
        out.append(byte | (128 if number else 0))
        if not number:
            return bytes(out)


def _put(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _encoded(number << 3 | VARINT) + _encoded(value)
    return _encoded(number << 3 | BYTES) + _encoded(len(value)) + value


def normalised(data: bytes, name: str) -> bytes:
    """The module called `name`, with ids from 1 upwards that fit 32 bits, and without traces of the building machine.

    jax numbers instructions above 2**31, which an older reader of the format cuts off. It also writes the paths and
    lines of the Python sources into the metadata: only the name of the operator stays. Raises WireError.
    """
    module = read(data)
    ids = {c.id: n for n, c in enumerate(module.computations, 1)}
    own = {
        (c.id, i.id): n
        for n, (c, i) in enumerate(((c, i) for c in module.computations for i in c.instructions), len(ids) + 1)
    }
    out = bytearray()
    for number, _, value, raw in fields(data):
        if number == 1:
            out += _put(1, name.encode())
        elif number == 3:
            out += _put(3, _renumbered_computation(_message(value), ids, own))
        elif number == 5:
            out += _put(5, 1)
        elif number == 6:
            out += _put(6, ids[_number(value)])
        elif number == 7:
            raise WireError("a schedule, whose ids would have to be renumbered, is not expected before compilation")
        elif number != 17:  # stack frames
            out += raw
    return bytes(out)


def _renumbered_computation(data: bytes, ids: dict[int, int], own: dict[tuple[int, int], int]) -> bytes:
    computation = next(_number(v) for n, _, v, _ in fields(data) if n == 5)
    out = bytearray()
    for number, _, value, raw in fields(data):
        if number == 2:
            out += _put(2, _renumbered_instruction(_message(value), computation, ids, own))
        elif number == 5:
            out += _put(5, ids[_number(value)])
        elif number == 6:
            out += _put(6, own[computation, _number(value)])
        else:
            out += raw
    return bytes(out)


def _renumbered_instruction(
    data: bytes, computation: int, ids: dict[int, int], own: dict[tuple[int, int], int]
) -> bytes:
    out = bytearray()
    for number, _, value, raw in fields(data):
        if number == 7:
            kept = b"".join(r for n, _, _, r in fields(_message(value)) if n in (1, 2))  # op_type, op_name
            out += _put(7, kept)
        elif number == 35:
            out += _put(35, own[computation, _number(value)])
        elif number in (36, 37):
            out += _put(number, b"".join(_encoded(own[computation, i]) for i in _numbers(value)))
        elif number == 38:
            out += _put(38, b"".join(_encoded(ids[i]) for i in _numbers(value)))
        else:
            out += raw
    return bytes(out)
