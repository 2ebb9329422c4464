"""A Loop that computes a gated recurrent unit becomes the GRU operator.

    Loop(T, true, 0, h) {                       one state beside the counter: h [batch, hidden]
      x  = Gather(X, i)                         X [time, batch, inputs], read one step a round
      z  = f(x Wz + h Rz + b)                   (TensorFlow has no GRU operator, so Keras' layer arrives like this)
      r  = f(x Wr + h Rr + b)
      n  = g(x Wn + r (h Rn + c) + b)           reset after the product: linear_before_reset = 1
      n  = g(x Wn + (r h) Rn + b)               or before it:            linear_before_reset = 0
      yields h' = z h + (1 - z) n
    }
    =  GRU(X, W, R, B, initial_h = h)

The body is read as algebra, not as a list of nodes: sums in any order, products of a gate alone or of all gates at once
that are cut afterwards, biases as vectors on either side. Whatever does not come out as exactly the above stays a Loop:
masks (a Where around the state), other activations, weights that are computed, a loop that may end early.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_activation import Activation, activation_attributes, match_activation
from neoc.compile.passes.loop_algebra import Affine, affine, commuted, constant_vector, terms
from neoc.compile.passes.loop_invariants import FIRST_RESULT, FIRST_STATE, body_of, through_identity
from neoc.compile.passes.loop_trip import counts_up, runs_to_the_end
from neoc.compile.program import Program

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class LoopToGru:
    """Rewrites every Loop that is one."""

    def __call__(self, program: Program) -> Program:
        if not any(node.op_type == "Loop" and match(node) for node in program.nodes()):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        for graph in g.graphs(copy.model):
            for node in graph:
                cell = match(node)
                if cell is not None:
                    _replace(node, cell, names)
        return copy


@dataclass(frozen=True)
class Cell:
    """What a Loop was found to compute. Gates lie in ONNX' order: z, r, n."""

    sequence: ir.Value
    initial: ir.Value | None
    """None: zeros"""
    weights: np.ndarray
    """[3 hidden, inputs]"""
    recurrence: np.ndarray
    """[3 hidden, hidden]"""
    biases: np.ndarray
    """[6 hidden]: of the inputs, then of the recurrence"""
    gate: Activation
    candidate: Activation
    reset_after: bool
    final: ir.Value | None
    """the Loop's output for the last state, where it is read"""
    history: ir.Value | None
    """the Loop's output for all states [time, batch, hidden], where it is read"""

    @property
    def hidden(self) -> int:
        return int(self.recurrence.shape[1])


# ---- matching ------------------------------------------------------------------------------------------------


def match(node: ir.Node) -> Cell | None:
    """The cell that a Loop computes; None where it is no GRU in every detail."""
    body = body_of(node)
    if body is None or len(node.inputs) != FIRST_STATE + 2 or len(body.outputs) > FIRST_RESULT + 3:
        return None
    counter = next((i for i in range(2) if counts_up(node, body, i)), None)
    if counter is None or g.is_used(node.outputs[counter]):
        return None
    state = 1 - counter
    previous, new = body.inputs[FIRST_STATE + state], through_identity(body.outputs[FIRST_RESULT + state])
    if new is None or previous.dtype not in _FLOATS:
        return None
    history = node.outputs[2] if len(node.outputs) == 3 else None
    if history is not None and through_identity(body.outputs[FIRST_RESULT + 2]) is not new:
        return None
    found = CellReader(previous, body.inputs[FIRST_STATE + counter], body).cell(new)
    if found is None or not runs_to_the_end(node, body, counter, found.sequence):
        return None
    return Cell(
        found.sequence, _initial(node.inputs[FIRST_STATE + state]), found.weights, found.recurrence, found.biases,
        found.gate, found.candidate, found.reset_after, _read(node.outputs[state]), _read(history),
    )  # fmt: skip


def _read(value: ir.Value | None) -> ir.Value | None:
    return value if value is not None and g.is_used(value) else None


def _initial(value: ir.Value | None) -> ir.Value | None:
    """None where the first state is zeros of whatever shape."""
    node = None if value is None else value.producer()
    if node is not None and node.domain == g.ONNX:
        if node.op_type == "Expand" and constant_vector(node.inputs[0]) is not None:
            array = g.constant_array(node.inputs[0])
            return None if array is not None and not array.any() else value
        if node.op_type == "ConstantOfShape":
            fill = node.attributes.get("value")
            return None if fill is None or not fill.as_tensor().numpy().any() else value
    array = g.constant_array(value, 1 << 16)
    return None if array is not None and not array.any() else value


