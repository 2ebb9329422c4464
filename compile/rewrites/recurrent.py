"""What the rules about LSTM and GRU share: the numbers of one node, its guards, and one step written out.

Gates lie in ONNX's order, i o f c in an LSTM and z r n in a GRU, as rows of W [directions, gates * hidden, inputs], R
[directions, gates * hidden, hidden] and B [directions, 2 * gates * hidden] (of W, then of R).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.rewrites.conv import DTYPE, LIMIT
from neoc.compile.rewrites.rule import Editor, Guard, Site

GATES = {"LSTM": 4, "GRU": 3}
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
OPERATORS = frozenset(GATES)
OPSET = 13
"""Split takes its sizes as an input from here on"""

State = tuple[ir.Value | None, ...]
"""of an LSTM h and c, of a GRU h, each [batch, hidden]; None: zeros"""


@dataclass(frozen=True)
class Recurrent:
    """One LSTM or GRU with fixed weights, its defaults written out."""

    kind: str
    x: ir.Value
    """[steps, batch, inputs], or [batch, steps, inputs] where `batch_first`"""
    w: np.ndarray
    r: np.ndarray
    b: np.ndarray
    """zeros where the node has none"""
    lengths: ir.Value | None
    initial: State
    peepholes: ir.Value | None
    direction: str
    activations: list[str]
    clip: float | None
    input_forget: bool
    reset_after: bool
    """of a GRU: linear_before_reset"""
    batch_first: bool
    steps: int | None
    """None: only a run tells"""

    @property
    def hidden(self) -> int:
        return int(self.r.shape[-1])

    @property
    def inputs(self) -> int:
        return int(self.w.shape[-1])

    @property
    def key(self) -> str:
        return f"{self.kind.lower()}{self.inputs}x{self.hidden}"

    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W [inputs, gates * hidden], R [hidden, gates * hidden], B [2, gates * hidden], of the only direction."""
        return self.w[0].T, self.r[0].T, self.b[0].reshape(2, -1)


def find_recurrent(node: ir.Node, opset: int) -> Site | None:
    """An LSTM or GRU with fixed weights, whatever its attributes say; all of its outputs that are read are remade."""
    given = [*node.inputs, *[None] * 8][:8]
    x, w, r, b, lengths, h, c, p = given
    tensors = [g.constant(value) for value in (w, r, b)]
    if x is None or x.shape is None or len(x.shape) != 3 or tensors[0] is None or tensors[1] is None:
        return None
    if (b is not None and tensors[2] is None) or tensors[0].size + tensors[1].size > LIMIT:
        return None
    weights, recurrence = tensors[0].numpy(), tensors[1].numpy()
    bias = np.zeros((len(weights), 2 * weights.shape[1]), weights.dtype) if tensors[2] is None else tensors[2].numpy()
    batch_first = bool(g.attribute_int(node, "layout", 0))
    steps = x.shape[1 if batch_first else 0]
    names = node.attributes.get("activations")
    clip = node.attributes.get("clip")
    direction = node.attributes.get("direction")
    found = Recurrent(
        node.op_type,
        x,
        weights,
        recurrence,
        bias,
        lengths,
        (h, c) if node.op_type == "LSTM" else (h,),
        p,
        "forward" if direction is None else direction.as_string(),
        DEFAULTS[node.op_type] * len(weights) if names is None else list(names.as_strings()),
        None if clip is None else clip.as_float(),
        bool(g.attribute_int(node, "input_forget", 0)),
        bool(g.attribute_int(node, "linear_before_reset", 0)),
        batch_first,
        steps if isinstance(steps, int) else None,
    )
    used = tuple(value for value in node.outputs if g.is_used(value))
    return Site(node, opset, facts={"cell": found}, remade=used)


def _plain_activations(site: Site) -> bool:
    cell: Recurrent = site["cell"]
    return [name.lower() for name in cell.activations] == [f.lower() for f in DEFAULTS[cell.kind]] * len(cell.w)


