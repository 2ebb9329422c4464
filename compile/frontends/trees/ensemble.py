"""Ensemble: every tree of a model in flat numpy arrays, checked once, so that whoever reads it needs no care."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neoc.compile.errors import InvalidInput, InvalidModel

Array = np.ndarray[Any, Any]

LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)
"""numbers of the node modes, as ai.onnx.ml 5 has them"""

MOST_DEPTH = 4096
"""levels; no training library grows a tree this deep on purpose, and runtimes walk trees by recursion"""

MOST_NODES = 1 << 25
"""of one ensemble, vector leaves written out; the file of a bigger one passes protobuf's 2 GB"""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trees in the order in which the source adds them, nodes of a tree next to one another, parents first.

    A child number c >= 0 is a node, c < 0 the leaf ~c. A tree that is a single leaf is one node (feature 0, LEQ 0)
    whose two branches are that leaf. NaN takes the true branch where `missing_true` is set, else the false one.
    """

    features: int
    """columns of the input, F"""
    targets: int
    """columns of the sum, T"""
    roots: Array
    """int64 [trees]"""
    feature: Array
    """int32 [nodes]"""
    mode: Array
    """uint8 [nodes]: LEQ, LT, GTE, GT, EQ, NEQ, MEMBER"""
    threshold: Array
    """float32 or float64 [nodes]; 0 for MEMBER"""
    missing_true: Array
    """bool [nodes]"""
    on_true: Array
    """int64 [nodes]: the child where the comparison holds"""
    on_false: Array
    """int64 [nodes]"""
    leaf_value: Array
    """dtype of `threshold` [leaves]"""
    leaf_target: Array
    """int32 [leaves]"""
    members: Array
    """dtype of `threshold`: the sets of MEMBER nodes, one after another"""
    member_start: Array
    """int64 [nodes + 1]: node k's set is members[member_start[k]:member_start[k + 1]]"""
    sum: str = "f64"
    """'f32-sequential' or 'f64': the accumulator, one per target, in tree order"""
    compare: str = "f64"
    """'f32' or 'f64'"""

    @property
    def trees(self) -> int:
        return len(self.roots)

    @property
    def nodes(self) -> int:
        return len(self.feature)

    @property
    def leaves(self) -> int:
        return len(self.leaf_value)

    @property
    def is_single(self) -> Array:
        """bool [nodes]: the node stands for a tree that is a leaf."""
        alone: Array = (self.on_true == self.on_false) & (self.on_true < 0)
        return alone

    @property
    def categorical(self) -> Array:
        """bool [F]: the columns that a MEMBER node reads."""
        mask = np.zeros(self.features, bool)
        mask[self.feature[self.mode == MEMBER]] = True
        return mask

    def depth(self) -> int:
        """Comparisons on the longest path."""
        return 0 if self.is_single.all() else len(_levels(self))

    def checked(self) -> Ensemble:
        """Itself, arrays read-only. Raises InvalidModel where an index is out of range, a node is reached twice or
        never, a number is not finite, or a size is absurd."""
        _check(self)
        for name in ("roots", "feature", "mode", "threshold", "missing_true", "on_true", "on_false"):
            getattr(self, name).setflags(write=False)
        for name in ("leaf_value", "leaf_target", "members", "member_start"):
            getattr(self, name).setflags(write=False)
        return self


def broken(why: str, where: str = "") -> InvalidModel:
    """The error of every reader here; `convert` puts the file's name in front of `where`."""
    return InvalidModel("the tree model is broken", where=where, why=why, fix="save it again from the library it is of")


def kept_rounds(wanted: int, total: int) -> int:
    """`wanted` where the model has as many boosting rounds. Raises InvalidInput."""
    if 1 <= wanted <= total:
        return wanted
    raise InvalidInput(
        f"{wanted} boosting rounds are asked for",
        where="--option iterations",
        why=f"the model has {total}",
        fix=f"give a number from 1 to {total}, or leave the option out",
    )


