"""AWS's two runtimes for a compiled program (NEFF): nrtpy first, torch_neuronx where it alone is installed.

nrtpy: AWS Neuron documentation 2.32, neuron-runtime/nrtpy (model, tensor, configuration). torch_neuronx documents no
way to run a bare NEFF; what is used here is what AWS's own transformers-neuronx does (compiler.py: hlo2metaneff).

Neither was ever available here: both adapters are tested against modules with the documented signatures.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from neoc.compile.contracts import dtype_of
from neoc.compile.errors import FeedError, MissingTool, WorkerRefused
from neoc.targets import standins

Rows = Sequence[Mapping[str, Any]]
"""parameters or results as in io.json"""

_INSTALL = "install nrtpy from AWS's own package repository (Neuron documentation, nrtpy: Get started)"
_METANEFF = {
    "float32": "FLOAT", "int32": "INT32", "bool": "BOOL", "uint8": "UINT8", "int8": "INT8", "uint16": "UINT16",
    "int16": "INT16", "int64": "INT64", "float16": "FLOAT16", "bfloat16": "BFLOAT16",
}  # fmt: skip
"""dtype -> name in MetaTensor.DataType"""


class Loaded(ABC):
    """A program on one core, its weights with it."""

    @abstractmethod
    def run(self, feeds: Mapping[str, np.ndarray], wanted: Iterable[str]) -> dict[str, np.ndarray]:
        """The wanted results by name, as fresh arrays. One call at a time."""

    def close(self) -> None:
        """Free the device's memory."""
        self.__dict__.clear()


def find_runtime(marked: bool) -> tuple[str, ModuleType]:
    """(name, module) of the runtime to use. `marked`: the program is a stand-in's, and so must the runtime be.

    Found by importing, since the public index holds placeholders that install and raise. Raises MissingTool.
    """
    reasons = []
    for name in ("nrtpy", "torch_neuronx"):
        try:
            module = import_module(name)
        except ImportError as error:
            reasons.append(f"{name}: {_why(name, error)}")
            continue
        except Exception as error:  # a native library of another version, whatever it raises
            reasons.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if standins.is_standin(module) == marked:
            return name, module
        reasons.append(f"{name}: " + ("it is real, and the program is not" if marked else "it is a stand-in"))
    raise MissingTool("no Neuron runtime is installed", why="; ".join(reasons), fix=_INSTALL)


def _why(name: str, error: ImportError) -> str:
    try:
        found = version(name.replace("_", "-"))
    except PackageNotFoundError:
        return "not installed"
    text = " ".join(str(error).split())[:200]
    return f"{name} {found} is installed and cannot be imported ({text})"


def load(runtime: str, neff: Path, io: Mapping[str, Any], weights: Mapping[str, np.ndarray], core: int) -> Loaded:
    """The program in the file `neff` on a core, through the runtime of that name."""
    return {"nrtpy": _Nrtpy, "torch_neuronx": _TorchNeuronx}[runtime](neff, io, weights, core)


# ---- tensors as the device has them ----------------------------------------------------------------


class _Slot:
    """One parameter or result: what the module calls for, and how the device holds it.

    The compiler narrows 64-bit integers to 32 bits by default: the device then has half the bytes.
    """

    def __init__(self, row: Mapping[str, Any], name: str, size: int | None) -> None:
        self.row_name, self.name = row["name"], name
        self.dtype, self.shape = dtype_of(row["dtype"]), tuple(row["shape"])
        whole = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self.narrow = self.dtype in (np.int64, np.uint64) and size is not None and size * 2 == whole
        if size is not None and not self.narrow and size != whole:
            raise WorkerRefused(
                "the program on the device is another one than the artifact describes",
                where=f"{self.row_name!r}, on the device {name!r}",
                why=f"{whole} bytes are expected, and it has {size}",
                fix="compile the model anew",
            )

    @property
    def held(self) -> np.dtype[Any]:
        """The dtype on the device."""
        if not self.narrow:
            return self.dtype
        return np.dtype(np.int32 if self.dtype == np.int64 else np.uint32)

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """Raises FeedError for a value that 32 bits do not hold."""
        if not self.narrow:
            return np.ascontiguousarray(array)
        bounds = np.iinfo(self.held)
        if array.size and (array.max() > bounds.max or array.min() < bounds.min):
            raise FeedError(
                "the device cannot take these values",
                where=f"input {self.row_name!r}",
                why=f"the Neuron compiler keeps {self.dtype} in 32 bits, and a value is beyond them",
                fix="feed smaller values",
            )
        return array.astype(self.held)

    def from_device(self, array: np.ndarray) -> np.ndarray:
        """A fresh array of the declared dtype. libnrt may report bytes of no dtype ('|V2')."""
        raw = np.ascontiguousarray(array)
        if raw.dtype != self.held:
            raw = raw.view(self.held)
        return raw.reshape(self.shape).astype(self.dtype)


