"""LSTM, GRU and RNN. The product of the whole sequence with W is one matrix product; the steps follow.

Up to UNROLLED steps are written out; a longer sequence becomes a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.ops.activations import (
    clamped,
    elu,
    hard_sigmoid,
    leaky_relu,
    sigmoid,
    softplus,
    softsign,
)
from neoc.targets.engines.neuron.table import FLOATS, In, Op, Rule, Xla

Array = Any
Activation = Callable[[Xla, Array], Array]
Step = Callable[[tuple[Array, ...], Array], tuple[Array, ...]]
"""(state, product of one step's input with W) -> next state; the first of the state is the hidden one"""

UNROLLED = 32

_PLAIN: dict[str, Activation] = {
    "sigmoid": sigmoid,
    "tanh": lambda j, x: j.np.tanh(x),
    "relu": lambda j, x: j.np.maximum(x, 0),
    "softsign": softsign,
    "softplus": softplus,
}
_ALPHAS: dict[str, tuple[float, Callable[[Xla, Array, float], Array]]] = {
    "leakyrelu": (0.01, leaky_relu),
    "elu": (1.0, elu),
}
"""name -> default of alpha, function"""

_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def activation_names(c: Call) -> list[str]:
    """One for each function of each direction, in lower case."""
    names = c.attribute("activations") or _DEFAULTS[c.operator] * len(directions(c))
    return [str(name).lower() for name in names]


def directions(c: Call) -> tuple[bool, ...]:
    """Whether each direction runs backwards."""
    return {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[
        c.attribute("direction", "forward")
    ]


def _activations(c: Call) -> list[Activation]:
    """Alphas and betas are taken in turn by the functions that have them."""
    alphas, betas = iter(c.attribute("activation_alpha", ())), iter(c.attribute("activation_beta", ()))
    return [_activation(name, alphas, betas) for name in activation_names(c)]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    if name in _PLAIN:
        return _PLAIN[name]
    if name == "hardsigmoid":
        alpha, beta = next(alphas, 0.2), next(betas, 0.5)
        return lambda j, x: hard_sigmoid(j, x, alpha, beta)
    default, f = _ALPHAS[name]
    chosen = next(alphas, default)
    return lambda j, x: f(j, x, chosen)


def _lower(c: Call, j: Xla, *given: Array) -> tuple[Array, ...]:
    x, w, r, b, lengths, h0, c0, p = [*given, *[None] * 8][:8]
    batch_first = bool(c.attribute("layout", 0))
    x = j.np.swapaxes(x, 0, 1) if batch_first else x
    hidden, batch, per = r.shape[-1], x.shape[1], len(_DEFAULTS[c.operator])
    functions = _activations(c)
    results = []
    for d, backwards in enumerate(directions(c)):
        bias = j.np.zeros((2 * _GATES[c.operator] * hidden,), x.dtype) if b is None else b[d]
        wb, rb = j.np.split(bias, 2)
        inputs = j.np.matmul(_backwards(j, x, lengths) if backwards else x, w[d].T) + wb
        states = [None if s is None else (s[:, d] if batch_first else s[d]) for s in (h0, c0)]
        start = [j.np.zeros((batch, hidden), x.dtype) if s is None else s for s in states]
        fs = functions[d * per : (d + 1) * per]
        step = _STEPS[c.operator](c, j, fs, r[d], rb, None if p is None else p[d])
        begin = tuple(start[: 2 if c.operator == "LSTM" else 1])
        last, ys = run_steps(j, *_until(j, step, inputs, lengths), begin)
        results.append((_backwards(j, ys, lengths) if backwards else ys, *last))
    columns = list(zip(*results, strict=True))
    y = j.np.stack(columns[0], 1)  # (steps, directions, batch, hidden)
    ends = [j.np.stack(column, 0) for column in columns[1:]]  # (directions, batch, hidden)
    if batch_first:
        y, ends = y.transpose(2, 0, 1, 3), [j.np.swapaxes(e, 0, 1) for e in ends]
    return (y, *ends)


def run_steps(
    j: Xla,
    step: Callable[[tuple[Array, ...], tuple[Array, ...]], tuple[tuple[Array, ...], Array]],
    inputs: tuple[Array, ...],
    state: tuple[Array, ...],
) -> tuple[tuple[Array, ...], Array]:
    """(last state, outputs of all steps) of `step`: (state, the inputs' slices at one step) -> (state, output)."""
    count = inputs[0].shape[0]
    if count > UNROLLED:
        last, ys = j.lax.scan(step, state, inputs)
        return last, ys
    outputs = []
    for t in range(count):
        state, y = step(state, tuple(x[t] for x in inputs))
        outputs.append(y)
    return state, j.np.stack(outputs)


def _until(j: Xla, step: Step, inputs: Array, lengths: Array | None) -> tuple[Any, tuple[Array, ...]]:
    """The step as run_steps takes it, and its inputs. A sequence that has ended keeps its state and gives 0."""
    if lengths is None:
        return (lambda state, x: ((new := step(state, x[0])), new[0])), (inputs,)

    def masked(state: tuple[Array, ...], x: tuple[Array, ...]) -> tuple[tuple[Array, ...], Array]:
        running = x[1][:, None]
        new = step(state, x[0])
        kept = tuple(j.np.where(running, a, b) for a, b in zip(new, state, strict=True))
        return kept, j.np.where(running, new[0], 0)

    shape = inputs.shape[:2]
    return masked, (inputs, j.lax.broadcasted_iota(lengths.dtype, shape, 0) < lengths[None, :])


def _backwards(j: Xla, x: Array, lengths: Array | None) -> Array:
    """x (steps, batch, ...) in reverse: of each sequence the steps that it has."""
    if lengths is None:
        return j.np.flip(x, 0)
    steps = j.lax.broadcasted_iota(lengths.dtype, x.shape[:2], 0)
    index = j.np.where(steps < lengths, lengths - 1 - steps, steps)
    return j.np.take_along_axis(x, index[:, :, None], 0, mode="clip")


def _clipper(c: Call, j: Xla) -> Callable[[Array], Array]:
    bound = c.attribute("clip")
    return (lambda x: x) if bound is None else (lambda x: clamped(j, x, -bound, bound))


def _lstm(c: Call, j: Xla, fs: list[Activation], r: Array, rb: Array, p: Array | None) -> Step:
    """i, f = f(gates + peepholes * C); c = g(gate); C' = f C + i c; o = f(gate + peephole * C'); H' = o h(C')"""
    f, g, h = fs
    clip = _clipper(c, j)

    def step(state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
        before, cell = state
        i, o, forget, new = j.np.split(x + j.np.matmul(before, r.T) + rb, 4, axis=-1)
        pi, po, pf = (0, 0, 0) if p is None else j.np.split(p, 3)
        i = f(j, clip(i + pi * cell))
        forget = 1 - i if c.attribute("input_forget", 0) else f(j, clip(forget + pf * cell))
        cell = forget * cell + i * g(j, clip(new))
        return f(j, clip(o + po * cell)) * h(j, cell), cell

    return step


def _gru(c: Call, j: Xla, fs: list[Activation], r: Array, rb: Array, p: Array | None) -> Step:
    """z, r = f(gates); h = g(gate with the reset state); H' = (1 - z) h + z H"""
    f, g = fs
    clip = _clipper(c, j)
    rz, rr, rh = j.np.split(r, 3)
    bz, br, bh = j.np.split(rb, 3)

    def step(state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
        (before,) = state
        xz, xr, xh = j.np.split(x, 3, axis=-1)
        z = f(j, clip(xz + j.np.matmul(before, rz.T) + bz))
        reset = f(j, clip(xr + j.np.matmul(before, rr.T) + br))
        if c.attribute("linear_before_reset", 0):
            new = reset * (j.np.matmul(before, rh.T) + bh)
        else:
            new = j.np.matmul(reset * before, rh.T) + bh
        return ((1 - z) * g(j, clip(xh + new)) + z * before,)

    return step


def _rnn(c: Call, j: Xla, fs: list[Activation], r: Array, rb: Array, p: Array | None) -> Step:
    (f,) = fs
    clip = _clipper(c, j)

    def step(state: tuple[Array, ...], x: Array) -> tuple[Array, ...]:
        return (f(j, clip(x + j.np.matmul(state[0], r.T) + rb)),)

    return step


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


_RULES = (
    Rule(
        lambda c: bool(set(activation_names(c)) - {*_PLAIN, *_ALPHAS, "hardsigmoid"}),
        "one of its activations is not lowered",
        "use Sigmoid, Tanh, Relu, HardSigmoid, LeakyRelu, Elu, Softsign or Softplus",
    ),
    Rule(lambda c: 0 in c.shape(), "an empty sequence cannot be lowered"),
)
_LENGTHS = In(frozenset({"int32"}))
_F = In(FLOATS)


def _row(name: str, oldest: int, outputs: int) -> Op:
    return Op(name, (oldest, 22), (_F, _F, _F, _F, _LENGTHS, _F), _lower, outputs=outputs, rules=_RULES)


OPS = (_row("GRU", 7, 2), _row("LSTM", 7, 3), _row("RNN", 7, 2))
