"""The image kernels in LLVM IR: fixed point, separable, on vectors of four RGBx pixels.

    source rows (RGB, 3 bytes a pixel)
      opencv_linear     two rows -> horizontal, 11-bit weights, int16 rows -> vertical -> RGBx rows
      fixed_horizontal  any number of taps, 22-bit weights -> RGBx rows         (Pillow, torchvision)
      fixed_vertical    any number of taps, 22-bit weights, any row of bytes
    RGBx rows (4 bytes a pixel, padded to 16 pixels)
      finish_*          (x / 255 - mean) / std, layout, dtype

A pixel's taps are neighbours in memory, so one 16-byte load fetches them all and one constant byte shuffle puts them in
order: no gather. Four such loads make a vector of 64 bytes; LLVM splits it where the CPU has narrower registers.
The only
CPU-specific choices are two dot products (`_pairs`, `_dot4`).

A 16-byte load may reach past a row. Rows from `safe_rows` on are therefore first copied to `pad`, which has the room.
"""

from __future__ import annotations

from neoc.kernels import jit
from neoc.kernels.ir import DECLARATIONS, Function

SLACK = 64
"""bytes that a copied row needs behind it"""


def has_vnni(features: frozenset[str]) -> bool:
    return "avx512vnni" in features


def has_fma(features: frozenset[str]) -> bool:
    return bool(features & {"fma", "neon"})


# One pixel: R0 G0 B0 R1 G1 B1 ... of 16 bytes -> the taps of each channel side by side.
_TWO_TAPS = [c + 3 * t if c < 3 else -1 for c in range(4) for t in range(2)]
_FOUR_TAPS = [c + 3 * t if c < 3 else -1 for c in range(4) for t in range(4)]


def _pixels(f: Function, row: str, offsets: str, group: str, skip: str | None = None) -> str:
    """Four 16-byte windows of a row as <64 x i8>."""
    parts = []
    for k in range(4):
        offset = f.index(offsets, f.add(f.mul(group, 4), k))
        if skip is not None:
            offset = f.add(offset, skip)
        parts.append(f.load("<16 x i8>", f.at("i8", row, offset)))
    return f.joined("i8", 16, parts)[0]


def _pairs(f: Function, bytes64: str, taps: list[int]) -> str:
    """<64 x i8> of four pixels -> <32 x i16>: for each of 16 (pixel, channel) the two taps named, zero-extended."""
    mask = []
    for pixel in range(4):
        for tap in taps:
            mask += [16 * pixel + tap if tap >= 0 else 64, 64]
    return f.value(f"bitcast <64 x i8> {f.shuffle('<64 x i8>', bytes64, 'zeroinitializer', mask)} to <32 x i16>")


def _dot2(f: Function, features: frozenset[str], a: str, b: str) -> str:
    """<32 x i16> . <32 x i16> -> <16 x i32>: sums of neighbouring products (x86 pmaddwd)."""
    if "avx512bw" in features:
        return f.value(f"call <16 x i32> @llvm.x86.avx512.pmaddw.d.512(<32 x i16> {a}, <32 x i16> {b})")
    wide = [f.value(f"sext <32 x i16> {v} to <32 x i32>") for v in (a, b)]
    product = f.value(f"mul <32 x i32> {wide[0]}, {wide[1]}")
    halves = [f.shuffle("<32 x i32>", product, "poison", range(start, 32, 2)) for start in (0, 1)]
    return f.value(f"add <16 x i32> {halves[0]}, {halves[1]}")


_DOT_DECLARATIONS = {
    "avx512bw": "declare <16 x i32> @llvm.x86.avx512.pmaddw.d.512(<32 x i16>, <32 x i16>)\n",
    "avx512vnni": "declare <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32>, DOT, DOT)\n",
}


def _source_row(f: Function, y: str) -> str:
    """The address of source row y, or of its copy with room behind it."""
    slot = f.variable("ptr", f.at("i8", "%src", f.mul(y, "%stride")))
    with f.when(f.value(f"icmp sge i64 {y}, %safe_rows")):
        f.do(f"call void @llvm.memcpy.p0.p0.i64(ptr %pad, ptr {f.load('ptr', slot)}, i64 %row_bytes, i1 false)")
        f.store("ptr", "%pad", slot)
    return f.load("ptr", slot)


