"""TensorRT: the program's ONNX, checked by the rules of TensorRT's parser, and trtexec where it can build.

A plan is built on the chip that runs it. Elsewhere the artifact holds what builds it there, level `emitted`:

model.onnx (model.data)  the parser's input
build.sh                 the trtexec command
preflight.json           what the rules say of every node
model.plan               the plan, where trtexec made one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    Toolchain,
    Variant,
)
from neoc.compile.errors import UnsupportedModel, WrongDevice
from neoc.targets.devices import cuda_devices
from neoc.targets.engines.tensorrt import tool

if TYPE_CHECKING:
    from neoc.compile.program import Program

MODEL, DATA, SCRIPT, PREFLIGHT = "model.onnx", "model.data", "build.sh", "preflight.json"
PLAN, STANDIN_PLAN = "model.plan", "model.plan.standin"
_PRECISIONS = ("fp32", "bf16")


class TensorRt(Engine):
    name = "tensorrt"

    def missing(self) -> str | None:
        return None  # what it emits needs no tool

    def serves(self, target: Target) -> bool:
        return target.arch == "nvidia" and target.fact("sm") in tool.RELEASES

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.cuda.memory import memory_gaps
        from neoc.targets.engines.tensorrt.preflight import find_gaps

        return (*find_gaps(program, self.name), *memory_gaps(program, target, self.name))

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        if options.precision not in _PRECISIONS or (options.precision == "bf16" and target.fact("sm") < 80):
            return ()
        return (Variant.of(options.precision, precision=options.precision),)

    def analysis(self, program: Program, target: Target) -> Mapping[str, Any]:
        from neoc.targets.engines.tensorrt.preflight import report

        return report(program, self.gaps(program, target))

    def tools(self) -> Mapping[str, str]:
        from neoc.targets.engines.tensorrt.preflight import rules

        return {"tensorrt-rules": rules().tensorrt, **tool.versions()}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.compile import onnx_io
        from neoc.targets.engines.tensorrt.preflight import report, rules

        if gaps := self.gaps(program, target):
            raise UnsupportedModel(f"TensorRT for {target.name} cannot take the model", gaps=gaps, fix="see the gaps")
        onnx_io.write(program.model.clone(), folder / MODEL, data_name=DATA)
        words = tool.flags(program.signature, variant.precision)
        (folder / SCRIPT).write_text(tool.script(target, words))
        (folder / PREFLIGHT).write_text(json.dumps(report(program, ()), indent=1))
        members = {n: folder / n for n in (MODEL, DATA, SCRIPT, PREFLIGHT) if (folder / n).exists()}
        found, toolchain = tool.find_tool(target), Toolchain.NONE
        notes = [f"the model passes neoc's preflight, rules of TensorRT {rules().tensorrt}"]
        if any(not spec.is_static for spec in program.signature.inputs):
            notes.append(f"open dimensions are {':'.join(map(str, tool.OPEN))} in the plan; build.sh can be edited")
        needs = [Requirement("arch", str(target.fact("host_arch")))]
        if found is None:
            notes.append(f"not compiled: {tool.why_none(target)}; build.sh builds the plan there")
        else:
            plan = tool.build_plan(found, words, folder)
            toolchain = Toolchain.STANDIN if tool.seal(plan) else Toolchain.REAL
            name = STANDIN_PLAN if toolchain is Toolchain.STANDIN else PLAN
            members[name] = plan.rename(folder / name)
            if toolchain is Toolchain.REAL:  # it opens in the release that built it, which TensorRT's own guide says
                needs.append(Requirement("package", "tensorrt", found.version, "minor"))
            notes += ["stand-in: an imitation of trtexec was used; the artifact holds no plan"] * (name == STANDIN_PLAN)
        return Built(
            members=members,
            requirements=tuple(needs),
            tools={**self.tools(), **({tool.PROGRAM: found.version} if found else {})},
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            toolchain=toolchain,
            reproducible=toolchain is not Toolchain.REAL,
            notes=tuple(notes),
        )

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if STANDIN_PLAN in members:
            from neoc.targets.engines.cuda.standin import open_standin

            return open_standin(members[STANDIN_PLAN], signature)
        if PLAN not in members:
            raise WrongDevice(
                "the artifact holds no plan for the GPU",
                why="it was made where trtexec could not build one: it holds the ONNX and the script that builds it",
                fix="`neoc export` it on a machine with the GPU and TensorRT, run build.sh there, or compile there",
            )
        if not cuda_devices():
            raise WrongDevice("the artifact is for an NVIDIA GPU, and this machine has none")
        from neoc.targets.engines.cuda.driver import Gpu, libcuda
        from neoc.targets.engines.tensorrt.session import TensorRtSession, runtime

        return TensorRtSession(bytes(members[PLAN]), signature, Gpu(libcuda()), runtime())
