"""A program as the op table sees it: one call a node, with all that is known of its tensors before anything is traced.

The checks and the lowering read the same calls, so they cannot disagree on what a node says. Nothing here needs jax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import dtype_of
from neoc.compile.program import Program, spec_of
from neoc.targets.engines.nodes import domain_of, label, where_of

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, eq=False)
class Fact:
    """What is known of one tensor. `shape` None: not all of its dimensions are known."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    tensor: ir.TensorProtocol | None = field(default=None, repr=False)
    """the constant that it is, if it is one"""

    @property
    def value(self) -> np.ndarray | None:
        return None if self.tensor is None else self.tensor.numpy()

    @property
    def size(self) -> int:
        return prod(self.shape or ())


@dataclass(frozen=True, eq=False)
class Call:
    """One node. Inputs and outputs that the node leaves out are None."""

    node: str
    operator: str
    domain: str
    version: int
    """of the operator's definition that is in force at the program's opset; 0 where there is none"""
    inputs: tuple[Fact | None, ...]
    outputs: tuple[Fact | None, ...]
    """None, too, for an output that nothing reads"""
    attributes: Mapping[str, Any]
    where: str = ""
    bodies: Mapping[str, Body] = field(default_factory=dict)
    """the graphs among its attributes"""

    @property
    def key(self) -> str:
        """How the op table knows the operator: domain.Name, or Name alone in the default domain."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def fact(self, index: int) -> Fact | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def has(self, index: int) -> bool:
        """Whether the input at `index` is given."""
        return self.fact(index) is not None

    def value(self, index: int) -> np.ndarray | None:
        """The constant at `index`, None where it is none or is left out."""
        fact = self.fact(index)
        return None if fact is None else fact.value

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of the input at `index`. Only for inputs whose shape is known."""
        fact = self.fact(index)
        assert fact is not None
        assert fact.shape is not None
        return fact.shape

    def dtype(self, index: int = 0) -> str:
        """The dtype's name of the input at `index`, '' where it is left out."""
        fact = self.fact(index)
        return "" if fact is None else fact.dtype

    def wants(self, index: int) -> bool:
        """Whether anything reads the output at `index`."""
        return index < len(self.outputs) and self.outputs[index] is not None

    def dtype_attribute(self, name: str, default: str) -> str:
        """The name of the dtype that an attribute gives by its ONNX number."""
        import onnx_ir as ir

        number = self.attributes.get(name)
        return default if not number else spec_dtype(ir.DataType(number))


@dataclass(frozen=True, eq=False)
class Body:
    """A branch of a node: it reads what is known around it."""

    calls: tuple[Call, ...]
    outputs: tuple[Fact, ...]


def walk(calls: Iterable[Call]) -> Iterator[Call]:
    """Every call, those of bodies after the one that holds them."""
    for call in calls:
        yield call
        for body in call.bodies.values():
            yield from walk(body.calls)


def spec_dtype(dtype: ir.DataType) -> str:
    """neoc's name of an ONNX dtype."""
    import onnx_ir as ir

    if dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        return dtype.name.lower()
    return str(dtype.numpy().name)


def prepared(program: Program) -> Program:
    """The program with its loops written out as far as their trip counts are known, and with the shapes that rows of
    the op table infer."""
    from neoc.compile.passes import TIDY, Repeat, UnrollLoops, run

    loops = any(node.op_type in ("Loop", "Scan") for node in program.nodes())
    if not loops and all(domain_of(node.domain) == "" for node in program.model.graph):
        return program
    return run(program, (Repeat((InferRows(), UnrollLoops(), TIDY)),))


