"""Pre-processing as a model declares it: a step's name and plain options -> a function of raw items, and its twin.

    make("image", {"size": [224, 224]})     uint8 images                     -> the tensor of one input
    make("table", {"blocks": [...], ...})   rows, or a whole table           -> [rows, features]
    make("collate", {"length": 128})        ragged token ids                 -> ids, and the mask if it is wanted
    make("quantize", {"scale": 0.02})       a float32 tensor of a step above -> int8 or uint8; "dequantize": back

Post-processing is in `answers.py`. The plan behind both is docs/adr/0010-pre-and-post-processing.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from neoc.kernels import jit
from neoc.kernels.errors import KernelError, KernelInputError, KernelOptionError

Tensor = tuple[str, tuple[int | None, ...]]
"""dtype (numpy's name, or bfloat16) and shape behind the axis of items; None: it depends on the items"""


class PreStep(ABC):
    """One step. Equal specs make equal functions on every machine."""

    name: ClassVar[str]
    item: ClassVar[str]
    """what one item is, in a word: 'image', 'row', 'tokens'; 'tensor' for a step that rewrites a tensor"""
    usual: ClassVar[int] = 32
    """items that are run together where the model leaves the batch open"""

    @abstractmethod
    def to_spec(self) -> dict[str, Any]:
        """Every option as a JSON value, defaults written out."""

    @abstractmethod
    def takes(self) -> str:
        """What an item must be, for people."""

    @abstractmethod
    def gives(self) -> tuple[Tensor, ...]:
        """The tensors in order."""

    @abstractmethod
    def __call__(self, items: Any) -> tuple[NDArray[Any], ...]:
        """The tensors of some items, which lie on the first axis. Raises KernelInputError."""

    @abstractmethod
    def reference(self, items: Any) -> tuple[NDArray[Any], ...]:
        """The same by plain numpy."""

    @abstractmethod
    def kernels(self) -> tuple[jit.Kernel, ...]:
        """Every kernel that a call may use, whatever the items."""

    def bound(self) -> float:
        """How far a call may be from the twin: 0 where the bits are the same."""
        return 0.0


class ImageStep(PreStep):
    name, item = "image", "image"

    def __init__(self, options: Mapping[str, Any]) -> None:
        from neoc.kernels.image import ImagePreprocess

        self.kernel = ImagePreprocess.from_spec(options)
        self._spec = self.kernel.to_spec()

    def to_spec(self) -> dict[str, Any]:
        return self._spec

    def takes(self) -> str:
        return "uint8 [h, w, 3]" if self._spec["source"] == "rgb" else f"uint8 [h * 3 / 2, w] ({self._spec['source']})"

    def gives(self) -> tuple[Tensor, ...]:
        return ((self._spec["dtype"], self.kernel.output_shape(1)[1:]),)

    def __call__(self, items: Any) -> tuple[NDArray[Any], ...]:
        return (self.kernel(list(items)),)

    def reference(self, items: Any) -> tuple[NDArray[Any], ...]:
        return (self.kernel.reference(list(items)),)

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return self.kernel.kernels()

    def bound(self) -> float:
        if not self._spec["resize"].startswith("torch-"):
            return 0.0
        std = min(self._spec["std"] or [1.0])
        step = (self._spec["quantization"] or [0.0])[0] if self._spec["dtype"] in ("int8", "uint8") else 0.0
        # 0.005 of a level, and what rounding to the dtype makes of that.
        coarse = {"float16": 2e-3, "bfloat16": 2e-2}.get(self._spec["dtype"], 0.0)
        return 1.0 if step or self._spec["dtype"] in ("int8", "uint8") else 0.005 / self._spec["divisor"] / std + coarse


class TableStep(PreStep):
    name, item, usual = "table", "row", 8192

    def __init__(self, options: Mapping[str, Any]) -> None:
        from neoc.kernels.tabular import TabularPreprocess

        self.kernel = TabularPreprocess.from_spec(options)
        self._spec = self.kernel.to_spec()

    def to_spec(self) -> dict[str, Any]:
        return self._spec

    def takes(self) -> str:
        names = self.kernel.names
        return f"{self.kernel.columns} values" if names is None else f"values of {', '.join(names)}"

    def gives(self) -> tuple[Tensor, ...]:
        return ((self.kernel.dtype, (self.kernel.outputs,)),)

    def __call__(self, items: Any) -> tuple[NDArray[Any], ...]:
        return (self.kernel(self._table(items)),)

    def reference(self, items: Any) -> tuple[NDArray[Any], ...]:
        return (self.kernel.reference(self._table(items)),)

    def _table(self, items: Any) -> Any:
        """A table as it is; a list of rows as a mapping of columns."""
        return _columns(items, self.kernel.columns, self.kernel.names) if isinstance(items, list) else items

    def kernels(self) -> tuple[jit.Kernel, ...]:
        return self.kernel.kernels()


class CollateStep(PreStep):
    name, item = "collate", "tokens"
    _DEFAULTS: ClassVar[dict[str, Any]] = {
        "pad_value": 0,
        "multiple_of": 1,
        "max_length": None,
        "length": None,
        "side": "right",
        "dtype": "int64",
        "mask": True,
        "mask_dtype": "int64",
    }

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._spec = known_options(self.name, options, self._DEFAULTS)
        spec = self._spec
        dtypes = ("int32", "int64", "float32", "bool")
        if spec["dtype"] not in dtypes[:3] or spec["mask_dtype"] not in dtypes or not isinstance(spec["mask"], bool):
            raise KernelOptionError(
                "collate cannot use these options",
                why=f"dtype={spec['dtype']!r}, mask={spec['mask']!r}, mask_dtype={spec['mask_dtype']!r}",
                fix="dtype: int32, int64 or float32; mask: true or false; mask_dtype: one of these or bool",
            )
        if spec["length"] is not None and (spec["max_length"] is not None or spec["multiple_of"] != 1):
            raise KernelOptionError("collate cannot use these options", why="length excludes max_length, multiple_of")
        for name in ("length", "max_length", "multiple_of"):
            if spec[name] is not None and not (type(spec[name]) is int and spec[name] >= 1):
                raise KernelOptionError("collate cannot use these options", why=f"{name}={spec[name]!r}")
        if spec["side"] not in ("left", "right") or np.asarray(spec["pad_value"], spec["dtype"]) != spec["pad_value"]:
            raise KernelOptionError(
                "collate cannot use these options", why=f"side={spec['side']!r}, pad_value={spec['pad_value']!r}"
            )

    def to_spec(self) -> dict[str, Any]:
        return self._spec

    def takes(self) -> str:
        return "a 1-D array or list of token ids"

    def gives(self) -> tuple[Tensor, ...]:
        shape = (self._spec["length"],)
        ids: tuple[Tensor, ...] = ((self._spec["dtype"], shape),)
        return (*ids, (self._spec["mask_dtype"], shape)) if self._spec["mask"] else ids

    def __call__(self, items: Any) -> tuple[NDArray[Any], ...]:
        return self._call([self._row(i) for i in items])

    def _row(self, item: Any) -> NDArray[Any]:
        try:
            row = np.asarray(item)
            made = row.astype(self._spec["dtype"]) if row.size else np.zeros(0, self._spec["dtype"])
        except (TypeError, ValueError, OverflowError) as error:
            raise KernelInputError("a sequence is no row of numbers", why=str(error)) from error
        if row.ndim != 1 or row.dtype.kind not in "iufb" or not np.array_equal(made, row, equal_nan=True):
            raise KernelInputError(
                "a sequence does not fit", why=f"it is {row.dtype} {row.shape}", fix=f"give 1-D {self._spec['dtype']}"
            )
        return made

    def _call(self, rows: Sequence[Any]) -> tuple[NDArray[Any], ...]:
        from neoc.kernels.sequence import collate

        spec, length = self._spec, self._spec["length"]
        most = spec["max_length"] if length is None else length
        ids, mask = collate(rows, spec["pad_value"], length or spec["multiple_of"], max_length=most, side=spec["side"])
        if length is not None and ids.shape[1] == 0:  # nothing but empty rows
            ids = np.full((len(rows), length), spec["pad_value"], spec["dtype"])
            mask = np.zeros(ids.shape, np.int64)
        return (ids, mask.astype(spec["mask_dtype"], copy=False)) if spec["mask"] else (ids,)

    def reference(self, items: Any) -> tuple[NDArray[Any], ...]:
        spec, length = self._spec, self._spec["length"]
        rows = [self._row(i)[: spec["max_length"] if length is None else length] for i in items]
        multiple = length or spec["multiple_of"]
        width = length or -(-max(map(len, rows), default=0) // multiple) * multiple
        ids = np.full((len(rows), width), spec["pad_value"], spec["dtype"])
        mask = np.zeros(ids.shape, spec["mask_dtype"])
        for i, row in enumerate(rows):
            place = slice(0, len(row)) if spec["side"] == "right" else slice(width - len(row), width)
            ids[i, place], mask[i, place] = row, 1
        return (ids, mask) if spec["mask"] else (ids,)

    def kernels(self) -> tuple[jit.Kernel, ...]:
        from neoc.kernels.sequence import _COLLATE

        return (_COLLATE[np.dtype(self._spec["dtype"])],)


class QuantizeStep(PreStep):
    """Rewrites a tensor that a step before it made; the same class serves `dequantize` and both as answers."""

    name, item = "quantize", "tensor"
    _DEFAULTS: ClassVar[dict[str, Any]] = {"scale": ..., "zero_point": 0, "axis": None, "dtype": "int8"}

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._spec = known_options(self.name, options, self._DEFAULTS)
        if self._spec["dtype"] not in ("int8", "uint8"):
            raise KernelOptionError(f"{self.name} cannot use this dtype", why=repr(self._spec["dtype"]))
        from neoc.kernels.quantize import _channels

        scale, zero, axis = (self._spec[name] for name in ("scale", "zero_point", "axis"))
        shape = (1,) if axis is None else (1,) * axis + (max(np.size(scale), np.size(zero)),)
        _channels(shape, scale, zero, axis, self._spec["dtype"])  # refuses what cannot be
        self._spec |= {"scale": np.asarray(scale).tolist(), "zero_point": np.asarray(zero).tolist()}

    def _source(self) -> str:
        return "float32" if self.name == "quantize" else str(self._spec["dtype"])

    def to_spec(self) -> dict[str, Any]:
        return self._spec

    def takes(self) -> str:
        return f"a {self._source()} tensor"

    def gives(self) -> tuple[Tensor, ...]:
        return ((self._spec["dtype"] if self.name == "quantize" else "float32", ()),)

    def __call__(self, items: Any) -> tuple[NDArray[Any], ...]:
        return (self._run(items),)

    def _run(self, x: NDArray[Any]) -> NDArray[Any]:
        from neoc.kernels import quantize

        spec = self._spec
        if self.name == "quantize":
            return quantize.quantize(x, spec["scale"], spec["zero_point"], spec["axis"], dtype=spec["dtype"])
        if isinstance(x, np.ndarray) and str(x.dtype) != spec["dtype"]:
            raise KernelInputError("cannot dequantise this dtype", why=f"{x.dtype}, not {spec['dtype']}")
        return quantize.dequantize(x, spec["scale"], spec["zero_point"], spec["axis"])

    def reference(self, items: Any) -> tuple[NDArray[Any], ...]:
        spec, x = self._spec, items
        shape = [1] * x.ndim
        if spec["axis"] is not None:
            shape[spec["axis"]] = -1
        scale = np.asarray(spec["scale"], np.float32).reshape(shape if np.ndim(spec["scale"]) else ())
        zero = np.asarray(spec["zero_point"], np.int32).reshape(shape if np.ndim(spec["zero_point"]) else ())
        if self.name == "dequantize":
            return (((x.astype(np.int32) - zero).astype(np.float32) * scale).astype(np.float32),)
        low, high = (-128, 127) if spec["dtype"] == "int8" else (0, 255)
        with np.errstate(over="ignore"):
            levels = np.rint(np.nan_to_num(x / scale, nan=0.0, posinf=np.inf, neginf=-np.inf)) + zero
        return (np.clip(levels, low, high).astype(spec["dtype"]),)

    def kernels(self) -> tuple[jit.Kernel, ...]:
        from neoc.kernels import quantize

        return quantize.kernels_of(self.name, self._spec["dtype"])


class DequantizeStep(QuantizeStep):
    name = "dequantize"


STEPS: dict[str, Callable[[Mapping[str, Any]], PreStep]] = {
    "image": ImageStep,
    "table": TableStep,
    "collate": CollateStep,
    "quantize": QuantizeStep,
    "dequantize": DequantizeStep,
}


def make(name: str, options: Mapping[str, Any]) -> PreStep:
    """The step of that name. Raises KernelOptionError for an unknown one, and for options that it cannot use."""
    if name not in STEPS:
        raise KernelOptionError("there is no such pre-processing", why=repr(name), fix=f"one of {', '.join(STEPS)}")
    made: PreStep = sheltered(name, lambda: STEPS[name](options))
    return made


def step_of(kernel: Any) -> tuple[str, dict[str, Any]] | None:
    """(name, options) of a kernel object that is a pre-processing; None for anything else."""
    from neoc.kernels.image import ImagePreprocess
    from neoc.kernels.tabular import TabularPreprocess

    kinds = {ImagePreprocess: "image", TabularPreprocess: "table"}
    name = kinds.get(type(kernel))
    return None if name is None else (name, kernel.to_spec())


def sheltered(name: str, build: Any) -> Any:
    """What `build` makes; whatever an option of the wrong type raises becomes KernelOptionError."""
    try:
        return build()
    except KernelOptionError:
        raise
    except (KernelError, TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        why = str(error) if isinstance(error, KernelError) else f"{type(error).__name__}: {error}"
        raise KernelOptionError("a step has options that do not fit", where=name, why=why) from error


def known_options(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`options` over `defaults`, where `...` marks what must be given. Raises KernelOptionError."""
    unknown = [key for key in options if key not in defaults]
    lacking = [key for key, value in defaults.items() if value is ... and key not in options]
    if unknown or lacking:
        why = f"unknown: {', '.join(map(repr, unknown))}" if unknown else f"not given: {', '.join(lacking)}"
        raise KernelOptionError(
            "a step has options that do not fit", where=name, why=why, fix=f"its options are {', '.join(defaults)}"
        )
    return dict(defaults) | dict(options)


# --- rows ---------------------------------------------------------------------------------------------


def _columns(rows: list[Any], count: int, names: Sequence[str] | None) -> Any:
    """Rows, each a sequence of values or a mapping of column names, as a 2-D array or a mapping of columns."""
    numbers = all(isinstance(row, np.ndarray) and row.dtype.kind in "fiub" for row in rows)
    if numbers and len({(row.shape, row.dtype) for row in rows}) == 1:
        return np.stack(rows)
    keys = list(names) if names is not None else [str(j) for j in range(count)]
    table: dict[str, list[Any]] = {key: [] for key in keys}
    for i, row in enumerate(rows):
        if isinstance(row, Mapping):
            values = [row.get(key, _ABSENT) for key in keys]
        elif isinstance(row, (list, tuple, np.ndarray)) and len(row) == count:
            values = list(row)
        else:
            values = [_ABSENT]
        if any(value is _ABSENT for value in values):
            raise KernelInputError(
                "a row does not fit the table",
                where=f"row {i}",
                why=f"it is {_shown(row)}",
                fix=f"give {count} values, or a mapping of the columns {', '.join(keys)}",
            )
        for key, value in zip(keys, values, strict=True):
            table[key].append(value)
    return {key: _column(values) for key, values in table.items()}


_ABSENT = object()


def _column(values: list[Any]) -> NDArray[Any]:
    if all(v is None or isinstance(v, (bool, int, float, np.number, np.bool_)) for v in values):
        return np.array([np.nan if v is None else float(v) for v in values], np.float64)
    made = np.empty(len(values), object)
    made[:] = values
    return made


def _shown(row: Any) -> str:
    return f"{type(row).__name__} {list(row)!r:.80}" if isinstance(row, Mapping) else f"{row!r:.80}"