@jit.ir_kernel(
    "opencv_linear",
    *("u8*", "i64", "i64", "i64", "u8*"),
    *("i32*", "i16*", "i64", "i32*", "i16*", "i64", "i64", "i16*", "u8*"),
)
def opencv_linear(features: frozenset[str]) -> str:
    """cv::resize INTER_LINEAR, 8 bit: rows y0..y1 of the result as RGBx.

    src, stride, safe_rows, row_bytes, pad: the source. x_offset int32 [groups * 4]: byte of a pixel's first tap;
    x_weight
    int16 [groups, 16, 2]. y_row int32 [oh, 2], y_weight int16 [oh, 2]. rows: int16 scratch [2, groups * 16].
    dst: [y1 - y0, groups * 16] bytes.
    """
    h = Function("linear_row", "ptr %row, ptr %x_offset, ptr %x_weight, i64 %groups, ptr %out", internal=True)
    with h.loop(0, "%groups") as group:
        taps = _pairs(h, _pixels(h, "%row", "%x_offset", group), _TWO_TAPS)
        weight = h.load("<32 x i16>", h.at("<32 x i16>", "%x_weight", group))
        total = _dot2(h, features, taps, weight)
        # 255 * 2048 >> 4 fits 15 bits: the vertical pass starts with this shift, so the row is kept as int16.
        shifted = h.value(f"lshr <16 x i32> {total}, {_constant(16, 'i32', 4)}")
        h.store("<16 x i16>", h.value(f"trunc <16 x i32> {shifted} to <16 x i16>"), h.at("<16 x i16>", "%out", group))

    f = Function(
        "opencv_linear",
        "ptr %src, i64 %stride, i64 %safe_rows, i64 %row_bytes, ptr %pad, ptr %x_offset, ptr %x_weight, i64 %groups, "
        "ptr %y_row, ptr %y_weight, i64 %y0, i64 %y1, ptr %rows, ptr %dst",
    )
    width = f.mul("%groups", 16)
    buffer = [f.variable("ptr", "%rows"), f.variable("ptr", f.at("i16", "%rows", width))]
    held = [f.variable("i64", "-1"), f.variable("i64", "-1")]

    def fetch(k: int, row: str) -> None:
        with f.when(f.value(f"icmp ne i64 {row}, {f.load('i64', held[k])}")):
            out = f.load("ptr", buffer[k])
            address = _source_row(f, row)
            f.do(f"call void @linear_row(ptr {address}, ptr %x_offset, ptr %x_weight, i64 %groups, ptr {out})")
            f.store("i64", row, held[k])

    with f.loop("%y0", "%y1") as y:
        first, second = (f.index("%y_row", f.add(f.mul(y, 2), k)) for k in (0, 1))
        with f.when(f.value(f"icmp eq i64 {first}, {f.load('i64', held[1])}")):
            for pair, kind in ((buffer, "ptr"), (held, "i64")):
                a, b = (f.load(kind, slot) for slot in pair)
                f.store(kind, b, pair[0])
                f.store(kind, a, pair[1])
        fetch(0, first)
        fetch(1, second)
        above, below = (f.load("ptr", slot) for slot in buffer)
        weights = [f.splat(32, "i16", f.element("i16", "%y_weight", f.add(f.mul(y, 2), k))) for k in (0, 1)]
        line = f.at("i8", "%dst", f.mul(f.value(f"sub i64 {y}, %y0"), width))
        with f.loop(0, width, 32) as x:
            parts = [
                _high_product(f, f.load("<32 x i16>", f.at("i16", p, x)), w)
                for p, w in ((above, weights[0]), (below, weights[1]))
            ]
            total = f.value(f"add <32 x i16> {parts[0]}, {parts[1]}")
            total = f.value(f"add <32 x i16> {total}, {_constant(32, 'i16', 2)}")
            total = f.value(f"lshr <32 x i16> {total}, {_constant(32, 'i16', 2)}")
            f.store("<32 x i8>", f.value(f"trunc <32 x i16> {total} to <32 x i8>"), f.at("i8", line, x))
    return DECLARATIONS + _DOT_DECLARATIONS["avx512bw"] * ("avx512bw" in features) + h.text() + f.text()


