"""The table of identities: a node that is one goes, its twin that is none stays, and the numbers are the same."""

from __future__ import annotations

import numpy as np
import pytest
from pass_programs import apply, assert_same, graph, operators

from neoc.compile.passes import DEFAULT, Identities, InferShapes, LiftConstants
from neoc.compile.passes.identities import RULES

SAMPLES = [{"x": np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32)} for seed in (0, 1)]
END = 2**63 - 1

TENSORS = {
    "one": np.array([1.0], np.float32),
    "ones": np.ones((2, 3), np.float32),
    "wide": np.ones((4, 2, 3), np.float32),
    "two": np.array([2.0], np.float32),
    "zero": np.array([0.0], np.float32),
    "minus_zero": np.array([-0.0], np.float32),
    "i0": np.array([0]),
    "i1": np.array([1]),
    "i2": np.array([2]),
    "i3": np.array([3]),
    "i11": np.array([1, 1]),
    "i12": np.array([1, 2]),
    "i00": np.array([0, 0]),
    "i0m": np.array([0, -1]),
    "i23": np.array([2, 3]),
    "i32": np.array([3, 2]),
    "i13": np.array([1, 3]),
    "i123": np.array([1, 2, 3]),
    "end": np.array([END]),
    "pads0": np.array([0, 0, 0, 0]),
    "pads1": np.array([0, 0, 0, 1]),
    "double": np.array([0.0], np.float64),
    "half": np.array(0.5, np.float32),
    "no": np.array(False),
    "yes": np.array(True),
}

CASES = [
    # (identity, its twin that does something)
    ("Identity(x)", "Neg(x)"),
    ("Cast <to = 1> (x)", "Cast <to = 11> (x)"),
    ("CastLike(x, one)", "CastLike(x, double)"),
    ("Clip(x)", "Clip(x, half)"),
    ("Concat <axis = 0> (x)", "Concat <axis = 0> (x, x)"),
    ("Max(x)", "Max(x, one)"),
    ("Min(x)", "Min(x, one)"),
    ("Sum(x)", "Sum(x, x)"),
    ("Mean(x)", "Mean(x, one)"),
    ("Transpose <perm = [0, 1]> (x)", "Transpose(x)"),
    ("Reshape(x, i23)", "Reshape(x, i32)"),
    ("Reshape(x, i00)", "Reshape(x, i123)"),
    ("Reshape(x, i0m)", None),
    ("Flatten <axis = 1> (x)", "Flatten <axis = 0> (x)"),
    ("Squeeze(x)", None),
    ("Expand(x, i1)", "Expand(x, i123)"),
    ("Expand(x, i13)", None),
    ("Tile(x, i11)", "Tile(x, i12)"),
    ("Pad(x, pads0)", "Pad(x, pads1)"),
    ("Slice(x, i0, end, i1, i1)", "Slice(x, i1, end, i1, i1)"),
    ("Slice(x, i0, i3, i1)", "Slice(x, i0, i2, i1)"),
    ("Slice(x, i0, end, i1)", "Slice(x, i0, end, i1, i2)"),
    ("Dropout(x, half)", None),
    ("Dropout(x, half, no)", "Dropout(x, half, yes)"),
    ("Sub(x, zero)", "Sub(x, one)"),
    ("Mul(x, ones)", "Mul(x, wide)"),
    ("Mul(x, one)", "Mul(x, two)"),
    ("Div(x, one)", "Div(one, x)"),
    ("Pow(x, one)", "Pow(x, two)"),
    (None, "Add(x, zero)"),  # -0.0 + 0.0 is 0.0
    (None, "Sub(x, minus_zero)"),
]


def _program(node: str, static: bool = True, opset: int = 17):  # type: ignore[no-untyped-def]
    used = {name: array for name, array in TENSORS.items() if name in node.replace(",", " ").replace(")", " ").split()}
    used |= {name: TENSORS[name] for name in TENSORS if f"({name}," in node}
    dims = "2,3" if static else '"n",3'
    return graph(f"(float[{dims}] x) => (float y) {{ a = {node} b = Tanh(a) y = Cast <to = 1> (b) }}", opset, **used)


@pytest.mark.parametrize("node", [identity for identity, _ in CASES if identity])
def test_identities_go(node: str) -> None:
    before = _program(node)
    after = apply(before, InferShapes(), Identities())
    assert operators(after)[0] == "Tanh"
    assert_same(before, after, *SAMPLES)