# ---- checks --------------------------------------------------------------------------------------------


def _check(e: Ensemble) -> None:
    if not e.trees:
        raise broken("it holds no trees")
    if e.nodes > MOST_NODES:
        raise broken(f"it has {e.nodes} nodes; neoc takes up to {MOST_NODES}")
    if e.targets < 1 or e.features < 0:
        raise broken(f"it has {e.features} features and {e.targets} targets")
    per_node = (e.mode, e.threshold, e.missing_true, e.on_true, e.on_false)
    if any(a.shape != (e.nodes,) for a in per_node) or e.member_start.shape != (e.nodes + 1,):
        raise broken("the arrays of its nodes differ in length")
    if e.leaf_target.shape != (e.leaves,):
        raise broken("the arrays of its leaves differ in length")
    in_range("roots", e.roots, 0, e.nodes)
    in_range("feature indices", e.feature[~e.is_single], 0, e.features)
    in_range("modes", e.mode, 0, MEMBER + 1)
    in_range("true branches", e.on_true, -e.leaves, e.nodes)
    in_range("false branches", e.on_false, -e.leaves, e.nodes)
    in_range("leaf targets", e.leaf_target, 0, e.targets)
    _finite("leaf values", e.leaf_value)
    _finite("categories", e.members)
    if np.isnan(e.threshold).any():
        raise broken("its thresholds hold NaN")
    sizes = np.diff(e.member_start)
    if (
        e.member_start[0] != 0
        or e.member_start[-1] != len(e.members)
        or (sizes < 0).any()
        or sizes[e.mode != MEMBER].any()
    ):
        raise broken("the sets of its categorical splits overlap")
    _check_structure(e)


def in_range(what: str, values: Array, low: int, high: int) -> None:
    """Raises InvalidModel where a value is below `low`, or not below `high`."""
    bad = (values < low) | (values >= high)
    if bad.any():
        raise broken(f"its {what} hold {values[bad][0]}, outside of {low} to {high - 1}")


def _finite(what: str, values: Array) -> None:
    if not np.isfinite(values).all():
        raise broken(f"its {what} hold {values[~np.isfinite(values)][0]}")


def _check_structure(e: Ensemble) -> None:
    """Every node and leaf is reached from exactly one root, once."""
    reached = np.concatenate(_levels(e))
    if len(reached) != e.nodes:
        raise broken(f"{e.nodes - len(reached)} of its nodes are reached from no root: a cycle, or stray nodes")
    ends = np.concatenate([e.on_true, e.on_false[~e.is_single]])
    ends = ~ends[ends < 0]
    if len(ends) != e.leaves or len(np.unique(ends)) != e.leaves:
        raise broken("a leaf is reached twice, or never")


def _levels(e: Ensemble) -> list[Array]:
    """Nodes by their distance from the roots. Raises InvalidModel where one is met twice, or the levels do not end."""
    seen = np.zeros(e.nodes, bool)
    levels: list[Array] = []
    front = e.roots
    while len(front):
        _meet(seen, front, len(levels))
        levels.append(front)
        children = np.concatenate([e.on_true[front], e.on_false[front]])
        front = children[children >= 0]
    return levels


def _meet(seen: Array, front: Array, level: int) -> None:
    if level > MOST_DEPTH:
        raise broken(f"a tree is deeper than {MOST_DEPTH} levels")
    if seen[front].any() or len(np.unique(front)) != len(front):
        raise broken("a node is reached twice: its trees share nodes or run in a cycle")
    seen[front] = True


# ---- making one ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Nodes:
    """Trees as libraries store them: leaves among the nodes, deleted nodes left in place. Arrays of one length."""

    roots: Array
    """[trees]"""
    on_true: Array
    """children as numbers of nodes; read where `is_leaf` is not set"""
    on_false: Array
    is_leaf: Array
    feature: Array
    mode: Array
    threshold: Array
    missing_true: Array
    value: Array
    """[nodes] or, for vector leaves, [nodes, T]; read where `is_leaf` is set"""
    target: Array
    """of each tree [trees]; ignored for vector leaves"""
    sets: tuple[Array, Array] | None = None
    """(members, start of each node's set, [nodes + 1])"""


