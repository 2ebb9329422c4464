"""DataInputConfig: a text whose meaning changes with the framework (Neo's guide, "Input data shapes").

    ONNX, TENSORFLOW, TFLITE   {"name": [1, 3, 224, 224]}, or {"name": {"shape": [...]}}; the layout is the model's own
    KERAS                      the same, always NCHW, though the model is NHWC: shapes of rank 4 are turned
    PYTORCH                    {"label": [...]} or [[...], [...]]: in the order of forward's arguments
    XGBOOST, SKLEARN           not needed

A console writes it as JSON, a shell as a dict literal; both are read.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from neoc.compile.errors import UsageError

_TURNED = (0, 2, 3, 1)
"""NCHW -> NHWC"""
_LARGEST = 2**31 - 1


def input_arguments(config: object, framework: object, dtype: str, where: str) -> tuple[str, ...]:
    """The words of --input. dtype: of every input, '' for the model's own. Raises UsageError."""
    if config is None or (framework in ("XGBOOST", "SKLEARN") and not config):
        return ()
    pairs = _pairs(_parsed(config, where), framework, config, where)
    suffix = f":{dtype}" if dtype else ""
    return tuple(f"{name}={','.join(str(dim) for dim in dims)}{suffix}" for name, dims in pairs)


def _parsed(config: object, where: str) -> Any:
    if not isinstance(config, str):
        return config
    for read in (json.loads, ast.literal_eval):
        try:
            return read(config)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    raise _unreadable(config, "it is neither JSON nor a dict literal", where)


def _pairs(found: Any, framework: object, config: object, where: str) -> list[tuple[str, list[int]]]:
    if found in ([], {}):
        raise _unreadable(config, "it names no input", where)
    if isinstance(found, list) and framework == "PYTORCH":
        shapes = found if all(isinstance(one, list) for one in found) else [found]
        return [(f"#{place}", _dims(shape, config, where)) for place, shape in enumerate(shapes)]
    if not isinstance(found, dict):
        why = "a list of shapes is PyTorch's dialect" if isinstance(found, list) else f"it is {type(found).__name__}"
        raise _unreadable(config, why, where)
    pairs = []
    for place, (name, value) in enumerate(found.items()):
        if not isinstance(name, str) or not name:
            raise _unreadable(config, f"{name!r} is no name", where)
        dims = _dims(_shape(value, config, where), config, where)
        if framework == "KERAS" and len(dims) == len(_TURNED):
            dims = [dims[axis] for axis in _TURNED]
        # Labels of PyTorch's dialect need not be names of the model: their order counts where they are not.
        pairs.append((f"#{place}:{name}" if framework == "PYTORCH" else name, dims))
    return pairs


def _shape(value: Any, config: object, where: str) -> Any:
    if not isinstance(value, dict):
        return value
    if strangers := sorted(set(value) - {"shape"}):
        why = f"{strangers[0]!r} is of Core ML's dialect: ranges, image types and scales are not served"
        raise _unreadable(config, why, where)
    return value.get("shape")


def _dims(shape: Any, config: object, where: str) -> list[int]:
    if not isinstance(shape, list) or not all(type(dim) is int and 0 < dim <= _LARGEST for dim in shape):
        ranged = isinstance(shape, list) and any(isinstance(dim, str) for dim in shape)
        why = f"{shape!r:.60} is no list of sizes"
        why += "; ranges are of Core ML's dialect: compile for several sizes with --bucket" if ranged else ""
        raise _unreadable(config, why, where)
    return shape


def _unreadable(config: object, why: str, where: str) -> UsageError:
    return UsageError(
        "DataInputConfig cannot be read",
        where=where,
        why=f"{why} ({config!r:.120})",
        fix='write {"input name": [1, 3, 224, 224]}',
    )
