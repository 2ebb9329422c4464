"""TVM: ONNX -> Relax -> LLVM -> a shared object, for any processor that LLVM generates code for.

Build needs TVM's compiler and a linker, never the processor. Open needs tvm_ffi and libtvm_runtime.so of the device's
own architecture; the compiler is not loaded there. Where the runtime library for 64-bit ARM is at hand (in the prepared
ARM file system) the artifact carries it, 3 MB, and the device needs tvm_ffi alone. The loops are not scheduled: a route
to processors that nothing else serves, far from the fastest one where another engine runs.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.binding import Binding, Buffers, copy_over, unbound
from neoc.compile.contracts import (
    Built,
    EngineOptions,
    FeedCheck,
    Feeds,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    TensorSpec,
    Variant,
)
from neoc.compile.errors import InvalidArtifact, MissingTool, UnsupportedModel, UsageError, WrongDevice
from neoc.targets import guest
from neoc.targets.elf import read_elf
from neoc.targets.emulation import Emulated
from neoc.targets.engines.tensors import chosen, closed
from neoc.targets.host import machine
from neoc.targets.linkers import linker_for

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

MEMBER = "lib.so"
ENTRY_SYMBOL = "__tvm_ffi__library_bin"
"""the symbol under which TVM exports the executable's bytecode and constants"""

ALIGNMENT = 64
"""bytes; the code loads its arguments with aligned vector instructions and faults where they are not"""

RUNTIME = "libtvm_runtime.so"
"""member: TVM's small runtime for the device, where it was at hand"""

SVE = "tvm.sve"
"""--option key: 'on' or 'off'"""

_TRIPLES = {"aarch64": "aarch64-linux-gnu", "x86_64": "x86_64-linux-gnu", "armv7": "arm-linux-gnueabihf"}
"""architecture -> the triple that its linkers go by"""
_INSTALL = "install it with: pip install 'neoc[tvm]'"


class Tvm(Emulated):
    name = "tvm"
    whole_graph = True
    opt_in = True
    dispatches = False
    options = MappingProxyType({SVE: "on: scalable vectors where the chip has them, proven like all code; off"})

    def missing(self) -> str | None:
        if importlib.util.find_spec("tvm") is None:
            return f"TVM is not installed; {_INSTALL}"
        if all(linker_for(triple) is None for triple in _TRIPLES.values()):
            return "no linker for shared objects was found; install one with: pip install ziglang"
        return None

    def serves(self, target: Target) -> bool:
        return target.arch in _TRIPLES

    def guest_packages(self, target: Target) -> Sequence[str]:
        return ("apache-tvm", "apache-tvm-ffi")

    def emulates(self, target: Target) -> str:
        if target.arch != "aarch64":
            return f"TVM publishes no runtime for {target.arch} that could run it under qemu"
        return super().emulates(target)

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        from neoc.targets.engines.tvm_gaps import find_gaps

        return find_gaps(program, self.name)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        # One thread: without a schedule there is no parallel loop that a second one could take part in.
        if options.precision != "fp32":
            return ()
        plain, scalable = Variant.of("llvm"), Variant.of("llvm-sve", sve=True)
        if "sve" not in target.features:
            return (plain,)
        asked = dict(options.pairs).get(SVE)
        if asked not in (None, "on", "off"):
            raise UsageError(f"{SVE} is on or off, not {asked!r}", fix=f"--option {SVE}=on")
        if asked is not None:
            return (scalable if asked == "on" else plain,)
        return (plain, scalable) if target.arch == machine() else (plain,)

    def tools(self) -> Mapping[str, str]:
        carried = {} if _device_runtime() is None else {"libtvm_runtime.so for aarch64": "carried"}
        return {**versions_of("apache-tvm", "apache-tvm-ffi", "ziglang"), **carried}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        triple = str(target.fact("triple", _TRIPLES[target.arch]))
        linker = linker_for(triple)
        if linker is None:
            raise MissingTool(
                f"no linker for {triple} was found",
                fix=f"install one with: pip install ziglang (or the package that has {triple}-gcc)",
            )
        library = folder / MEMBER
        _compiled(program, code_for(target, bool(variant.get("sve")))).export_library(str(library), fcompile=linker)
        accept_library(library.read_bytes(), target.arch)
        members = {MEMBER: library}
        if target.arch == "aarch64" and (runtime := _device_runtime()) is not None:
            members[RUNTIME] = folder / RUNTIME
            shutil.copyfile(runtime, members[RUNTIME])
        return Built(
            members=members,
            requirements=runtime_requirements(carried=RUNTIME in members),
            tools={**versions_of("apache-tvm", "apache-tvm-ffi"), **linker.tools()},
            placement=Placement(((self.name, sum(1 for _ in program.nodes())),)),
            reproducible=False,
            notes=("TVM's code generator orders some instructions differently from build to build",),
        )

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        elf = read_elf(members[MEMBER])
        if elf.machine != machine():
            raise WrongDevice(
                f"the artifact is for {elf.machine}, this machine is {machine()}",
                fix="open it on a machine of that architecture, or compile for this one with --target host",
            )
        return TvmSession(_load(members[MEMBER], members.get(RUNTIME)), signature)


