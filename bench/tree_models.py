"""An XGBoost ensemble trained here, as the TreeEnsemble of ai.onnx.ml 5 that docs/trees.md describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FEATURES, ROWS = 20, 256


def trained(depth: int = 6, trees: int = 100, seed: int = 0) -> tuple[Any, np.ndarray]:
    """A regression of `trees` trees over 20 features, some of them missing; and the rows that it was trained on."""
    import xgboost

    random = np.random.default_rng(seed)
    x = random.standard_normal((2000, FEATURES)).astype(np.float32)
    y = x @ random.standard_normal(FEATURES) + np.sin(3 * x[:, 0])
    x[random.random(x.shape) < 0.05] = np.nan
    settings = {"max_depth": depth, "eta": 0.1, "base_score": 0.5, "nthread": 1}
    return xgboost.train(settings, xgboost.DMatrix(x, y), trees), x


def xgboost_ensemble(folder: Path, depth: int = 6) -> tuple[Path, Path]:
    """The ONNX file and an .npz of two batches of 256 rows."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    booster, x = trained(depth)
    columns = _columns(json.loads(bytes(booster.save_raw("json")))["learner"])
    tensors = {"nodes_splits": np.float32, "nodes_modes": np.uint8, "leaf_weights": np.float32}
    attributes: dict[str, Any] = {
        name: numpy_helper.from_array(np.asarray(values, tensors[name])) if name in tensors else values
        for name, values in columns.items()
    }
    ensemble = helper.make_node("TreeEnsemble", ["features"], ["margin"], domain="ai.onnx.ml", n_targets=1,
                                aggregate_function=1, post_transform=0, **attributes)  # fmt: skip
    flat = helper.make_node("Reshape", ["margin", "rows"], ["prediction"])
    graph = helper.make_graph(
        [ensemble, flat],
        "xgboost",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array([-1], np.int64), "rows")],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    path, data = folder / "xgboost.onnx", folder / "xgboost.npz"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)
    np.savez(data, features=x[: 2 * ROWS].reshape(2, ROWS, FEATURES))
    return path, data


_NODE = (
    "nodes_featureids",
    "nodes_splits",
    "nodes_modes",
    "nodes_missing_value_tracks_true",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_trueleafs",
    "nodes_falseleafs",
)
_LEQ, _LT = 0, 1


def _columns(learner: dict[str, Any]) -> dict[str, list[Any]]:
    """The node arrays of all trees, the base margin first as a tree of one leaf."""
    columns: dict[str, list[Any]] = {name: [] for name in (*_NODE, "leaf_targetids", "leaf_weights", "tree_roots")}

    def leaf(weight: float) -> int:
        columns["leaf_weights"].append(weight)
        columns["leaf_targetids"].append(0)
        return len(columns["leaf_weights"]) - 1

    def node(feature: int, split: float, mode: int, missing: int) -> int:
        for name, value in zip(_NODE, (feature, split, mode, missing, 0, 0, 0, 0), strict=True):
            columns[name].append(value)
        return len(columns["nodes_modes"]) - 1

    def single(weight: float) -> int:
        at, end = node(0, 0.0, _LEQ, 0), leaf(weight)
        for side in ("true", "false"):
            columns[f"nodes_{side}nodeids"][at], columns[f"nodes_{side}leafs"][at] = end, 1
        return at

    def build(tree: dict[str, Any], i: int) -> int:
        left, right, splits = tree["left_children"], tree["right_children"], tree["split_conditions"]
        at = node(tree["split_indices"][i], splits[i], _LT, tree["default_left"][i])
        for side, child in (("true", left[i]), ("false", right[i])):
            ends = left[child] == -1
            columns[f"nodes_{side}nodeids"][at] = leaf(splits[child]) if ends else build(tree, child)
            columns[f"nodes_{side}leafs"][at] = int(ends)
        return at

    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    columns["tree_roots"].append(single(base))
    for tree in learner["gradient_booster"]["model"]["trees"]:
        whole = tree["left_children"][0] == -1
        columns["tree_roots"].append(single(tree["split_conditions"][0]) if whole else build(tree, 0))
    return columns
