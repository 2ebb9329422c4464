"""What an input is for: a picture, a sound, token ids, a recurrent state, a sampling rate ... read off its consumers.

The consumers come first, names second, shapes last. A role says which values are plausible, not which are right: the
caller tries them on the source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from neoc.compile.contracts import Dim, TensorSpec
from neoc.compile.input_uses import Use, constant, size

_SIGNAL_SAMPLES = 2000
"""an axis this long holds a sound or another signal, not features"""


class Kind(StrEnum):
    NOISE = "noise"
    """nothing better is known: normal numbers, or small integers"""
    IMAGE = "image"
    SIGNAL = "signal"
    STATE = "state"
    MASK = "mask"
    INDEX = "index"
    POSITION = "position"
    CHOICE = "choice"
    """one of a few constants that the model compares it with"""
    OPERAND = "operand"
    """a shape, an axis, a count or a bound that one operator takes as its input"""
    RANGE = "range"
    """numbers between two bounds"""
    FEATURES = "features"
    """columns of a tree ensemble, each near its own thresholds"""
    BOXES = "boxes"
    TEXT = "text"


@dataclass(frozen=True)
class Role:
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    limits: tuple[Dim, ...] = ()
    """of an INDEX: sizes that it must stay below"""
    values: tuple[object, ...] = ()
    """of a CHOICE or TEXT: what to take from"""
    channels_last: bool = False
    use: Use | None = None
    """of an OPERAND: the operator that takes it"""
    columns: dict[int, tuple[float, float]] = field(default_factory=dict)
    """of FEATURES: column -> (lowest, highest threshold)"""


def role(spec: TensorSpec, uses: Sequence[Use]) -> Role:
    """The role of one input, given all its uses."""
    if spec.dtype == "string":
        return Role(Kind.TEXT, values=_known_words(uses))
    for find in (_operand, _choice, _index, _recurrent, _by_operator, _trees, _by_name, _picture, _sound, _keys):
        found = find(spec, uses)
        if found is not None:
            return found
    return Role(Kind.NOISE)


def _is_integer(spec: TensorSpec) -> bool:
    return spec.dtype.startswith(("int", "uint"))


def _is_scalar(spec: TensorSpec) -> bool:
    return spec.shape is not None and all(dim == 1 for dim in spec.shape)


# ---- operands: shapes, axes, counts ----------------------------------------------------------------

OPERANDS = frozenset({
    ("Reshape", 1), ("Expand", 1), ("ConstantOfShape", 0), ("Tile", 1), ("Slice", 1), ("Slice", 2), ("Slice", 3),
    ("Slice", 4), ("Pad", 1), ("Pad", 3), ("Resize", 2), ("Resize", 3), ("Upsample", 1), ("Range", 0), ("Range", 1),
    ("Range", 2), ("Unsqueeze", 1), ("Squeeze", 1), ("Split", 1), ("TopK", 1), ("Loop", 0), ("Trilu", 1),
    ("CumSum", 1), ("OneHot", 1), ("NonMaxSuppression", 2), ("Clip", 1), ("Clip", 2), ("LSTM", 4), ("GRU", 4),
    ("RNN", 4), ("DFT", 1), ("STFT", 1), ("STFT", 3), ("HannWindow", 0), ("HammingWindow", 0), ("BlackmanWindow", 0),
})  # fmt: skip
"""(operator, input) that say how an operator works rather than what it works on"""


def _operand(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    for use in uses:
        if use.exact and (
            (use.operator, use.index) in OPERANDS or (use.operator.startswith("Reduce") and use.index == 1)
        ):
            return Role(Kind.OPERAND, use=use)
    return None


# ---- integers --------------------------------------------------------------------------------------


def _choice(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    """A scalar that the model compares with constants, such as a sampling rate."""
    if not _is_scalar(spec) or spec.dtype == "bool":
        return None
    values: list[object] = []
    for use in uses:
        if use.exact and use.operator == "Equal":
            other = constant(use.operand(1 - use.index))
            if other is not None and other.size == 1:
                values.append(other.reshape(-1)[0].item() - use.shift)
    return Role(Kind.CHOICE, values=tuple(dict.fromkeys(values))) if values else None


def _gather_limit(use: Use) -> Dim:
    return size(use.operand(0), use.number("axis", 0))


def _depth_limit(use: Use) -> Dim:
    depth = constant(use.operand(1))
    return int(depth.reshape(-1)[0]) if depth is not None and depth.size else None


def _axis_of(table: int, axis: int = 0) -> Callable[[Use], Dim]:
    return lambda use: size(use.operand(table), axis)


_LIMITS: dict[tuple[str, int], Callable[[Use], Dim]] = {
    ("Gather", 1): _gather_limit,
    ("GatherElements", 1): _gather_limit,
    ("ScatterElements", 1): _gather_limit,
    ("Scatter", 1): _gather_limit,
    ("GatherND", 1): _axis_of(0),
    ("ScatterND", 1): _axis_of(0),
    ("OneHot", 0): _depth_limit,
    ("RoiAlign", 2): _axis_of(0),
    ("NegativeLogLikelihoodLoss", 1): _axis_of(0, 1),
    ("SoftmaxCrossEntropyLoss", 1): _axis_of(0, 1),
    ("com.microsoft::EmbedLayerNormalization", 0): _axis_of(2),
    ("com.microsoft::EmbedLayerNormalization", 1): _axis_of(4),
    ("com.microsoft::RotaryEmbedding", 1): _axis_of(2),
    ("RotaryEmbedding", 1): _axis_of(2),
}
"""(operator, input) -> the size that an index must stay below"""


def _index(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    if not _is_integer(spec):
        return None
    limits: list[Dim] = []
    low, is_index = 0, False
    for use in uses:
        if not use.exact:
            continue
        limit: Dim
        if (use.operator, use.index) in _LIMITS:
            limit = _LIMITS[use.operator, use.index](use)
        elif (limit := _one_hot_depth(use)) is None:
            continue
        is_index, low = True, max(low, -use.shift)
        limits.append(limit - use.shift if isinstance(limit, int) else limit)
    if not is_index:
        return None
    kind = Kind.POSITION if re.search("pos", spec.name, re.IGNORECASE) else Kind.INDEX
    return Role(kind, low=low, limits=tuple(limits))


def _one_hot_depth(use: Use) -> int | None:
    """Depth of a one-hot encoding that is written out: Equal with 0, 1, 2 ..."""
    if use.operator != "Equal":
        return None
    other = constant(use.operand(1 - use.index))
    if other is None or other.size < 2 or other.dtype.kind not in "iuf":
        return None
    return other.size if np.array_equal(other.reshape(-1), np.arange(other.size)) else None


# ---- by the operator that takes it -----------------------------------------------------------------

_POSITIVE = Role(Kind.RANGE, 0.1, 1.0)
_BY_OPERATOR: dict[tuple[str, int], Role] = {
    ("If", 0): Role(Kind.CHOICE, values=(True,)),
    ("Loop", 1): Role(Kind.CHOICE, values=(True,)),
    ("Dropout", 1): Role(Kind.CHOICE, values=(0.0,)),
    ("Dropout", 2): Role(Kind.CHOICE, values=(False,)),
    ("BatchNormalization", 4): _POSITIVE,
    ("QuantizeLinear", 1): Role(Kind.RANGE, 0.01, 0.05),
    ("DequantizeLinear", 1): Role(Kind.RANGE, 0.01, 0.05),
    ("NonMaxSuppression", 0): Role(Kind.BOXES),
    ("NonMaxSuppression", 1): Role(Kind.RANGE, 0.0, 1.0),
    ("NonMaxSuppression", 3): Role(Kind.CHOICE, values=(0.5,)),
    ("NonMaxSuppression", 4): Role(Kind.CHOICE, values=(0.1,)),
    ("RoiAlign", 1): Role(Kind.BOXES),
    ("GridSample", 1): Role(Kind.RANGE, -1.0, 1.0),
    ("Log", 0): _POSITIVE,
    ("Sqrt", 0): _POSITIVE,
    ("Reciprocal", 0): _POSITIVE,
    ("Pow", 0): _POSITIVE,
    ("Div", 1): Role(Kind.RANGE, 1.0, 4.0),
    ("Mod", 1): Role(Kind.RANGE, 1.0, 9.0),
    ("Pow", 1): Role(Kind.RANGE, 1.0, 3.0),
    ("Acos", 0): Role(Kind.RANGE, -0.9, 0.9),
    ("Asin", 0): Role(Kind.RANGE, -0.9, 0.9),
    ("Atanh", 0): Role(Kind.RANGE, -0.9, 0.9),
    ("Acosh", 0): Role(Kind.RANGE, 1.1, 4.0),
}


def _by_operator(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    for use in uses:
        found = _BY_OPERATOR.get((use.operator, use.index))
        if found is not None and use.exact and not _is_whole_power(use):
            return found
    return None


def _is_whole_power(use: Use) -> bool:
    """x**2 takes negative numbers too."""
    power = constant(use.operand(1)) if use.operator == "Pow" and use.index == 0 else None
    return power is not None and bool(np.all(power.astype(np.float64) % 1 == 0))


def _recurrent(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    """The initial state of a recurrence (inputs 5 and 6 of LSTM, 5 of GRU and RNN)."""
    for use in uses:
        if (use.operator, use.index) in {("LSTM", 5), ("LSTM", 6), ("GRU", 5), ("RNN", 5)}:
            return Role(Kind.STATE)
    return None


def _trees(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    """Columns of tree ensembles, with the span of each column's thresholds."""
    columns: dict[int, tuple[float, float]] = {}
    for use in uses:
        if not use.operator.startswith("TreeEnsemble") or use.index:
            continue
        features = use.numbers("nodes_featureids")
        thresholds = next(
            filter(None, map(use.numbers, ("nodes_values", "nodes_splits", "nodes_values_as_tensor"))), []
        )
        # Up to version 3 leaves stand among the nodes; from 5 on modes are numbers and leaves lie apart.
        modes = use.numbers("nodes_modes") or [0] * len(features)
        for column, threshold, mode in zip(features, thresholds, modes, strict=False):
            if mode != "LEAF" and np.isfinite(threshold) and column >= 0:
                low, high = columns.get(column, (threshold, threshold))
                columns[column] = (min(low, threshold), max(high, threshold))
    return Role(Kind.FEATURES, columns=columns) if columns else None


