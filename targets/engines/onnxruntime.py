"""onnxruntime on the CPU: the program's ONNX as it is, optimised when it is opened.

The artifact holds plain ONNX, so every variant of a program shares one build; what differs (optimisation level, arena,
spinning) is decided at open. onnxruntime picks its kernels by CPUID, and its MLAS kernels cannot be capped.
"""

from __future__ import annotations

import ctypes
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.binding import Binding, Buffers, unbound
from neoc.compile.contracts import (
    Built,
    EngineOptions,
    Feeds,
    Gap,
    Place,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
    dtype_of,
)
from neoc.compile.errors import FeedError, MissingTool, UnsupportedModel, WrongDevice
from neoc.targets.emulation import Emulated
from neoc.targets.engines import onnxruntime_mapped
from neoc.targets.engines.tensors import ELEMENT_TYPES, PACKED_BITS, chosen, closed, feed_check, pack, unpack
from neoc.targets.host import detect, is_this_machine, machine
from neoc.targets.requirements import installed

if TYPE_CHECKING:
    from neoc.compile.program import Program

MODEL, DATA = "model.onnx", "model.data"
"""members: the graph; tensors over 1 MiB, if there are any"""

INSTALL = "pip install onnxruntime"
_ARCHITECTURES = ("x86_64", "aarch64")
"""those that onnxruntime publishes Linux wheels for"""
_CONFIG = "open.config."
_OPTION = "onnxruntime."
"""prefix of --option keys that go into the session's configuration"""


