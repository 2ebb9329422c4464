"""A fixed sample of ONNX's node tests through the Neuron path against the baseline; every operator that has a test."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
SAMPLE = HERE.joinpath("hlo_sample.txt").read_text().split()
BASELINE = json.loads(HERE.joinpath("hlo_baseline.json").read_text())
STATUSES = ("passed", "constant", "rounding", "random", "refused", "wrong", "late", "broken", "crash", "hang")


@pytest.fixture(scope="module")
def run_hlo() -> ModuleType:
    sys.path.insert(0, str(HERE))  # the runner is a program: its neighbours are found beside it
    try:
        spec = importlib.util.spec_from_file_location("run_hlo", HERE / "run_hlo.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(HERE))


@pytest.mark.needs("jax")
def test_the_sample_is_as_the_baseline_says(tmp_path: Path, run_hlo: ModuleType) -> None:
    results = run_hlo.run_all(SAMPLE, tmp_path / "results.jsonl", run_hlo.COMMAND)
    assert set(results) == set(SAMPLE)
    assert run_hlo.faults(results, BASELINE) == []
    assert sum(result.status == "passed" for result in results.values()) >= 150
    known = json.loads(run_hlo.OPCODES.read_text())["operators"]
    for operator, row in run_hlo.opcodes_of(results.values())["operators"].items():
        seen = set(row["always"]) | set(row["sometimes"])
        assert seen <= set(known[operator]["always"]) | set(known[operator]["sometimes"]), operator
        assert set(known[operator]["always"]) <= set(row["always"]), operator


def test_the_baseline_meets_its_marks() -> None:
    assert BASELINE["tests"] == 1884
    assert BASELINE["passed"] >= 1150
    assert all(BASELINE[status] == 0 for status in ("wrong", "late", "broken", "crash", "hang"))
    assert sum(BASELINE[status] for status in STATUSES) == BASELINE["tests"]
    assert BASELINE["passed"] + len(BASELINE["others"]) == BASELINE["tests"]


def test_every_refusal_names_its_reason() -> None:
    refused = [text for text in BASELINE["others"].values() if text.startswith("refused: ")]
    assert len(refused) == BASELINE["refused"]
    assert all(len(text) > 25 and "InternalError" not in text for text in refused)


def test_faults_name_what_got_worse(run_hlo: ModuleType) -> None:
    baseline = {"others": {"o": "refused: because"}}
    results = [
        run_hlo.Result("w", "wrong", reason="3 is not 4"),
        run_hlo.Result("o", "refused"),
        run_hlo.Result("p", "refused", reason="no row"),
        run_hlo.Result("b", "late", reason="EVRF001"),
        run_hlo.Result("g", "passed"),
    ]
    found = run_hlo.faults({result.name: result for result in results}, baseline)
    assert found == ["w is WRONG: 3 is not 4", "p was passed, is refused: no row", "b is LATE: EVRF001"]


def test_opcodes_are_sorted_into_always_and_sometimes(run_hlo: ModuleType) -> None:
    facts = (("Add add", "Relu maximum"), ("Add add call",))
    results = [run_hlo.Result(str(i), "passed", facts=fact) for i, fact in enumerate(facts)]
    found = run_hlo.opcodes_of(results)["operators"]
    assert found == {
        "Add": {"always": ["add"], "sometimes": ["call"]},
        "Relu": {"always": ["maximum"], "sometimes": []},
    }