def build(nodes: Nodes, features: int, targets: int, *, sum: str, compare: str) -> Ensemble:
    """The checked ensemble: leaves apart, only what a root reaches, in the order that Ensemble promises."""
    order, tree = _reachable(nodes)
    leaf = nodes.is_leaf[order]
    at_root = np.zeros(len(order), bool)
    at_root[np.searchsorted(tree, np.arange(len(nodes.roots)))] = True
    # A tree that is a leaf needs a node beside its leaf.
    is_node = ~leaf | at_root
    number = np.full(len(nodes.is_leaf), -(1 << 62), np.int64)
    number[order[leaf]] = ~np.arange(np.count_nonzero(leaf))
    number[order[~leaf]] = (np.cumsum(is_node) - 1)[~leaf]
    kept = order[is_node]
    single = leaf[is_node]

    def branch(children: Array) -> Array:
        made = np.where(single, number[kept], number[np.where(single, 0, children[kept])])
        return made.astype(np.int64)

    dtype = nodes.threshold.dtype
    values = nodes.value[order[leaf]]
    mode = np.where(single, LEQ, nodes.mode[kept]).astype(np.uint8)
    members, start = _gather_sets(nodes, kept, mode, dtype)
    made = Ensemble(
        features=features,
        targets=targets,
        roots=np.flatnonzero(at_root[is_node]).astype(np.int64),
        feature=np.where(single, 0, nodes.feature[kept]).astype(np.int32),
        mode=mode,
        threshold=np.where(single | (mode == MEMBER), 0, nodes.threshold[kept]).astype(dtype),
        missing_true=np.where(single, False, nodes.missing_true[kept]).astype(bool),
        on_true=branch(nodes.on_true),
        on_false=branch(nodes.on_false),
        leaf_value=(values if values.ndim == 1 else values[:, 0]).astype(dtype),
        leaf_target=(np.zeros(len(values)) if values.ndim == 2 else nodes.target[tree[leaf]]).astype(np.int32),
        members=members,
        member_start=start,
        sum=sum,
        compare=compare,
    )
    made = made if values.ndim == 1 else _per_target(made, values)
    return made.checked()


def _reachable(nodes: Nodes) -> tuple[Array, Array]:
    """(reachable nodes by tree, then level, then number; the tree of each)."""
    count, trees = len(nodes.is_leaf), len(nodes.roots)
    if not trees:
        raise broken("it holds no trees")
    in_range("roots", nodes.roots, 0, count)
    seen = np.zeros(count, bool)
    front, tree = nodes.roots.astype(np.int64), np.arange(trees)
    found: list[Array] = []
    of: list[Array] = []
    while len(front):
        _meet(seen, front, len(found))
        found.append(front)
        of.append(tree)
        inner = ~nodes.is_leaf[front]
        front, tree = front[inner], tree[inner]
        front = np.concatenate([nodes.on_true[front], nodes.on_false[front]]).astype(np.int64)
        tree = np.concatenate([tree, tree])
        in_range("children", front, 0, count)
        order = np.lexsort((front, tree))
        front, tree = front[order], tree[order]
    everything, owner = np.concatenate(found), np.concatenate(of)
    order = np.argsort(owner, kind="stable")
    return everything[order], owner[order]


