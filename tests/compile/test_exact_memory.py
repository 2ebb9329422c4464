"""Outputs in double precision are run once for one source and its samples, and again for any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pass_programs import graph

from neoc.compile import build
from neoc.compile.exact_memory import remembered
from neoc.compile.options import CompileOptions
from neoc.compile.program import Program, Source

SAMPLES = [{"x": np.arange(3, dtype=np.float32)}, {"x": np.ones(3, np.float32)}]


def program(scale: float = 1.0) -> Program:
    weight = np.full(3, scale, np.float32)
    return replace(graph("(float[3] x) => (float y) { y = Mul(x, w) }", w=weight), source=Source(Path("m.onnx")))


class Run:
    def __init__(self, kind: str = "f8") -> None:
        self.calls, self.kind = 0, kind

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        self.calls += 1
        return [{"y": sample["x"].astype(self.kind)} for sample in samples]


def ask(run: Run, of: Program, samples: Sequence[Mapping[str, Any]] = SAMPLES, cache: bool = True) -> list[Any]:
    with build.workshop(CompileOptions(use_cache=cache), lambda stage, detail: None) as shop:
        found = remembered(shop, of, samples, run)
    assert found is not None
    return [output["y"] for output in found]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))


def test_it_is_run_once() -> None:
    run = Run()
    first, second = ask(run, program()), ask(run, program())
    assert run.calls == 1
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_array_equal(a, b)


def test_another_source_other_samples_or_no_cache_run_again() -> None:
    run = Run()
    ask(run, program())
    ask(run, program(2.0))
    ask(run, program(), SAMPLES[:1])
    ask(run, program(), [{"x": SAMPLES[0]["x"] + 1}])
    ask(run, program(), cache=False)
    assert run.calls == 5


def test_what_is_no_number_is_not_kept() -> None:
    run = Run("U8")
    ask(run, program())
    ask(run, program())
    assert run.calls == 2