# ---- by name ---------------------------------------------------------------------------------------


def _by_name(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    name = spec.name.lower()
    rank = len(spec.shape or ())
    if re.search(r"mask|padding", name) and (rank <= 2 or spec.dtype != "float32"):
        return Role(Kind.MASK)
    if re.search(r"position_?ids", name) and _is_integer(spec):
        return Role(Kind.POSITION)
    if re.search(r"token_type|segment_ids", name) and _is_integer(spec):
        return Role(Kind.INDEX, limits=(2,))
    if re.search(r"(^|[._/])(timesteps?|t_emb)$", name):
        return Role(Kind.RANGE, 1.0, 999.0)
    if (
        not _is_integer(spec)
        and rank >= 2
        and re.search(r"state|hidden|cell|past|cache|memory|^(h|c)(0|n|x|in)?$", name)
    ):
        return Role(Kind.STATE)
    return None


# ---- by shape and the first dense operator ---------------------------------------------------------


def _picture(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    """Four axes with colours, or the input of a two-dimensional convolution or pooling."""
    rank = None if spec.shape is None else len(spec.shape)
    if spec.dtype == "bool" or spec.dtype.startswith("complex") or rank not in (3, 4):
        return None
    axes: Sequence[int | None] = next((u.axes for u in uses if u.axes and _is_planar(u)), ())
    coloured = spec.shape is not None and rank == 4 and (spec.shape[1] in (1, 3, 4) or spec.shape[-1] in (1, 3, 4))
    if not coloured and not (len(axes) == 4 and rank is not None and rank - 1 in axes[1:]):
        return None
    last = bool(spec.shape and spec.shape[-1] in (1, 3, 4) and (rank == 3 or spec.shape[1] not in (1, 3, 4)))
    low, high = _pixel_range(spec, uses)
    return Role(Kind.IMAGE, low, high, channels_last=last)


_PLANAR = frozenset(
    {"MaxPool", "AveragePool", "Resize", "Upsample", "QLinearConv", "Conv", "ConvInteger", "DepthToSpace"}
)


def _is_planar(use: Use) -> bool:
    return use.index == 0 and use.operator in _PLANAR and use.axes is not None and len(use.axes) == 4


def _pixel_range(spec: TensorSpec, uses: Sequence[Use]) -> tuple[float, float]:
    """0 to 255 where the dtype or the first arithmetic says so, else what normalised pixels span."""
    if spec.dtype == "uint8":
        return 0.0, 255.0
    if spec.dtype == "int8":
        return -128.0, 127.0
    for use in uses:
        if use.operator not in ("Sub", "Mul", "Div") or use.index:
            continue
        other = constant(use.operand(1))
        if other is None or other.dtype.kind not in "fiu" or other.size == 0:
            continue
        most = float(np.abs(other.astype(np.float64)).max())
        if (use.operator == "Mul" and 0 < most < 0.05) or (use.operator != "Mul" and most > 20):
            return 0.0, 255.0
        return 0.0, 1.0
    return -1.0, 1.0


def _sound(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    """The input of a one-dimensional convolution or of a Fourier transform, or a very long axis."""
    if not spec.dtype.startswith(("float", "bfloat", "int16", "double")) or spec.shape is None or not spec.shape:
        return None
    long_axis = any(isinstance(dim, int) and dim >= _SIGNAL_SAMPLES for dim in spec.shape) and len(spec.shape) <= 3
    if long_axis or any(_is_linear(use) for use in uses):
        return Role(Kind.SIGNAL)
    return None


def _is_linear(use: Use) -> bool:
    if use.index:
        return False
    if use.operator in ("STFT", "DFT"):
        return True
    weight = use.operand(1) if use.operator == "Conv" else None
    if weight is None:
        return False
    # Few channels: raw samples. With many, the axis holds features over time, and noise serves as well.
    kernel = size(weight, 2)
    return isinstance(kernel, int) and size(weight, 3) is None and size(weight, 1) in (1, 2)


# ---- keys of encoders ------------------------------------------------------------------------------


def _keys(spec: TensorSpec, uses: Sequence[Use]) -> Role | None:
    """Integers that an encoder of ai.onnx.ml knows."""
    values = _attribute_values(uses, ("keys_int64s", "cats_int64s", "pool_int64s", "keys_floats"))
    return Role(Kind.CHOICE, values=values) if values else None


def _known_words(uses: Sequence[Use]) -> tuple[object, ...]:
    return _attribute_values(uses, ("keys_strings", "cats_strings", "pool_strings", "classlabels_strings"))


def _attribute_values(uses: Sequence[Use], names: Sequence[str]) -> tuple[object, ...]:
    for use in uses:
        for name in names:
            if values := use.numbers(name):
                return tuple(values)
    return ()
