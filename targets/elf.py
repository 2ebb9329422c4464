"""What an ELF file is for: its machine, its type and the symbols it exports. Read from the headers, no tool needed.

Layout: System V ABI, "Object Files" (gABI 4.1), little-endian, of either class.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from neoc.compile.errors import InvalidArtifact

MACHINES = {3: "i386", 40: "armv7", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""e_machine -> architecture, as neoc names it"""

_ET_DYN = 3
_SHT_DYNSYM = 11


@dataclass(frozen=True)
class _Class:
    """How one ELF class lays its tables out. Sections have the same fields in both, symbols another order."""

    header: struct.Struct
    section: struct.Struct
    symbol: struct.Struct
    info: int
    """position of st_info and of st_shndx among a symbol's fields"""
    index: int


_CLASSES = {
    1: _Class(struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<10I"), struct.Struct("<IIIBBH"), 3, 5),
    2: _Class(struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), 1, 3),
}
"""EI_CLASS -> layout: 32-bit, 64-bit"""


@dataclass(frozen=True)
class Elf:
    machine: str
    """architecture, or 'EM_<number>' for one that `MACHINES` does not name"""
    shared: bool
    """True for a shared object (ET_DYN)"""
    exports: frozenset[str]
    """names of defined dynamic symbols"""
    undefined: frozenset[str]
    """names of dynamic symbols that the loader must find elsewhere"""


def read_elf(data: bytes | memoryview) -> Elf:
    """The facts of a little-endian ELF file. Raises InvalidArtifact for anything else, truncated files too."""
    view = memoryview(data)
    try:
        if bytes(view[:4]) != b"\x7fELF" or view[4] not in _CLASSES or view[5] != 1:
            raise _broken("it does not begin like a little-endian ELF file")
        layout = _CLASSES[view[4]]
        fields = layout.header.unpack_from(view)
        kind, machine, table, entry, count = fields[1], fields[2], fields[6], fields[11], fields[12]
        sections = [layout.section.unpack_from(view, table + i * entry) for i in range(count)]
        exports: set[str] = set()
        undefined: set[str] = set()
        for section in sections:
            if section[1] == _SHT_DYNSYM:
                _symbols(view, layout, section, sections[section[6]], exports, undefined)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise _broken(f"its headers point outside of it ({error})") from error
    name = MACHINES.get(machine, f"EM_{machine}")
    return Elf(name, kind == _ET_DYN, frozenset(exports), frozenset(undefined))


def _symbols(
    view: memoryview,
    layout: _Class,
    section: tuple[int, ...],
    strings: tuple[int, ...],
    exports: set[str],
    undefined: set[str],
) -> None:
    offset, size = section[4], section[5]
    text = bytes(view[strings[4] : strings[4] + strings[5]])
    for at in range(offset, offset + size, layout.symbol.size):
        fields = layout.symbol.unpack_from(view, at)
        name, info, index = fields[0], fields[layout.info], fields[layout.index]
        if info >> 4 == 0:  # STB_LOCAL: not seen from outside
            continue
        symbol = text[name : text.index(0, name)].decode()
        (exports if index else undefined).add(symbol)


def _broken(why: str) -> InvalidArtifact:
    return InvalidArtifact("the shared object cannot be read", why=why, fix="compile the model again")
