"""Small ONNX models with seeded weights, and what the ONNX backend suite has of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from neoc.compile.program import Program, Provenance

Dims = Sequence[int | str | None] | None


def tensor(name: str, shape: Dims, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    opset: int = 17,
    **weights: np.ndarray,
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def program(model: onnx.ModelProto) -> Program:
    """The model with its shapes inferred; no pass has seen it."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return Program(ir.from_proto(inferred), Provenance("onnx", "", "", "test"))


def reference(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs by ONNX's reference evaluator."""
    return ReferenceEvaluator(model).run(None, feeds)


def cnn(batch: int | str | None, seed: int = 3) -> onnx.ModelProto:
    """Two convolutions, pooling and a dense layer: x[batch,3,16,16] -> y[batch,5], z[batch,5]."""
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {"w1": weights(8, 3, 3, 3), "b1": weights(8), "w2": weights(8, 4, 3, 3), "w3": weights(5, 8)}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], group=2, strides=[2, 2], dilations=[1, 1]),
        helper.make_node("Sigmoid", ["c2"], ["s2"]),
        helper.make_node("Mul", ["c2", "s2"], ["m2"]),
        helper.make_node("GlobalAveragePool", ["m2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w3"], ["y"], transB=1, alpha=4.0),
        helper.make_node("Softmax", ["y"], ["z"], axis=1),
    ]
    outputs = [tensor("y", [batch, 5]), tensor("z", [batch, 5])]
    return model_of(nodes, [tensor("x", [batch, 3, 16, 16])], outputs, **constants)


@dataclass(frozen=True)
class NodeCase:
    """One case of the backend suite: a model of one node, or of that node's expansion."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    outputs: list[np.ndarray]
    rtol: float
    atol: float

    @property
    def operators(self) -> set[str]:
        return {n.op_type for n in self.model.graph.node}


@cache
def node_cases() -> tuple[NodeCase, ...]:
    """Every node case of the backend suite whose inputs and outputs are tensors."""
    from onnx.backend.test.case.node import collect_testcases

    with np.errstate(all="ignore"):
        return tuple(_tensor_cases(collect_testcases(None)))


def _tensor_cases(cases: Any) -> Iterator[NodeCase]:
    for case in cases:
        if case.model is None or not case.data_sets:
            continue
        graph = case.model.graph
        if not all(v.type.HasField("tensor_type") for v in (*graph.input, *graph.output)):
            continue
        ins, outs = case.data_sets[0]
        feeds = {value.name: as_array(data) for value, data in zip(graph.input, ins, strict=True)}
        yield NodeCase(case.name, case.model, feeds, [as_array(o) for o in outs], case.rtol, case.atol)


def as_array(value: object) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def with_constants(case: NodeCase, names: set[str]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The case's model with these inputs as initializers, and the feeds of the rest."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    kept = [v for v in model.graph.input if v.name not in names]
    model.graph.initializer.extend(numpy_helper.from_array(case.feeds[n], n) for n in case.feeds if n in names)
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model, {n: a for n, a in case.feeds.items() if n not in names}
