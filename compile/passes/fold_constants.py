"""Nodes over constants become constants.

Kept as they are, whatever their inputs:
* operators outside the table below: random ones, those of other domains, whole layers that folding would only unroll;
* QuantizeLinear, DequantizeLinear, and a Cast that widens 8-bit weights: int8 weights stay int8 for the engine;
* a result that would make the program grow by more than `limit` bytes (a tensor that a small shape blows up);
* an evaluation that fails, divides by zero, overflows or makes a NaN: what the engine does there is its own answer.

(onnxscript's FoldConstantsPass folds only what has one output, evaluates whatever its reference kernels know, and
swallows every exception; its rewrites of single operators are of no use here.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.onnx_tools import Kernel
from neoc.compile.program import Program

_TABLE = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
CastLike Ceil Clip Compress Concat ConstantOfShape Cos Cosh CumSum DepthToSpace Div Einsum Equal Erf Exp Expand
EyeLike Flatten Floor Gather GatherElements GatherND Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity
IsInf IsNaN LeakyRelu Less LessOrEqual Log MatMul Max Mean Min Mod Mul Neg NonZero Not OneHot Or Pad Pow Range
Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Shape Sigmoid Sign Sin Sinh Size Slice
Softplus SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor
"""
FOLDABLE = frozenset(_TABLE.split())
"""deterministic operators whose reference kernel is vectorised and agrees with the standard (tests compare both)"""

_UNSIZED = frozenset({"Compress", "NonZero"})
"""operators whose result has no shape before it is computed, but never more elements than a bound given by the input"""

_DTYPES = frozenset(
    {
        ir.DataType.BOOL,
        ir.DataType.INT8,
        ir.DataType.INT16,
        ir.DataType.INT32,
        ir.DataType.INT64,
        ir.DataType.UINT8,
        ir.DataType.UINT16,
        ir.DataType.UINT32,
        ir.DataType.UINT64,
        ir.DataType.FLOAT16,
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
    }
)
"""what numpy computes as the standard says; narrower and 16-bit brain floats stay with the engine"""

_NARROW = frozenset({ir.DataType.INT8, ir.DataType.UINT8})


@dataclass(frozen=True)
class FoldConstants:
    """limit: bytes by which one folded node may make the program larger."""

    limit: int = 1 << 20

    def __call__(self, program: Program) -> Program:
        if not any(_arguments(node) for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        opset = copy.opset
        folded = [_fold(node, opset, self.limit, names) for graph in g.graphs(copy.model) for node in graph]
        return g.changed(program, copy, any(folded))


def _fold(node: ir.Node, opset: int, limit: int, names: g.Names) -> bool:
    tensors = _arguments(node)
    if tensors is None:
        return False
    kernel = Kernel(node, tensors, opset)
    types = kernel.result_types()
    if types is None and node.op_type not in _UNSIZED:
        return False
    if types is not None and not _worth_it(node, types, limit):
        return False
    results = kernel.evaluate()
    if not results or (types is not None and not _as_promised(results, types)) or _out_of_range(tensors[0], results[0]):
        return False
    for index, array in results.items():
        if g.is_used(node.outputs[index]):
            g.become_constant(node.outputs[index], ir.tensor(array), names)
    g.discard(node)
    return True


def _arguments(node: ir.Node) -> list[ir.TensorProtocol | None] | None:
    """The inputs of a node that may be folded, as tensors; None where one is not constant or it must stay."""
    if node.domain != g.ONNX or node.op_type not in FOLDABLE or not node.inputs:
        return None
    tensors = [g.constant(v) for v in node.inputs]
    if any(t is None and v is not None for t, v in zip(tensors, node.inputs, strict=True)):
        return None
    if any(t is not None and t.dtype not in _DTYPES for t in tensors) or _widens_weights(node, tensors):
        return None
    return tensors


def _widens_weights(node: ir.Node, tensors: list[ir.TensorProtocol | None]) -> bool:
    first = tensors[0]
    return node.op_type in ("Cast", "CastLike") and first is not None and first.dtype in _NARROW and first.size > 16


def _out_of_range(source: ir.TensorProtocol | None, result: np.ndarray) -> bool:
    """Whether a Cast of floats to integers met one that the integers do not hold: the standard leaves that open."""
    if source is None or source.dtype.numpy().kind != "f" or result.dtype.kind not in "iu":
        return False
    limits, array = np.iinfo(result.dtype), np.trunc(source.numpy())
    return source.size == result.size and bool(((array < limits.min) | (array > limits.max)).any())


def _worth_it(node: ir.Node, types: dict[int, tuple[ir.DataType, tuple[int, ...]]], limit: int) -> bool:
    """Whether the results have dtypes that may be folded, and exceed what vanishes with the node by at most `limit`."""
    if any(dtype not in _DTYPES for dtype, _ in types.values()):
        return False
    made = sum(int(np.prod(shape, dtype=np.int64)) * dtype.bitwidth // 8 for dtype, shape in types.values())
    vanish = {v for v in node.inputs if v is not None and all(user is node for user, _ in v.uses())}
    gone = sum(v.const_value.nbytes for v in vanish if v.const_value is not None and not v.is_graph_output())
    return made - gone <= limit


def _as_promised(results: dict[int, np.ndarray], types: dict[int, tuple[ir.DataType, tuple[int, ...]]]) -> bool:
    return all(
        results[index].shape == shape and ir.DataType.from_numpy(results[index].dtype) == dtype
        for index, (dtype, shape) in types.items()
    )