class OnnxRuntime(Emulated):
    name = "onnxruntime"
    oracle = True

    def missing(self) -> str | None:
        return None if _version() else f"the package onnxruntime is not installed; {INSTALL}"

    def serves(self, target: Target) -> bool:
        return target.arch in _ARCHITECTURES

    def guest_packages(self, target: Target) -> Sequence[str]:
        return ("onnxruntime",)

    def tools(self) -> Mapping[str, str]:
        return {"onnxruntime": _version(), "onnx_ir": version("onnx_ir")} if _version() else {}

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        if not _version():
            return ()  # `missing` says so; what its kernels are only the installed build knows
        from neoc.targets.engines import onnxruntime_gaps

        return onnxruntime_gaps.gaps(program)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        """Optimisation level (EXTENDED keeps NCHW where ALL blocks the layout), arena, and with several threads
        spinning and one thread alone, which wins on small graphs. Parallel execution mode was never faster."""
        if options.precision != "fp32":
            return ()
        config = {_CONFIG + k.removeprefix(_OPTION): v for k, v in options.pairs if k.startswith(_OPTION)}
        rows: list[tuple[str, int, dict[str, Any]]] = [("default", options.threads, {})]
        if target.arch != machine():  # nothing is raced there: the default is what onnxruntime's own users have
            return (Variant.of("default", threads=options.threads, **config),)
        if options.optimize == "cold-start":
            return self._mapped_variants(target, options.threads, config)
        rows += [
            ("extended", options.threads, {"level": "extended"}),
            ("basic", options.threads, {"level": "basic"}),
            ("noarena", options.threads, {"arena": False}),
        ]
        if options.threads > 1:
            rows += [("nospin", options.threads, {"spinning": False}), ("1thread", 1, {})]
        return tuple(
            Variant.of(name, threads=threads, **config, **{f"open.{k}": v for k, v in knobs.items()})
            for name, threads, knobs in rows
        )

    def _mapped_variants(self, target: Target, threads: int, config: Mapping[str, Any]) -> tuple[Variant, ...]:
        """The optimised graph with mapped weights, packed while they load, in the file, or never; and the plain form.

        What is optimised beyond EXTENDED is laid out for the CPU that did it: only made for that CPU itself.
        """
        rows: list[tuple[str, dict[str, Any]]] = [
            ("mapped", {"form": "separate", "level": "all", "open.pack": False}),
            ("mapped-packed", {"form": "packed", "level": "all"}),
            ("mapped-extended", {"form": "separate", "level": "extended", "open.pack": False}),
            ("default", {}),
        ]
        kept = [row for row in rows if is_this_machine(target) or row[1].get("level") != "all"]
        return tuple(Variant.of(name, threads=threads, **config, **knobs) for name, knobs in kept)

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        """Write the members and load them once, so that what cannot be loaded is known. Raises UnsupportedModel."""
        from onnx_ir.passes.common import LiftSubgraphInitializersToMainGraphPass

        from neoc.compile import onnx_io

        model = program.model.clone()
        # From memory onnxruntime takes the data of the main graph's tensors only, not of those in a body.
        LiftSubgraphInitializersToMainGraphPass()(model)
        onnx_io.write(model, folder / MODEL, data_name=DATA)
        members = {name: folder / name for name in (MODEL, DATA) if (folder / name).exists()}
        placement = Placement(((self.name, sum(1 for _ in program.nodes())),))
        if variant.get("form") is not None:
            return self._build_mapped(variant, folder, members, placement)
        _load(str(folder / MODEL), session_options(1, {"open.level": "disabled"}))
        # What was proven for another architecture holds for the very version that it was proven with.
        needs = Requirement("package", "onnxruntime", _version(), "minor" if target.arch == machine() else "exact")
        return Built(members, (needs,), self.tools(), placement)

    def _build_mapped(self, variant: Variant, folder: Path, source: Mapping[str, Path], placement: Placement) -> Built:
        level = variant.get("level")
        options = session_options(1, {"open.level": level})
        try:
            made = onnxruntime_mapped.write(folder / MODEL, folder, options, variant.get("form") == "packed")
        except failures() as error:
            raise unsupported(str(error)) from error
        for path in source.values():
            path.unlink()
        needs = [Requirement("package", "onnxruntime", _version(), "exact")]
        if level == "all" or variant.get("form") == "packed":
            needs.append(Requirement("cpu", detect().cpu_key))
        mapped = tuple(name for name in made if name == onnxruntime_mapped.WEIGHTS)
        return Built(made, tuple(needs), self.tools(), placement, mapped=mapped)

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        _admit(device)
        if onnxruntime_mapped.GRAPH in members:
            with tempfile.TemporaryDirectory(prefix="neoc-ort-") as scratch:  # what was mapped outlives its name
                places = {}
                for name in members.keys() - {onnxruntime_mapped.GRAPH}:
                    Path(scratch, name).write_bytes(members[name])
                    places[name] = Place(Path(scratch, name), 0, members[name].nbytes)
                return self.open_mapped(members, places, signature, variant, threads, device)
        options = session_options(threads, dict(variant.options))
        if DATA in members:  # onnxruntime copies what it needs while it loads; no file is read beside the members
            options.add_external_initializers_from_files_in_memory([DATA], [members[DATA]], [members[DATA].nbytes])
        return session_of(_load(bytes(members[MODEL]), options), signature)

    def open_mapped(
        self,
        members: Mapping[str, memoryview],
        places: Mapping[str, Place],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if onnxruntime_mapped.GRAPH not in members:
            return self.open(members, signature, variant, threads, device)
        _admit(device)
        options = session_options(threads, dict(variant.options) | {"open.level": "disabled"})
        graph = bytes(members[onnxruntime_mapped.GRAPH])
        place = places.get(onnxruntime_mapped.WEIGHTS)
        if place is not None:
            graph = onnxruntime_mapped.located(graph, place.path, place.offset, options)
        return session_of(_load(graph, options), signature)

    def plain_call(self, source: Path, threads: int) -> Callable[[Feeds], object]:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda feeds: session.run(names, feeds)

    def open_source(self, source: Path, signature: Signature) -> Session:
        return session_of(_load(str(source), session_options(1, {"open.level": "disabled"})), signature)


@cache
def _version() -> str:
    """Of the installed distribution, '' where there is none. onnxruntime-gpu and others bring the same module."""
    return installed("onnxruntime") or ""


def _admit(device: str | None) -> None:
    """Raises WrongDevice, MissingTool."""
    if device not in (None, "cpu"):
        raise WrongDevice(f"onnxruntime was built for the CPU, not for {device!r}", fix="leave the device out")
    if not _version():
        raise MissingTool("onnxruntime is not installed", fix=INSTALL)


# ---- loading ---------------------------------------------------------------------------------


def session_options(threads: int, knobs: Mapping[str, Any]) -> Any:
    """onnxruntime's SessionOptions for so many threads; `knobs`: a variant's options, of opening as `open.NAME`."""
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; standard error stays the user's
    options.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "basic": levels.ORT_ENABLE_BASIC,
        "disabled": levels.ORT_DISABLE_ALL,
    }[knobs.get("open.level", "all")]
    if not knobs.get("open.arena", True):
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    if not knobs.get("open.pack", True):
        options.add_session_config_entry("session.disable_prepacking", "1")
    if not knobs.get("open.spinning", True):
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for key, value in knobs.items():
        if key.startswith(_CONFIG):
            options.add_session_config_entry(key.removeprefix(_CONFIG), str(value))
    return options


