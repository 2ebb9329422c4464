"""Fitted scikit-learn estimators as TreeModels. Objects are told by the names of their classes; nothing is imported.

The caller hands over objects that `skops` loaded under a list of trusted types (skops_file.py). What they hold is as
untrusted as any file: every array goes through the checks of Ensemble.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neoc.compile.errors import UnsupportedModel
from neoc.compile.frontends.trees.columns import Table
from neoc.compile.frontends.trees.ensemble import LEQ, MEMBER, Array, Ensemble, Nodes, broken, build, with_base
from neoc.compile.frontends.trees.model import TreeModel
from neoc.kernels.errors import KernelError
from neoc.kernels.tabular import Block, Category, Numeric
from neoc.kernels.tabular_sklearn import read as read_transformer


@dataclass(frozen=True, eq=False)
class Estimator:
    """A model and what stands before it."""

    model: TreeModel
    blocks: tuple[Block, ...] = ()
    """column steps; none where the model reads the matrix as it is"""
    table: Table | None = None
    name: str = ""
    """class of the final estimator"""
    allows_nan: bool = True
    allows_infinity: bool = False


def read(estimator: Any) -> Estimator:
    """Raises UnsupportedModel for a class or setting that neoc does not know, InvalidModel for damaged arrays."""
    try:
        return _read(estimator)
    except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
        raise broken(f"an attribute of the estimator is missing or garbled: {str(error)[:200]}") from error


def _read(estimator: Any) -> Estimator:
    kind = type(estimator).__name__
    if kind == "Pipeline":
        return _pipeline(estimator)
    if kind not in _READERS:
        raise _unsupported(
            kind, "neoc does not know this class", f"it knows {', '.join(sorted(_READERS))} and Pipeline"
        )
    made = _READERS[kind](estimator)
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and not made.model.feature_names:
        made = replace(made, model=replace(made.model, feature_names=tuple(str(n) for n in names)))
    return replace(made, name=kind)


def _unsupported(where: str, why: str, fix: str = "") -> UnsupportedModel:
    return UnsupportedModel("the scikit-learn model cannot be compiled", where=where, why=why, fix=fix)


def _pipeline(pipeline: Any) -> Estimator:
    *before, (_, final) = pipeline.steps
    inner = _read(final)
    before = [step for step in before if step[1] is not None and step[1] != "passthrough"]
    if not before:
        return inner
    if inner.blocks:
        raise _unsupported(inner.name, "its category columns cannot follow other steps", "encode them in the pipeline")
    first = before[0][1]
    if not hasattr(first, "n_features_in_"):
        raise broken(f"the step {before[0][0]!r} is not fitted")
    names = getattr(first, "feature_names_in_", None)
    try:
        blocks, columns, listed = read_transformer(_Steps(before, first.n_features_in_, names))
    except KernelError as error:
        raise _unsupported(type(first).__name__, str(error)) from error
    if len(_width(blocks)) != inner.model.features:
        raise broken(f"the steps give {len(_width(blocks))} columns and the model takes {inner.model.features}")
    table = Table.of(blocks, columns, listed)
    model = replace(inner.model, input_dtype="float64", feature_names=tuple(listed or ()))
    return replace(inner, model=model, blocks=tuple(blocks), table=table, allows_infinity=False)


class _Steps:
    """The steps before the last as a pipeline of their own, by the names that the reader of transformers looks for."""

    def __init__(self, steps: list[Any], columns: int, names: Any) -> None:
        self.steps, self.n_features_in_ = steps, columns
        if names is not None:
            self.feature_names_in_ = names


_Steps.__name__ = "Pipeline"


def _width(blocks: list[Block]) -> list[int]:
    """One entry for each column that the blocks make."""
    return [i for i, block in enumerate(blocks) for _ in range(block.outputs if isinstance(block, Category) else 1)]


# ---- trees of sklearn.tree -----------------------------------------------------------------------------


def _trees(
    trees: list[Any], values: list[Array], features: int, targets: int, owner: Array, columns: list[Array] | None = None
) -> Ensemble:
    """values: of each tree [nodes] or [nodes, T]; owner: the target of each tree; columns: feature -> input column."""
    sizes = np.array([tree.node_count for tree in trees], np.int64)
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    shift = np.repeat(roots, sizes)

    def join(name: str) -> Array:
        return np.concatenate([_array(getattr(tree, name), tree.node_count, name) for tree in trees])

    left, right = join("children_left").astype(np.int64), join("children_right").astype(np.int64)
    leaf = left == -1
    feature = join("feature").astype(np.int64)
    if columns is not None:
        parts = np.split(feature, roots[1:])
        feature = np.concatenate(
            [np.where(p >= 0, c[np.clip(p, 0, len(c) - 1)], p) for p, c in zip(parts, columns, strict=True)]
        )
    if not leaf.all() and feature[~leaf].min() < 0:
        raise broken("a split names no feature")
    nodes = Nodes(
        roots=roots,
        on_true=left + shift,
        on_false=right + shift,
        is_leaf=leaf,
        feature=feature,
        mode=np.full(len(leaf), LEQ),
        threshold=_rounded_down(join("threshold").astype(np.float64)),
        missing_true=join("missing_go_to_left").astype(bool),
        value=np.concatenate(values),
        target=owner,
    )
    return build(nodes, features, targets, sum="f64", compare="f32")


def _array(value: Any, size: int, name: str) -> Array:
    array = np.asarray(value)
    if array.shape[:1] != (size,):
        raise broken(f"{name!r} has {array.shape[:1]} entries and {size} are needed")
    return array


def _rounded_down(threshold: Array) -> Array:
    """The largest float32 number not above each: a float32 x is <= t exactly where it is <= that."""
    with np.errstate(over="ignore"):
        narrow = threshold.astype(np.float32)
    above = narrow.astype(np.float64) > threshold
    narrow[above] = np.nextafter(narrow[above], np.float32(-np.inf))
    return narrow.astype(np.float64)


def _allows_nan(tree: Any) -> bool:
    """As sklearn.tree's tags say: missing values are known to the plain splitters and criteria without constraints."""
    splitter, criterion = getattr(tree, "splitter", ""), getattr(tree, "criterion", "")
    kinds = {"gini", "log_loss", "entropy", "squared_error", "friedman_mse", "poisson"}
    return splitter in ("best", "random") and criterion in kinds and getattr(tree, "monotonic_cst", None) is None


