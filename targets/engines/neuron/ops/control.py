"""Branches that depend on data. Both must give the same static shapes; one of them runs.

Loops are written out before they come here (compile/passes/unroll_loops.py).
"""

from __future__ import annotations

from typing import Any

from neoc.targets.engines.neuron.calls import Call
from neoc.targets.engines.neuron.table import BOOL, OPEN_SHAPE, In, Op, Rule, Xla

Array = Any
_BRANCHES = ("then_branch", "else_branch")


def _if(c: Call, j: Xla, condition: Array) -> tuple[Array, ...]:
    then, other = (c.bodies[name] for name in _BRANCHES)
    results = j.lax.cond(condition.reshape(()), lambda: j.run(then), lambda: j.run(other))
    return tuple(results)


def _unlike(c: Call) -> bool:
    then, other = ([(f.dtype, f.shape) for f in c.bodies[name].outputs] for name in _BRANCHES)
    return then != other or any(shape is None for _, shape in then)


_UNLIKE = Rule(
    _unlike,
    "its branches give tensors of different or of open shapes",
    "make both branches give the same shapes, or bind the input that decides between them to a constant",
    OPEN_SHAPE,
)

OPS = (Op("If", (1, 25), (In(BOOL),), _if, outputs=1 << 16, rules=(_UNLIKE,)),)
