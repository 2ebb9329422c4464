"""From a kernel's source to a callable, through a per-machine cache of object code.

    source (numba-subset Python, or LLVM IR text)
      -> LLVM IR            numba only here, and only when the cache has no object
      -> object file        optimised for this CPU; <cache>/kernels/<cpu>/<name>-<digest>.o
      -> address            linked into this process by llvmlite; numba is never imported for a cached kernel
      -> Kernel.__call__    one native call, the GIL released

A kernel is a C function of pointers, int64 and floats that allocates nothing and raises nothing. Its entry takes one
pointer to an array of 8-byte slots (an address, an int64, or the bits of a float64), so that a native loop can run
many calls (`run_calls`) and Python pays the same small price for 3 arguments as for 20.

NEOC_KERNELS_GUARD=1 runs every call on copies of its arrays that lie against an unreadable page, once at their end and
once at their start: an access out of bounds ends the process. CI runs the kernel tests this way once.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neoc.kernels.errors import KernelCompileError, KernelInputError

FORMAT = "1"
"""Part of every cache key; raised when the calling convention changes."""

_LLVM_TYPES = {
    "i64": "i64",
    "f32": "float",
    "f64": "double",
}
_POINTEES: dict[str, type[np.generic]] = {
    "u8": np.uint8,
    "i8": np.int8,
    "u16": np.uint16,
    "i16": np.int16,
    "u32": np.uint32,
    "i32": np.int32,
    "i64": np.int64,
    "u64": np.uint64,
    "f32": np.float32,
    "f64": np.float64,
}

IrSource = Callable[[frozenset[str]], str]
"""CPU features -> LLVM IR text that defines the kernel's function."""


def cache_folder() -> Path:
    """Where object code is kept: NEOC_CACHE_DIR, else XDG_CACHE_HOME/neoc, else ~/.cache/neoc; then /kernels."""
    if chosen := os.environ.get("NEOC_CACHE_DIR"):
        return Path(chosen) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neoc" / "kernels"


@dataclass(frozen=True)
class At:
    """An array argument that begins at element `offset` of a C-contiguous array; the kernel may go back from there."""

    array: NDArray[Any]
    offset: int

    def address(self, dtype: type[np.generic]) -> int:
        return address(self.array, dtype) + self.offset * self.array.itemsize


class Kernel:
    """A compiled function. `parameters`: 'f32*', 'u8*', ..., 'i64', 'f32', 'f64' in order.

    `python` is its numba-subset source, callable with arrays as it stands (slow); None for a kernel written in LLVM IR.
    """

    def __init__(
        self,
        name: str,
        parameters: tuple[str, ...],
        python: Callable[..., None] | None = None,
        ir: IrSource | None = None,
    ) -> None:
        self.name = name
        self.parameters = parameters
        self.python = python
        self.ir = ir
        self._entry: Callable[[bytes], None] | None = None
        self._pack = struct.Struct("".join("d" if p in ("f32", "f64") else "q" for p in parameters)).pack
        self._pointers = tuple(_pointee(p) for p in parameters)

    def __call__(self, *arguments: Any) -> None:
        """Run once. An array argument passes its address; it must have the declared dtype. An int passes as it is.

        Extents are the caller's promise: the kernel reads what its own arguments say.
        """
        if _GUARD:
            self._call_guarded(arguments)
            return
        entry = self._entry or self.load()
        entry(self.slots(*arguments))

    def slots(self, *arguments: Any) -> bytes:
        """The argument block of one call."""
        values = [
            a if p is None or isinstance(a, int) else a.address(p) if isinstance(a, At) else address(a, p)
            for a, p in zip(arguments, self._pointers, strict=True)
        ]
        return self._pack(*values)

    def load(self) -> Callable[[bytes], None]:
        """Link the object code (compiled first if the cache has none) and return the native entry."""
        with _LOCK:
            if self._entry is None:
                pointer = _link(self)
                self._entry = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(pointer)
                self._address = pointer
        return self._entry

    @property
    def address(self) -> int:
        """Of the native entry."""
        if self._entry is None:
            self.load()
        return self._address

    def _call_guarded(self, arguments: tuple[Any, ...]) -> None:
        from neoc.kernels import guard

        entry = self._entry or self.load()
        guard.call(lambda values: entry(self.slots(*values)), arguments, run_twice=True)


