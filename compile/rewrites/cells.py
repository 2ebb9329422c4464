"""Reading one step of an LSTM or a GRU out of ordinary operators, however its products and gates are arranged.

    i, f, o = s(x W + h R + b)   g = t(x W + h R + b)      c' = f c + i g      h' = o t(c')
    z, r = s(x W + h R + b)      n = t(x W + r (h R + c))  h' = z h + (1 - z) n    or    n + z (h - n)

Weights come out as the rows that ONNX's operators take: i o f c, and z r n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_activation import Activation, match_activation
from neoc.compile.passes.loop_algebra import affine, commuted, cut, terms
from neoc.compile.passes.loop_invariants import through_identity
from neoc.compile.passes.loop_to_gru import CellReader, is_complement

Operand = tuple[ir.Value, np.ndarray]
"""a value [batch, n] and the matrix [n, gates * hidden] that it is multiplied by"""


@dataclass(frozen=True)
class CellStep:
    """One step. `operands`: the input and the state, in an order that only a chain of steps tells."""

    kind: str
    operands: tuple[Operand, ...]
    bias: np.ndarray
    """of an LSTM [4 hidden]; of a GRU [6 hidden], of the inputs and of the state"""
    functions: tuple[Activation, ...]
    states: tuple[ir.Value, ...]
    """before the step: of an LSTM c, of a GRU h"""
    results: tuple[ir.Value, ...]
    """behind it: h', and of an LSTM c'"""
    reset_after: bool = False

    @property
    def hidden(self) -> int:
        return int(self.operands[0][1].shape[1]) // (4 if self.kind == "LSTM" else 3)

    def alike(self, other: CellStep) -> bool:
        """Whether both have one bias and the same functions; their matrices are compared where operands are told."""
        same = (self.kind, self.functions, self.reset_after) == (other.kind, other.functions, other.reset_after)
        return same and self.bias.shape == other.bias.shape and bool(np.allclose(self.bias, other.bias, 1e-6, 1e-7))


def read(value: ir.Value | None) -> CellStep | None:
    """The step whose new hidden state is `value`."""
    inner = through_identity(value)
    node = None if inner is None else inner.producer()
    if inner is None or node is None or node.domain != g.ONNX:
        return None
    return {"Mul": _lstm, "Add": _gru}.get(node.op_type, lambda _: None)(inner)


# ---- LSTM ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gate:
    function: Activation
    operands: tuple[Operand, ...]
    bias: np.ndarray


def _lstm(value: ir.Value) -> CellStep | None:
    for gate, squashed in commuted(value, "Mul"):
        o, after = _gate(gate), match_activation(squashed)
        if o is None or after is None:
            continue
        state = through_identity(after[1])
        found = None if state is None else _cell_state(state)
        if found is None:
            continue
        i, f, new, before = found
        gates = (i, o, f, new)
        if len({gate.function for gate in (i, o, f)}) > 1 or not _same_operands(gates):
            continue
        operands = tuple(
            (operand, np.concatenate([gate.operands[k][1] for gate in gates], axis=1))
            for k, (operand, _) in enumerate(i.operands)
        )
        bias = np.concatenate([gate.bias for gate in gates])
        assert state is not None
        return CellStep("LSTM", operands, bias, (i.function, new.function, after[0]), (before,), (value, state))
    return None


def _cell_state(value: ir.Value) -> tuple[_Gate, _Gate, _Gate, ir.Value] | None:
    """(i, f, g, c) of c' = f c + i g."""
    for kept, added in commuted(value, "Add"):
        for forget, before in commuted(kept, "Mul"):
            f = _gate(forget)
            if f is None:
                continue
            for opened, candidate in commuted(added, "Mul"):
                i, new = _gate(opened), _gate(candidate)
                if i is not None and new is not None and i.function == f.function:
                    inner = through_identity(before)
                    if inner is not None:
                        return i, f, new, inner
    return None


