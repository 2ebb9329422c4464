"""An engine: dense layers and their activations, run by numpy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    FeedCheck,
    Feeds,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.errors import FeedError
from neoc.compile.program import Program

STEPS, WEIGHTS = "steps.json", "weights.npz"
"""the members: what is computed in which order, and the constants"""


def _gemm(attributes: Mapping[str, Any], a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
    a, b = (a.T if attributes.get("transA") else a), (b.T if attributes.get("transB") else b)
    y = np.asarray(np.float32(attributes.get("alpha", 1.0)) * (a @ b))
    return y if c is None else y + np.float32(attributes.get("beta", 1.0)) * c


def _softmax(attributes: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    axis = attributes.get("axis", -1)
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "Add": lambda attributes, a, b: a + b,
    "Gemm": _gemm,
    "Identity": lambda attributes, x: x,
    "MatMul": lambda attributes, a, b: a @ b,
    "Mul": lambda attributes, a, b: a * b,
    "Relu": lambda attributes, x: np.maximum(x, 0),
    "Sigmoid": lambda attributes, x: 1 / (1 + np.exp(-x)),
    "Softmax": _softmax,
    "Sub": lambda attributes, a, b: a - b,
    "Tanh": lambda attributes, x: np.tanh(x),
}
"""operator -> (attributes, *inputs) -> its one output. This table is both what `gaps` knows and what runs."""


class NumpyMlp(Engine):
    name = "numpy-mlp"
    opt_in = True
    """installing the package changes nothing for other targets: they use it where --engine names it"""
    dispatches = False

    def missing(self) -> str | None:
        return None

    def serves(self, target: Target) -> bool:
        return target.arch == "x86_64"

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        found = []
        for node in program.nodes():
            name = node.name or str(node.outputs[0].name)
            if node.domain or node.op_type not in OPERATORS:
                advice = f"use {', '.join(OPERATORS)}"
                found.append(Gap(self.name, name, node.op_type, "only dense layers are known", suggestion=advice))
            elif node.op_type == "Softmax" and program.opset < 13:
                found.append(
                    Gap(self.name, name, node.op_type, "Softmax of opset 13 is meant", suggestion="convert it")
                )
        for spec in program.signature.inputs:
            if spec.dtype != "float32":
                found.append(Gap(self.name, spec.name, "", f"it is {spec.dtype}, not float32", suggestion="convert it"))
        return tuple(found)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        return (Variant.of("numpy"),) if options.precision == "fp32" else ()

    def tools(self) -> Mapping[str, str]:
        return {"numpy": np.__version__}

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        graph = program.model.graph
        steps = [
            {
                "operator": node.op_type,
                "inputs": [value.name for value in node.inputs if value is not None],
                "output": node.outputs[0].name,
                "attributes": {a.name: a.value for a in node.attributes.values()},
            }
            for node in graph
        ]
        constants = {name: v.const_value.numpy() for name, v in graph.initializers.items() if v.const_value is not None}
        (folder / STEPS).write_text(json.dumps(steps))
        np.savez(folder / WEIGHTS, allow_pickle=False, **constants)
        return Built(
            members={name: folder / name for name in (STEPS, WEIGHTS)},
            requirements=(Requirement("package", "numpy", np.__version__, "any"),),
            tools=self.tools(),
            placement=Placement(((self.name, len(steps)),)),
        )

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        with np.load(io.BytesIO(members[WEIGHTS]), allow_pickle=False) as weights:
            return NumpySession(signature, json.loads(bytes(members[STEPS])), dict(weights))


class NumpySession(Session):
    concurrency = 8
    """nothing is shared between calls but the weights, which nobody writes"""

    def __init__(self, signature: Signature, steps: list[dict[str, Any]], weights: dict[str, np.ndarray]) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check = FeedCheck(self.inputs)
        self._steps, self._weights = steps, weights

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        known = [spec.name for spec in self.outputs]
        wanted = known if outputs is None else list(outputs)
        if strangers := sorted(set(wanted) - set(known)):
            raise FeedError(f"there is no output named {strangers[0]!r}", fix=f"the model gives {', '.join(known)}")
        values = {**self._weights, **feeds}
        for step in self._steps:
            function = OPERATORS[step["operator"]]
            values[step["output"]] = function(step["attributes"], *(values[name] for name in step["inputs"]))
        return {name: np.array(values[name], order="C") for name in wanted}

    def close(self) -> None:
        self._weights = {}
        self._steps = []
