"""Made-up values that look like the real thing: pictures with writing, sounds, token ids, states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile.contracts import TensorSpec, dtype_of
from neoc.compile.input_roles import Kind, Role
from neoc.compile.input_sizes import resolve, shape_of
from neoc.compile.input_uses import Use, size

Array = np.ndarray
_RATE = 16000
"""samples per second of made-up sounds"""

_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "Straße", "café", "42")


def make(spec: TensorSpec, role: Role, sizes: Mapping[str, int], rng: np.random.Generator, sample: int) -> Array:
    """One array for one input, of the input's dtype, C-contiguous. `sample` numbers the feeds, which differ."""
    shape = shape_of(spec, sizes)
    values = _MAKERS[role.kind](Order(spec, role, shape, sizes, rng, sample))
    return _cast(np.asarray(values), spec.dtype, shape)


_NARROW = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}
"""bounds of the integers that numpy does not know itself"""


def _cast(values: Array, dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype == "string":
        return np.asarray(values, object).reshape(shape)
    wanted = dtype_of(dtype)
    if wanted.kind in "iu":
        values = np.clip(values, np.iinfo(wanted).min, np.iinfo(wanted).max)
    elif dtype in _NARROW:
        values = np.clip(values, *_NARROW[dtype]).astype(np.int8)
    # ascontiguousarray makes a scalar one-dimensional, so the shape comes last.
    return np.ascontiguousarray(values.astype(wanted)).reshape(shape)


@dataclass(frozen=True)
class Order:
    """What is to be made."""

    spec: TensorSpec
    role: Role
    shape: tuple[int, ...]
    sizes: Mapping[str, int]
    rng: np.random.Generator
    sample: int
    """which of the feeds it is for, from 0"""


Maker = Callable[[Order], Any]


def _noise(o: Order) -> Any:
    if o.spec.dtype == "bool":
        return o.rng.random(o.shape) < 0.5
    if o.spec.dtype in ("uint8", "int8"):
        bounds = np.iinfo(o.spec.dtype)
        return o.rng.integers(bounds.min, bounds.max, o.shape, endpoint=True)
    if o.spec.dtype.startswith(("int", "uint")):
        low = -4 if o.spec.dtype in ("int4", "int2") else 0
        return o.rng.integers(low, 10 + low, o.shape)
    if o.spec.dtype.startswith("complex"):
        return o.rng.standard_normal(o.shape) + 1j * o.rng.standard_normal(o.shape)
    if o.spec.dtype == "float8_e8m0fnu":  # powers of two, none negative
        return o.rng.uniform(0.5, 2.0, o.shape)
    return o.rng.standard_normal(o.shape)


def _image(o: Order) -> Any:
    """Pages with writing on them: [N,C,H,W], [N,H,W,C], [N,H,W]. Smooth background, dark strokes, a little noise."""
    if prod(o.shape) == 0:
        return np.zeros(o.shape)
    if len(o.shape) == 3:
        pages = [_page(o.rng, *o.shape[1:], 1)[0] for _ in range(o.shape[0])]
    elif o.role.channels_last:
        pages = [np.moveaxis(_page(o.rng, o.shape[1], o.shape[2], o.shape[3]), 0, -1) for _ in range(o.shape[0])]
    else:
        pages = [_page(o.rng, o.shape[2], o.shape[3], o.shape[1]) for _ in range(o.shape[0])]
    return o.role.low + (o.role.high - o.role.low) * np.stack(pages)


_WAVES = ((0.5, 2.5), (0.5, 2.5), (0.0, 1.0))
"""of a page's background: waves down, waves across, phase"""


def _page(rng: np.random.Generator, height: int, width: int, channels: int) -> Array:
    """[channels, height, width] in 0 to 1."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    down, across, phase = (rng.uniform(low, high, (channels, 1, 1)) for low, high in _WAVES)
    page: Array = rng.uniform(0.6, 0.9, (channels, 1, 1)) + 0.1 * np.cos(2 * np.pi * (down * y + across * x + phase))
    ink = _writing(rng, height, width)
    page = page * (1 - ink) + rng.uniform(0.0, 0.2, (channels, 1, 1)) * ink
    noisy: Array = np.clip(page + 0.02 * rng.standard_normal(page.shape), 0, 1)
    return noisy


def _writing(rng: np.random.Generator, height: int, width: int) -> Array:
    """Ink coverage [height, width]: lines of made-up letters, each of a stem and some bars."""
    ink = np.zeros((height, width))
    letter = max(6, min(height, 320) // 10)
    pen = max(1, letter // 7)
    for top in range(letter // 2 + int(rng.integers(0, letter)), height - letter, 2 * letter):
        left = int(rng.integers(1, letter + 1))
        while left < width - letter:
            if rng.random() < 0.85:  # else a space
                wide = max(2, int(letter * rng.uniform(0.4, 0.6)))
                ink[top : top + letter, left : left + pen] = 1
                for bar in rng.choice((0.0, 0.45, 0.85), size=int(rng.integers(1, 4)), replace=False):
                    row = top + int(bar * letter)
                    ink[row : row + pen, left : left + wide] = 1
                if rng.random() < 0.5:
                    ink[top : top + letter, left + wide - pen : left + wide] = 1
            left += int(letter * 0.75)
    return ink


def _signal(o: Order) -> Any:
    """A tone that swells and wavers, along the longest axis; the other axes hold what follows on it."""
    if prod(o.shape) == 0:
        return np.zeros(o.shape)
    axis = max(range(len(o.shape)), key=lambda i: (o.shape[i], i)) if o.shape else 0
    time = (np.arange(prod(o.shape)) + o.rng.integers(0, _RATE)) / _RATE
    pitch = o.rng.uniform(120, 400) * time + 40 / (2 * np.pi * 3) * np.sin(2 * np.pi * 3 * time)
    tone = np.sin(2 * np.pi * pitch) + 0.4 * np.sin(4 * np.pi * pitch)
    wave = 0.3 * tone * (1.2 + np.sin(2 * np.pi * 4 * time)) / 2 + 0.003 * o.rng.standard_normal(time.size)
    if o.spec.dtype == "int16":
        wave = wave * 32000
    moved = [*o.shape[:axis], *o.shape[axis + 1 :], *o.shape[axis : axis + 1]]
    return np.moveaxis(wave.reshape(moved), -1, axis) if o.shape else wave


def _state(o: Order) -> Any:
    return np.zeros(o.shape) if o.sample == 0 else 0.1 * o.rng.standard_normal(o.shape)


def _mask(o: Order) -> Any:
    """Ones; in every second feed the last quarter is padding."""
    mask = np.ones(o.shape)
    if o.sample % 2 and o.shape and o.shape[-1] >= 4:
        mask[..., -(o.shape[-1] // 4) :] = 0
    return mask


def _limit(role: Role, sizes: Mapping[str, int]) -> int:
    """One above the largest index; where a table's size is not known only its first row is safe."""
    known = [limit if isinstance(limit, int) else resolve(limit, sizes) if limit else 1 for limit in role.limits]
    return max(min(known, default=512), int(role.low) + 1)


def _index(o: Order) -> Any:
    return o.rng.integers(int(o.role.low), _limit(o.role, o.sizes), o.shape)


def _position(o: Order) -> Any:
    low, span = int(o.role.low), _limit(o.role, o.sizes) - int(o.role.low)
    return low + np.broadcast_to(np.arange(o.shape[-1] if o.shape else 1) % span, o.shape or (1,))


def _choice(o: Order) -> Any:
    if prod(o.shape) == 1:
        return np.full(o.shape, o.role.values[0])
    return o.rng.choice(np.asarray(o.role.values), o.shape)


def _text(o: Order) -> Any:
    return o.rng.choice(np.asarray(o.role.values or _WORDS, object), o.shape)


def _range(o: Order) -> Any:
    if o.spec.dtype.startswith(("int", "uint")):
        return o.rng.integers(int(np.ceil(o.role.low)), max(int(o.role.high), int(np.ceil(o.role.low))) + 1, o.shape)
    return o.rng.uniform(o.role.low, o.role.high, o.shape)


def _features(o: Order) -> Any:
    """Rows whose values lie around the thresholds of their columns."""
    rows = o.rng.standard_normal(o.shape)
    for column, (low, high) in o.role.columns.items():
        if len(o.shape) == 2 and column < o.shape[1]:
            margin = 0.1 * (high - low) or 0.1 * abs(low) or 1.0
            rows[:, column] = o.rng.uniform(low - margin, high + margin, o.shape[0])
    return rows


def _boxes(o: Order) -> Any:
    """[..., 4]: two opposite corners."""
    if not o.shape or o.shape[-1] != 4:
        return o.rng.random(o.shape)
    corner = o.rng.uniform(0, 0.5, (*o.shape[:-1], 2))
    return np.concatenate([corner, corner + o.rng.uniform(0.1, 0.5, corner.shape)], axis=-1)


# ---- operands --------------------------------------------------------------------------------------


def _operand(o: Order) -> Any:
    """A value that the operator takes whatever its other inputs are."""
    assert o.role.use is not None
    count = prod(o.shape)
    values = np.ones(count)
    if count == 0:
        return values
    wanted = np.asarray(_operand_values(o.role.use, count, o.sizes), float).reshape(-1)[:count]
    values[: wanted.size] = wanted
    return values


def _operand_values(use: Use, count: int, sizes: Mapping[str, int]) -> Any:
    operator, index = use.operator, use.index
    data = _dims(use.operand(0), sizes)
    if operator == "Reshape":
        return [-1]
    if operator == "Expand":
        return [*[1] * (count - len(data)), *data[max(len(data) - count, 0) :]]
    if operator in ("Resize", "Upsample"):
        scales = [*[1] * (count - 2), *[2] * min(count, 2)]
        return np.multiply(scales, data) if index == 3 and len(data) == count else scales
    if operator == "Split":
        axis = use.number("axis", 0)
        whole = data[axis] if -len(data) <= axis < len(data) else count
        return [whole // count + (i < whole % count) for i in range(count)]
    if operator in ("LSTM", "GRU", "RNN"):
        return [data[0] if data else 1] * count
    if (operator, index) in _AXES or operator.startswith("Reduce"):
        return np.arange(count)
    return np.full(count, _OPERANDS.get((operator, index), 1))


def _dims(value: ir.Value | None, sizes: Mapping[str, int]) -> list[int]:
    """The shape of a value as far as it is known; 1 for dimensions that nothing names."""
    rank = 0 if value is None or value.shape is None else len(value.shape)
    dims = [size(value, axis) for axis in range(rank)]
    return [dim if isinstance(dim, int) else resolve(dim, sizes) if dim else 1 for dim in dims]


_AXES = {("Slice", 3), ("Pad", 3), ("Unsqueeze", 1), ("Squeeze", 1)}
_OPERANDS: dict[tuple[str, int], float] = {
    ("ConstantOfShape", 0): 2, ("Slice", 1): 0, ("Slice", 2): 2**31 - 1, ("Pad", 1): 0, ("Range", 0): 0,
    ("Range", 1): 8, ("Loop", 0): 3, ("Trilu", 1): 0, ("CumSum", 1): 0, ("OneHot", 1): 10,
    ("NonMaxSuppression", 2): 10, ("Clip", 1): -1, ("Clip", 2): 6, ("DFT", 1): 16, ("STFT", 1): 8, ("STFT", 3): 16,
    ("HannWindow", 0): 16, ("HammingWindow", 0): 16, ("BlackmanWindow", 0): 16,
}  # fmt: skip
"""values of operands that are one number, over and over; 1 where nothing is said"""

_MAKERS: dict[Kind, Maker] = {
    Kind.NOISE: _noise,
    Kind.IMAGE: _image,
    Kind.SIGNAL: _signal,
    Kind.STATE: _state,
    Kind.MASK: _mask,
    Kind.INDEX: _index,
    Kind.POSITION: _position,
    Kind.CHOICE: _choice,
    Kind.OPERAND: _operand,
    Kind.RANGE: _range,
    Kind.FEATURES: _features,
    Kind.BOXES: _boxes,
    Kind.TEXT: _text,
}
