"""A model's report in the form of torch_neuronx.analyze, whose scripts can then read neoc's.

The keys are of AWS's documentation (torch-neuronx, Analyze API): versions, support_percentage, supported_operators by
namespace, unsupported_operators with kind, failureAt, call and opGraph. What neoc adds stands beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from neoc.compile.contracts import Gap
from neoc.compile.program import Program
from neoc.targets.engines.neuron.calls import Call, calls_of, prepared, walk
from neoc.targets.engines.neuron.compiler import find_compiler
from neoc.targets.engines.neuron.ops import TABLE
from neoc.targets.engines.neuron.preflight import rules_here

LOWERING, COMPILER = "Lowering to HLO", "neuronx-cc"


def analyse(program: Program, gaps: Sequence[Gap]) -> dict[str, Any]:
    """The report. The percentage is of nodes; gaps of inputs and of the whole model are listed without counting."""
    calls = tuple(walk(calls_of(prepared(program))))
    refused = {(gap.node, gap.operator) for gap in gaps}
    supported: dict[str, Counter[str]] = {}
    for call in calls:
        if (call.node, call.operator) not in refused:
            supported.setdefault(call.domain or "ai.onnx", Counter())[call.operator] += 1
    taken = sum(sum(names.values()) for names in supported.values())
    share = 100.0 if not calls else 100 * taken / len(calls)
    compiler = find_compiler()
    return {
        "torch_neuronx_version": None,
        "neuronx_cc_version": None if compiler is None else compiler.version,
        "rules": rules_here().name,
        "support_percentage": f"{share:.2f}%",
        "supported_operators": {domain: dict(sorted(names.items())) for domain, names in sorted(supported.items())},
        "unsupported_operators": [_row(gap, _call(calls, gap)) for gap in gaps],
    }


def _call(calls: Sequence[Call], gap: Gap) -> Call | None:
    return next((c for c in calls if gap.operator and (c.node, c.operator) == (gap.node, gap.operator)), None)


def _row(gap: Gap, call: Call | None) -> dict[str, Any]:
    return {
        "kind": gap.operator or "input",
        "failureAt": COMPILER if call is not None and call.key in TABLE else LOWERING,
        "call": gap.where or gap.node,
        "opGraph": "" if call is None else _text(call),
        "hlo": gap.lowered,
        "code": f"NCC_{gap.code}" if gap.code else "",
        "reason": gap.reason,
        "suggestion": gap.suggestion,
    }


def _text(call: Call) -> str:
    """The node in one line: y: float32[1,2] = Operator(x: float32[1,2], ...)"""

    def shown(facts: Sequence[Any]) -> str:
        return ", ".join(
            "_"
            if fact is None
            else f"{fact.name}: {fact.dtype}[{'?' if fact.shape is None else ','.join(map(str, fact.shape))}]"
            for fact in facts
        )

    return f"{shown(call.outputs)} = {call.key}({shown(call.inputs)})"
