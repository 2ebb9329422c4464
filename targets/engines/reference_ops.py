"""Operators that onnx's reference evaluator gets wrong, as the standard has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TypeProto, helper
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
from onnx.reference.ops.op_loop import Loop as OnnxLoop
from onnx.reference.ops.op_lp_normalization import LpNormalization as OnnxLpNormalization
from onnx.reference.ops.op_scan import Scan as OnnxScan
from onnx.reference.ops.op_string_normalizer import StringNormalizer as OnnxStringNormalizer

from neoc.targets.engines.reference_recurrent import GRU, LSTM, RNN


class BatchNormalization(BatchNormalization_14):
    """For every opset: the given statistics are used unless `training_mode`, before opset 7 `is_test`, says otherwise.

    onnx 1.23 takes the attribute `momentum`, which exporters before opset 14 always write, for training.
    """

    def _run(
        self,
        x: Any,
        scale: Any,
        bias: Any,
        mean: Any,
        var: Any,
        epsilon: float | None = None,
        momentum: float | None = None,
        training_mode: int | None = None,
        is_test: int | None = None,
        spatial: int | None = None,
    ) -> tuple[Any, ...]:
        if spatial == 0:
            raise ValueError("statistics of every element (spatial=0) are not implemented")
        eps = 1e-5 if epsilon is None else epsilon
        keep = 0.9 if momentum is None else momentum
        training = int(bool(training_mode) or is_test == 0)
        results: tuple[Any, ...] = super()._run(x, scale, bias, mean, var, eps, keep, training)  # type: ignore[no-untyped-call]
        return results


class Loop(OnnxLoop):
    """Loop whose scan outputs get a new leading axis; onnx 1.23 joins them by vstack, wrong for scalars and matrices.

    An absent condition is true; without iterations a scan output is empty, of the type that the body declares.
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
        kinds = self.body.output_types[1 + len(carried) :]
        stacked = [np.stack(s) if s else _empty(kind) for s, kind in zip(scans, kinds, strict=True)]
        return self._check_and_fix_outputs((*carried, *stacked))


class Scan(OnnxScan):
    """Scan along any axis and in both directions; onnx 1.23 has axis 0 and forwards alone."""

    body: Any
    num_scan_inputs: int
    _run_body: Any

    def __init__(self, onnx_node: Any, run_params: Any) -> None:
        OpRun.__init__(self, onnx_node, run_params)  # onnx's own refuses all others here

    def _run(
        self,
        *args: Any,
        context: Mapping[str, Any] | None = None,
        body: Any = None,
        num_scan_inputs: Any = None,
        scan_input_axes: Any = None,
        scan_input_directions: Any = None,
        scan_output_axes: Any = None,
        scan_output_directions: Any = None,
        attributes: Any = None,
        bindings: Any = None,
    ) -> tuple[Any, ...]:
        names = self.body.input_names
        states = list(args[: len(args) - self.num_scan_inputs])
        sequences = [
            np.flip(np.moveaxis(x, axis, 0), 0) if backwards else np.moveaxis(x, axis, 0)
            for x, axis, backwards in zip(
                args[len(states) :],
                scan_input_axes or [0] * self.num_scan_inputs,
                scan_input_directions or [0] * self.num_scan_inputs,
                strict=True,
            )
        ]
        laid: list[list[Any]] = [[] for _ in self.body.output_names[len(states) :]]
        for rows in zip(*sequences, strict=True):
            feeds = dict(context or {}) | dict(zip(names, [*states, *rows], strict=True))
            values = self._run_body(feeds, bindings=bindings)
            states = list(values[: len(states)])
            for one, value in zip(laid, values[len(states) :], strict=True):
                one.append(value)
        kinds = self.body.output_types[len(states) :]
        stacked = [np.stack(one) if one else _empty(kind) for one, kind in zip(laid, kinds, strict=True)]
        whole = [
            np.moveaxis(np.flip(x, 0) if backwards else x, 0, axis)
            for x, axis, backwards in zip(
                stacked,
                scan_output_axes or [0] * len(stacked),
                scan_output_directions or [0] * len(stacked),
                strict=True,
            )
        ]
        return self._check_and_fix_outputs((*states, *whole))


def _empty(kind: TypeProto) -> np.ndarray:
    """No items of this type, on a new leading axis; open dimensions are 0 too."""
    tensor = kind.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    return np.empty((0, *dims), helper.tensor_dtype_to_np_dtype(tensor.elem_type))


class GlobalMaxPool(OpRun):
    """The maximum over every axis from the third on; onnx 1.23 reduces the wrong ones where x has not four."""

    def _run(self, x: Any) -> tuple[Any]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class LpNormalization(OnnxLpNormalization):
    """x / (sum |x|^p)^(1/p): onnx 1.23 forgets the magnitude, which shows for p = 1."""

    axis: int
    p: int

    def _run(self, x: Any, axis: int | None = None, p: int | None = None) -> tuple[Any]:
        axis = self.axis if axis is None else axis
        p = self.p if p is None else p
        norm = np.power(np.power(np.abs(x), p).sum(axis=axis, keepdims=True), 1.0 / p)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (np.where(norm == 0, 0, x / norm).astype(x.dtype),)


class StringNormalizer(OnnxStringNormalizer):
    """Stop words are whole items of x, and accents stay: onnx 1.23 splits items at blanks and strips their accents."""

    @staticmethod
    def _run_column(
        cin: Any,
        cout: Any,
        slocale: str | None = None,
        stops: Any = None,
        raw_stops: Any = None,
        is_case_sensitive: int | None = None,
        case_change_action: str | None = None,
    ) -> Any:
        """Fill cout; an item that is stopped becomes '', which the caller leaves out."""
        changes: dict[str, Callable[[str], str]] = {"LOWER": str.lower, "UPPER": str.upper, "NONE": str}
        change, fold = changes[case_change_action or "NONE"], changes["NONE" if is_case_sensitive else "LOWER"]
        stopped = {fold(word) for word in raw_stops or ()}
        for i, item in enumerate(cin):
            cout[i] = "" if fold(item) in stopped else change(item)
        return cout


class TreeEnsemble(OpRun):
    """ai.onnx.ml 5; onnx 1.23 reads the sets of categories in another order than they are written, ends one at a zero,
    and takes the wrong leaf for a tree that is one."""

    op_domain = "ai.onnx.ml"

    def _run(self, x: Any, **attributes: Any) -> tuple[Any, ...]:
        from neoc.compile.frontends.trees import form, walk

        given = {name: value for name, value in attributes.items() if value is not None}
        if given.get("aggregate_function", 1) != 1 or given.get("post_transform", 0) != 0:
            raise ValueError("a TreeEnsemble that does not sum, or transforms its sum, is not implemented")
        return (walk.evaluate(form.from_attributes(given, x.shape[1], {}), x),)


OPERATORS: list[type[OpRun]] = [
    BatchNormalization,
    GRU,
    GlobalMaxPool,
    LSTM,
    Loop,
    LpNormalization,
    RNN,
    Scan,
    StringNormalizer,
    TreeEnsemble,
]
"""for ReferenceEvaluator(new_ops=...)"""
