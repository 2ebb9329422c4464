"""OpenVINO on the CPU: the program as OpenVINO IR (model.xml, model.bin), compiled for the machine when it is opened.

A session binds its inputs to buffers of its own once and copies feeds into them, which on small models takes half the
time of handing arrays over on every call. What the plugin would compute in fewer bits than the program says is a gap
(`openvino_gaps.py`) or, for int64 feeds beyond 32 bits, an error at run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
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
    TensorSpec,
    Variant,
    dtype_of,
)
from neoc.compile.errors import FeedError, MissingTool, UnsupportedModel, WrongDevice
from neoc.targets.engines.nodes import domain_of, label, where_of
from neoc.targets.engines.tensors import ELEMENT_TYPES, PACKED_BITS, chosen, closed, feed_check, pack, unpack

if TYPE_CHECKING:
    from neoc.compile.program import Program

GRAPH, WEIGHTS = "model.xml", "model.bin"
INSTALL = "pip install 'neoc[openvino]'"
BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16"})
"""without one of them OpenVINO computes a bf16 model in float32"""

_OPTION = "openvino."
"""prefix of --option keys that become properties of the compiled model"""
_PROPERTY = "open.property."

_TYPES = {
    "bfloat16": "bf16",
    "float8_e4m3fn": "f8e4m3",
    "float8_e5m2": "f8e5m2",
    "float8_e8m0fnu": "f8e8m0",
    "float4_e2m1fn": "f4e2m1",
    "int4": "i4",
    "uint4": "u4",
}
"""dtypes that numpy lacks -> attribute of openvino.Type"""


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
        rows = [("latency", options.threads, "LATENCY")]
        if options.threads > 1:
            rows += [("throughput", options.threads, "THROUGHPUT"), ("1thread", 1, "LATENCY")]
        suffix = "" if options.precision == "fp32" else f"-{options.precision}"
        return tuple(
            Variant.of(name + suffix, threads=threads, precision=options.precision, **properties, **{"open.hint": hint})
            for name, threads, hint in rows
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
            openvino.serialize(model, folder / GRAPH, folder / WEIGHTS)
            del model
            core.compile_model(core.read_model(folder / GRAPH), "CPU", _properties(variant, 1))
        except RuntimeError as error:
            raise _unsupported(str(error), program) from error
        finally:
            for path in (source, folder / "source.data"):
                path.unlink(missing_ok=True)
        members = {GRAPH: folder / GRAPH}
        if (folder / WEIGHTS).stat().st_size:
            members[WEIGHTS] = folder / WEIGHTS
        count = sum(1 for _ in program.nodes())
        needs = Requirement("package", "openvino", _version(), "minor")
        notes = ("int64 is computed in 32 bits: feeds beyond them are refused",) * any(
            spec.dtype == "int64" for spec in program.signature.inputs
        )
        return Built(members, (needs,), self.tools(), Placement(((self.name, count),)), notes=notes)

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
        weights = np.frombuffer(members.get(WEIGHTS, b""), np.uint8)
        try:
            # The model's constants lie in `weights`, uncopied; what the plugin repacks it keeps itself.
            tensor = openvino.Tensor(weights, weights.shape, openvino.Type.u8)
            model = core.read_model(str(bytes(members[GRAPH]), "utf-8"), tensor)
            compile_ = _Compiler(core, model, _properties(variant, threads))
            return OvSession(compile_, signature, keep=(weights, members))
        except RuntimeError as error:
            raise _unsupported(str(error), None) from error


@cache
def _version() -> str:
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def _properties(variant: Variant, threads: int) -> dict[str, str]:
    own = {k.removeprefix(_PROPERTY): str(v) for k, v in variant.options if k.startswith(_PROPERTY)}
    return {
        "PERFORMANCE_HINT": variant.get("open.hint", "LATENCY"),
        "INFERENCE_NUM_THREADS": str(threads),
        # Never left to the plugin, which takes bf16 by itself where the CPU has it.
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[variant.precision],
    } | own


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
        if spec.dtype in _TYPES:
            same = port.element_type.get_type_name() == _TYPES[spec.dtype]
        else:
            same = port.element_type.to_dtype() == dtype_of(spec.dtype)
        if not same or spec.name not in port.names:
            found = f"{', '.join(sorted(port.names))} ({port.element_type.get_type_name()})"
            gaps.append(Gap("openvino", spec.name, "", f"output {spec} came out as {found}"))
    if gaps:
        raise UnsupportedModel("openvino changes the outputs", gaps=gaps, why="; ".join(g.reason for g in gaps))


def _unsupported(message: str, program: Program | None) -> UnsupportedModel:
    """The front end's report as gaps, one a node that it could not convert, or one gap in its own words."""
    reasons = _reasons(message)
    gaps = []
    for node in program.nodes() if program is not None else ():
        domain = domain_of(node.domain)
        name = f"{domain}.{node.op_type}" if domain else node.op_type
        culprit, reason = reasons.get(name, ("", ""))
        if reason and culprit in ("", node.name, *(v.name for v in node.outputs)):
            gaps.append(Gap("openvino", label(node), name, reason, where_of(node)))
    words = " ".join(_last_sentences(message).split())[:600]
    gaps = gaps or [Gap("openvino", "", "", words)]
    why = "; ".join(dict.fromkeys(f"{g.operator}: {g.reason}" if g.operator else g.reason for g in gaps))
    return UnsupportedModel("openvino cannot take the model", gaps=gaps, why=why[:1000])


