"""XGBoost's model, JSON or UBJSON, as a TreeModel. The schema: doc/model.schema and 'Introduction to Model IO'.

Read from the file alone; xgboost is not imported. Files of 1.x to 3.x are read: base_score as a scalar or a vector,
leaf vectors in `leaf_weights` (3.x) or `base_weights` (2.x).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from neoc.compile.errors import UnsupportedModel
from neoc.compile.frontends.trees import fields as f
from neoc.compile.frontends.trees.ensemble import (
    LT,
    MEMBER,
    Array,
    Ensemble,
    Nodes,
    broken,
    build,
    kept_rounds,
    with_base,
)
from neoc.compile.frontends.trees.model import Linear, TreeModel

_MOST = 2**31 - 1
_MOST_FEATURES = 1 << 24
_DELETED = -1
"""of left_children: a leaf"""


def _identity(base: Array) -> Array:
    return base


def _logit(base: Array) -> Array:
    """-logf(1 / p - 1), in float32 step by step (src/objective/regression_loss.h, LogisticRegression::ProbToMargin)"""
    one = np.float32(1)
    return -_log(one / base - one)


def _log(base: Array) -> Array:
    """logf of the C library, which xgboost calls: neither numpy's nor a rounded double logarithm has all its bits."""
    logf = _c_logf()
    if logf is None:
        return np.log(base.astype(np.float64)).astype(np.float32)
    return np.array([logf(float(value)) for value in base], np.float32)


@cache
def _c_logf() -> Callable[[float], float] | None:
    try:
        found = ctypes.CDLL("libm.so.6").logf
    except (OSError, AttributeError):  # another C library
        return None
    found.restype, found.argtypes = ctypes.c_float, [ctypes.c_float]
    return found


@dataclass(frozen=True)
class Objective:
    """How base_score becomes a margin (ProbToMargin), and which transform makes the prediction (PredTransform)."""

    link: Callable[[Array], Array]
    transform: str


_PLAIN = Objective(_identity, "identity")
_EXP = Objective(_log, "exp")

OBJECTIVES: dict[str, Objective] = {
    "reg:squarederror": _PLAIN,
    "reg:linear": _PLAIN,
    "reg:squaredlogerror": _PLAIN,
    "reg:pseudohubererror": _PLAIN,
    "reg:absoluteerror": _PLAIN,
    "reg:quantileerror": _PLAIN,
    "rank:pairwise": _PLAIN,
    "rank:ndcg": _PLAIN,
    "rank:map": _PLAIN,
    "reg:logistic": Objective(_logit, "sigmoid"),
    "binary:logistic": Objective(_logit, "binary"),
    "binary:logitraw": _PLAIN,
    "binary:hinge": Objective(_identity, "hinge"),
    "multi:softprob": Objective(_identity, "softprob"),
    "multi:softmax": Objective(_identity, "softmax"),
    "count:poisson": _EXP,
    "reg:gamma": _EXP,
    "reg:tweedie": _EXP,
    "survival:cox": _EXP,
    "survival:aft": _EXP,
}
"""src/objective/*.cc of XGBoost 3.2"""


