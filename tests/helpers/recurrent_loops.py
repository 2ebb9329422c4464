"""Loops as TensorFlow's exporter writes gated recurrent units, in every arrangement, and near misses of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pass_programs import program

from neoc.compile.program import Program

ACTIVATIONS = ("Tanh", "Relu", "Sigmoid", "Softsign", "hard")
SPOILERS = ("mask", "early end", "shorter", "late start", "two steps", "other complement", "other state", "Sin")
"""what makes of a GRU something else"""


@dataclass(frozen=True)
class Recurrence:
    """One Loop to be built. `x` is [batch, time, inputs]; outputs are the last state and, with `history`, all."""

    inputs: int = 3
    hidden: int = 4
    reset_after: bool = True
    gate: str = "Sigmoid"
    candidate: str = "Tanh"
    backwards: bool = False
    history: bool = True
    bias: bool = True
    given_state: bool = False
    fused: bool = True
    """one product for all gates, cut afterwards, or a product for each"""
    carried: bool = True
    """weights go through the loop as states that never change"""
    time: int | None = None
    """a fixed length, where the trip count is a constant"""
    swapped: frozenset[int] = frozenset()
    """numbers of sums and products whose operands are exchanged"""
    spoiler: str = ""
    seed: int = 0
    weights: dict[str, np.ndarray] = field(default_factory=dict, hash=False, compare=False)


class _Nodes:
    def __init__(self, swapped: frozenset[int], prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._swapped, self._prefix = swapped, prefix
        self._binary = 0

    def __call__(self, operator: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        if operator in ("Add", "Mul"):
            self._binary += 1
            inputs = inputs[::-1] if self._binary in self._swapped else inputs
        names = [f"{self._prefix}{operator.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else ",".join(names)

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def weights_of(r: Recurrence) -> dict[str, np.ndarray]:
    """W [inputs, 3 hidden], R [hidden, 3 hidden], the two biases; gates in the order z, r, n."""
    random = np.random.default_rng(r.seed)
    shapes = {
        "W": (r.inputs, 3 * r.hidden),
        "R": (r.hidden, 3 * r.hidden),
        "bx": (3 * r.hidden,),
        "bh": (3 * r.hidden,),
    }
    made = {name: random.uniform(-0.8, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}
    if not r.bias:
        made["bx"][:] = made["bh"][:] = 0
    if not r.reset_after:
        made["bh"][:] = 0
    return made


def expected(r: Recurrence, x: np.ndarray, h: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(last state, all states [time, batch, hidden]) by numpy, in float64."""
    w = {name: array.astype(np.float64) for name, array in weights_of(r).items()}
    h = np.zeros((x.shape[0], r.hidden)) if h is None else h.astype(np.float64)
    steps = x[:, ::-1] if r.backwards else x
    states = []
    for t in range(x.shape[1]):
        xz, xr, xn = np.split(steps[:, t].astype(np.float64) @ w["W"] + w["bx"], 3, axis=1)
        hz, hr, hn = np.split(h @ w["R"] + w["bh"], 3, axis=1)
        z, reset = _apply(r.gate, xz + hz), _apply(r.gate, xr + hr)
        inner = reset * hn if r.reset_after else (reset * h) @ np.split(w["R"], 3, axis=1)[2]
        h = z * h + (1 - z) * _apply(r.candidate, xn + inner)
        states.append(h)
    return h, np.stack(states)


def _apply(name: str, x: np.ndarray) -> np.ndarray:
    functions = {
        "Tanh": np.tanh,
        "Relu": lambda v: np.maximum(v, 0),
        "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "Softsign": lambda v: v / (1 + np.abs(v)),
        "hard": lambda v: np.clip(v / 6 + 0.5, 0, 1),
    }
    return np.asarray(functions[name](x))