def _pointee(parameter: str) -> type[np.generic] | None:
    """The dtype of the array that a parameter takes: 'f64**' takes an array of addresses."""
    if parameter.endswith("**"):
        return np.uint64
    return _POINTEES[parameter[:-1]] if parameter.endswith("*") else None


def address(array: NDArray[Any], dtype: type[np.generic]) -> int:
    """The address of an array's first element, whose dtype must be `dtype`."""
    if array.dtype != dtype:
        raise KernelInputError("a kernel got an array of another dtype", why=f"{array.dtype}, not {np.dtype(dtype)}")
    return array.ctypes.data if array.size == 0 else array.__array_interface__["data"][0]


_LOCK = threading.RLock()
_GUARD = os.environ.get("NEOC_KERNELS_GUARD") == "1"
_REGISTRY: dict[str, Kernel] = {}


def guarded() -> bool:
    """Whether kernels run on guarded copies; code that passes bare addresses must pass arrays then."""
    return _GUARD


def kernel(*parameters: str, name: str = "") -> Callable[[Callable[..., None]], Kernel]:
    """Make a Kernel of a numba-subset function over pointers (`x[i]` reads, `x[i] = v` writes)."""

    def make(python: Callable[..., None]) -> Kernel:
        return _register(Kernel(name or python.__name__.strip("_"), parameters, python=python))

    return make


def ir_kernel(name: str, *parameters: str) -> Callable[[IrSource], Kernel]:
    """Make a Kernel of a function that writes LLVM IR defining `void @<name>(<parameters>)`."""

    def make(ir: IrSource) -> Kernel:
        return _register(Kernel(name, parameters, ir=ir))

    return make


def _register(made: Kernel) -> Kernel:
    if made.name in _REGISTRY:
        raise KernelCompileError(f"two kernels are called {made.name!r}")
    _REGISTRY[made.name] = made
    return made


def registered() -> Mapping[str, Kernel]:
    """Every kernel of the modules imported so far, by name."""
    return dict(_REGISTRY)


def compile_all(kernels: Iterable[Kernel] | None = None, folder: Path | None = None) -> list[Path]:
    """Compile kernels (default: every one of the package) and return their object files.

    With `folder`, copies are written there as well: an artifact takes them along and a machine without numba installs
    them with `install`.
    """
    if kernels is None:
        from importlib import import_module

        for module in ("calibrate", "image", "post", "quantize", "sequence", "tabular"):
            import_module(f"neoc.kernels.{module}")
        kernels = registered().values()
    paths = [_object_path(k) for k in kernels]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            _write(folder / path.name, path.read_bytes())
    return paths


def install(folder: Path) -> int:
    """Put object files made by `compile_all` on a machine of the same kind into the cache; returns how many."""
    return install_objects({path.name: path.read_bytes() for path in sorted(folder.glob("*.o"))})


def install_objects(objects: Mapping[str, bytes | memoryview]) -> int:
    """Put object code, file name -> bytes, into the cache; returns how many there were. What is there stays."""
    target = _cpu_folder()
    for name, data in objects.items():
        if not (target / name).is_file():
            _write(target / name, data)
    return len(objects)


def cpu_key() -> str:
    """The name of this machine's kind: object code made where it is the same runs here."""
    return _cpu_folder().name


# --- native calls in a row ----------------------------------------------------------------------------


