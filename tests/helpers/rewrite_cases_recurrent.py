"""Recurrent programs that rules rewrite, and those that break one guard each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


# ---- steps written out ---------------------------------------------------------------------------


def chain(
    kind: str = "LSTM",
    steps: int = 3,
    *,
    form: str = "torch",
    opset: int = 17,
    dtype: str = "float",
    batch: str = "2",
    first: str = "2",
    spoiler: str = "",
    stacked: bool = True,
) -> Make:
    """Cells as frameworks leave them: 'torch' (a product each, gates cut before their functions), 'joined' (one product
    of [x h], functions before the cut), 'gates' (products for every gate). Outputs: the last states, all stacked."""
    random = np.random.default_rng(0)
    real = "float32" if dtype == "float" else "float64"
    count = GATES[kind]
    w, r = (random.uniform(-0.9, 0.9, (n, count * HIDDEN)).astype(real) for n in (INPUTS, HIDDEN))
    bx, bh = (random.uniform(-0.9, 0.9, count * HIDDEN).astype(real) for _ in range(2))
    tensors: dict[str, np.ndarray] = {"k": random.uniform(-1, 1, (HIDDEN, INPUTS)).astype(real)}
    lines = [f"x{t} = Identity(i{t})" for t in range(1, steps + 1)]
    if spoiler == "feedback":
        lines[1:] = [f"x{t} = MatMul(h{t - 1}, k)" for t in range(2, steps + 1)]
    nodes: list[str] = lines[:1]
    for t in range(1, steps + 1):
        nodes += lines[t - 1 : t] if t > 1 else []
        if spoiler == "other weights" and t == 2:
            tensors |= _parts(kind, form, w + 1, r, bx, bh, "q")
        prefix = "q" if spoiler == "other weights" and t == 2 else ""
        tensors |= _parts(kind, form, w, r, bx, bh, "")
        nodes += (_lstm_step if kind == "LSTM" else _gru_step)(form, t, prefix, opset)
    outputs = [f"h{steps}", f"c{steps}"][: 2 if kind == "LSTM" else 1]
    if spoiler == "cells":
        outputs.append("c1")
    if stacked:
        nodes += [f"u{t} = Unsqueeze(h{t}, one)" for t in range(1, steps + 1)]
        nodes.append(f"all = Concat <axis = 1> ({', '.join(f'u{t}' for t in range(1, steps + 1))})")
        outputs.append("all")
        tensors["one"] = np.array([1])
    nodes.append("extra = Neg(h1)")
    inputs = [f"{dtype}[{batch},{INPUTS}] i{t}" for t in range(1, steps + 1)]
    inputs += [f"{dtype}[{first},{HIDDEN}] {name}0" for name in ("h", "c")[: 2 if kind == "LSTM" else 1]]
    text = " ".join(nodes)
    used = {name: a for name, a in tensors.items() if f" {name})" in text or f" {name}," in text or f"({name}," in text}
    if opset < 13:
        used.pop("s", None)
        used.pop("one", None)
    results = ", ".join(f"{dtype} {name}" for name in [*outputs, "extra"])
    return lambda: apply(graph(f"({', '.join(inputs)}) => ({results}) {{ {text} }}", opset, **used), InferShapes())


def _parts(
    kind: str, form: str, w: np.ndarray, r: np.ndarray, bx: np.ndarray, bh: np.ndarray, prefix: str
) -> dict[str, np.ndarray]:
    made = {
        "w": np.ascontiguousarray(w.T), "r": np.ascontiguousarray(r.T), "bx": bx, "bh": bh,
        "wr": np.concatenate([w, r]), "bb": bx + bh, "s": np.array([HIDDEN] * GATES[kind]), "one_": np.ones(1, w.dtype),
        "s2": np.array([3 * HIDDEN, HIDDEN]), "s3": np.array([HIDDEN] * 3),
    }  # fmt: skip
    for n in range(GATES[kind]):
        own = slice(n * HIDDEN, (n + 1) * HIDDEN)
        made |= {f"w{n}": w[:, own].copy(), f"r{n}": r[:, own].copy(), f"b{n}": (bx + bh)[own].copy()}
        made |= {f"bx{n}": bx[own].copy(), f"bh{n}": bh[own].copy()}
    shared = ("s", "s2", "s3", "one_")
    return {(name if name in shared else f"{prefix}{name}"): array for name, array in made.items()}


def _split(outputs: str, value: str, opset: int, sizes: str = "s", parts: int = 4) -> str:
    if opset < 13:
        return f"{outputs} = Split <axis = 1, split = {[HIDDEN] * parts}> ({value})"
    return f"{outputs} = Split <axis = 1> ({value}, {sizes})"


def _lstm_step(form: str, t: int, p: str, opset: int) -> list[str]:
    """Gates in PyTorch's order i f g o, or, joined, i o f g."""
    h, c, gates = f"h{t - 1}", f"c{t - 1}", [f"{n}{t}" for n in ("gi", "gf", "gg", "go")]
    if form == "joined":
        nodes = [
            f"xh{t} = Concat <axis = 1> (x{t}, {h})", f"m{t} = MatMul(xh{t}, {p}wr)", f"a{t} = Add(m{t}, {p}bb)",
            f"l{t}, n{t} = Split <axis = -1> (a{t}, s2)", f"sg{t} = Sigmoid(l{t})",
            f"i{t}_, o{t}_, f{t}_ = Split <axis = -1> (sg{t}, s3)", f"g{t}_ = Tanh(n{t})",
        ]  # fmt: skip
    elif form == "gates":
        nodes = []
        for n, gate in enumerate(gates):
            nodes += [
                f"p{n}_{t} = MatMul({h}, {p}r{n})", f"q{n}_{t} = Add({p}b{n}, p{n}_{t})",
                f"y{n}_{t} = MatMul(x{t}, {p}w{n})", f"{gate} = Add(y{n}_{t}, q{n}_{t})",
            ]  # fmt: skip
    else:
        nodes = [
            f"m{t} = Gemm <transB = 1> (x{t}, {p}w, {p}bx)", f"n{t} = Gemm <transB = 1> ({h}, {p}r, {p}bh)",
            f"a{t} = Add(m{t}, n{t})", _split(", ".join(gates), f"a{t}", opset),
        ]  # fmt: skip
    if form != "joined":
        gi, gf, gg, go = gates
        nodes += [f"i{t}_ = Sigmoid({gi})", f"f{t}_ = Sigmoid({gf})", f"g{t}_ = Tanh({gg})", f"o{t}_ = Sigmoid({go})"]
    return [
        *nodes, f"fc{t} = Mul(f{t}_, {c})", f"ig{t} = Mul(i{t}_, g{t}_)", f"c{t} = Add(fc{t}, ig{t})",
        f"tc{t} = Tanh(c{t})", f"h{t} = Mul(o{t}_, tc{t})",
    ]  # fmt: skip


