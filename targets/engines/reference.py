"""The ONNX reference evaluator: numpy, slow, the last resort, and an oracle. The template for the next engine.

What an engine says, in the order in which it is asked: what it lacks here, which targets it serves, what of a program
it cannot take, how it can be built and run, the build, the session.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    Feeds,
    Gap,
    Placement,
    Requirement,
    Session,
    Signature,
    Target,
    Variant,
)
from neoc.compile.errors import FeedError, MissingTool, UnsupportedModel, WrongDevice
from neoc.targets.engines.nodes import domain_of, label, where_of
from neoc.targets.engines.tensors import chosen, closed, feed_check

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

MODEL, DATA = "model.onnx", "model.data"


class Reference(Engine):
    name = "reference"
    fallback = True
    oracle = True

    def missing(self) -> str | None:
        return None if _version() else "the package onnx is not installed; pip install onnx"

    def serves(self, target: Target) -> bool:
        return target.arch == "x86_64"

    def tools(self) -> Mapping[str, str]:
        return {"onnx": _version()} if _version() else {}

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        local = {(domain_of(f.domain), f.name) for f in program.model.functions.values()}
        opsets = program.model.opset_imports
        lacking = (n for n in program.nodes() if (domain_of(n.domain), n.op_type) not in local and not _runs(n, opsets))
        reason = "the reference evaluator has no implementation of it"
        return tuple(Gap(self.name, label(n), n.op_type, reason, where_of(n)) for n in lacking)

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        return (Variant.of("numpy"),) if options.precision == "fp32" else ()

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        from neoc.compile import onnx_io

        onnx_io.write(program.model, folder / MODEL, data_name=DATA)
        members = {name: folder / name for name in (MODEL, DATA) if (folder / name).exists()}
        nodes = list(program.nodes())
        placement = Placement(((self.name, len(nodes)),), _fallen_back(nodes))
        return Built(members, (Requirement("package", "onnx", _version(), "minor"),), self.tools(), placement)

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        if device not in (None, "cpu"):
            raise WrongDevice(f"this artifact was built for the CPU, not for {device!r}", fix="leave the device out")
        if not _version():
            raise MissingTool("onnx is not installed", fix="pip install onnx")
        return ReferenceSession(_parsed(members), signature)

    def open_source(self, source: Path, signature: Signature) -> Session:
        import onnx

        return ReferenceSession(onnx.load(source), signature)


def _fallen_back(nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    """Each operator once; where front ends know the places, with the first of them: `Relu at act (ReLU), net.py:7`."""
    places: dict[str, list[str]] = {}
    for node in nodes:
        found = places.setdefault(node.op_type, [])
        where = where_of(node)
        if where and where not in found:
            found.append(where)
    more = {name: f" and {len(p) - 1} more" if p[1:] else "" for name, p in places.items()}
    return tuple(sorted(f"{name} at {p[0]}{more[name]}" if p else name for name, p in places.items()))


@cache
def _version() -> str:
    try:
        return version("onnx")
    except PackageNotFoundError:
        return ""


_DOMAINS = {
    "": "onnx.reference.ops",
    "ai.onnx.ml": "onnx.reference.ops.aionnxml",
    "ai.onnx.preview": "onnx.reference.ops.aionnx_preview",
    "ai.onnx.preview.training": "onnx.reference.ops.aionnx_preview_training",
}
"""domain -> module whose load_op finds the class of an operator"""


def _runs(node: ir.Node, opsets: Mapping[str, int]) -> bool:
    """Whether the evaluator computes the operator, or ONNX defines it by a function that it can unfold."""
    from onnx import defs

    domain = domain_of(node.domain)
    opset = opsets.get(domain, opsets.get(node.domain, 1))
    if domain not in _DOMAINS or not defs.has(node.op_type, opset, domain):
        return False
    schema: Any = defs.get_schema(node.op_type, opset, domain)
    if schema.has_function or schema.has_context_dependent_function:
        return True
    try:
        import_module(_DOMAINS[domain]).load_op(domain, node.op_type, opset)
    except (NotImplementedError, RuntimeError, ValueError):  # there is no such class
        return False
    return True


def _parsed(members: Mapping[str, memoryview]) -> Any:
    """The model with its outside tensors put in from memory: no file is read."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    model = onnx.ModelProto.FromString(bytes(members[MODEL]))
    if DATA in members:
        for tensor in _tensors(model.graph):
            if uses_external_data(tensor):
                place = {entry.key: entry.value for entry in tensor.external_data}
                start = int(place.get("offset", 0))
                tensor.raw_data = bytes(members[DATA][start : start + int(place["length"])])
                del tensor.external_data[:]
                tensor.data_location = onnx.TensorProto.DEFAULT
    return model


def _tensors(graph: Any) -> list[Any]:
    """Initializers of a graph and of the bodies in it."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                found += _tensors(body)
    return found


class ReferenceSession(Session):
    concurrency = sys.maxsize
    """every call has its own values"""

    def __init__(self, model: Any, signature: Signature) -> None:
        from onnx.reference import ReferenceEvaluator

        from neoc.targets.engines.reference_ops import OPERATORS

        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._names = [spec.name for spec in self.outputs]
        self._check = feed_check(self.inputs)
        try:
            self._run: Callable[..., Any] = ReferenceEvaluator(model, new_ops=OPERATORS).run
        except _FAILURES as error:
            raise UnsupportedModel("the reference evaluator cannot load the model", why=_words(error)) from error

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check(feeds)
        names = self._names if outputs is None else chosen(outputs, self._names)
        try:
            # The evaluator works in numpy: values that overflow on the way are part of an answer, not worth a warning.
            with np.errstate(all="ignore"):
                values = self._run(names, dict(feeds)) if names else []
        except _FAILURES as error:
            raise FeedError(
                "the reference evaluator rejects these feeds",
                why=_words(error),
                fix="feed values and sizes that the model accepts",
            ) from error
        return {name: _fresh(value) for name, value in zip(names, values, strict=True)}

    def close(self) -> None:
        self._run = closed


_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError)
"""what numpy and the evaluator's plain Python raise on values that do not fit"""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"


def _fresh(value: Any) -> Any:
    """A C-contiguous copy: a result may be a view of a feed or of a weight. Sequences stay lists, no optional None."""
    if isinstance(value, list | tuple):
        return [_fresh(item) for item in value]
    return None if value is None else np.array(value, order="C")
