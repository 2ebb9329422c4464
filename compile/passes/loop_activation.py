"""Activations in the body of a recurrent loop, and what ONNX' recurrent operators call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_algebra import commuted
from neoc.compile.passes.loop_invariants import through_identity


@dataclass(frozen=True)
class Activation:
    """A function of the table in ONNX' definition of GRU, LSTM and RNN."""

    name: str
    alpha: float | None = None
    beta: float | None = None


def activation_attributes(functions: Sequence[Activation], defaults: Sequence[str]) -> list[ir.Attr]:
    """The attributes of a recurrent operator with such functions; none where they are its defaults."""
    if [f.name for f in functions] == list(defaults):
        return []
    alphas = [f.alpha for f in functions if f.alpha is not None]
    betas = [f.beta for f in functions if f.beta is not None]
    made: list[ir.Attr] = [ir.AttrStrings("activations", [f.name for f in functions])]
    made += [ir.AttrFloat32s("activation_alpha", alphas)] if alphas else []
    return made + ([ir.AttrFloat32s("activation_beta", betas)] if betas else [])


_PLAIN = {"Sigmoid", "Tanh", "Relu", "Softsign", "Softplus"}


def match_activation(value: ir.Value) -> tuple[Activation, ir.Value] | None:
    """(function, its argument); None where `value` is none that recurrent operators know."""
    inner = through_identity(value)
    node = None if inner is None else inner.producer()
    if node is None or node.domain != g.ONNX or node.inputs[0] is None:
        return None
    if node.op_type in _PLAIN:
        return Activation(node.op_type), node.inputs[0]
    if node.op_type == "HardSigmoid":
        alpha, beta = (node.attributes.get(name) for name in ("alpha", "beta"))
        function = Activation(
            "HardSigmoid", 0.2 if alpha is None else alpha.as_float(), 0.5 if beta is None else beta.as_float()
        )
        return function, node.inputs[0]
    return _clipped(node)


def _clipped(node: ir.Node) -> tuple[Activation, ir.Value] | None:
    """max(0, min(1, a x + b)) as Keras 3 writes it, Clip(x + 3, 0, 6) / 6, or Keras 2, Clip(x / 5 + .5, 0, 1)."""
    scale, clip = 1.0, node
    if node.op_type in ("Mul", "Div"):
        found = _scaled(node)
        if found is None:
            return None
        scale, inner = found
        producer = inner.producer()
        if producer is None:
            return None
        clip = producer
    limits = _limits(clip)
    if limits is None or clip.inputs[0] is None:
        return None
    low, high = (np.float32(limit) * np.float32(scale) for limit in limits)
    alpha, beta, argument = _line(clip.inputs[0])
    if low != 0 or not np.isclose(high, 1, rtol=1e-6) or alpha <= 0:
        return None
    return Activation("HardSigmoid", float(np.float32(scale * alpha)), float(np.float32(scale * beta))), argument


def _limits(node: ir.Node) -> tuple[float, float] | None:
    if node.op_type != "Clip" or node.domain != g.ONNX:
        return None
    low, high = (_number(node.inputs[i]) if i < len(node.inputs) else None for i in (1, 2))
    return None if low is None or high is None else (low, high)


def _line(value: ir.Value) -> tuple[float, float, ir.Value]:
    """(a, b, x) with value = a x + b; (1, 0, value) where it is not written as such."""
    beta, alpha = 0.0, 1.0
    for constant, other in commuted(value, "Add"):
        number = _number(constant)
        if number is not None:
            beta, value = number, other
            break
    node = value.producer()
    if node is not None and node.domain == g.ONNX and node.op_type in ("Mul", "Div"):
        found = _scaled(node)
        if found is not None:
            alpha, value = found
    return alpha, beta, value


def _scaled(node: ir.Node) -> tuple[float, ir.Value] | None:
    """(a, x) of a x or x / a with a number a."""
    if node.op_type == "Div":
        number = _number(node.inputs[1])
        return None if not number or node.inputs[0] is None else (1 / number, node.inputs[0])
    for constant, other in commuted(node.outputs[0], "Mul"):
        number = _number(constant)
        if number is not None:
            return number, other
    return None


def _number(value: ir.Value | None) -> float | None:
    array = g.constant_array(value, 1)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind == "f" else None