def read(document: Any, iterations: int | str | None) -> TreeModel:
    """The model in a parsed file. iterations: None the best one, 'all', or how many rounds.

    Raises InvalidModel for a broken file, UnsupportedModel for a booster or objective that neoc does not know.
    """
    learner = f.child(document, "learner", "")
    booster = f.child(learner, "gradient_booster", "learner")
    name = f.text(booster, "name", "learner.gradient_booster")
    objective_name = f.text(f.child(learner, "objective", "learner"), "name", "learner.objective")
    if name not in ("gbtree", "dart", "gblinear"):
        raise _unsupported(f"its booster is {name!r}", "neoc knows gbtree, dart and gblinear")
    if objective_name not in OBJECTIVES:
        raise _unsupported(f"its objective is {objective_name!r}", f"neoc knows {', '.join(sorted(OBJECTIVES))}")
    objective = OBJECTIVES[objective_name]
    params = _Params.of(learner)
    base = _base(params, objective)
    types = tuple(f.words(learner, "feature_types", "learner"))
    shared: dict[str, Any] = {
        "framework": "xgboost",
        "version": _version(document),
        "transform": objective.transform,
        "input_dtype": "float32",
        "feature_names": _names(f.words(learner, "feature_names", "learner"), params.features, "feature_names"),
        "feature_types": _names(list(types), params.features, "feature_types"),
    }
    if name == "gblinear":
        # Booster.predict uses all of a linear model whatever rounds it is asked for.
        return TreeModel(core=_linear(booster, params, base), **shared)
    model = f.child(booster if name == "gbtree" else f.child(booster, "gbtree", name), "model", name)
    drop = f.reals(booster, "weight_drop", "learner.gradient_booster", None, "float32") if name == "dart" else None
    ensemble, kept, notes = _trees(model, params, drop, _wanted(learner, iterations), isinstance(iterations, int))
    columns = tuple(int(c) for c in np.flatnonzero(ensemble.categorical))
    return TreeModel(
        core=with_base(ensemble, base),
        truncate="floor" if columns else "",
        category_columns=columns,
        iterations=kept,
        notes=notes,
        **shared,
    )


def _unsupported(why: str, fix: str) -> UnsupportedModel:
    return UnsupportedModel("the XGBoost model cannot be compiled", why=why, fix=fix)


# ---- the learner ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Params:
    features: int
    classes: int
    targets: int
    base: Array

    @property
    def groups(self) -> int:
        """Columns of the margin."""
        return max(self.classes, self.targets, 1)

    @classmethod
    def of(cls, learner: Any) -> _Params:
        where = "learner.learner_model_param"
        param = f.child(learner, "learner_model_param", "learner")
        features = f.whole(param, "num_feature", where, 0, _MOST_FEATURES)
        classes = f.whole(param, "num_class", where, 0, 1 << 20, 0)
        targets = f.whole(param, "num_target", where, 1, 1 << 20, 1)
        if classes > 1 and targets > 1:
            raise broken(f"it has {classes} classes and {targets} targets", where)
        return cls(features, classes, targets, _base_scores(f.text(param, "base_score", where), where))


def _base_scores(written: str, where: str) -> Array:
    """'[5E-1,2E0]' of 3.x, '5E-1' of 1.x and 2.x."""
    body = written.strip()
    parts = body[1:-1].split(",") if body.startswith("[") and body.endswith("]") else [body]
    try:
        values = np.array([float(part) for part in parts], np.float64)
    except ValueError:
        raise broken(f"'base_score' is {f.shown(written)}, no number", where) from None
    narrow = values.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise broken(f"'base_score' is {f.shown(written)}", where)
    return narrow


def _base(params: _Params, objective: Objective) -> Array:
    """float32 [groups] margins."""
    with np.errstate(all="ignore"):
        margins = objective.link(params.base)
    if not np.isfinite(margins).all():
        raise broken(f"'base_score' {params.base.tolist()} has no finite margin", "learner.learner_model_param")
    if len(margins) not in (1, params.groups):
        raise broken(
            f"'base_score' has {len(margins)} values for {params.groups} outputs", "learner.learner_model_param"
        )
    return np.broadcast_to(margins, (params.groups,)).astype(np.float32)


def _names(names: list[str], features: int, field: str) -> tuple[str, ...]:
    if names and len(names) != features:
        raise broken(f"{field!r} has {len(names)} entries for {features} features", "learner")
    return tuple(names)


def _version(document: Any) -> str:
    parts = document.get("version") if isinstance(document, dict) else None
    parts = parts.tolist() if isinstance(parts, np.ndarray) else parts
    return ".".join(map(str, parts))[:40] if isinstance(parts, list) else "unknown"


def _wanted(learner: Any, iterations: int | str | None) -> int | None:
    """Boosting rounds to keep; None: all."""
    if iterations == "all":
        return None
    if isinstance(iterations, int):
        return iterations
    attributes = learner.get("attributes", {})
    if not isinstance(attributes, dict) or "best_iteration" not in attributes:
        return None
    return f.whole(attributes, "best_iteration", "learner.attributes", 0, _MOST) + 1


