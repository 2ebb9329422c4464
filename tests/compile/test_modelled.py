"""The modelled bound: right by hand, and never among what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import model_of, program, tensor

from neoc.compile import compile_model
from neoc.compile.modelled import bound, words
from neoc.compile.registry import load_target


def dense(batch: int | str) -> onnx.ModelProto:
    w = np.random.default_rng(0).standard_normal((100, 50)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return model_of(nodes, [tensor("x", [batch, 100])], [tensor("y", [batch, 50])], w=w)


@pytest.mark.parametrize(
    ("name", "precision", "peak", "band", "cores"),
    [
        ("inf2", "fp32", 47.5e12, 820 * 2**30, 2),
        ("inf2", "bf16", 190e12, 820 * 2**30, 2),
        ("trn1", "fp32", 47.5e12, 820 * 2**30, 2),
        ("trn2", "fp32", 181e12, 2.9e12, 4),
        ("inf1", "fp32", 64e12, 50 * 2**30, 4),
    ],
)
def test_the_bound_is_that_of_one_core(name: str, precision: str, peak: float, band: float, cores: int) -> None:
    found = bound(program(dense(1024)), load_target(name), precision)
    assert found is not None
    flops, moved = 2 * 1024 * 100 * 50, 4 * (100 * 50 + 1024 * 100 + 1024 * 50)
    assert (found["flops"], found["bytes"]) == (flops, moved)
    seconds = max(flops / (peak / cores), moved / (band / cores))
    assert found["modelled_seconds_at_least"] == pytest.approx(seconds)
    assert found["modelled_inferences_per_second_at_most"]["chip"] == pytest.approx(cores / seconds)
    assert all("AWS Neuron documentation" in source for source in found["sources"])
    assert words(found).startswith("modelled for ")
    assert "not a measurement" in words(found)


def test_inf1_has_no_fp32_and_says_whose_peak_it_took() -> None:
    found = bound(program(dense(1)), load_target("inf1"))
    assert found is not None
    assert found["peak_of"] == "bfloat16"
    assert found["bound_by"] == "memory"


def test_without_sizes_or_figures_there_is_no_bound() -> None:
    assert bound(program(dense("n")), load_target("inf2")) is None
    assert bound(program(dense(1)), load_target("x86-64")) is None


@pytest.mark.needs("jax")
def test_it_is_in_the_evidence_and_under_no_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    onnx.save(dense(4), tmp_path / "m.onnx")
    evidence = compile_model(tmp_path / "m.onnx", "inf2", output=tmp_path / "m.neoc").evidence
    assert evidence["modelled"]["kind"] == "modelled"
    assert evidence["reported"] is None
    assert evidence["race"] is None
    rest = {key: value for key, value in evidence.items() if key != "modelled"}
    assert "modelled_" not in json.dumps(rest)
    assert "_ns" not in json.dumps(evidence)
