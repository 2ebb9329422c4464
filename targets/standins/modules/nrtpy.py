"""STAND-IN for AWS's nrtpy, for tests: the documented names and signatures, and no device behind them.

It takes what the stand-in of neuronx-cc wrote and nothing else. It computes no model: each result is filled with one
number that hangs on every input, so that a test sees which tensor went where. Like libnrt it reports results in an
order of its own and 16-bit floats as bytes without a dtype, and like the compiler it holds 64-bit integers in 32 bits.
Imports numpy and ml_dtypes alone. Source: AWS Neuron documentation 2.32, neuron-runtime/nrtpy.
"""

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

NEOC_STANDIN = True
CORES = 4

if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
    raise ImportError("this is neoc's stand-in for nrtpy; it may be used only where NEOC_ALLOW_STANDIN=1")

_DTYPES = {
    "pred": np.bool_, "s8": np.int8, "s16": np.int16, "s32": np.int32, "s64": np.int32, "u8": np.uint8,
    "u16": np.uint16, "u32": np.uint32, "u64": np.uint32, "f16": np.float16, "f32": np.float32,
    "bf16": ml_dtypes.bfloat16,
}  # fmt: skip


def _compiler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("neoc_standin_compiler", Path(__file__).parents[1] / "neuronx_cc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configure(visible_cores: Iterable[int] | None = None) -> None:
    """Nothing to configure."""


class TensorMetadata(NamedTuple):
    shape: tuple[int, ...]
    size: int


class NrtpyTensor:
    def __init__(self, tensor_ref: Any, shape: tuple[int, ...], dtype: Any, name: str | None = None) -> None:
        self.tensor_ref, self.shape, self.dtype, self.name = tensor_ref, shape, dtype, name

    @classmethod
    def from_numpy(cls, array: np.ndarray, name: str | None = None, core_id: int = 0) -> NrtpyTensor:
        made = cls(np.ascontiguousarray(array).tobytes(), array.shape, array.dtype, name)
        made.core_id = core_id
        return made

    core_id = 0

    def write_from_numpy(self, array: np.ndarray) -> None:
        if array.nbytes != len(self.tensor_ref):
            raise ValueError(f"{array.nbytes} bytes for a tensor of {len(self.tensor_ref)}")
        self.tensor_ref = np.ascontiguousarray(array).tobytes()

    def numpy(self) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        found = np.frombuffer(self.tensor_ref, f"V{dtype.itemsize}").reshape(self.shape)
        return found if dtype.itemsize == 2 else found.view(dtype)


class NrtpyModel:
    def __init__(self, shapes: tuple[list[Any], list[Any]], name: str, core_id: int) -> None:
        self.name, self.core_id = name, core_id
        self._inputs, self._outputs = (
            {f"{kind}{i}": (shape, np.dtype(dtype)) for i, (shape, dtype) in enumerate(rows)}
            for kind, rows in zip(("input", "output"), shapes, strict=True)
        )
        self.input_tensors_info = {n: TensorMetadata(s, _size(s, d)) for n, (s, d) in self._inputs.items()}
        self.output_tensors_info = {n: TensorMetadata(s, _size(s, d)) for n, (s, d) in reversed(self._outputs.items())}

    @classmethod
    def load_from_neff(
        cls,
        neff_path: Path | str,
        name: str | None = None,
        core_id: int = 0,
        cc_enabled: bool = False,
        rank_id: int = 0,
        world_size: int = 1,
    ) -> NrtpyModel:
        if not 0 <= core_id < CORES:
            raise RuntimeError(f"core {core_id} is not visible")
        return cls(shapes_of(Path(neff_path).read_bytes()), name or Path(neff_path).stem, core_id)

    def __call__(
        self,
        inputs: dict[str, NrtpyTensor],
        outputs: dict[str, NrtpyTensor] | None = None,
        save_trace: bool = False,
        ntff_name: str | None = None,
    ) -> dict[str, NrtpyTensor] | None:
        if inputs.keys() != self._inputs.keys():
            raise RuntimeError(f"inputs are {sorted(inputs)}, the program has {sorted(self._inputs)}")
        if any(tensor.core_id != self.core_id for tensor in inputs.values()):
            raise RuntimeError("a tensor lies on another core")
        values = [
            np.frombuffer(inputs[n].tensor_ref, dtype).reshape(shape) for n, (shape, dtype) in self._inputs.items()
        ]
        made = {}
        for index, (n, (shape, dtype)) in enumerate(self._outputs.items()):
            made[n] = NrtpyTensor.from_numpy(answer(values, index, shape, dtype), n, self.core_id)
        if outputs is None:
            return made
        for n, tensor in outputs.items():
            tensor.tensor_ref = made[n].tensor_ref
        return None


def answer(values: list[np.ndarray], index: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Result `index`: filled with index + the mean of each input times its place, from 1."""
    number = index + sum((i + 1) * float(np.mean(v.astype(np.float64))) for i, v in enumerate(values) if v.size)
    return np.full(shape, number).astype(dtype)


def shapes_of(neff: bytes) -> tuple[list[Any], list[Any]]:
    """((shape, dtype) of each parameter, of each result) of what the stand-in compiler wrote."""
    with tarfile.open(fileobj=io.BytesIO(neff)) as archive:
        if "NEOC_STANDIN.json" not in archive.getnames():
            raise RuntimeError("this is no program of the stand-in compiler")
        member = archive.extractfile("hlo.pb")
        assert member is not None
        module = _compiler().Module(member.read())
    declared = module.entry.program_shape
    compiler = _compiler()
    result = compiler.shape_of(declared.message(2))
    results = list(result.members) if result.dtype == "tuple" else [result]
    parameters = [compiler.shape_of(m) for m in declared.messages(1)]
    return [(s.dims, _DTYPES[s.dtype]) for s in parameters], [(s.dims, _DTYPES[s.dtype]) for s in results]


def _size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
