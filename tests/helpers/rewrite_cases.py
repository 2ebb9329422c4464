"""One program for every rule that it rewrites, and one for every guard that keeps it from rewriting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from pass_programs import apply, graph
from rewrite_cases_deconv import DECONVS
from rewrite_cases_folding import FOLDING
from rewrite_cases_fusions import FUSIONS
from rewrite_cases_moves import MOVES
from rewrite_cases_recurrent import cell, chain, chain_guards, plain_guards, scan, scan_guards

from neoc.compile import onnx_io
from neoc.compile.float64 import widen_array, widen_model
from neoc.compile.passes import InferShapes
from neoc.compile.program import Program
from neoc.compile.rewrites import Rule, by_name

Make = Callable[[], Program]


@dataclass(frozen=True)
class RuleCase:
    fires: Make
    """a program that the rule rewrites, too small to be worth it"""
    guards: Mapping[str, Make]
    """guard -> a program that breaks this one and keeps all others"""
    high: int = 7
    """integer inputs are drawn from -2 to here"""


def _array(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def _made(text: str, opset: int = 17, **tensors: np.ndarray) -> Make:
    return lambda: apply(graph(text, opset, **tensors), InferShapes())


def feeds(program: Program, seed: int, high: int = 7) -> dict[str, np.ndarray]:
    """Values for every input: normal numbers (and halves, which no token is), or integers from -2 to `high`."""
    random = np.random.default_rng(seed)
    made = {}
    for spec in program.signature.inputs:
        shape = [dim if isinstance(dim, int) else 40 for dim in spec.shape or ()]
        if spec.dtype.startswith("int"):
            made[spec.name] = random.integers(-2, high + 1, shape).astype(spec.dtype)
        else:
            drawn = np.round(2 * random.standard_normal(shape)) / 2 + 0.25 * (seed % 2)
            made[spec.name] = np.asarray(drawn, spec.dtype)  # of no axes, too
    return made


# ---- tokens --------------------------------------------------------------------------------------

_TABLE = {"m1": np.array([-1]), "k": np.arange(5), "w": _array(5, 5), "b": _array(5), "by_place": _array(7, 1)}


def _tokens(start: str, chain: str, inputs: str = "int64[2,7] t", opset: int = 17, **tensors: np.ndarray) -> Make:
    text = f"({inputs}) => (float y) {{ {start} {chain} }}"
    used = {name: a for name, a in (_TABLE | tensors).items() if f"{name})" in text or f"{name}," in text}
    return _made(text, opset, **used)


_EQUAL = "u = Unsqueeze(t, m1) e = Equal(u, k) f = Cast <to = 1> (e)"
_CHAIN = "m = MatMul(f, w) a = Add(m, b) y = Tanh(a)"

TOKENS = RuleCase(
    _tokens(_EQUAL, _CHAIN),
    {
        "opset": _tokens("e = Equal(t, k) f = Cast <to = 1> (e)", _CHAIN, "int64[2,7,1] t", 11),
        "dtype": _tokens(_EQUAL, _CHAIN, "float[2,7] t", k=np.arange(5, dtype=np.float32)),
        "axis": _tokens("e = Equal(t, k) f = Cast <to = 1> (e)", _CHAIN, "int64[7,5] t"),
        "broadcast": _tokens(_EQUAL, "m = MatMul(f, w) a = Add(m, by_place) y = Tanh(a)"),
    },
)

# ---- convolutions --------------------------------------------------------------------------------


def _conv(
    x: str, weight: tuple[int, ...], attributes: str = "", opset: int = 17, dtype: str = "float", bias: bool = True
) -> Make:
    kind = "float32" if dtype == "float" else "float64"
    tensors = {"w": _array(*weight, dtype=kind)} | ({"b": _array(weight[0], dtype=kind)} if bias else {})
    given, form = "x, w, b" if bias else "x, w", f" <{attributes}>" if attributes else ""
    return _made(f"({dtype}[{x}] x) => ({dtype} y) {{ y = Conv{form} ({given}) }}", opset, **tensors)


WINOGRAD = RuleCase(
    _conv("2,3,1,17", (4, 3, 1, 5), "pads = [0, 2, 0, 1]"),
    {
        "dtype": _conv("2,3,1,17", (4, 3, 1, 5), "pads = [0, 2, 0, 1]", dtype="double"),
        "group": _conv("2,6,1,17", (4, 3, 1, 5), "group = 2"),
        "auto_pad": _conv("2,3,1,17", (4, 3, 1, 5), 'auto_pad = "SAME_UPPER"'),
        "dilation": _conv("2,3,1,17", (4, 3, 1, 5), "dilations = [1, 2]"),
        "stride": _conv("2,3,1,17", (4, 3, 1, 5), "strides = [1, 2]"),
        "dynamic": _conv("2,3,1,n", (4, 3, 1, 5)),
        "axis": _conv("2,3,4,17", (4, 3, 1, 5)),
    },
)

CONV_2D = RuleCase(
    _conv("2,3,17", (4, 3, 5), "pads = [2, 1], strides = [2]"),
    {
        "opset": _conv("2,3,17", (4, 3, 5), opset=11),
        "auto_pad": _conv("2,3,17", (4, 3, 5), 'auto_pad = "SAME_UPPER"'),
    },
)

PHASES = RuleCase(
    _conv("2,2,3,29", (3, 2, 2, 7), "strides = [1, 2], pads = [0, 3, 1, 2]"),
    {
        "group": _conv("2,4,3,29", (2, 2, 2, 7), "group = 2"),
        "auto_pad": _conv("2,2,3,29", (3, 2, 2, 7), 'auto_pad = "SAME_UPPER"'),
        "dilation": _conv("2,2,3,29", (3, 2, 2, 7), "dilations = [1, 2]"),
        "dynamic": _conv("2,2,3,n", (3, 2, 2, 7)),
    },
)

FRAMES = RuleCase(
    _conv("2,1,40", (3, 1, 8), "strides = [4]"),
    {
        "channels": _conv("2,2,40", (3, 2, 8), "strides = [4]"),
        "group": _conv("2,2,40", (4, 1, 8), "strides = [4], group = 2"),
        "auto_pad": _conv("2,1,40", (3, 1, 8), 'auto_pad = "SAME_UPPER", strides = [4]'),
        "pad": _conv("2,1,40", (3, 1, 8), "strides = [4], pads = [3, 1]"),
        "dilation": _conv("2,1,40", (3, 1, 8), "strides = [4], dilations = [2]"),
        "dynamic": _conv("2,1,n", (3, 1, 8), "strides = [4]"),
        "axis": _conv("2,1,3,40", (3, 1, 1, 8), "strides = [1, 4]"),
    },
)


def _chained(
    weight: tuple[int, ...] = (5, 2, 1, 1), attributes: str = "", inner: str = "", first: tuple[int, ...] = (2, 3, 3, 3)
) -> Make:
    text = f"""(float[2,3,8,6] x) => (float y) {{ a = Conv <strides = [2, 1], pads = [1, 0, 0, 1]{inner}> (x, v, k)
        n = BatchNormalization <epsilon = 0.01> (a, s, t, m, q) y = Conv{attributes} (n, w, b) }}"""
    scales = {"s": _array(first[0]), "t": _array(first[0]), "m": _array(first[0]), "q": _array(first[0]) ** 2}
    return _made(text, 17, v=_array(*first), k=_array(first[0]), w=_array(*weight), b=_array(weight[0]), **scales)


CHAINED = RuleCase(
    _chained(),
    {
        "kernel": _chained((5, 2, 3, 1)),
        "stride": _chained(attributes=" <strides = [1, 2]>"),
        "pad": _chained(attributes=" <pads = [1, 0, 0, 0]>"),
        "group": _chained((4, 1, 1, 1), " <group = 2>"),
    },
)

# ---- upsampled maps ------------------------------------------------------------------------------


def _pyramid(
    resize: str = 'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
    scales: tuple[float, ...] = (1, 1, 2, 2),
    conv: str = "pads = [1, 1, 1, 1]",
    weight: tuple[int, ...] = (3, 5, 3, 3),
    big: str = "1,3,8,6",
    axis: int = 1,
    dtype: str = "float",
    group: int = 1,
) -> Make:
    kind = "float32" if dtype == "float" else "float64"
    text = f"""({dtype}[1,2,4,3] a, {dtype}[{big}] b) => ({dtype} y) {{
        u = Resize <{resize}> (a, , s) c = Concat <axis = {axis}> (u, b)
        y = Conv <{conv}, group = {group}> (c, w, k) }}"""
    tensors = {"w": _array(*weight, dtype=kind), "k": _array(weight[0], dtype=kind)}
    return _made(text, 17, s=np.array(scales, np.float32), **tensors)


UPSAMPLED = RuleCase(
    _pyramid(),
    {
        "dtype": _pyramid(dtype="double"),
        "group": _pyramid(weight=(4, 3, 3, 3), big="1,4,8,6", group=2),
        "dilation": _pyramid(conv="pads = [1, 1, 1, 1], dilations = [2, 2]"),
        "stride": _pyramid(conv="pads = [1, 1, 1, 1], strides = [2, 2]"),
        "kernel": _pyramid(weight=(3, 5, 5, 5)),
        "pad": _pyramid(conv="pads = [0, 0, 0, 0]"),
        "axis": _pyramid(weight=(3, 2, 3, 3), big="1,2,5,6", axis=2),
        "scale": _pyramid(scales=(1, 1, 2, 3), big="1,3,8,9"),
        "mode": _pyramid('mode = "nearest", coordinate_transformation_mode = "half_pixel", nearest_mode = "ceil"'),
    },
)

# ---- maxima --------------------------------------------------------------------------------------


def _prelu(slope: np.ndarray) -> Make:
    return _made("(float[2,3,4] x) => (float y) { y = PRelu(x, a) }", 17, a=slope)


PRELU = RuleCase(
    _prelu(np.array([[0.25], [-0.5], [1.0]], np.float32)),
    {"slope": _prelu(np.array([[0.25], [1.5], [1.0]], np.float32))},
)

SINKS = RuleCase(
    _made(
        """(float[2,3,5] x) => (float y) { a = Elu <alpha = 0.5> (x) b = Sigmoid(a)
        y = ReduceMax <axes = [2], keepdims = 0> (b) }"""
    ),
    {"slope": _made("(float[2,3,5] x) => (float y) { a = Elu <alpha = -3.0> (x) y = GlobalMaxPool(a) }")},
)

# ---- recurrence and views ------------------------------------------------------------------------

STEP = RuleCase(cell(), {**plain_guards("1"), "length": cell(steps="2")})

HOIST = RuleCase(cell(steps="3"), plain_guards("3"))

CHAIN = RuleCase(chain(), chain_guards())

SCANNED = RuleCase(scan(), scan_guards())

VIEW = RuleCase(
    _made(
        """(float[2,1,"n",3] x) => (float y) { a = Squeeze(x, k) b = Unsqueeze(a, m) c = Flatten <axis = 2> (b)
        y = Tanh(c) }""",
        k=np.array([1]),
        m=np.array([0]),
    ),
    {
        "dynamic": _made(
            """(float["m","n",3] x) => (float y) { a = Unsqueeze(x, k) b = Unsqueeze(a, k) y = Tanh(b) }""",
            k=np.array([0]),
        ),
        "empty": _made(
            """(float["n",0,3] x) => (float y) { a = Unsqueeze(x, k) b = Unsqueeze(a, k) y = Tanh(b) }""",
            k=np.array([0]),
        ),
    },
)

RULE_CASES: dict[str, RuleCase] = {
    "token-table": TOKENS,
    "winograd-1d": WINOGRAD,
    "conv1d-as-2d": CONV_2D,
    "phase-expansion": PHASES,
    "framing": FRAMES,
    "upsampled-conv": UPSAMPLED,
    "prelu-max": PRELU,
    "conv-chain": CHAINED,
    "max-sinks": SINKS,
    "single-step": STEP,
    "hoisted-inputs": HOIST,
    "rerolled": CHAIN,
    "recurrent-loop": SCANNED,
    "one-view": VIEW,
    **{name: RuleCase(fires, guards) for name, (fires, guards) in (MOVES | FUSIONS | FOLDING | DECONVS).items()},
}
"""rule -> its programs. A new rule of the table needs a row here"""


# ---- what a rewrite computes ---------------------------------------------------------------------

EXACT = 1e-4
"""of the largest value: what every rewrite of the zoo must keep against float64"""


def bare(name: str) -> Rule:
    """The rule without its conditions of use: the programs here are too small to be worth it."""
    return replace(by_name(name), worth=())


def exact(of: Program, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs in double precision, by onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    from neoc.targets.engines.reference_ops import OPERATORS

    wide = ReferenceEvaluator(onnx_io.to_bytes(widen_model(of.model)), new_ops=OPERATORS)
    return [np.asarray(a) for a in wide.run(None, {name: widen_array(a) for name, a in given.items()})]


def far(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return any(
        a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=EXACT * max(1.0, float(np.abs(b).max())))
        for a, b in zip(found, wanted, strict=True)
    )
