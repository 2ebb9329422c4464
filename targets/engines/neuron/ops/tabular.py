"""What scikit-learn pipelines put before their model: the operators of ai.onnx.ml on tensors of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import CONSTANT, FLOATS, INTEGERS, NUMBERS, In, Op, Rule, Xla

Array = Any
DOMAIN = "ai.onnx.ml"


def row(
    name: str,
    version: tuple[int, int],
    lower: Callable[..., Array],
    inputs: tuple[In, ...] = (In(FLOATS),),
    attributes: Mapping[str, tuple[object, ...]] | None = None,
    rules: tuple[Rule, ...] = (),
    infer: Callable[[Call], tuple[str, tuple[int, ...]]] = lambda c: ("float32", c.shape()),
) -> Op:
    return Op(name, version, inputs, lower, attributes or {}, rules=rules, domain=DOMAIN, infer=infer)


def _scaler(c: Call, j: Xla, x: Array) -> Array:
    offset, scale = (np.asarray(c.attribute(n), np.float32) for n in ("offset", "scale"))
    return (x.astype(j.np.float32) - offset) * scale


def _normalizer(c: Call, j: Xla, x: Array) -> Array:
    """Each row divided by its norm; a row of zeros stays."""
    wide = x.astype(j.np.float32)
    norm = c.attribute("norm", "MAX")
    if norm == "MAX":
        size = j.np.max(wide, 1, keepdims=True)
    elif norm == "L1":
        size = j.np.sum(j.np.abs(wide), 1, keepdims=True)
    else:
        size = j.np.sqrt(j.np.sum(wide * wide, 1, keepdims=True))
    return wide / j.np.where(size == 0, 1, size)


def _imputer(c: Call, j: Xla, x: Array) -> Array:
    """What equals the replaced value (NaN by default for floats) becomes the imputed one of its column."""
    if j.np.issubdtype(x.dtype, j.np.floating):
        replaced, values = c.attribute("replaced_value_float", 0.0), c.attribute("imputed_value_floats")
        lacking = x != x if np.isnan(replaced) else x == replaced
    else:
        replaced, values = c.attribute("replaced_value_int64", 0), c.attribute("imputed_value_int64s")
        lacking = x == replaced
    return j.np.where(lacking, j.np.asarray(np.asarray(values), x.dtype), x)


def _linear(c: Call, j: Xla, x: Array) -> Array:
    targets = c.attribute("targets", 1)
    w = np.asarray(c.attribute("coefficients"), np.float32).reshape(targets, -1)
    y = j.np.matmul(x.astype(j.np.float32), j.np.asarray(w.T))
    b = c.attribute("intercepts")
    return y if b is None else y + np.asarray(b, np.float32)


def _vectorizer(c: Call, j: Xla, *xs: Array) -> Array:
    """The columns of all inputs, each cut or filled with zeros to its declared number."""
    wanted = c.attribute("inputdimensions") or [x.shape[-1] for x in xs]
    parts = []
    for x, width in zip(xs, wanted, strict=True):
        flat = x.reshape(x.shape[0] if x.ndim > 1 else 1, -1).astype(j.np.float32)
        parts.append(j.lax.pad(flat, j.np.float32(0), [(0, 0, 0), (0, width - flat.shape[1], 0)]))
    return j.lax.concatenate(parts, 1)


def _one_hot(c: Call, j: Xla, x: Array) -> Array:
    categories = np.asarray(c.attribute("cats_int64s"), np.int64)
    return (x.astype(j.np.int64)[..., None] == categories).astype(j.np.float32)


_KINDS = {"int64": "int64s", "float32": "floats"}


def _label_encoder(c: Call, j: Xla, x: Array) -> Array:
    """The value whose key the element equals (NaN equals NaN), else the default."""
    keys, values, default = _mapping(c)
    chosen = x[..., None] == keys
    if keys.dtype.kind == "f":
        chosen = chosen | ((x[..., None] != x[..., None]) & np.isnan(keys))
    found = j.np.sum(j.np.where(chosen, values, np.zeros((), values.dtype)), -1, dtype=values.dtype)
    return j.np.where(j.np.any(chosen, -1), found, j.np.asarray(default, values.dtype))


def _mapping(c: Call) -> tuple[np.ndarray, np.ndarray, Any]:
    """Keys, values and the default, in any of the attributes' spellings."""
    arrays = []
    for kind in ("keys", "values"):
        tensor = c.attribute(f"{kind}_tensor")
        if tensor is not None:
            arrays.append(tensor.numpy())
            continue
        dtype, suffix = next((d, s) for d, s in _KINDS.items() if c.attribute(f"{kind}_{s}") is not None)
        arrays.append(np.asarray(c.attribute(f"{kind}_{suffix}"), dtype))
    keys, values = arrays
    tensor = c.attribute("default_tensor")
    if tensor is not None:
        return keys, values, tensor.numpy().reshape(())
    default = c.attribute("default_float", -0.0) if values.dtype.kind == "f" else c.attribute("default_int64", -1)
    return keys, values, default


