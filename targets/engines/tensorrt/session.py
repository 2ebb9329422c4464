"""A session on TensorRT's Python runtime (TensorRT 10, Python API: Runtime, ICudaEngine, IExecutionContext).

Never run where this was written: there is no GPU and no index carries TensorRT. The tests marked needs("cuda",
"tensorrt") run it where both are; elsewhere it is run against a module with the documented names.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature, dtype_of
from neoc.compile.errors import InvalidArtifact, MissingTool, Unavailable, WorkerCrashed
from neoc.targets.engines.tensors import chosen


def runtime() -> Any:
    """The module `tensorrt`. Raises MissingTool where it cannot be imported."""
    try:
        return import_module("tensorrt")
    except Exception as error:  # ImportError, or a native library's own
        why = " ".join(str(error).split())[:300]
        fix = "install TensorRT's Python package of the release that built the plan, from NVIDIA's repository"
        raise MissingTool("TensorRT's Python runtime cannot be used here", why=why, fix=fix) from error


class TensorRtSession(Session):
    """One execution context; inputs and outputs live on the GPU for as long as a call."""

    concurrency = 1

    def __init__(self, plan: bytes, signature: Signature, gpu: Any, module: Any) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check, self._gpu = FeedCheck(self.inputs), gpu
        self._names = [spec.name for spec in self.outputs]
        runtime = module.Runtime(module.Logger(module.Logger.ERROR))
        self._engine: Any = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            fix = "build the plan again with build.sh on this machine"
            raise InvalidArtifact("TensorRT does not load the plan: it is for another chip or release", fix=fix)
        self._context: Any = self._engine.create_execution_context()

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        if self._context is None:
            raise Unavailable("running was not tried", why="the session was closed")
        wanted = self._names if outputs is None else chosen(outputs, self._names)
        held: list[ctypes.c_uint64] = []
        self._gpu.enter()
        try:
            for name, array in feeds.items():
                held.append(self._gpu.upload(np.ascontiguousarray(array)))
                self._context.set_input_shape(name, array.shape)
                self._context.set_tensor_address(name, held[-1].value)
            made = self._outputs(held)
            if not self._context.execute_async_v3(0):
                raise WorkerCrashed("TensorRT failed", where="execute_async_v3")
            for name in wanted:
                self._gpu.download(made[name][0], made[name][1])
            return {name: made[name][1] for name in wanted}
        finally:
            for pointer in held:
                self._gpu.free(pointer)

    def _outputs(self, held: list[ctypes.c_uint64]) -> Mapping[str, tuple[ctypes.c_uint64, np.ndarray]]:
        made = {}
        for spec in self.outputs:
            array = np.empty(tuple(self._context.get_tensor_shape(spec.name)), dtype_of(spec.dtype))
            held.append(self._gpu.allocate(array.nbytes))
            self._context.set_tensor_address(spec.name, held[-1].value)
            made[spec.name] = (held[-1], array)
        return made

    def close(self) -> None:
        if self._engine is not None:
            self._context = self._engine = None
            self._gpu.release()
