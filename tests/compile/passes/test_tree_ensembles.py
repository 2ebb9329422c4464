"""ONNX-ML's old tree operators against their new form: onnxruntime computes the same of both, or the node stays."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from pass_programs import apply, assert_same, operators, program

from neoc.compile.frontends.trees import form, walk
from neoc.compile.passes import DEFAULT, TreeEnsembles
from neoc.compile.program import Program

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
NUMPY = {FLOAT: np.float32, DOUBLE: np.float64, INT64: np.int64}
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]


class Grower:
    """Random trees of depth 3 in the attributes of ai.onnx.ml 3."""

    def __init__(self, seed: int, prefix: str, targets: list[int], negative: bool, every_target: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.prefix, self.targets, self.negative, self.every_target = prefix, targets, negative, every_target
        names = (
            "treeids",
            "nodeids",
            "featureids",
            "modes",
            "truenodeids",
            "falsenodeids",
            "missing_value_tracks_true",
        )
        self.nodes: dict[str, list[Any]] = {f"nodes_{name}": [] for name in names}
        self.values: list[float] = []
        self.votes: list[tuple[int, int, int, float]] = []

    def tree(self, number: int, depth: int = 3) -> int:
        place = len(self.values)
        node = place - (self.nodes["nodes_treeids"].index(number) if number in self.nodes["nodes_treeids"] else place)
        for column in self.nodes.values():
            column.append(0)
        self.values.append(0.0)
        self.nodes["nodes_treeids"][place], self.nodes["nodes_nodeids"][place] = number, node
        if depth == 0 or self.rng.random() < 0.2:
            self.nodes["nodes_modes"][place] = "LEAF"
            one = [self.targets[number % len(self.targets)]]
            for target in self.targets if self.every_target else one:
                weight = self.rng.normal() if self.negative else self.rng.random()
                self.votes.append((number, node, target, float(np.float32(weight))))
            return node
        self.nodes["nodes_featureids"][place] = int(self.rng.integers(0, 4))
        self.nodes["nodes_modes"][place] = str(self.rng.choice(MODES))
        self.values[place] = float(np.float32(self.rng.normal()))
        self.nodes["nodes_missing_value_tracks_true"][place] = int(self.rng.integers(0, 2))
        self.nodes["nodes_truenodeids"][place] = self.tree(number, depth - 1)
        self.nodes["nodes_falsenodeids"][place] = self.tree(number, depth - 1)
        return node

    def attributes(self, base: list[float], double: bool) -> dict[str, Any]:
        made: dict[str, Any] = dict(self.nodes)
        columns = list(zip(*self.votes, strict=True))
        for name, column in zip(("treeids", "nodeids", "ids"), columns, strict=False):
            made[f"{self.prefix}_{name}"] = list(column)
        reals = {"nodes_values": self.values, f"{self.prefix}_weights": list(columns[3])}
        for name, values in (reals | ({"base_values": base} if base else {})).items():
            made |= {f"{name}_as_tensor": numpy_helper.from_array(np.array(values), name)} if double else {name: values}
        return made


def model(operator: str, outputs: list[Any], element: int, attributes: dict[str, Any]) -> Program:
    node = helper.make_node(operator, ["x"], [o.name for o in outputs], domain="ai.onnx.ml", name="old", **attributes)
    x = helper.make_tensor_value_info("x", element, ["n", 4])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return program(helper.make_model(helper.make_graph([node], "g", [x], outputs), opset_imports=opsets, ir_version=8))


def regressor(seed: int, targets: int, base: bool, every: bool, element: int = FLOAT, **more: Any) -> Program:
    grower = Grower(seed, "target", list(range(targets)), True, every)
    for number in range(5):
        grower.tree(number)
    attributes = grower.attributes([0.3 + 0.1 * t for t in range(targets)] if base else [], element == DOUBLE)
    y = helper.make_tensor_value_info("y", FLOAT, ["n", targets])
    return model("TreeEnsembleRegressor", [y], element, attributes | {"n_targets": targets} | more)


def classifier(seed: int, classes: int, base: bool, negative: bool, strings: bool, **more: Any) -> Program:
    two = classes == 2
    grower = Grower(seed, "class", [0] if two else list(range(classes)), negative, not two)
    for number in range(5):
        grower.tree(number)
    attributes = grower.attributes(([0.2] if two else [0.1 * c for c in range(classes)]) if base else [], False)
    names = [f"c{i}" for i in range(classes)]
    numbers = list(range(2)) if two else [10 + i for i in range(classes)]
    attributes |= {"classlabels_strings": names} if strings else {"classlabels_int64s": numbers}
    label = helper.make_tensor_value_info("label", TensorProto.STRING if strings else INT64, ["n"])
    y = helper.make_tensor_value_info("y", FLOAT, ["n", classes])
    return model("TreeEnsembleClassifier", [label, y], FLOAT, attributes | more)


def rows(seed: int, element: int = FLOAT) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 4))
    if element != INT64:
        x[rng.random(x.shape) < 0.1] = np.nan
    return {"x": x.astype(NUMPY[element])}


@pytest.mark.parametrize("element", [FLOAT, DOUBLE], ids=["float", "double"])
@pytest.mark.parametrize(("targets", "post"), [(1, "NONE"), (2, "NONE"), (3, "LOGISTIC"), (3, "SOFTMAX")])
@pytest.mark.parametrize("base", [False, True])
@pytest.mark.parametrize("every", [False, True])
def test_regressors(targets: int, post: str, base: bool, every: bool, element: int) -> None:
    before = regressor(targets, targets, base, every, element, post_transform=post)
    after = apply(before, TreeEnsembles())
    assert "TreeEnsemble" in operators(after)
    assert "TreeEnsembleRegressor" not in operators(after)
    assert after.model.opset_imports["ai.onnx.ml"] == 5
    assert_same(before, after, rows(1, element), rows(2, element))


def test_an_average_is_a_sum_and_a_division() -> None:
    before = regressor(3, 1, True, False, aggregate_function="AVERAGE")
    after = apply(before, *DEFAULT)
    assert operators(after)[:2] == ["TreeEnsemble", "Div"]
    assert_same(before, after, rows(1), rows(2))


@pytest.mark.parametrize(
    ("classes", "base", "negative", "strings", "post"),
    list(product([2, 3], [False, True], [False, True], [False, True], ["NONE", "LOGISTIC"])),
)
def test_classifiers(classes: int, base: bool, negative: bool, strings: bool, post: str) -> None:
    before = classifier(classes, classes, base, negative, strings, post_transform=post)
    after = apply(before, *DEFAULT)
    assert "TreeEnsembleClassifier" not in operators(after)
    for name, (a, b) in zip(("label", "y"), _both(before, after, rows(1)), strict=True):
        if name == "label":
            assert a.tolist() == b.tolist()
        else:
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert len(set(_both(before, after, rows(1))[0][1].tolist())) > 1 or not negative


def _both(before: Program, after: Program, feeds: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    from pass_programs import evaluate

    return list(zip(evaluate(before, feeds), evaluate(after, feeds), strict=True))


def test_the_new_node_is_in_the_normal_form() -> None:
    """The base is the first tree, how to sum is said, and the walker computes what onnxruntime does."""
    before = regressor(7, 1, True, False)
    after = apply(before, TreeEnsembles())
    node = next(n for n in after.nodes() if n.op_type == "TreeEnsemble")
    ensemble = form.parse(node)
    assert ensemble.trees == 6
    assert ensemble.is_single[ensemble.roots[0]]
    assert ensemble.leaf_value[0] == np.float32(0.3)
    assert (ensemble.sum, ensemble.compare) == ("f32-sequential", "f32")
    feeds = rows(5)
    [(old, new)] = _both(before, after, feeds)
    np.testing.assert_allclose(walk.evaluate(ensemble, feeds["x"]), old, atol=1e-6)
    np.testing.assert_array_equal(walk.evaluate(ensemble, feeds["x"]), new)


@pytest.mark.parametrize(
    "before",
    [
        regressor(1, 2, False, True, aggregate_function="MIN"),
        regressor(1, 2, False, True, post_transform="PROBIT"),
        # onnxruntime leaves a single target as it is, against the standard
        regressor(1, 1, False, True, post_transform="LOGISTIC"),
        # and the base out of an average of several targets
        regressor(1, 2, True, True, aggregate_function="AVERAGE"),
    ],
    ids=["min", "probit", "logistic", "average"],
)
def test_what_has_no_form_stays(before: Program) -> None:
    assert apply(before, TreeEnsembles()) is before


def test_a_domain_that_means_something_else_at_5_stays() -> None:
    """LabelEncoder changed after version 1: the import cannot be raised under it."""
    attributes = Grower(0, "target", [0], True, False)
    attributes.tree(0)
    y = helper.make_tensor_value_info("y", FLOAT, ["n", 1])
    text = helper.make_tensor_value_info("t", TensorProto.STRING, ["n"])
    code = helper.make_tensor_value_info("c", INT64, ["n"])
    x = helper.make_tensor_value_info("x", FLOAT, ["n", 4])
    old = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, **attributes.attributes([], False)
    )
    encoder = helper.make_node("LabelEncoder", ["t"], ["c"], domain="ai.onnx.ml", classes_strings=["a", "b"])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    made: onnx.ModelProto = helper.make_model(
        helper.make_graph([old, encoder], "g", [x, text], [y, code]), opset_imports=opsets, ir_version=8
    )
    before = program(made)
    assert apply(before, TreeEnsembles()) is before