def _same(c: Call) -> tuple[str, tuple[int, ...]]:
    return c.dtype(), c.shape()


def _extracted(c: Call) -> tuple[str, tuple[int, ...]]:
    index, shape = c.fact(1), c.shape()
    assert index is not None
    return c.dtype(), (*(shape[:-1] if len(shape) > 1 else (1,)), index.size)


def _columns(c: Call) -> tuple[str, tuple[int, ...]]:
    shapes = [c.shape(i) for i in range(len(c.inputs))]
    wanted = c.attribute("inputdimensions") or [shape[-1] for shape in shapes]
    return "float32", (shapes[0][0] if len(shapes[0]) > 1 else 1, sum(wanted))


_WORDS = Rule(
    lambda c: any(c.attribute(f"{kind}_strings") is not None for kind in ("keys", "values", "cats")),
    "it maps strings, which a Neuron device does not have",
    "encode strings on the host",
    "ESPP004",
)
_OTHER_TENSORS = Rule(
    lambda c: any(
        (t := c.attribute(f"{kind}_tensor")) is not None and t.dtype.name not in ("FLOAT", "INT64", "INT32", "INT16")
        for kind in ("keys", "values")
    ),
    "it maps strings or 64-bit floats",
    "encode them on the host",
    "ESPP004",
)
_UNKNOWN_FAILS = Rule(
    lambda c: not c.attribute("zeros", 1), "an unknown category must stop the program, which a device cannot", "zeros=1"
)

OPS = (
    row(
        "ArrayFeatureExtractor",
        (1, 1),
        lambda c, j, x, index: j.np.take(x, index.reshape(-1), x.ndim - 1, mode="clip").reshape(
            (-1, index.size) if x.ndim > 1 else (1, -1)
        ),
        (In(NUMBERS), CONSTANT),
        infer=_extracted,
    ),
    row("Binarizer", (1, 1), lambda c, j, x: (x > c.attribute("threshold", 0.0)).astype(x.dtype), infer=_same),
    row("FeatureVectorizer", (1, 1), _vectorizer, (In(FLOATS | INTEGERS),), infer=_columns),
    row("Imputer", (1, 1), _imputer, (In(FLOATS | {"int64"}),), infer=_same),
    row(
        "LabelEncoder",
        (2, 4),
        _label_encoder,
        (In(FLOATS | INTEGERS),),
        rules=(_WORDS, _OTHER_TENSORS),
        infer=lambda c: (_mapping(c)[1].dtype.name, c.shape()),
    ),
    row(
        "LinearRegressor",
        (1, 1),
        _linear,
        attributes={"post_transform": ("NONE",)},
        infer=lambda c: ("float32", (c.shape()[0], c.attribute("targets", 1))),
    ),
    row("Normalizer", (1, 1), _normalizer, (In(NUMBERS, ranks=(2, 2)),), {"norm": ("MAX", "L1", "L2")}),
    row(
        "OneHotEncoder",
        (1, 1),
        _one_hot,
        (In(FLOATS | INTEGERS),),
        rules=(_WORDS, _UNKNOWN_FAILS),
        infer=lambda c: ("float32", (*c.shape(), len(c.attribute("cats_int64s")))),
    ),
    row("Scaler", (1, 1), _scaler, (In(NUMBERS),)),
)