def _load(model: str | bytes, options: Any) -> Any:
    """A session of a path or of bytes. Raises UnsupportedModel."""
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except failures() as error:
        raise unsupported(str(error)) from error
    session._model_bytes = None  # it keeps a second copy, for providers that fall back
    return session


@cache
def failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: its own classes, each a plain Exception, and its binding's RuntimeError, ValueError."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    own = [value for value in vars(native).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*own, RuntimeError, ValueError)


def unsupported(message: str) -> UnsupportedModel:
    """The refusal in onnxruntime's words, the node taken out of them where they name one."""
    found = re.search(r"(?:for|of) (?:Op )?([\w.]+)\((\d+)\)[^']*'([^']*)'", message)
    operator, node = (found[1], found[3]) if found else ("", "")
    words = " ".join(re.sub(r"\[ONNXRuntimeError\] : \d+ : |/onnxruntime_src/\S+ ", "", message).split())[:600]
    gap = Gap("onnxruntime", node, operator, words)
    return UnsupportedModel("onnxruntime cannot load the model", gaps=(gap,), where=node, why=words)


# ---- sessions --------------------------------------------------------------------------------


def session_of(session: Any, signature: Signature) -> Session:
    """neoc's session around an InferenceSession, by values where a dtype has no numpy array."""
    exotic = any(spec.dtype in ELEMENT_TYPES for spec in (*signature.inputs, *signature.outputs))
    return (_ValueSession if exotic else OrtSession)(session, signature)


class OrtSession(Session):
    """Feeds go to the native call as they are: the check of the feeds is all that is added to it."""

    concurrency = sys.maxsize
    """InferenceSession.run may be called from any number of threads"""

    def __init__(self, session: Any, signature: Signature) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._names = [spec.name for spec in self.outputs]
        self._check = feed_check(self.inputs)
        self._errors = failures()
        self._session = session
        self._run = self._call(session)

    def _call(self, session: Any) -> Any:
        # The public run() validates names anew on every call, which costs more than the whole check here.
        call = getattr(session, "_sess", session).run
        strings = [spec.name for spec in self.inputs if spec.dtype == "string"]
        return call if not strings else lambda names, feeds, _: call(names, _decoded(feeds, strings), None)

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check(feeds)
        names = self._names if outputs is None else chosen(outputs, self._names)
        if not names:
            return {}
        try:
            return dict(zip(names, self._run(names, feeds, None), strict=True))
        except self._errors as error:
            raise _rejected(error) from error

    def _bind(self, inputs: Feeds, outputs: Feeds) -> Binding:
        plain = all(
            array.size and array.dtype.name not in ELEMENT_TYPES for array in (*inputs.values(), *outputs.values())
        )
        native = getattr(self._session, "_sess", self._session)
        return OrtBinding(native, inputs, outputs) if plain and outputs else super()._bind(inputs, outputs)

    def close(self) -> None:
        self._run = closed
        self._session = None