def _ordered(names: Iterable[str], count: int, what: str) -> list[str]:
    """The device's names in the module's order: `input0`, `input1` ... by their numbers. Raises WorkerRefused."""
    found = list(names)
    numbered = [re.fullmatch(r"(\D*)(\d+)", name) for name in found]
    if len(found) != count or (count > 1 and (not all(numbered) or len({m[1] for m in numbered if m}) > 1)):
        raise WorkerRefused(
            f"the program's {what}s cannot be told apart",
            why=f"the device has {', '.join(sorted(found)) or 'none'}, and the module {count}",
            fix="report it: neoc expects them numbered in the order of the module",
        )
    return sorted(found, key=lambda name: int(re.sub(r"\D", "", name) or 0))


def _slots(rows: Rows, info: Mapping[str, Any], what: str) -> list[_Slot]:
    names = _ordered(info, len(rows), what)
    return [_Slot(row, name, int(info[name].size)) for row, name in zip(rows, names, strict=True)]


# ---- nrtpy -----------------------------------------------------------------------------------------


class _Nrtpy(Loaded):
    """Inputs are tensors on the device that are made once and written to on each call."""

    def __init__(self, neff: Path, io: Mapping[str, Any], weights: Mapping[str, np.ndarray], core: int) -> None:
        from nrtpy import NrtpyModel, NrtpyTensor

        self._model = NrtpyModel.load_from_neff(neff, core_id=core)
        slots = _slots(io["parameters"], self._model.input_tensors_info, "input")
        self._results = _slots(io["results"], self._model.output_tensors_info, "output")
        self._fed = [slot for slot in slots if slot.row_name not in weights]
        self._tensors = {}
        for slot in slots:
            value = weights.get(slot.row_name)
            first = np.zeros(slot.shape, slot.held) if value is None else slot.to_device(value)
            self._tensors[slot.name] = NrtpyTensor.from_numpy(first, name=slot.name, core_id=core)

    def run(self, feeds: Mapping[str, np.ndarray], wanted: Iterable[str]) -> dict[str, np.ndarray]:
        for slot in self._fed:
            self._tensors[slot.name].write_from_numpy(slot.to_device(feeds[slot.row_name]))
        outputs = self._model(inputs=self._tensors)
        by_name = {slot.row_name: slot for slot in self._results}
        return {name: by_name[name].from_device(outputs[by_name[name].name].numpy()) for name in wanted}


# ---- torch_neuronx ---------------------------------------------------------------------------------


class _TorchNeuronx(Loaded):
    """The program as torch_neuronx's own modules hold it. Tensors are torch's, on the processor; weights go along."""

    def __init__(self, neff: Path, io: Mapping[str, Any], weights: Mapping[str, np.ndarray], core: int) -> None:
        import torch

        described = _metaneff(io["parameters"], io["results"])
        self._torch = torch
        self._model = torch.classes.neuron.Model(neff.read_bytes(), described)
        self._slots = [_Slot(row, f"input{i}", None) for i, row in enumerate(io["parameters"])]
        self._results = [_Slot(row, f"output{i}", None) for i, row in enumerate(io["results"])]
        self._weights = {name: self._tensor(value) for name, value in weights.items()}

    def _tensor(self, array: np.ndarray) -> Any:
        if array.dtype.name == "bfloat16":  # torch takes no such array: its bits go over as integers
            return self._torch.from_numpy(array.view(np.int16)).view(self._torch.bfloat16)
        return self._torch.from_numpy(np.require(array, requirements=["C", "W"]))

    def run(self, feeds: Mapping[str, np.ndarray], wanted: Iterable[str]) -> dict[str, np.ndarray]:
        names = [slot.row_name for slot in self._slots]
        arguments = [self._weights[n] if n in self._weights else self._tensor(feeds[n]) for n in names]
        outputs = self._torch.ops.neuron.forward_v2(arguments, self._model)
        found = {slot.row_name: (slot, tensor) for slot, tensor in zip(self._results, outputs, strict=True)}
        return {name: found[name][0].from_device(self._array(found[name][1])) for name in wanted}

    def _array(self, tensor: Any) -> np.ndarray:
        if tensor.dtype == self._torch.bfloat16:
            tensor = tensor.view(self._torch.int16)
        array: np.ndarray = tensor.numpy()
        return array


def _metaneff(parameters: Rows, results: Rows) -> bytes:
    """How the runtime is told of the program's tensors: a MetaNeff message."""
    from torch_neuronx.proto import metaneff_pb2

    message = metaneff_pb2.MetaNeff()
    for rows, tensors, prefix in (
        (parameters, message.input_tensors, "input"),
        (results, message.output_tensors, "output"),
    ):
        for index, row in enumerate(rows):
            tensor = tensors.add()
            tensor.name = f"{prefix}{index}".encode()
            tensor.shape[:] = row["shape"]
            tensor.data_type = getattr(metaneff_pb2.MetaTensor.DataType, _METANEFF[row["dtype"]])
    data: bytes = message.SerializeToString()
    return data
