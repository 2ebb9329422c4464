"""Operators that onnx's reference evaluator gets wrong, as the standard has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_loop import Loop as OnnxLoop


class Loop(OnnxLoop):
    """Loop whose scan outputs get a new leading axis; onnx 1.23 joins them by vstack, wrong for scalars and matrices.

    An absent condition is true; without iterations a scan output is empty.
    """

    body: Any
    """the evaluator of the node's body; onnx sets both from the node's attributes"""
    _run_body: Any

    def _run(
        self,
        M: Any,
        cond: Any,
        *initial: Any,
        context: Mapping[str, Any] | None = None,
        body: Any = None,
        attributes: Any = None,
        bindings: Any = None,
    ) -> tuple[Any, ...]:
        names, results = self.body.input_names, self.body.output_names
        carried = list(initial)
        scans: list[list[Any]] = [[] for _ in range(len(results) - 1 - len(carried))]
        running = True if cond is None else bool(cond)
        trips = None if M is None else int(M)
        turn = 0
        while running and (trips is None or turn < trips):
            counter = np.array(turn, dtype=np.int64 if M is None else M.dtype)
            feeds = dict(context or {}) | dict(zip(names, [counter, np.array(running), *carried], strict=True))
            keep, *values = self._run_body(feeds, attributes=attributes, bindings=bindings)
            carried = values[: len(carried)]
            for scan, value in zip(scans, values[len(carried) :], strict=True):
                scan.append(value)
            running, turn = bool(keep), turn + 1
        return self._check_and_fix_outputs((*carried, *(np.stack(s) if s else np.empty((0,)) for s in scans)))


OPERATORS: list[type[OpRun]] = [Loop]
"""for ReferenceEvaluator(new_ops=...)"""
