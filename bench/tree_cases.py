"""Boosters as ensembles and as ONNX by the shortest way, for the benchmark and the tests of the tree kernels.

The front ends of `compile/frontends` read model files; this reads a live Booster's own JSON, for gbtree with numeric
splits, and nothing else.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np

from neoc.kernels.trees.ensemble import LT, MEMBER, Ensemble, check


def _logf(x: float) -> float:
    """The C library's float32 logarithm, with which XGBoost computes base margins."""
    function = ctypes.CDLL("libm.so.6").logf
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return float(function(x))


def from_xgboost(booster: Any) -> Ensemble:
    """gbtree with numeric splits; its base margin as the first trees."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    model, parameters = learner["gradient_booster"]["model"], learner["learner_model_param"]
    groups = max(1, int(parameters["num_class"]))
    base = np.atleast_1d(np.array(json.loads(parameters["base_score"]), np.float32))
    if learner["objective"]["name"] == "binary:logistic":
        base = np.array([-_logf(float(np.float32(1) / b - np.float32(1))) for b in base], np.float32)
    base = np.broadcast_to(base, (groups,))
    roots, nodes, leaves = [~g for g in range(groups)], 0, groups
    parts: dict[str, list[Any]] = {k: [] for k in ("feature", "split", "missing", "true", "false")}
    target, value = [np.arange(groups)], [base]
    for tree, group in zip(model["trees"], model["tree_info"], strict=True):
        left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
        condition = np.array(tree["split_conditions"], np.float32)
        inner = left >= 0
        number = np.where(inner, np.cumsum(inner) - 1 + nodes, ~(np.cumsum(~inner) - 1 + leaves))
        roots.append(int(number[0]))
        parts["feature"].append(np.array(tree["split_indices"])[inner])
        parts["split"].append(condition[inner])
        parts["missing"].append(np.array(tree["default_left"], bool)[inner])
        parts["true"].append(number[left[inner]])
        parts["false"].append(number[right[inner]])
        value.append(condition[~inner])
        target.append(np.full(np.count_nonzero(~inner), group))
        nodes, leaves = nodes + int(np.count_nonzero(inner)), leaves + int(np.count_nonzero(~inner))
    ensemble = Ensemble(
        features=int(parameters["num_feature"]),
        targets=groups,
        compare="f32",
        sum="f32-sequential",
        roots=np.array(roots, np.int32),
        feature=np.concatenate(parts["feature"]).astype(np.int32),
        mode=np.full(nodes, LT, np.uint8),
        split=np.concatenate(parts["split"]),
        missing_true=np.concatenate(parts["missing"]),
        true_child=np.concatenate(parts["true"]).astype(np.int32),
        false_child=np.concatenate(parts["false"]).astype(np.int32),
        leaf_target=np.concatenate(target).astype(np.int32),
        leaf_value=np.concatenate(value).astype(np.float32),
    )
    check(ensemble)
    return ensemble


def to_onnx(e: Ensemble, path: Any, objective: str = "") -> None:
    """The normal form of docs/trees.md. objective: 'logistic' adds a Sigmoid, 'softmax' a Softmax and an ArgMax."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    # Single leaves become nodes whose two branches are that leaf.
    count = np.cumsum(e.roots < 0) - 1
    single = np.flatnonzero(e.roots < 0)
    shift = len(single)
    roots = np.where(e.roots < 0, count, e.roots + shift)
    true = np.concatenate([e.roots[single], np.where(e.true_child >= 0, e.true_child + shift, e.true_child)])
    false = np.concatenate([e.roots[single], np.where(e.false_child >= 0, e.false_child + shift, e.false_child)])
    pad = np.zeros(shift)
    attributes: dict[str, Any] = {
        "n_targets": e.targets,
        "aggregate_function": 1,
        "tree_roots": roots.tolist(),
        "nodes_featureids": np.concatenate([pad, e.feature]).astype(np.int64).tolist(),
        "nodes_modes": numpy_helper.from_array(np.concatenate([pad, e.mode]).astype(np.uint8)),
        "nodes_splits": numpy_helper.from_array(np.concatenate([pad, e.split]).astype(e.sum_dtype)),
        "nodes_missing_value_tracks_true": np.concatenate([pad, e.missing_true]).astype(np.int64).tolist(),
        "nodes_truenodeids": np.where(true < 0, ~true, true).tolist(),
        "nodes_falsenodeids": np.where(false < 0, ~false, false).tolist(),
        "nodes_trueleafs": (true < 0).astype(np.int64).tolist(),
        "nodes_falseleafs": (false < 0).astype(np.int64).tolist(),
        "leaf_targetids": e.leaf_target.astype(np.int64).tolist(),
        "leaf_weights": numpy_helper.from_array(e.leaf_value),
    }
    if np.any(e.mode == MEMBER):
        ends = e.member_start[1:][e.mode == MEMBER]
        attributes["membership_values"] = numpy_helper.from_array(
            np.insert(e.members, ends, np.nan).astype(e.sum_dtype)
        )
    kind = TensorProto.DOUBLE if e.sum == "f64" else TensorProto.FLOAT
    row = TensorProto.DOUBLE if e.compare == "f64" else TensorProto.FLOAT
    node = helper.make_node("TreeEnsemble", ["seen"], ["sums"], domain="ai.onnx.ml", name="trees", **attributes)
    for key, value in (("neoc.sum", e.sum), ("neoc.compare", e.compare)):
        node.metadata_props.add(key=key, value=value)
    nodes = [helper.make_node("Cast", ["features"], ["seen"], to=kind), node]
    shape: list[Any] = ["rows"] if e.targets == 1 else ["rows", e.targets]
    flat = numpy_helper.from_array(np.array([-1] if e.targets == 1 else [-1, e.targets], np.int64), "flat")
    nodes.append(helper.make_node("Reshape", ["sums", "flat"], ["margin"]))
    outputs = [helper.make_tensor_value_info("margin", kind, shape)]
    if objective:
        nodes.append(
            helper.make_node({"logistic": "Sigmoid", "softmax": "Softmax"}[objective], ["margin"], ["prediction"])
        )
        outputs.insert(0, helper.make_tensor_value_info("prediction", kind, shape))
    if objective == "softmax":
        nodes.append(helper.make_node("ArgMax", ["margin"], ["label"], axis=1, keepdims=0))
        outputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]))
    features = helper.make_tensor_value_info("features", row, ["rows", e.features])
    graph = helper.make_graph(nodes, "trees", [features], outputs, [flat])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 5)], ir_version=10
    )
    onnx.save(model, str(path))