def guard(name: str, holds: Callable[[Recurrent], bool]) -> Guard:
    return Guard(name, lambda site: holds(site["cell"]))


PLAIN = (
    Guard("activations", _plain_activations),
    guard("clip", lambda cell: cell.clip is None),
    guard("peepholes", lambda cell: cell.peepholes is None),
    guard("input_forget", lambda cell: not cell.input_forget),
    guard("lengths", lambda cell: cell.lengths is None),
    guard("directions", lambda cell: len(cell.w) == 1),
)
"""what a cell must be for `step` to say what it computes"""
FLOAT = DTYPE


# ---- one step ------------------------------------------------------------------------------------


def lstm_gates(editor: Editor, gates: ir.Value, cell: ir.Value | None, hidden: int) -> tuple[ir.Value, ir.Value]:
    """(h', c') of gates [..., 4 hidden] before their functions and of c; None: zeros.

    c' = sigmoid(f) c + sigmoid(i) tanh(g),  h' = sigmoid(o) tanh(c')
    """
    smooth, new = editor.ops("Split", 2, gates, editor.ints(3 * hidden, hidden), axis=-1)
    opened = editor.op("Sigmoid", smooth)
    i, o, f = editor.ops("Split", 3, opened, editor.ints(hidden, hidden, hidden), axis=-1)
    after = editor.op("Mul", i, editor.op("Tanh", new))
    if cell is not None:
        after = editor.op("Add", editor.op("Mul", f, cell), after)
    return editor.op("Mul", o, editor.op("Tanh", after)), after


def gru_gates(
    editor: Editor,
    update_reset: ir.Value,
    candidate: Callable[[ir.Value], ir.Value],
    state: ir.Value | None,
    hidden: int,
) -> ir.Value:
    """h' of z and r [..., 2 hidden] before their function; `candidate`: n before its function, of the reset gate.

    h' = (1 - z) n + z h = n + z (h - n)
    """
    z, r = editor.ops("Split", 2, editor.op("Sigmoid", update_reset), editor.ints(hidden, hidden), axis=-1)
    new = editor.op("Tanh", candidate(r))
    if state is None:
        return editor.op("Sub", new, editor.op("Mul", z, new))
    return editor.op("Add", new, editor.op("Mul", z, editor.op("Sub", state, new)))


def product(editor: Editor, *pairs: tuple[ir.Value | None, np.ndarray], bias: np.ndarray, joined: bool) -> ir.Value:
    """The sum of a @ m over the pairs and a bias; None: zeros. `joined`: one product of what is concatenated."""
    there = [(value, matrix) for value, matrix in pairs if value is not None]
    if joined or len(there) == 1:
        values = [value for value, _ in there]
        whole = values[0] if len(values) == 1 else editor.op("Concat", *values, axis=1)
        return editor.op("Gemm", whole, editor.const(np.concatenate([m for _, m in there])), editor.const(bias))
    (first, matrix), *rest = there
    total = editor.op("Gemm", first, editor.const(matrix), editor.const(bias))
    for value, matrix in rest:
        total = editor.op("Add", total, editor.op("MatMul", value, editor.const(matrix)))
    return total