def _gru_step(form: str, t: int, p: str, opset: int) -> list[str]:
    """PyTorch's order r z n, n + z (h - n); by gates z h + (1 - z) n, the reset before the product."""
    h = f"h{t - 1}"
    if form == "gates":
        nodes = []
        for n, name in enumerate(("z", "r")):
            nodes += [
                f"p{n}_{t} = MatMul({h}, {p}r{n})", f"y{n}_{t} = MatMul(x{t}, {p}w{n})",
                f"q{n}_{t} = Add(y{n}_{t}, p{n}_{t})", f"e{n}_{t} = Add(q{n}_{t}, {p}b{n})",
                f"{name}{t}_ = Sigmoid(e{n}_{t})",
            ]  # fmt: skip
        return [
            *nodes, f"rh{t} = Mul(r{t}_, {h})", f"p2_{t} = MatMul(rh{t}, {p}r2)", f"y2_{t} = MatMul(x{t}, {p}w2)",
            f"q2_{t} = Add(y2_{t}, {p}b2)", f"e2_{t} = Add(q2_{t}, p2_{t})", f"n{t}_ = Tanh(e2_{t})",
            f"k{t}_ = Sub(one_, z{t}_)", f"zh{t} = Mul(z{t}_, {h})", f"kn{t} = Mul(k{t}_, n{t}_)",
            f"h{t} = Add(kn{t}, zh{t})",
        ]  # fmt: skip
    return [
        f"m{t} = Gemm <transB = 1> (x{t}, {p}w, {p}bx)", f"n{t} = Gemm <transB = 1> ({h}, {p}r, {p}bh)",
        _split(f"xr{t}, xz{t}, xn{t}", f"m{t}", opset, "s", 3), _split(f"hr{t}, hz{t}, hn{t}", f"n{t}", opset, "s", 3),
        f"ar{t} = Add(xr{t}, hr{t})", f"az{t} = Add(xz{t}, hz{t})",
        f"r{t}_ = Sigmoid(ar{t})", f"z{t}_ = Sigmoid(az{t})",
        f"rn{t} = Mul(r{t}_, hn{t})", f"an{t} = Add(xn{t}, rn{t})", f"n{t}_ = Tanh(an{t})",
        f"d{t} = Sub({h}, n{t}_)", f"zd{t} = Mul(d{t}, z{t}_)", f"h{t} = Add(zd{t}, n{t}_)",
    ]  # fmt: skip


