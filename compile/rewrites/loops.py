"""A Scan or a Loop whose body is one step of an LSTM or a GRU is the operator.

    Scan(h0, c0, X) {h, c, x -> cell(x, h, c)}      =      LSTM(X, h0, c0)

A Loop does the same with a counter that picks X[i]; the one that is a GRU is brought into normal form by
neoc.compile.passes.loop_to_gru already, because TensorFlow has no other way to write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_activation import activation_attributes
from neoc.compile.passes.loop_invariants import FIRST_RESULT, FIRST_STATE, body_of, through_identity
from neoc.compile.passes.loop_to_gru import CellReader
from neoc.compile.passes.loop_trip import counts_up, runs_to_the_end
from neoc.compile.rewrites import cells
from neoc.compile.rewrites.cells import CellStep
from neoc.compile.rewrites.recurrent import DEFAULTS, OPSET
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

H, C, HISTORY = "h", "c", "history"


@dataclass(frozen=True)
class Looped:
    """A loop over one cell. `outputs`: the loop's own, and which of the operator's each is."""

    step: CellStep
    w: np.ndarray
    r: np.ndarray
    x: ir.Value
    """[steps, batch, inputs]"""
    starts: tuple[ir.Value, ...]
    """h0, and of an LSTM c0"""
    outputs: tuple[tuple[ir.Value, str], ...]
    axes: tuple[int, ...] = (0,)
    """of a Scan: along which inputs are read and results laid down"""
    directions: tuple[int, ...] = (0,)


def _find(node: ir.Node, opset: int) -> Site | None:
    found = _scan(node) if node.op_type == "Scan" else _loop(node)
    if found is None:
        return None
    used = tuple(value for value, _ in found.outputs if g.is_used(value))
    return Site(node, opset, facts={"loop": found}, remade=used)


def _scan(node: ir.Node) -> Looped | None:
    body = node.attributes["body"].as_graph()
    states = len(node.inputs) - 1
    if g.attribute_int(node, "num_scan_inputs", 0) != 1 or None in node.inputs or len(body.inputs) != states + 1:
        return None
    given = [value for value in node.inputs if value is not None]
    told = _told(list(body.inputs[:states]), list(body.outputs[:states]), body.inputs[states])
    if told is None:
        return None
    step, order, w, r = told
    outputs = _outputs(node.outputs, body.outputs[states:], step, order)
    if outputs is None:
        return None
    lists = ("scan_input_axes", "scan_output_axes"), ("scan_input_directions", "scan_output_directions")
    axes, directions = (tuple(v for name in names for v in g.attribute_ints(node, name) or [0]) for names in lists)
    return Looped(step, w, r, given[states], tuple(given[i] for i in order), outputs, axes, directions)


def _loop(node: ir.Node) -> Looped | None:
    """Of a Loop that carries a counter beside the states."""
    body = body_of(node)
    carried = len(node.inputs) - FIRST_STATE
    if body is None or carried != 3:
        return None
    counter = next((i for i in range(carried) if counts_up(node, body, i)), None)
    if counter is None or g.is_used(node.outputs[counter]):
        return None
    places = [i for i in range(carried) if i != counter]
    inner = [body.inputs[FIRST_STATE + i] for i in places]
    told = _told(inner, [body.outputs[FIRST_RESULT + i] for i in places], None)
    if told is None:
        return None
    step, order, w, r = told
    own = {id(value) for value in inner}
    rows = [value for value, _ in step.operands if id(value) not in own]
    x = CellReader(inner[0], body.inputs[FIRST_STATE + counter], body).source(rows[0]) if len(rows) == 1 else None
    starts = [node.inputs[FIRST_STATE + places[i]] for i in order]
    if x is None or None in starts or not runs_to_the_end(node, body, counter, x):
        return None
    results = [node.outputs[i] for i in places] + list(node.outputs[carried:])
    outputs = _outputs(results, body.outputs[FIRST_RESULT + carried :], step, order)
    return None if outputs is None else Looped(step, w, r, x, tuple(s for s in starts if s is not None), outputs)


def _told(
    before: Sequence[ir.Value], after: Sequence[ir.Value], x: ir.Value | None
) -> tuple[CellStep, list[int], np.ndarray, np.ndarray] | None:
    """The cell of a body with such states, the states' places in the order h, c, and the two matrices.

    `x`: the only input that the cell may have; None: any.
    """
    for place, new in enumerate(after):
        step = cells.read(new)
        if step is None or len(step.operands) != 2 or len(before) != len(step.results):
            continue
        order = [place, 1 - place][: len(before)]
        results = [through_identity(after[i]) for i in order]
        states = [before[i] for i in order][-len(step.states) :]
        if list(step.results) != results or list(step.states) != states:
            continue
        ours = [m for v, m in step.operands if v is before[place]]
        theirs = [m for v, m in step.operands if v is not before[place] and (x is None or v is x)]
        if len(ours) == len(theirs) == 1:
            return step, order, theirs[0], ours[0]
    return None


def _outputs(
    given: Sequence[ir.Value], laid: Sequence[ir.Value], step: CellStep, order: Sequence[int]
) -> tuple[tuple[ir.Value, str], ...] | None:
    """What each output of the loop is; None where one that is read is something else."""
    made = [(given[place], name) for place, name in zip(order, (H, C), strict=False)]
    for value, inner in zip(given[len(order) :], laid, strict=True):
        if through_identity(inner) is step.results[0]:
            made.append((value, HISTORY))
        elif g.is_used(value):
            return None
    return tuple(made)


# ---- guards and rewriting ------------------------------------------------------------------------


def _one_batch(site: Site) -> bool:
    """X [steps, batch, inputs] and states [batch, hidden] of one batch: the operator broadcasts no state."""
    loop: Looped = site["loop"]
    if loop.x.shape is None or len(loop.x.shape) != 3:
        return False
    sizes = {dim if isinstance(dim, int) else dim.value for dim in [loop.x.shape[1]]}
    for value in loop.starts:
        if value.shape is None or len(value.shape) != 2:
            return False
        dim = value.shape[0]
        sizes.add(dim if isinstance(dim, int) else dim.value)
    return len(sizes) == 1 and None not in sizes


def _operator(site: Site, editor: Editor, way: int) -> list[ir.Value]:
    loop: Looped = site["loop"]
    step, first = loop.step, editor.ints(0)
    bias = step.bias if step.kind == "GRU" else np.concatenate([step.bias, np.zeros_like(step.bias)])
    weights = [editor.const(a[None]) for a in (loop.w.T, loop.r.T, bias)]
    starts = [editor.op("Unsqueeze", value, first) for value in loop.starts]
    attributes = {a.name: a for a in activation_attributes(step.functions, DEFAULTS[step.kind])}
    if step.reset_after:
        attributes["linear_before_reset"] = ir.AttrInt64("linear_before_reset", 1)
    if loop.directions[0]:
        attributes["direction"] = ir.AttrString("direction", "reverse")
    history, *ends = editor.ops(
        step.kind, 1 + len(starts), loop.x, *weights, None, *starts, hidden_size=step.hidden, **attributes
    )
    values = dict(zip((H, C), ends, strict=False))
    made = []
    for value, name in loop.outputs:
        if value not in site.outputs:
            continue
        made.append(
            editor.op("Squeeze", history, editor.ints(1))
            if name == HISTORY
            else editor.op("Squeeze", values[name], first)
        )
    return made


RECURRENT_LOOP = Rule(
    "recurrent-loop",
    "Scan(h0, c0, X) {cell} = LSTM(X, h0, c0), or GRU; and so of a Loop over X[i]",
    frozenset({"Scan", "Loop"}),
    _find,
    (
        Guard("dtype", lambda site: bool(site["loop"].x.dtype == ir.DataType.FLOAT)),
        Guard("axis", lambda site: not any(site["loop"].axes)),
        Guard("direction", lambda site: len(set(site["loop"].directions)) == 1),
        Guard("broadcast", _one_batch),
    ),
    _operator,
    opset=OPSET,
)
