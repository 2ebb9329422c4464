"""onnxruntime on an NVIDIA GPU, by its CUDA and its TensorRT provider: offered only where the GPU is.

The artifact holds plain ONNX and the providers compile it when it is opened, so without the chip there would be nothing
to have compiled. No node may fall back to the CPU: onnxruntime is told to refuse the model instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.errors import MissingTool, WrongDevice
from neoc.targets.devices import cuda_devices
from neoc.targets.engines import onnxruntime as cpu

if TYPE_CHECKING:
    from neoc.compile.program import Program

DISTRIBUTION = "onnxruntime-gpu"
PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""variant -> provider"""
_NO_FALLBACK = "session.disable_cpu_ep_fallback"
_INSTALL = f"pip install {DISTRIBUTION} (in the place of onnxruntime)"


class OnnxRuntimeGpu(Engine):
    name = "onnxruntime-gpu"

    def missing(self) -> str | None:
        if find_spec("onnxruntime") is None:
            return f"onnxruntime is not installed; {_INSTALL}"
        return None if providers() else f"the onnxruntime of this machine has no CUDA provider; {_INSTALL}"

    def serves(self, target: Target) -> bool:
        return target.arch == "nvidia" and target.fact("host_arch") == "x86_64"

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines import onnxruntime_gaps
        from neoc.targets.engines.cuda.memory import memory_gaps

        known = onnxruntime_gaps.gaps(program) if find_spec("onnxruntime") is not None else ()
        own = tuple(
            Gap(self.name, g.node, g.operator, g.reason, g.where, g.suggestion, g.code, g.lowered) for g in known
        )
        return (*own, *memory_gaps(program, target, self.name))

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        if options.precision != "fp32" or f"cuda:{target.level}" not in cuda_devices():
            return ()
        return tuple(Variant.of(name) for name, provider in PROVIDERS.items() if provider in providers())

    def why_no_variant(self, program: Program, target: Target, options: EngineOptions) -> str:
        if f"cuda:{target.level}" in cuda_devices():
            return super().why_no_variant(program, target, options)
        return f"its providers compile when they open, so it is offered only where a {target.title} is"

    def tools(self) -> Mapping[str, str]:
        return {DISTRIBUTION: _version()} if _version() else {}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        """Write the members and open them once on the GPU: what would fall back is known. Raises UnsupportedModel."""
        from onnx_ir.passes.common import LiftSubgraphInitializersToMainGraphPass

        from neoc.compile import onnx_io

        model = program.model.clone()
        LiftSubgraphInitializersToMainGraphPass()(model)
        onnx_io.write(model, folder / cpu.MODEL, data_name=cpu.DATA)
        members = {name: folder / name for name in (cpu.MODEL, cpu.DATA) if (folder / name).exists()}
        load(str(folder / cpu.MODEL), options_for(1, {}), variant.id)
        needs = (Requirement("arch", "x86_64"), Requirement("package", DISTRIBUTION, _version(), "minor"))
        count = sum(1 for _ in program.nodes())
        return Built(members, needs, self.tools(), Placement(((f"{self.name}/{variant.id}", count),)))

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if not cuda_devices():
            raise WrongDevice("the artifact is for an NVIDIA GPU, and this machine has none")
        if PROVIDERS[variant.id] not in providers():
            raise MissingTool(f"onnxruntime has no {PROVIDERS[variant.id]} here", fix=_INSTALL)
        options = options_for(threads, members)
        return cpu.session_of(load(bytes(members[cpu.MODEL]), options, variant.id), signature)


def providers() -> tuple[str, ...]:
    """Those of `PROVIDERS` that the installed onnxruntime was built with."""
    if find_spec("onnxruntime") is None:
        return ()
    import onnxruntime

    return tuple(p for p in onnxruntime.get_available_providers() if p in PROVIDERS.values())


def options_for(threads: int, members: Mapping[str, memoryview]) -> Any:
    options = cpu.session_options(threads, {})
    options.add_session_config_entry(_NO_FALLBACK, "1")
    if cpu.DATA in members:
        data = members[cpu.DATA]
        options.add_external_initializers_from_files_in_memory([cpu.DATA], [data], [data.nbytes])
    return options


def load(model: str | bytes, options: Any, variant: str) -> Any:
    """A session on that provider, with CUDA behind TensorRT. Raises UnsupportedModel where a node would fall back."""
    import onnxruntime

    chosen = [PROVIDERS["tensorrt"], PROVIDERS["cuda"]] if variant == "tensorrt" else [PROVIDERS["cuda"]]
    try:
        session = onnxruntime.InferenceSession(model, options, providers=chosen)
    except cpu.failures() as error:
        raise cpu.unsupported(str(error)) from error
    used = session.get_providers()
    if chosen[0] not in used:
        raise MissingTool(
            f"onnxruntime's {chosen[0]} does not start",
            why=f"it opened with {', '.join(used)} alone: CUDA's or TensorRT's libraries are not found",
            fix=f"pip install '{DISTRIBUTION}[cuda,cudnn]'",
        )
    return session


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return ""