def _reasons(message: str) -> dict[str, tuple[str, str]]:
    """Operator -> (the node or output named, '' for every node of the kind; the reason), from the front end's list."""
    found: dict[str, tuple[str, str]] = {}
    for part in re.split(r"\n(?=-- |Summary:)", message):
        if rule := re.match(r"-- No conversion rule found for operations: (.*)", part):
            found |= {_plain(name): ("", "there is no conversion rule for it") for name in rule[1].split(", ")}
        elif one := re.match(r"-- (\S+) with a message:\n(.*)", part, re.DOTALL):
            node = re.search(r"ONNX node '<Node\([^)]*\): ([^>]*)>'", one[2])
            found[_plain(one[1])] = (node[1] if node else "", " ".join(_last_sentences(one[2]).split())[:300])
    return found


def _plain(name: str) -> str:
    """'Conv-16' -> 'Conv'."""
    return re.sub(r"-\d+$", "", name.strip())


def _last_sentences(message: str) -> str:
    """The message without the source lines that OpenVINO puts before its reasons."""
    lines = [line for line in message.strip().splitlines() if not re.match(r"(Exception from|Check ').*:\d+:?$", line)]
    return "\n".join(line for line in lines if not line.startswith("FrontEnd API failed")) or message


# ---- sessions --------------------------------------------------------------------------------


class _Compiler:
    """Compiles the whole model, or the part of it that some outputs need."""

    def __init__(self, core: Any, model: Any, properties: Mapping[str, str]) -> None:
        self._core, self._model, self._properties = core, model, properties

    def __call__(self, outputs: Sequence[int] | None = None) -> Any:
        import openvino

        model = self._model
        if outputs is not None:
            model = openvino.Model([model.output(i) for i in outputs], model.get_parameters(), model.friendly_name)
        return self._core.compile_model(model, "CPU", dict(self._properties))


class OvSession(Session):
    """Any number of threads may call `run`; `concurrency` of them are served at once, the others wait inside OpenVINO.

    A subset of outputs is served by a model of its own, compiled when it is first asked for.
    """

    def __init__(self, compiler: _Compiler, signature: Signature, keep: object) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check = feed_check(self.inputs)
        self._wide = [spec.name for spec in self.inputs if spec.dtype == "int64"]
        self._compiler, self._keep = compiler, keep
        self._names = [spec.name for spec in self.outputs]
        self._whole = _Part(compiler(), self.inputs, self.outputs)
        self._parts: dict[tuple[str, ...], _Part] = {}
        self.concurrency = self._whole.concurrency

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check(feeds)
        for name in self._wide:
            _refuse_wide(name, feeds[name])
        if outputs is None:
            return self._whole.run(feeds)
        names = chosen(outputs, self._names)
        return self._part(names).run(feeds) if names else {}

    def _part(self, names: Sequence[str]) -> _Part:
        key = tuple(sorted(set(names)))
        if len(key) == len(self._names):
            return self._whole
        part = self._parts.get(key)
        if part is None:
            indices = [i for i, name in enumerate(self._names) if name in key]
            part = _Part(self._compiler(indices), self.inputs, [self.outputs[i] for i in indices])
            self._parts[key] = part
        return part

    def close(self) -> None:
        self._check = closed
        self._parts.clear()
        for name in ("_whole", "_compiler", "_keep"):
            self.__dict__.pop(name, None)


