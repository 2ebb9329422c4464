"""Tensors at an engine's edge: types that numpy does not know, packed ones, and feeds that are no tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, TensorSpec, dtype_of
from neoc.compile.errors import FeedError

ELEMENT_TYPES = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
    "uint4": 21,
    "int4": 22,
    "float4_e2m1fn": 23,
    "float8_e8m0fnu": 24,
    "uint2": 25,
    "int2": 26,
}
"""dtypes of ml_dtypes, which numpy itself lacks, with their number in ONNX's TensorProto.DataType"""

PACKED_BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}
"""dtypes of less than a byte: ml_dtypes gives each element a byte, engines pack them"""

_NO_TENSORS = ("sequence", "optional", "undefined")


def is_tensor(spec: TensorSpec) -> bool:
    """False for sequences and optionals, which an engine takes and gives as lists, arrays or None."""
    return spec.dtype not in _NO_TENSORS


def feed_check(inputs: Sequence[TensorSpec]) -> Callable[[Feeds], None]:
    """FeedCheck.check, or one that leaves feeds of inputs that are no tensors to the engine."""
    if all(is_tensor(spec) for spec in inputs):
        return FeedCheck(inputs).check
    names = [spec.name for spec in inputs]
    tensors = [spec for spec in inputs if is_tensor(spec)]
    check = FeedCheck(tensors).check

    def mixed(feeds: Feeds) -> None:
        if set(feeds) != set(names):
            raise FeedError(
                "feeds do not fit the inputs",
                why=f"fed {', '.join(map(repr, feeds)) or 'nothing'}, the model takes {', '.join(map(repr, names))}",
                fix="feed exactly the names in session.inputs",
            )
        check({spec.name: feeds[spec.name] for spec in tensors})

    return mixed


def chosen(outputs: Sequence[str], known: Sequence[str]) -> list[str]:
    """`outputs` as a list. Raises FeedError for a name that is no output."""
    strangers = [name for name in outputs if name not in known]
    if strangers:
        raise FeedError(
            "an output was asked for that the model does not have",
            why=f"unknown {', '.join(map(repr, strangers))}",
            fix=f"the model gives {', '.join(map(repr, known))}",
        )
    return list(outputs)


def closed(*_: object) -> Any:
    """Stands where a closed session's run was."""
    raise FeedError("the session is closed", fix="open the artifact again")


def pack(array: np.ndarray) -> np.ndarray:
    """The bytes of `array`, uint8, as engines and ONNX lay them out: packed elements in order, lowest bits first."""
    bits = PACKED_BITS.get(array.dtype.name)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if bits is None:
        return flat
    per_byte = 8 // bits
    codes = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    codes[: flat.size] = flat & ((1 << bits) - 1)
    shifted = codes.reshape(-1, per_byte) << (np.arange(per_byte, dtype=np.uint8) * bits)
    packed: np.ndarray = np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8)
    return packed


def unpack(data: np.ndarray, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """The inverse of `pack`: a fresh array of `dtype` and `shape` from bytes (uint8)."""
    bits = PACKED_BITS.get(dtype)
    if bits is None:
        array: np.ndarray = data.view(dtype_of(dtype)).reshape(shape).copy()
        return array
    count = int(np.prod(shape, dtype=np.int64))
    codes = (data[:, None] >> (np.arange(8 // bits, dtype=np.uint8) * bits)) & ((1 << bits) - 1)
    codes = codes.reshape(-1)[:count]
    if dtype.startswith("float"):
        small: np.ndarray = codes.astype(np.uint8).view(dtype_of(dtype)).reshape(shape)
        return small
    if dtype.startswith("int"):  # two's complement in `bits` bits
        codes = codes.astype(np.int8)
        codes = np.where(codes >= 1 << (bits - 1), codes - (1 << bits), codes)
    wide: np.ndarray = codes.astype(dtype_of(dtype)).reshape(shape)
    return wide
