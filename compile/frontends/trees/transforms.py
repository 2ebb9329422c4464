"""From the sum of the trees to what predict gives: one small function for each kind of objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

if TYPE_CHECKING:
    from neoc.compile.frontends.trees.graph import Builder
    from neoc.compile.frontends.trees.model import TreeModel

_ORDER = ("prediction", "margin", "label", "probability")


class Outputs:
    """The graph's outputs: prediction, margin, label, probability, in this order whatever the order they come in."""

    def __init__(self, b: Builder) -> None:
        self._b = b
        self._found: dict[str, tuple[str, tuple[str | int, ...]]] = {}

    def add(self, name: str, value: str, dtype: str, columns: int | None = None) -> None:
        """`value`, of shape [rows], or [rows, columns], under the name."""
        self._b.nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._found[name] = (dtype, ("rows",) if columns is None else ("rows", columns))

    @property
    def specs(self) -> list[tuple[str, str, tuple[str | int, ...]]]:
        """(name, dtype, shape)"""
        return [(name, *self._found[name]) for name in _ORDER if name in self._found]


Transform = Callable[["Builder", str, "TreeModel", Outputs], None]
"""(builder, sums [rows, T], model, outputs)"""


def _elementwise(function: Callable[[Builder, str, TreeModel], str]) -> Transform:
    """A prediction of one number for each sum."""

    def transform(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
        made = function(b, total, model)
        if model.targets == 1:
            outputs.add("prediction", b.squeezed(made), b.dtype)
        else:
            outputs.add("prediction", made, b.dtype, model.targets)

    return transform


def _identity(b: Builder, x: str, model: TreeModel) -> str:
    return x


def _exp(b: Builder, x: str, model: TreeModel) -> str:
    return b.add("Exp", x)


def _sigmoid(b: Builder, x: str, model: TreeModel) -> str:
    slope = model.transform_options.get("slope", 1.0)
    return b.add("Sigmoid", x if slope == 1 else b.add("Mul", x, b.constant(slope, stem="slope")))


def _signed_square(b: Builder, x: str, model: TreeModel) -> str:
    """sign(x) x^2: LightGBM's reg_sqrt"""
    return b.add("Mul", b.add("Mul", b.add("Sign", x), x), x)


def _log1p_exp(b: Builder, x: str, model: TreeModel) -> str:
    """log(1 + e^x), which for large x must not overflow: max(x, 0) + log(1 + e^-|x|)"""
    small = b.add("Exp", b.add("Neg", b.add("Abs", x)))
    return b.add("Add", b.add("Relu", x), b.add("Log", b.add("Add", small, b.constant(1, stem="one"))))


def _binary(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    """The probability of class 1; several targets are as many yes-or-no questions."""
    p = _sigmoid(b, total, model)
    yes = b.cast(b.add("Greater", p, b.constant(0.5, stem="half")), "int64")
    if model.targets > 1:
        outputs.add("prediction", p, b.dtype, model.targets)
        outputs.add("label", yes, "int64", model.targets)
        outputs.add("probability", p, b.dtype, model.targets)
        return
    outputs.add("prediction", b.squeezed(p), b.dtype)
    outputs.add("label", b.squeezed(yes), "int64")
    no = b.add("Sub", b.constant(1, stem="one"), p)
    outputs.add("probability", b.add("Concat", no, p, axis=1), b.dtype, 2)


def _hinge(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    above = b.add("Greater", total, b.constant(0, stem="zero"))
    columns = None if model.targets == 1 else model.targets
    for name, dtype in (("prediction", b.dtype), ("label", "int64")):
        made = b.cast(above, dtype)
        outputs.add(name, b.squeezed(made) if columns is None else made, dtype, columns)


def _first_best(b: Builder, scores: str) -> str:
    """int64 [rows]: the first of the largest columns."""
    return b.add("ArgMax", scores, axis=1, keepdims=0)


def _softprob(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    _of_classes(b, b.add("Softmax", total, axis=1), model, outputs)


def _one_vs_all(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    _of_classes(b, _sigmoid(b, total, model), model, outputs)


def _of_classes(b: Builder, probability: str, model: TreeModel, outputs: Outputs) -> None:
    outputs.add("prediction", probability, b.dtype, model.targets)
    outputs.add("label", _first_best(b, probability), "int64")
    outputs.add("probability", probability, b.dtype, model.targets)


def _softmax(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    """XGBoost's multi:softmax predicts the class, as a floating-point number."""
    best = _first_best(b, total)
    outputs.add("prediction", b.cast(best, b.dtype), b.dtype)
    outputs.add("label", best, "int64")


TRANSFORMS: dict[str, Transform] = {
    "identity": _elementwise(_identity),
    "exp": _elementwise(_exp),
    "sigmoid": _elementwise(_sigmoid),
    "signed-square": _elementwise(_signed_square),
    "log1p-exp": _elementwise(_log1p_exp),
    "binary": _binary,
    "hinge": _hinge,
    "softprob": _softprob,
    "softmax": _softmax,
    "one-vs-all": _one_vs_all,
}


def _with_classes(b: Builder, index: str, model: TreeModel, outputs: Outputs) -> None:
    """`label` and `prediction` of a scikit-learn classifier: the class whose number `index` [rows] holds."""
    classes = model.classes
    if all(isinstance(c, str) for c in classes):
        table, dtype = b.constant(list(classes), "string", "classes"), "string"
    elif all(isinstance(c, bool | int) for c in classes):
        table, dtype = b.constant(np.array(classes, np.int64), "int64", "classes"), "int64"
    else:
        table, dtype = b.constant(np.array(classes, np.float64), "float64", "classes"), "float64"
    label = b.add("Gather", table, index)
    outputs.add("prediction", label, dtype)
    outputs.add("label", label, dtype)


def _average_votes(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    """A forest of classifiers: the sums, divided by the trees, are the probabilities."""
    _with_classes(b, _first_best(b, total), model, outputs)
    outputs.add("probability", total, b.dtype, model.targets)


def _sklearn_binary(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    """Boosting for two classes: class 1 where the margin is at least 0 (GradientBoosting, HistGradientBoosting)."""
    positive = b.add(
        "GreaterOrEqual" if model.transform_options.get("at_zero") else "Greater", total, b.constant(0, stem="zero")
    )
    _with_classes(b, b.squeezed(b.cast(positive, "int64")), model, outputs)
    p = _sigmoid(b, total, model)
    outputs.add("probability", b.add("Concat", b.add("Sub", b.constant(1, stem="one"), p), p, axis=1), b.dtype, 2)


def _sklearn_classes(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    _with_classes(b, _first_best(b, total), model, outputs)
    outputs.add("probability", b.add("Softmax", total, axis=1), b.dtype, model.targets)


def _isolation(b: Builder, total: str, model: TreeModel, outputs: Outputs) -> None:
    """IsolationForest: the score 2^(-path / expected path) against its offset; -1 for outliers, 1 for the rest."""
    path = b.squeezed(total)
    longest = model.transform_options["longest"]
    share = b.add("Neg", b.add("Div", path, b.constant(longest, stem="longest"))) if longest else b.constant(-1.0)
    score = b.add("Neg", b.add("Pow", b.constant(2, stem="two"), share))
    margin = b.add("Sub", score, b.constant(model.transform_options["offset"], stem="offset"))
    outlier = b.add("Less", margin, b.constant(0, stem="zero"))
    signs = b.constant(-1, "int64", "outlier"), b.constant(1, "int64", "inlier")
    outputs.add("prediction", b.add("Where", outlier, *signs), "int64")
    outputs.add("margin", margin, b.dtype)


TRANSFORMS |= {
    "isolation": _isolation,
    "votes": _average_votes,
    "sklearn-binary": _sklearn_binary,
    "sklearn-classes": _sklearn_classes,
}
