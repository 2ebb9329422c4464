"""Ways to damage an ONNX file: its bytes, its wire format, and what it says."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from google.protobuf.message import DecodeError, Message

Bytes = Callable[[bytes, bytes, random.Random], bytes]

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
_SINGULAR = (Message, int, float, bool, str, bytes)

_TEXTS = ("", "x", "../x", "/etc/passwd", "location", "ai.onnx", "com.microsoft", "N**N", "((((", "If", "Constant")


def mutate(data: bytes, other: bytes, rng: random.Random) -> tuple[str, bytes]:
    """(kind, damaged bytes); `other` is a model to splice from."""
    kind = rng.choices(list(_KINDS), [3 if kind == "meaning" else 1 for kind in _KINDS])[0]  # it reaches deepest
    return kind, _KINDS[kind](data, other, rng)


# ---- bytes and wire format -------------------------------------------------------------------------


def structure(data: bytes, most: int = 20000) -> list[tuple[int, int, int]]:
    """(start, end, wire type) of fields outside weights: where damage is worth more than another weight."""
    fields: list[tuple[int, int, int]] = []
    todo: list[tuple[int, int, object]] = [(0, len(data), onnx.ModelProto.DESCRIPTOR)]
    while todo and len(fields) < most:
        at, end, descriptor = todo.pop()
        while at < end:
            start = at
            key, at = _varint(data, at)
            if key & 7 == 0:
                _, at = _varint(data, at)
            elif key & 7 == 2:
                length, at = _varint(data, at)
                field = descriptor.fields_by_number.get(key >> 3)  # type: ignore[attr-defined]
                if field is not None and field.message_type is not None:
                    todo.append((at, at + length, field.message_type))
                at += length
            elif key & 7 in (1, 5):
                at += 8 if key & 7 == 1 else 4
            else:
                break
            fields.append((start, min(at, end), key & 7))
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            break
    return value, at


def _place(data: bytes, rng: random.Random) -> int:
    """An offset, most often among keys, lengths and small values."""
    if rng.random() < 0.8:
        start, end, _ = rng.choice(structure(data))
        return min(start + rng.randrange(min(max(end - start, 1), 12)), len(data) - 1)
    return rng.randrange(len(data))


def _flip(data: bytes, other: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _truncate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((rng.randrange(len(data)), rng.randrange(64), _place(data, rng)))]


def _varint_damage(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A length or number becomes another one of its own length, or endless."""
    damaged = bytearray(data)
    at = _place(data, rng)
    run = rng.choice((b"\xff", b"\x80", b"\xff" * 9 + b"\x01", b"\xff" * 11, b"\x00", b"\x7f"))
    damaged[at : at + rng.choice((0, 1, len(run)))] = run
    return bytes(damaged)


def _splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A piece of another model, instead of or beside a piece of this one."""
    start, end, _ = rng.choice(structure(other))
    at = _place(data, rng)
    return data[:at] + other[start : min(end, start + 100_000)] + data[at + rng.choice((0, end - start, 7)) :]


def _duplicate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A field of the wire format once more, or gone."""
    start, end, _ = rng.choice(structure(data))
    return data[:end] + data[start:end] + data[end:] if rng.random() < 0.7 else data[:start] + data[end:]


def _append(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """protobuf merges what is appended."""
    start, end, _ = rng.choice(structure(other))
    return data + rng.choice((other[start:end], other, data, rng.randbytes(rng.randrange(1, 64))))


# ---- what the model says ---------------------------------------------------------------------------


def _meaning(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A well-formed protobuf that says something else."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return _flip(data, other, rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change(rng.choice(list(_messages(model, 3000))), rng)
    return model.SerializeToString()


def _messages(message: Message, most: int) -> list[Message]:
    found, index = [message], 0
    while index < len(found) and len(found) < most:
        for field, value in found[index].ListFields():
            if field.message_type is not None:
                found += [value] if isinstance(value, Message) else list(value)
        index += 1
    return found[:most]


def _change(message: Message, rng: random.Random) -> None:
    """Change, repeat, swap or remove one field; or give one that the message did not have."""
    field = rng.choice(message.DESCRIPTOR.fields)
    present = [f for f, _ in message.ListFields()]
    if present and rng.random() < 0.8:
        field = rng.choice(present)
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif not isinstance(getattr(message, field.name), _SINGULAR):
        _change_list(getattr(message, field.name), field, rng)
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, _value(field, getattr(message, field.name), rng))


def _change_list(values, field, rng: random.Random) -> None:  # type: ignore[no-untyped-def]
    if not len(values):
        values.add() if field.message_type is not None else values.append(_value(field, None, rng))
        return
    index = rng.randrange(min(len(values), 1000))
    if field.message_type is None:
        values[index] = _value(field, values[index], rng)
    elif rng.random() < 0.5:
        values.add().CopyFrom(values[index])
    else:
        del values[index]


def _value(field, old, rng: random.Random):  # type: ignore[no-untyped-def]
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64, field.CPPTYPE_UINT64, field.CPPTYPE_UINT32):
        value = rng.choice((*_INTERESTING, -1, -2, (old or 0) + 1, (old or 0) - 1, rng.randrange(64)))
        bits = 32 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 64
        value %= 1 << bits
        signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))
    if field.type == field.TYPE_BYTES:
        return rng.choice((b"", b"\xff\xfe", (old or b"")[:-1], (old or b"") + b"\0", b"x" * 1000))
    return rng.choice((*_TEXTS, (old or "")[:-1], "x" * 1000))


_KINDS: dict[str, Bytes] = {
    "bit flips": _flip,
    "truncation": _truncate,
    "varint damage": _varint_damage,
    "splice": _splice,
    "duplication": _duplicate,
    "appended": _append,
    "meaning": _meaning,
}