def _linear(booster: Any, params: _Params, base: Array) -> Linear:
    model = f.child(booster, "model", "learner.gradient_booster")
    size = (params.features + 1) * params.groups
    weights = f.reals(model, "weights", "learner.gradient_booster.model", size, "float32")
    if not np.isfinite(weights).all():
        raise broken("'weights' are not finite", "learner.gradient_booster.model")
    table = weights.reshape(params.features + 1, params.groups)
    # xgboost 3.2 starts every output of a gblinear from the first base score.
    return Linear(table[:-1], table[-1] + base[0])


# ---- the trees -----------------------------------------------------------------------------------------


def _trees(
    model: Any, params: _Params, drop: Array | None, wanted: int | None, asked: bool
) -> tuple[Ensemble, int | None, tuple[str, ...]]:
    where = "learner.gradient_booster.model"
    trees = f.items(model, "trees", where)
    groups = f.integers(model, "tree_info", where, len(trees))
    if not trees:
        raise broken("it holds no trees", where)
    if groups.min() < 0 or groups.max() >= params.groups:
        raise broken(f"'tree_info' names output {groups.max()} of {params.groups}", where)
    if drop is not None and len(drop) != len(trees):
        raise broken(f"'weight_drop' has {len(drop)} entries for {len(trees)} trees", where)
    rounds = _rounds(model, params, trees, where)
    notes: tuple[str, ...] = ()
    total = len(rounds) - 1
    if wanted is not None:
        if wanted > total and not asked:
            raise broken(f"its best iteration is the {wanted}th of {total}", where)
        wanted = kept_rounds(wanted, total)
        if wanted < total:
            notes = (f"the first {wanted} of {total} boosting rounds are kept; --option iterations=all keeps all",)
        trees = trees[: rounds[wanted]]
        groups = groups[: len(trees)]
        drop = None if drop is None else drop[: len(trees)]
    read = [_Tree.of(tree, params, f"tree {i}") for i, tree in enumerate(trees)]
    return _joined(read, groups, params, drop), wanted, notes


def _rounds(model: Any, params: _Params, trees: list[Any], where: str) -> Array:
    """Number of the first tree of each boosting round, and of trees in all."""
    if "iteration_indptr" in model:
        starts = f.integers(model, "iteration_indptr", where)
        if len(starts) < 2 or starts[0] != 0 or starts[-1] != len(trees) or (np.diff(starts) < 0).any():
            raise broken("'iteration_indptr' does not divide the trees into rounds", where)
        return starts
    param = f.child(model, "gbtree_model_param", where)
    parallel = f.whole(param, "num_parallel_tree", where, 1, _MOST, 1)
    vector = _vector_size(trees[0], "tree 0") > 1
    layer = parallel * (1 if vector else params.groups)
    if len(trees) % layer:
        raise broken(f"{len(trees)} trees make no whole rounds of {layer}", where)
    return np.arange(0, len(trees) + 1, layer)


def _vector_size(tree: Any, where: str) -> int:
    param = f.child(tree, "tree_param", where)
    return max(1, f.whole(param, "size_leaf_vector", where, 0, 1 << 20, 1))


@dataclass(frozen=True, eq=False)
class _Tree:
    """One tree as the file has it; leaf vectors resolved. Arrays [nodes]."""

    left: Array
    right: Array
    feature: Array
    condition: Array
    default_left: Array
    categorical: Array
    value: Array
    members: Array
    member_count: Array

    @classmethod
    def of(cls, tree: Any, params: _Params, where: str) -> _Tree:
        left = f.integers(tree, "left_children", where)
        size = len(left)
        if size == 0:
            raise broken("it has no nodes", where)
        declared = f.whole(f.child(tree, "tree_param", where), "num_nodes", where, 0, _MOST)
        if declared != size:
            raise broken(f"it has {size} nodes and declares {declared}", where)
        right = f.integers(tree, "right_children", where, size)
        feature = f.integers(tree, "split_indices", where, size)
        # 2.x writes NaN where a leaf is a vector; what is in use is checked with the whole ensemble.
        condition = f.reals(tree, "split_conditions", where, size, "float32", nan=True)
        categorical = f.integers(tree, "split_type", where, size, 0) == 1
        leaf = left == _DELETED
        members, count = _categories(tree, categorical & ~leaf, size, where)
        vector = _vector_size(tree, where)
        value = condition if vector == 1 else _vectors(tree, leaf, right, vector, where)
        if vector not in (1, params.groups):
            raise broken(f"its leaves hold {vector} values for {params.groups} outputs", where)
        default_left = f.integers(tree, "default_left", where, size) != 0
        return cls(left, right, feature, condition, default_left, categorical, value, members, count)