def _gather_sets(nodes: Nodes, kept: Array, mode: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    if nodes.sets is None:
        return np.zeros(0, dtype), np.zeros(len(kept) + 1, np.int64)
    members, start = nodes.sets
    sizes = np.where(mode == MEMBER, start[kept + 1] - start[kept], 0)
    total = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    index = np.repeat(start[kept] - total[:-1], sizes) + np.arange(total[-1])
    return members[index].astype(dtype), total


def _per_target(e: Ensemble, values: Array) -> Ensemble:
    """Each tree T times, one after another, with the leaves of one target each. values: [leaves, T]."""
    count = values.shape[1]
    if e.nodes * count > MOST_NODES:
        raise broken(f"its vector leaves make {e.nodes * count} nodes; neoc takes up to {MOST_NODES}")
    node_end = np.append(e.roots[1:], e.nodes)
    leaf_end = _leaf_ends(e, node_end)
    nodes, node_shift = _repeated(e.roots, node_end, count)
    leaves, _ = _repeated(np.concatenate([[0], leaf_end[:-1]]), leaf_end, count)
    # The shift of a leaf's number is that of its tree and target, told by the node that names it.
    per_tree = np.repeat(np.arange(e.trees * count), np.repeat(node_end - e.roots, count))
    first_leaf = np.concatenate([[0], np.cumsum(np.repeat(np.diff(leaf_end, prepend=0), count))[:-1]])
    shift = (first_leaf - np.repeat(np.concatenate([[0], leaf_end[:-1]]), count))[per_tree]

    def branch(children: Array) -> Array:
        old = children[nodes]
        return np.where(old >= 0, old + node_shift, ~(~old + shift))

    target = np.repeat(np.tile(np.arange(count), e.trees), np.repeat(np.diff(leaf_end, prepend=0), count))
    sizes = np.diff(e.member_start)[nodes]
    start = np.concatenate([[0], np.cumsum(sizes)])
    index = np.repeat(e.member_start[nodes] - start[:-1], sizes) + np.arange(start[-1])
    return replace(
        e,
        roots=np.concatenate([[0], np.cumsum(np.repeat(node_end - e.roots, count))[:-1]]),
        feature=e.feature[nodes],
        mode=e.mode[nodes],
        threshold=e.threshold[nodes],
        missing_true=e.missing_true[nodes],
        on_true=branch(e.on_true),
        on_false=branch(e.on_false),
        leaf_value=values[leaves, target].astype(e.threshold.dtype),
        leaf_target=target.astype(np.int32),
        members=e.members[index],
        member_start=start,
    )


def _leaf_ends(e: Ensemble, node_end: Array) -> Array:
    """One past the last leaf of each tree: leaves are numbered by tree."""
    last = np.maximum(~np.minimum(e.on_true, 0), ~np.minimum(e.on_false, 0))
    ends: Array = np.maximum.accumulate(np.maximum.reduceat(last, e.roots)) + 1
    return ends


def _repeated(start: Array, end: Array, count: int) -> tuple[Array, Array]:
    """(each range start to end `count` times, next to one another; how far each element moved)."""
    sizes = np.repeat(end - start, count)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    shift = np.repeat(first - np.repeat(start, count), sizes)
    return np.arange(len(shift)) - shift, shift


def with_base(e: Ensemble, base: Sequence[float] | Array) -> Ensemble:
    """The ensemble behind one single-leaf tree for each target whose base is not 0."""
    values = np.asarray(base, e.leaf_value.dtype)
    if values.shape != (e.targets,):
        raise broken(f"it has {len(values)} base values for {e.targets} targets")
    _finite("base values", values)
    targets = np.flatnonzero(values)
    count = len(targets)
    if not count:
        return e
    leaves = ~np.arange(count)

    def shifted(children: Array) -> Array:
        return np.concatenate([leaves, np.where(children >= 0, children + count, children - count)])

    def before(array: Array, fill: object = 0) -> Array:
        return np.concatenate([np.full(count, fill, array.dtype), array])

    return replace(
        e,
        roots=np.concatenate([np.arange(count), e.roots + count]),
        feature=before(e.feature),
        mode=before(e.mode, LEQ),
        threshold=before(e.threshold),
        missing_true=before(e.missing_true),
        on_true=shifted(e.on_true),
        on_false=shifted(e.on_false),
        leaf_value=np.concatenate([values[targets], e.leaf_value]),
        leaf_target=np.concatenate([targets.astype(np.int32), e.leaf_target]),
        member_start=before(e.member_start),
    ).checked()