def _high_product(f: Function, a: str, b: str) -> str:
    """(a * b) >> 16 of int16 lanes (x86 pmulhw)."""
    wide = [f.value(f"sext <32 x i16> {v} to <32 x i32>") for v in (a, b)]
    product = f.value(f"mul <32 x i32> {wide[0]}, {wide[1]}")
    high = f.value(f"lshr <32 x i32> {product}, {_constant(32, 'i32', 16)}")
    return f.value(f"trunc <32 x i32> {high} to <32 x i16>")


def _constant(lanes: int, kind: str, value: int | str) -> str:
    return "<" + ", ".join([f"{kind} {value}"] * lanes) + ">"


def _clipped(f: Function, lanes: int, total: str, bits: str) -> str:
    """Shift right by `bits`, clip to 0..255, as bytes."""
    kind = f"<{lanes} x i32>"
    shift = f.splat(lanes, "i32", f.value(f"trunc i64 {bits} to i32"))
    value = f.value(f"ashr {kind} {total}, {shift}")
    value = f.value(f"call {kind} @llvm.smax.v{lanes}i32({kind} {value}, {kind} zeroinitializer)")
    value = f.value(f"call {kind} @llvm.smin.v{lanes}i32({kind} {value}, {kind} {_constant(lanes, 'i32', 255)})")
    return f.value(f"trunc {kind} {value} to <{lanes} x i8>")


def _rounding(f: Function, lanes: int) -> str:
    half = f.value(f"shl i32 1, {f.value('trunc i64 ' + f.value('sub i64 %bits, 1') + ' to i32')}")
    return f.splat(lanes, "i32", half)


_CLIP_DECLARATIONS = "".join(
    f"declare <{n} x i32> @llvm.{op}.v{n}i32(<{n} x i32>, <{n} x i32>)\n"
    for n in (1, 16, 64)
    for op in ("smax", "smin")
)


@jit.ir_kernel(
    "fixed_horizontal",
    *("u8*", "i64", "i64", "i64", "u8*"),
    *("i32*", "u8*", "i64", "i64", "i64", "i64", "i64", "u8*"),
)
def fixed_horizontal(features: frozenset[str]) -> str:
    """Rows y0..y1 resampled along x with int32 weights of `bits` fraction bits, as RGBx.

    x_offset int32 [groups * 4]: byte of a pixel's first tap. weight: uint8 [groups, quads, ...] as `pack_weights` of
    image_tables writes it for this CPU: a weight is split into bytes (VNNI) or into two int16, because no instruction
    multiplies a byte by 22 bits. Sums of parts are exact in int32, so the split changes no bit.
    """
    vnni = has_vnni(features)
    f = Function(
        "fixed_horizontal",
        "ptr %src, i64 %stride, i64 %safe_rows, i64 %row_bytes, ptr %pad, ptr %x_offset, ptr %weight, i64 %groups, "
        "i64 %quads, i64 %bits, i64 %y0, i64 %y1, ptr %dst",
    )
    parts = 3 if vnni else 2
    block = 64 * (3 if vnni else 4)
    rounding = _rounding(f, 16)
    with f.loop("%y0", "%y1") as y:
        row = _source_row(f, y)
        line = f.at("<16 x i8>", "%dst", f.mul(f.value(f"sub i64 {y}, %y0"), "%groups"))
        with f.loop(0, "%groups") as group:
            sums = [f.variable("<16 x i32>", "zeroinitializer") for _ in range(parts)]
            with f.loop(0, "%quads") as quad:
                window = _pixels(f, row, "%x_offset", group, f.mul(quad, 12))
                at = f.at("i8", "%weight", f.mul(f.add(f.mul(group, "%quads"), quad), block))
                products = _dot4(f, features, window, at)
                for slot, product in zip(sums, products, strict=True):
                    f.store("<16 x i32>", f.value(f"add <16 x i32> {f.load('<16 x i32>', slot)}, {product}"), slot)
            total = rounding
            for k, slot in enumerate(sums):
                shift = _constant(16, "i32", 8 * k if vnni else 11 * k)
                part = f.value(f"shl <16 x i32> {f.load('<16 x i32>', slot)}, {shift}")
                total = f.value(f"add <16 x i32> {total}, {part}")
            f.store("<16 x i8>", _clipped(f, 16, total, "%bits"), f.at("<16 x i8>", line, group))
    names = [n for n in _DOT_DECLARATIONS if n in features]
    dots = "".join(_DOT_DECLARATIONS[n] for n in names).replace("DOT", _dot_type())
    return DECLARATIONS + _CLIP_DECLARATIONS + dots + f.text()


