"""The last step of an image: RGBx bytes -> (x / divisor - mean) / std -> layout -> dtype, in LLVM IR.

The arithmetic is float32 with every operation rounded, in the order in which numpy (divide by 255) or torchvision
(multiply by 1/255) does it, so that the result has the same bits. A division by a constant d costs three fused
operations instead of one slow division: q = x * (1/d), then q + fma(-q, d, x) * (1/d), which is the correctly rounded
quotient (Markstein). `image.py` checks it against a true division for all 256 values when the constants are chosen.
"""

from __future__ import annotations

from neoc.kernels import jit
from neoc.kernels.image_ir import _constant, has_fma
from neoc.kernels.ir import DECLARATIONS, Function

LAYOUTS = ("nchw", "nhwc", "nhwc_swapped")
OUTPUTS = {"float32": "f32", "bfloat16": "u16", "float16": "u16", "int8": "i8", "uint8": "u8"}
FIELDS = ("factor", "divisor", "mean", "std", "std_inverse", "step", "step_inverse", "zero")
"""Rows of the constants: float32 [3 vectors, fields, 16 lanes]."""


def lane_channels(layout: str) -> list[list[tuple[int, int]]]:
    """For each of the 3 output vectors of 16 pixels: (pixel, source channel) of its 16 lanes."""
    if layout == "nchw":
        return [[(lane, vector) for lane in range(16)] for vector in range(3)]
    order = (2, 1, 0) if layout == "nhwc_swapped" else (0, 1, 2)
    return [[(e // 3, order[e % 3]) for e in range(16 * v, 16 * v + 16)] for v in range(3)]


def _register(layout: str, dtype: str, corrected: bool) -> jit.Kernel:
    name = f"finish_{layout}_{dtype}" + ("" if corrected else "_once")
    parameters = ("u8*", "i64", "i64", f"{OUTPUTS[dtype]}*", "i64", "i64", "f32*")

    @jit.ir_kernel(name, *parameters)
    def finish(features: frozenset[str]) -> str:
        """rows [n, stride] RGBx -> out; out_row and plane in elements; corrected: the first step is a division too."""
        return _finish_ir(name, layout, dtype, corrected, features)

    return finish


def _finish_ir(name: str, layout: str, dtype: str, corrected: bool, features: frozenset[str]) -> str:
    f = Function(
        name,
        "ptr noalias %src, i64 %rows, i64 %width, ptr noalias %out, i64 %out_row, i64 %plane, ptr noalias %constants",
    )
    fields = FIELDS if dtype in ("int8", "uint8") else FIELDS[:5]
    constants = [
        {
            n: f.load("<16 x float>", f.at("<16 x float>", "%constants", str(v * len(FIELDS) + k)))
            for k, n in enumerate(fields)
        }
        for v in range(3)
    ]
    element = {"float32": "float", "float16": "half", "bfloat16": "i16"}.get(dtype, "i8")
    per_pixel = 1 if layout == "nchw" else 3
    groups = f.value(f"sdiv i64 {f.add('%width', 15)}, 16")
    stride = f.mul(groups, 64)
    last = f.value("sub i64 %width, 16")
    narrow = f.value("icmp slt i64 %width, 16")
    spare = f.buffer(f"[48 x {element}]")

    def emit(pixels: str, target: list[str]) -> None:
        window = f.load("<64 x i8>", pixels)
        for v, lanes in enumerate(lane_channels(layout)):
            chosen = f.shuffle("<64 x i8>", window, "poison", [4 * p + c for p, c in lanes])
            value = f.value(f"uitofp <16 x i8> {chosen} to <16 x float>")
            value = _normalised(f, value, constants[v], corrected, has_fma(features))
            kind, converted = _converted(f, value, dtype, constants[v], has_fma(features))
            f.store(kind, converted, target[v])

    def targets(base: str, x: str, plane: str) -> list[str]:
        start = f.at(element, base, f.mul(x, per_pixel))
        step = plane if layout == "nchw" else "16"
        return [f.at(element, start, f.mul(step, v)) for v in range(3)]

    with f.loop(0, "%rows") as y:
        line = f.at("i8", "%src", f.mul(y, stride))
        out = f.at(element, "%out", f.mul(y, "%out_row"))
        with f.when(f.value(f"xor i1 {narrow}, true")), f.loop(0, "%width", 16) as i:
            # The last vector of a row starts early enough to end with it; the overlap is written twice.
            x = f.smaller(i, last)
            emit(f.at("i8", line, f.mul(x, 4)), targets(out, x, "%plane"))
        with f.when(narrow):
            emit(line, targets(spare, "0", "16"))
            size = {"float": 4, "half": 2, "i16": 2, "i8": 1}[element]
            count = f.mul("%width", size * per_pixel)
            for v in range(3 if layout == "nchw" else 1):
                source = f.at(element, spare, str(16 * v))
                target = f.at(element, out, f.mul("%plane", v))
                f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {count}, i1 false)")
    return DECLARATIONS + _DECLARATIONS + f.text()


_DECLARATIONS = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
declare <16 x float> @llvm.rint.v16f32(<16 x float>)
declare <16 x float> @llvm.minnum.v16f32(<16 x float>, <16 x float>)
declare <16 x float> @llvm.maxnum.v16f32(<16 x float>, <16 x float>)
"""
_V = "<16 x float>"


def _normalised(f: Function, x: str, c: dict[str, str], corrected: bool, fused: bool) -> str:
    if corrected:
        x = _quotient(f, x, c["divisor"], c["factor"], fused)
    else:
        x = f.value(f"fmul {_V} {x}, {c['factor']}")
    x = f.value(f"fsub {_V} {x}, {c['mean']}")
    return _quotient(f, x, c["std"], c["std_inverse"], fused)


def _quotient(f: Function, x: str, divisor: str, inverse: str, fused: bool) -> str:
    if not fused:
        return f.value(f"fdiv {_V} {x}, {divisor}")
    q = f.value(f"fmul {_V} {x}, {inverse}")
    minus = f.value(f"fneg {_V} {q}")
    rest = f.value(f"call {_V} @llvm.fma.v16f32({_V} {minus}, {_V} {divisor}, {_V} {x})")
    return f.value(f"call {_V} @llvm.fma.v16f32({_V} {rest}, {_V} {inverse}, {_V} {q})")


def _converted(f: Function, x: str, dtype: str, c: dict[str, str], fused: bool) -> tuple[str, str]:
    """(vector type, value) in the output's dtype."""
    if dtype == "float32":
        return _V, x
    if dtype == "float16":
        return "<16 x half>", f.value(f"fptrunc {_V} {x} to <16 x half>")
    if dtype == "bfloat16":
        # Half to even by integer arithmetic: the CPU's own instruction would flush subnormals.
        bits = f.value(f"bitcast {_V} {x} to <16 x i32>")
        high = f.value(f"lshr <16 x i32> {bits}, {_constant(16, 'i32', 16)}")
        odd = f.value(f"and <16 x i32> {high}, {_constant(16, 'i32', 1)}")
        total = f.value(f"add <16 x i32> {bits}, {_constant(16, 'i32', 0x7FFF)}")
        total = f.value(f"lshr <16 x i32> {f.value(f'add <16 x i32> {total}, {odd}')}, {_constant(16, 'i32', 16)}")
        return "<16 x i16>", f.value(f"trunc <16 x i32> {total} to <16 x i16>")
    low, high_ = ("-128.0", "127.0") if dtype == "int8" else ("0.0", "255.0")
    q = _quotient(f, x, c["step"], c["step_inverse"], fused)
    q = f.value(f"call {_V} @llvm.rint.v16f32({_V} {q})")
    q = f.value(f"fadd {_V} {q}, {c['zero']}")
    q = f.value(f"call {_V} @llvm.maxnum.v16f32({_V} {q}, {_V} {_constant(16, 'float', low)})")
    q = f.value(f"call {_V} @llvm.minnum.v16f32({_V} {q}, {_V} {_constant(16, 'float', high_)})")
    whole = f.value(f"fptosi {_V} {q} to <16 x i32>")
    return "<16 x i8>", f.value(f"trunc <16 x i32> {whole} to <16 x i8>")


FINISH = {
    (layout, dtype, corrected): _register(layout, dtype, corrected)
    for layout in LAYOUTS
    for dtype in OUTPUTS
    for corrected in (True, False)
}
