"""Spelled-out operators in many spellings: they become one, or they are another function and stay."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pass_programs import apply, graph
from rewrite_cases import bare
from rewrite_cases_fusions import attention
from rewrite_hold import EXAMPLES, Made, both_ways
from rewrite_hold import hold as held

from neoc.compile.passes import InferShapes
from neoc.compile.program import Program
from neoc.compile.rewrites import sites

MADE: Made = {}
hold = partial(held, MADE)


class Text:
    """Nodes in ONNX's text form, with constants drawn to be scalars or of one element, on either side."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.nodes: list[str] = []
        self.tensors: dict[str, np.ndarray] = {}

    def op(self, operator: str, *inputs: str, attributes: str = "") -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(f"{name} = {operator}{attributes} ({', '.join(inputs)})")
        return name

    def number(self, value: float, shape: tuple[int, ...] | None = None) -> str:
        name = f"c{len(self.tensors)}"
        chosen = self.draw(st.sampled_from([(), (), (1,), (1, 1)])) if shape is None else shape
        self.tensors[name] = np.full(chosen, value, np.float32)
        return name

    def tensor(self, array: np.ndarray) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = array
        return name

    def both(self, operator: str, left: str, right: str) -> str:
        """A commutative operator, either way round."""
        return self.op(operator, *self.draw(st.permutations([left, right])))

    def times(self, value: str, number: float) -> str:
        if self.draw(st.booleans()):
            return self.op("Div", value, self.number(1 / number))
        return self.both("Mul", value, self.number(number))

    def plus(self, value: str, number: float) -> str:
        if self.draw(st.booleans()):
            return self.op("Sub", value, self.number(-number))
        return self.both("Add", value, self.number(number))

    def scaled_product(self, left: str, right: str, number: float) -> str:
        """number * left * right, the number at any of three places."""
        place = self.draw(st.sampled_from("lrp"))
        left = self.times(left, number) if place == "l" else left
        right = self.times(right, number) if place == "r" else right
        y = self.both("Mul", left, right)
        return self.times(y, number) if place == "p" else y

    def square(self, value: str) -> str:
        return self.op("Mul", value, value) if self.draw(st.booleans()) else self.op("Pow", value, self.number(2.0))

    def program(self, x: str, y: str, opset: int) -> Program:
        text = f"(float[{x}] x) => (float y) {{ {' '.join(self.nodes)} y = Neg({y}) }}"
        return apply(graph(text, opset, **self.tensors), InferShapes())


SHAPES = st.sampled_from(["2,3,4", "7", "n,3"])


@st.composite
def activations(draw: Any, name: str) -> Program:
    text = Text(draw)
    off = draw(st.sampled_from([1.0, 1.0, 1.0, 1.01]))
    if name == "gelu":
        gate = text.plus(text.op("Erf", text.times("x", off * 2**-0.5)), 1.0)
        y = text.scaled_product("x", gate, 0.5)
    elif name == "gelu-tanh":
        if draw(st.booleans()):
            power = (
                text.op("Pow", "x", text.number(3.0))
                if draw(st.booleans())
                else text.both("Mul", "x", text.square("x"))
            )
            inner = text.both("Add", "x", text.times(power, 0.044715))
        else:
            inner = text.both("Mul", "x", text.plus(text.times(text.square("x"), 0.044715), 1.0))
        gate = text.plus(text.op("Tanh", text.times(inner, off * (2 / np.pi) ** 0.5)), 1.0)
        y = text.scaled_product("x", gate, 0.5)
    elif name == "silu":
        y = text.both("Mul", "x", text.op("Sigmoid", "x" if off == 1 else text.times("x", off)))
    elif draw(st.booleans()):
        y = text.both("Mul", "x", text.op("HardSigmoid", "x", attributes=f" <alpha = {off / 6:.9f}, beta = 0.5>"))
    else:
        clip = text.op("Clip", text.plus("x", 3.0 * off), text.number(0.0, ()), text.number(6.0, ()))
        y = text.scaled_product("x", clip, 1 / 6)
    return text.program(draw(SHAPES), y, draw(st.sampled_from([13, 20, 24])))


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("name", ["gelu", "gelu-tanh", "silu", "hard-swish"])
def test_activations(name: str, data: Any) -> None:
    hold(name, data.draw(activations(name)))


