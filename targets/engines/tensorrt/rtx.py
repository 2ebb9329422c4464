"""TensorRT for RTX: NVIDIA's TensorRT for Ampere, Ada and Blackwell chips, which builds without the chip.

Its packages are on the public index (pip install 'neoc[tensorrt-rtx]', 90 MB) under a licence of their own, which the
user accepts by installing them. An engine of it is finished by a just-in-time compilation on the chip; what is built
here is all that the builder does without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
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
from neoc.compile.errors import MissingTool, UnsupportedModel, WrongDevice
from neoc.targets.devices import cuda_devices

if TYPE_CHECKING:
    from neoc.compile.program import Program

PLAN = "model.rtx.plan"
SERVED = (80, 86, 89)
"""compute capabilities of neoc's targets for which its builder makes float32 engines; Turing takes no float32 product,
Hopper and Jetson it does not know"""
_MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
_PACKAGE = "tensorrt-rtx-cu12"
_INSTALL = "pip install 'neoc[tensorrt-rtx]'"


class TensorRtRtx(Engine):
    name = "tensorrt-rtx"

    def missing(self) -> str | None:
        return None if any(find_spec(name) for name in _MODULES) else f"TensorRT-RTX is not installed; {_INSTALL}"

    def serves(self, target: Target) -> bool:
        return target.arch == "nvidia" and target.fact("sm") in SERVED and target.fact("host_arch") == "x86_64"

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.cuda.memory import memory_gaps
        from neoc.targets.engines.tensorrt.preflight import find_gaps

        opened = tuple(
            Gap(self.name, s.name, "", f"input {s} is not static", suggestion=f"bind it with --input {s.name}=SIZES")
            for s in program.signature.inputs
            if not s.is_static
        )
        return (*find_gaps(program, self.name), *opened, *memory_gaps(program, target, self.name))

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        return (Variant.of("fp32"),) if options.precision == "fp32" else ()

    def tools(self) -> Mapping[str, str]:
        return {"tensorrt-rtx": str(module().__version__)} if self.missing() is None else {}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.compile import onnx_io

        onnx_io.write(program.model.clone(), folder / "model.onnx", data_name="model.data")
        (folder / PLAN).write_bytes(_engine(folder / "model.onnx", int(target.fact("sm"))))
        release = str(module().__version__)
        return Built(
            members={PLAN: folder / PLAN},
            requirements=(
                Requirement("arch", "x86_64"),
                Requirement("package", _PACKAGE, release, "exact"),
                Requirement("runtime", "libcuda.so.1"),
            ),
            tools={"tensorrt-rtx": release},
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            reproducible=False,
            notes=("the engine is finished by a just-in-time compilation on the chip",),
        )

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
        from neoc.targets.engines.cuda.driver import Gpu, libcuda
        from neoc.targets.engines.tensorrt.session import TensorRtSession

        return TensorRtSession(bytes(members[PLAN]), signature, Gpu(libcuda()), module())


@cache
def module() -> Any:
    """TensorRT-RTX's Python module. Raises MissingTool."""
    why = ""
    for name in _MODULES:
        try:
            return import_module(name)
        except Exception as error:  # ImportError, or a native library's own
            why = why or " ".join(str(error).split())[:300]
    raise MissingTool("TensorRT-RTX cannot be used here", why=why, fix=_INSTALL)


def _engine(model: Path, sm: int) -> bytes:
    """The serialised engine for one compute capability. Raises UnsupportedModel in the library's words."""
    rtx = module()

    class Said(rtx.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (rtx.ILogger.Severity.ERROR, rtx.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(text)

    said = Said()
    builder = rtx.Builder(said)
    network = builder.create_network(0)
    parser = rtx.OnnxParser(network, said)
    if not parser.parse_from_file(str(model)):
        faults = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise _refused(faults or said.errors)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(rtx.ComputeCapability, f"SM{sm}"), 0)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise _refused(said.errors)
    return bytes(engine)


def _refused(errors: list[str]) -> UnsupportedModel:
    why = " ".join(" ".join(errors).split())[:600] or "it gave no reason"
    return UnsupportedModel("TensorRT-RTX refuses the model", why=why, fix="choose another --engine")