@dataclass(frozen=True)
class InferRows:
    """Gives the outputs of nodes whose row infers them the dtype and the shape that follow from the inputs."""

    def __call__(self, program: Program) -> Program:
        import onnx_ir as ir

        from neoc.targets.engines.neuron.ops import TABLE

        copy = program.clone()
        facts = _Facts()
        did = False
        for node in copy.model.graph:
            row = TABLE.get(f"{node.domain}.{node.op_type}")
            if row is None or row.infer is None or node.outputs[0].shape is not None:
                continue
            call = _call(node, copy, facts)
            if any(fact is not None and fact.shape is None for fact in call.inputs):
                continue
            dtype, shape = row.infer(call)
            node.outputs[0].type = ir.TensorType(ir.DataType.from_numpy(dtype_of(dtype)))
            node.outputs[0].shape = ir.Shape(shape)
            did = True
        return copy if did else program


def calls_of(program: Program) -> tuple[Call, ...]:
    """The nodes that the outputs depend on, in graph order."""
    live = _live(program)
    facts = _Facts()
    return tuple(_call(node, program, facts) for node in program.model.graph if node in live)


def _body(graph: ir.Graph, program: Program, facts: _Facts) -> Body:
    calls = tuple(_call(node, program, facts) for node in graph if node.op_type != "Constant")
    return Body(calls, tuple(facts.of(v) for v in graph.outputs))


def _call(node: ir.Node, program: Program, facts: _Facts) -> Call:
    import onnx_ir as ir

    from neoc.compile.passes.onnx_tools import since

    domain = domain_of(node.domain)
    opset = program.opset if domain == "" else program.model.opset_imports.get(node.domain, 1)
    graphs = {a.name: a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH}
    return Call(
        node=label(node),
        operator=node.op_type,
        domain=domain,
        version=since(node.op_type, opset, domain) or 0,
        inputs=tuple(None if v is None else facts.of(v) for v in node.inputs),
        outputs=tuple(facts.of(v) if v.name and (v.uses() or v.is_graph_output()) else None for v in node.outputs),
        attributes={a.name: a.value for a in node.attributes.values() if a.name not in graphs},
        where=where_of(node),
        bodies={name: _body(graph, program, facts) for name, graph in graphs.items()},
    )


class _Facts:
    """Values to facts, each made once."""

    def __init__(self) -> None:
        self._made: dict[ir.Value, Fact] = {}

    def of(self, value: ir.Value) -> Fact:
        if value not in self._made:
            self._made[value] = fact_of(value)
        return self._made[value]


def fact_of(value: ir.Value) -> Fact:
    tensor = _constant(value)
    if tensor is not None:
        shape: tuple[int, ...] | None = tuple(int(d) for d in tensor.shape.numpy())
        return Fact(value.name or "", spec_dtype(tensor.dtype), shape, tensor)
    spec = spec_of(value)
    known = spec.shape is not None and all(isinstance(d, int) for d in spec.shape)
    shape = tuple(d for d in spec.shape or () if isinstance(d, int)) if known else None
    return Fact(spec.name, spec.dtype, shape)


def _constant(value: ir.Value) -> ir.TensorProtocol | None:
    """The tensor behind a value: an initializer, or a Constant in any of its spellings."""
    import onnx_ir as ir

    from neoc.compile.passes.graph import constant

    producer = value.producer()
    if producer is None or producer.op_type != "Constant" or "value" in producer.attributes:
        return constant(value)
    attribute = next(iter(producer.attributes.values()))
    dtypes = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    dtype = dtypes.get(attribute.name)
    return None if dtype is None else ir.tensor(np.asarray(attribute.value, dtype))


def _live(program: Program) -> set[ir.Node]:
    """Nodes from which an output is reached. Constants are facts, not nodes."""
    found: set[ir.Node] = set()
    pending = list(_producers(program.model.graph.outputs))
    while pending:
        node = pending.pop()
        if node in found or node.op_type == "Constant":
            continue
        found.add(node)
        pending.extend(_producers(node.inputs))
        for body in _bodies(node):
            pending.extend(p for inner in body.all_nodes() for p in _producers(inner.inputs))
    return found


def _producers(values: Any) -> Iterator[ir.Node]:
    for value in values:
        producer = None if value is None else value.producer()
        if producer is not None:
            yield producer


def _bodies(node: ir.Node) -> list[ir.Graph]:
    from neoc.compile.passes.graph import bodies

    return bodies(node)
