"""Rewrites for chips that are not here: counted work decides, a run proves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pass_programs import apply, graph
from rewrite_cases import RULE_CASES

from neoc.compile import onnx_io, registry
from neoc.compile.options import CompileOptions
from neoc.compile.passes import DEFAULT, InferShapes, run
from neoc.compile.pipeline import compile_model
from neoc.compile.program import Program
from neoc.compile.rewrites.reckoned import BALANCE, balance, reckon, work
from neoc.compile.rewrites.rule import Rule
from neoc.compile.rewrites.spec import spec_of
from neoc.compile.rewrites.table import RULES, by_name
from neoc.targets import get_target


def test_work_counts_flops_and_what_is_moved() -> None:
    weight = np.ones((4, 5), np.float32)
    before = apply(
        graph("(float[3,4] x) => (float y) { a = MatMul(x, w) b = Flatten(a) y = Relu(b) }", w=weight), InferShapes()
    )
    moved = 4 * 4 * 5 + 2 * 4 * 15 * 2  # the weights; the product and what Relu makes, written and read
    assert work(before, 0.0) == 2 * 3 * 4 * 5
    assert work(before, 3.0) == 2 * 3 * 4 * 5 + 3 * moved
    assert work(apply(graph("(float[n,4] x) => (float y) { y = MatMul(x, w) }", w=weight), InferShapes()), 1.0) is None


def test_the_balance_is_the_documented_one() -> None:
    inf2 = get_target("inf2")
    assert inf2.bandwidth is not None
    assert balance(inf2) == inf2.peak_flops["float32"].value / inf2.bandwidth.value
    assert balance(replace(inf2, peak_flops={})) == BALANCE


@pytest.mark.parametrize("name", ["dead-channels", "slice-above-conv", "product-chain", "conv-chain"])
def test_less_to_do_stays(name: str) -> None:
    before = run(RULE_CASES[name].fires(), DEFAULT)
    rule: Rule = replace(by_name(name), worth=())
    spec, ((found, count, share),) = reckon(before, get_target("inf2"), (rule,))
    assert (found, count, spec.names) == (name, 1, (name,) if share < 0.98 else ())
    assert share < 0.98 or name == "conv-chain"


def test_more_to_do_goes() -> None:
    """Phases multiply by zeros: it pays in an engine that fills its lanes with channels, not on paper."""
    before = run(RULE_CASES["phase-expansion"].fires(), DEFAULT)
    spec, tried = reckon(before, get_target("inf2"), (replace(by_name("phase-expansion"), worth=()),))
    assert spec.rules == (("phase-expansion", spec.rules[0][1]),) if spec.rules else True
    assert all(choice == 0 for _, choices in spec.rules for _, choice in choices)
    assert [share for _, _, share in tried] == [1.0]


def _heads() -> Program:
    """Two products of one value, half of one thrown away, in front of a softmax: there is less to do."""
    random = np.random.default_rng(0)
    tensors = {"w": random.standard_normal((64, 96)), "v": random.standard_normal((96, 8)) * 0.1}
    arrays = {name: a.astype(np.float32) for name, a in tensors.items()}
    text = "(float[16,64] x) => (float y) { a = MatMul(x, w) b = MatMul(a, v) y = Softmax(b) }"
    return apply(graph(text, **arrays), InferShapes())


@pytest.mark.needs("jax")
def test_a_program_for_inf2_is_rewritten_and_proven(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    source.write_bytes(onnx_io.to_bytes(_heads().model))
    options = CompileOptions(rewrite_seconds=30.0, use_cache=False)
    made = compile_model(source, "inf2", options, output=tmp_path / "m.neoc")
    (variant,) = made.manifest["variants"]
    assert spec_of(variant["steps"][0]["variant"]).names == ("product-chain",)
    assert made.level == "simulated"
    (trial,) = [t for t in made.evidence["rewrites"]["trials"] if t["rule"] == "product-chain"]
    assert trial["outcome"] == "kept"
    assert trial["why"].startswith("modelled, not measured: 0.")
    assert trial["ratio"] is None
    plain = compile_model(source, "inf2", replace(options, rewrites=()), output=tmp_path / "p.neoc")
    flops = [one.evidence["modelled"]["flops"] for one in (made, plain)]
    assert flops == [2 * 16 * 64 * 8, 2 * 16 * (64 * 96 + 96 * 8)]


def test_only_engines_that_compile_what_they_are_given_are_reckoned_for() -> None:
    assert {e.name for e in registry.engines() if e.whole_graph} == {"neuron", "tvm"}
    assert {rule.name for rule in RULES} >= {"product-chain"}
