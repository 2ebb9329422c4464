"""ONNX's own tests through DEFAULT: nothing raises, a second run changes nothing, and every result is still right.

A test whose source onnxruntime computes as expected must come out as expected after the passes too. Each model is tried
twice: as it is, and with all of its inputs fixed, where whatever can be folded is. Every sixteenth by default, the
whole suite with --slow.
"""

from __future__ import annotations

import pytest
from backend_cases import SHARDS, bound, cases, results, right
from pass_programs import program

from neoc.compile import onnx_io
from neoc.compile.passes import DEFAULT, run


@pytest.mark.parametrize(
    "shard", [pytest.param(k, marks=[] if k == 0 else pytest.mark.slow, id=f"{k}of{SHARDS}") for k in range(SHARDS)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_suite_keeps_its_results(shard: int) -> None:
    kept, lost = 0, []
    for name, model, sets in cases(shard):
        for feeds, wanted in sets:
            for kind, (source, left) in {"as it is": (model, feeds), "bound": bound(model, feeds)}.items():
                after = run(program(source), DEFAULT)
                again = run(after, DEFAULT)
                assert again.digest == after.digest, f"{name} {kind}: a second run changed something"
                if not right(results(source.SerializeToString(), left), wanted):
                    continue
                kept += 1
                found = results(onnx_io.to_bytes(after.model), left)
                if not right(found, wanted):
                    lost.append((name, kind, found))
    assert not lost
    assert kept > 150  # of about 250: what onnxruntime has kernels for
