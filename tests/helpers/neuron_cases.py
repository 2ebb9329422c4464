"""Single ONNX nodes through the Neuron path: lowered, checked by the preflight, and run from the module's bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper
from small_models import model_of, program, tensor

from neoc.targets.engines.neuron import executor, hlo
from neoc.targets.engines.neuron.gaps import find_gaps
from neoc.targets.engines.neuron.lower import lower
from neoc.targets.engines.neuron.preflight import examine, rule_set

RANDOM = np.random.default_rng(11)


def lowered_and_run(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    subject = program(model)
    assert [g.reason for g in find_gaps(subject, "neuron")] == []
    low = lower(subject)
    findings = examine(hlo.read(low.module), rule_set())
    assert [str(f) for f in findings] == []
    return executor.run(low.module, low.parameters, low.weights, low.results, feeds)


def agree(found: np.ndarray, wanted: np.ndarray, rtol: float, atol: float = 1e-6) -> None:
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found.astype(float), wanted.astype(float), rtol, atol, equal_nan=True, strict=True)


@dataclass(frozen=True)
class Case:
    """`inputs` are x0, x1 ...; those in `constants` are initializers; None is an input that is left out."""

    operator: str
    inputs: Sequence[np.ndarray | None]
    attributes: Mapping[str, object] = field(default_factory=dict)
    opset: int = 17
    outputs: int = 1
    constants: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        shown = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        first = next(x for x in self.inputs if x is not None)
        return f"{self.operator}-{self.opset}-{first.dtype.name}-{shown}"[:90]

    def model(self) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
        names = ["" if x is None else f"x{i}" for i, x in enumerate(self.inputs)]
        results = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.operator, names, results, name="node", **self.attributes)
        given = {n: np.asarray(x) for n, x in zip(names, self.inputs, strict=True) if x is not None}
        fixed = {f"x{i}" for i in self.constants}
        feeds = {n: x for n, x in given.items() if n not in fixed}
        types = [tensor(n, x.shape, helper.np_dtype_to_tensor_dtype(x.dtype)) for n, x in feeds.items()]
        outputs = [onnx.ValueInfoProto(name=r) for r in results]
        model = model_of([node], types, outputs, self.opset, **{n: given[n] for n in fixed})
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        assert all(o.type.HasField("tensor_type") for o in inferred.graph.output)
        return inferred, feeds


def floats(*shape: int, dtype: object = np.float32) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(dtype)


def ints(low: int, high: int, *shape: int, dtype: object = np.int64) -> np.ndarray:
    return RANDOM.integers(low, high, shape).astype(dtype)


def by_onnxruntime(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


def by_reference(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model).run(None, dict(feeds))
