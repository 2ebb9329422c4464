"""LSTM and GRU for TVM, whose ONNX importer has neither: unrolled over a sequence of known length.

    P   = X W^T + b              one product for all steps
    step t:  gates = P[t] + h R^T, then the equations of the ONNX specification (LSTM-22, GRU-22)

Only what the specification calls the default is unrolled: constant weights, sigmoid and tanh, no peepholes, no
clipping, sequences of one length. `why_not` says what stands in the way of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

MOST_STEPS = 64
"""the unrolled graph grows by a dozen nodes a step and direction"""

_GATES = {"LSTM": 4, "GRU": 3}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def why_not(node: ir.Node) -> str:
    """Why a recurrence cannot be unrolled; '' where it can."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None or len(shape) != 3 or not all(isinstance(d, int) for d in shape):
        return "the sizes of its input are not known, so it cannot be unrolled"
    if not 1 <= int(shape[0]) <= MOST_STEPS:  # type: ignore[arg-type]
        return f"it runs over {shape[0]} steps; recurrences are unrolled up to {MOST_STEPS}"
    given = dict(enumerate(node.inputs))
    for index, what in ((1, "W"), (2, "R"), (3, "B")):
        value = given.get(index)
        left_out = value is None and what != "B"
        if left_out or (value is not None and value.const_value is None):
            return f"its {what} is no constant"
    if given.get(4) is not None:
        return "its sequences have lengths of their own"
    if node.op_type == "LSTM" and given.get(7) is not None:
        return "it has peepholes"
    return _odd_attribute(node)


def _odd_attribute(node: ir.Node) -> str:
    direction = _text(node, "direction", "forward")
    if direction not in _DIRECTIONS:
        return f"its direction is {direction!r}"
    wanted = _ACTIVATIONS[node.op_type] * len(_DIRECTIONS[direction])
    if "activations" in node.attributes:
        names = [str(a) for a in node.attributes["activations"].as_strings()]
        if names != wanted:
            return f"its activations are {', '.join(names)}"
    for name in ("clip", "layout", "input_forget"):
        if name in node.attributes and node.attributes[name].value:
            return f"attribute {name} is not implemented"
    return ""


def _text(node: ir.Node, name: str, default: str) -> str:
    return str(node.attributes[name].as_string()) if name in node.attributes else default


def unroll(model: ir.Model) -> ir.Model:
    """The same model, its LSTM and GRU nodes replaced in place where `why_not` has nothing to say."""
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in list(graph):
            if node.op_type in _GATES and node.domain in ("", "ai.onnx") and not why_not(node):
                _replace(graph, node)
    return model


@dataclass
class _Builder:
    """Nodes one after another; every value has a name that starts with the replaced node's."""

    prefix: str
    nodes: list[ir.Node] = field(default_factory=list)
    constants: list[ir.Value] = field(default_factory=list)

    def op(self, name: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return self.many(name, 1, *inputs, **attributes)[0]

    def many(self, name: str, count: int, *inputs: ir.Value, **attributes: Any) -> Sequence[ir.Value]:
        made = ir.node(name, inputs, attributes, num_outputs=count, name=f"{self.prefix}/{len(self.nodes)}")
        for index, output in enumerate(made.outputs):
            output.name = f"{self.prefix}/{len(self.nodes)}:{index}"
        self.nodes.append(made)
        return made.outputs

    def constant(self, array: np.ndarray) -> ir.Value:
        name = f"{self.prefix}/c{len(self.constants)}"
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            const_value=ir.tensor(array, name=name),
        )
        self.constants.append(value)
        return value

    def ints(self, *numbers: int) -> ir.Value:
        return self.constant(np.array(numbers, np.int64))


@dataclass(frozen=True)
class _Weights:
    """Of one direction, transposed for products from the left."""

    w: np.ndarray
    r: np.ndarray
    wb: np.ndarray
    rb: np.ndarray


def _replace(graph: ir.Graph, node: ir.Node) -> None:
    made = _Builder(f"unrolled/{node.outputs[0].name or node.name or id(node)}")
    ends = [_direction(made, node, index, backwards) for index, backwards in enumerate(_directions(node))]
    joined: list[ir.Value] = []
    for place, axis in ((0, 1), (1, 0), (2, 0)):
        parts = [made.op("Unsqueeze", end[place], made.ints(axis)) for end in ends if len(end) > place]
        joined += [parts[0] if len(parts) == 1 else made.op("Concat", *parts, axis=axis)] if parts else []
    for constant in made.constants:
        graph.register_initializer(constant)
    graph.insert_before(node, made.nodes)
    for old, new in zip(node.outputs, joined, strict=False):
        new.shape, new.type = old.shape, new.type or old.type
        if old.is_graph_output():
            _be_output(graph, old, new)
        ir.convenience.replace_all_uses_with(old, new)
    graph.remove(node, safe=True)


