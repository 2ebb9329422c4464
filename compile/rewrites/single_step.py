"""A recurrent operator of one step is a product and a few element-wise operators.

    [i o f g] = [x h] @ [W R]^T + B      c' = sigmoid(f) c + sigmoid(i) tanh(g)      h' = sigmoid(o) tanh(c')

Streams call a model once for each frame, with a sequence of length 1 and the states as inputs. What an engine's LSTM
prepares for many steps, packing weights and loops, is then all that it does; a product of one row is a kernel that
every engine has.
"""

from __future__ import annotations

import onnx_ir as ir

from neoc.compile.rewrites.recurrent import FLOAT, OPERATORS, OPSET, PLAIN, Recurrent, find_recurrent, step_of_inputs
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site
from neoc.compile.rewrites.views import behind

JOINED, APART = 1, 2
"""one product over the input and the state side by side, or one for each"""


def _step(site: Site, editor: Editor, way: int) -> list[ir.Value]:
    cell: Recurrent = site["cell"]
    x = editor.reshape(behind(cell.x), -1, cell.inputs)
    state = tuple(None if v is None else editor.reshape(behind(v), -1, cell.hidden) for v in cell.initial)
    after = step_of_inputs(editor, cell, x, state, way == JOINED)
    h, hidden = after[0], cell.hidden
    made = []
    for old in site.outputs:
        place = site.node.outputs.index(old)
        ones = (1, 1) if place == 0 else (1,)
        dims = (-1, *ones) if cell.batch_first else (*ones, -1)
        made.append(editor.reshape(h if place < 2 else after[1], *dims, hidden))
    return made


SINGLE_STEP = Rule(
    "single-step",
    "LSTM or GRU of one step = functions of [x h] @ [W R]^T + B",
    OPERATORS,
    find_recurrent,
    (*PLAIN, Guard("length", lambda site: site["cell"].steps == 1)),
    _step,
    worth=(FLOAT,),
    choices=lambda site: (JOINED, APART),
    key=lambda site: site["cell"].key,
    opset=OPSET,
)