def _gate(value: ir.Value) -> _Gate | None:
    """f(sum of products and a vector): of a sum that was cut before the function, or behind it."""
    low, high, inner = 0, None, value
    found = match_activation(value)
    if found is None:
        plain = through_identity(value)
        node = None if plain is None else plain.producer()
        part = None if node is None or plain is None or node.domain != g.ONNX else cut(node, plain)
        if part is None:
            return None
        inner, low, high = part
        found = match_activation(inner)
    parts = None if found is None else affine(terms(found[1], low, high))
    if found is None or parts is None or parts.rest:
        return None
    operands = [pair for product in parts.products for pair in _apart(*product)]
    operands.sort(key=lambda pair: id(pair[0]))
    if len({id(operand) for operand, _ in operands}) != len(operands):
        return None
    return _Gate(found[0], tuple(operands), parts.bias)


def products_of(value: ir.Value) -> list[Operand]:
    """The operands of `value` that are multiplied by fixed matrices; none where it is no such sum."""
    parts = affine(terms(value))
    return [] if parts is None else [pair for product in parts.products for pair in _apart(*product)]


def _apart(operand: ir.Value, matrix: np.ndarray) -> Iterator[Operand]:
    """[a b] @ [A; B] = a @ A + b @ B, where the operand is such a concatenation."""
    inner = through_identity(operand)
    node = None if inner is None else inner.producer()
    assert inner is not None
    widths = _widths(node) if node is not None and node.op_type == "Concat" and node.domain == g.ONNX else None
    if node is None or widths is None or sum(widths) != len(matrix):
        yield inner, matrix
        return
    low = 0
    for value, width in zip(node.inputs, widths, strict=True):
        inner = through_identity(value)
        assert inner is not None
        yield inner, matrix[low : low + width]
        low += width


def _widths(node: ir.Node) -> list[int] | None:
    """Of what a Concat along the last axis of matrices joins."""
    if g.attribute_int(node, "axis", 0) not in (1, -1):
        return None
    sizes = [None if v is None or v.shape is None or len(v.shape) != 2 else v.shape[1] for v in node.inputs]
    return [s for s in sizes if isinstance(s, int)] if all(isinstance(s, int) for s in sizes) else None


def _same_operands(gates: Sequence[_Gate]) -> bool:
    first = gates[0]
    hidden = first.bias.size
    return all(
        [id(v) for v, _ in gate.operands] == [id(v) for v, _ in first.operands]
        and gate.bias.size == hidden
        and all(a.shape == b.shape for (_, a), (_, b) in zip(gate.operands, first.operands, strict=True))
        for gate in gates
    )


# ---- GRU -----------------------------------------------------------------------------------------


def _gru(value: ir.Value) -> CellStep | None:
    for update, candidate, previous in _blends(value):
        before = through_identity(previous)
        found = None if before is None else CellReader(before).gated(update, candidate)
        if found is None or before is None:
            continue
        x = through_identity(found.sequence)
        assert x is not None
        operands = ((x, found.weights.T), (before, found.recurrence.T))
        functions = (found.gate, found.candidate)
        return CellStep("GRU", operands, found.biases, functions, (before,), (value,), found.reset_after)
    return None


def _blends(value: ir.Value) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
    """(z, n, h) of z h + (1 - z) n, and of n + z (h - n)."""
    for one, other in commuted(value, "Add"):
        for update, kept in commuted(one, "Mul"):
            for complement, candidate in commuted(other, "Mul"):
                if is_complement(complement, update):
                    yield update, candidate, kept
            yield from _difference(update, kept, other)


def _difference(update: ir.Value, kept: ir.Value, other: ir.Value) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
    """(z, n, h) where `kept` is h - n and `other` n."""
    node = kept.producer()
    if node is None or node.op_type != "Sub" or node.domain != g.ONNX:
        return
    previous, candidate = node.inputs
    if previous is not None and candidate is not None and through_identity(candidate) is through_identity(other):
        yield update, candidate, previous