def step_of_inputs(editor: Editor, cell: Recurrent, x: ir.Value, state: State, joined: bool) -> tuple[ir.Value, ...]:
    """The next state of x [batch, inputs] and the last one."""
    w, r, b = cell.weights()
    hidden, h = cell.hidden, state[0]
    if cell.kind == "LSTM":
        return lstm_gates(editor, product(editor, (x, w), (h, r), bias=b.sum(0), joined=joined), state[1], hidden)
    two = 2 * hidden
    if cell.reset_after and h is not None:
        # z, r, the candidate's two summands: of x alone and of h alone, which the reset gate lies between
        blank = np.zeros_like
        left = np.concatenate([w, blank(w[:, two:])], axis=1)
        right = np.concatenate([r[:, :two], blank(r[:, two:]), r[:, two:]], axis=1)
        bias = np.concatenate([b.sum(0)[:two], b[0, two:], b[1, two:]])
        if joined:
            whole = product(editor, (x, left), (h, right), bias=bias, joined=True)
            zr, xn, hn = editor.ops("Split", 3, whole, editor.ints(two, hidden, hidden), axis=1)
        else:
            xs = product(editor, (x, w), bias=b[0], joined=False)
            hs = product(editor, (h, r), bias=b[1], joined=False)
            xzr, xn = editor.ops("Split", 2, xs, editor.ints(two, hidden), axis=1)
            hzr, hn = editor.ops("Split", 2, hs, editor.ints(two, hidden), axis=1)
            zr = editor.op("Add", xzr, hzr)
        return (gru_gates(editor, zr, lambda reset: editor.op("Add", xn, editor.op("Mul", reset, hn)), h, hidden),)
    zr = product(editor, (x, w[:, :two]), (h, r[:, :two]), bias=b.sum(0)[:two], joined=joined)

    def candidate(reset: ir.Value) -> ir.Value:
        bias = b.sum(0)[two:]
        if h is None and cell.reset_after:  # the state is zeros, its bias is not
            inner = editor.op("Mul", reset, editor.const(b[1, two:]))
            return editor.op("Add", product(editor, (x, w[:, two:]), bias=b[0, two:], joined=False), inner)
        kept = None if h is None else editor.op("Mul", reset, h)
        return product(editor, (x, w[:, two:]), (kept, r[:, two:]), bias=bias, joined=joined)

    return (gru_gates(editor, zr, candidate, h, hidden),)


def step_of_products(editor: Editor, cell: Recurrent, xw: ir.Value, state: State) -> tuple[ir.Value, ...]:
    """The next state of x W and its biases [..., gates * hidden], as `products` has them, and the last state."""
    _, r, b = cell.weights()
    hidden, h, two = cell.hidden, state[0], 2 * cell.hidden
    if cell.kind == "LSTM":
        gates = xw if h is None else editor.op("Add", xw, editor.op("MatMul", h, editor.const(r)))
        return lstm_gates(editor, gates, state[1], hidden)
    xzr, xn = editor.ops("Split", 2, xw, editor.ints(two, hidden), axis=-1)
    own = editor.const(b[1, two:])
    if h is None:

        def candidate(reset: ir.Value) -> ir.Value:
            return editor.op("Add", xn, editor.op("Mul", reset, own) if cell.reset_after else own)

        return (gru_gates(editor, xzr, candidate, None, hidden),)
    if cell.reset_after:
        hzr, hn = editor.ops("Split", 2, editor.op("MatMul", h, editor.const(r)), editor.ints(two, hidden), axis=-1)
        hn = editor.op("Add", hn, own)
        zr = editor.op("Add", xzr, hzr)
        return (gru_gates(editor, zr, lambda reset: editor.op("Add", xn, editor.op("Mul", reset, hn)), h, hidden),)
    zr = editor.op("Add", xzr, editor.op("MatMul", h, editor.const(r[:, :two])))

    def inner(reset: ir.Value) -> ir.Value:
        kept = editor.op("MatMul", editor.op("Mul", reset, h), editor.const(r[:, two:]))
        return editor.op("Add", xn, editor.op("Add", kept, own))

    return (gru_gates(editor, zr, inner, h, hidden),)


def products(editor: Editor, cell: Recurrent, x: ir.Value) -> ir.Value:
    """x W for every step at once [steps, batch, gates * hidden], with all biases but a candidate's of the state."""
    w, _, b = cell.weights()
    bias = b.sum(0)
    if cell.kind == "GRU":
        bias[2 * cell.hidden :] = b[0, 2 * cell.hidden :]
    return editor.op("Add", editor.op("MatMul", x, editor.const(w)), editor.const(bias))
