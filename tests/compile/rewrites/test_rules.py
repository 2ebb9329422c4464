"""Every rule: the text before and after, what it computes, and each guard, which is taken away to show what for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from pass_programs import apply, evaluate, graph, program
from rewrite_cases import RULE_CASES, bare, exact, far, feeds

from neoc.compile import onnx_io
from neoc.compile.errors import UsageError
from neoc.compile.passes import TIDY, InferShapes, verify
from neoc.compile.passes.text import render
from neoc.compile.program import Program
from neoc.compile.rewrites import RULES, Rewrite, Rule, by_name, rewrite_passes, sites
from neoc.compile.rewrites.apply import rewritten

PAIRS = [(r.name, guard.name) for r in RULES for guard in r.conditions if guard.name != "opset" or r.opset > 1]


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_the_text_before_and_after(golden: Callable[[str, str], None], name: str) -> None:
    before = RULE_CASES[name].fires()
    after = rewritten(before, bare(name), {})
    text = f"{render(before)}\n---- {by_name(name).algebra} ----\n\n{render(apply(after, TIDY))}"
    golden(f"rewrites/{name}.txt", re.sub(r"#[0-9a-f]{8}", "#", text))  # rounding of constants is the CPU's own


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_it_computes_the_same(name: str) -> None:
    case, rule = RULE_CASES[name], bare(name)
    before = case.fires()
    (site,) = [*sites(before.model, rule, before.opset)] or [None]
    assert site is not None
    outputs = []
    for way in rule.ways(site):
        key = "" if rule.key is None else rule.key(site)
        after = rewritten(before, rule, {key: way})
        assert after is not before
        assert verify.first_fault(after) is None
        for seed in (0, 1):
            given = feeds(before, seed, case.high)
            outputs.append(evaluate(after, given))
            assert not far(outputs[-1], exact(before, given))
    assert far(outputs[0], outputs[1]), "the outputs do not depend on the inputs: nothing was tested"


def test_every_guard_has_a_counterexample() -> None:
    assert {name: set(case.guards) for name, case in RULE_CASES.items()} == {
        rule.name: {guard for name, guard in PAIRS if name == rule.name} for rule in RULES
    }
    for rule in RULES:
        names = [guard.name for guard in rule.conditions]
        assert len(names) == len(set(names)), rule.name


@pytest.mark.parametrize(("name", "guard"), PAIRS)
def test_a_guard_keeps_the_rule_away(name: str, guard: str) -> None:
    before = RULE_CASES[name].guards[guard]()
    assert rewritten(before, bare(name), {}) is before


@pytest.mark.parametrize(("name", "guard"), PAIRS)
def test_without_the_guard_the_rewrite_would_be_wrong(name: str, guard: str) -> None:
    """So a guard that is lost, or weakened until it lets its counterexample through, is found."""
    case = RULE_CASES[name]
    before = case.guards[guard]()
    rule = bare(name)
    weak = (
        replace(rule, opset=1)
        if guard == "opset"
        else replace(rule, guards=tuple(g for g in rule.guards if g.name != guard))
    )
    assert any(True for _ in sites(before.model, weak, before.opset)), "another guard keeps it away as well"
    assert harm(before, weak, [feeds(before, seed, case.high) for seed in (0, 1)])


def harm(before: Program, rule: Rule, samples: list[dict[str, np.ndarray]]) -> str:
    """What goes wrong when `rule` rewrites `before`; empty where nothing does."""
    try:
        after = rewritten(before, rule, {})
        if after is before:
            return ""
        fault = verify.first_fault(after)
        if fault is not None:
            return fault.message
        onnx.checker.check_model(onnx_io.to_bytes(after.model))  # engines may take operators that the opset lacks
        found = [evaluate(after, given) for given in samples]
    except Exception as error:  # whatever numpy, the rule or the engine say of it
        return f"{type(error).__name__}: {error}"
    wanted = [exact(before, given) for given in samples]
    return "other numbers" if any(far(a, b) for a, b in zip(found, wanted, strict=True)) else ""


def test_a_pass_names_its_rule_and_its_choices() -> None:
    steps = rewrite_passes("phase-expansion[1x1x1x256/1.2=16]")
    assert repr(steps[0]) == "Rewrite(rule='phase-expansion', choices=(('1x1x1x256/1.2', 16),))"
    with pytest.raises(UsageError, match="no rewrite named 'magic'"):
        by_name("magic")


def test_a_rule_that_fits_nowhere_gives_the_program_back() -> None:
    before = program('<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Neg(x) }')
    for rule in RULES:
        assert Rewrite(rule.name)(before) is before


def test_a_site_is_left_where_the_choice_says_so() -> None:
    before: Any = RULE_CASES["phase-expansion"].fires()
    rule = bare("phase-expansion")
    (site,) = sites(before.model, rule, before.opset)
    assert rule.key is not None
    assert rewritten(before, rule, {rule.key(site): 0}) is before


@pytest.mark.parametrize("step", ["Mul(g, g)", "Div(g, k)", "Add(g, k)"])
def test_tables_are_made_of_no_integer_arithmetic(step: str) -> None:
    """It wraps around and divides without a rest; a table is computed in double precision."""
    tensors = {
        "e": np.array([[3, 5, 7], [100_000, 9, 1], [-7, -3, 2]], np.int32),
        "k": np.array([2], np.int32),
        "w": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
    }
    used = {name: array for name, array in tensors.items() if name != "k" or "k)" in step}
    text = f"(int64[2,7] t) => (float y) {{ g = Gather(e, t) q = {step} f = Cast<to=1>(q) y = MatMul(f, w) }}"
    before = apply(graph(text, **used), InferShapes())
    assert rewritten(before, bare("token-table"), {}) is before
    plain = apply(graph(text.replace(step, "Identity(g)"), e=tensors["e"], w=tensors["w"]), InferShapes())
    assert rewritten(plain, bare("token-table"), {}) is not plain


@pytest.mark.parametrize(("axes", "fires"), [("", True), (", axes=[2,3,0,1]", False)])
def test_scales_in_another_order_are_left_alone(axes: str, fires: bool) -> None:
    how = f'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"{axes}'
    text = f"(float[1,2,6,4] x) => (float y) {{ u = Resize<{how}>(x,,s) y = Conv<pads=[1,1,1,1]>(u, w) }}"
    channels = 2 if fires else 4  # [1,1,2,2] over axes 2, 3, 0, 1 enlarges batch and channels
    weight = np.ones((2, channels, 3, 3), np.float32)
    before = apply(graph(text, 18, s=np.array([1, 1, 2, 2], np.float32), w=weight), InferShapes())
    assert bool([*sites(before.model, bare("upsampled-conv"), 18)]) is fires
