"""Quantising arrays that no cache holds: 64 elements a step, read ahead, stored past the caches.

An ordinary store first fetches the line that it is about to overwrite. Where the result is larger than what a cache
keeps for the next reader, storing past it saves that traffic: a third of all bytes moved when dequantising.
"""

from __future__ import annotations

from neoc.kernels.ir import DECLARATIONS, Function

STEP = 64
"""elements; the result must begin at a multiple of 64 bytes"""
_AHEAD = 4096
"""bytes; the hardware's own prefetching stops at the end of a page"""
_F, _I = "<16 x float>", "<16 x i32>"
_DECLARATIONS = """
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
!0 = !{i32 1}
"""


def quantize_ir(name: str, low: int, high: int) -> str:
    """x[steps * 64] float32 -> q int8 or uint8, the bits of `quantize`.

    Adding 1.5 * 2^23 rounds half to even and leaves the whole number in the low bits of the sum.
    """
    f = Function(name, "ptr noalias %x, ptr noalias %q, float %scale, float %zero, i64 %steps")
    scale, magic = f.splat(16, "float", "%scale"), f.splat(16, "float", "12582912.0")
    zero = f.splat(16, "i32", f.value("fptosi float %zero to i32"))
    least, most = (f.splat(16, "float", f.value(f"fsub float {float(limit)}, %zero")) for limit in (low, high))
    end = f.mul("%steps", STEP)
    with f.loop(0, end, STEP) as i:
        source = f.at("float", "%x", i)
        _prefetch(f, source, 4)
        parts = []
        for k in range(4):
            v = f.value(f"fdiv {_F} {f.load(_F, f.at('float', source, str(16 * k)))}, {scale}")
            nan = f.value(f"fcmp uno {_F} {v}, {v}")
            v = f.value(f"select <16 x i1> {nan}, {_F} zeroinitializer, {_F} {v}")
            for test, limit in (("ogt", least), ("olt", most)):
                inside = f.value(f"fcmp {test} {_F} {v}, {limit}")
                v = f.value(f"select <16 x i1> {inside}, {_F} {v}, {_F} {limit}")
            bits = f.value(f"bitcast {_F} {f.value(f'fadd {_F} {v}, {magic}')} to {_I}")
            parts.append(f.value(f"trunc {_I} {f.value(f'add {_I} {bits}, {zero}')} to <16 x i8>"))
        whole, _ = f.joined("i8", 16, parts)
        f.do(f"store <64 x i8> {whole}, ptr {f.at('i8', '%q', i)}, align 64, !nontemporal !0")
    f.do("fence seq_cst")  # stores past the caches are weakly ordered
    return DECLARATIONS + _DECLARATIONS + f.text()


def dequantize_ir(name: str, signed: bool) -> str:
    """q[steps * 64] int8 or uint8 -> x float32: (q - zero) * scale."""
    f = Function(name, "ptr noalias %q, ptr noalias %x, float %scale, i64 %zero, i64 %steps")
    scale = f.splat(16, "float", "%scale")
    zero = f.splat(16, "i32", f.value("trunc i64 %zero to i32"))
    end = f.mul("%steps", STEP)
    with f.loop(0, end, STEP) as i:
        source, target = f.at("i8", "%q", i), f.at("float", "%x", i)
        _prefetch(f, source, 1)
        for k in range(4):
            raw = f.load("<16 x i8>", f.at("i8", source, str(16 * k)))
            wide = f.value(f"{'sext' if signed else 'zext'} <16 x i8> {raw} to {_I}")
            v = f.value(f"sitofp {_I} {f.value(f'sub {_I} {wide}, {zero}')} to {_F}")
            v = f.value(f"fmul {_F} {v}, {scale}")
            f.do(f"store {_F} {v}, ptr {f.at('float', target, str(16 * k))}, align 64, !nontemporal !0")
    f.do("fence seq_cst")
    return DECLARATIONS + _DECLARATIONS + f.text()


def _prefetch(f: Function, source: str, lines: int) -> None:
    """An address past the array's end is no fault."""
    for line in range(lines):
        f.do(f"call void @llvm.prefetch.p0(ptr {f.at('i8', source, str(_AHEAD + 64 * line))}, i32 0, i32 3, i32 1)")
