"""Programs for the rules that move slices and transposes, for powers, and for filters that are their own mirror."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
from pass_programs import apply, graph

from neoc.compile.passes import InferShapes
from neoc.compile.program import Program

Make = Callable[[], Program]
Case = tuple[Make, Mapping[str, Make]]
"""a program that the rule rewrites; guard -> one that it keeps away"""


def made(text: str, opset: int = 17, **tensors: np.ndarray) -> Make:
    used = {name: array for name, array in tensors.items() if re.search(rf"[(,] ?{name}[,)]", text)}
    return lambda: apply(graph(text, opset, **used), InferShapes())


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


# ---- filters -------------------------------------------------------------------------------------


def mirrored(filters: int, taps: int, periodic: bool = True) -> np.ndarray:
    """[filters, 1, taps]: every second filter odd, the others even, about one centre."""
    random = np.random.default_rng(filters + taps)
    n, k = np.arange(taps), np.arange(filters)[:, None] // 2 + 1
    about = taps if periodic else taps - 1
    phase = 2 * np.pi * k * (n - about / 2) / (taps + 1)
    window = 0.5 + random.random(taps)
    other = (about - n) % taps if periodic else about - n
    window = window + window[other]
    waves = np.where(np.arange(filters)[:, None] % 2, np.sin(phase), np.cos(phase)) * window
    if periodic:  # the first tap has no partner, so an odd filter has nothing there
        waves[1::2, 0] = 0.0
    return waves[:, None].astype(np.float32)


def frames(
    x: str = "2,1,40", weight: np.ndarray | None = None, attributes: str = "strides = [4]", before: str = ""
) -> Make:
    weight = mirrored(4, 8) if weight is None else weight
    text = f"(float[{x}] x) => (float y) {{ {before or 's = Identity(x)'} y = Conv <{attributes}> (s, w, b) }}"
    tensors = {"w": weight, "b": array(weight.shape[0]), "p": np.array([0, 0, 3, 0, 0, 2])}
    return made(text, **tensors)


MIRRORED: Case = (
    frames(before='s = Pad <mode = "reflect"> (x, p)', x="2,1,35"),
    {
        "channels": frames("2,2,40", np.repeat(mirrored(4, 8), 2, axis=1)),
        "group": frames("2,2,40", attributes="strides = [4], group = 2"),
        "auto_pad": frames(attributes='auto_pad = "SAME_UPPER", strides = [4]'),
        "pad": frames(attributes="strides = [4], pads = [3, 1]"),
        "dilation": frames(attributes="strides = [4], dilations = [2]"),
        "dynamic": frames("2,1,n"),
        "axis": frames("2,1,3,40", mirrored(4, 8)[:, :, None], "strides = [1, 4]"),
        "symmetry": frames(weight=array(4, 1, 8)),
    },
)


def power(x: str = "float[2,3,4]", exponent: float | np.ndarray = 2.0) -> Make:
    return made(f"({x} x) => ({x.split('[')[0]} y) {{ y = Pow(x, k) }}", k=np.asarray(exponent, np.float32))


POWERS: Case = (
    power(),
    {
        "exponent": power(exponent=1.5),
        "broadcast": power(exponent=np.full((1, 1, 1, 1), 2.0)),
        "dtype": power("int32[2,3,4]", 0.5),
    },
)

# ---- slices --------------------------------------------------------------------------------------


def cut(text: str, x: str = "float[4,6,9] x", opset: int = 17, outputs: str = "float y", **tensors: np.ndarray) -> Make:
    """`text` with constants i0, i1 ... of one integer, and m0, m1 ... below zero."""
    numbers = {f"i{n}": np.array([n]) for n in range(10)} | {f"m{n}": np.array([-n]) for n in range(1, 5)}
    return made(f"({x}) => ({outputs}) {{ {text} }}", opset, **numbers, **tensors)


ONE: Case = (
    cut("a = Slice(x, i1, m1, i1) b = Slice(a, i1, i3, m2) y = Neg(b)"),
    {
        "step": cut("a = Slice(x, i1, i5, i1) y = Slice(a, i0, i4, i1, i2)"),
        "dynamic": cut("a = Slice(x, i1, i8, i1) y = Slice(a, m3, m1, i1)", 'float[4,"n",9] x'),
    },
)
SHARED: Case = (
    cut("a = Slice(x, two, ends, axes) b = Slice(x, i1, i5, i1) c = Slice(a, i0, i1, i0) y = Add(b, c)",
        two=np.array([2, 1]), ends=np.array([4, 5]), axes=np.array([0, 1])),
    {},
)  # fmt: skip


def convolved(slices: str, x: str = "2,4,10,9", attributes: str = "strides = [2, 1], pads = [1, 2, 3, 1]") -> Make:
    groups = 2 if "group" in attributes else 1
    text = f"c = Conv <{attributes}> (x, w, b) y = Slice(c, {slices})"
    return cut(text, f"float[{x}] x", w=array(6, 4 // groups, 3, 2), b=array(6),
               s=np.array([1, 0, 5]), e=np.array([5, 3, 9]), a=np.array([1, 2, 3]))  # fmt: skip


CONVOLVED: Case = (
    convolved("s, e, a"),
    {
        "step": convolved("i0, i4, i2, i2"),
        "dynamic": convolved("i1, i3, i2", '2,4,"n",9'),
        "auto_pad": convolved("i1, i3, i2", attributes='auto_pad = "SAME_UPPER", strides = [2, 1]'),
        "group": convolved("i1, i3, i1", attributes="group = 2"),
    },
)
PARTS: Case = (
    cut("c = Concat <axis = -2> (x, z, x) y = Slice(c, i4, i9, i1)", "float[4,6,9] x, float[4,2,9] z"),
    {
        "step": cut("c = Concat <axis = 1> (x, x) y = Slice(c, i0, i9, i1, i2)"),
        "dynamic": cut("c = Concat <axis = 1> (x, z) y = Slice(c, m3, m1, i1)", 'float[4,"n",9] x, float[4,2,9] z'),
    },
)
RISES: Case = (cut("c = LeakyRelu <alpha = 0.3> (x) y = Slice(c, i0, i9, i1, i2)", 'float[4,"n",9] x'), {})

# ---- transposes ----------------------------------------------------------------------------------


def turned(text: str, x: str = "float[3,4,5] x", **tensors: np.ndarray) -> Make:
    return made(f"({x}) => (float y) {{ {text} }}", **tensors)


TURNED: Case = (
    turned("a = Transpose <perm = [1, 2, 0]> (x) y = Sub(k, a)", k=array(5, 1)),
    {
        "axis": turned("a = Transpose <perm = [1, 2, 0]> (x) b = Transpose <perm = [2, 0, 1]> (z) y = Add(a, b)",
                       "float[3,3,3] x, float[3,3,3] z"),
        "broadcast": turned("a = Transpose <perm = [1, 2, 0]> (x) y = Add(a, k)", k=array(2, 1, 1, 3)),
    },
)  # fmt: skip

LAID: Case = (
    turned("a = Reshape(x, to) y = Mul(k, a)", to=np.array([4, -1]), k=array(1)),
    {
        "dynamic": turned("a = Unsqueeze(x, last) y = Relu(a)", 'float["n","m"] x', last=np.array([2])),
        "empty": turned("a = Unsqueeze(x, last) y = Relu(a)", 'float["n",0] x', last=np.array([2])),
        "broadcast": turned("a = Reshape(x, to) y = Add(a, k)", to=np.array([3, 20]), k=array(20)),
    },
)

MOVES: dict[str, Case] = {
    "mirrored-frames": MIRRORED,
    "powers": POWERS,
    "one-slice": ONE,
    "shared-slice": SHARED,
    "slice-above-conv": CONVOLVED,
    "slice-of-concat": PARTS,
    "slice-rises": RISES,
    "transpose-sinks": TURNED,
    "view-sinks": LAID,
}