def chain_guards() -> dict[str, Make]:
    return {
        "dtype": chain(dtype="double"),
        "feedback": chain(spoiler="feedback"),
        "cells": chain(spoiler="cells"),
        "broadcast": chain(first="1"),
        "opset": chain(opset=11, stacked=False),
    }


# ---- loops ---------------------------------------------------------------------------------------


def scan(
    kind: str = "LSTM",
    *,
    form: str = "torch",
    dtype: str = "float",
    shape: str = "3,2",
    first: str = "2",
    attributes: str = "",
    opset: int = 17,
    loop: bool = False,
    swapped: bool = False,
) -> Make:
    """The last states and all hidden ones of a Scan over one cell, or of a Loop with a counter. `swapped`: c first."""
    source = chain(kind, 1, form=form, dtype=dtype, opset=opset, stacked=False)().model.graph
    nodes, tensors = _text(source), {v.name or "": v.const_value.numpy() for v in source.initializers.values()}
    names = ["h", "c"][: 2 if kind == "LSTM" else 1]
    names = names[::-1] if swapped else names
    states = [f"{dtype}[{first},{HIDDEN}] {n}" for n in names]
    inner = [f"{dtype}[{first},{HIDDEN}] {n}0" for n in names]
    laid = f"{dtype}[{first},{HIDDEN}] laid"
    new = [f"{dtype}[{first},{HIDDEN}] {n}1" for n in names]
    last = ", ".join(f"last_{n}" for n in names)
    x = f"{dtype}[{shape},{INPUTS}] x"
    if loop:
        tensors |= {"count": np.array(int(shape.partition(",")[0])), "yes": np.array(True), "zero": np.array(0)}
        tensors["up"] = np.array(1)
        body = f"""body = b (int64 round, bool go, int64 i, {", ".join(inner)})
            => (bool again, int64 j, {", ".join(new)}, {laid}) {{
            again = Identity(go) j = Add(i, up) x1 = Gather <axis = 0> (x, i) {nodes} laid = Identity(h1) }}"""
        call = f"number, {last}, all = Loop <{body}> (count, yes, zero, {', '.join(names)})"
    else:
        row = f"{dtype}[{shape.partition(',')[2]},{INPUTS}] x1"
        body = f"body = b ({', '.join(inner)}, {row}) => ({', '.join(new)}, {laid}) {{ {nodes} laid = Identity(h1) }}"
        form_ = f"num_scan_inputs = 1{f', {attributes}' if attributes else ''}"
        call = f"{last}, all = Scan <{form_}, {body}> ({', '.join(names)}, x)"
    results = ", ".join(f"{dtype} {name}" for name in [*(f"last_{n}" for n in names), "all"])
    text = f"({', '.join([*states, x])}) => ({results}) {{ {call} }}"
    return lambda: apply(graph(text, opset, **tensors), InferShapes())


def _text(cell_graph: Any) -> str:
    """The nodes of one written-out step in ONNX's text form, without what only a chain has."""
    lines = []
    for node in cell_graph:
        if node.op_type in ("Identity", "Neg"):
            continue
        given = {a.name: list(a.value) if isinstance(a.value, tuple) else a.value for a in node.attributes.values()}
        form = ", ".join(f"{name} = {value}" for name, value in given.items())
        left = ", ".join(v.name for v in node.outputs)
        lines.append(f"{left} = {node.op_type}{f' <{form}>' if form else ''}({', '.join(v.name for v in node.inputs)})")
    return " ".join(lines)


def scan_guards() -> dict[str, Make]:
    return {
        "dtype": scan(dtype="double"),
        "axis": scan(shape="2,2", attributes="scan_input_axes = [1]"),
        "direction": scan(attributes="scan_output_directions = [1]"),
        "broadcast": scan(first="1"),
        "opset": scan(opset=11),
    }
