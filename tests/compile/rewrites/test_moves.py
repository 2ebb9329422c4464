"""Rules that move slices and transposes, powers, and filters over frames, on drawn programs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pass_programs import apply, evaluate, graph
from rewrite_cases import feeds
from rewrite_cases_moves import mirrored
from rewrite_hold import EXAMPLES, Made, both_ways
from rewrite_hold import hold as held

from neoc.compile.passes import InferShapes
from neoc.compile.program import Program

MADE: Made = {}
hold = partial(held, MADE)


@st.composite
def framed(draw: Any) -> Program:
    """Even and odd filters over a signal that was padded, cut, or neither, before."""
    taps, filters = draw(st.integers(2, 9)), draw(st.integers(1, 5))
    weight = mirrored(filters, taps, draw(st.booleans()))
    if draw(st.sampled_from([False] * 4 + [True])):
        weight[0, 0, 0] += 0.5
    n, size = draw(st.sampled_from([1, 2])), draw(st.sampled_from(["12", "19", "19", "n"]))
    signal = f"float[2,{'1,' * n}{size}] x"
    mode = draw(st.sampled_from(["reflect", "edge", "constant"]))
    before = draw(
        st.sampled_from(["s = Identity(x)", f's = Pad <mode = "{mode}"> (x, p)', "s = Slice(x, lo, hi, last)"])
    )
    tensors = {"lo": np.array([2]), "hi": np.array([11]), "last": np.array([-1])}
    tensors |= {"p": np.array([0] * (n + 1) + [2] + [0] * (n + 1) + [3])}
    stride = draw(st.sampled_from([1, 2, taps]))
    shape = (1,) * (n - 1)
    text = f"""({signal}) => (float y) {{ {before}
        y = Conv <strides = {[1] * (n - 1) + [stride]}> (s, w, b) }}"""
    weight = weight.reshape(filters, 1, *shape, taps)
    used = {name: a for name, a in tensors.items() if f" {name})" in text or f" {name}," in text}
    return apply(
        graph(text, draw(st.sampled_from([13, 18])), w=weight, b=weight.sum(axis=-1).ravel(), **used), InferShapes()
    )


@EXAMPLES
@given(framed())
@pytest.mark.parametrize("name", ["mirrored-frames", "framing"])
def test_filters_over_frames(name: str, before: Program) -> None:
    hold(name, before)


def _slice(draw: Any, name: str, of: str, tensors: dict[str, np.ndarray], axes: tuple[int, ...] = ()) -> str:
    """name = Slice(of) of four axes along one or two, or along `axes`, ends from either side."""
    axes = axes or draw(st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True))
    starts = [draw(st.sampled_from([0, 0, 1, -3])) for _ in axes]
    ends = [draw(st.sampled_from([2, 3, -1, 2**31 - 1])) for _ in axes]
    signed = [axis - draw(st.sampled_from([0, 4])) for axis in axes]
    made = {"s": starts, "e": ends, "a": signed, "t": [draw(st.sampled_from([1, 1, 1, 1, 2])) for _ in axes]}
    tensors |= {f"{name}{key}": np.array(value) for key, value in made.items()}
    return f"{name} = Slice({of}, {name}s, {name}e, {name}a, {name}t)"


@st.composite
def sliced(draw: Any, name: str) -> Program:
    """What slices may stand behind: a slice, a convolution, parts put together, a function; one or two readers."""
    dims = ["2", "4", draw(st.sampled_from(["6", "6", "n"])), "7"]
    tensors: dict[str, np.ndarray] = {"w": np.random.default_rng(0).standard_normal((4, 2, 3, 2)).astype(np.float32)}
    pads = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=4, max_size=4))
    group, strides, dilation = (
        draw(st.sampled_from([1, 2, 2])),
        draw(st.sampled_from([1, 2])),
        draw(st.sampled_from([1, 2])),
    )
    if group == 1:
        tensors["w"] = np.concatenate([tensors["w"], tensors["w"][::-1]], axis=1)
    conv = f"f = Conv <pads = {pads}, strides = {[strides, 1]}, dilations = {[1, dilation]}, group = {group}> (x, w)"
    parts = "f = Concat <axis = 1> (x, z, x)"
    likely = {"slice-above-conv": conv, "one-slice": "slice", "slice-of-concat": parts, "slice-rises": "f = Sigmoid(x)"}
    first = draw(st.sampled_from([*[likely.get(name, conv)] * 3, *likely.values()]))
    start = _slice(draw, "f", "x", tensors) if first == "slice" else first
    if "w)" not in start:
        del tensors["w"]
    first_cut = _slice(draw, "p", "f", tensors, (1,) if name == "slice-of-concat" else ())
    kind = draw(st.sampled_from(["alike", "alike", "other", "none"]))
    also = "q = Identity(z)" if kind == "none" else _slice(draw, "q", "f", tensors)
    if kind == "alike":  # on the last axis, which the two slices then have in common
        for one in "pq":
            kept = tensors[f"{one}a"] % 4 != 3
            for key, value in (("s", 1), ("e", 5), ("a", 3), ("t", 1)):
                tensors[f"{one}{key}"] = np.append(tensors[f"{one}{key}"][kept], value)
    text = f"""(float[{",".join(dims)}] x, float[2,3,{dims[2]},7] z) => (float y, float v) {{
        {start} {first_cut} {also} y = Neg(p) v = Neg(q) }}"""
    before = apply(graph(text, draw(st.sampled_from([13, 18])), **tensors), InferShapes())
    assume(all(0 not in (spec.shape or ()) for spec in before.signature.outputs))
    return before


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("name", ["one-slice", "shared-slice", "slice-above-conv", "slice-of-concat", "slice-rises"])
def test_slices(name: str, data: Any) -> None:
    hold(name, data.draw(sliced(name)))


@EXAMPLES
@given(
    st.permutations([0, 1, 2]),
    st.permutations([0, 1, 2]),
    st.sampled_from(
        ["Relu(a)", "Add(a, b)", "Mul(k, a)", "Sub(a, k)", "Clip(a, lo, hi)", "Transpose <perm = [2, 0, 1]> (a)"]
    ),
    st.sampled_from([(), (1,), (3,), (3, 1), (1, 3, 3), (1, 1, 3, 1)]),
    st.sampled_from(["3,3,3", "3,n,3"]),
    st.booleans(),
)
def test_transposes(p: list[int], q: list[int], step: str, shape: tuple[int, ...], dims: str, same: bool) -> None:
    text = f"""(float[{dims}] x, float[{dims}] z) => (float y, float v) {{ a = Transpose <perm = {p}> (x)
        b = Transpose <perm = {p if same else q}> (z) c = {step} y = Neg(c) v = Neg(z) }}"""
    tensors = {"k": np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 1.5, "lo": np.array(-1, np.float32)}
    tensors["hi"] = np.array(1, np.float32)
    used = {name: a for name, a in tensors.items() if name in step}
    hold("transpose-sinks", apply(graph(text, 17, **used), InferShapes()))


@EXAMPLES
@given(
    st.sampled_from([2.0, 3.0, 0.5, -1.0, 1.5, 4.0]),
    st.sampled_from([(), (1,), (1, 1), (1, 1, 1), (3,)]),
    st.sampled_from(["float", "double", "int32"]),
    st.sampled_from([13, 15]),
)
def test_powers(exponent: float, shape: tuple[int, ...], kind: str, opset: int) -> None:
    text = f"({kind}[2,3] x) => ({kind} y) {{ a = Abs(x) b = Max(a, one) y = Pow(b, k) }}"
    one = np.ones(1, {"float": np.float32, "double": np.float64, "int32": np.int32}[kind])
    hold("powers", apply(graph(text, opset, k=np.full(shape, exponent, np.float32), one=one), InferShapes()))


@EXAMPLES
@given(
    st.sampled_from(["Relu(a)", "Add(a, k)", "Sub(k, a)", "Mul(a, a)", "Add(a, b)", "LeakyRelu <alpha = 0.2> (a)"]),
    st.sampled_from(["Reshape(x, to)", "Unsqueeze(x, last)", "Flatten(x)", "Squeeze(x, one)"]),
    st.sampled_from([(), (1,), (1, 1, 1), (1, 1, 1, 1), (4,)]),
    st.sampled_from(["3,1,4", "n,1,4", "n,1,m"]),
)
def test_views_behind_functions(step: str, view: str, shape: tuple[int, ...], dims: str) -> None:
    text = f"(float[{dims}] x) => (float y, float z) {{ a = {view} b = {view} c = {step} y = Neg(c) z = Abs(b) }}"
    tensors = {
        "k": np.ones(shape, np.float32) * 1.5,
        "to": np.array([-1, 2]),
        "last": np.array([3]),
        "one": np.array([1]),
    }
    used = {name: array for name, array in tensors.items() if f" {name})" in text or f"({name}," in text}
    before = graph(text, 17, **used)
    try:
        evaluate(before, feeds(before, 0))
    except Exception:  # a constant that does not broadcast
        assume(False)
    hold("view-sinks", apply(before, InferShapes()))


def test_the_examples_above_were_rewritten_and_declined() -> None:
    if not MADE:
        pytest.skip("the tests of this file ran elsewhere")
    both_ways(MADE)
