"""Recurrent programs that rules rewrite, and those that break one guard each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pass_programs import apply, graph

from neoc.compile.passes import InferShapes
from neoc.compile.program import Program

Make = Callable[[], Program]
GATES = {"LSTM": 4, "GRU": 3}
INPUTS, HIDDEN = 3, 4


def weights(kind: str, directions: int = 1, seed: int = 0, inputs: int = INPUTS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = GATES[kind] * HIDDEN
    shapes = {"w": (directions, rows, inputs), "r": (directions, rows, HIDDEN), "b": (directions, 2 * rows)}
    return {name: random.uniform(-0.9, 0.9, shape).astype(np.float32) for name, shape in shapes.items()}


def cell(
    kind: str = "LSTM",
    steps: str = "1",
    attributes: str = "",
    *,
    batch: str = "2",
    directions: int = 1,
    states: bool = True,
    bias: bool = True,
    lengths: bool = False,
    peepholes: bool = False,
    batch_first: bool = False,
    opset: int = 17,
) -> Make:
    """One node that reads x and its states, all of its outputs read."""
    tensors = weights(kind, directions)
    shape = f"{batch},{steps},{INPUTS}" if batch_first else f"{steps},{batch},{INPUTS}"
    state = f"{batch},{directions},{HIDDEN}" if batch_first else f"{directions},{batch},{HIDDEN}"
    inputs, given = [f"float[{shape}] x"], ["x", "w", "r", "b", "", "", "", ""]
    names = ["h", "c"][: 2 if kind == "LSTM" else 1]
    if states:
        inputs += [f"float[{state}] {name}" for name in names]
        given[5 : 5 + len(names)] = names
    if not bias:
        del tensors["b"]
        given[3] = ""
    if lengths:
        tensors["l"], given[4] = np.array([1] * int(batch), np.int32), "l"
    if peepholes:
        tensors["p"], given[7] = np.linspace(-1, 1, directions * 3 * HIDDEN, dtype=np.float32)[None], "p"
    while not given[-1]:
        given.pop()
    outputs = ["y", "yh", "yc"][: 3 if kind == "LSTM" else 2]
    form = f"hidden_size = {HIDDEN}{f', {attributes}' if attributes else ''}{', layout = 1' if batch_first else ''}"
    text = f"""({", ".join(inputs)}) => ({", ".join(f"float {name}" for name in outputs)}) {{
        {", ".join(outputs)} = {kind} <{form}> ({", ".join(given)}) }}"""
    return lambda: apply(graph(text, opset, **tensors), InferShapes())


def plain_guards(steps: str) -> dict[str, Make]:
    """For every guard of recurrent.PLAIN a program that breaks it alone."""
    return {
        "activations": cell(steps=steps, attributes='activations = ["Sigmoid", "Relu", "Tanh"]'),
        "clip": cell(steps=steps, attributes="clip = 0.25"),
        "peepholes": cell(steps=steps, peepholes=True),
        "input_forget": cell(steps=steps, attributes="input_forget = 1"),
        "lengths": cell(steps=steps, lengths=True) if steps != "1" else _no_step(),
        "directions": cell(steps=steps, attributes='direction = "bidirectional"', directions=2),
        "opset": cell(steps=steps, opset=11),
    }


def _no_step() -> Make:
    """A sequence of length 0 among those of one step: its state stays."""
    tensors = weights("LSTM") | {"l": np.array([1, 0], np.int32)}
    text = f"""(float[1,2,{INPUTS}] x, float[1,2,{HIDDEN}] h, float[1,2,{HIDDEN}] c) => (float y, float yh) {{
        y, yh = LSTM <hidden_size = {HIDDEN}> (x, w, r, b, l, h, c) }}"""
    return lambda: apply(graph(text, 17, **tensors), InferShapes())
