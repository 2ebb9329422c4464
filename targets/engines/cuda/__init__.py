"""CUDA: ONNX -> Relax -> TVM's CUDA source with its default GPU schedules -> cubin, and host code around it.

Build needs TVM, a linker for the host's architecture and a CUDA compiler (compilers.py), never a GPU. An artifact holds

kernels.cubin   machine code of one compute capability
kernels.cu      the CUDA source that it was compiled from
kernels.json    what each kernel takes of the chip (kernels.py)
lib.so          host code, bytecode, weights

Opening needs the GPU, TVM's runtime and CUDA's; nothing is compiled there (session.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Gap,
    Numerics,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Toolchain,
    Variant,
)
from neoc.compile.errors import MissingTool, Unavailable, WrongDevice
from neoc.targets import standins
from neoc.targets.devices import cuda_devices
from neoc.targets.engines.cuda import compilers, kernels
from neoc.targets.engines.cuda.occupancy import LIMITS
from neoc.targets.engines.cuda.session import CUBIN, LIBRARY, CudaSession, load, stored_binary

if TYPE_CHECKING:
    from neoc.compile.program import Program

SOURCE = "kernels.cu"
STANDIN_CUBIN = "kernels.cubin.standin"
"""what a stand-in of the compiler made: no name of machine code for something that is none"""


class CubinEngine(Engine):
    """What engines share whose artifacts hold a cubin: whom they serve, the compiler, stand-ins, the rehearsal."""

    dispatches = False
    executor = "threads-on-cpu"
    schedule: ClassVar[str]
    """id of the one variant"""
    host_code: ClassVar[bool]
    """whether code for the host's processor is in the artifact, too"""

    def missing(self) -> str | None:
        if not compilers.real_compilers() and standins.find("nvcc") is None:
            return compilers.why_none()
        return None

    def serves(self, target: Target) -> bool:
        return target.arch == "nvidia" and target.fact("sm") in LIMITS

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        if options.precision != "fp32" or compilers.find_compiler(target.fact("sm")) is None:
            return ()
        return (Variant.of(self.schedule),)

    def why_no_variant(self, program: Program, target: Target, options: EngineOptions) -> str:
        sm = target.fact("sm")
        lacks = compilers.find_compiler(sm) is None
        return compilers.why_none(sm) if lacks else super().why_no_variant(program, target, options)

    def tools(self) -> Mapping[str, str]:
        return compilers.versions()

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if STANDIN_CUBIN in members:
            from neoc.targets.engines.cuda.standin import open_standin

            return open_standin(members[STANDIN_CUBIN], signature)
        if not cuda_devices():
            raise WrongDevice(
                "the artifact is for an NVIDIA GPU, and this machine has none",
                why="the NVIDIA driver lists no device",
                fix="open it on a machine with that GPU; on this machine, compile for --target host",
            )
        from neoc.targets.engines.cuda import simulator

        if simulator.in_the_way():
            raise Unavailable(
                "the GPU cannot be opened in this process any more",
                why="an artifact was opened on the simulator before, which stands in for the driver from then on",
                fix="open it in a new process",
            )
        return self.open_on_gpu(members, signature)

    @abstractmethod
    def open_on_gpu(self, members: Mapping[str, memoryview], signature: Signature) -> Session:
        """A session on the GPU that the driver lists."""

    def rehearsal(self, target: Target) -> tuple[Numerics, str]:
        from neoc.targets.engines.cuda import simulator

        if why_not := simulator.why_not(target, host_code=self.host_code):
            return Numerics.UNCHECKED, why_not
        return Numerics.SIMULATED, "the kernels' source was run thread by thread on this machine's processor instead"


class Cuda(CubinEngine):
    name = "cuda"
    schedule = "dlight"
    host_code = True

    def missing(self) -> str | None:
        if importlib.util.find_spec("tvm") is None:
            return "TVM is not installed; install it with: pip install 'neoc[tvm]'"
        return super().missing()

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.cuda.memory import memory_gaps
        from neoc.targets.engines.tvm_gaps import find_gaps

        return (*find_gaps(program, self.name), *memory_gaps(program, target, self.name))

    def tools(self) -> Mapping[str, str]:
        from neoc.targets.engines.tvm import versions_of

        return {**versions_of("apache-tvm", "apache-tvm-ffi", "ziglang"), **super().tools()}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.targets.engines.tvm import versions_of
        from neoc.targets.linkers import linker_for

        sm, triple = int(target.fact("sm")), str(target.fact("triple"))
        linker = linker_for(triple)
        if linker is None:
            raise MissingTool(f"no linker for {triple} was found", fix="install one with: pip install ziglang")
        compiler = compilers.require_compiler(sm)
        source, schedules = _generate(program, target, folder / LIBRARY, linker)
        members = {LIBRARY: folder / LIBRARY, SOURCE: folder / SOURCE}
        (folder / SOURCE).write_text(source)
        made = compile_kernels(compiler, source, sm, folder)
        return Built(
            members={**members, **made.members},
            requirements=_requirements(str(target.fact("host_arch"))),
            tools={**versions_of("apache-tvm", "apache-tvm-ffi"), **linker.tools(), compiler.name: compiler.version},
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            toolchain=made.toolchain,
            reproducible=False,
            notes=(
                f"loop nests scheduled by dlight: {schedules}",
                "TVM's code generator orders some host instructions differently from build to build",
                *made.notes,
            ),
            device_code=made.facts,
        )

    def open_on_gpu(self, members: Mapping[str, memoryview], signature: Signature) -> Session:
        return CudaSession(load(members[LIBRARY], stored_binary(members)), signature)

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        """The artifact's own host code on the simulator (simulator/): its cubin is not run."""
        from neoc.targets.engines.cuda import simulator

        simulator.driver()
        image = simulator.image_of(bytes(members[SOURCE]).decode())
        stored = stored_binary({**members, CUBIN: memoryview(image)})
        return simulator.SimulatedSession(CudaSession(load(members[LIBRARY], stored), signature))


