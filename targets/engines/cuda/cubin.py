"""What a cubin holds: for which chip, and of each kernel its registers, shared memory and stack. Read without a tool.

A cubin is an ELF file of e_machine 190 (EM_CUDA). Where the compute capability stands in e_flags depends on the ABI
version (LLVM, llvm/BinaryFormat/ELF.h: EF_CUDA_SM). The attributes in `.nv.info` are named and numbered as
`cuobjdump -elf` prints them; the tests compare what is read here with what ptxas says of the same kernel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from neoc.compile.errors import InvalidArtifact

EM_CUDA = 190
_ABI_SM_IN_SECOND_BYTE = 8
"""from this ABI version on (CUDA 13) the compute capability is in bits 8 to 15 of e_flags, before that in 0 to 7"""

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_STO_CUDA_ENTRY = 0x10
_STT_FUNC = 2

_RESERVED_SHARED, _RESERVES_SHARED = 1024, 90
"""bytes of the system's own at the start of a kernel's shared section, from this compute capability on; ptxas does not
count them to the kernel"""

_REGCOUNT, _FRAME_SIZE, _MAX_THREADS, _REQNTID, _CBANK_PARAM_SIZE = 0x2F, 0x11, 0x05, 0x10, 0x19
_IN_LINE, _SIZED = 3, 4
"""forms of an attribute in .nv.info: its value is the two bytes behind it, or they are the size of what follows"""


@dataclass(frozen=True)
class CubinKernel:
    name: str
    registers: int
    """per thread"""
    shared_bytes: int
    """per block, static"""
    stack_bytes: int
    """per thread, in local memory: 0 where everything stays in registers"""
    parameter_bytes: int
    block_threads: int
    """the most threads of a block that it was compiled for; 0 where the source does not say"""
    code_bytes: int


@dataclass(frozen=True)
class Cubin:
    sm: int
    """compute capability, 75 for sm_75"""
    kernels: tuple[CubinKernel, ...]
    """by name"""


@dataclass(frozen=True)
class _Section:
    name: str
    offset: int
    size: int
    kind: int
    link: int
    info: int

    def of(self, view: memoryview) -> memoryview:
        if self.offset + self.size > len(view):
            raise ValueError(f"section {self.name!r} ends behind the file")
        return view[self.offset : self.offset + self.size]


def read_cubin(data: bytes | memoryview) -> Cubin:
    """The facts of a cubin. Raises InvalidArtifact for anything else, truncated files too."""
    view = memoryview(data).cast("B")
    try:
        if bytes(view[:4]) != b"\x7fELF" or view[4] != 2 or view[5] != 1:
            raise _broken("it does not begin like a 64-bit little-endian ELF file")
        fields = _HEADER.unpack_from(view)
        if fields[2] != EM_CUDA:
            raise _broken(f"it is for machine {fields[2]}, not for a CUDA device ({EM_CUDA})")
        flags = fields[7]
        sm = (flags >> 8) & 0xFF if view[8] >= _ABI_SM_IN_SECOND_BYTE else flags & 0xFF
        sections = _sections(view, fields)
        return Cubin(sm, tuple(sorted(_kernels(view, sections, sm), key=lambda kernel: kernel.name)))
    except (struct.error, LookupError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise _broken(f"its headers point outside of it ({error})") from error


def _sections(view: memoryview, fields: tuple[int, ...]) -> list[_Section]:
    start, size, count, names = fields[6], fields[11], fields[12], fields[13]
    if size != _SECTION.size:
        raise ValueError(f"section headers have {size} bytes")
    rows = [_SECTION.unpack_from(view, start + i * size) for i in range(count)]
    table = rows[names]
    text = bytes(view[table[4] : table[4] + table[5]])
    return [_Section(_name(text, r[0]), r[4], r[5], r[1], r[6], r[7]) for r in rows]


def _name(text: bytes, at: int) -> str:
    return text[at : text.index(0, at)].decode()


def _kernels(view: memoryview, sections: list[_Section], sm: int) -> Iterator[CubinKernel]:
    by_name = {section.name: section for section in sections}
    symbols = _entries(view, sections)
    registers, frames = _totals(by_name, view)
    for index, name in symbols.items():
        own = dict(_attributes(by_name[f".nv.info.{name}"].of(view))) if f".nv.info.{name}" in by_name else {}
        shared = by_name.get(f".nv.shared.{name}")
        threads = own.get(_MAX_THREADS, own.get(_REQNTID, b""))
        x, y, z = struct.unpack_from("<III", threads) if threads else (0, 0, 0)
        yield CubinKernel(
            name=name,
            registers=registers[index],
            shared_bytes=0
            if shared is None
            else max(0, shared.size - (_RESERVED_SHARED if sm >= _RESERVES_SHARED else 0)),
            stack_bytes=frames.get(index, 0),
            parameter_bytes=struct.unpack_from("<H", own.get(_CBANK_PARAM_SIZE, b"\0\0"))[0],
            block_threads=x * y * z,
            code_bytes=by_name[f".text.{name}"].size,
        )


def _entries(view: memoryview, sections: list[_Section]) -> dict[int, str]:
    """Index in the symbol table -> name, of the functions that a launch can name."""
    table = next((s for s in sections if s.name == ".symtab"), None)
    if table is None:
        raise ValueError("it has no symbol table")
    text = bytes(sections[table.link].of(view))
    found = {}
    for index, (name, info, other, section, _, _) in enumerate(_SYMBOL.iter_unpack(table.of(view))):
        if info & 15 == _STT_FUNC and other & _STO_CUDA_ENTRY and section:
            found[index] = _name(text, name)
    return found


def _totals(by_name: dict[str, _Section], view: memoryview) -> tuple[dict[int, int], dict[int, int]]:
    """Registers and stack bytes by symbol index: `.nv.info` has them for all functions together."""
    registers: dict[int, int] = {}
    frames: dict[int, int] = {}
    for attribute, value in _attributes(by_name[".nv.info"].of(view)) if ".nv.info" in by_name else ():
        target = {_REGCOUNT: registers, _FRAME_SIZE: frames}.get(attribute)
        if target is not None:
            symbol, number = struct.unpack_from("<II", value)
            target[symbol] = number
    return registers, frames


def _attributes(data: memoryview) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, at)
        at += 4
        if form != _SIZED:
            yield attribute, bytes(data[at - 2 : at])
            continue
        if at + size > len(data):
            raise ValueError("an attribute ends behind its section")
        yield attribute, bytes(data[at : at + size])
        at += size


def _broken(why: str) -> InvalidArtifact:
    return InvalidArtifact("the cubin cannot be read", why=why, fix="compile the model again")
