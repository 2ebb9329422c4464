"""The few calls of the CUDA driver API that a launch takes, through ctypes (CUDA Driver API reference, release 12)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from neoc.compile.errors import InvalidArtifact, MissingTool, Unavailable, WorkerCrashed

_NO_BINARY, _INVALID_IMAGE, _OUT_OF_MEMORY = 209, 200, 2


@cache
def libcuda(path: str = "libcuda.so.1") -> Any:
    """The driver library, initialised. Raises MissingTool without a driver or a device that it serves."""
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise MissingTool("no NVIDIA driver was found", why=str(error), fix="install the driver of the GPU") from error
    status = library.cuInit(0)
    if status:
        raise MissingTool("the NVIDIA driver does not start", why=f"cuInit gave CUresult {status}")
    return library


class Gpu:
    """The primary context of the first device."""

    def __init__(self, library: Any) -> None:
        self._lib = library
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._check("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self._check("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)
        self._device = device
        self.enter()

    def enter(self) -> None:
        """Make the context the calling thread's own."""
        self._check("cuCtxSetCurrent", self._context)

    def module(self, image: bytes) -> ctypes.c_void_p:
        """Raises InvalidArtifact for machine code that the device does not take."""
        module = ctypes.c_void_p()
        status = self._lib.cuModuleLoadData(ctypes.byref(module), image)
        if status in (_NO_BINARY, _INVALID_IMAGE):
            why = f"cuModuleLoadData gave CUresult {status}"
            raise InvalidArtifact("the GPU does not take the artifact's machine code", why=why, fix="compile it again")
        self._judge("cuModuleLoadData", status)
        return module

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        self._check("cuModuleGetFunction", ctypes.byref(found), module, name.encode())
        return found

    def upload(self, array: np.ndarray) -> ctypes.c_uint64:
        """A copy of the array in device memory."""
        pointer = self.allocate(array.nbytes)
        if array.nbytes:
            source = ctypes.c_void_p(array.ctypes.data)
            self._check("cuMemcpyHtoD_v2", pointer, source, ctypes.c_size_t(array.nbytes))
        return pointer

    def allocate(self, size: int) -> ctypes.c_uint64:
        pointer = ctypes.c_uint64()
        self._check("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        return pointer

    def free(self, pointer: ctypes.c_uint64) -> None:
        self._check("cuMemFree_v2", pointer)

    def launch(self, function: ctypes.c_void_p, blocks: int, threads: int, arguments: Sequence[Any]) -> None:
        """`arguments`: ctypes values in the order of the kernel's parameters."""
        array = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(a) for a in arguments])
        self._check("cuLaunchKernel", function, blocks, 1, 1, threads, 1, 1, 0, None, array, None)

    def download(self, pointer: ctypes.c_uint64, into: np.ndarray) -> None:
        """Waits for what was launched before."""
        if into.nbytes:
            target = ctypes.c_void_p(into.ctypes.data)
            self._check("cuMemcpyDtoH_v2", target, pointer, ctypes.c_size_t(into.nbytes))

    def unload(self, module: ctypes.c_void_p) -> None:
        self._check("cuModuleUnload", module)

    def release(self) -> None:
        self._check("cuDevicePrimaryCtxRelease_v2", self._device)

    def _check(self, name: str, *arguments: Any) -> None:
        self._judge(name, getattr(self._lib, name)(*arguments))

    def _judge(self, name: str, status: int) -> None:
        if status == _OUT_OF_MEMORY:
            raise Unavailable("the GPU has no memory left", why=f"{name} gave CUresult {status}")
        if status:
            text = ctypes.c_char_p()
            self._lib.cuGetErrorName(status, ctypes.byref(text))
            named = text.value.decode() if text.value else f"CUresult {status}"
            raise WorkerCrashed("the GPU failed", where=name, why=named)
