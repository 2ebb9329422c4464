"""The op table: every row computes what ONNX says, in opcodes that the preflight knows.

Each case is lowered to HLO bytes, and the bytes are run by XLA on the CPU.
"""

from __future__ import annotations

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import pytest
from neuron_cases import RANDOM, Case, agree, by_onnxruntime, by_reference, floats, ints, lowered_and_run
from onnx import helper
from small_models import NodeCase, model_of, node_cases, program, tensor, with_constants

from neoc.compile.passes.onnx_tools import NEWEST, since
from neoc.targets.engines.neuron.gaps import find_gaps
from neoc.targets.engines.neuron.ops import CONTROL, TABLE, UNBOUNDED

needs_jax = pytest.mark.needs("jax")
BF16 = ml_dtypes.bfloat16


# ---- cases of our own: old versions, other dtypes, attributes that the suite leaves out --------------------


X = floats(2, 4, 9, 8)
SEQUENCE = floats(40, 2, 3)


def recurrent(operator: str, gates: int, x: np.ndarray, ways: int, hidden: int, **attributes: object) -> Case:
    w, r = floats(ways, gates * hidden, x.shape[2]), floats(ways, gates * hidden, hidden)
    b, h = floats(ways, 2 * gates * hidden), floats(ways, x.shape[1], hidden)
    inputs = [x, w, r, b, None, h]
    if operator == "LSTM":
        inputs += [floats(ways, x.shape[1], hidden), floats(ways, 3 * hidden)]
    outputs = 3 if operator == "LSTM" else 2
    return Case(operator, inputs, {"hidden_size": hidden, **attributes}, outputs=outputs, constants=(1, 2, 3))


OLD = [
    Case("AveragePool", [X], {"kernel_shape": [3, 2], "strides": [2, 3], "auto_pad": "SAME_UPPER"}, 7),
    Case("BatchNormalization", [X, *(abs(floats(4)) for _ in range(4))], {"epsilon": 0.1}, 7),
    Case("Clip", [X], {"min": -0.5, "max": 0.25}, 6),
    Case("Dropout", [X], {}, 7),
    Case("Hardmax", [X], {"axis": 2}, 11),
    Case("LogSoftmax", [X], {"axis": 2}, 11),
    Case("Pad", [X], {"pads": [0, 1, 2, 0, 0, 0, -1, 3], "mode": "constant", "value": 0.5}, 2),
    Case("ReduceMean", [X], {"axes": [-1, 1], "keepdims": 0}, 13),
    Case("ReduceSum", [X], {"axes": [2]}, 11),
    Case("ReduceLogSumExp", [100 * X], {"keepdims": 0}, 13),
    Case("Resize", [X, np.float32([1, 1, 2, 3])], {"mode": "linear"}, 10, constants=(1,)),
    Case("Slice", [X], {"starts": [1, -5], "ends": [9, -2], "axes": [1, 2]}, 1),
    Case("Softmax", [X], {}, 11),
    Case("Split", [X], {"axis": 2, "split": [2, 3, 4]}, 2, outputs=3),
    Case("Squeeze", [floats(1, 3, 1)], {"axes": [0]}, 1),
    Case("TopK", [X], {"k": 3, "axis": 2}, 1, outputs=2),
    Case("TopK", [ints(0, 5, 3, 9, dtype=np.int32), np.int64([4])], {}, 11, outputs=2, constants=(1,)),
    Case("Unsqueeze", [X], {"axes": [0, 5]}, 1),
    Case("Upsample", [X], {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 1.0]}, 7),
    Case("Upsample", [X, np.float32([1, 1, 1, 2])], {"mode": "linear"}, 9, constants=(1,)),
]

