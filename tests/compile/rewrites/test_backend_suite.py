"""Every rule on ONNX's own tests: what onnxruntime computes as the standard says is still so after the rewrites.

Each model is tried as it is and with all of its inputs but the first fixed, so that weights are constants. Every
sixteenth by default, the whole suite with --slow (`make conformance-rewrites`). Rules are taken without their
conditions of use: those models are tiny.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from backend_cases import SHARDS, bound, cases, results, right
from pass_programs import program

from neoc.compile import onnx_io
from neoc.compile.passes import DEFAULT, run
from neoc.compile.rewrites import RULES
from neoc.compile.rewrites.apply import rewritten


@pytest.mark.parametrize(
    "shard", [pytest.param(k, marks=[] if k == 0 else pytest.mark.slow, id=f"{k}of{SHARDS}") for k in range(SHARDS)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_result_of_the_suite_changes(shard: int) -> None:
    fired, wrong = 0, []
    for name, model, sets in cases(shard):
        for feeds, wanted in sets:
            source, left = bound(model, feeds, keep=1)
            before = run(program(source), DEFAULT)
            for rule in RULES:
                after = rewritten(before, replace(rule, worth=()), {})
                if after is before or not right(results(onnx_io.to_bytes(before.model), left), wanted):
                    continue
                fired += 1
                found = results(onnx_io.to_bytes(after.model), left)
                if str(found).startswith("NotImplemented"):
                    continue  # the engine lacks the operator for this type: such a trial is lost, and nothing is wrong
                if not right(found, wanted):
                    wrong.append((name, rule.name, found))
    assert not wrong
    assert fired  # in every shard some rule finds a place
