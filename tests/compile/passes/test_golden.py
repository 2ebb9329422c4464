"""The text of a small program before and after each pass: what a person reads when a pass changes its mind."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from pass_programs import apply, graph, program

from neoc.compile.passes import (
    DEFAULT,
    BindValues,
    CommonValues,
    ConvertOpset,
    DeadCode,
    FoldConstants,
    FoldShapes,
    Identities,
    InferShapes,
    InitializerInputs,
    InlineFunctions,
    InlineIf,
    Legalize,
    LiftConstants,
    LoopInvariants,
    Pass,
    Repeat,
    TreeEnsembles,
    UniqueNames,
)
from neoc.compile.passes.text import render
from neoc.compile.program import Program

ONE = np.array([1.0], np.float32)
ZERO = np.array([0])

BRANCHES = """(bool c, float[2,3] x) => (float[2,3] y) {
    a = Exp(x)
    y = If (c) <then_branch = t () => (float[2,3] r) { s = Neg(a) r = Mul(s, one) },
                else_branch = e () => (float[2,3] r) { s = Exp(x) r = Sub(s, x) }>
}"""


def _function() -> Program:
    return program(
        """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[2,3] x) => (float[2,3] y) { h = local.Twice <by = 2.0> (x) y = local.Twice <by = 3.0> (h) }
        <domain: "local", opset_import: ["" : 16]>
        Twice <by> (p) => (q) { k = Constant <value_float: float = @by> () q = Mul(p, k) }"""
    )


def _old() -> Program:
    before = graph(
        "(float[2,3] x, float[3] w) => (float[2,3] y) { y = Mul(x, w) }", 14, w=np.arange(3, dtype=np.float32)
    )
    before.model.ir_version = 3
    return before


def _stump() -> Program:
    return program(
        """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
        g (float[2,3] x) => (float[2,1] y) {
            y = ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, base_values = [0.5], nodes_treeids = [0, 0, 0],
                nodes_nodeids = [0, 1, 2], nodes_featureids = [2, 0, 0], nodes_modes = ["BRANCH_LT", "LEAF", "LEAF"],
                nodes_values = [1.5, 0.0, 0.0], nodes_truenodeids = [1, 0, 0], nodes_falsenodeids = [2, 0, 0],
                nodes_missing_value_tracks_true = [1, 0, 0], target_treeids = [0, 0], target_nodeids = [1, 2],
                target_ids = [0, 0], target_weights = [-1.0, 2.0]> (x) }"""
    )


CASES: dict[str, tuple[Callable[[], Program], Pass]] = {
    "unique_names": (lambda: graph(BRANCHES, one=ONE), UniqueNames()),
    "inline_functions": (_function, InlineFunctions()),
    "initializer_inputs": (_old, InitializerInputs()),
    "lift_constants": (
        lambda: graph("(float[2,3] x) => (float[2,3] y) { k = Constant <value_ints = [2, 3]> () y = Expand(x, k) }"),
        LiftConstants(),
    ),
    "convert_opset": (
        lambda: graph(
            """(float[2,3,4] x) => (float[2,4] y) {
                s = Softmax <axis = 1> (x) y = ReduceSum <axes = [1], keepdims = 0> (s) }""",
            11,
        ),
        ConvertOpset(),
    ),
    "tree_ensembles": (_stump, TreeEnsembles()),
    "infer_shapes": (
        lambda: graph(
            '(float["n",3] x) => (float y) { a = MatMul(x, w) y = Transpose(a) }', w=np.ones((3, 5), np.float32)
        ),
        InferShapes(),
    ),
    "fold_shapes": (
        lambda: graph(
            """(float["n",4,6] x) => (float[a,b] y) <int64[3] s, int64[1] n, int64[2] c> {
                s = Shape(x) n = Gather(s, zero) c = Concat <axis = 0> (n, rest) y = Reshape(x, c) }""",
            zero=ZERO,
            rest=np.array([24]),
        ),
        FoldShapes(),
    ),
    "fold_constants": (
        lambda: graph(
            """(float[2] x) => (float[2] y) {
                d = Sub(k, one) e = Sqrt(d) f = Div(e, zero) g = Mul(x, e) y = Add(g, f) }""",
            k=np.array([5.0, 10.0], np.float32),
            one=ONE,
            zero=np.zeros(1, np.float32),
        ),
        FoldConstants(),
    ),
    "inline_if": (lambda: apply(graph(BRANCHES, one=ONE), UniqueNames(), BindValues((("c", True),))), InlineIf()),
    "loop_invariants": (
        lambda: graph(
            """(float[2] x, float[2] w) => (float[2] y) {
                y, u = Loop (n, c, x, w) <body = b (int64 i, bool k, float[2] s, float[2] v)
                    => (bool l, float[2] t, float[2] z) { l = Identity(k) t = Mul(s, v) z = Identity(v) }> }""",
            n=np.array(3),
            c=np.array(True),
        ),
        LoopInvariants(),
    ),
    "bind_values": (lambda: graph(BRANCHES, one=ONE), BindValues((("c", False),))),
    "legalize": (
        lambda: graph(
            "(int64[1] x) => (int64[3] y) { r = Range(a, b, c) y = Add(r, x) }",
            a=ZERO,
            b=np.array([3]),
            c=np.array([1]),
        ),
        Legalize(),
    ),
    "identities": (
        lambda: graph(
            """(float[2,3] x) => (float[2,3] y, float[2,3] z) {
                a = Mul(x, one) b = Tanh(a) y = Identity(b) z = Dropout(x) }""",
            one=ONE,
        ),
        Identities(),
    ),
    "common_values": (
        lambda: graph(
            "(float[2,3] x) => (float[2,3] y, float[2,3] z) { a = Mul(x, v) b = Mul(x, w) y = Exp(a) z = Exp(b) }",
            v=ONE,
            w=ONE,
        ),
        CommonValues(),
    ),
    "dead_code": (
        lambda: graph("(float[2,3] x) => (float[2,3] y) { a = Exp(x) b = Mul(a, w) y = Neg(x) }", w=ONE),
        DeadCode(),
    ),
    "default": (
        lambda: graph(
            """(float["n",4,6] x) => (float y) {
                s = Shape(x) i = Constant <value_ints = [0]> () n = Gather(s, i) m = Mul(four, six)
                c = Concat <axis = 0> (n, m) r = Reshape(x, c) t = Identity(r) k = Equal(m, big)
                u = If (k) <then_branch = a () => (float p) { p = Exp(t) },
                            else_branch = b () => (float p) { p = Tanh(t) }>
                v = Softmax <axis = 1> (u) w = Add(v, one) y = Cast <to = 1> (w) }""",
            11,
            four=np.array([4]),
            six=np.array([6]),
            big=np.array([25]),
            one=ONE,
        ),
        Repeat(DEFAULT),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_text_before_and_after(golden: Callable[[str, str], None], name: str) -> None:
    make, step = CASES[name]
    before = make()
    after = apply(before, step)
    title = "DEFAULT" if name == "default" else repr(step)
    golden(f"passes/{name}.txt", f"{render(before)}\n---- {title} ----\n\n{render(after)}")


ELSEWHERE = {"loop_to_gru": "test_loop_to_gru.py"}
"""passes whose text another test compares"""


def test_every_pass_has_a_text() -> None:
    inside = next(step for step in DEFAULT if isinstance(step, Repeat)).passes
    for step in (*DEFAULT, *inside):
        name = re.sub(r"(?<!^)([A-Z])", r"_\1", type(step).__name__).lower()
        assert name in CASES or name in ELSEWHERE or isinstance(step, Repeat)