def build(r: Recurrence) -> Program:
    """The program: x (and h, where the first state is given) -> last (and all)."""
    outer, body = _Nodes(frozenset(), "o_"), _Nodes(r.swapped, "b_")
    w = weights_of(r)
    for name, array in w.items():
        outer.constant(name, array)
    steps = outer("Transpose", "x", perm=[1, 0, 2])
    length = outer(
        "Squeeze",
        outer("Slice", outer("Shape", steps), *_ints(outer, "first", 0, 1, 0)),
        outer.constant("ax0", np.array([0])),
    )
    if r.time is not None:
        length = outer.constant("length", np.array(r.time - (r.spoiler == "shorter")))
    elif r.spoiler == "shorter":
        length = outer("Sub", length, outer.constant("one_less", np.array(1)))
    if r.backwards:
        batch = outer("Slice", outer("Shape", steps), *_ints(outer, "second", 1, 2, 0))
        lengths = outer("Expand", outer("Unsqueeze", length, "ax0"), batch)
        steps = outer("ReverseSequence", steps, lengths, batch_axis=1, time_axis=0)
    state = "h"
    if not r.given_state:
        batch = outer("Slice", outer("Shape", "x"), *_ints(outer, "batch", 0, 1, 0))
        shape = outer("Concat", batch, outer.constant("hidden", np.array([r.hidden])), axis=0)
        state = outer("Expand", outer.constant("zero", np.array(0, np.float32)), shape)
    condition = outer(
        "Less", outer.constant("none", np.array(0, np.float32)), outer("Cast", length, to=TensorProto.FLOAT)
    )
    start = outer.constant("start", np.array(int(r.spoiler == "late start"), np.int32))
    carried = list(w) if r.carried else []
    graph = _body(r, body, steps, length, carried)
    results = ["count_", "last", *(f"{name}_out" for name in carried), *(["all"] if r.history else [])]
    outer.nodes.append(
        helper.make_node("Loop", [length, condition, start, state, *carried], results, "loop", body=graph)
    )
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", r.time or "time", r.inputs])]
    if r.given_state:
        values.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, ["batch", r.hidden]))
    outputs = [helper.make_tensor_value_info("last", TensorProto.FLOAT, None)]
    outputs += [helper.make_tensor_value_info("all", TensorProto.FLOAT, None)] if r.history else []
    main = helper.make_graph(outer.nodes, "main", values, outputs, outer.constants)
    return program(helper.make_model(main, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def _ints(nodes: _Nodes, name: str, start: int, end: int, axis: int) -> list[str]:
    numbers = {"starts": start, "ends": end, "axes": axis}
    return [nodes.constant(f"{name}_{key}", np.array([number])) for key, number in numbers.items()]


def _body(r: Recurrence, n: _Nodes, steps: str, length: str, carried: list[str]) -> onnx.GraphProto:
    inner = {name: f"{name}_in" if name in carried else name for name in ("W", "R", "bx", "bh")}
    step = n.constant("step", np.array(2 if r.spoiler == "two steps" else 1, np.int32))
    counted = n("Add", "i", step)
    x = n("Gather", steps, "i", axis=0)
    xz, xr, xn = _gates(r, n, x, inner["W"], inner["bx"], "x")
    if r.reset_after:
        hz, hr, hn = _gates(r, n, "h_in", inner["R"], inner["bh"], "h")
        z, reset = (_activation(n, r.gate, n("Add", a, b)) for a, b in ((xz, hz), (xr, hr)))
        inside = n("Mul", reset, hn)
    else:
        third = [_columns(n, inner["R"], k, r.hidden, f"R{k}") for k in range(3)]
        hz, hr = (n("MatMul", "h_in", part) for part in third[:2])
        z, reset = (_activation(n, r.gate, n("Add", a, b)) for a, b in ((xz, hz), (xr, hr)))
        inside = n("MatMul", n("Mul", reset, "h_in"), third[2])
    candidate = _activation(n, "Sin" if r.spoiler == "Sin" else r.candidate, n("Add", xn, inside))
    complement = n("Sub", n.constant("unit", np.array(2 if r.spoiler == "other complement" else 1, np.float32)), z)
    kept = n("Mul", z, n("Neg", "h_in") if r.spoiler == "other state" else "h_in")
    new = n("Add", kept, n("Mul", complement, candidate))
    if r.spoiler == "mask":
        alive = n(
            "Greater",
            n("ReduceSum", x, n.constant("ax1", np.array([1])), keepdims=1),
            n.constant("floor", np.array(0, np.float32)),
        )
        new = n("Where", alive, new, "h_in")
    small = n("Less", n("Cast", counted, to=TensorProto.FLOAT), n("Cast", length, to=TensorProto.FLOAT))
    if r.spoiler == "early end":
        small = n(
            "And", small, n("Less", n("ReduceMax", new, keepdims=0), n.constant("limit", np.array(0.3, np.float32)))
        )
    result = n("Identity", new)
    types = {"W": (r.inputs, 3 * r.hidden), "R": (r.hidden, 3 * r.hidden), "bx": (3 * r.hidden,), "bh": (3 * r.hidden,)}
    inputs = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("i", TensorProto.INT32, []),
        helper.make_tensor_value_info("h_in", TensorProto.FLOAT, [None, r.hidden]),
        *(helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, types[name]) for name in carried),
    ]
    outputs = [small, counted, result, *(f"{name}_in" for name in carried), *([new] if r.history else [])]
    return helper.make_graph(
        n.nodes, "body", inputs, [helper.make_empty_tensor_value_info(name) for name in outputs], n.constants
    )


def _gates(r: Recurrence, n: _Nodes, operand: str, matrix: str, bias: str, name: str) -> list[str]:
    """operand W + b for each gate: one product that is cut, or three."""
    if r.fused:
        total = n("Add", n("MatMul", operand, matrix), bias)
        if name == "x":
            return n("Split", total, outputs=3, axis=-1, num_outputs=3).split(",")
        return [_columns(n, total, k, r.hidden, f"{name}{k}") for k in range(3)]
    parts = []
    for k in range(3):
        low = n.constant(f"{name}{k}_low", np.array([k * r.hidden]))
        high = n.constant(f"{name}{k}_high", np.array([(k + 1) * r.hidden]))
        axis = n.constant(f"{name}{k}_axis", np.array([0]))
        product = n("MatMul", operand, _columns(n, matrix, k, r.hidden, f"{name}w{k}"))
        parts.append(n("Add", product, n("Slice", bias, low, high, axis)))
    return parts


def _columns(n: _Nodes, value: str, k: int, width: int, name: str) -> str:
    end = 2**31 - 1 if k == 2 else (k + 1) * width
    numbers = {"start": [0, k * width], "end": [2**31 - 1, end], "axes": [0, 1]}
    return n("Slice", value, *(n.constant(f"{name}_{key}", np.array(ints)) for key, ints in numbers.items()))


def _activation(n: _Nodes, name: str, value: str) -> str:
    if name != "hard":
        return n(name, value)
    count = len(n.constants)
    three, zero, six, sixth = (
        n.constant(f"hard{count}_{i}", np.array(v, np.float32)) for i, v in enumerate((3, 0, 6, 1 / 6))
    )
    return n("Mul", n("Clip", n("Add", value, three), zero, six), sixth)
