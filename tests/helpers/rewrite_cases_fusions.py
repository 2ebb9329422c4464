"""Programs for the rules that put spelled-out operators together again."""

from __future__ import annotations

import numpy as np
from rewrite_cases_moves import Case, Make, array, made

NUMBERS = {
    "half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "root": 2**0.5, "inverse": 2**-0.5, "cubic": 0.044715,
    "tanh": (2 / np.pi) ** 0.5, "zero": 0.0, "six": 6.0, "sixth": 1 / 6, "eps": 1e-3, "off": 1.1, "low": -0.5,
}  # fmt: skip


def spelled(text: str, x: str = "float[2,3,5] x", opset: int = 20, **tensors: np.ndarray) -> Make:
    numbers = {name: np.array(value, np.float32) for name, value in NUMBERS.items()}
    return made(f"({x}) => (float y) {{ {text} }}", opset, **numbers, **tensors)


ERF = "d = Div(x, {root}) e = Erf(d) s = Add(e, {one}) m = Mul(x, s) y = Mul(m, half)"
TANH = """p = Pow(x, three) c = Mul(p, cubic) a = Add(x, c) t = Mul(a, {tanh}) h = Tanh(t) s = Add(one, h)
w = Mul(half, x) y = Mul(w, s)"""
SWISH = "{first} g = Sigmoid({x}) y = Mul(x, g)"
HARD = "a = Add(x, {three}) c = Clip(a, zero, {six}) m = Mul(x, c) y = Div(m, six)"

GELU: Case = (
    spelled(ERF.format(root="root", one="one")),
    {
        "opset": spelled(ERF.format(root="root", one="one"), opset=17),
        "constant": spelled(ERF.format(root="off", one="one")),
    },
)
GELU_TANH: Case = (
    spelled(TANH.format(tanh="tanh")),
    {"opset": spelled(TANH.format(tanh="tanh"), opset=17), "constant": spelled(TANH.format(tanh="off"))},
)
SILU: Case = (
    spelled(SWISH.format(first="", x="x"), opset=24),
    {
        "opset": spelled(SWISH.format(first="", x="x"), opset=17),
        "constant": spelled(SWISH.format(first="z = Mul(x, two)", x="z"), opset=24),
    },
)
HARD_SWISH: Case = (
    spelled(HARD.format(three="three", six="six"), opset=17),
    {
        "opset": spelled(HARD.format(three="three", six="six"), opset=13),
        "constant": spelled(HARD.format(three="two", six="six"), opset=17),
    },
)

# ---- normalisations ------------------------------------------------------------------------------

LAYER = """m = ReduceMean <axes = [{axis}], keepdims = {keep}> (x) d = Sub(x, m) q = Mul(d, d)
v = ReduceMean <axes = [{axis}], keepdims = {keep}> (q) e = Add(v, eps) r = Sqrt(e) n = Div(d, r)
s = Mul(n, scale) y = Add(s, bias)"""
SUMS = """t = ReduceSum <keepdims = 0> (x, axis) m = Mul(t, {number}) u = Unsqueeze(m, axis) d = Sub(x, u) q = Mul(d, d)
w = ReduceSum <keepdims = 0> (q, {other}) v = Mul(w, {number}) z = Unsqueeze(v, axis) e = Add(z, eps) r = Sqrt(e)
n = Div(d, r) y = Mul(n, scale)"""
RMS = """q = Pow(x, two) v = ReduceMean <axes = [{axis}], keepdims = {keep}> (q) e = Add(v, eps) r = Sqrt(e)
i = Reciprocal(r) n = Mul(x, i) y = Mul(n, scale)"""
RMS_SUMS = """q = Pow(x, two) t = ReduceSum <keepdims = 0> (q, axis) v = Mul(t, {number}) u = Unsqueeze(v, {other})
e = Add(u, eps) r = Sqrt(e) i = Reciprocal(r) n = Mul(x, i) y = Mul(n, scale)"""


def layer(
    axis: int = -1, keep: int = 1, x: str = "2,3,5", scale: tuple[int, ...] = (5,), opset: int = 17, of: str = LAYER
) -> Make:
    text = of.format(axis=axis, keep=keep)
    return spelled(text, f"float[{x}] x", opset, scale=1 + array(*scale) ** 2, bias=array(*scale))


def sums(of: str, x: str = "4,4,4", number: float = 0.25, other: str = "axis", opset: int = 17) -> Make:
    text = of.format(number="part", other=other)
    tensors = {"part": np.array(number, np.float32), "axis": np.array([2]), "beside": np.array([1])}
    return spelled(text, f"float[{x}] x", opset, scale=array(1), **tensors)


def reduced(of: str, axis: int, x: str, scale: tuple[int, ...], keep: int = 1) -> Make:
    """In the form of opset 18 and later, where axes are an input."""
    text = of.format(axis=axis, keep=keep).replace(f"axes = [{axis}], ", "").replace("(q)", "(q, axis)")
    return spelled(text, f"float[{x}] x", 23, scale=1 + array(*scale) ** 2, axis=np.array([axis]))


LAYER_NORM: Case = (
    layer(axis=1, scale=(3, 1)),
    {
        "opset": layer(opset=13),
        "axis": sums(SUMS, other="beside"),
        "dynamic": layer(x='2,3,"n"', scale=(1,)),
        "keepdims": layer(axis=1, keep=0, x="5,5"),
        "constant": sums(SUMS, number=0.3),
        "broadcast": layer(scale=(3, 1)),
    },
)
RMS_NORM: Case = (
    reduced(RMS, -1, "2,3,5", (5,)),
    {
        "opset": layer(of=RMS),
        "dynamic": reduced(RMS, -1, '2,3,"n"', (1,)),
        "keepdims": reduced(RMS, 1, "5,5", (5,), keep=0),
        "constant": sums(RMS_SUMS, number=0.3, opset=23),
        "broadcast": reduced(RMS, -1, "2,3,5", (3, 1)),
    },
)  # fmt: skip

# ---- attention -----------------------------------------------------------------------------------


def attention(
    q: str = "2,3,5,4", k: str = "2,3,7,4", v: str = "2,3,7,4", mask: str = "2,1,1,7", scale: str = "half",
    axis: int = -1, turn: str = "0, 1, 3, 2", opset: int = 23,
) -> Make:  # fmt: skip
    text = f"""t = Transpose <perm = [{turn}]> (k) m = MatMul(q, t) s = Mul(m, {scale}) a = Add(s, mask)
        p = Softmax <axis = {axis}> (a) y = MatMul(p, v)"""
    inputs = f"float[{q}] q, float[{k}] k, float[{v}] v, float[{mask}] mask"
    numbers = {name: np.array(value, np.float32) for name, value in NUMBERS.items()}
    return made(f"({inputs}) => (float y) {{ {text} }}", opset, **numbers)


ATTENTION: Case = (
    attention(),
    {
        "opset": attention(opset=17),
        "axis": attention(axis=-2),
        "rank": attention("4,4,4", "4,4,4", "4,4,4", "1,4,4", turn="0, 2, 1"),
        "broadcast": attention(k="1,3,7,4"),
        "dynamic": attention(q='2,3,"n",4', mask='2,1,"n",7'),
        "scale": attention(scale="low"),
    },
)

FUSIONS: dict[str, Case] = {
    "gelu": GELU,
    "gelu-tanh": GELU_TANH,
    "silu": SILU,
    "hard-swish": HARD_SWISH,
    "layer-norm": LAYER_NORM,
    "rms-norm": RMS_NORM,
    "attention": ATTENTION,
}
