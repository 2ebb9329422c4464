"""LSTM, GRU and RNN of the reference evaluator as the standard has them.

onnx 1.23 leaves out activations, clip, input_forget and sequence_lens, without a word; a judge must not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Function = Callable[[np.ndarray], np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


_FUNCTIONS: dict[str, tuple[tuple[float, ...], Callable[..., np.ndarray]]] = {
    "sigmoid": ((), _sigmoid),
    "tanh": ((), np.tanh),
    "relu": ((), lambda x: np.maximum(x, 0)),
    "softsign": ((), lambda x: x / (1 + np.abs(x))),
    "softplus": ((), lambda x: np.logaddexp(x, 0)),
    "leakyrelu": ((0.01,), lambda x, a: np.where(x < 0, a * x, x)),
    "thresholdedrelu": ((1.0,), lambda x, a: np.where(x > a, x, 0)),
    "elu": ((1.0,), lambda x, a: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x)),
    "affine": ((1.0, 0.0), lambda x, a, b: a * x + b),
    "scaledtanh": ((1.0, 1.0), lambda x, a, b: a * np.tanh(b * x)),
    "hardsigmoid": ((0.2, 0.5), lambda x, a, b: np.clip(a * x + b, 0, 1)),
}
"""name in lower case -> the defaults of alpha and beta, as far as it has them; the function"""


def _functions(names: Sequence[str], alphas: Sequence[float] | None, betas: Sequence[float] | None) -> list[Function]:
    """Alphas and betas are taken in turn by the functions that have them."""
    given = (iter(alphas or ()), iter(betas or ()))
    made: list[Function] = []
    for name in names:
        defaults, function = _FUNCTIONS[name.lower()]
        numbers = [next(values, default) for values, default in zip(given, defaults, strict=False)]
        made.append(partial(_applied, function, numbers))
    return made


def _applied(function: Callable[..., np.ndarray], numbers: Sequence[float], x: np.ndarray) -> np.ndarray:
    return function(x, *numbers)


class _Recurrent(OpRun):
    """Subclasses say how many gates and states there are, and what one step does."""

    gates = 1
    states = 1
    defaults: tuple[str, ...] = ("Tanh",)

    def _step(
        self, f: list[Function], x: np.ndarray, r: np.ndarray, b: np.ndarray, state: list[Any], more: Any
    ) -> list[Any]:
        raise NotImplementedError

    def _recurrence(
        self,
        given: tuple[Any, ...],
        attributes: tuple[Any, Any, Any],
        bound: float | None,
        direction: str | None,
        layout: int | None,
        **more: Any,
    ) -> tuple[Any, ...]:
        x, w, r, b, lengths, initial, peepholes = given
        x = np.swapaxes(x, 0, 1) if layout else x
        steps, batch = x.shape[:2]
        hidden, count = r.shape[-1], len(w)
        names, alphas, betas = attributes
        f = _functions(names or self.defaults * count, alphas, betas)
        lengths = np.full(batch, steps) if lengths is None else lengths
        limit: Function = (lambda v: np.clip(v, -bound, bound)) if bound else (lambda v: v)
        ys, ends = [], []
        for d in range(count):
            backwards = direction == "reverse" or d == 1
            bias = np.zeros(2 * self.gates * hidden, x.dtype) if b is None else b[d]
            begin = [
                np.zeros((batch, hidden), x.dtype) if s is None else (s[:, d] if layout else s[d]) for s in initial
            ]
            own = f[d * len(self.defaults) : (d + 1) * len(self.defaults)]
            p = None if peepholes is None else np.split(peepholes[d], 3)
            step = lambda xt, state, own=own, d=d, bias=bias, p=p: self._step(  # noqa: E731
                own, xt @ w[d].T + bias[: self.gates * hidden], r[d], bias[self.gates * hidden :], state,
                {"limit": limit, "peepholes": p, **more},
            )  # fmt: skip
            y, end = _run_steps(step, x, begin, lengths, backwards)
            ys.append(y)
            ends.append(end)
        whole = np.stack(ys, 1)  # [steps, directions, batch, hidden]
        last = [np.stack([end[k] for end in ends], 0) for k in range(self.states)]
        if layout:
            whole, last = whole.transpose(2, 0, 1, 3), [np.swapaxes(a, 0, 1) for a in last]
        return tuple(a.astype(x.dtype) for a in (whole, *last))[: len(self.onnx_node.output)]


def _run_steps(
    step: Callable[[np.ndarray, list[Any]], list[Any]],
    x: np.ndarray,
    state: list[np.ndarray],
    lengths: np.ndarray,
    backwards: bool,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(every h, 0 behind a sequence's end; the last states). Each sequence runs over the steps that it has."""
    y = np.zeros((*x.shape[:2], state[0].shape[-1]), x.dtype)
    rows = np.arange(x.shape[1])
    for t in range(len(x)):
        running = t < lengths
        place = np.where(running, lengths - 1 - t, 0) if backwards else np.full(len(rows), t)
        new = step(x[place, rows], state)
        state = [np.where(running[:, None], a, b) for a, b in zip(new, state, strict=True)]
        y[place[running], rows[running]] = new[0][running]
    return y, state


