"""The inputs of a recurrence are multiplied for all steps at once; what is left of a step hangs on the one before.

    x[t] W + h R + B, t = 0 1 2 ...      =      xw = X W + B in one product;      xw[t] + h R

Engines do that inside their own LSTM, so as ordinary operators it pays where that operator is slow or is not there, or
where something stands before X that goes into the product: behind a table of tokens xw is a table itself. The steps are
written out, which schedules and fuses best and grows with their number, or are the body of a Scan.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from neoc.compile.rewrites.recurrent import (
    FLOAT,
    OPERATORS,
    OPSET,
    PLAIN,
    Recurrent,
    State,
    find_recurrent,
    products,
    step_of_products,
)
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

UNROLLED, SCAN = 1, 2
MOST = 32
"""steps that are written out"""


def _ways(site: Site) -> tuple[int, ...]:
    steps = site["cell"].steps
    return (UNROLLED, SCAN) if steps is not None and 0 < steps <= MOST else (SCAN,)


def _hoisted(site: Site, editor: Editor, way: int) -> list[ir.Value]:
    cell: Recurrent = site["cell"]
    swap = (lambda v: editor.transpose(v, 1, 0, 2)) if cell.batch_first else (lambda v: v)
    x = swap(cell.x)
    state: State = tuple(None if v is None else swap(v) for v in cell.initial)
    xw = products(editor, cell, x)
    history, ends = (_unrolled if way == UNROLLED else _scan)(editor, cell, x, xw, state)
    made = []
    for old in site.outputs:
        place = site.node.outputs.index(old)
        if place == 0:
            whole = editor.op("Unsqueeze", history, editor.ints(1))  # [steps, 1, batch, hidden]
            made.append(editor.transpose(whole, 2, 0, 1, 3) if cell.batch_first else whole)
        else:
            end = ends[place - 1]
            made.append(editor.transpose(end, 1, 0, 2) if cell.batch_first else editor.op("Identity", end))
    return made


def _unrolled(
    editor: Editor, cell: Recurrent, x: ir.Value, xw: ir.Value, state: State
) -> tuple[ir.Value, tuple[ir.Value, ...]]:
    """States are [1, batch, hidden] throughout, as the operator takes and gives them."""
    assert cell.steps is not None
    pieces = [xw]
    if cell.steps > 1:
        pieces = editor.ops("Split", cell.steps, xw, editor.ints(*[1] * cell.steps), axis=0)
    order = range(cell.steps)[::-1] if cell.direction == "reverse" else range(cell.steps)
    history: list[ir.Value] = [xw] * cell.steps
    after: tuple[ir.Value, ...] = ()
    for t in order:
        after = step_of_products(editor, cell, pieces[t], after or state)
        history[t] = after[0]
    return history[0] if len(history) == 1 else editor.op("Concat", *history, axis=0), after


def _scan(
    editor: Editor, cell: Recurrent, x: ir.Value, xw: ir.Value, state: State
) -> tuple[ir.Value, tuple[ir.Value, ...]]:
    """Within the body states and products are [batch, ...]."""
    kind = ir.DataType.from_numpy(cell.w.dtype)
    start = [_zeros(editor, cell, x) if s is None else editor.reshape(s, -1, cell.hidden) for s in state]
    inner = editor.body([*(("state", kind) for _ in start), ("products", kind)])
    *states, product = inner.graph.inputs
    after = step_of_products(inner, cell, product, tuple(states))
    inner.graph.outputs.extend([*after, inner.op("Identity", after[0])])
    backwards = [int(cell.direction == "reverse")]
    *ends, history = editor.ops(
        "Scan",
        len(after) + 1,
        *start,
        xw,
        body=inner.graph,
        num_scan_inputs=1,
        scan_input_directions=backwards,
        scan_output_directions=backwards,
    )
    return history, tuple(editor.op("Unsqueeze", end, editor.ints(0)) for end in ends)


def _zeros(editor: Editor, cell: Recurrent, x: ir.Value) -> ir.Value:
    """A state of zeros [batch, hidden]."""
    zeros = np.zeros((1, cell.hidden), cell.w.dtype)
    batch = editor.op("Gather", editor.op("Shape", x), editor.ints(1), axis=0)
    return editor.op("Expand", editor.const(zeros), editor.op("Concat", batch, editor.ints(cell.hidden), axis=0))


HOISTED = Rule(
    "hoisted-inputs",
    "x[t] W + h R for every t = (X W)[t] + h R",
    OPERATORS,
    find_recurrent,
    PLAIN,
    _hoisted,
    worth=(FLOAT, Guard("length", lambda site: site["cell"].steps != 1)),
    choices=_ways,
    key=lambda site: site["cell"].key,
    opset=OPSET,
)
