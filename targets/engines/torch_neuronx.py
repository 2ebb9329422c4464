"""AWS's torch_neuronx for PyTorch sources, where the package is really there: trace, save, load.

Source: AWS Neuron documentation 2.32, PyTorch NeuronX Tracing API for Inference. The package was never available here;
the engine is tested against a module with the documented signatures. On the public index it is a placeholder that
installs and raises when it is imported: so it is found by importing it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    FeedCheck,
    Feeds,
    Gap,
    Placement,
    Session,
    Signature,
    Target,
    Toolchain,
    Variant,
    dtype_of,
)
from neoc.compile.errors import MissingTool, WorkerRefused, WrongDevice
from neoc.compile.settings import Settings
from neoc.targets import standins
from neoc.targets.devices import neuron_devices

if TYPE_CHECKING:
    from neoc.compile.program import Program

MODEL, STANDIN_MODEL = "model.pt", "model.pt.standin"
_CASTS = {"fp32": "none", "bf16": "matmult"}


class TorchNeuronx(Engine):
    name = "torch-neuronx"
    opt_in = True
    """the op table serves every source; this one is for who asks for it"""

    @property
    def runtime_interpreter(self) -> str | None:  # type: ignore[override]
        return Settings.read().neuron_python or None

    def missing(self) -> str | None:
        return _lacking()

    def serves(self, target: Target) -> bool:
        return target.arch == "neuron" and bool(target.fact("compiler_target"))

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        gaps = []
        if program.source is None or program.source.format != "torch-export":
            gaps.append(Gap(self.name, "", "", "only programs of torch.export (.pt2) can be traced"))
        gaps += [
            Gap(
                self.name, spec.name, "", f"input {spec} is not static", suggestion=f"bind it with --input {spec.name}="
            )
            for spec in program.signature.inputs
            if not spec.is_static
        ]
        return tuple(gaps)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        if options.precision not in _CASTS:
            return ()
        return (Variant.of(options.precision, precision=options.precision, auto_cast=_CASTS[options.precision]),)

    def tools(self) -> Mapping[str, str]:
        return {} if _lacking() else {"torch_neuronx": str(import_module("torch_neuronx").__version__)}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        """Trace the exported program with inputs of zeros; on a machine without a chip by `cpu_backend`."""
        import torch

        torch_neuronx = import_module("torch_neuronx")
        assert program.source is not None
        module = torch.export.load(program.source.path).module()
        example = tuple(_tensor(np.zeros(s.shape or (), dtype_of(s.dtype))) for s in program.signature.inputs)  # type: ignore[arg-type]
        words = ["--target", str(target.fact("compiler_target")), "--auto-cast", str(variant.get("auto_cast", "none"))]
        traced = torch_neuronx.trace(
            module,
            example,
            compiler_workdir=str(folder / "work"),
            compiler_args=words,
            cpu_backend=not neuron_devices(),
        )
        standin = standins.is_standin(torch_neuronx)
        name = STANDIN_MODEL if standin else MODEL
        torch.jit.save(traced, str(folder / name))
        return Built(
            {name: folder / name},
            (),
            self.tools(),
            Placement(((self.name, sum(1 for _ in program.nodes())),)),
            toolchain=Toolchain.STANDIN if standin else Toolchain.REAL,
            reproducible=False,
            notes=("stand-in: an imitation of torch_neuronx was used; nothing was compiled",) * standin,
        )

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        standin = STANDIN_MODEL in members
        if standin and not standins.allowed():
            raise WrongDevice("the artifact was made by a stand-in of torch_neuronx", fix="compile the model anew")
        if not standin and not neuron_devices():
            raise WrongDevice("the artifact is for an AWS Neuron device, and this machine has none")
        if lacking := _lacking():
            raise MissingTool("torch_neuronx cannot be used here", why=lacking)
        if standins.is_standin(import_module("torch_neuronx")) != standin:
            raise MissingTool("the program and torch_neuronx do not belong together: one of them is a stand-in")
        return _TorchSession(bytes(members[STANDIN_MODEL if standin else MODEL]), signature, standin)


class _TorchSession(Session):
    def __init__(self, data: bytes, signature: Signature, standin: bool) -> None:
        import torch

        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.stamp = "stand-in: no Neuron device was used" if standin else ""
        self._check = FeedCheck(self.inputs)
        self._torch = torch
        self._module: Any = torch.jit.load(io.BytesIO(data))  # type: ignore[no-untyped-call]

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        if self._module is None:
            raise WorkerRefused("running was not tried", why="the session was closed")
        with self._torch.no_grad():
            found = self._module(*(_tensor(feeds[spec.name]) for spec in self.inputs))
        values = list(found) if isinstance(found, tuple | list) else [found]
        named = {spec.name: np.array(v.numpy()) for spec, v in zip(self.outputs, values, strict=True)}
        return named if outputs is None else {name: named[name] for name in outputs}

    def close(self) -> None:
        self._module = None


def _tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.array(array, order="C"))


@cache
def _imported() -> str:
    """Why the package cannot be used; '' where it can."""
    if find_spec("torch_neuronx") is None:
        return "torch_neuronx is not installed; it comes from AWS's own package repository"
    try:
        module = import_module("torch_neuronx")
    except Exception as error:  # the placeholder's ImportError, or a native library's own
        return f"torch_neuronx is installed and cannot be imported: {' '.join(str(error).split())[:200]}"
    version = str(getattr(module, "__version__", ""))
    return f"torch_neuronx {version or 'without a version'} is a placeholder" if version[:3] in ("", "1.0") else ""


def _lacking() -> str | None:
    return _imported() or None
