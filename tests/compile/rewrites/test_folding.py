"""Folding, merging and leaving out, on drawn programs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pass_programs import apply, evaluate, graph, operators
from rewrite_cases import bare, far, feeds
from rewrite_hold import EXAMPLES, Made, both_ways
from rewrite_hold import hold as held

from neoc.compile.passes import InferShapes
from neoc.compile.program import Program
from neoc.compile.rewrites.apply import rewritten

MADE: Made = {}
hold = partial(held, MADE)
KINDS = st.sampled_from(["Conv", "Conv", "ConvTranspose", "MatMul", "Gemm"])


def made(text: str, x: str, opset: int, tensors: dict[str, np.ndarray]) -> Program:
    """The program, where it is one: constants that do not broadcast are drawn, too."""
    used = {name: a for name, a in tensors.items() if f" {name}," in text or f" {name})" in text or f"({name}," in text}
    before = graph(f"(float[{x}] x) => (float y) {{ {text} }}", opset, **used)
    try:
        evaluate(before, feeds(before, 0))
    except Exception:
        assume(False)
    return apply(before, InferShapes())


@st.composite
def linear(draw: Any, where: str) -> Program:
    """One linear operator with a step by channels, or one that is not, on one of its sides."""
    kind = draw(KINDS if where == "behind" else st.sampled_from(["Conv", "MatMul", "Gemm"]))
    random = np.random.default_rng(draw(st.integers(0, 3)))
    channels, out, group = 4, 6, draw(st.sampled_from([1, 1, 2])) if kind == "Conv" else 1
    pads = draw(st.sampled_from([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 2]]))
    shapes = {"Conv": (out, channels // group, 3, 2), "ConvTranspose": (channels, out // group, 3, 2)}
    shape = shapes.get(kind, (channels, out))
    x = {"MatMul": draw(st.sampled_from(["5,4", "2,5,4", "n,4"])), "Gemm": draw(st.sampled_from(["5,4", "n,4"]))}.get(
        kind, draw(st.sampled_from(["2,4,6,5", "n,4,6,5"]))
    )
    form = {"MatMul": ""}.get(kind, f" <group = {group}, pads = {pads}>")
    if kind == "Gemm":
        turned = draw(st.sampled_from([0, 1]))
        form, shape = f" <transB = {turned}>", shape[::-1] if turned else shape
    size = out if where == "behind" else channels
    forms = [(), (1,), (size, 1, 1), (1, size, 1, 1), (size,), (1, size), (1, 1, 6, 1)]
    tensors = {"w": random.standard_normal(shape), "b": random.standard_normal(out)}
    tensors["k"] = 1 + random.standard_normal(draw(st.sampled_from(forms))) ** 2
    tensors |= {name: 1 + random.standard_normal(size) ** 2 for name in ("p", "q", "r", "v")}
    given_bias = ", b" if kind != "MatMul" and draw(st.booleans()) else ""
    step = draw(
        st.sampled_from(["Mul({}, k)", "Mul(k, {})", "Div({}, k)", "Sub({}, k)", "Add({}, k)", "BN({}, p, q, r, v)"])
    )
    step = step.replace("BN", "BatchNormalization <epsilon = 0.1>")
    if where == "behind":
        text = f"c = {kind}{form} (x, w{given_bias}) y = {step.format('c')}"
    else:
        text = f"s = {step.format('x')} y = {kind}{form} (s, w{given_bias})"
    arrays = {name: np.asarray(a, np.float32) for name, a in tensors.items()}
    return made(text, x, draw(st.sampled_from([13, 17, 21])), arrays)


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("where", ["behind", "before"])
def test_steps_by_channel(where: str, data: Any) -> None:
    hold(f"fold-{where}", data.draw(linear(where)))


def test_scales_of_a_transposed_convolution_in_groups() -> None:
    """By onnxruntime alone: the reference evaluator has no groups there."""
    random = np.random.default_rng(5)
    arrays = {"w": random.standard_normal((4, 3, 3, 2)), "k": 1 + random.standard_normal((6, 1, 1)) ** 2}
    text = "c = ConvTranspose <group = 2> (x, w) y = Mul(c, k)"
    before = made(text, "2,4,6,5", 17, {name: a.astype(np.float32) for name, a in arrays.items()})
    after = rewritten(before, bare("fold-behind"), {})
    assert operators(after) == ["ConvTranspose"]
    given_now = feeds(before, 0)
    assert not far(evaluate(after, given_now), evaluate(before, given_now))


@EXAMPLES
@given(
    st.sampled_from(["2,3,6,5", "n,3,6,5", "2,3,m,5"]),
    st.lists(st.sampled_from([0, 0, 1, 2]), min_size=4, max_size=4),
    st.sampled_from([0, 0, 0, 0, 1, -1]),
    st.sampled_from(["constant", "constant", "constant", "reflect", "edge"]),
    st.sampled_from([None, 0.0, 0.0, 1.5]),
    st.lists(st.sampled_from([0, 1]), min_size=4, max_size=4),
    st.sampled_from([13, 18]),
)
def test_paddings(
    x: str, pads: list[int], odd: int, mode: str, value: float | None, own: list[int], opset: int
) -> None:
    widths = [0, max(odd, 0), pads[0] + min(odd, 0), pads[1], 0, 0, pads[2], pads[3]]
    random = np.random.default_rng(0)
    tensors = {"widths": np.array(widths), "w": random.standard_normal((4, 3 + max(odd, 0), 3, 2)).astype(np.float32)}
    if value is not None:
        tensors["value"] = np.array(value, np.float32)
    given_value = "" if value is None else ", value"
    text = f'p = Pad <mode = "{mode}"> (x, widths{given_value}) y = Conv <pads = {own}> (p, w)'
    hold("pad-into-conv", made(text, x, opset, tensors))


@EXAMPLES
@given(
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.sampled_from([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]),
    st.sampled_from(["Relu(c)", "Sigmoid(c)", "Erf(c)", "Identity(c)", "Tanh(c)"]),
    st.booleans(),
    st.sampled_from(["2,3,6,5", "n,3,m,5"]),
)
def test_channels(unread: list[bool], still: list[bool], pads: list[int], step: str, bias: bool, x: str) -> None:
    random = np.random.default_rng(1)
    v = random.standard_normal((4, 3, 2, 1)) * ~np.array(still).reshape(4, 1, 1, 1)
    w = random.standard_normal((5, 4, 3, 2)) * ~np.array(unread).reshape(1, 4, 1, 1)
    arrays = {"v": v, "w": w, "b": random.standard_normal(4), "k": random.standard_normal(5)}
    text = f"c = Conv(x, v{', b' if bias else ''}) s = {step} y = Conv <pads = {pads}> (s, w{', k' if bias else ''})"
    text = text.replace("s = Identity(c)", "s = Relu(c)")
    hold("dead-channels", made(text, x, 17, {name: a.astype(np.float32) for name, a in arrays.items()}))


@EXAMPLES
@given(
    st.sampled_from([(2, 3), (1, 4), (3, 3)]),
    st.lists(st.sampled_from([0, 1]), min_size=2, max_size=2),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from([1, 2]),
    st.booleans(),
    st.sampled_from(["2,4,6,5", "n,4,6,m"]),
    st.sampled_from([11, 13, 17]),
)
def test_sibling_convolutions(
    sizes: tuple[int, int], pads: list[int], group: int, stride: int, bias: bool, x: str, opset: int
) -> None:
    random = np.random.default_rng(2)
    shapes = [(size * group, 4 // group, 3, 2) for size in sizes]
    tensors = {f"w{i}": random.standard_normal(shape).astype(np.float32) for i, shape in enumerate(shapes)}
    tensors["b"] = random.standard_normal(shapes[1][0]).astype(np.float32)
    form = f"<pads = {pads * 2}, group = {group}, strides = [{stride}, 1]>"
    text = f"""c = Conv {form} (x, w0) r = Relu(c) d = Conv {form} (x, w1{", b" if bias else ""})
        y = Concat <axis = 1> (d, r)"""
    hold("sibling-convs", made(text, x, opset, tensors))


@EXAMPLES
@given(
    st.sampled_from([(2, 3), (1, 4)]),
    st.sampled_from(["none", "both", "one", "wide"]),
    st.sampled_from(["4", "3,4", "n,3,4"]),
    st.sampled_from([11, 13, 17]),
    st.booleans(),
)
def test_products(sizes: tuple[int, int], bias: str, x: str, opset: int, chain: bool) -> None:
    random = np.random.default_rng(3)
    tensors = {f"w{i}": random.standard_normal((4, size)).astype(np.float32) for i, size in enumerate(sizes)}
    tensors |= {f"b{i}": random.standard_normal(size).astype(np.float32) for i, size in enumerate(sizes)}
    tensors["u"] = random.standard_normal((sizes[1], 3)).astype(np.float32)
    if bias == "wide":
        tensors["b1"] = random.standard_normal((2, 1, 1, 1)).astype(np.float32)
    first = "Add(c, b0)" if bias != "none" else "Relu(c)"
    second = "Add(b1, d)" if bias in ("both", "wide") else "Tanh(d)"
    text = f"c = MatMul(x, w0) e = {first} d = MatMul(x, w1) f = {second} z = Concat <axis = -1> (e, f)"
    text = text.replace("Concat <axis = -1> (e, f)", "ReduceSum(e)") + " g = ReduceSum(f) y = Add(z, g)"
    if chain:
        text = f"d = MatMul(x, w1) y = MatMul(d, u) {'' if bias == 'none' else 'z = Relu(d)'}"
    hold("product-chain" if chain else "sibling-products", made(text, x, opset, tensors))


@EXAMPLES
@given(
    st.sampled_from([(2, 2), (3, 3), (2, 3), (1, 1)]),
    st.sampled_from([(2, 2), (3, 3), (2, 2), (3, 3), (2, 1)]),
    st.sampled_from([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]),
    st.booleans(),
    st.sampled_from(["2,4,3,5", "n,4,3,5", "2,4,m,5"]),
    st.sampled_from([13, 17]),
)
def test_windows_side_by_side(
    kernel: tuple[int, int], stride: tuple[int, int], pads: list[int], bias: bool, x: str, opset: int
) -> None:
    random = np.random.default_rng(4)
    arrays = {"w": random.standard_normal((4, 3, *kernel)), "b": random.standard_normal(3)}
    text = f"y = ConvTranspose <strides = {list(stride)}, pads = {pads}> (x, w{', b' if bias else ''})"
    hold("deconv-as-conv", made(text, x, opset, {name: a.astype(np.float32) for name, a in arrays.items()}))


STEPS = [
    "Conv(d, w, b)", "Conv <pads = [1, 1, 1, 1]> (d, w)", "Conv <strides = [2, 2]> (d, w)", "Relu(d)", "Add(d, k)",
    "Sub(k, d)", "Div(d, k)", "Mul(d, d)", "BatchNormalization <epsilon = 0.1> (d, p, q, r, v)",
]  # fmt: skip


@EXAMPLES
@given(
    st.sampled_from(STEPS),
    st.sampled_from(["DCR", "DCR", "CRD"]),
    st.sampled_from([(), (1,), (3, 1, 1), (1, 3, 1, 1), (1, 1, 10), (2, 3, 1, 1)]),
    st.sampled_from(["2,12,3,5", "n,12,3,5"]),
)
def test_behind_depth_to_space(step: str, mode: str, shape: tuple[int, ...], x: str) -> None:
    random = np.random.default_rng(6)
    arrays = {"w": random.standard_normal((2, 3, 1, 1)), "b": random.standard_normal(2)}
    arrays["k"] = 1 + random.standard_normal(shape) ** 2
    arrays |= {name: 1 + random.standard_normal(3) ** 2 for name in "pqrv"}
    text = f'd = DepthToSpace <blocksize = 2, mode = "{mode}"> (x) y = {step}'
    hold("depth-sinks", made(text, x, 17, {name: np.asarray(a, np.float32) for name, a in arrays.items()}))


def test_the_examples_above_were_rewritten_and_declined() -> None:
    if not MADE:
        pytest.skip("the tests of this file ran elsewhere")
    both_ways(MADE, frozenset(["product-chain"]))