def code_for(target: Target, sve: bool = False) -> dict[str, Any]:
    """TVM's description of a target: its core, and what the chip has beside it or lacks.

    sve: vectors of the length that the chip has, where it has them. Not by default: LLVM 22 turns a loop over short
    rows with one value a row (a bias over a Conv of four places) into scalable code that is right for vectors of 128
    bits alone. Found under qemu with Silero's VAD on graviton3; `-sve` leaves Advanced SIMD, which is right.
    """
    triple = str(target.fact("triple", _TRIPLES[target.arch]))
    code: dict[str, Any] = {"kind": "llvm", "mtriple": triple, "mcpu": target.fact("mcpu", target.level)}
    if attributes := str(target.fact("mattr", "")):
        code["mattr"] = attributes.split(",")
    if "sve" in target.features and not sve:
        code["mattr"] = [*code.get("mattr", ()), "-sve"]
    if target.arch == "armv7":
        code |= {"mtriple": "armv7l-linux-gnueabihf", "mattr": ["+neon", "+vfp4"], "mfloat-abi": "hard"}
    return code


def _device_runtime() -> Path | None:
    """TVM's runtime library for 64-bit ARM, of the compiler's own version; None where it was never fetched."""
    found = guest.prepared()
    return found.tvm_runtime() if isinstance(found, guest.Guest) else None


def runtime_requirements(carried: bool) -> tuple[Requirement, ...]:
    """The binding that a device needs and, unless it is `carried`, the runtime; of the compiler's own minor version."""
    versions = versions_of(*(() if carried else ("apache-tvm",)), "apache-tvm-ffi")
    return tuple(Requirement("package", name, versions[name], "minor") for name in sorted(versions))


def versions_of(*distributions: str) -> dict[str, str]:
    """name -> version, of those that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


# ---- build -----------------------------------------------------------------------------------


def _compiled(program: Program, code: dict[str, Any]) -> Any:
    """TVM's executable. Raises UnsupportedModel where open dimensions are more than TVM can follow."""
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    try:
        module = from_onnx(importable(program.model), keep_params_in_input=False)
        return tvm.compile(module, target=tvm.target.Target(dict(code)))
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        unbound = [spec for spec in program.signature.inputs if not spec.is_static]
        if not unbound:
            raise
        reason = "TVM loses track of its open dimensions"
        raise UnsupportedModel(
            "TVM cannot follow the model's open dimensions",
            why=str(error).strip().splitlines()[-1],
            gaps=[Gap("tvm", s.name, "", reason, suggestion=f"bind it with --input {s.name}=SIZES") for s in unbound],
            fix=f"bind them: {' '.join(f'--input {spec.name}=SIZES' for spec in unbound)}",
        ) from error


def importable(model: ir.Model) -> Any:
    """The model as TVM's importer wants it: tensors inside, constants as initializers, dimensions with plain names.

    The importer takes no Constant that is a number or a list. It reads the name of a dimension as an expression
    ('batch-size' as a difference) and takes all unnamed ones for the same: they get names of their own here.
    """
    import onnx_ir as ir
    from onnx_ir.passes.common import LiftConstantsToInitializersPass

    from neoc.targets.engines.tvm_recurrent import unroll

    model = ir.external_data.load_to_model(model.clone())
    model = unroll(LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model).model)
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        if value.shape is None:
            continue
        for axis, size in enumerate(value.shape):
            if not isinstance(size, int):
                key = size.value or f"?{value.name}:{axis}"
                value.shape[axis] = names.setdefault(key, f"d{len(names)}")
    return ir.to_proto(model)


def accept_library(library: bytes, arch: str) -> None:
    """Check what the linker made. Raises MissingTool: another linker is what helps."""
    elf = read_elf(library)
    wrong = ""
    if elf.machine != arch:
        wrong = f"it is for {elf.machine}"
    elif not elf.shared or ENTRY_SYMBOL not in elf.exports:
        wrong = f"it does not export {ENTRY_SYMBOL}"
    elif strangers := sorted(s for s in elf.undefined if not _resolvable(s)):
        wrong = f"it needs {', '.join(strangers[:5])}, which neither TVM's runtime nor the C library has"
    if wrong:
        raise MissingTool(
            f"the linker made no usable {arch} shared object", why=wrong, fix="pip install ziglang, then compile again"
        )


def _resolvable(symbol: str) -> bool:
    """Whether TVM's runtime or glibc's libm and libc (whose names are the same on every architecture) define it.

    What begins with __aeabi_ is the run-time ABI of 32-bit ARM: libgcc_s has it, which TVM's own runtime needs.
    """
    return symbol.startswith(("TVM", "__aeabi_")) or hasattr(_libm(), symbol)


@cache
def _libm() -> ctypes.CDLL:
    # RTLD_GLOBAL: the model's library names no library to load, it takes expf and its like from this one.
    return ctypes.CDLL("libm.so.6", ctypes.RTLD_GLOBAL)


# ---- open ------------------------------------------------------------------------------------