@ir_kernel("run_calls", "u64*", "i64", "i64")
def RUN_CALLS(features: frozenset[str]) -> str:
    """calls[n][width]: slot 0 is an entry's address, the others its argument block."""
    return """
define void @run_calls(ptr %calls, i64 %n, i64 %width) {
start:
  %any = icmp sgt i64 %n, 0
  br i1 %any, label %loop, label %end
loop:
  %i = phi i64 [0, %start], [%next, %loop]
  %at = mul i64 %i, %width
  %call = getelementptr i64, ptr %calls, i64 %at
  %bits = load i64, ptr %call
  %entry = inttoptr i64 %bits to ptr
  %block = getelementptr i64, ptr %call, i64 1
  call void %entry(ptr %block)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


def run_calls(calls: NDArray[np.uint64]) -> None:
    """Run calls[n, 1 + slots] one after another in one native call, the GIL released."""
    entry = RUN_CALLS._entry or RUN_CALLS.load()
    entry(RUN_CALLS.slots(calls, calls.shape[0], calls.shape[1]))


def run_blocks(
    calls: list[tuple[Kernel, tuple[Any, ...]]], rows: tuple[int, int], size: int, row_slots: Sequence[int]
) -> None:
    """Run all calls on rows[0]..+size, then on the next rows, and so on.

    row_slots: the argument that holds a call's first row; the one after it holds the end.
    """
    edges = np.append(np.arange(rows[0], rows[1], size), rows[1])
    if _GUARD:
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            for (item, arguments), slot in zip(calls, row_slots, strict=True):
                item(*arguments[:slot], a, b, *arguments[slot + 2 :])
        return
    width = 1 + max(len(item.parameters) for item, _ in calls)
    matrix = np.zeros((len(edges) - 1, len(calls), width), np.uint64)
    for k, ((item, arguments), slot) in enumerate(zip(calls, row_slots, strict=True)):
        block = np.frombuffer(item.slots(*arguments), np.uint64)
        matrix[:, k, 0] = item.address
        matrix[:, k, 1 : 1 + len(block)] = block
        matrix[:, k, 1 + slot] = edges[:-1]
        matrix[:, k, 2 + slot] = edges[1:]
    run_calls(matrix.reshape(-1, width))


# --- compilation --------------------------------------------------------------------------------------


class _Llvm:
    """llvmlite's binding, set up once: host features, target machine, linker."""

    def __init__(self) -> None:
        try:
            import llvmlite
            import llvmlite.binding as llvm
        except ImportError as error:
            raise KernelCompileError(
                "kernels cannot be linked", why="llvmlite is not installed", fix="pip install 'neoc[kernels]'"
            ) from error
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.binding = llvm
        self.version = llvmlite.__version__
        self.cpu = llvm.get_host_cpu_name()
        host = llvm.get_host_cpu_features()
        self.features = frozenset(name for name, has in host.items() if has)
        self.feature_text = host.flatten()
        self.machine = self._target_machine()
        self.triple = self.machine.triple
        # LLJIT takes its machine over, so it gets one of its own. One library a kernel: a module linked later
        # cannot disturb the sections of one that is already running. JITLink keeps an object's sections together; the
        # older linker maps each where there is room, and in a process with large mappings a constant may lie out of
        # its code's 2 GiB, which aborts the process.
        self.linker = llvm.create_lljit_compiler(self._target_machine(), use_jit_link=True)
        self.libraries: list[Any] = []

    def _target_machine(self) -> Any:
        return self.binding.Target.from_default_triple().create_target_machine(
            cpu=self.cpu, features=self.feature_text, opt=3, reloc="pic", codemodel="small", jit=True
        )

    def linked(self, data: bytes, symbol: str) -> int:
        """The address of `symbol` of an object file, linked into this process for as long as it lives."""
        builder = self.binding.JITLibraryBuilder().add_object_img(data).add_current_process()
        library = builder.export_symbol(symbol).link(self.linker, symbol)
        self.libraries.append(library)
        return int(library[symbol])

    def optimised(self, text: str) -> Any:
        llvm = self.binding
        module = llvm.parse_assembly(text)
        module.triple = self.triple
        module.data_layout = str(self.machine.target_data)
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        options.slp_vectorization = True
        builder = llvm.create_pass_builder(self.machine, options)
        builder.getModulePassManager().run(module, builder)
        return module


_STATE: dict[str, _Llvm] = {}


def _llvm() -> _Llvm:
    if "llvm" not in _STATE:
        with _LOCK:
            if "llvm" not in _STATE:
                _STATE["llvm"] = _Llvm()
    return _STATE["llvm"]


def host_features() -> frozenset[str]:
    """LLVM's names of this CPU's features ('avx512vnni', 'fma', 'neon' ...)."""
    return _llvm().features