class _Part:
    """A compiled model and its idle requests: a call takes one, or makes one, so that no two calls share buffers."""

    def __init__(self, compiled: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._compiled = compiled
        ports = {port.get_node().friendly_name: i for i, port in enumerate(compiled.inputs)}
        # An input that nothing uses is dropped by the compiler.
        self._inputs = [(ports[spec.name], spec) for spec in inputs if spec.name in ports]
        self._outputs = list(outputs)
        self.concurrency = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._idle = [_Request(compiled, self._inputs, self._outputs)]

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = _Request(self._compiled, self._inputs, self._outputs)
        try:
            return request.run(feeds)
        except RuntimeError as error:
            raise FeedError(
                "openvino rejects these feeds",
                why=" ".join(_last_sentences(str(error)).split())[:600],
                fix="feed values and sizes that the model accepts",
            ) from error
        finally:
            self._idle.append(request)


class _Request:
    """One inference request, its inputs bound to buffers that feeds are copied into."""

    def __init__(self, compiled: Any, inputs: Sequence[tuple[int, TensorSpec]], outputs: Sequence[TensorSpec]) -> None:
        from openvino._pyopenvino import InferRequest

        self._request = compiled.create_infer_request()
        self._bound = [_Bound(self._request, index, spec) for index, spec in inputs]
        # The base class: the public wrapper prepares feeds and results anew on every call.
        self._infer: Callable[..., Any] = InferRequest.infer
        self._names = [spec.name for spec in outputs]
        self._raw = [(i, spec) for i, spec in enumerate(outputs) if spec.dtype in ELEMENT_TYPES]

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        for bound in self._bound:
            bound.take(feeds[bound.name])
        if self._raw:
            return self._run_raw()
        views = self._infer(self._request, {}, True, True).values()
        return {name: view.copy() for name, view in zip(self._names, views, strict=True)}

    def _run_raw(self) -> dict[str, np.ndarray]:
        self._request.start_async()  # the synchronous call turns every output into an array, which these types are not
        self._request.wait()
        results = {name: self._request.get_output_tensor(i) for i, name in enumerate(self._names)}
        exotic = {spec.name: spec.dtype for _, spec in self._raw}
        return {
            name: unpack(_bytes(tensor), exotic[name], list(tensor.shape)) if name in exotic else tensor.data.copy()
            for name, tensor in results.items()
        }


def _bytes(tensor: Any) -> np.ndarray:
    """What lies in an output tensor. `data` is a view of another dtype where numpy has none of that kind."""
    flat: np.ndarray = tensor.data.reshape(-1)
    return flat.view(np.uint8)


class _Bound:
    """One input: a buffer of the size of the last feed, shared with the request."""

    def __init__(self, request: Any, index: int, spec: TensorSpec) -> None:
        self.name = spec.name
        self._request, self._index, self._dtype = request, index, spec.dtype
        self._buffer: np.ndarray | None = None
        self._shape: tuple[int, ...] | None = None

    def take(self, array: np.ndarray) -> None:
        if array.shape != self._shape:
            self._bind(array)
        source = pack(array) if self._dtype in PACKED_BITS else array
        np.copyto(self._buffer, source)  # type: ignore[arg-type]

    def _bind(self, array: np.ndarray) -> None:
        import openvino

        if self._dtype in PACKED_BITS:
            self._buffer = raw = np.empty(-(-array.size * PACKED_BITS[self._dtype] // 8), np.uint8)
        else:
            self._buffer = np.empty(array.shape, dtype_of(self._dtype))
            raw = self._buffer.reshape(-1).view(np.uint8)
        kind = _TYPES.get(self._dtype)
        element = openvino.Type(dtype_of(self._dtype)) if kind is None else getattr(openvino.Type, kind)
        self._request.set_input_tensor(self._index, openvino.Tensor(raw, list(array.shape), element))
        self._shape = array.shape


def _refuse_wide(name: str, array: np.ndarray) -> None:
    """Raises FeedError where an int64 feed does not fit the 32 bits in which the plugin computes."""
    if array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
        raise FeedError(
            "openvino cannot take these values",
            where=f"input {name!r}",
            why="its CPU plugin computes int64 in 32 bits, and a value is beyond them",
            fix="compile with --engine onnxruntime for such values",
        )
