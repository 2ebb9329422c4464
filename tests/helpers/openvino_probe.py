"""Which ONNX operators the installed OpenVINO's front end converts; prints targets/engines/openvino_operators.json.

    python tests/helpers/openvino_probe.py > targets/engines/openvino_operators.json

Each operator of the default domain and of ai.onnx.ml, in each of its versions, and each of com.microsoft that
onnxruntime knows, is offered alone in a small model. Only the answer 'no conversion rule' with the operator's own name
counts as unknown: such a model is often not valid, and every other complaint shows that a rule was found. Each is tried
in a child process, because the front end dies on some of them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import defaultdict
from importlib.metadata import version
from typing import Any

from neoc.targets.engines.openvino_gaps import ORT_DOMAIN

_UNKNOWN = 1


def operators() -> dict[str, list[str]]:
    """domain -> names that have a conversion rule, sorted."""
    import openvino

    core = openvino.Core()
    known: dict[str, set[str]] = defaultdict(set)
    for domain, name, since, inputs, outputs in _candidates():
        if _knows(core, domain, name, since, inputs, max(1, outputs)):
            known[domain].add(name)
    return {domain: sorted(names) for domain, names in sorted(known.items())}


def _candidates() -> list[tuple[str, str, int, int, int]]:
    from onnx import defs
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    schemas = [s for s in defs.get_all_schemas_with_history() if s.domain in ("", "ai.onnx.ml")]
    schemas += [s for s in native.get_all_operator_schema() if s.domain == ORT_DOMAIN]
    return [(s.domain, s.name, s.since_version, s.min_input, s.min_output) for s in schemas]


def _knows(core: Any, domain: str, name: str, since: int, inputs: int, outputs: int) -> bool:
    model = _model(domain, name, since, inputs, outputs)
    child = os.fork()
    if child == 0:
        status = 0
        try:
            core.read_model(model)
        except RuntimeError as error:
            rule = re.search(r"No conversion rule found for operations: (.*)", str(error))
            own = rule and re.search(rf"(^|[ .]){re.escape(name)}(-\d+)?(,|$)", rule[1])
            status = _UNKNOWN if own else 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == _UNKNOWN)


def _model(domain: str, name: str, since: int, inputs: int, outputs: int) -> bytes:
    from onnx import TensorProto, helper

    taken, made = [f"i{k}" for k in range(inputs)], [f"o{k}" for k in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(name, taken, made, domain=domain)],
        "probe",
        [helper.make_tensor_value_info(i, TensorProto.FLOAT, [1, 1, 2, 2]) for i in taken],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in made],
    )
    opsets = [helper.make_opsetid(domain, since)] + ([helper.make_opsetid("", 17)] if domain else [])
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


if __name__ == "__main__":
    table = {"openvino": version("openvino"), "operators": operators()}
    json.dump(table, sys.stdout, indent=1)
    sys.stdout.write("\n")
