"""Programs for the rules that fold scales, shifts, paddings and channels into weights, and merge siblings."""

from __future__ import annotations

import numpy as np
from rewrite_cases_moves import Case, Make, array, made


def conv(
    before: str = "s = Identity(x)", after: str = "y = Identity(c)", x: str = "float[2,4,7,6] x", attributes: str = "",
    opset: int = 17, **tensors: np.ndarray,
) -> Make:  # fmt: skip
    """before, one Conv (s -> c), after; `w` and `b` are its weights, `k`, `t` and `v` constants beside it."""
    given = {"w": array(6, 4, 3, 2), "b": array(6), "one": 1 + array(6, 1, 1) ** 2, "row": array(1, 1, 6, 1)} | tensors
    given |= {"scale": 1 + array(6) ** 2, "shift": array(6), "mean": array(6), "var": 1 + array(6) ** 2}
    given |= {"in": 1 + array(4, 1, 1) ** 2, "level": array(4, 1, 1), "line": array(1, 1, 7, 1)}
    form = f" <{attributes}>" if attributes else ""
    return made(f"({x}) => (float y) {{ {before} c = Conv{form} (s, w, b) {after} }}", opset, **given)


NORM = "BatchNormalization <epsilon = 0.01{mode}> (c, scale, shift, mean, var)"
STILL = array(4, 3, 1, 1) * np.array([1, 0, 1, 1], np.float32).reshape(4, 1, 1, 1)
UNREAD = array(5, 4, 3, 1) * np.array([1, 1, 0, 1], np.float32).reshape(1, 4, 1, 1)


def two(first: np.ndarray, second: np.ndarray, inner: str = "", outer: str = "", x: str = "2,3,6,5") -> Make:
    text = f"c = Conv <kernel_shape = [1, 1]{inner}> (x, v, b) r = Relu(c) y = Conv <strides = [1, 1]{outer}> (r, w, k)"
    tensors = {"v": first, "b": 0.5 + array(first.shape[0]) ** 2, "w": second, "k": array(second.shape[0])}
    return made(f"(float[{x}] x) => (float y) {{ {text} }}", **tensors)


FOLD_BEHIND: Case = (
    conv(after=f"y = {NORM.format(mode='')}"),
    {
        "training": conv(after=f"y, m1, m2 = {NORM.format(mode=', training_mode = 1')}"),
        "broadcast": conv(after="y = Mul(c, line)", attributes="pads = [1, 0, 1, 1]"),
    },
)
FOLD_BEFORE: Case = (
    conv(before="s = Sub(x, level)"),
    {
        "training": conv(
            before="s, m1, m2 = BatchNormalization <training_mode = 1> (x, v1, v2, v3, v4)",
            v1=1 + array(4) ** 2, v2=array(4), v3=array(4), v4=1 + array(4) ** 2,
        ),
        "broadcast": conv(before="s = Mul(x, line)"),
        "pad": conv(before="s = Add(x, level)", attributes="pads = [0, 1, 0, 0]"),
    },
)  # fmt: skip
CHAIN: Case = (
    made("(float[2,3,4] x) => (float y) { a = MatMul(x, v) y = MatMul(a, w) }", v=array(4, 9), w=array(9, 5)),
    {},
)


def padded(widths: list[int], mode: str = "constant", attributes: str = "strides = [1, 2]", channels: int = 3) -> Make:
    text = f'p = Pad <mode = "{mode}"> (x, widths) y = Conv <{attributes}> (p, w)'
    return made(f"(float[2,3,6,5] x) => (float y) {{ {text} }}", widths=np.array(widths), w=array(4, channels, 3, 2))


PADDED: Case = (
    padded([0, 0, 1, 0, 0, 0, 2, 1], attributes="strides = [1, 2], pads = [0, 1, 0, 0]"),
    {
        "auto_pad": padded([0, 0, 1, 0, 0, 0, 2, 1], attributes='strides = [2, 2], auto_pad = "SAME_UPPER"'),
        "axis": padded([0, 1, 0, 0, 0, 0, 0, 0], channels=4),
        "mode": padded([0, 0, 1, 0, 0, 0, 2, 1], mode="edge"),
        "pad": padded([0, 0, -1, 0, 0, 0, 2, 1]),
    },
)
DEAD: Case = (
    two(STILL, UNREAD),
    {
        "group": two(array(4, 2, 1, 1), UNREAD, inner=", group = 2", x="2,4,6,5"),
        "pad": two(STILL, array(5, 4, 3, 1), outer=", pads = [1, 0, 0, 0]"),
    },
)


def siblings(attributes: str, inside: int = 4, opset: int = 17) -> Make:
    text = f"""a = Conv <{attributes}> (x, v) r = Relu(a) c = Conv <{attributes}> (x, w, b) d = Tanh(c)
        y = Concat <axis = 1> (d, r)"""
    tensors = {"v": array(2, inside, 3, 3), "w": array(4, inside, 3, 3), "b": array(4)}
    return made(f"(float[2,4,6,5] x) => (float y) {{ {text} }}", opset, **tensors)


def products(opset: int = 17) -> Make:
    text = """a = MatMul(x, v) s = Add(a, k) r = Relu(s) c = MatMul(x, w) d = Add(b, c) e = Tanh(d)
        y = Concat <axis = -1> (e, r)"""
    return made(f"(float[2,3,4] x) => (float y) {{ {text} }}", opset,
                v=array(4, 5), k=array(5), w=array(4, 2), b=array(2))  # fmt: skip


SIBLING_CONVS: Case = (
    siblings("pads = [1, 0, 1, 0]"),
    {"opset": siblings("pads = [1, 0, 1, 0]", opset=11), "group": siblings("group = 2", inside=2)},
)
SIBLING_PRODUCTS: Case = (products(), {"opset": products(11)})

FOLDING: dict[str, Case] = {
    "fold-behind": FOLD_BEHIND,
    "fold-before": FOLD_BEFORE,
    "product-chain": CHAIN,
    "pad-into-conv": PADDED,
    "dead-channels": DEAD,
    "sibling-convs": SIBLING_CONVS,
    "sibling-products": SIBLING_PRODUCTS,
}