class LSTM(_Recurrent):
    gates, states, defaults = 4, 2, ("Sigmoid", "Tanh", "Tanh")

    def _step(
        self, f: list[Function], x: np.ndarray, r: np.ndarray, b: np.ndarray, state: list[Any], more: Any
    ) -> list[Any]:
        h, c = state
        limit, (pi, po, pf) = more["limit"], more["peepholes"] or (0, 0, 0)
        i, o, forget, new = np.split(x + h @ r.T + b, 4, -1)
        i = f[0](limit(i + pi * c))
        forget = 1 - i if more["input_forget"] else f[0](limit(forget + pf * c))
        c = forget * c + i * f[1](limit(new))
        return [f[0](limit(o + po * c)) * f[2](c), c]

    def _run(
        self, X: Any, W: Any, R: Any, B: Any = None, lengths: Any = None, h: Any = None, c: Any = None, P: Any = None,
        activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: Any = None,
        direction: Any = None, hidden_size: Any = None, input_forget: Any = None, layout: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        functions = (activations, activation_alpha, activation_beta)
        given = (X, W, R, B, lengths, (h, c), P)
        return self._recurrence(given, functions, clip, direction, layout, input_forget=input_forget)


class GRU(_Recurrent):
    gates, defaults = 3, ("Sigmoid", "Tanh")

    def _step(
        self, f: list[Function], x: np.ndarray, r: np.ndarray, b: np.ndarray, state: list[Any], more: Any
    ) -> list[Any]:
        (h,), limit = state, more["limit"]
        xz, xr, xn = np.split(x, 3, -1)
        rz, rr, rn = np.split(r, 3)
        bz, br, bn = np.split(b, 3)
        z = f[0](limit(xz + h @ rz.T + bz))
        reset = f[0](limit(xr + h @ rr.T + br))
        inner = reset * (h @ rn.T + bn) if more["reset_after"] else (reset * h) @ rn.T + bn
        return [(1 - z) * f[1](limit(xn + inner)) + z * h]

    def _run(
        self, X: Any, W: Any, R: Any, B: Any = None, lengths: Any = None, h: Any = None,
        activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: Any = None,
        direction: Any = None, hidden_size: Any = None, layout: Any = None, linear_before_reset: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        functions = (activations, activation_alpha, activation_beta)
        given = (X, W, R, B, lengths, (h,), None)
        return self._recurrence(given, functions, clip, direction, layout, reset_after=linear_before_reset)


class RNN(_Recurrent):
    def _step(
        self, f: list[Function], x: np.ndarray, r: np.ndarray, b: np.ndarray, state: list[Any], more: Any
    ) -> list[Any]:
        return [f[0](more["limit"](x + state[0] @ r.T + b))]

    def _run(
        self, X: Any, W: Any, R: Any, B: Any = None, lengths: Any = None, h: Any = None,
        activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None, clip: Any = None,
        direction: Any = None, hidden_size: Any = None, layout: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        functions = (activations, activation_alpha, activation_beta)
        return self._recurrence((X, W, R, B, lengths, (h,), None), functions, clip, direction, layout)