def _averaged(estimator: Any, trees: list[Any]) -> Estimator:
    """A forest, or a tree alone."""
    features = int(estimator.n_features_in_)
    classifier = hasattr(estimator, "classes_")
    outputs = int(estimator.n_outputs_)
    if classifier and outputs > 1:
        raise _unsupported(
            type(estimator).__name__, f"it predicts {outputs} outputs at once", "train one model for each"
        )
    classes = _classes(estimator) if classifier else ()
    targets = len(classes) if classifier else outputs
    values = []
    for tree in trees:
        value = _array(tree.tree_.value, tree.tree_.node_count, "value").astype(np.float64)
        value = value[:, 0, :targets] if classifier else value[:, :, 0]
        if value.shape[1] != targets:
            raise broken(f"its leaves hold {value.shape[1]} values for {targets} outputs")
        values.append(value[:, 0] if targets == 1 else value)
    ensemble = _trees([t.tree_ for t in trees], values, features, targets, np.zeros(len(trees), np.int64))
    model = TreeModel(
        framework="scikit-learn",
        version=_version(estimator),
        core=ensemble,
        transform="votes" if classifier else "identity",
        input_dtype="float32",
        average=len(trees),
        margin=False,
        classes=classes,
    )
    return Estimator(model, allows_nan=all(_allows_nan(tree) for tree in trees))


def _classes(estimator: Any) -> tuple[Any, ...]:
    classes = np.asarray(estimator.classes_)
    if classes.ndim != 1 or not len(classes):
        raise broken("'classes_' is no list of classes")
    return tuple(classes.tolist())


def _version(estimator: Any) -> str:
    return str(
        getattr(estimator, "_sklearn_version", "")
        or getattr(estimator, "__dict__", {}).get("_sklearn_version", "unknown")
    )


def _tree(estimator: Any) -> Estimator:
    return _averaged(estimator, [estimator])


def _forest(estimator: Any) -> Estimator:
    return _averaged(estimator, list(estimator.estimators_))