def _vectors(tree: Any, leaf: Array, right: Array, size: int, where: str) -> Array:
    """float32 [nodes, size]. 3.x: leaf i has its vector at right_children[i] of leaf_weights; 2.x: node i at i."""
    values = np.zeros((len(leaf), size), np.float32)
    if "leaf_weights" not in tree:
        return f.reals(tree, "base_weights", where, len(leaf) * size, "float32").reshape(-1, size)
    weights = f.reals(tree, "leaf_weights", where, None, "float32")
    if len(weights) % size:
        raise broken(f"'leaf_weights' has {len(weights)} entries, no multiple of {size}", where)
    table = weights.reshape(-1, size)
    index = right[leaf]
    if len(index) and (index.min() < 0 or index.max() >= len(table)):
        raise broken(f"a leaf names vector {index.max()} of {len(table)}", where)
    values[leaf] = table[index]
    return values


def _categories(tree: Any, splits: Array, size: int, where: str) -> tuple[Array, Array]:
    """(categories that go right, in the order of nodes; how many each node has)."""
    count = np.zeros(size, np.int64)
    if not splits.any():
        return np.zeros(0, np.int64), count
    values = f.integers(tree, "categories", where)
    nodes = f.integers(tree, "categories_nodes", where)
    starts = f.integers(tree, "categories_segments", where, len(nodes))
    sizes = f.integers(tree, "categories_sizes", where, len(nodes))
    if len(nodes) and (nodes.min() < 0 or nodes.max() >= size or (np.diff(nodes) <= 0).any()):
        raise broken("'categories_nodes' are no ascending numbers of nodes", where)
    if len(nodes) and (starts.min() < 0 or sizes.min() < 0 or (starts + sizes).max() > len(values)):
        raise broken("'categories_segments' point outside of 'categories'", where)
    if set(np.flatnonzero(splits)) - set(nodes.tolist()):
        raise broken("a categorical split has no categories", where)
    if len(values) and (values.min() < 0 or values.max() > 1 << 24):
        raise broken(f"a category is {values.min() if values.min() < 0 else values.max()}", where)
    kept = [values[a : a + n] for a, n in zip(starts, sizes, strict=True)]
    count[nodes] = sizes
    return np.concatenate(kept) if kept else values[:0], count


def _joined(trees: list[_Tree], groups: Array, params: _Params, drop: Array | None) -> Ensemble:
    sizes = np.array([len(tree.left) for tree in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    shift = np.repeat(roots, sizes)

    def join(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in trees])

    value = join("value")
    if drop is not None:
        weight = np.repeat(drop, sizes)
        value = value * (weight if value.ndim == 1 else weight[:, None])
    left, categorical = join("left"), join("categorical")
    leaf = left == _DELETED
    left_children, right_children = left + shift, join("right") + shift
    default_left = join("default_left")
    vector = value.ndim == 2
    starts = np.concatenate([[0], np.cumsum(join("member_count"))]).astype(np.int64)
    nodes = Nodes(
        roots=roots,
        # A numerical split goes left where x < t; a category goes right where the set has it.
        on_true=np.where(categorical, right_children, left_children),
        on_false=np.where(categorical, left_children, right_children),
        is_leaf=leaf,
        feature=join("feature"),
        mode=np.where(categorical, MEMBER, LT),
        threshold=join("condition"),
        missing_true=np.where(categorical, ~default_left, default_left),
        value=value.astype(np.float32),
        target=np.zeros(len(trees), np.int64) if vector else groups,
        sets=(join("members"), starts),
    )
    return build(nodes, params.features, params.groups, sum="f32-sequential", compare="f32")
