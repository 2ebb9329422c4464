"""ONNX's node tests through the Neuron path: program -> op table -> HLO bytes -> preflight -> XLA on this CPU.

A status is one word:

    passed     the bytes of the module, run again by XLA, gave the expected values
    constant   so they did, but every input decides shapes and was bound: nothing was left to compute on a device
    wrong      they gave other values, by neoc's parity rule: must never happen
    rounding   equal by neoc's rule (rtol x the largest value), outside the suite's element-wise tolerance
    random     the model draws random numbers, for which the standard fixes no values
    refused    the check named gaps, before anything was lowered
    late       a check that came after lowering (the preflight) refused: the check before it should have known
    broken     lowering or the executor raised an error: a bug
    crash      the process died; hang: it was killed

Shapes are static on the device, so inputs that decide them (axes, pads, k ...) are bound to their values: none where
that does; else those that a row of the op table reads as constants; else all small integers, and last all scalars.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.runner import Runner
from suite import Case, Question, Suite, Verdict, as_array, draws_random_numbers

from neoc.compile import parity, registry
from neoc.compile.contracts import Gap, dtype_name
from neoc.compile.errors import NeocError
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import lower as normal_form
from neoc.compile.program import Program
from neoc.targets.engines.neuron import executor, hlo
from neoc.targets.engines.neuron.lower import lower
from neoc.targets.engines.neuron.ops import TABLE
from neoc.targets.engines.neuron.preflight import examine, rule_set

SMALL = 64
"""elements of an integer input that may be bound"""


class HloSuite(Suite):
    """The node tests, each judged on what the lowered module computes."""

    order = ("broken", "wrong", "late", "random", "rounding", "refused", "constant", "passed")

    @classmethod
    def judged(cls, question: Question, expected: Sequence[Any], rtol: float, atol: float) -> Verdict:
        return judge(question, expected, rtol, atol)

    def cases(self) -> Iterator[Case]:
        for name, item in sorted(self._test_items["NodeModel"].items()):
            if name.endswith("_cpu"):
                yield Case(name.removesuffix("_cpu"), item.func)


@dataclass(frozen=True)
class Bound:
    """A model with some of its inputs bound, ready to be lowered or with the reasons why it cannot be."""

    program: Program
    feeds: Mapping[str, Any]
    gaps: tuple[Gap, ...]
    inputs: int
    """of the model as the suite has it"""


def judge(question: Question, expected: Sequence[Any], rtol: float, atol: float) -> Verdict:
    model = question.model
    initial = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in initial]
    feeds = {name: as_array(value) for name, value in zip(names, question.inputs, strict=False)}
    try:
        bound = _bound(model, feeds)
        if bound.gaps:
            return Verdict("refused", reason="; ".join(dict.fromkeys(map(_told, bound.gaps))))
        answer, findings, facts = run(bound)
    except (TimeoutError, KeyboardInterrupt):
        raise
    except NeocError as error:
        return Verdict("refused", reason=f"{type(error).__name__}: {error}")
    except Exception as error:
        return Verdict("broken", reason=f"{type(error).__name__}: {error}")
    if findings:
        return Verdict("late", reason="; ".join(dict.fromkeys(findings)))
    verdict = compare([answer[v.name] for v in model.graph.output], expected, rtol, atol)
    if verdict.status == "passed" and bound.inputs and not bound.feeds:
        return Verdict("constant")
    if verdict.status != "passed" and draws_random_numbers(model):
        return Verdict("random", reason="the standard fixes no values for random numbers")
    return replace(verdict, facts=facts)


def _told(gap: Gap) -> str:
    return f"{gap.operator}: {gap.reason}" if gap.operator else gap.reason


def run(bound: Bound) -> tuple[dict[str, np.ndarray], list[str], tuple[str, ...]]:
    """The outputs by name, what the preflight refuses, and what each operator became."""
    lowered = lower(bound.program)
    module = hlo.read(lowered.module)
    findings = [str(f) for f in examine(module, rule_set()) if f.is_error]
    answer = executor.run(lowered.module, lowered.parameters, lowered.weights, lowered.results, bound.feeds)
    return answer, findings, became(module)


def became(module: hlo.Module) -> tuple[str, ...]:
    """'Operator opcode opcode ...' for each node that left instructions, by the names that lowering gave them."""
    found: dict[str, set[str]] = {}
    for instruction in module.instructions():
        scopes = [part for part in instruction.source.split("/") if ":" in part]
        if scopes:
            found.setdefault(scopes[-1], set()).add(instruction.opcode)
    return tuple(sorted(f"{scope.partition(':')[0]} {' '.join(sorted(names))}" for scope, names in found.items()))


def compare(answer: Sequence[Any], expected: Sequence[Any], rtol: float, atol: float) -> Verdict:
    try:
        Runner.assert_similar_outputs(expected, answer, rtol, atol)
    except AssertionError as error:
        reports = [
            parity.compare(str(i), a, np.asarray(e), parity.RTOL["fp32"])
            for i, (a, e) in enumerate(zip(answer, expected, strict=True))
        ]
        words = " ".join(str(error).split())
        return Verdict("rounding" if all(report.ok for report in reports) else "wrong", reason=words)
    return Verdict("passed")


# ---- binding -----------------------------------------------------------------------------------------


def _bound(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Bound:
    """The least that has to be bound for the model to have no gaps; everything bindable where that is not enough."""
    first: Bound | None = None
    tried: set[frozenset[str]] = set()
    for names in (frozenset[str](), _wanted_constant(model, feeds), _integers(feeds), _scalars(feeds)):
        if names in tried or (tried and names < max(tried, key=len)):
            continue
        tried.add(names)
        bound = _with_constants(model, feeds, names)
        if not bound.gaps:
            return bound
        first = bound if first is None or len(bound.gaps) <= len(first.gaps) else first
    assert first is not None
    return first


def _with_constants(model: onnx.ModelProto, feeds: Mapping[str, Any], names: frozenset[str]) -> Bound:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [v for v in copy.graph.input if v.name not in names]
    copy.graph.initializer.extend(numpy_helper.from_array(feeds[name], name) for name in feeds if name in names)
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    with tempfile.TemporaryDirectory(prefix="neoc-conformance-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(copy, path)
        program = normal_form(path, CompileOptions())
        gaps = _engine().gaps(program, registry.load_target("inf2"))
        return Bound(program, {n: v for n, v in feeds.items() if n not in names}, gaps, len(feeds))


@cache
def _engine() -> Any:
    return registry.load_engine("neuron")


def _wanted_constant(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> frozenset[str]:
    """Inputs that a row reads as constants."""
    found = {
        name
        for node in model.graph.node
        if node.op_type in TABLE and node.domain == ""
        for index, name in enumerate(node.input)
        if TABLE[node.op_type].inputs[min(index, len(TABLE[node.op_type].inputs) - 1)].constant
    }
    return frozenset(name for name in found if isinstance(feeds.get(name), np.ndarray))


def _integers(feeds: Mapping[str, Any]) -> frozenset[str]:
    small = {n: v for n, v in feeds.items() if isinstance(v, np.ndarray) and prod(v.shape) <= SMALL}
    return frozenset(n for n, v in small.items() if dtype_name(v.dtype) in ("int32", "int64", "bool"))


def _scalars(feeds: Mapping[str, Any]) -> frozenset[str]:
    return _integers(feeds) | {n for n, v in feeds.items() if isinstance(v, np.ndarray) and v.size == 1 and v.ndim <= 1}
