"""A relocatable ELF object -> bytes that run from any page: sections side by side, relocations applied.

Only what LLVM emits for a kernel that calls nothing outside itself: code and constants, addressed relative to the
place of use. Sources of the relocations: the psABI supplements for x86-64, AArch64 and the 32-bit Arm architecture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from neoc.kernels.errors import KernelCompileError

_MACHINES = {62: "x86_64", 183: "aarch64", 40: "arm"}
_PROGBITS, _SYMTAB, _RELA, _REL = 1, 2, 4, 9
_ALLOC = 2


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


def flattened(elf: bytes, entry: str) -> tuple[str, bytes, int]:
    """(architecture, image, offset of the function `entry`). Raises KernelCompileError for what cannot be flat."""
    wide = elf[4] == 2
    arch = _MACHINES.get(struct.unpack_from("<H", elf, 18)[0], "")
    if elf[:4] != b"\x7fELF" or not arch:
        raise _error("it is no ELF object of a known machine")
    sections = _sections(elf, wide)
    image, places = _laid_out(elf, sections)
    symbols = _symbols(elf, sections, wide)
    for section in sections:
        if section.kind not in (_RELA, _REL) or section.info not in places:
            continue
        for where, kind, symbol, addend in _relocations(elf, section, wide):
            name, index, value = symbols[symbol]
            if index not in places:
                raise _error(f"it needs {name or 'something'} from outside")
            at = places[section.info] + where
            _apply(arch, kind, image, at, places[index] + value, addend)
    found = [places[i] + value for name, i, value in symbols if name == entry and i in places]
    if not found:
        raise _error(f"it does not define {entry}")
    return arch, bytes(image), found[0]


def section(elf: bytes | bytearray, name: str) -> tuple[int, int]:
    """(where the section's bytes lie in the file, how many). Raises KernelCompileError where there is none."""
    for found in _sections(bytes(elf), elf[4] == 2):
        if found.name == name:
            return found.offset, found.size
    raise _error(f"it has no section {name}")


def _error(why: str) -> KernelCompileError:
    return KernelCompileError("the object code of a tree kernel cannot be made an image", why=why)


def _sections(elf: bytes, wide: bool) -> list[_Section]:
    start = struct.unpack_from("<Q" if wide else "<I", elf, 40 if wide else 32)[0]
    size, count, names = struct.unpack_from("<HHH", elf, 58 if wide else 46)
    form = struct.Struct("<IIQQQQIIQQ" if wide else "<10I")
    raw = [form.unpack_from(elf, start + k * size) for k in range(count)]
    strings = raw[names][4]
    return [_Section(_text(elf, strings + r[0]), r[1], r[2], r[4], r[5], r[6], r[7], max(1, r[8])) for r in raw]


def _text(elf: bytes, at: int) -> str:
    return elf[at : elf.index(b"\0", at)].decode()


def _laid_out(elf: bytes, sections: list[_Section]) -> tuple[bytearray, dict[int, int]]:
    """(bytes, section -> its place); unwinding tables are left out: nothing here throws."""
    image, places = bytearray(), {}
    for index, s in enumerate(sections):
        if s.kind == _PROGBITS and s.flags & _ALLOC and s.size and not s.name.startswith((".eh_frame", ".ARM.ex")):
            image += bytes(-len(image) % s.align)
            places[index] = len(image)
            image += elf[s.offset : s.offset + s.size]
    return image, places


def _symbols(elf: bytes, sections: list[_Section], wide: bool) -> list[tuple[str, int, int]]:
    """(name, section, value) of each."""
    found = []
    for s in sections:
        if s.kind != _SYMTAB:
            continue
        strings, step = sections[s.link].offset, 24 if wide else 16
        for at in range(s.offset, s.offset + s.size, step):
            if wide:
                name, _, _, index, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
            else:
                name, value, _, _, _, index = struct.unpack_from("<IIIBBH", elf, at)
            found.append((_text(elf, strings + name), index, value))
    return found


def _relocations(elf: bytes, s: _Section, wide: bool) -> list[tuple[int, int, int, int | None]]:
    """(offset, type, symbol, addend; None where it lies in the place itself)."""
    found: list[tuple[int, int, int, int | None]] = []
    if wide:
        for where, info, addend in struct.iter_unpack("<QQq", elf[s.offset : s.offset + s.size]):
            found.append((where, info & 0xFFFFFFFF, info >> 32, addend))
    else:
        for where, info in struct.iter_unpack("<II", elf[s.offset : s.offset + s.size]):
            found.append((where, info & 0xFF, info >> 8, None))
    return found


def _apply(arch: str, kind: int, image: bytearray, at: int, symbol: int, addend: int | None) -> None:
    rule = _RULES.get((arch, kind))
    if rule is None:
        raise _error(f"relocation {kind} of {arch} is not known")
    (word,) = struct.unpack_from("<I", image, at)
    struct.pack_into("<I", image, at, rule(word, symbol, at, addend) & 0xFFFFFFFF)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _low12(shift: int) -> Callable[[int, int, int, int | None], int]:
    """The lowest 12 bits of the address, as a multiple of 2^shift, in bits 10..21."""

    def rule(word: int, s: int, p: int, a: int | None) -> int:
        return word & ~(0xFFF << 10) | (((s + (a or 0)) & 0xFFF) >> shift) << 10

    return rule


def _page(word: int, s: int, p: int, a: int | None) -> int:
    """adrp: the distance in pages; images are mapped to whole pages."""
    pages = ((s + (a or 0)) >> 12) - (p >> 12)
    return word & ~(3 << 29 | 0x7FFFF << 5) | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5


def _branch(word: int, s: int, p: int, a: int | None) -> int:
    return word & ~0x3FFFFFF | (s + (a or 0) - p) >> 2 & 0x3FFFFFF


def _arm_branch(word: int, s: int, p: int, a: int | None) -> int:
    return word & ~0xFFFFFF | (s + (_signed(word & 0xFFFFFF, 24) << 2) - p) >> 2 & 0xFFFFFF


def _arm_half(shift: int) -> Callable[[int, int, int, int | None], int]:
    """movw / movt of a distance: bits 0..11 and 16..19."""

    def rule(word: int, s: int, p: int, a: int | None) -> int:
        addend = _signed((word >> 4 & 0xF000) | word & 0xFFF, 16)
        half = (s + addend - p) >> shift & 0xFFFF
        return word & ~0xF0FFF | (half & 0xF000) << 4 | half & 0xFFF

    return rule


def _distance(word: int, s: int, p: int, a: int | None) -> int:
    return s - p + (_signed(word, 32) if a is None else a)


_RULES: dict[tuple[str, int], Callable[[int, int, int, int | None], int]] = {
    ("x86_64", 2): _distance,  # R_X86_64_PC32
    ("x86_64", 4): _distance,  # R_X86_64_PLT32
    ("aarch64", 261): _distance,  # R_AARCH64_PREL32
    ("aarch64", 275): _page,  # R_AARCH64_ADR_PREL_PG_HI21
    ("aarch64", 277): _low12(0),  # R_AARCH64_ADD_ABS_LO12_NC
    ("aarch64", 278): _low12(0),  # R_AARCH64_LDST8_ABS_LO12_NC
    ("aarch64", 284): _low12(1),
    ("aarch64", 285): _low12(2),
    ("aarch64", 286): _low12(3),
    ("aarch64", 299): _low12(4),
    ("aarch64", 282): _branch,  # R_AARCH64_JUMP26
    ("aarch64", 283): _branch,  # R_AARCH64_CALL26
    ("arm", 3): _distance,  # R_ARM_REL32
    ("arm", 28): _arm_branch,  # R_ARM_CALL
    ("arm", 29): _arm_branch,  # R_ARM_JUMP24
    ("arm", 45): _arm_half(0),  # R_ARM_MOVW_PREL_NC
    ("arm", 46): _arm_half(16),  # R_ARM_MOVT_PREL
}