@pytest.mark.parametrize(
    ("x", "one", "fires"),
    [
        ("float[2,3,5]", (1, 1, 1), True),  # as exporters fold it
        ("float[2,3,5]", (1, 1, 1, 1), False),
        ("float[5]", (1, 1), False),
        ("float", (), True),
        ("float", (1,), False),
    ],
)
def test_a_constant_is_a_number_where_it_adds_no_axis(x: str, one: tuple[int, ...], fires: bool) -> None:
    numbers = {"one": np.ones(one, np.float32), "root": np.float32(2**-0.5), "half": np.float32(0.5)}
    text = f"""({x} x) => (float y) {{ d = Mul(x, root) e = Erf(d) s = Add(e, one) m = Mul(x, s)
        n = Mul(m, half) y = Neg(n) }}"""
    before = apply(graph(text, 20, **{name: np.asarray(a) for name, a in numbers.items()}), InferShapes())
    assert bool([*sites(before.model, bare("gelu"), 20)]) is fires
    hold("gelu", before)


def _mean(text: Text, value: str, axes: list[int], sizes: list[int], opset: int) -> str:
    form = text.draw(st.sampled_from(["mean", "mean", "sum"]))
    if form == "mean" and opset < 18:
        return text.op("ReduceMean", value, attributes=f" <axes = {axes}, keepdims = 1>")
    places = text.tensor(np.array(axes))
    if form == "mean":
        return text.op("ReduceMean", value, places, attributes=" <keepdims = 1>")
    count = float(np.prod([sizes[a] for a in axes]))
    y = text.times(text.op("ReduceSum", value, places, attributes=" <keepdims = 0>"), 1 / count)
    return text.op("Unsqueeze", y, text.tensor(np.array([a % len(sizes) for a in axes])))


@st.composite
def norms(draw: Any, name: str) -> Program:
    text, opset = Text(draw), draw(st.sampled_from([13, 17, 23, 23]))
    sizes = [2, 3, 4]
    axes = draw(st.sampled_from([[-1], [-1], [1], [1, 2], [-2, -1], [0]]))
    d = "x"
    if name == "layer-norm":
        mean = _mean(text, "x", axes, sizes, opset)
        d = text.op("Sub", "x", mean)
    if name == "layer-norm" and draw(st.booleans()):
        spread = text.op("Sub", _mean(text, text.square("x"), axes, sizes, opset), text.square(mean))
        spread = text.both("Max", spread, text.number(0.0)) if draw(st.booleans()) else spread
    else:
        spread = _mean(text, text.square(d), axes, sizes, opset)
    under = text.plus(spread, 0.01)
    root = text.op("Sqrt", under) if draw(st.booleans()) else text.op("Pow", under, text.number(0.5))
    shape = draw(st.sampled_from([None, (), (4,), (3, 1), (1, 4), (3, 4), (1, 1, 4)]))
    scale = None if shape is None else text.tensor(1 + np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    form = draw(st.sampled_from(["div", "reciprocal", "one"]))
    if form == "div":
        y = text.op("Div", d, root)
    else:
        inverse = text.op("Reciprocal", root) if form == "reciprocal" else text.op("Div", text.number(1.0), root)
        if scale is not None and draw(st.booleans()):
            inverse, scale = text.both("Mul", inverse, scale), None
        y = text.both("Mul", d, inverse)
    y = y if scale is None else text.both("Mul", y, scale)
    if draw(st.booleans()):
        y = text.both("Add", y, text.tensor(np.arange(4, dtype=np.float32)))
    return text.program("2,3,4", y, opset)


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("name", ["layer-norm", "rms-norm"])
def test_normalisations(name: str, data: Any) -> None:
    hold(name, data.draw(norms(name)))


@EXAMPLES
@given(
    st.sampled_from(["2,3,5,4", "2,3,n,4", "1,3,5,4", "3,5,4"]),
    st.sampled_from(["2,1,1,7", "7", "5,7", "1,3,5,1", "2,3,5,7"]),
    st.sampled_from(["half", "two", "low", "inverse"]),
    st.sampled_from([-1, -1, -1, 2]),
    st.sampled_from([17, 23, 23, 23]),
)
def test_attention(q: str, mask: str, scale: str, axis: int, opset: int) -> None:
    hold("attention", attention(q, mask=mask, scale=scale, axis=axis, opset=opset)())


def test_the_examples_above_were_rewritten_and_declined() -> None:
    if not MADE:
        pytest.skip("the tests of this file ran elsewhere")
    both_ways(MADE)