WINDOWS = [
    Case("AveragePool", [X], {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 1, 0]}, 19),
    Case("AveragePool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "pads": [1] * 4}, 19),
    Case("AveragePool", [X], {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    Case("Conv", [X, floats(6, 2, 3, 3), floats(6)], {"group": 2, "dilations": [2, 1], "pads": [1, 2, 0, 1]}),
    Case("Conv", [X, floats(4, 1, 3, 2)], {"group": 4, "strides": [2, 3], "auto_pad": "SAME_LOWER"}),
    Case("Conv", [floats(2, 3, 11), floats(5, 3, 4)], {"strides": [3], "pads": [2, 1]}),
    Case("Conv", [floats(1, 2, 5, 6, 7), floats(3, 2, 2, 3, 2)], {"strides": [1, 2, 1]}),
    Case("ConvTranspose", [X, floats(4, 3, 3, 2), floats(6)], {"group": 2, "strides": [2, 3], "pads": [1, 0, 0, 1]}),
    Case("ConvTranspose", [X, floats(4, 2, 3, 3)], {"dilations": [2, 3], "strides": [3, 2], "output_padding": [1, 1]}),
    Case("ConvTranspose", [X, floats(4, 2, 4, 3)], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    Case("ConvTranspose", [X, floats(4, 2, 3, 3)], {"strides": [2, 2], "output_shape": [18, 16]}),
    Case("GlobalLpPool", [X], {"p": 3}),
    Case("LpPool", [X], {"kernel_shape": [3, 2], "strides": [1, 2], "p": 3, "pads": [1, 1, 1, 1]}, 18),
    Case("MaxPool", [X], {"kernel_shape": [3, 2], "dilations": [3, 2], "strides": [2, 1], "pads": [2, 1, 1, 0]}),
    Case("MaxPool", [X], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", [ints(-99, 99, 1, 2, 6, 6, dtype=np.int8)], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 0]}),
]

STEPS = [
    recurrent("LSTM", 4, SEQUENCE, 2, 5, direction="bidirectional"),
    recurrent("LSTM", 4, SEQUENCE[:4], 1, 5, direction="reverse", clip=0.7, input_forget=1),
    recurrent("LSTM", 4, SEQUENCE[:3], 1, 4, activations=["HardSigmoid", "Relu", "Softsign"], activation_alpha=[0.3]),
    recurrent("GRU", 3, SEQUENCE, 1, 5, linear_before_reset=1),
    recurrent("GRU", 3, SEQUENCE[:5], 2, 5, direction="bidirectional"),
    recurrent("RNN", 1, SEQUENCE, 1, 4, activations=["LeakyRelu"], activation_alpha=[0.2]),
    recurrent("RNN", 1, SEQUENCE[:2], 1, 4, direction="reverse"),
]

MOVES = [
    Case("CumSum", [ints(-9, 9, 3, 7), np.int64(-1)], {"exclusive": 1, "reverse": 1}, constants=(1,)),
    Case("Einsum", [floats(2, 3, 4), floats(4, 5)], {"equation": "b i k , k j -> b j i"}),
    Case("Gather", [X, np.int64(-2)], {"axis": 2}, constants=(1,)),
    Case("Gather", [X, ints(-9, 9, 3, 2)], {"axis": 2}),
    Case("GatherElements", [X, ints(-8, 8, 1, 3, 9, 20, dtype=np.int32)], {"axis": 3}),
    Case("GatherND", [X, ints(-4, 4, 2, 5, 1)], {"batch_dims": 1}),
    Case("Mod", [ints(-20, 20, 40, dtype=np.int32), np.int32(7)], {}),
    Case("Mod", [ints(-20, 20, 40, dtype=np.int32), np.int32(-7)], {"fmod": 1}),
    Case("Div", [ints(-20, 20, 40), np.int64(-7)], {}),
    Case("OneHot", [ints(-6, 6, 3, 2), np.int64(4), floats(2)], {"axis": 1}, constants=(1,)),
    Case("Pad", [X, np.int64([1, 2, 0, 3]), None, np.int64([2, -1])], {"mode": "reflect"}, 18, constants=(1, 3)),
    Case("Pad", [X, np.int64([2, -3, -1, 4]), np.float32(2.5), np.int64([3, 1])], {}, 18, constants=(1, 3)),
    Case("Pow", [abs(X), np.float32(0.5)], {}, constants=(1,)),
    Case("Pow", [X, np.float32(3)], {}, constants=(1,)),
    Case("Pow", [abs(X), floats(8)], {}),
    Case("Pow", [ints(-4, 5, 3, 4, dtype=np.int32), ints(0, 5, 4, dtype=np.int32)], {}),
    Case("ReduceMax", [ints(-99, 99, 3, 4, dtype=np.int8), np.int64([0])], {"keepdims": 0}, 18, constants=(1,)),
    Case("Reshape", [X, np.int64([0, -1, 9])], {}, constants=(1,)),
    Case("ScatterElements", [X, ints(-9, 9, 2, 4, 3, 8), floats(2, 4, 3, 8)], {"axis": 2, "reduction": "add"}, 18),
    Case("ScatterND", [X, ints(-2, 2, 3, 1), floats(3, 4, 9, 8)], {"reduction": "max"}, 18),
    Case("Slice", [X, *map(np.int64, ([7, -1], [-99, 1], [2, 3], [-3, -2]))], {}, constants=(1, 2, 3, 4)),
    Case("Split", [X], {"axis": 2, "num_outputs": 4}, 18, outputs=4),
    Case("TopK", [ints(0, 4, 5, 9).astype(np.float32), np.int64([9])], {"largest": 0}, outputs=2, constants=(1,)),
    Case("Trilu", [X, np.int64(-2)], {"upper": 0}, constants=(1,)),
    Case("Tile", [X, np.int64([1, 2, 1, 3])], {}, constants=(1,)),
]


def resized(**attributes: object) -> Case:
    scales = np.float32([1, 1, 1.5, 0.625])
    attributes.setdefault("coordinate_transformation_mode", "half_pixel")
    return Case("Resize", [floats(1, 2, 6, 8), None, scales], attributes, constants=(2,))


RESIZES = [
    *(resized(mode="nearest", nearest_mode=m) for m in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")),
    *(resized(mode=m, coordinate_transformation_mode="asymmetric") for m in ("nearest", "linear", "cubic")),
    *(resized(mode=m, coordinate_transformation_mode="pytorch_half_pixel") for m in ("linear", "cubic")),
    resized(mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    Case("Resize", [X, None, None, np.int64([2, 4, 5, 17])], {"mode": "linear"}, constants=(3,)),
    Case(
        "Resize",
        [X, None, None, np.int64([2, 4, 5, 17])],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        constants=(3,),
    ),
]

QUANTISED = [
    Case("QuantizeLinear", [30 * X, abs(floats(4)) + 1, ints(0, 255, 4, dtype=np.uint8)], {"axis": 1}),
    Case("QuantizeLinear", [30 * X, np.float32(0.5), np.int8(-3)], {}),
    Case(
        "DequantizeLinear",
        [ints(-128, 127, 3, 4, dtype=np.int8), abs(floats(3)), ints(-9, 9, 3, dtype=np.int8)],
        {"axis": 0},
    ),
    Case(
        "MatMulInteger", [ints(0, 255, 3, 300, dtype=np.uint8), ints(-128, 127, 300, 2, dtype=np.int8), np.uint8(7)], {}
    ),
    Case("DynamicQuantizeLinear", [X], outputs=3),
]

OWN = OLD + WINDOWS + STEPS + MOVES + RESIZES + QUANTISED


@needs_jax
@pytest.mark.needs("onnxruntime")
@pytest.mark.parametrize("case", OWN, ids=lambda c: c.id)
def test_computes_what_onnxruntime_does(case: Case) -> None:
    model, feeds = case.model()
    found, wanted = lowered_and_run(model, feeds), by_onnxruntime(model, feeds)
    for name, value in zip((o.name for o in model.graph.output), wanted, strict=True):
        agree(found[name], value, 1e-4, 1e-5)


# ---- floats of all widths --------------------------------------------------------------------------------------

DOMAINS = {"Acos": (-1, 1), "Acosh": (1, 9), "Asin": (-1, 1), "Atanh": (-0.99, 0.99), "Log": (0.01, 9), "Sqrt": (0, 9)}
NO_FUNCTIONS = {
    "BatchNormalization",
    "Concat",
    "Einsum",
    "Identity",
    "InstanceNormalization",
    "MatMul",
    "Max",
    "Mean",
    "Min",
    "Shape",
    "Size",
    "Sum",
}
UNARY = [
    name
    for name, row in TABLE.items()
    if len(row.inputs) == 1
    and not row.domain
    and {"bfloat16", "float16"} <= row.inputs[0].dtypes
    and not (row.rules or row.attributes or row.inputs[0].ranks or row.inputs[0].constant)
    and row.versions[0] <= 17
    and name not in NO_FUNCTIONS | {"Clip", "Flatten", "PRelu", "Hardmax", "MeanVarianceNormalization", "Transpose"}
]


@needs_jax
@pytest.mark.parametrize("dtype", [np.float32, np.float16, BF16], ids=lambda d: np.dtype(d).name)
def test_every_function_of_one_tensor_in_every_width(dtype: object) -> None:
    """All at once: one model, one output a function. The wanted values are of the float32 model, rounded."""
    low, high = zip(*(DOMAINS.get(name, (-4, 4)) for name in UNARY), strict=True)
    feeds32 = {
        f"x{i}": RANDOM.uniform(low[i], high[i], (3, 5)).astype(dtype).astype(np.float32) for i in range(len(UNARY))
    }
    wanted = by_reference(_functions(np.float32), feeds32)
    found = lowered_and_run(_functions(dtype), {n: x.astype(dtype) for n, x in feeds32.items()})
    tolerance = {"float32": 2e-5, "float16": 4e-3, "bfloat16": 4e-2}[np.dtype(dtype).name]
    assert len(UNARY) >= 40
    for i, name in enumerate(UNARY):
        value = found[f"y{i}"]
        error = np.abs(value.astype(float) - wanted[i].astype(float)).max()
        assert error <= tolerance * max(1.0, np.abs(wanted[i].astype(float)).max()), f"{name}: {error}"


def _functions(dtype: object) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node(name, [f"x{i}"], [f"y{i}"], name=name) for i, name in enumerate(UNARY)]
    inputs = [tensor(f"x{i}", [3, 5], kind) for i in range(len(UNARY))]
    model = model_of(nodes, inputs, [onnx.ValueInfoProto(name=f"y{i}") for i in range(len(UNARY))], 17)
    return onnx.shape_inference.infer_shapes(model)


# ---- the backend suite -------------------------------------------------------------------------------------------


def fixed_inputs(case: NodeCase) -> set[str]:
    """Inputs of the case's model that a row wants constant."""
    return {
        name
        for node in case.model.graph.node
        if node.op_type in TABLE
        for index, name in enumerate(node.input)
        if TABLE[node.op_type].inputs[min(index, len(TABLE[node.op_type].inputs) - 1)].constant
    }


def faults_in(per_operator: int) -> tuple[set[str], dict[str, str]]:
    """Operators that the suite's cases find right, up to so many cases an operator, and what went wrong in which."""
    right: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for case in node_cases():
        if not case.operators <= set(TABLE) or all(right[op] >= per_operator for op in case.operators):
            continue
        model, feeds = with_constants(case, fixed_inputs(case))
        if find_gaps(program(model), "neuron"):
            continue
        try:
            found = lowered_and_run(model, feeds)
            for name, value in zip((o.name for o in model.graph.output), case.outputs, strict=True):
                agree(found[name], value, max(case.rtol, 1e-4), max(case.atol, 1e-6))
            right.update(case.operators)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
            wrong[case.name] = f"{type(error).__name__}: {error}"[:300]
    return set(right), wrong


OWN_ONLY = {"GlobalLpPool", "MaxRoiPool"} | {key for key in TABLE if key.startswith("ai.onnx.ml.")}
"""rows that the backend suite has no case for, or cases of other domains: test_neuron_more_ops.py has them"""


@needs_jax
def test_every_row_is_computed_right_on_a_case_of_the_backend_suite() -> None:
    right, wrong = faults_in(1)
    assert wrong == {}
    assert set(TABLE) - right == OWN_ONLY


@needs_jax
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_case_of_the_backend_suite_is_computed_right() -> None:
    right, wrong = faults_in(10_000)
    assert wrong == {}
    assert set(TABLE) - right == OWN_ONLY


# ---- the table itself ------------------------------------------------------------------------------------------------


def test_rows_know_every_version_of_their_operators() -> None:
    """A definition that came after the row was written must not be lowered by it unseen."""
    for key, row in TABLE.items():
        oldest, newest = row.versions
        latest = next(v for v in range(NEWEST, 0, -1) if since(row.name, v, row.domain) is not None)
        assert since(row.name, latest, row.domain) == newest, key
        assert since(row.name, oldest, row.domain) == oldest, key


def test_rows_hold_together() -> None:
    assert len(TABLE) >= 150
    assert not (CONTROL | UNBOUNDED) & set(TABLE)
    for key, row in TABLE.items():
        assert row.key == key
        assert row.inputs
        assert row.outputs >= 1
