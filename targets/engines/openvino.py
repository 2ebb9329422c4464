"""OpenVINO on the CPU: the program as OpenVINO IR (model.xml, model.bin), compiled for the machine when it is opened.

A session binds its inputs to buffers of its own once and copies feeds into them, which on small models takes half the
time of handing arrays over on every call. What the plugin would compute in fewer bits than the program says is a gap
(`openvino_gaps.py`) or, for int64 feeds beyond 32 bits, an error at run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Feeds,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
    dtype_of,
)
from neoc.compile.errors import MissingTool, UnsupportedModel, WrongDevice
from neoc.targets.engines.openvino_errors import unsupported
from neoc.targets.engines.openvino_session import TYPES, Compiler, Importer, OvSession
from neoc.targets.host import detect, is_this_machine
from neoc.targets.requirements import installed

if TYPE_CHECKING:
    from neoc.compile.program import Program

GRAPH, WEIGHTS = "model.xml", "model.bin"
BLOB, FACTS = "model.blob", "blob.json"
"""the plugin's compiled form, and whether any shape in it is only known at run"""
INSTALL = "pip install 'neoc[openvino]'"
BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16"})
"""without one of them OpenVINO computes a bf16 model in float32"""

_OPTION = "openvino."
"""prefix of --option keys that become properties of the compiled model"""
_PROPERTY = "open.property."


class OpenVino(Engine):
    name = "openvino"

    def missing(self) -> str | None:
        return None if _version() else f"the package openvino is not installed; {INSTALL}"

    def serves(self, target: Target) -> bool:
        return target.arch == "x86_64"

    def tools(self) -> Mapping[str, str]:
        return {"openvino": _version(), "onnx_ir": version("onnx_ir")} if _version() else {}

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines import openvino_gaps

        return openvino_gaps.gaps(program)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        """The latency hint, and with several threads the throughput hint and one thread alone. Streams, pinning and the
        other properties were within noise of these and are left to --option."""
        if options.precision not in ("fp32", "bf16"):
            return ()
        if options.precision == "bf16" and not BF16_FEATURES & target.features:
            return ()
        properties = {_PROPERTY + k.removeprefix(_OPTION): v for k, v in options.pairs if k.startswith(_OPTION)}
        rows: list[tuple[str, int, dict[str, Any]]] = [("latency", options.threads, {"open.hint": "LATENCY"})]
        if options.optimize == "cold-start":
            if is_this_machine(target):  # what a blob was compiled with, its build depends on
                facts = ";".join(f"{key}={value}" for key, value in sorted(properties.items()))
                compiled = {"form": "blob", "compiled": f"threads={options.threads};{facts}"}
                rows.insert(0, ("blob", options.threads, compiled | {"open.hint": "LATENCY"}))
        elif options.threads > 1:
            rows += [("throughput", options.threads, {"open.hint": "THROUGHPUT"})]
            rows += [("1thread", 1, {"open.hint": "LATENCY"})]
        suffix = "" if options.precision == "fp32" else f"-{options.precision}"
        return tuple(
            Variant.of(name + suffix, threads=threads, precision=options.precision, **properties, **knobs)
            for name, threads, knobs in rows
        )

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        """Convert to IR and compile once. Raises UnsupportedModel with every node that could not be converted."""
        import openvino

        from neoc.compile import onnx_io

        source = folder / "source.onnx"
        onnx_io.write(program.model, source, data_name="source.data")
        core = openvino.Core()
        try:
            model = core.read_model(source)
            _name_inputs(model, program.signature)
            _check_outputs(model, program.signature)
            if variant.get("form") == "blob":
                return self._build_blob(core, model, program, variant, folder)
            openvino.serialize(model, folder / GRAPH, folder / WEIGHTS)
            del model
            core.compile_model(core.read_model(folder / GRAPH), "CPU", _properties(variant, 1))
        except RuntimeError as error:
            raise unsupported(str(error), program) from error
        finally:
            for path in (source, folder / "source.data"):
                path.unlink(missing_ok=True)
        members = {GRAPH: folder / GRAPH}
        if (folder / WEIGHTS).stat().st_size:
            members[WEIGHTS] = folder / WEIGHTS
        needs = Requirement("package", "openvino", _version(), "minor")
        return Built(members, (needs,), self.tools(), self._placed(program), notes=_notes(program))

    def _build_blob(self, core: Any, model: Any, program: Program, variant: Variant, folder: Path) -> Built:
        """What the plugin made of the model for this CPU, which `import_model` takes up again."""
        compiled = core.compile_model(model, "CPU", _properties(variant, variant.threads))
        (folder / BLOB).write_bytes(compiled.export_model().getvalue())
        (folder / FACTS).write_text(json.dumps({"dynamic": bool(model.is_dynamic())}))
        needs = (
            Requirement("package", "openvino", _version(), "exact"),
            Requirement("cpu", detect().cpu_key),
        )
        members = {BLOB: folder / BLOB, FACTS: folder / FACTS}
        notes = (*_notes(program), "OpenVINO numbers some layers of a blob differently from build to build")
        return Built(
            members,
            needs,
            self.tools(),
            self._placed(program),
            reproducible=False,
            notes=notes,
            mapped=(BLOB,),
        )

    def _placed(self, program: Program) -> Placement:
        return Placement(((self.name, sum(1 for _ in program.nodes())),))

    def plain_call(self, source: Path, threads: int) -> Callable[[Feeds], object]:
        import openvino

        properties = _properties(Variant.of("latency"), threads)
        compiled: Callable[[Feeds], object] = openvino.Core().compile_model(source, "CPU", properties)
        return compiled

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if device not in (None, "cpu"):
            raise WrongDevice(f"this artifact was built for the CPU, not for {device!r}", fix="leave the device out")
        if not _version():
            raise MissingTool("openvino is not installed", fix=INSTALL)
        import openvino

        core = openvino.Core()
        if BLOB in members:
            dynamic = bool(json.loads(bytes(members[FACTS]))["dynamic"])
            blob = np.frombuffer(members[BLOB], np.uint8)  # `open_mapped` gives a mapping here: pages of the artifact
            try:
                importer = Importer(core, blob, _properties(variant, threads), dynamic)
                return OvSession(importer, signature, keep=(blob, members))
            except RuntimeError as error:
                raise unsupported(str(error), None) from error
        weights = np.frombuffer(members.get(WEIGHTS, b""), np.uint8)
        try:
            # The model's constants lie in `weights`, uncopied; what the plugin repacks it keeps itself.
            tensor = openvino.Tensor(weights, weights.shape, openvino.Type.u8)
            model = core.read_model(str(bytes(members[GRAPH]), "utf-8"), tensor)
            compile_ = Compiler(core, model, _properties(variant, threads))
            return OvSession(compile_, signature, keep=(weights, members))
        except RuntimeError as error:
            raise unsupported(str(error), None) from error


