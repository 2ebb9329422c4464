"""A fixed sample of ONNX's backend suite against the baseline, and the runner that must survive what it runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent
SAMPLE = HERE.joinpath("sample.txt").read_text().split()
BASELINE = json.loads(HERE.joinpath("baseline.json").read_text())


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


serving, suite, run = _module("serving"), _module("suite"), _module("run")


def test_the_sample_is_as_the_baseline_says(tmp_path: Path) -> None:
    results = run.run_all(SAMPLE, tmp_path / "results.jsonl")
    assert set(results) == set(SAMPLE)
    assert run.faults(results, BASELINE) == []


def test_the_baseline_meets_its_marks() -> None:
    """onnxruntime's own backend passes 1,697 of the 2,033; with a fallback 1,930 are within reach."""
    assert BASELINE["tests"] == 2033
    assert BASELINE["compiled"] >= 1697
    assert BASELINE["wrong"] == 0
    assert BASELINE["compiled"] + BASELINE["fallback"] >= 1930
    assert BASELINE["fallback"] == len(BASELINE["passed_by_fallback"])
    assert BASELINE["compiled"] + BASELINE["fallback"] + len(BASELINE["others"]) == BASELINE["tests"]
    assert all(len(reason) > 12 for reason in BASELINE["others"].values())


# ---- the runner ----------------------------------------------------------------------------

CHILD = """
import json, os, sys, time
results = sys.argv[1]
seen = {json.loads(l)["name"] for l in open(results)} if os.path.exists(results) else set()
with open(results, "a", buffering=1) as out:
    for name in ["fine", "BAD", "later"]:
        if name in seen:
            continue
        out.write(json.dumps({"name": name, "event": "start"}) + "\\n")
        if name == "BAD":
            DO
        out.write(json.dumps({"name": name, "event": "end", "status": "compiled"}) + "\\n")
    out.write(json.dumps({"name": "", "event": "done"}) + "\\n")
"""


@pytest.mark.parametrize(
    ("deed", "status", "reason"),
    [
        ("os.kill(os.getpid(), 11)", "crash", "signal 11"),
        ("os._exit(3)", "crash", "status 3"),
        ("time.sleep(60)", "hang", "stalled"),
    ],
)
def test_a_case_that_kills_or_stalls_the_child_loses_only_itself(
    tmp_path: Path, deed: str, status: str, reason: str
) -> None:
    child = tmp_path / "child.py"
    child.write_text(CHILD.replace("DO", deed))
    results = run.run_all([], tmp_path / "results.jsonl", (sys.executable, str(child)), stall_s=2)
    assert {name: result.status for name, result in results.items()} == {
        "fine": "compiled",
        "BAD": status,
        "later": "compiled",
    }
    assert reason in results["BAD"].reason


def test_a_child_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="status 7"):
        run.run_all([], tmp_path / "results.jsonl", (sys.executable, "-c", "raise SystemExit(7)"), stall_s=5)


def test_faults_name_what_got_worse() -> None:
    baseline = {"passed_by_fallback": ["f"], "others": {"o": "refused: because"}}
    results = [
        run.Result("c", "fallback", reason="slow path"),
        run.Result("f", "compiled"),
        run.Result("o", "crash"),
        run.Result("w", "wrong", reason="3 is not 4"),
        run.Result("g", "compiled"),
    ]
    found = run.faults({result.name: result for result in results}, baseline)
    assert found == ["w is WRONG: 3 is not 4", "c was compiled, is fallback: slow path"]


# ---- the judgement -------------------------------------------------------------------------


def _judged(answer: object, expected: object, compiled: bool = True) -> str:
    served = [serving.Served("engine", compiled, ({"y": answer},))]
    return str(suite.compare(served, ["y"], [expected], 1e-3, 1e-7).status)


def test_judgement_of_one_answer() -> None:
    want = np.array([100.0, 0.0, -3.0], np.float32)
    assert _judged(want.copy(), want) == "compiled"
    assert _judged(want.copy(), want, compiled=False) == "fallback"
    assert _judged(want + np.float32(1e-5), want) == "rounding"  # 1e-5 where 0 is expected, beside a 100
    assert _judged(want + np.float32(0.1), want) == "wrong"
    assert _judged(want.astype(np.float64), want) == "wrong"
    assert _judged(want[:2], want) == "wrong"
    assert _judged(np.array([1, 2]), np.array([1, 3])) == "wrong"


def test_sequences_are_judged_item_by_item() -> None:
    items = [np.float32(1.5), np.array([2.0], np.float32)]
    assert _judged([np.array(1.5, np.float32), np.array([2.0], np.float32)], items) == "compiled"
    assert _judged([np.array(1.5, np.float32)], items) == "wrong"
    assert _judged([np.array(1.5, np.float32), np.array([2.5], np.float32)], items) == "wrong"


def test_one_wrong_candidate_among_right_ones_is_wrong() -> None:
    want = np.array([1.0], np.float32)
    served = [serving.Served("a", True, ({"y": want},)), serving.Served("b", True, ({"y": want + 1},))]
    verdict = suite.compare(served, ["y"], [want], 1e-3, 1e-7)
    assert verdict.status == "wrong"
    assert verdict.reason.startswith("b:")