class OrtBinding(Binding):
    """onnxruntime reads the inputs where they lie and writes the outputs where they belong."""

    def __init__(self, native: Any, inputs: Feeds, outputs: Feeds) -> None:
        from onnxruntime.capi import onnxruntime_pybind11_state as capi

        super().__init__(inputs, outputs)
        io = capi.SessionIOBinding(native)
        for name, array in inputs.items():
            io.bind_input(name, _cpu(), array.dtype, list(array.shape), array.ctypes.data)
        for name, array in outputs.items():
            io.bind_output(name, _cpu(), array.dtype, list(array.shape), array.ctypes.data)
        self._errors = failures()
        self._io, self._call = io, native.run_with_iobinding

    def run(self) -> Buffers:
        try:
            self._call(self._io, None)
        except self._errors as error:
            raise _rejected(error) from error
        return self.outputs

    def close(self) -> None:
        self._call, self._io = _unbound, None


def _unbound(*_: object) -> None:
    raise unbound()


class _ValueSession(OrtSession):
    """For models with bfloat16, float8 or packed inputs or outputs, which the binding does not turn into arrays."""

    def _call(self, session: Any) -> Any:
        native = getattr(session, "_sess", session)
        kinds = {spec.name: spec.dtype for spec in self.outputs}

        def call(names: list[str], feeds: Feeds, _: None) -> list[Any]:
            arrays = {name: a if a.flags.c_contiguous else a.copy() for name, a in feeds.items()}
            values = {name: _value(array) for name, array in arrays.items()}
            results = native.run_with_ort_values(values, names, None)
            return [_array(value, kinds[name]) for name, value in zip(names, results, strict=True)]

        return call


def _decoded(feeds: Feeds, names: Sequence[str]) -> Feeds:
    """Feeds with numpy's byte strings as text, which onnxruntime reads past their ends otherwise."""
    return {k: np.char.decode(v, "utf-8") if k in names and v.dtype.kind == "S" else v for k, v in feeds.items()}


def _value(array: np.ndarray) -> Any:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    dtype = array.dtype.name
    if dtype in PACKED_BITS:
        return _packed_value(pack(array), dtype, array.shape)
    if dtype in ELEMENT_TYPES:
        return native.OrtValue.ortvalue_from_numpy_with_onnx_type(array, ELEMENT_TYPES[dtype])
    return native.OrtValue.ortvalue_from_numpy(array, _cpu())


def _packed_value(data: np.ndarray, dtype: str, shape: Sequence[int]) -> Any:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    make = native.OrtValue.ortvalue_from_shape_and_onnx_type
    value = make(list(shape), ELEMENT_TYPES[dtype], _cpu())
    ctypes.memmove(value.data_ptr(), data.ctypes.data, data.nbytes)
    return value


@cache
def _cpu() -> Any:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    return native.OrtDevice(native.OrtDevice.cpu(), native.OrtDevice.default_memory(), 0)


def _array(value: Any, dtype: str) -> Any:
    if dtype not in ELEMENT_TYPES:
        return value.numpy()
    shape = value.shape()
    if 0 in shape:
        return np.empty(shape, dtype_of(dtype))
    data = (ctypes.c_ubyte * value.tensor_size_in_bytes()).from_address(value.data_ptr())
    return unpack(np.frombuffer(data, np.uint8), dtype, shape)


def _rejected(error: Exception) -> FeedError:
    """A session that loads and then raises was fed values that its operators reject (an index out of range ...)."""
    words = re.sub(r"\[ONNXRuntimeError\] : \d+ : |/onnxruntime_src/\S+ ", "", str(error))
    return FeedError(
        "onnxruntime rejects these feeds",
        why=" ".join(words.split())[:600],
        fix="feed values and sizes that the model accepts",
    )