@pytest.mark.parametrize("node", [twin for _, twin in CASES if twin])
def test_their_twins_stay(node: str) -> None:
    after = apply(_program(node), InferShapes(), Identities())
    assert operators(after)[0] == node.split("(")[0].split(" ")[0]


@pytest.mark.parametrize(
    "node", ["Reshape(x, i00)", "Reshape(x, i0m)", "Expand(x, i13)", "Mul(x, one)", "Slice(x, i0, end, i0)"]
)
def test_identities_of_a_dynamic_tensor_go_too(node: str) -> None:
    before = _program(node, static=False)
    after = apply(before, InferShapes(), Identities())
    assert operators(after)[0] == "Tanh"
    assert_same(before, after, *SAMPLES)


@pytest.mark.parametrize("node", ["Reshape(x, i23)", "Slice(x, i0, i2, i0)", "Mul(x, ones)"])
def test_what_holds_for_one_size_only_stays_in_a_dynamic_tensor(node: str) -> None:
    assert operators(apply(_program(node, static=False), InferShapes(), Identities()))[0] != "Tanh"


def test_every_rule_has_a_case() -> None:
    tried = {case.split("(")[0].split(" ")[0] for pair in CASES for case in pair if case}
    assert set(RULES) - tried == {"Split"}


def test_adding_zero_to_integers_is_an_identity_and_so_is_a_split_into_one() -> None:
    before = graph(
        "(int64[4] x) => (int64[4] y) { a = Add(x, z) b = Split <axis = 0> (a) y = Neg(b) }",
        13,
        z=np.zeros(1, np.int64),
    )
    assert operators(apply(before, InferShapes(), Identities())) == ["Neg"]


def test_old_spellings_with_attributes() -> None:
    text = """(float[2,3] x) => (float[2,3] y) {{
        a = Pad <pads = [0, 0, 0, {}]> (x) b = Slice <axes = [1], starts = [0], ends = [9999999999]> (a)
        y = Tanh(b) }}"""
    assert operators(apply(graph(text.format(0), 9), InferShapes(), Identities())) == ["Tanh"]
    assert operators(apply(graph(text.format(1), 9), InferShapes(), Identities())) == ["Pad", "Tanh"]
    training = "(float[2,3] x) => (float[2,3] y) {{ a = Dropout <is_test = {}> (x) y = Tanh(a) }}"
    assert operators(apply(graph(training.format(1), 6), Identities())) == ["Tanh"]
    assert operators(apply(graph(training.format(0), 6), Identities())) == ["Dropout", "Tanh"]


def test_a_mask_that_somebody_reads_keeps_its_dropout() -> None:
    before = graph("(float[2,3] x) => (float[2,3] y, bool[2,3] m) { y, m = Dropout(x) }")
    assert operators(apply(before, *DEFAULT)) == ["Dropout"]


def test_outputs_keep_their_names_whoever_makes_them() -> None:
    before = graph(
        """(float[2,3] x) => (float[2,3] y, float[2,3] z, float[2,3] u, float[2,3] w) {
            a = Tanh(x) y = Identity(a) z = Identity(a) u = Identity(x) k = Constant <value_float = 2.0> ()
            b = Mul(a, k) c = Identity(b) w = Cast <to = 1> (c) }"""
    )
    after = apply(before, LiftConstants(), InferShapes(), Identities(), Identities())
    # y takes over Tanh, w takes over Mul; z and u alias what has another name already.
    assert operators(after) == ["Tanh", "Identity", "Identity", "Mul"]
    assert [s.name for s in after.signature.outputs] == ["y", "z", "u", "w"]
    assert_same(before, after, *SAMPLES)


def test_a_body_makes_its_own_outputs() -> None:
    before = graph(
        """(int64 n, float[2,3] x) => (float[2,3] y) {
            t = Constant <value = bool {1}> ()
            y = Loop (n, t, x) <body = b (int64 i, bool c, float[2,3] s) => (bool d, float[2,3] r) {
                d = Identity(c) p = Mul(s, k) r = Identity(p) }> }""",
        k=np.array([1.5], np.float32),
    )
    after = apply(before, *DEFAULT)
    assert operators(after) == ["Loop", "Identity", "Mul"]
    assert_same(before, after, *({**feeds, "n": np.array(3)} for feeds in SAMPLES))
