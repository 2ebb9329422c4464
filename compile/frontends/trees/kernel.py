"""A front end's Ensemble as the one that the tree compiler (`neoc.kernels.trees`) takes."""

from __future__ import annotations

import numpy as np

from neoc.compile.frontends.trees.ensemble import MEMBER, Array, Ensemble
from neoc.kernels.trees.ensemble import Ensemble as Compiled


def compiled(e: Ensemble, row: str, cast: Array | None = None) -> Compiled:
    """`e` over rows of the dtype `row` ('float32', 'float64'); `cast` as Compiled has it, [features].

    There a tree that is a leaf has no node. Raises ValueError where a comparison in `row` would not be the source's.
    """
    narrow = row == "float32"
    if not narrow and e.compare == "f32":
        raise ValueError("the features are float64 and the trees compare float32")
    dtype = np.dtype(row)
    split = e.threshold.astype(dtype)
    if (split != e.threshold)[e.mode != MEMBER].any():
        raise ValueError("a split is no float32 number although the features are")
    single = e.is_single
    number = np.cumsum(~single) - 1

    def branch(children: Array) -> Array:
        kept = children[~single]
        return np.where(kept >= 0, number[kept.clip(0)], kept).astype(np.int32)

    sizes = np.diff(e.member_start)[~single]
    return Compiled(
        features=e.features,
        targets=e.targets,
        compare="f32" if narrow else "f64",
        sum="f64" if e.sum == "f64" else "f32-sequential",
        roots=np.where(single[e.roots], e.on_true[e.roots], number[e.roots]).astype(np.int32),
        feature=e.feature[~single].astype(np.int32),
        mode=e.mode[~single].astype(np.uint8),
        split=split[~single],
        missing_true=e.missing_true[~single].astype(bool),
        true_child=branch(e.on_true),
        false_child=branch(e.on_false),
        leaf_target=e.leaf_target.astype(np.int32),
        leaf_value=e.leaf_value.astype(np.float64 if e.sum == "f64" else np.float32),
        member_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        members=e.members.astype(dtype),
        cast=np.zeros(0, np.uint8) if cast is None else cast,
    )