def _dot_type() -> str:
    """LLVM 22 gave vpdpbusd byte vectors; before, it took <16 x i32>."""
    import llvmlite.binding as llvm

    return "<64 x i8>" if llvm.llvm_version_info[0] >= 22 else "<16 x i32>"


def _dot4(f: Function, features: frozenset[str], window: str, weight: str) -> list[str]:
    """Four taps of 16 (pixel, channel) times each part of their weights: one <16 x i32> a part, lowest first."""
    if has_vnni(features):
        mask = [16 * p + t if t >= 0 else 64 for p in range(4) for t in _FOUR_TAPS]
        taps = f.shuffle("<64 x i8>", window, "zeroinitializer", mask)
        kind = _dot_type()
        if kind != "<64 x i8>":
            taps = f.value(f"bitcast <64 x i8> {taps} to {kind}")
        results = []
        for k in range(3):
            part = f.load(kind, f.at("i8", weight, str(64 * k)))
            zero = "<16 x i32> zeroinitializer"
            call = f"call <16 x i32> @llvm.x86.avx512.vpdpbusd.512({zero}, {kind} {taps}, {kind} {part})"
            results.append(f.value(call))
        return results
    halves = [[_FOUR_TAPS[4 * c + t] for c in range(4) for t in pair] for pair in ((0, 1), (2, 3))]
    pairs = [_pairs(f, window, half) for half in halves]
    results = []
    for k in range(2):
        dots = [
            _dot2(f, features, pairs[i], f.load("<32 x i16>", f.at("i8", weight, str(64 * (2 * k + i)))))
            for i in (0, 1)
        ]
        results.append(f.value(f"add <16 x i32> {dots[0]}, {dots[1]}"))
    return results


@jit.ir_kernel(
    "fixed_vertical", *("u8*", "i64", "i32*", "i32*", "i32*", "i64", "i64", "i64", "i64", "i64", "i64", "u8*", "i64")
)
def fixed_vertical(features: frozenset[str]) -> str:
    """Rows y0..y1 of `width` bytes, each a weighted sum of rows first[y] - row0 .. + count[y] of src.

    weight: int32 [oh, taps].
    """
    f = Function(
        "fixed_vertical",
        "ptr %src, i64 %stride, ptr %first, ptr %count, ptr %weight, i64 %taps, i64 %bits, i64 %width, i64 %row0, "
        "i64 %y0, i64 %y1, ptr %dst, i64 %dst_stride",
    )
    whole = f.value("and i64 %width, -64")
    with f.loop("%y0", "%y1") as y:
        top = f.at("i8", "%src", f.mul(f.value(f"sub i64 {f.index('%first', y)}, %row0"), "%stride"))
        count = f.index("%count", y)
        weights = f.at("i32", "%weight", f.mul(y, "%taps"))
        line = f.at("i8", "%dst", f.mul(f.value(f"sub i64 {y}, %y0"), "%dst_stride"))
        for lanes, start, end in ((64, "0", whole), (1, whole, "%width")):
            kind = f"<{lanes} x i32>"
            with f.loop(start, end, lanes) as x:
                slot = f.variable(kind, _rounding(f, lanes))
                with f.loop(0, count) as tap:
                    at = f.at("i8", top, f.add(f.mul(tap, "%stride"), x))
                    pixel = f.value(f"zext <{lanes} x i8> {f.load(f'<{lanes} x i8>', at)} to {kind}")
                    weight = f.splat(lanes, "i32", f.element("i32", weights, tap))
                    product = f.value(f"mul {kind} {pixel}, {weight}")
                    f.store(kind, f.value(f"add {kind} {f.load(kind, slot)}, {product}"), slot)
                f.store(f"<{lanes} x i8>", _clipped(f, lanes, f.load(kind, slot), "%bits"), f.at("i8", line, x))
    return DECLARATIONS + _CLIP_DECLARATIONS + f.text()
