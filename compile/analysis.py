"""What a program costs on paper: operators, FLOPs, bytes of weights. A multiply-add counts as two operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from neoc.compile.program import Program

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Cost:
    operators: dict[str, int]
    """domain-qualified operator -> nodes, bodies of If, Loop and Scan included"""
    flops: int
    """of the dense operators (convolutions, matrix products, recurrences) at the known shapes; a Loop's body once"""
    uncounted: tuple[str, ...]
    """dense nodes whose shapes are not known: bind the open dimensions with --input"""
    weight_bytes: int
    parameters: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "operators": self.operators,
            "flops": self.flops,
            "uncounted": list(self.uncounted),
            "weight_bytes": self.weight_bytes,
            "parameters": self.parameters,
        }


def cost(program: Program) -> Cost:
    operators: Counter[str] = Counter()
    flops, uncounted = 0, []
    for node in program.nodes():
        operators[node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"] += 1
        count = node_flops(node)
        if count is None:
            uncounted.append(node.name or node.op_type)
        else:
            flops += count
    weights = [v.const_value for g in program.model.graphs() for v in g.initializers.values()]
    tensors = [t for t in weights if t is not None]
    return Cost(
        dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        flops,
        tuple(uncounted),
        sum(t.nbytes for t in tensors),
        sum(t.size for t in tensors),
    )


def node_flops(node: ir.Node) -> int | None:
    """The FLOPs of one dense node; 0 of another one, None where the shapes that they hang on are not known."""
    count = _FLOPS.get(node.op_type)
    if count is None or node.domain not in ("", "ai.onnx"):
        return 0
    try:
        return count(node)
    except (_UnknownShape, ValueError):  # a branch that is never taken may have operands of another rank
        return None


class _UnknownShape(Exception):
    pass


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    if value is None or value.shape is None:
        raise _UnknownShape
    dims = tuple(value.shape)
    if not all(isinstance(d, int) for d in dims):
        raise _UnknownShape
    return dims  # type: ignore[return-value]


def _conv(node: ir.Node) -> int:
    """2 * outputs * (inputs per group * kernel): each output element is one dot product."""
    _, per_group, *kernel = _shape(node.inputs[1])
    return 2 * prod(_shape(node.outputs[0])) * per_group * prod(kernel)


def _conv_transpose(node: ir.Node) -> int:
    """2 * inputs * (outputs per group * kernel): each input element is scattered over one kernel."""
    _, per_group, *kernel = _shape(node.inputs[1])
    return 2 * prod(_shape(node.inputs[0])) * per_group * prod(kernel)


def _matmul(node: ir.Node) -> int:
    a = _shape(node.inputs[0])
    return 2 * prod(_shape(node.outputs[0])) * a[-1]


def _gemm(node: ir.Node) -> int:
    a = _shape(node.inputs[0])
    transposed = node.attributes.get_int("transA", 0)
    return 2 * prod(_shape(node.outputs[0])) * (a[0] if transposed else a[1])


def _recurrent(gates: int) -> Callable[[Any], int]:
    def count(node: ir.Node) -> int:
        """Per step, batch and direction: gates * hidden * (input + hidden) multiply-adds."""
        steps, batch, features = _shape(node.inputs[0])
        directions, _, hidden = _shape(node.inputs[2])
        return 2 * steps * batch * directions * gates * hidden * (features + hidden)

    return count


_FLOPS: dict[str, Callable[[Any], int]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "RNN": _recurrent(1),
}
