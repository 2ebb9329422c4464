"""Reading fields of parsed JSON or UBJSON: whatever is missing, of another type or out of range is a typed error."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from neoc.compile.frontends.trees.ensemble import Array, broken


def parse_json(data: bytes) -> Any:
    """The JSON value in `data`. Raises InvalidModel where it is none."""
    try:
        return json.loads(data)
    except RecursionError:
        raise broken("its JSON is nested too deep") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, integers of thousands of digits
        raise broken(f"it is no JSON: {str(error)[:200]}") from error


def child(holder: Any, key: str, where: str) -> dict[str, Any]:
    """The object `key` of an object."""
    value = _get(holder, key, where)
    if not isinstance(value, dict):
        raise broken(f"{key!r} is {_kind(value)}, not an object", where)
    return value


def text(holder: Any, key: str, where: str, default: str | None = None) -> str:
    value = _get(holder, key, where, default)
    if not isinstance(value, str):
        raise broken(f"{key!r} is {_kind(value)}, not text", where)
    return value


def whole(holder: Any, key: str, where: str, low: int, high: int, default: int | None = None) -> int:
    """An integer, which XGBoost writes as text, from `low` to `high`."""
    value = _get(holder, key, where, default)
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = value
    if isinstance(number, bool | float) or not isinstance(number, int):
        raise broken(f"{key!r} is {shown(value)}, not a whole number", where)
    if not low <= number <= high:
        raise broken(f"{key!r} is {number}, outside of {low} to {high}", where)
    return number


def integers(holder: Any, key: str, where: str, size: int | None = None, default: int | None = None) -> Array:
    """int64 [size]; `default` fills an absent one (then `size` must be given)."""
    values = _numbers(holder, key, where, size, default)
    if values.dtype.kind == "f":
        values = _whole_floats(values, key, where)
    if values.dtype.kind not in "iub":
        raise broken(f"{key!r} holds numbers beyond 64 bits", where)
    return values.astype(np.int64)


def reals(holder: Any, key: str, where: str, size: int | None, dtype: str, *, nan: bool = False) -> Array:
    """float32 or float64 [size]; beyond the range of float32 is an error, and so is NaN unless `nan`."""
    values = _numbers(holder, key, where, size, None).astype(np.float64)
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype)
    if not nan and np.isnan(narrow).any():
        raise broken(f"{key!r} holds NaN", where)
    if (np.isinf(narrow) & np.isfinite(values)).any():
        raise broken(f"{key!r} holds numbers beyond the range of {dtype}", where)
    return narrow


def items(holder: Any, key: str, where: str, default: Any = None) -> list[Any]:
    value = _get(holder, key, where, default)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list):
        raise broken(f"{key!r} is {_kind(value)}, not a list", where)
    return value


def words(holder: Any, key: str, where: str) -> list[str]:
    """A list of texts; absent: none."""
    found = items(holder, key, where, [])
    if not all(isinstance(word, str) for word in found):
        raise broken(f"{key!r} holds something that is no text", where)
    return found


def shown(value: Any) -> str:
    described = repr(value)
    return described if len(described) < 60 else f"{described[:60]}..."


_ABSENT: Any = object()


def _get(holder: Any, key: str, where: str, default: Any = None) -> Any:
    if not isinstance(holder, dict):
        raise broken(f"an object is expected, not {_kind(holder)}", where)
    value = holder.get(key, _ABSENT)
    if value is _ABSENT:
        if default is None:
            raise broken(f"the field {key!r} is missing", where)
        return default
    return value


def _numbers(holder: Any, key: str, where: str, size: int | None, default: int | None) -> Array:
    if default is not None and isinstance(holder, dict) and key not in holder:
        return np.full(size or 0, default, np.int64)
    value = _get(holder, key, where)
    if not isinstance(value, list | np.ndarray):
        raise broken(f"{key!r} is {_kind(value)}, not a list of numbers", where)
    try:
        array = np.asarray(value) if len(value) else np.zeros(0, np.int64)
    except (ValueError, OverflowError):
        raise broken(f"{key!r} is no plain list of numbers", where) from None
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        raise broken(f"{key!r} holds something that is no number", where)
    if size is not None and len(array) != size:
        raise broken(f"{key!r} has {len(array)} entries and {size} are needed", where)
    return array


def _whole_floats(values: Array, key: str, where: str) -> Array:
    whole = np.isfinite(values) & (np.abs(values) < 2.0**53) & (np.floor(values) == values)
    if not whole.all():
        raise broken(f"{key!r} holds {values[~whole][0]}, not a whole number", where)
    return values.astype(np.int64)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