@cache
def _version() -> str:
    return installed("openvino") or ""


def _properties(variant: Variant, threads: int) -> dict[str, str]:
    own = {k.removeprefix(_PROPERTY): str(v) for k, v in variant.options if k.startswith(_PROPERTY)}
    return {
        "PERFORMANCE_HINT": variant.get("open.hint", "LATENCY"),
        "INFERENCE_NUM_THREADS": str(threads),
        # Never left to the plugin, which takes bf16 by itself where the CPU has it.
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[variant.precision],
    } | own


def _notes(program: Program) -> tuple[str, ...]:
    wide = any(spec.dtype == "int64" for spec in program.signature.inputs)
    return ("int64 is computed in 32 bits: feeds beyond them are refused",) * wide


# ---- building --------------------------------------------------------------------------------


def _name_inputs(model: Any, signature: Signature) -> None:
    """Give every parameter the name of its input, by which a session finds it.

    The front end drops inputs that nothing uses, and one that is passed through to an output takes the output's
    name. The order stays, so such a one is told by its place; where that is not certain the model is refused.
    Raises UnsupportedModel.
    """
    names = [spec.name for spec in signature.inputs]
    parameters = model.get_parameters()
    known = {p.friendly_name: i for i, p in enumerate(parameters)}
    for index, parameter in enumerate(parameters):
        if parameter.friendly_name in names:
            continue
        before = [n for n in names if n in known and known[n] < index]
        after = [n for n in names if n in known and known[n] > index]
        first = names.index(before[-1]) + 1 if before else 0
        last = names.index(after[0]) if after else len(names)
        places = [n for n in names[first:last] if n not in known]
        if len(places) != 1:
            reason = f"output {parameter.friendly_name!r} is an input passed through, which it renames"
            gap = Gap("openvino", parameter.friendly_name, "", reason, suggestion="leave that output out")
            raise UnsupportedModel("openvino cannot tell the inputs apart", gaps=(gap,), why=reason)
        parameter.set_friendly_name(places[0])


def _check_outputs(model: Any, signature: Signature) -> None:
    """Every output must come out under its name and with its dtype. Raises UnsupportedModel."""
    gaps = []
    for port, spec in zip(model.outputs, signature.outputs, strict=True):
        if spec.dtype in TYPES:
            same = port.element_type.get_type_name() == TYPES[spec.dtype]
        else:
            same = port.element_type.to_dtype() == dtype_of(spec.dtype)
        if not same or spec.name not in port.names:
            found = f"{', '.join(sorted(port.names))} ({port.element_type.get_type_name()})"
            gaps.append(Gap("openvino", spec.name, "", f"output {spec} came out as {found}"))
    if gaps:
        raise UnsupportedModel("openvino changes the outputs", gaps=gaps, why="; ".join(g.reason for g in gaps))