def _gradient_boosting(estimator: Any) -> Estimator:
    """sklearn/ensemble/_gb.py: from the initial guess, each stage adds learning_rate times its trees."""
    stages = np.asarray(estimator.estimators_, object)
    if stages.ndim != 2:
        raise broken("'estimators_' is no table of trees")
    trees = [tree.tree_ for tree in stages.ravel()]
    targets = stages.shape[1]
    rate = float(estimator.learning_rate)
    values = [_array(t.value, t.node_count, "value")[:, 0, 0].astype(np.float64) * rate for t in trees]
    features = int(estimator.n_features_in_)
    ensemble = _trees(trees, values, features, targets, np.arange(len(trees)) % targets)
    initial = type(estimator.init_).__name__ if not isinstance(estimator.init_, str) else estimator.init_
    if initial not in ("zero", "DummyClassifier", "DummyRegressor"):
        raise _unsupported("init", f"it starts from a {initial}", "leave `init` out, or use 'zero'")
    base = np.asarray(estimator._raw_predict_init(np.zeros((1, features), np.float32)), np.float64)[0]
    classifier = hasattr(estimator, "classes_")
    options = {"at_zero": 1.0, "slope": 2.0 if estimator.loss == "exponential" else 1.0}
    model = TreeModel(
        framework="scikit-learn",
        version=_version(estimator),
        core=with_base(ensemble, base),
        transform=("sklearn-binary" if targets == 1 else "sklearn-classes") if classifier else "identity",
        transform_options=options if classifier and targets == 1 else {},
        input_dtype="float32",
        classes=_classes(estimator) if classifier else (),
    )
    return Estimator(model, allows_nan=False)


def _isolation_forest(estimator: Any) -> Estimator:
    """sklearn/ensemble/_iforest.py: each leaf counts its depth and the expected rest of the path."""
    trees = [tree.tree_ for tree in estimator.estimators_]
    lengths = zip(estimator._decision_path_lengths, estimator._average_path_length_per_tree, strict=True)
    values = [np.asarray(depth, np.float64) + np.asarray(rest, np.float64) - 1.0 for depth, rest in lengths]
    values = [_array(value, tree.node_count, "path lengths") for value, tree in zip(values, trees, strict=True)]
    columns = [np.asarray(listed, np.int64) for listed in estimator.estimators_features_]
    features = int(estimator.n_features_in_)
    ensemble = _trees(trees, values, features, 1, np.zeros(len(trees), np.int64), columns)
    longest = _average_path_length(int(estimator._max_samples)) * len(trees)
    model = TreeModel(
        framework="scikit-learn",
        version=_version(estimator),
        core=ensemble,
        transform="isolation",
        transform_options={"longest": longest, "offset": float(estimator.offset_)},
        input_dtype="float32",
        margin=False,
    )
    return Estimator(model, allows_nan=all(_allows_nan(t) for t in estimator.estimators_))


def _average_path_length(samples: int) -> float:
    """Expected length of a path in a random tree of that many samples (sklearn.ensemble._iforest)."""
    if samples <= 2:
        return float(max(0, samples - 1))
    return float(2.0 * (np.log(samples - 1.0) + np.euler_gamma) - 2.0 * (samples - 1.0) / samples)


# ---- HistGradientBoosting ------------------------------------------------------------------------------


def _hist_gradient_boosting(estimator: Any) -> Estimator:
    predictors = [p for stage in estimator._predictors for p in stage]
    base = np.asarray(estimator._baseline_prediction, np.float64).ravel()
    targets = int(estimator.n_trees_per_iteration_)
    features = int(estimator.n_features_in_)
    categories = _category_columns(estimator, features)
    numeric = [c for c in range(features) if c not in categories]
    # The model's own encoder puts category columns first.
    columns = np.array([*categories, *numeric], np.int64)
    plain = all(_are_codes(known) for known in categories.values())
    ensemble = _histogram_trees(predictors, features, targets, columns, categories if plain else None)
    classifier = hasattr(estimator, "classes_")
    link = type(estimator._loss.link).__name__
    if not classifier and link not in ("IdentityLink", "LogLink"):
        raise _unsupported("loss", f"its link is {link}")
    transform = ("sklearn-binary" if targets == 1 else "sklearn-classes") if classifier else "identity"
    model = TreeModel(
        framework="scikit-learn",
        version=_version(estimator),
        core=with_base(ensemble, base),
        transform="exp" if link == "LogLink" else transform,
        classes=_classes(estimator) if classifier else (),
        truncate="whole-or-missing" if plain and categories else "",
        category_columns=tuple(categories) if plain else (),
    )
    made = Estimator(model, allows_infinity=not categories)
    if plain:
        return made
    blocks = tuple(
        Category(c, tuple(None if v != v else v for v in categories[c]), _codes(categories[c]), unknown=float("nan"))
        if c in categories
        else Numeric(c)
        for c in range(features)
    )
    names = getattr(estimator, "feature_names_in_", None)
    return replace(made, blocks=blocks, table=Table.of(blocks, features, names))