def _be_output(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    name = old.name
    old.name = f"{name}/replaced"
    new.name = name
    graph.outputs[list(graph.outputs).index(old)] = new


def _directions(node: ir.Node) -> tuple[bool, ...]:
    return _DIRECTIONS[_text(node, "direction", "forward")]


def _weights(node: ir.Node, index: int) -> _Weights:
    w, r = (node.inputs[i].const_value.numpy()[index] for i in (1, 2))  # type: ignore[union-attr]
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    both = np.zeros(2 * len(w), w.dtype) if bias is None else bias.const_value.numpy()[index]  # type: ignore[union-attr]
    return _Weights(np.ascontiguousarray(w.T), np.ascontiguousarray(r.T), both[: len(w)], both[len(w) :])


def _direction(made: _Builder, node: ir.Node, index: int, backwards: bool) -> tuple[ir.Value, ...]:
    """(all hidden states [steps, batch, hidden], the last one, and the last cell of an LSTM) of one direction."""
    x = node.inputs[0]
    assert x is not None
    assert x.shape is not None
    steps, batch, _ = (int(d) for d in x.shape)  # type: ignore[arg-type]
    weights = _weights(node, index)
    hidden = len(weights.r)
    lstm = node.op_type == "LSTM"
    before = weights.wb + weights.rb if lstm else weights.wb
    products = made.op("Add", made.op("MatMul", x, made.constant(weights.w)), made.constant(before))
    zeros = np.zeros((batch, hidden), weights.w.dtype)
    h = _initial(made, node, 5, index, zeros)
    c = _initial(made, node, 6, index, zeros) if lstm else h
    shared = _shared(made, node, weights)
    states: list[ir.Value] = []
    for t in range(steps)[:: -1 if backwards else 1]:
        p = made.op("Gather", products, made.constant(np.array(t, np.int64)), axis=0)
        h, c = _lstm(made, p, h, c, shared) if lstm else (_gru(made, p, h, shared, node), c)
        states.append(made.op("Unsqueeze", h, made.ints(0)))
    ordered = states[::-1] if backwards else states
    everything = ordered[0] if steps == 1 else made.op("Concat", *ordered, axis=0)
    return (everything, h, c) if lstm else (everything, h)


def _initial(made: _Builder, node: ir.Node, place: int, index: int, zeros: np.ndarray) -> ir.Value:
    given = node.inputs[place] if len(node.inputs) > place else None
    if given is None:
        return made.constant(zeros)
    return made.op("Gather", given, made.constant(np.array(index, np.int64)), axis=0)


def _shared(made: _Builder, node: ir.Node, weights: _Weights) -> dict[str, ir.Value]:
    """Constants of every step."""
    if node.op_type == "LSTM":
        return {"r": made.constant(weights.r)}
    hidden = len(weights.r)
    both = {"r_zr": weights.r[:, : 2 * hidden], "r_h": weights.r[:, 2 * hidden :]}
    both |= {"b_zr": weights.rb[: 2 * hidden], "b_h": weights.rb[2 * hidden :], "one": np.ones((), weights.w.dtype)}
    return {name: made.constant(np.ascontiguousarray(array)) for name, array in both.items()}


def _lstm(
    made: _Builder, p: ir.Value, h: ir.Value, c: ir.Value, shared: dict[str, ir.Value]
) -> tuple[ir.Value, ir.Value]:
    """Gates in the order i, o, f, c."""
    gates = made.op("Add", p, made.op("MatMul", h, shared["r"]))
    i, o, f, g = made.many("Split", 4, gates, axis=1, num_outputs=4)
    kept = made.op("Mul", made.op("Sigmoid", f), c)
    cell = made.op("Add", kept, made.op("Mul", made.op("Sigmoid", i), made.op("Tanh", g)))
    return made.op("Mul", made.op("Sigmoid", o), made.op("Tanh", cell)), cell


def _gru(made: _Builder, p: ir.Value, h: ir.Value, shared: dict[str, ir.Value], node: ir.Node) -> ir.Value:
    """Gates in the order z, r, h."""
    pz, pr, ph = made.many("Split", 3, p, axis=1, num_outputs=3)
    both = made.op("Add", made.op("MatMul", h, shared["r_zr"]), shared["b_zr"])
    hz, hr = made.many("Split", 2, both, axis=1, num_outputs=2)
    z, r = made.op("Sigmoid", made.op("Add", pz, hz)), made.op("Sigmoid", made.op("Add", pr, hr))
    if "linear_before_reset" in node.attributes and node.attributes["linear_before_reset"].as_int():
        inner = made.op("Mul", r, made.op("Add", made.op("MatMul", h, shared["r_h"]), shared["b_h"]))
    else:
        inner = made.op("Add", made.op("MatMul", made.op("Mul", r, h), shared["r_h"]), shared["b_h"])
    new = made.op("Tanh", made.op("Add", ph, inner))
    return made.op("Add", made.op("Mul", made.op("Sub", shared["one"], z), new), made.op("Mul", z, h))