@dataclass(frozen=True)
class Found:
    """One step: the input, and weights as in `Cell`."""

    sequence: ir.Value
    weights: np.ndarray
    recurrence: np.ndarray
    biases: np.ndarray
    gate: Activation
    candidate: Activation
    reset_after: bool


@dataclass(frozen=True)
class CellReader:
    """Reads the body from its result backwards."""

    previous: ir.Value
    counter: ir.Value | None = None
    body: ir.Graph | None = None

    def cell(self, new: ir.Value) -> Found | None:
        for one, other in commuted(new, "Add"):
            for update, kept in commuted(one, "Mul"):
                for complement, candidate in commuted(other, "Mul"):
                    if through_identity(kept) is self.previous and is_complement(complement, update):
                        found = self.gated(update, candidate)
                        if found is not None:
                            return found
        return None

    def gated(self, update: ir.Value, candidate: ir.Value) -> Found | None:
        """The cell of an update gate and a candidate, both behind their functions."""
        gate, new = match_activation(update), match_activation(candidate)
        if gate is None or new is None:
            return None
        z = self._gate(gate[1])
        n = self._candidate(new[1], gate[0])
        if z is None or n is None:
            return None
        parts = [z, n.reset, n.inputs]
        hidden = z.bias.size
        sequence = z.operand
        if any(part.operand is not sequence or part.bias.size != hidden for part in parts):
            return None
        recurrence = [z.other, n.reset.other, n.recurrence]
        if any(matrix is None or matrix.shape != (hidden, hidden) for matrix in recurrence):
            return None
        width = z.matrix.shape[0]
        if any(part.matrix.shape != (width, hidden) for part in parts):
            return None
        source = self.source(sequence)
        if source is None:
            return None
        zeros = np.zeros_like(z.bias)
        return Found(
            source,
            np.concatenate([part.matrix for part in parts], axis=1).T,
            np.concatenate([matrix for matrix in recurrence if matrix is not None], axis=1).T,
            np.concatenate([z.bias, n.reset.bias, n.inputs.bias, zeros, zeros, n.recurrence_bias]),
            gate[0],
            new[0],
            n.reset_after,
        )

    def _gate(self, value: ir.Value) -> _Gate | None:
        """x W + h R + b, as a sum of any order."""
        parts = affine(terms(value))
        if parts is None or len(parts.products) != 2 or parts.rest:
            return None
        ours = [p for p in parts.products if through_identity(p[0]) is self.previous]
        theirs = [p for p in parts.products if through_identity(p[0]) is not self.previous]
        if len(ours) != 1 or len(theirs) != 1:
            return None
        return _Gate(theirs[0][0], theirs[0][1], parts.bias, ours[0][1])

    def _candidate(self, value: ir.Value, gate: Activation) -> _Candidate | None:
        """x W + r (h R + c) + b, or x W + (r h) R + b."""
        parts = affine(terms(value))
        if parts is None:
            return None
        if len(parts.products) == 1 and len(parts.rest) == 1:
            return self._reset_after(parts, gate)
        if len(parts.products) == 2 and not parts.rest:
            return self._reset_before(parts, gate)
        return None

    def _reset_after(self, parts: Affine, gate: Activation) -> _Candidate | None:
        for reset, product in commuted(parts.rest[0], "Mul"):
            r = self._reset(reset, gate)
            inner = affine(terms(product))
            if r is None or inner is None or inner.rest or len(inner.products) != 1:
                continue
            if through_identity(inner.products[0][0]) is self.previous:
                operand, matrix = parts.products[0]
                return _Candidate(
                    _Gate(operand, matrix, parts.bias, None), r, inner.products[0][1], inner.bias, reset_after=True
                )
        return None

    def _reset_before(self, parts: Affine, gate: Activation) -> _Candidate | None:
        for mine, other in (parts.products, parts.products[::-1]):
            for reset, kept in commuted(mine[0], "Mul"):
                r = self._reset(reset, gate)
                if r is not None and through_identity(kept) is self.previous:
                    inputs = _Gate(other[0], other[1], parts.bias, None)
                    return _Candidate(inputs, r, mine[1], np.zeros_like(parts.bias), reset_after=False)
        return None

    def _reset(self, value: ir.Value, gate: Activation) -> _Gate | None:
        found = match_activation(value)
        return self._gate(found[1]) if found is not None and found[0] == gate else None

    def source(self, step: ir.Value) -> ir.Value | None:
        """X, where `step` is X[i] along its first axis and X lies outside the body; without a counter `step` itself."""
        if self.counter is None or self.body is None:
            return step
        inner = through_identity(step)
        node = None if inner is None else inner.producer()
        if node is None or node.op_type != "Gather" or node.domain != g.ONNX or g.attribute_int(node, "axis", 0) != 0:
            return None
        sequence, index = node.inputs[0], through_identity(node.inputs[1])
        if sequence is None or index is not self.counter or _is_inside(sequence, self.body):
            return None
        return sequence if sequence.shape is None or len(sequence.shape) == 3 else None