_loaded: list[str] = []
"""the runtime library of this process: there can be one, it registers its functions by name"""


@cache
def _ffi() -> Any:
    """tvm_ffi; TVM itself is not imported. Raises MissingTool."""
    try:
        import tvm_ffi
    except ImportError as error:
        fix = "install it with: pip install apache-tvm-ffi"
        raise MissingTool("TVM's runtime is not installed", why=str(error), fix=fix) from error
    return tvm_ffi


def _load_runtime(carried: memoryview | None, folder: Path) -> None:
    """Load TVM's runtime library: the artifact's own, or that of the installed TVM. Raises MissingTool."""
    if _loaded:
        return
    _ffi()  # it brings libtvm_ffi.so, which the runtime is linked against
    if carried is None:
        library = _installed_runtime()
    else:
        library = folder / RUNTIME
        library.write_bytes(carried)
    _libm()
    try:
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise MissingTool("TVM's runtime library cannot be loaded", why=str(error), fix=_INSTALL) from error
    _loaded.append(str(library))


def _installed_runtime() -> Path:
    found = importlib.util.find_spec("tvm")
    folders = list(found.submodule_search_locations or ()) if found else []
    libraries = [p for f in folders for p in sorted(Path(f).glob(f"**/{RUNTIME}"))]
    if not libraries:
        raise MissingTool(f"{RUNTIME} was not found", fix=_INSTALL)
    return libraries[0]


def _load(library: memoryview, runtime: memoryview | None) -> Any:
    """The function `main` of a shared object in memory. It is loaded from a private file, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="neoc-tvm-") as folder:
        _load_runtime(runtime, Path(folder))
        path = Path(folder) / MEMBER
        path.write_bytes(library)
        try:
            executable = _ffi().load_module(str(path))["vm_load_executable"]()
            executable["vm_initialization"](1, 0, 2)  # kDLCPU, device 0, pooled allocator
            return executable["main"]
        except (RuntimeError, AttributeError) as error:
            raise InvalidArtifact(
                "TVM's runtime does not load the artifact",
                why=str(error).strip().splitlines()[-1],
                fix="install the version of apache-tvm that it was compiled with, or compile it again",
            ) from error


class TvmSession(Session):
    """One virtual machine; its memory pool is not for two callers at once."""

    concurrency = 1

    def __init__(self, main: Any, signature: Signature) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._main: Any = main
        self._check = FeedCheck(signature.inputs)
        self._names = tuple(spec.name for spec in signature.outputs)
        self._from_dlpack = _ffi().from_dlpack
        self._staging: dict[str, np.ndarray] = {}

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        wanted = self._names if outputs is None else chosen(outputs, self._names)
        result = self._main(*[self._tensor(spec, feeds[spec.name]) for spec in self.inputs])
        values = [result] if hasattr(result, "shape") else list(result)
        # Copied: what TVM returns may be a weight or an input.
        return {n: np.array(np.from_dlpack(v)) for n, v in zip(self._names, values, strict=True) if n in wanted}

    def _tensor(self, spec: TensorSpec, array: np.ndarray) -> Any:
        if array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % ALIGNMENT == 0:
            return self._from_dlpack(array)
        staged = self._staging.get(spec.name)
        if staged is None or staged.shape != array.shape:
            staged = self._staging[spec.name] = aligned_empty(array.shape, array.dtype)
        np.copyto(staged, array)
        return self._from_dlpack(staged)

    def _bind(self, inputs: Feeds, outputs: Feeds) -> Binding:
        return _TvmBinding(self, inputs, outputs)

    def close(self) -> None:
        self._main = closed
        self._staging.clear()


class _TvmBinding(Binding):
    """Inputs that lie on TVM's alignment are read in place, others are copied; results are copied from TVM's pool."""

    def __init__(self, session: TvmSession, inputs: Feeds, outputs: Feeds) -> None:
        super().__init__(inputs, outputs)
        self._session: TvmSession | None = session
        self._staged: list[tuple[np.ndarray, np.ndarray]] = []
        self._tensors = [session._from_dlpack(self._readable(inputs[spec.name])) for spec in session.inputs]
        self._places = [(session._names.index(name), name, array) for name, array in outputs.items()]

    def _readable(self, array: np.ndarray) -> np.ndarray:
        if array.flags.writeable and array.ctypes.data % ALIGNMENT == 0:
            return array
        self._staged.append((aligned_empty(array.shape, array.dtype), array))
        return self._staged[-1][0]

    def run(self) -> Buffers:
        if self._session is None:
            raise unbound()
        for copy, array in self._staged:
            np.copyto(copy, array)
        result = self._session._main(*self._tensors)
        values = [result] if hasattr(result, "shape") else result
        for index, name, array in self._places:
            copy_over(name, array, np.from_dlpack(values[index]))
        return self.outputs

    def close(self) -> None:
        self._session = None
        self._tensors, self._staged = [], []


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An uninitialised array that begins on a boundary of `ALIGNMENT` bytes."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % ALIGNMENT
    return raw[offset : offset + size].view(dtype).reshape(shape)
