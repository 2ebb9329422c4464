"""Messages between neoc and its worker processes: framing alone, whatever carries the bytes.

    b"neoc" | header length, u32 | array bytes, u64 | header: JSON, utf-8 | arrays, one behind the other, raw

A message has a kind, a JSON body, and named values: arrays, and lists, maps, texts, numbers and None around
them, since an ONNX output may be a sequence, a map or an empty optional. Nothing is ever pickled: what a broken
or hostile peer sends ends in a WireError, never in code being run. All numbers are little-endian.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neoc.compile.contracts import dtype_name, dtype_of

PROTOCOL = 3
"""raised with every change that an older peer would misunderstand"""

MAX_HEADER_BYTES = 64 << 20
MAX_ARRAY_BYTES = 1 << 38
ALIGNMENT = 64
"""bytes: a cache line and the widest vector register, so that where an array lands does not decide a race"""

_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_NUMPY_DTYPES = {"bool", "float16", "float32", "float64", "complex64", "complex128", *_INTEGERS}

_PREFIX = struct.Struct("<4sIQ")
_MAGIC = b"neoc"

Fill = Callable[[memoryview], None]
"""reads exactly as many bytes as the view holds; raises EOFError where the stream ends before"""


class WireError(ValueError):
    """Bytes that are no message, or a value that cannot be sent."""


@dataclass(frozen=True)
class Message:
    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def encode(message: Message) -> list[memoryview]:
    """The message as buffers to write in order; contiguous arrays are not copied. Raises WireError."""
    payloads: list[memoryview] = []
    specs = {name: _describe(value, payloads) for name, value in message.values.items()}
    head = json.dumps({"kind": message.kind, "body": message.body, "values": specs}).encode()
    if len(head) > MAX_HEADER_BYTES:
        raise WireError(f"a header of {len(head)} bytes is over the bound of {MAX_HEADER_BYTES}")
    size = sum(payload.nbytes for payload in payloads)
    return [memoryview(_PREFIX.pack(_MAGIC, len(head), size) + head), *payloads]


def decode(fill: Fill) -> Message:
    """The next message; its arrays are fresh, writable, C-contiguous, aligned. Raises WireError, EOFError."""
    prefix = bytearray(_PREFIX.size)
    fill(memoryview(prefix))
    magic, length, size = _PREFIX.unpack(prefix)
    if magic != _MAGIC or length > MAX_HEADER_BYTES or size > MAX_ARRAY_BYTES:
        raise WireError(f"no message starts with {bytes(prefix)!r}")
    head = bytearray(length)
    fill(memoryview(head))
    try:
        data = json.loads(head)
        kind, body, specs = data["kind"], data["body"], data["values"]
        if not (isinstance(kind, str) and isinstance(body, dict) and isinstance(specs, dict)):
            raise WireError("a message header holds other than kind, body and values")
        left = _Payload(fill, size)
        values = {name: _restore(spec, left) for name, spec in specs.items()}
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise error if isinstance(error, WireError) else WireError(f"broken message: {error!r}") from error
    if left.size:
        raise WireError(f"{left.size} bytes of arrays that no value claims")
    return Message(kind, body, values)


class _Payload:
    """The array bytes of one message that are still to be read."""

    def __init__(self, fill: Fill, size: int) -> None:
        self._fill, self.size = fill, size

    def read_into(self, view: memoryview) -> None:
        if view.nbytes > self.size:
            raise WireError(f"an array of {view.nbytes} bytes where {self.size} are left")
        if view.nbytes:
            self._fill(view)
            self.size -= view.nbytes


# ---- values --------------------------------------------------------------------------------


def _describe(value: Any, payloads: list[memoryview]) -> Any:
    """The JSON that stands for a value; the bytes of arrays go to `payloads`."""
    if isinstance(value, np.ndarray | np.generic):  # first: a numpy scalar may also be a float or a str
        return _describe_array(np.asarray(value), payloads)
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    if isinstance(value, list | tuple):
        return {"list": [_describe(item, payloads) for item in value]}
    if isinstance(value, Mapping):
        pairs = [[_describe(k, payloads), _describe(v, payloads)] for k, v in value.items()]
        return {"map": pairs}
    raise WireError(f"a {type(value).__name__} cannot be sent")


def _describe_array(array: np.ndarray, payloads: list[memoryview]) -> Any:
    name = dtype_name(array.dtype)
    shape = list(array.shape)
    if name == "string":
        text = json.dumps([_text(item) for item in array.reshape(-1).tolist()]).encode()
        payloads.append(memoryview(text))
        return {"strings": len(text), "shape": shape}
    _checked_dtype(name)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    payloads.append(_bytes_of(np.ascontiguousarray(array)))
    return {"array": name, "shape": shape}


def _text(item: object) -> str:
    if isinstance(item, bytes):
        return item.decode()
    if isinstance(item, str):
        return str(item)
    raise WireError(f"a string array that holds a {type(item).__name__}")


def _bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of a C-contiguous array; ml_dtypes have no buffer protocol of their own."""
    return array.reshape(-1).view(np.uint8).data


