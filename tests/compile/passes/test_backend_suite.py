"""ONNX's own tests through DEFAULT: nothing raises, a second run changes nothing, and every result is still right.

A test whose source onnxruntime computes as expected must come out as expected after the passes too. Each model is tried
twice: as it is, and with all of its inputs fixed, where whatever can be folded is. Every sixteenth by default, the
whole suite with --slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from backend_cases import SHARDS, cases, results, right
from onnx import numpy_helper
from pass_programs import program

from neoc.compile import onnx_io
from neoc.compile.passes import DEFAULT, run


def _bound(model: onnx.ModelProto, feeds: dict[str, Any]) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model with every feed that is a plain tensor as an initializer, and the feeds that are left."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    left = dict(feeds)
    for value in list(copy.graph.input):
        array = feeds.get(value.name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            continue
        tensor = numpy_helper.from_array(array, value.name)
        if tensor.data_type == value.type.tensor_type.elem_type:
            copy.graph.initializer.append(tensor)
            copy.graph.input.remove(value)
            del left[value.name]
    copy.ir_version = max(copy.ir_version, 8)
    return copy, left


@pytest.mark.parametrize(
    "shard", [pytest.param(k, marks=[] if k == 0 else pytest.mark.slow, id=f"{k}of{SHARDS}") for k in range(SHARDS)]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_suite_keeps_its_results(shard: int) -> None:
    kept, lost = 0, []
    for name, model, sets in cases(shard):
        for feeds, wanted in sets:
            for kind, (source, left) in {"as it is": (model, feeds), "bound": _bound(model, feeds)}.items():
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
