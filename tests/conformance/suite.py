"""ONNX's own backend suite as a list of cases, and the judgement of one case.

A status is one word:

    compiled   an engine that neoc verified gave the expected values
    fallback   so did the ONNX reference evaluator, the engine of last resort
    wrong      neoc accepted an answer that is not the expected one by its own parity rule: must never happen
    rounding   accepted and equal by neoc's rule (rtol x the largest value), outside the suite's element-wise tolerance
    random     the model draws random numbers, for which the standard fixes no values
    refused    neoc said no, with a reason
    broken     neoc raised an error that is none of its own: a bug
    crash      the process died; hang: it was killed
"""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.runner import Runner
from serving import Served, serve

from neoc.compile import parity
from neoc.compile.errors import NeocError

RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


@dataclass
class Case:
    """One test of the suite; running it hands the model, its inputs and the expected outputs to a judge."""

    name: str
    call: Callable[[unittest.TestCase], None]


@dataclass(frozen=True)
class Verdict:
    status: str
    engines: tuple[str, ...] = ()
    reason: str = ""
    facts: tuple[str, ...] = ()
    """what a suite wants to know of the case beside its verdict"""


class Prepared:
    """Stands for a prepared model: keeps what it is asked, and answers when the expected outputs are known."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        return [Question(self.model, inputs)]


@dataclass
class Question:
    model: onnx.ModelProto
    inputs: Sequence[Any]


class Backend:
    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> Prepared:
        return Prepared(model)


class Suite(Runner):
    """The suite's runner, whose comparison is neoc's judgement: expected outputs arrive there with their tolerances."""

    verdicts: tuple[Verdict, ...] = ()
    order: tuple[str, ...] = ("broken", "wrong", "random", "rounding", "refused", "fallback", "compiled")
    """worst first"""

    @classmethod
    def assert_similar_outputs(
        cls, ref_outputs: Sequence[Any], outputs: Any, rtol: float, atol: float, model_dir: str | None = None
    ) -> None:
        (question,) = outputs
        cls.verdicts = (*cls.verdicts, cls.judged(question, ref_outputs, rtol, atol))

    @classmethod
    def judged(cls, question: Question, expected: Sequence[Any], rtol: float, atol: float) -> Verdict:
        return judge(question, expected, rtol, atol)

    def cases(self) -> Iterator[Case]:
        """Every CPU test, in the suite's order of categories and by name."""
        for items in self._test_items.values():
            for name, item in sorted(items.items()):
                if name.endswith("_cpu"):
                    yield Case(name.removesuffix("_cpu"), item.func)

    def run(self, case: Case) -> Verdict:
        """The worst verdict over the case's data sets."""
        type(self).verdicts = ()
        case.call(unittest.TestCase())
        none = Verdict("broken", reason="no data set")
        return min(self.verdicts, key=lambda v: self.order.index(v.status), default=none)


def judge(question: Question, expected: Sequence[Any], rtol: float, atol: float) -> Verdict:
    model = question.model
    initial = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in initial]
    feeds = {name: as_array(value) for name, value in zip(names, question.inputs, strict=False)}
    with tempfile.TemporaryDirectory(prefix="neoc-conformance-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        try:
            served = serve(path, [feeds])
        except TimeoutError:  # the runner's alarm
            raise
        except NeocError as error:
            return Verdict("refused", reason=f"{type(error).__name__}: {error}")
        except Exception as error:
            return Verdict("broken", reason=f"{type(error).__name__}: {error}")
    outputs = [value.name for value in model.graph.output]
    verdict = compare(served, outputs, expected, rtol, atol)
    if verdict.status not in ("compiled", "fallback") and draws_random_numbers(model):
        return Verdict("random", verdict.engines, "the standard fixes no values for random numbers")
    return verdict


def compare(
    served: Sequence[Served], names: Sequence[str], expected: Sequence[Any], rtol: float, atol: float
) -> Verdict:
    """Every accepted candidate must be right: whichever is the fastest would be served."""
    engines = tuple(candidate.engine for candidate in served)
    faults = []
    for candidate in served:
        answer = [candidate.answers[0][name] for name in names]
        try:
            Runner.assert_similar_outputs(_flat(expected), _flat(answer), rtol, atol)
        except AssertionError as error:
            words = f"{candidate.engine}: {' '.join(str(error).split())}"
            reports = [
                parity.compare(n, a, _plain(e), parity.RTOL["fp32"])
                for n, a, e in zip(names, answer, expected, strict=True)
            ]
            faults.append(("rounding" if all(report.ok for report in reports) else "wrong", words))
    if faults:
        status, words = max(faults)  # 'wrong' sorts after 'rounding'
        return Verdict(status, engines, words)
    return Verdict("compiled" if all(candidate.compiled for candidate in served) else "fallback", engines)


def draws_random_numbers(model: onnx.ModelProto) -> bool:
    def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
        for node in graph.node:
            yield node
            for attribute in node.attribute:
                for body in (attribute.g, *attribute.graphs):
                    yield from nodes(body)

    functions = (node for function in model.functions for node in function.node)
    # Dropout's third input says whether it trains, that is: draws.
    return any(
        node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) == 3)
        for node in (*nodes(model.graph), *functions)
    )


def as_array(value: Any) -> Any:
    """Numbers as arrays, items of sequences too; None (an empty optional) stays."""
    if isinstance(value, list | tuple):
        return [as_array(item) for item in value]
    return None if value is None else np.asarray(value)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _flat(values: Sequence[Any]) -> list[np.ndarray]:
    """The arrays of a list of outputs, those of sequences one by one: the suite's comparison misreads 0-d items."""
    flat: list[np.ndarray] = []
    for value in values:
        flat += _flat(value) if isinstance(value, list | tuple) else [np.asarray(value)]
    return flat
