"""What TensorRT's own documentation says its ONNX parser takes, looked for in the program before TensorRT is asked.

The rules are data (operators_10.15.json), from onnx-tensorrt's operator matrix. A program without findings passes
neoc's preflight: it is not thereby known to build.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import Gap
from neoc.compile.program import Program, spec_of
from neoc.targets.engines.nodes import domain_of, label, where_of

if TYPE_CHECKING:
    import onnx_ir as ir

NEWEST = "10.15"
_NARROWED = {"float64": "float32"}
"""types that the parser itself casts, with a warning"""
_ELSEWHERE = "rewrite it with operators that TensorRT takes, or choose another engine"


@dataclass(frozen=True)
class Rules:
    tensorrt: str
    opsets: tuple[int, int]
    operators: dict[str, frozenset[str]]
    """operator -> dtypes of its first input"""
    constant_inputs: dict[str, list[int]]
    attributes: dict[str, dict[str, Any]]
    outputs: dict[str, int]
    """operator -> how many of its outputs there are"""
    spatial: dict[str, list[int]]
    """operator -> how many spatial dimensions it takes"""


@cache
def rules(release: str = NEWEST) -> Rules:
    data = json.loads(Path(__file__).with_name(f"operators_{release}.json").read_text())
    operators = {name: frozenset(dtypes) for name, dtypes in data["operators"].items()}
    low, high = data["opsets"]
    parts = (data["constant_inputs"], data["attributes"], data["outputs"], data["spatial"])
    return Rules(data["tensorrt"], (low, high), operators, *parts)


def find_gaps(program: Program, engine: str) -> tuple[Gap, ...]:
    """Everything that the parser's documentation rules out: nodes in graph order, then inputs, then the opset."""
    known = rules()
    gaps = [
        Gap(engine, label(node), node.op_type, reason, where_of(node), _ELSEWHERE)
        for node in program.nodes()
        for reason in _reasons(node, known)
    ]
    for spec in program.signature.inputs:
        if spec.shape is None:
            fix = f"bind it with --input {spec.name}=SHAPE"
            gaps.append(Gap(engine, spec.name, "", f"input {spec.name!r}: its rank is not known", suggestion=fix))
    low, high = known.opsets
    if not low <= program.opset <= high:
        why = f"TensorRT {known.tensorrt} reads opsets {low} to {high}, the model is of opset {program.opset}"
        gaps.append(Gap(engine, "", "", why, suggestion="convert or export the model with another opset"))
    return tuple(gaps)


def _reasons(node: ir.Node, known: Rules) -> Iterator[str]:
    name = node.op_type
    if domain_of(node.domain):
        yield f"TensorRT takes operators of ai.onnx only, this one is of {node.domain}"
        return
    if name not in known.operators:
        yield f"TensorRT {known.tensorrt} does not support it"
        return
    value = node.inputs[0] if node.inputs else None
    if value is not None and value.type is not None:
        dtype = spec_of(value).dtype
        if dtype != "undefined" and _NARROWED.get(dtype, dtype) not in known.operators[name]:
            yield f"it takes no {dtype} (value {value.name!r})"
    for index in known.constant_inputs.get(name, ()):
        given = node.inputs[index] if index < len(node.inputs) else None
        if given is not None and given.const_value is None:
            yield f"input {index} ({given.name!r}) must be a constant"
    for key, allowed in known.attributes.get(name, {}).items():
        if key in node.attributes and not _allowed(node.attributes[key].value, allowed):
            yield f"attribute {key} = {node.attributes[key].value!r} is not supported"
    if any(o.uses() or o.is_graph_output() for o in node.outputs[known.outputs.get(name, 99) :]):
        yield "only its first output is supported"
    sizes = known.spatial.get(name)
    if sizes and value is not None and value.shape is not None and len(value.shape) - 2 not in sizes:
        yield f"it has {len(value.shape) - 2} spatial dimensions; {' or '.join(map(str, sizes))} are supported"


def _allowed(value: Any, allowed: Any) -> bool:
    if allowed == "ones":
        return all(v == 1 for v in value)
    return value in allowed


def report(program: Program, gaps: tuple[Gap, ...]) -> dict[str, Any]:
    """What preflight.json holds: the verdict, with the share of nodes that would have to run elsewhere."""
    nodes = list(program.nodes())
    lost = {gap.node for gap in gaps if gap.operator}
    return {
        "version": 1,
        "rules": f"TensorRT {rules().tensorrt}",
        "nodes": len(nodes),
        "unsupported": len(lost),
        "fallback_share": round(len(lost) / len(nodes), 4) if nodes else 0.0,
        "gaps": [gap.as_dict() for gap in gaps],
    }
