"""Tree ensembles on a GPU: one kernel of neoc's own, a thread a row, with the bits of the library that trained them.

Build needs a CUDA compiler, never a GPU. Open needs the driver's library alone: no TVM, no CUDA runtime. What stands
behind the sum (sigmoid, softmax, labels) is numpy's, as in the `trees` engine.
"""

from __future__ import annotations

import ctypes
import io
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import (
    Built,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.kernels.errors import KernelInputError
from neoc.targets.engines.cuda import SOURCE, CubinEngine, compile_kernels, compilers
from neoc.targets.engines.cuda.session import CUBIN
from neoc.targets.engines.cuda.tree_source import BLOCK, KERNEL
from neoc.targets.engines.trees import CODE, CONSTANTS, STEPS, TABLES, TreesSession

if TYPE_CHECKING:
    from neoc.compile.program import Program


class CudaTrees(CubinEngine):
    name = "cuda-trees"
    schedule = "rows"
    host_code = False

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.cuda.memory import memory_gaps
        from neoc.targets.engines.trees_program import find_gaps

        return (*find_gaps(program, self.name), *memory_gaps(program, target, self.name))

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.targets.engines.cuda.tree_source import source_of, tables_of
        from neoc.targets.engines.trees_program import take_apart

        sm = int(target.fact("sm"))
        compiler = compilers.require_compiler(sm)
        parts = take_apart(program)
        e = parts.ensemble
        source = source_of(e)
        (folder / SOURCE).write_text(source)
        with (folder / TABLES).open("wb") as file:
            np.savez(file, allow_pickle=False, features=np.int64(e.features), **tables_of(e).arrays)
        facts = {
            "row": np.dtype(e.row_dtype).name,
            "total": np.dtype(e.sum_dtype).name,
            "block": e.targets,
            "margin": parts.margin,
            "steps": parts.steps,
            "before": parts.before,
            "fed": parts.fed,
        }
        (folder / STEPS).write_text(json.dumps(facts, sort_keys=True))
        with (folder / CONSTANTS).open("wb") as file:
            np.savez(file, allow_pickle=False, **parts.constants)
        made = compile_kernels(compiler, source, sm, folder)
        return Built(
            members={**{n: folder / n for n in (SOURCE, TABLES, STEPS, CONSTANTS)}, **made.members},
            requirements=(Requirement("arch", str(target.fact("host_arch"))), Requirement("runtime", "libcuda.so.1")),
            tools={compiler.name: compiler.version},
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            toolchain=made.toolchain,
            notes=(f"{len(e.roots)} trees, a thread a row, sums {e.sum}", *made.notes),
            device_code=made.facts,
        )

    def open_on_gpu(self, members: Mapping[str, memoryview], signature: Signature) -> Session:
        from neoc.targets.engines.cuda.driver import Gpu, libcuda

        return session_of(members, bytes(members[CUBIN]), signature, Gpu(libcuda()))

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        """The kernel's source on the simulator (simulator/): the cubin is not run."""
        from neoc.targets.engines.cuda import simulator
        from neoc.targets.engines.cuda.driver import Gpu

        image = simulator.image_of(bytes(members[SOURCE]).decode())
        return simulator.SimulatedSession(session_of(members, image, signature, Gpu(simulator.driver())))


def session_of(members: Mapping[str, memoryview], image: bytes, signature: Signature, gpu: Any) -> TreesSession:
    """Tables stay on the GPU; rows go there and margins come back with each call, one call at a time."""

    def kernel(_: memoryview, tables: memoryview, row: type, total: type, targets: int, threads: int) -> Any:
        return GpuPredictor(image, tables, np.dtype(row), np.dtype(total), targets, gpu)

    session = TreesSession({**members, CODE: memoryview(image)}, signature, 1, kernel)
    session.concurrency = 1
    return session


class GpuPredictor:
    """rows -> margins, by one launch; in the place of `neoc.kernels.trees.predictor.Predictor`."""

    def __init__(
        self, image: bytes, tables: memoryview, row: np.dtype[Any], total: np.dtype[Any], targets: int, gpu: Any
    ) -> None:
        self.row, self._total, self._targets = row, total, targets
        self._gpu, self._lock = gpu, threading.Lock()
        self._module = gpu.module(image)
        self._function = gpu.function(self._module, KERNEL)
        with np.load(io.BytesIO(tables), allow_pickle=False) as held:
            self.features = int(held["features"])
            self._tables = [gpu.upload(held[name]) for name in held.files if name != "features"]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Margins [rows, targets]. Raises KernelInputError for rows of another dtype or shape."""
        if rows.dtype != self.row or rows.ndim != 2 or rows.shape[1] != self.features:
            why = f"{rows.dtype}{list(rows.shape)}, not {self.row}[rows, {self.features}]"
            raise KernelInputError("rows do not fit the trees", why=why)
        margins = np.empty((len(rows), self._targets), self._total)
        if not len(rows):
            return margins
        with self._lock:
            self._gpu.enter()
            held = [self._gpu.upload(np.ascontiguousarray(rows))]
            try:
                held.append(self._gpu.allocate(margins.nbytes))
                count = ctypes.c_longlong(len(rows))
                arguments = [held[0], *self._tables, held[1], count]
                self._gpu.launch(self._function, -(-len(rows) // BLOCK), BLOCK, arguments)
                self._gpu.download(held[1], margins)
            finally:
                for pointer in held:
                    self._gpu.free(pointer)
        return margins

    def close(self) -> None:
        self._gpu.enter()
        for table in self._tables:
            self._gpu.free(table)
        self._gpu.unload(self._module)
        self._gpu.release()