def _checked_dtype(name: str) -> np.dtype[Any]:
    """A dtype of plain numbers: never one of object pointers or fields, which raw bytes must not fill."""
    try:
        dtype = dtype_of(name)
    except (TypeError, AttributeError, ValueError, SyntaxError) as error:
        raise WireError(f"{name!r} is no dtype") from error
    if name not in _NUMPY_DTYPES and dtype.type.__module__ != "ml_dtypes":
        raise WireError(f"arrays of {name!r} cannot be sent")
    return dtype


def _restore(spec: Any, payload: _Payload) -> Any:
    """The value that `_describe` described."""
    if "plain" in spec:
        return spec["plain"]
    if "list" in spec:
        return [_restore(item, payload) for item in spec["list"]]
    if "map" in spec:
        return {_restore(k, payload): _restore(v, payload) for k, v in spec["map"]}
    shape = _checked_shape(spec["shape"])
    if "strings" in spec:
        text = bytearray(min(spec["strings"], payload.size + 1))
        payload.read_into(memoryview(text))
        return _string_array(json.loads(text), shape)
    dtype = _checked_dtype(spec["array"])
    size = math.prod(shape) * dtype.itemsize
    if size > payload.size:
        raise WireError(f"an array of {size} bytes where {payload.size} are left")
    array = aligned_empty(shape, dtype)
    payload.read_into(_bytes_of(array))
    return array


def _string_array(items: Any, shape: tuple[int, ...]) -> np.ndarray:
    if not isinstance(items, list) or len(items) != math.prod(shape):
        raise WireError(f"strings that do not fill the shape {shape}")
    strings = np.empty(len(items), dtype=object)
    strings[:] = [_text(item) for item in items]
    return strings.reshape(shape)


def _checked_shape(dims: Any) -> tuple[int, ...]:
    if not isinstance(dims, list) or any(type(d) is not int or d < 0 for d in dims):
        raise WireError(f"{dims!r} is no shape")
    return tuple(dims)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An uninitialised C-contiguous array whose first byte lies on a 64-byte boundary."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


# ---- whole messages in memory ----------------------------------------------------------------


def to_bytes(message: Message) -> bytes:
    """The message as one string of bytes, for transports that have no use for pieces."""
    return b"".join(encode(message))


def from_bytes(data: bytes) -> Message:
    """The inverse of `to_bytes`. Raises WireError, EOFError."""
    left = memoryview(data)

    def fill(view: memoryview) -> None:
        nonlocal left
        if view.nbytes > left.nbytes:
            raise EOFError("the message is cut short")
        view[:] = left[: view.nbytes]
        left = left[view.nbytes :]

    return decode(fill)
