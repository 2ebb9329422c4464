"""Folding image steps into the graph: exact changes no bit, near only rounding, and the rest stays where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_programs import evaluate, graph, operators

from neoc.compile import process
from neoc.compile.passes import fold_steps, run
from neoc.compile.passes.text import render
from neoc.compile.program import Program
from neoc.compile.raw import Items, RawPipeline

RNG = np.random.default_rng(9)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PHOTOS = [RNG.integers(0, 256, (30, 21, 3), dtype=np.uint8), np.zeros((5, 40, 3), np.uint8)]
WEIGHT = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(4).astype(np.float32)


def conv(attributes: str = "", bias: bool = True, weight: np.ndarray = WEIGHT) -> Program:
    inputs = "x, w, b" if bias else "x, w"
    body = f"(float[n,3,12,10] x) => (float[n,o,h,v] y) {{ y = Conv {attributes} ({inputs}) }}"
    return graph(body, **({"w": weight, "b": BIAS} if bias else {"w": weight}))


def declared(plain: Program, **options: Any) -> Program:
    return process.attach(plain, [{"image": {"size": [12, 10], "resize": "pillow-bilinear", **options}}], [])


def folded(program: Program, mode: str) -> Program:
    return run(program, fold_steps(program, mode))


def outputs(program: Program) -> np.ndarray:
    """What the program with its steps gives for the photos."""
    described = [s.as_dict() for s in program.pre]
    pipeline = RawPipeline(described, [], program.signature)
    feeds = pipeline.feeds(Items(PHOTOS, ["image"]))
    return evaluate(program, feeds)[0]


def close(got: np.ndarray, want: np.ndarray) -> bool:
    return bool(np.abs(got - want).max() <= 2e-6 * np.abs(want).max())


CONVS = {
    "valid": "",
    "padded": "<pads = [1, 2, 1, 2]>",
    "uneven": "<pads = [0, 1, 2, 0], strides = [2, 1], dilations = [1, 2]>",
    "by name": '<auto_pad = "VALID">',
}
NORMS: dict[str, dict[str, Any]] = {
    "imagenet": {"mean": MEAN, "std": STD},
    "half": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "scale": {},
    "bgr": {"mean": MEAN, "std": STD, "channels": "BGR"},
    "levels": {"divisor": 1.0, "mean": [103.9, 116.8, 123.7]},
}


@pytest.mark.parametrize("attributes", CONVS.values(), ids=CONVS)
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("bias", [True, False])
def test_near_moves_scale_and_mean_into_the_first_conv(attributes: str, norm: dict[str, Any], bias: bool) -> None:
    before = declared(conv(attributes, bias), **norm)
    after = folded(before, "near")
    assert [str(s) for s in after.signature.inputs] == ["x: uint8[n,3,12,10]"]
    spec = after.pre[0].as_dict()["options"]
    assert (spec["dtype"], spec["mean"], spec["std"]) == ("uint8", None, None)
    assert spec["channels"] == norm.get("channels", "RGB")
    want = outputs(before)
    assert close(outputs(after), want)
    assert not close(outputs(declared(conv(attributes, bias))), want) or norm == {}
    assert after.unfolded is before
    assert "lies in the first Conv" in after.notes[0]


def test_the_border_is_the_level_that_normalises_to_zero() -> None:
    """Without the mapping the border of a padded Conv would be black instead of grey."""
    pads = "<pads = [1, 1, 1, 1]>"
    one = folded(declared(conv(pads), mean=[0.5] * 3, std=[0.25] * 3), "near")
    assert operators(one) == ["Cast", "Pad", "Conv"]
    several = folded(declared(conv(pads), mean=MEAN, std=STD), "near")
    assert operators(several) == ["Cast", "Sub", "Conv"]
    assert operators(folded(declared(conv(pads)), "near")) == ["Cast", "Conv"]
    assert operators(folded(declared(conv(), mean=MEAN), "near")) == ["Cast", "Conv"]


@pytest.mark.parametrize(
    ("norm", "folds"),
    [
        ({"divisor": 256.0}, True),
        ({"divisor": 128.0, "std": [0.5, 2.0, 1.0]}, True),
        ({"divisor": 255.0}, False),
        ({"divisor": 256.0, "mean": [0.5] * 3}, False),
        ({"divisor": 256.0, "std": [0.3, 1.0, 1.0]}, False),
    ],
)
@pytest.mark.parametrize("attributes", ["", "<pads = [1, 1, 1, 1]>"])
def test_exact_folds_only_what_changes_no_bit(norm: dict[str, Any], folds: bool, attributes: str) -> None:
    before = declared(conv(attributes), **norm)
    after = folded(before, "exact")
    assert (after.signature.inputs[0].dtype == "uint8") is folds
    np.testing.assert_array_equal(outputs(after), outputs(before))
    if not folds:
        assert after.pre == before.pre
        assert "--fold near" in after.notes[0]


def test_weights_that_would_lose_bits_stay() -> None:
    tiny = WEIGHT.copy()
    tiny[0, 0, 0, 0] = 1e-38
    before = declared(conv(weight=tiny), divisor=256.0)
    assert folded(before, "exact").pre == before.pre
    assert folded(declared(conv(weight=WEIGHT), divisor=256.0), "exact").pre != before.pre


def test_plain_levels_need_only_a_cast() -> None:
    body = "(float[n,3,12,10] x) => (float[n,3,12,10] y) { a = Exp(x) y = Sub(a, x) }"
    before = declared(graph(body), divisor=1.0)
    after = folded(before, "exact")
    assert operators(after) == ["Cast", "Exp", "Sub"]
    np.testing.assert_array_equal(outputs(after), outputs(before))


@pytest.mark.parametrize(("layout", "perm", "shape"), [
    ("NHWC", "[0, 3, 1, 2]", "n,12,10,3"), ("NCHW", "[0, 2, 3, 1]", "n,3,12,10"),
])  # fmt: skip
def test_a_transpose_at_the_head_becomes_the_kernels_layout(layout: str, perm: str, shape: str) -> None:
    body = f"(float[{shape}] x) => (float[a,b,c,d] y) {{ t = Transpose <perm = {perm}> (x) y = Exp(t) }}"
    before = declared(graph(body), layout=layout, mean=MEAN)
    after = folded(before, "exact")
    assert operators(after) == ["Exp"]
    assert after.signature.inputs[0].dtype == "float32"
    np.testing.assert_array_equal(outputs(after), outputs(before))


def test_layout_and_conv_go_together() -> None:
    body = "(float[n,12,10,3] x) => (float[n,o,h,v] y) { t = Transpose <perm = [0, 3, 1, 2]> (x) y = Conv (t, w) }"
    before = declared(graph(body, w=WEIGHT), layout="NHWC", divisor=256.0)
    after = folded(before, "exact")
    assert operators(after) == ["Cast", "Conv"]
    assert [str(s) for s in after.signature.inputs] == ["x: uint8[n,3,12,10]"]
    np.testing.assert_array_equal(outputs(after), outputs(before))


GUARDS: dict[str, tuple[str, dict[str, np.ndarray], dict[str, Any]]] = {
    "two readers": ("a = Conv(x, w) c = Exp(x) d = ReduceSum(c) y = Add(a, d)", {"w": WEIGHT}, {}),
    "weights computed": ("v = Exp(w) u = Neg(v) s = Shape(x) f = Cast <to = 1> (s) g = ReduceSum(f) "
                         "q = Mul(u, g) y = Conv(x, q)", {"w": WEIGHT}, {}),
    "same padding": ('y = Conv <auto_pad = "SAME_UPPER"> (x, w)', {"w": WEIGHT}, {}),
    "grouped": ("y = Conv <group = 3> (x, w)", {"w": WEIGHT[:3, :1]}, {}),
    "no conv": ("y = Exp(x)", {}, {}),
    "fractions of levels": ("y = Conv(x, w)", {"w": WEIGHT}, {"resize": "torch-bilinear"}),
}  # fmt: skip


@pytest.mark.parametrize("body", GUARDS, ids=str)
def test_what_cannot_be_folded_stays(body: str) -> None:
    text, tensors, options = GUARDS[body]
    before = declared(graph(f"(float[n,3,12,10] x) => (float[a,b,c,d] y) {{ {text} }}", **tensors), **options)
    for mode in ("exact", "near"):
        after = folded(before, mode)
        assert after.pre == before.pre
        assert after.signature.inputs == before.signature.inputs
        assert operators(after)[-1] == operators(before)[-1]


def test_a_tensor_that_a_later_step_rewrites_stays() -> None:
    body = "(int8[n,3,12,10] x) => (float[n,3,12,10] y) { y = Cast <to = 1> (x) }"
    steps = [{"image": {"size": [12, 10]}}, {"quantize": {"scale": 0.01, "input": "x"}}]
    program = process.attach(graph(body), steps, [])
    assert fold_steps(program, "near") == ()


def test_folding_twice_changes_nothing_more() -> None:
    once = folded(declared(conv("<pads = [1, 1, 1, 1]>"), mean=MEAN, std=STD), "near")
    twice = folded(once, "near")
    assert (twice.digest, twice.pre) == (once.digest, once.pre)


def test_the_text_of_a_folded_program(golden) -> None:  # type: ignore[no-untyped-def]
    before = declared(conv("<pads = [1, 1, 1, 1]>"), mean=[0.5] * 3, std=[0.5] * 3)
    texts = [render(before), render(folded(before, "near"))]
    golden("passes/fold_pre.txt", "\n---- near\n".join(texts))
