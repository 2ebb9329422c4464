"""A Loop that is a gated recurrent unit becomes one, whatever its arrangement; everything else stays a Loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pass_programs import apply, evaluate, graph, operators
from recurrent_loops import ACTIVATIONS, SPOILERS, Recurrence, build, expected

from neoc.compile.passes import (
    DEFAULT,
    DeadCode,
    FoldConstants,
    InferShapes,
    LoopInvariants,
    LoopToGru,
    UniqueNames,
    run,
)
from neoc.compile.passes.text import render

ENOUGH = (UniqueNames(), LoopInvariants(), InferShapes(), FoldConstants(), LoopToGru(), DeadCode())
"""of the normal form: what shows a GRU where it is"""

RECURRENCES = st.builds(
    Recurrence,
    inputs=st.integers(1, 5),
    hidden=st.sampled_from([1, 2, 3, 7, 16]),
    reset_after=st.booleans(),
    gate=st.sampled_from(["Sigmoid", "hard"]),
    candidate=st.sampled_from(ACTIVATIONS),
    backwards=st.booleans(),
    history=st.booleans(),
    bias=st.booleans(),
    given_state=st.booleans(),
    fused=st.booleans(),
    carried=st.booleans(),
    time=st.sampled_from([None, None, 5]),
    swapped=st.frozensets(st.integers(1, 16)),
    seed=st.integers(0, 9),
)


def _feeds(r: Recurrence, seed: int, batch: int = 2, time: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    feeds = {"x": random.normal(size=(batch, r.time or time, r.inputs)).astype(np.float32)}
    if r.given_state:
        feeds["h"] = random.normal(size=(batch, r.hidden)).astype(np.float32)
    return feeds


def _becomes_a_gru(r: Recurrence) -> None:
    before = build(r)
    after = apply(before, *ENOUGH)
    assert operators(after).count("GRU") == 1
    assert "Loop" not in operators(after)
    for seed, batch, time in ((0, 2, 5), (1, 1, 1), (2, 3, 8)):
        feeds = _feeds(r, seed, batch, time)
        wanted = expected(r, **feeds)
        found = evaluate(after, feeds)
        assert len(found) == 1 + r.history
        for got, want in zip(found, wanted, strict=False):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-6)
    first, second = (evaluate(after, _feeds(r, seed))[0] for seed in (0, 5))
    if r.candidate not in ("Relu", "hard") or r.hidden > 3:  # one unit alone may be switched off
        assert not np.array_equal(first, second)


def _stays_a_loop(r: Recurrence, spoiler: str) -> None:
    r = replace(r, spoiler=spoiler)
    before = build(r)
    after = apply(before, *ENOUGH)
    assert "GRU" not in operators(after)
    feeds = _feeds(r, 0, time=6)
    if spoiler in ("two steps", "late start"):
        return  # they read past the end
    for got, want in zip(evaluate(after, feeds), evaluate(before, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(r=RECURRENCES)
def test_every_arrangement_becomes_a_gru_that_computes_the_same(r: Recurrence) -> None:
    _becomes_a_gru(r)


@settings(max_examples=15, deadline=None)
@given(r=RECURRENCES, spoiler=st.sampled_from(SPOILERS))
def test_near_misses_stay_loops_and_still_compute_the_same(r: Recurrence, spoiler: str) -> None:
    _stays_a_loop(r, spoiler)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(r=RECURRENCES, spoiler=st.sampled_from(("", *SPOILERS)))
def test_four_hundred_arrangements(r: Recurrence, spoiler: str) -> None:
    _stays_a_loop(r, spoiler) if spoiler else _becomes_a_gru(r)


def test_the_spoilers_spoil() -> None:
    """Each near miss is a miss: it computes something else than the GRU that it resembles."""
    for spoiler in set(SPOILERS) - {"two steps", "late start"}:
        r = Recurrence(spoiler=spoiler, candidate="Tanh")
        feeds = _feeds(r, 0)
        found = evaluate(build(r), feeds)
        assert found[1].shape != expected(r, **feeds)[1].shape or not np.allclose(
            found[0], expected(r, **feeds)[0], atol=1e-3
        )


def test_text_of_a_loop_before_and_after(golden: Callable[[str, str], None]) -> None:
    before = apply(build(Recurrence(hidden=2, inputs=2, gate="hard")), UniqueNames())
    after = run(before, DEFAULT)
    golden("passes/loop_to_gru.txt", f"before\n{render(before)}\nafter\n{render(after)}")


# ---- states that never change ----------------------------------------------------------------------------------

CARRIED = """(int64 n, float[2] x, float[2] w) => (float[2] y, float[2] v) {
    s, u = Loop (n, , x, w) <body = b (int64 i, bool c, float[2] s0, float[2] w0)
        => (bool c1, float[2] s1, float[2] w1) { c1 = Identity(c) s1 = Add(s0, w0) w1 = Identity(w0) }>
    y = Identity(s) v = Exp(u)
}"""


def test_a_state_that_never_changes_is_read_from_outside() -> None:
    before = graph(CARRIED)
    after = apply(before, UniqueNames(), LoopInvariants())
    loop = next(node for node in after.nodes() if node.op_type == "Loop")
    assert [len(loop.inputs), len(loop.outputs)] == [3, 1]
    for rounds in (0, 3):
        feeds = {"n": np.array(rounds), "x": np.array([1, 2], np.float32), "w": np.array([3, 5], np.float32)}
        old, new = evaluate(before, feeds), evaluate(after, feeds)
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("it is what the graph gives", CARRIED.replace("s, u = Loop", "s, v = Loop").replace("v = Exp(u)", "")),
        ("two states swap", CARRIED.replace("Add(s0, w0) w1 = Identity(w0)", "Identity(w0) w1 = Identity(s0)")),
        ("it changes", CARRIED.replace("w1 = Identity(w0)", "w1 = Neg(w0)")),
    ],
)  # fmt: skip
def test_other_states_stay(what: str, text: str) -> None:
    before = graph(text)
    assert apply(before, UniqueNames(), LoopInvariants()) is not None
    loop = next(node for node in apply(before, UniqueNames(), LoopInvariants()).nodes() if node.op_type == "Loop")
    assert len(loop.inputs) == 4, what
