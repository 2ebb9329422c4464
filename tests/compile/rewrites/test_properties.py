"""Rules on drawn programs: whatever shape, axis, broadcast, dtype or opset, a rewrite is right or absent."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pass_programs import apply, evaluate, graph
from rewrite_cases import feeds
from rewrite_cases_recurrent import cell, chain, scan
from rewrite_hold import EXAMPLES, Made, both_ways
from rewrite_hold import hold as held

from neoc.compile.passes import InferShapes
from neoc.compile.program import Program

MADE: Made = {}
hold = partial(held, MADE)


def conv(dims: list[int | str], weight: list[int], opset: int, **attributes: Any) -> Program:
    """One Conv, its axes made valid: no kernel longer than what it slides over."""
    axes = len(weight) - 2
    strides, dilations = attributes["strides"], attributes["dilations"]
    pads, group = attributes["pads"], attributes["group"]
    for i in range(axes):
        size = dims[2 + i] if isinstance(dims[2 + i], int) else 40
        assert isinstance(size, int)
        assume((weight[2 + i] - 1) * dilations[i] < size + pads[i] + pads[i + axes])
    random = np.random.default_rng(sum(weight))
    shape = ",".join(map(str, dims))
    text = f"""(float[{shape}] x) => (float y) {{ y = Conv <strides = {strides}, dilations = {dilations},
        pads = {pads}, group = {group}> (x, w, b) }}"""
    w = random.standard_normal(weight).astype(np.float32)
    before = graph(text, opset, w=w, b=random.standard_normal(weight[0]).astype(np.float32))
    return apply(before, InferShapes())


@st.composite
def convolutions(draw: Any, kernel: Any) -> Program:
    n = draw(st.sampled_from([1, 2]))
    group = draw(st.sampled_from([1, 1, 1, 2]))
    inside, out = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 2, 3])) * group
    taps = draw(kernel(n))
    dims: list[int | str] = [draw(st.sampled_from([1, 2, "n"])), inside * group]
    for k in taps:
        dims.append(draw(st.sampled_from([1 if k == 1 else k + 3, k + 6, k + 11, "m"])))
    return conv(
        dims,
        [out, inside, *taps],
        draw(st.sampled_from([14, 17, 21])),
        strides=draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=n, max_size=n)),
        dilations=draw(st.lists(st.sampled_from([1, 1, 1, 2]), min_size=n, max_size=n)),
        pads=draw(st.lists(st.sampled_from([0, 0, 1, 2]), min_size=2 * n, max_size=2 * n)),
        group=group,
    )


def _line(n: int) -> Any:
    """A kernel along one axis."""
    long = st.integers(2, 7)
    return st.tuples(long) if n == 1 else st.one_of(st.tuples(st.just(1), long), st.tuples(long, st.just(1)))


def _any(n: int) -> Any:
    return st.tuples(*[st.integers(1, 5)] * n)


@EXAMPLES
@given(convolutions(_line))
@pytest.mark.parametrize("name", ["winograd-1d", "framing", "conv1d-as-2d"])
def test_convolutions_along_one_axis(name: str, before: Program) -> None:
    hold(name, before)


@EXAMPLES
@given(convolutions(_any))
@pytest.mark.parametrize("name", ["phase-expansion", "winograd-1d"])
def test_convolutions(name: str, before: Program) -> None:
    hold(name, before)


@st.composite
def chains(draw: Any) -> Program:
    """A token brought in one way or another, and a few operators behind it."""
    kind = draw(st.sampled_from(["int32", "int64", "uint8"]))
    shape = draw(st.lists(st.sampled_from(["2", "3", "n"]), min_size=1, max_size=2))
    width = draw(st.integers(2, 5))
    start = draw(st.sampled_from(["equal", "equal_first", "onehot", "gather"]))
    tensors: dict[str, np.ndarray] = {}
    random = np.random.default_rng(width)
    if start.startswith("equal"):
        tensors |= {"m1": np.array([-1]), "k": (np.arange(width) + draw(st.sampled_from([0, 1, 3]))).astype(kind)}
        pair = "u, k" if start == "equal" else "k, u"
        nodes = [f"u = Unsqueeze(t, m1) e = Equal({pair}) v0 = Cast <to = 1> (e)"]
    elif start == "onehot":
        axis = draw(st.sampled_from([-1, -1, 0, len(shape)]))
        tensors |= {"depth": np.array(width), "values": np.array([0.5, -2.0], np.float32)}
        nodes = [f"v0 = OneHot <axis = {axis}> (t, depth, values)"]
    else:
        assume(kind != "uint8")
        axis = draw(st.sampled_from([0, 0, 0, 1]))
        tensors["rows"] = random.standard_normal((9, width)).astype(np.float32)
        nodes = [f"v0 = Gather <axis = {axis}> (rows, t)"]
    for index in range(draw(st.integers(1, 4))):
        nodes.append(_link(draw, index, width, len(shape) + 1, tensors, random))
    last = f"v{len(nodes) - 1}"
    also = draw(st.sampled_from(["", f"z = Neg(v{len(nodes) // 2})"]))
    outputs = "float y, float z" if also else "float y"
    text = f"({kind}[{','.join(shape)}] t) => ({outputs}) {{ {' '.join(nodes)} y = Identity({last}) {also} }}"
    return apply(graph(text, draw(st.sampled_from([13, 17, 21])), **tensors), InferShapes())


def _link(draw: Any, index: int, width: int, rank: int, tensors: dict[str, np.ndarray], random: Any) -> str:
    """One more node: v(index+1) = op(v(index))."""
    new, old = f"v{index + 1}", f"v{index}"
    kind = draw(st.sampled_from(["unary", "binary", "itself", "product"]))
    if kind == "unary":
        return f"{new} = {draw(st.sampled_from(['Tanh', 'Sigmoid', 'Relu', 'Erf', 'Abs']))}({old})"
    if kind == "itself":
        return f"{new} = Mul({old}, v{draw(st.integers(0, index))})" if width else ""
    if kind == "product":
        tensors[f"w{index}"] = random.standard_normal((width, width)).astype(np.float32)
        return f"{new} = MatMul({old}, w{index})"
    dims = draw(st.sampled_from([(), (1,), (width,), (1,) * rank, (1,) * (rank - 1) + (width,), (width, 1)]))
    tensors[f"c{index}"] = random.standard_normal(dims).astype(np.float32)
    pair = draw(st.sampled_from([f"{old}, c{index}", f"c{index}, {old}"]))
    return f"{new} = {draw(st.sampled_from(['Add', 'Sub', 'Mul', 'Max']))}({pair})"


@EXAMPLES
@given(chains())
def test_functions_of_a_token(before: Program) -> None:
    gathers = any(node.op_type == "Gather" for node in before.nodes())
    try:
        evaluate(before, feeds(before, 0, 6))
    except Exception:  # a constant that does not broadcast to this shape, or a Gather out of range, is no program
        assume(False)
    hold("token-table", before, 5 if gathers else 7)


@st.composite
def pyramids(draw: Any) -> Program:
    scales = draw(st.sampled_from([(2, 2), (3, 3), (4, 4), (2, 2), (2, 3)]))
    both, axis, kernel = (
        draw(st.booleans()),
        draw(st.sampled_from([1, 1, 1, -3])),
        draw(st.sampled_from([3, 3, 3, 3, 3, 5])),
    )
    mode = draw(st.sampled_from([*["asymmetric"] * 5, "half_pixel"]))
    nearest = draw(st.sampled_from([*["floor"] * 5, "ceil"]))
    pads, stride = draw(st.sampled_from([1, 1, 1, 1, 1, 0])), draw(st.sampled_from([1, 1, 1, 1, 1, 2]))
    height, width = 4 * scales[0], 3 * scales[1]
    joined = f"c = Concat <axis = {axis}> ({draw(st.sampled_from(['u, b', 'b, u']))})" if both else "c = Identity(u)"
    random = np.random.default_rng(0)
    other = f", float[1,3,{height},{width}] b" if both else ""
    text = f"""(float[1,2,4,3] a{other}) => (float y, float z) {{
        u = Resize <mode = "nearest", coordinate_transformation_mode = "{mode}", nearest_mode = "{nearest}"> (a, , s)
        {joined if both else ""} y = Conv <pads = {[pads] * 4}, strides = {[stride] * 2}> ({"c" if both else "u"}, w)
        z = Neg(u) }}"""
    weight = random.standard_normal((4, 5 if both else 2, kernel, kernel)).astype(np.float32)
    opset = draw(st.sampled_from([14, 18, 19]))
    return apply(graph(text, opset, s=np.array([1, 1, *scales], np.float32), w=weight), InferShapes())


@EXAMPLES
@given(pyramids())
def test_convolutions_of_enlarged_maps(before: Program) -> None:
    hold("upsampled-conv", before)


@st.composite
def conv_chains(draw: Any) -> Program:
    """Two convolutions in a row, a BatchNormalization between them or not, the second of one tap or almost."""
    inside, middle, out = (draw(st.integers(1, 4)) for _ in range(3))
    kernel, tap = draw(st.sampled_from([(1, 1), (3, 3), (1, 5)])), draw(st.sampled_from([1, 1, 1, 2]))
    stride, pads = draw(st.sampled_from([1, 2])), draw(st.lists(st.sampled_from([0, 1]), min_size=4, max_size=4))
    norm, biased, again = draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from(["", "z = Neg(a)"]))
    outer = draw(st.sampled_from(["", "", "strides = [2, 1]", "pads = [0, 1, 0, 0]", "dilations = [2, 2]"]))
    random = np.random.default_rng(inside + 5 * middle)
    tensors = {"v": (middle, inside, *kernel), "w": (out, middle, tap, tap)}
    if biased:
        tensors |= {"k": (middle,), "b": (out,)}
    if norm:
        tensors |= dict.fromkeys("stmq", (middle,))
    arrays = {name: np.abs(random.standard_normal(shape)).astype(np.float32) for name, shape in tensors.items()}
    text = f"""(float[{draw(st.sampled_from(["2", "n"]))},{inside},9,8] x) => (float y{", float z" if again else ""}) {{
        a = Conv <strides = [{stride}, 1], pads = {pads}> (x, v{", k" if biased else ""})
        n = {"BatchNormalization(a, s, t, m, q)" if norm else "Identity(a)"}
        y = Conv{f" <{outer}>" if outer else ""} ({"n" if norm else "a"}, w{", b" if biased else ""}) {again} }}"""
    if not norm:
        text = text.replace("n = Identity(a)", "")
    return apply(graph(text, draw(st.sampled_from([14, 17, 21])), **arrays), InferShapes())


@EXAMPLES
@given(conv_chains())
def test_convolutions_in_a_row(before: Program) -> None:
    hold("conv-chain", before)


FUNCTIONS = ["Relu", "Elu <alpha = 0.5>", "Elu <alpha = -1.5>", "Sigmoid", "Tanh", "HardSigmoid <alpha = -0.2>", "Neg"]


@EXAMPLES
@given(
    st.sampled_from(FUNCTIONS),
    st.sampled_from(["ReduceMax <axes = [2]>", "ReduceMax <axes = [1, 2], keepdims = 0>", "GlobalMaxPool"]),
    st.sampled_from(["2,3,5", "2,n,5", "1,3,4,5"]),
    st.sampled_from([13, 17]),
)
def test_functions_under_a_maximum(function: str, maximum: str, shape: str, opset: int) -> None:
    text = f"(float[{shape}] x) => (float y) {{ a = {function} (x) y = {maximum} (a) }}"
    hold("max-sinks", apply(graph(text, opset), InferShapes()))


@EXAMPLES
@given(
    st.lists(st.sampled_from([-0.5, 0.25, 1.0, 1.25, 0.0]), min_size=3, max_size=3),
    st.sampled_from([(3,), (3, 1), (3, 1, 1)]),
    st.sampled_from(["2,3,4", "n,3,4", "3,3,3"]),
)
def test_prelu(slopes: list[float], shape: tuple[int, ...], dims: str) -> None:
    text = f"(float[{dims}] x) => (float y) {{ y = PRelu(x, a) }}"
    before = graph(text, 17, a=np.array(slopes, np.float32).reshape(shape))
    try:
        evaluate(before, feeds(before, 0))
    except Exception:  # a slope that does not broadcast
        assume(False)
    hold("prelu-max", apply(before, InferShapes()))


@st.composite
def cells(draw: Any, steps: list[str]) -> Program:
    """An LSTM or GRU in most of the ways in which it can be written."""
    kind = draw(st.sampled_from(["LSTM", "GRU"]))
    direction = draw(st.sampled_from(["forward", "forward", "reverse", "bidirectional"]))
    attributes = [f'direction = "{direction}"']
    if kind == "GRU":
        attributes.append(f"linear_before_reset = {draw(st.sampled_from([0, 1]))}")
    attributes += draw(st.sampled_from([[], [], [], ["clip = 0.5"]]))
    return cell(
        kind,
        draw(st.sampled_from(steps)),
        ", ".join(attributes),
        batch=draw(st.sampled_from(["1", "2", "n"])),
        directions=2 if direction == "bidirectional" else 1,
        states=draw(st.booleans()),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        opset=draw(st.sampled_from([14, 17, 21])),
    )()


@EXAMPLES
@given(cells(["1", "1", "1", "2", "t"]))
def test_recurrence_of_one_step(before: Program) -> None:
    hold("single-step", before)


@EXAMPLES
@given(cells(["1", "2", "5", "t"]))
def test_recurrence_of_any_number_of_steps(before: Program) -> None:
    hold("hoisted-inputs", before)


@st.composite
def unrolled(draw: Any) -> Program:
    """A recurrence written out in one of the ways of frameworks, or almost."""
    return chain(
        draw(st.sampled_from(["LSTM", "GRU"])),
        draw(st.integers(1, 4)),
        form=draw(st.sampled_from(["torch", "joined", "gates"])),
        opset=draw(st.sampled_from([14, 17, 21])),
        batch="2",
        first=draw(st.sampled_from(["2", "2", "1"])),
        spoiler=draw(st.sampled_from(["", "", "", "", "feedback", "other weights"])),
        stacked=draw(st.booleans()),
    )()


@EXAMPLES
@given(unrolled())
def test_recurrence_written_out(before: Program) -> None:
    hold("rerolled", before)


@st.composite
def loops(draw: Any) -> Program:
    """A Scan over a cell in one of the ways of frameworks, or a Loop."""
    kind, loop = draw(st.sampled_from([("LSTM", False), ("GRU", False), ("LSTM", True)]))
    ways = ["", "", "scan_input_directions = [1], scan_output_directions = [1]", "scan_output_directions = [1]"]
    return scan(
        kind,
        form=draw(st.sampled_from(["torch", "joined", "gates"])),
        shape=draw(st.sampled_from(["3,2", "2,2", "1,2"])),
        first=draw(st.sampled_from(["2", "2", "2", "1"])) if not loop else "2",
        attributes="" if loop else draw(st.sampled_from([*ways, "scan_input_axes = [1]"])),
        opset=draw(st.sampled_from([14, 17, 21])),
        loop=loop,
        swapped=kind == "LSTM" and draw(st.booleans()),
    )()


@EXAMPLES
@given(loops())
def test_recurrence_as_a_loop(before: Program) -> None:
    hold("recurrent-loop", before)


@EXAMPLES
@given(
    st.lists(st.sampled_from(["Squeeze(v, one)", "Unsqueeze(v, one)", "Reshape(v, to)", "Flatten <axis = 1> (v)"])),
    st.sampled_from(["2,1,3", "n,1,3", "n,1,m"]),
    st.sampled_from([14, 17]),
)
def test_chains_of_views(chain: list[str], dims: str, opset: int) -> None:
    nodes = [f"v{i + 1} = {form.replace('(v', f'(v{i}')}" for i, form in enumerate(chain)]
    text = f"(float[{dims}] v0) => (float y) {{ {' '.join(nodes)} y = Tanh(v{len(chain)}) }}"
    used = {"one": np.array([1]), "to": np.array([-1, 1, 3])}
    before = graph(text, opset, **{name: array for name, array in used.items() if f", {name})" in text})
    try:
        evaluate(before, feeds(before, 0))
    except Exception:  # an axis that is not there, or wider than one
        assume(False)
    hold("one-view", apply(before, InferShapes()))


def test_the_examples_above_were_rewritten_and_declined() -> None:
    if not MADE:
        pytest.skip("the tests of this file ran elsewhere")
    both_ways(MADE, frozenset(["conv1d-as-2d"]))