def _cpu_folder() -> Path:
    llvm = _llvm()
    facts = "\n".join((FORMAT, llvm.version, llvm.cpu, llvm.feature_text, llvm.triple))
    return cache_folder() / f"{llvm.cpu}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def _object_path(item: Kernel) -> Path:
    """The kernel's object file, compiled now if the cache has none."""
    state = hashlib.sha256(repr((FORMAT, item.name, item.parameters)).encode())
    text = ""
    if item.ir is not None:
        text = item.ir(_llvm().features)
        state.update(text.encode())
    elif isinstance(item.python, FunctionType):
        state.update(_code_identity(item.python).encode())
    path = _cpu_folder() / f"{item.name}-{state.hexdigest()[:16]}.o"
    if not path.is_file():
        started = time.perf_counter()
        print(f"neoc: compiling kernel {item.name} (once on this machine) ...", end="", file=sys.stderr, flush=True)
        _write(path, _compile(item, text))
        print(f" {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
    return path


def _code_identity(function: FunctionType) -> str:
    """What decides the machine code of a function: its byte code and the constants that it names or closes over."""

    def parts(code: CodeType) -> tuple[object, ...]:
        inner = tuple(parts(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
        return (code.co_code, code.co_names, code.co_varnames, inner)

    named = [
        (name, repr(function.__globals__[name]))
        for name in function.__code__.co_names
        if isinstance(function.__globals__.get(name), (int, float, np.generic))
    ]
    bound = [repr(cell.cell_contents) for cell in function.__closure__ or ()]
    return repr((parts(function.__code__), named, bound))


def _compile(item: Kernel, text: str) -> bytes:
    llvm = _llvm()
    try:
        if item.ir is None:
            text, inner = _numba_ir(item)
        else:
            inner = item.name
        module = llvm.optimised(text + _entry_ir(item, inner))
        return bytes(llvm.machine.emit_object(module))
    except RuntimeError as error:
        raise KernelCompileError(
            "LLVM refused a kernel",
            where=item.name,
            why=str(error),
            fix="report this with the versions of neoc and llvmlite",
        ) from error


def _numba_ir(item: Kernel) -> tuple[str, str]:
    """(LLVM IR of the function by numba, its name). Raises KernelCompileError where numba is missing."""
    try:
        import numba
        from numba import types
    except ImportError as error:
        raise KernelCompileError(
            "a kernel must be compiled, and numba is not installed",
            where=item.name,
            why="the cache holds no object code for this kernel and this CPU",
            fix="pip install 'neoc[kernels]', or install object code made on such a machine (neoc.kernels.jit.install)",
        ) from error
    names = {t: getattr(types, np.dtype(d).name) for t, d in _POINTEES.items()}
    pointer_to: Any = types.CPointer
    signature = []
    for parameter in item.parameters:
        kind = names[parameter.rstrip("*")]
        for _ in range(parameter.count("*")):
            kind = pointer_to(kind)
        signature.append(kind)
    cfunc: Any = numba.cfunc  # its annotations lack the options of the compiler
    made = cfunc(types.void(*signature), nopython=True, error_model="numpy")(item.python)
    return str(made.inspect_llvm()), str(made.native_name)


def _entry_ir(item: Kernel, inner: str) -> str:
    """The entry that unpacks the slots and calls the function, which is inlined into it."""
    lines, values = [], []
    for i, parameter in enumerate(item.parameters):
        lines.append(f"  %at{i} = getelementptr i64, ptr %slots, i64 {i}")
        if parameter.endswith("*"):
            kind = "ptr"
            lines.append(f"  %v{i} = load ptr, ptr %at{i}, align 8")
        elif parameter == "f32":
            kind = "float"
            lines += [f"  %d{i} = load double, ptr %at{i}, align 8", f"  %v{i} = fptrunc double %d{i} to float"]
        else:
            kind = _LLVM_TYPES[parameter]
            lines.append(f"  %v{i} = load {kind}, ptr %at{i}, align 8")
        values.append(f"{kind} %v{i}")
    body = "\n".join(lines)
    call = f'  call void @"{inner}"({", ".join(values)})'
    return f"\n\ndefine void @neoc_{item.name}(ptr %slots) {{\n{body}\n{call}\n  ret void\n}}\n"


def _link(item: Kernel) -> int:
    data = _object_path(item).read_bytes()
    try:
        return _llvm().linked(data, f"neoc_{item.name}")
    except RuntimeError as error:
        raise KernelCompileError(
            "a cached kernel could not be linked",
            where=item.name,
            why=str(error),
            fix=f"delete {_cpu_folder()} and try again",
        ) from error


def _write(path: Path, data: bytes | memoryview) -> None:
    """Beside, then renamed: another process sees the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(name, path)


if __name__ == "__main__":
    for made in compile_all(folder=Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(made)
