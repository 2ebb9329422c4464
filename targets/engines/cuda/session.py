"""Opening what the `cuda` engine built: TVM's virtual machine on a GPU, with the machine code that the artifact holds.

lib.so holds host code, bytecode, weights and the kernels' CUDA source; TVM's loader asks `tvm_callback_cuda_compile`
for the binary of that source, and is given the artifact's cubin: nothing is compiled on the device.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature, TensorSpec
from neoc.compile.errors import InvalidArtifact, MissingTool
from neoc.targets.engines.tensors import chosen, closed
from neoc.targets.engines.tvm import aligned_empty

CPU, CUDA = 1, 2
"""kDLCPU, kDLCUDA of DLPack"""
_POOLED = 2
LIBRARY, CUBIN = "lib.so", "kernels.cubin"
_INSTALL = "pip install 'neoc[tvm,cuda-device]'"


@cache
def runtime() -> Any:
    """tvm_ffi with TVM's runtime and its CUDA part loaded. Raises MissingTool where a library is not there."""
    try:
        import tvm_ffi
    except ImportError as error:
        raise MissingTool("TVM's runtime is not installed", why=str(error), fix=_INSTALL) from error
    found = importlib.util.find_spec("tvm")
    folders = list(found.submodule_search_locations or ()) if found else []
    load = ctypes.RTLD_GLOBAL
    try:
        for library in _cudart():
            ctypes.CDLL(library, load)
        for name in ("libtvm_runtime.so", "libtvm_runtime_cuda.so"):
            path = next((p for f in folders for p in sorted(Path(f).glob(f"**/{name}"))), None)
            if path is None:
                raise MissingTool(f"{name} was not found", fix=_INSTALL)
            ctypes.CDLL(str(path), load)
    except OSError as error:
        why = f"{error}: the wheel of TVM is built for CUDA 13, which takes a driver of release 580 or later"
        raise MissingTool("TVM's CUDA runtime cannot be loaded", why=why, fix=_INSTALL) from error
    return tvm_ffi


def _cudart() -> list[str]:
    """CUDA's runtime library of the pip package nvidia-cuda-runtime, where it is installed; else the loader's own."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(p) for p in spec.submodule_search_locations or ()] if spec else []
    return [str(p) for folder in folders for p in sorted(folder.glob("cu13/lib/libcudart.so.13"))][:1]


Binary = Callable[[bytes], bytes]
"""CUDA source -> what cuModuleLoadData takes in its place"""


def stored_binary(members: Mapping[str, memoryview]) -> Binary:
    """The artifact's cubin, for the source that it was compiled from and no other. Raises InvalidArtifact."""
    wanted = json.loads(bytes(members["kernels.json"]))["source_sha256"]

    def binary(source: bytes) -> bytes:
        if hashlib.sha256(source).hexdigest() != wanted:
            raise InvalidArtifact("the cubin and the library do not belong together", fix="compile the model again")
        return bytes(members[CUBIN])

    return binary


def load(library: memoryview, binary: Binary) -> Any:
    """The function `main` of the library's virtual machine on the first GPU. Raises InvalidArtifact, MissingTool."""
    ffi = runtime()

    def answer(source: str, *_: object) -> bytes:
        return binary(source.encode())

    ffi.register_global_func("tvm_callback_cuda_compile", answer, override=True)
    with tempfile.TemporaryDirectory(prefix="neoc-cuda-") as folder:
        path = Path(folder) / LIBRARY
        path.write_bytes(library)
        try:
            executable = ffi.load_module(str(path))["vm_load_executable"]()
            executable["vm_initialization"](CUDA, 0, _POOLED, CPU, 0, _POOLED)
            return executable["main"]
        except (RuntimeError, AttributeError) as error:
            raise InvalidArtifact(
                "TVM's runtime does not load the artifact",
                why=str(error).strip().splitlines()[-1],
                fix="install the version of apache-tvm that it was compiled with, or compile it again",
            ) from error


class CudaSession(Session):
    """One virtual machine on one GPU; its memory pool is not for two callers at once."""

    concurrency = 1

    def __init__(self, main: Any, signature: Signature, stamp: str = "") -> None:
        self.inputs, self.outputs, self.stamp = signature.inputs, signature.outputs, stamp
        ffi = runtime()
        self._main: Any = main
        self._check = FeedCheck(signature.inputs)
        self._names = tuple(spec.name for spec in signature.outputs)
        self._from_dlpack = ffi.from_dlpack
        self._to_device = ffi.get_global_func("vm.builtin.to_device")
        self._to_bytes = ffi.get_global_func("runtime.TVMTensorCopyToBytes")

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        wanted = self._names if outputs is None else chosen(outputs, self._names)
        result = self._main(*[self._on_device(spec, feeds[spec.name]) for spec in self.inputs])
        values = [result] if hasattr(result, "shape") else list(result)
        return {n: self._array(v) for n, v in zip(self._names, values, strict=True) if n in wanted}

    def _on_device(self, spec: TensorSpec, array: np.ndarray) -> Any:
        staged = aligned_empty(array.shape, array.dtype)
        np.copyto(staged, array)
        return self._to_device(self._from_dlpack(staged), CUDA, 0, "global")

    def _array(self, tensor: Any) -> np.ndarray:
        found = np.empty(tuple(int(d) for d in tensor.shape), np.dtype(str(tensor.dtype)))
        if found.size:
            self._to_bytes(tensor, ctypes.c_void_p(found.ctypes.data), found.nbytes)
        return found

    def close(self) -> None:
        self._main = closed