@dataclass(frozen=True)
class CompiledKernels:
    """Members and facts of one compilation of kernels: the same for TVM's and for the tree kernels."""

    members: Mapping[str, Path]
    toolchain: Toolchain
    notes: tuple[str, ...]
    facts: Mapping[str, Any] | None


def compile_kernels(compiler: compilers.CudaCompiler, source: str, sm: int, folder: Path) -> CompiledKernels:
    """CUDA source -> cubin, kernels.json in `folder`, checked to be for `sm`. Raises MissingTool, UnsupportedModel."""
    compiled = compiler.compile(source, sm)
    if compilers.seal(compiler, compiled):
        (folder / STANDIN_CUBIN).write_bytes(compiled.cubin)
        note = "stand-in: an imitation of nvcc was used; the artifact holds no code for a GPU"
        return CompiledKernels({STANDIN_CUBIN: folder / STANDIN_CUBIN}, Toolchain.STANDIN, (note,), None)
    found, rows = kernels.facts_of(compiled.cubin, compiled.log)
    if found != sm or not rows:
        raise MissingTool(
            f"{compiler.name} {compiler.version} made a cubin for sm_{found} with {len(rows)} kernels, not for sm_{sm}",
            fix=compilers.INSTALL,
        )
    digest = hashlib.sha256(source.encode()).hexdigest()
    facts = kernels.table(sm, rows, f"{compiler.name} {compiler.version}", digest)
    (folder / CUBIN).write_bytes(compiled.cubin)
    (folder / kernels.MEMBER).write_text(json.dumps(facts, indent=1))
    members = {name: folder / name for name in (CUBIN, kernels.MEMBER)}
    return CompiledKernels(members, Toolchain.REAL, (kernels.in_short(rows),), facts)


def _generate(program: Program, target: Target, library: Path, linker: Any) -> tuple[str, str]:
    """The kernels' CUDA source, and how they were scheduled; `library` becomes the host side.

    Raises UnsupportedModel, MissingTool.
    """
    from neoc.targets.engines.cuda.schedule import build
    from neoc.targets.engines.tvm import accept_library

    # A machine with a GPU and one without shall make the same artifact: the library keeps the source, and the cubin is
    # compiled beside it.
    os.environ["TVM_COMPILE_FORCE_FALLBACK"] = "1"
    executable, used = build(program, tvm_target(target))
    executable.export_library(str(library), fcompile=linker)
    accept_library(library.read_bytes(), str(target.fact("host_arch")))
    found = [text for module in _imports(executable.mod) if module.kind == "cuda" for text in [_source(module)]]
    if len(found) != 1 or "__global__" not in found[0]:
        raise MissingTool(f"TVM made {len(found)} CUDA modules, not one with kernels", fix="report it with the model")
    return found[0], ", ".join(f"{count} by {rule}" for rule, count in used.most_common())


def tvm_target(target: Target) -> dict[str, Any]:
    """What TVM is told of the chip: its limits decide how dlight cuts loops into blocks and threads."""
    limits = LIMITS[target.fact("sm")]
    return {
        "kind": "cuda",
        "arch": target.level,
        "max_num_threads": limits.block_threads,
        "max_threads_per_block": limits.block_threads,
        "max_shared_memory_per_block": limits.block_shared_bytes,
        "registers_per_block": limits.block_registers,
        "thread_warp_size": 32,
        "host": {"kind": "llvm", "mtriple": target.fact("triple"), "mcpu": target.fact("mcpu")},
    }


def _imports(module: Any) -> list[Any]:
    return [module, *(found for inner in module.imports for found in _imports(inner))]


def _source(module: Any) -> str:
    return str(module.inspect_source("cuda"))


def _requirements(host_arch: str) -> tuple[Requirement, ...]:
    from neoc.targets.engines.tvm import runtime_requirements

    return (
        Requirement("arch", host_arch),
        Requirement("runtime", "libcuda.so.1"),
        *runtime_requirements(carried=False),
    )
