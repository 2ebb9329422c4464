"""Ensemble <-> the attributes of an ai.onnx.ml 5 TreeEnsemble node. docs/trees.md says what stands in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.frontends.trees.ensemble import LEQ, MEMBER, Array, Ensemble, broken, in_range

if TYPE_CHECKING:
    import onnx_ir as ir

SUM, COMPARE = "neoc.sum", "neoc.compare"
"""keys of the node's metadata"""

_SUM_FUNCTION = 1
"""aggregate_function"""


def attributes(e: Ensemble) -> dict[str, Any]:
    """The attributes by name: numbers, int64 arrays for INTS, other arrays for tensors."""
    made: dict[str, Any] = {
        "n_targets": e.targets,
        "aggregate_function": _SUM_FUNCTION,
        "post_transform": 0,
        "tree_roots": e.roots,
        "nodes_featureids": e.feature.astype(np.int64),
        "nodes_modes": e.mode,
        "nodes_splits": e.threshold,
        "nodes_missing_value_tracks_true": e.missing_true.astype(np.int64),
        "nodes_truenodeids": np.where(e.on_true < 0, ~e.on_true, e.on_true),
        "nodes_falsenodeids": np.where(e.on_false < 0, ~e.on_false, e.on_false),
        "nodes_trueleafs": (e.on_true < 0).astype(np.int64),
        "nodes_falseleafs": (e.on_false < 0).astype(np.int64),
        "leaf_targetids": e.leaf_target.astype(np.int64),
        "leaf_weights": e.leaf_value,
    }
    if (e.mode == MEMBER).any():
        made["membership_values"] = _delimited(e)
    return made


def _delimited(e: Ensemble) -> Array:
    """The sets in the order of their nodes, a NaN behind each."""
    ends = e.member_start[1:][e.mode == MEMBER]
    values: Array = np.insert(e.members, ends, np.nan)
    return values


def metadata(e: Ensemble) -> dict[str, str]:
    return {SUM: e.sum, COMPARE: e.compare}


def parse(node: ir.Node, features: int | None = None) -> Ensemble:
    """The node's Ensemble, checked. features: columns of its input; None: as its shape, or its feature ids, say.

    Raises InvalidModel where the node breaks the standard; only aggregate_function SUM without post_transform is read.
    """
    values = {name: _value(attribute) for name, attribute in node.attributes.items()}
    if values.get("aggregate_function", _SUM_FUNCTION) != _SUM_FUNCTION or values.get("post_transform", 0):
        raise broken("its TreeEnsemble does not sum, or transforms the sum: it is not in neoc's normal form")
    if features is None:
        features = _columns(node, values)
    return from_attributes(values, features, dict(node.metadata_props))


def _value(attribute: Any) -> Any:
    value = attribute.value
    if hasattr(value, "numpy"):
        return value.numpy()
    return np.asarray(value, np.int64) if isinstance(value, tuple | list) else value


def _columns(node: ir.Node, values: Mapping[str, Any]) -> int:
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is not None and len(shape) == 2 and isinstance(shape[1], int):
        return shape[1]
    return int(np.max(values["nodes_featureids"], initial=-1)) + 1


def from_attributes(values: Mapping[str, Any], features: int, meta: Mapping[str, str]) -> Ensemble:
    """The inverse of `attributes`, for any order of nodes that the standard allows. Raises InvalidModel."""
    try:
        weights = np.asarray(values["leaf_weights"]).ravel()
        splits = np.asarray(values["nodes_splits"]).ravel()
        feature = np.asarray(values["nodes_featureids"], np.int64)
        mode = np.asarray(values["nodes_modes"]).ravel().astype(np.uint8)
        on_true = _branch(values["nodes_truenodeids"], values["nodes_trueleafs"])
        on_false = _branch(values["nodes_falsenodeids"], values["nodes_falseleafs"])
        roots = np.asarray(values["tree_roots"], np.int64)
        target = np.asarray(values["leaf_targetids"], np.int64)
    except (KeyError, ValueError, TypeError) as error:
        raise broken(f"its TreeEnsemble lacks or garbles an attribute: {error}") from error
    if len({len(on_true), len(on_false), len(mode)}) > 1 or len(weights) != len(target):
        raise broken("the attributes of its TreeEnsemble differ in length")
    alone = (on_true == on_false) & (on_true < 0) & np.isin(np.arange(len(on_true)), roots)
    on_true, on_false, copied = _leaves_of_their_own(on_true, on_false, alone, len(weights))
    members, start = _sets(mode, np.asarray(values.get("membership_values", ()), splits.dtype).ravel())
    missing = np.asarray(values.get("nodes_missing_value_tracks_true", np.zeros(len(feature))), bool)
    default = ("f32-sequential", "f32") if splits.dtype == np.float32 else ("f64", "f64")
    return Ensemble(
        features=features,
        targets=int(values.get("n_targets", 1)),
        roots=roots,
        feature=feature.astype(np.int32),
        mode=np.where(alone, LEQ, mode).astype(np.uint8),
        threshold=splits,
        missing_true=missing,
        on_true=on_true,
        on_false=on_false,
        leaf_value=weights[copied],
        leaf_target=target.astype(np.int32)[copied],
        members=members,
        member_start=start,
        sum=meta.get(SUM, default[0]),
        compare=meta.get(COMPARE, default[1]),
    ).checked()


def _branch(ids: Any, is_leaf: Any) -> Array:
    ids, is_leaf = np.asarray(ids, np.int64), np.asarray(is_leaf, bool)
    made: Array = np.where(is_leaf, ~ids, ids)
    return made


def _leaves_of_their_own(on_true: Array, on_false: Array, alone: Array, leaves: int) -> tuple[Array, Array, Array]:
    """(the branches with a leaf each, which of `leaves` each of those is): the standard lets branches share one.

    alone: the nodes that stand for a tree that is a leaf, which both branches name.
    """
    both = np.stack([on_true, on_false], axis=1)
    ends = both < 0
    ends[alone, 1] = False
    leaf = ~both[ends]
    in_range("leaves that branches name", leaf, 0, leaves)
    if len(np.unique(leaf)) == len(leaf):
        return on_true, on_false, np.arange(leaves)
    both[ends] = ~np.arange(len(leaf))
    both[alone, 1] = both[alone, 0]
    return both[:, 0], both[:, 1], leaf


def _sets(mode: Array, delimited: Array) -> tuple[Array, Array]:
    """(members, start of each node's set) of the values that NaN divides."""
    ends = np.flatnonzero(np.isnan(delimited))
    which = mode == MEMBER
    if len(ends) != np.count_nonzero(which):
        raise broken(f"it has {np.count_nonzero(which)} categorical splits and {len(ends)} sets of categories")
    sizes = np.zeros(len(mode), np.int64)
    sizes[which] = np.diff(ends, prepend=-1) - 1
    members = delimited[~np.isnan(delimited)]
    if len(members) != sizes.sum():
        raise broken("its last set of categories has no end")
    return members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