@dataclass(frozen=True)
class _Gate:
    operand: ir.Value
    """what is multiplied by `matrix`: the input of one step"""
    matrix: np.ndarray
    """[inputs, hidden]"""
    bias: np.ndarray
    other: np.ndarray | None
    """of the state [hidden, hidden]"""


@dataclass(frozen=True)
class _Candidate:
    inputs: _Gate
    reset: _Gate
    recurrence: np.ndarray
    recurrence_bias: np.ndarray
    reset_after: bool


def is_complement(value: ir.Value, of: ir.Value) -> bool:
    """Whether `value` is 1 - `of`."""
    node = value.producer()
    if node is None or node.op_type != "Sub" or node.domain != g.ONNX:
        return False
    one = g.constant_array(node.inputs[0], 1 << 12)
    return one is not None and bool((one == 1).all()) and through_identity(node.inputs[1]) is through_identity(of)


def _is_inside(value: ir.Value, body: ir.Graph) -> bool:
    node = value.producer()
    return (node.graph is body) if node is not None else (value in body.inputs or value.name in body.initializers)


# ---- rewriting -----------------------------------------------------------------------------------------------


def _replace(node: ir.Node, cell: Cell, names: g.Names) -> None:
    graph = node.graph
    assert graph is not None
    base = node.name or "gru"

    def constant(what: str, array: np.ndarray) -> ir.Value:
        return g.add_initializer(graph, names.fresh(f"{base}_{what}"), ir.tensor(array))

    def made(operator: str, inputs: list[ir.Value | None], what: str, outputs: int = 1) -> list[ir.Value]:
        fresh = ir.Node(g.ONNX, operator, inputs, num_outputs=outputs)
        graph.insert_before(node, fresh)
        fresh.metadata_props.update(node.metadata_props)
        for number, output in enumerate(fresh.outputs):
            output.name = names.fresh(f"{base}_{what}{number or ''}")
            output.type = ir.TensorType(ir.DataType.from_numpy(cell.weights.dtype))
        fresh.name = fresh.outputs[0].name
        return list(fresh.outputs)

    initial = cell.initial
    if initial is not None:
        (initial,) = made("Unsqueeze", [initial, constant("axis_0", np.array([0], np.int64))], "initial_h")
    tensors = [
        constant("W", cell.weights[None]), constant("R", cell.recurrence[None]), constant("B", cell.biases[None]),
    ]  # fmt: skip
    history, final = made("GRU", [cell.sequence, *tensors, None, initial], "gru", outputs=2)
    _attributes(history.producer(), cell)
    for old, new, axis in ((cell.history, history, 1), (cell.final, final, 0)):
        if old is not None:
            (squeezed,) = made("Squeeze", [new, constant(f"axis_{axis}", np.array([axis], np.int64))], "states")
            g.substitute(old, squeezed, names)
    g.discard(node)


def _attributes(gru: ir.Node | None, cell: Cell) -> None:
    assert gru is not None
    attributes: list[ir.Attr] = [ir.AttrInt64("hidden_size", cell.hidden)]
    if cell.reset_after:
        attributes.append(ir.AttrInt64("linear_before_reset", 1))
    attributes += activation_attributes((cell.gate, cell.candidate), ("Sigmoid", "Tanh"))
    for attribute in attributes:
        gru.attributes[attribute.name] = attribute