def _category_columns(estimator: Any, features: int) -> dict[int, list[Any]]:
    """Column -> what its encoder knows, in the order of the codes."""
    if getattr(estimator, "_preprocessor", None) is None:
        return {}
    mask = np.asarray(estimator.is_categorical_, bool)
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    columns = np.flatnonzero(mask)
    if mask.shape != (features,) or len(columns) != len(encoder.categories_):
        raise broken("'is_categorical_' and its encoder do not agree")
    return {int(c): np.asarray(known).tolist() for c, known in zip(columns, encoder.categories_, strict=True)}


def _are_codes(known: list[Any]) -> bool:
    """Whether every category is a whole number that a MEMBER node can hold, so that no encoder is needed."""
    numbers = [k for k in known if k == k]
    return all(
        isinstance(k, int | float) and not isinstance(k, bool) and 0 <= k < 1 << 24 and k == int(k) for k in numbers
    )


def _codes(known: list[Any]) -> tuple[float, ...]:
    """What the encoder gives for each: its position; NaN for NaN."""
    return tuple(float(k) if v == v else float("nan") for k, v in enumerate(known))


def _histogram_trees(
    predictors: list[Any], features: int, targets: int, columns: Array, categories: dict[int, list[Any]] | None
) -> Ensemble:
    """categories: of each column, where nodes are to hold the values themselves instead of the encoder's codes."""
    tables = [p.nodes for p in predictors]
    if not tables or any(t.dtype.names is None or t.ndim != 1 for t in tables):
        raise broken("its predictors hold no tables of nodes")
    sizes = np.array([len(t) for t in tables], np.int64)
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    shift = np.repeat(roots, sizes)
    nodes = np.concatenate(tables)
    leaf = nodes["is_leaf"].astype(bool)
    feature = nodes["feature_idx"].astype(np.int64)
    if not leaf.all() and (feature[~leaf].min() < 0 or feature[~leaf].max() >= features):
        raise broken(f"a split names feature {feature[~leaf].max()} of {features}")
    feature = columns[np.where(leaf, 0, feature)]
    left, right = nodes["left"].astype(np.int64) + shift, nodes["right"].astype(np.int64) + shift
    missing_left = nodes["missing_go_to_left"].astype(bool)
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    tree = np.repeat(np.arange(len(tables)), sizes)
    members, start = _histogram_sets(predictors, nodes, tree, feature, categorical, missing_left, categories)
    # A set lists what does not go the way of missing values, so that what is in no set takes that way too.
    swap = categorical & missing_left
    return build(
        Nodes(
            roots=roots,
            on_true=np.where(swap, right, left),
            on_false=np.where(swap, left, right),
            is_leaf=leaf,
            feature=feature,
            mode=np.where(categorical, MEMBER, LEQ),
            threshold=nodes["num_threshold"].astype(np.float64),
            missing_true=missing_left & ~categorical,
            value=nodes["value"].astype(np.float64),
            target=np.arange(len(tables)) % targets,
            sets=(members, start),
        ),
        features,
        targets,
        sum="f64",
        compare="f64",
    )


def _histogram_sets(
    predictors: list[Any],
    nodes: Array,
    tree: Array,
    feature: Array,
    categorical: Array,
    missing_left: Array,
    categories: dict[int, list[Any]] | None,
) -> tuple[Array, Array]:
    sizes = np.zeros(len(nodes), np.int64)
    found: list[Array] = []
    for i in np.flatnonzero(categorical):
        bitsets = np.asarray(predictors[tree[i]].raw_left_cat_bitsets, np.uint32)
        row = int(nodes["bitset_idx"][i])
        if bitsets.ndim != 2 or row >= len(bitsets):
            raise broken(f"a categorical split names set {row} of {len(bitsets)}")
        left = np.unpackbits(np.ascontiguousarray(bitsets[row]).view(np.uint8), bitorder="little").astype(bool)
        known = None if categories is None else [k for k in categories[int(feature[i])] if k == k]
        count = len(left) if known is None else min(len(known), len(left))
        codes = np.flatnonzero(left[:count] != missing_left[i])
        chosen = codes.astype(np.float64) if known is None else np.array(known, np.float64)[codes]
        found.append(chosen)
        sizes[i] = len(chosen)
    members = np.concatenate(found) if found else np.zeros(0)
    return members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


_READERS: dict[str, Callable[[Any], Estimator]] = {
    "DecisionTreeClassifier": _tree,
    "DecisionTreeRegressor": _tree,
    "ExtraTreeClassifier": _tree,
    "ExtraTreeRegressor": _tree,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
    "IsolationForest": _isolation_forest,
}
