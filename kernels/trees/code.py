"""LLVM IR -> object code -> a flat image that runs from anywhere: no linker at build, no LLVM at prediction time.

An image is a header and the bytes of all sections, with every relocation already applied: code and constants refer to
each other by distance alone. Opening one is a mapping of it with the right to execute.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import struct
import sys
import threading
from collections.abc import Callable

import numpy as np

from neoc.kernels import jit
from neoc.kernels.errors import KernelCompileError
from neoc.kernels.trees import link
from neoc.kernels.trees.finish import Finish
from neoc.kernels.trees.ir_finish import ENTRY as FINISH
from neoc.kernels.trees.ir_finish import finish_ir
from neoc.kernels.trees.ir_kernel import ENTRY, kernel_ir
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.layout import Shape

_HEAD = struct.Struct("<8s16sQQ")
_MAGIC = b"neocimg1"
_PREFIX = 64
_LOCK = threading.Lock()


def object_code(text: str, isa: Isa) -> bytes:
    """An ELF object of LLVM IR for the ISA. Needs llvmlite."""
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise KernelCompileError(
            "a tree kernel must be compiled, and llvmlite is not installed",
            fix="pip install 'neoc[kernels]', or compile the model where it is installed",
        ) from error
    with _LOCK:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        machine = llvm.Target.from_triple(isa.triple).create_target_machine(
            cpu=isa.cpu, features=isa.attributes, opt=3, reloc="pic", codemodel="small"
        )
        try:
            module = llvm.parse_assembly(text)
            module.triple, module.data_layout = isa.triple, str(machine.target_data)
            module.verify()
            builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
            builder.getModulePassManager().run(module, builder)
            return bytes(machine.emit_object(module))
        except RuntimeError as error:
            raise KernelCompileError("LLVM refused a tree kernel", where=isa.cpu, why=str(error)) from error


def kernel_image(shape: Shape, isa: Isa) -> bytes:
    """The image of the kernel for a shape and an ISA, compiled once on this machine and kept in the cache."""
    return _cached(kernel_ir(shape, isa), isa, ENTRY)


def finish_image(finish: Finish, isa: Isa) -> bytes:
    """The image of what follows the trees, for a checked `finish`; kept in the cache."""
    return _cached(finish_ir(finish, isa), isa, FINISH)


def _cached(text: str, isa: Isa, entry: str) -> bytes:
    key = hashlib.sha256(repr((1, text, isa, _llvmlite_version())).encode()).hexdigest()[:24]
    path = jit.cache_folder() / "trees" / f"{isa.cpu}-{key}.img"
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if not _whole(data):
        data = image(object_code(text, isa), entry)
        jit._write(path, data)
    return data


def _llvmlite_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("llvmlite")
    except PackageNotFoundError:
        return ""


def image(elf: bytes, entry: str = ENTRY) -> bytes:
    """The flat image of an object file, to be entered at the function of that name."""
    arch, code, at = link.flattened(elf, entry)
    head = _HEAD.pack(_MAGIC, arch.encode(), at, len(code))
    return head.ljust(_PREFIX, b"\0") + code


def _whole(data: bytes) -> bool:
    return len(data) > _PREFIX and data[:8] == _MAGIC and _HEAD.unpack_from(data)[3] == len(data) - _PREFIX


def load(data: bytes | memoryview) -> tuple[Callable[[bytes], None], mmap.mmap]:
    """(the kernel's entry, the mapping that it lives in: keep it). Raises KernelCompileError for what is no image."""
    raw = bytes(data)
    if not _whole(raw):
        raise KernelCompileError("the code of a tree kernel is damaged", fix="compile the model again")
    _, _, entry, size = _HEAD.unpack_from(raw)
    if not _runs_here(arch_of(raw)):
        why = f"it is for {arch_of(raw)}, this machine is {os.uname().machine}"
        raise KernelCompileError("the code of a tree kernel does not run here", why=why)
    # A file in memory, mapped to be read and executed: never writable and executable at once, and the kernel of the
    # system keeps the caches of instructions right.
    handle = os.memfd_create("neoc-trees", os.MFD_CLOEXEC)
    try:
        os.truncate(handle, size)
        view = memoryview(raw)[_PREFIX:]
        while view:
            view = view[os.write(handle, view) :]
        area = mmap.mmap(handle, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
    finally:
        os.close(handle)
    address = np.frombuffer(area, np.uint8).ctypes.data
    return ctypes.CFUNCTYPE(None, ctypes.c_char_p)(address + entry), area


def _runs_here(arch: str) -> bool:
    """In this process: a 32-bit Python under a 64-bit ARM kernel runs 32-bit code."""
    here = os.uname().machine
    if sys.maxsize < 2**32:
        return arch == "arm" and here.startswith(("arm", "aarch64"))
    return arch == here


def arch_of(data: bytes | memoryview) -> str:
    """x86_64, aarch64 or arm."""
    return bytes(data[8:24]).rstrip(b"\0").decode()
