"""LightGBM's model text (versions v2 to v4) as a TreeModel. The rules: src/io/tree.cpp and include/LightGBM/tree.h.

Read from the file alone; lightgbm is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neoc.compile.errors import UnsupportedModel
from neoc.compile.frontends.trees.ensemble import LEQ, MEMBER, Array, Ensemble, Nodes, broken, build, kept_rounds
from neoc.compile.frontends.trees.model import TreeModel

ZERO = float(np.float32(1e-35))
"""kZeroThreshold: what is no further from 0 counts as 0 (include/LightGBM/meta.h)"""

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_NONE, _ZERO, _NAN = 0, 1, 2
"""missing types, bits 2 and 3 of decision_type"""

_MOST_FEATURES = 1 << 24
_MOST_LEAVES = 1 << 24

TRANSFORMS: dict[str, str] = {
    "": "identity",
    "custom": "identity",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "lambdarank": "identity",
    "rank_xendcg": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
    "binary": "binary",
    "multiclass": "softprob",
    "multiclassova": "one-vs-all",
    "cross_entropy": "sigmoid",
    "cross_entropy_lambda": "log1p-exp",
}
"""objective -> ConvertOutput (src/objective/*.hpp of LightGBM 4.7)"""

_SQUARED = frozenset({"regression", "regression_l1", "huber", "fair", "quantile", "mape"})
"""objectives that `reg_sqrt` may be said of"""


def read(data: bytes, iterations: int | str | None) -> TreeModel:
    """The model in a file. iterations: None or 'all' all rounds, else how many.

    Raises InvalidModel for a broken file, UnsupportedModel for linear trees and unknown objectives.
    """
    header, blocks = _sections(data)
    per_round = _whole(header, "num_tree_per_iteration", "header", 1, 1 << 20)
    features = _whole(header, "max_feature_idx", "header", -1, _MOST_FEATURES) + 1
    if not blocks:
        raise broken("it holds no trees")
    if len(blocks) % per_round:
        raise broken(f"{len(blocks)} trees make no whole rounds of {per_round}")
    names = tuple(header.get("feature_names", "").split())
    if len(names) != features:
        raise broken(f"it has {len(names)} feature names for {features} features", "header")
    total = kept = len(blocks) // per_round
    if isinstance(iterations, int):
        kept = kept_rounds(iterations, total)
    transform, options = _objective(header.get("objective", ""), per_round)
    trees = [_Tree.of(block, features, f"tree {i}") for i, block in enumerate(blocks[: kept * per_round])]
    ensemble, zero_missing = _joined(trees, features, per_round)
    columns = tuple(int(c) for c in np.flatnonzero(ensemble.categorical[:features]))
    return TreeModel(
        framework="lightgbm",
        version=header.get("version", "unknown")[:40],
        core=ensemble,
        transform=transform,
        transform_options=options,
        feature_names=names,
        truncate="toward-zero" if columns else "",
        category_columns=columns,
        zero_missing=zero_missing,
        average=kept if "average_output" in header else 1,
        iterations=kept if kept != total else None,
        notes=_notes(header, kept, total),
    )


def _notes(header: dict[str, str], kept: int, total: int) -> tuple[str, ...]:
    notes = []
    if kept < total:
        notes.append(f"the first {kept} of {total} boosting rounds are kept")
    if header.get("pandas_categorical", "null") not in ("null", "[]"):
        notes.append("category columns take the codes that pandas gave at training, not the categories themselves")
    return tuple(notes)


# ---- the text ------------------------------------------------------------------------------------------


def _sections(data: bytes) -> tuple[dict[str, str], list[dict[str, str]]]:
    """(fields of the header and the tail, fields of each tree)."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise broken(f"it is no UTF-8 text (byte {error.start})") from None
    if not lines or lines[0].strip() != "tree":
        raise broken("it does not begin with the line 'tree'")
    header: dict[str, str] = {}
    blocks: list[dict[str, str]] = []
    fields = header
    ended = False
    for number, line in enumerate(lines[1:], 2):
        key, equals, value = line.strip().partition("=")
        if ended:
            if key.startswith("pandas_categorical:"):
                header["pandas_categorical"] = key.partition(":")[2] + equals + value
        elif key == "Tree" and equals:
            if value != str(len(blocks)):
                raise broken(f"tree {value[:20]!r} stands where tree {len(blocks)} should", f"line {number}")
            fields = {}
            blocks.append(fields)
        elif key == "end of trees":
            ended = True
        elif key:
            if key in fields:
                raise broken(f"{key[:40]!r} is given twice", f"line {number}")
            fields[key] = value
    if not ended:
        raise broken("it ends before the line 'end of trees': it is cut off")
    sizes = header.get("tree_sizes")
    if sizes is not None and len(sizes.split()) != len(blocks):
        raise broken(f"'tree_sizes' tells of {len(sizes.split())} trees, and it has {len(blocks)}", "header")
    return header, blocks


def _whole(fields: dict[str, str], key: str, where: str, low: int, high: int, default: str | None = None) -> int:
    written = fields.get(key, default)
    if written is None:
        raise broken(f"the field {key!r} is missing", where)
    try:
        number = int(written[:30])
    except ValueError:
        raise broken(f"{key!r} is {written[:40]!r}, not a whole number", where) from None
    if not low <= number <= high:
        raise broken(f"{key!r} is {number}, outside of {low} to {high}", where)
    return number


def _numbers(fields: dict[str, str], key: str, where: str, size: int, dtype: str) -> Array:
    if key not in fields:
        raise broken(f"the field {key!r} is missing", where)
    parts = fields[key].split()
    if len(parts) != size:
        raise broken(f"{key!r} has {len(parts)} entries and {size} are needed", where)
    try:
        values = np.array(parts, dtype) if parts else np.zeros(0, dtype)
    except (ValueError, OverflowError):
        raise broken(f"{key!r} holds something that is no number", where) from None
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise broken(f"{key!r} holds NaN", where)
    return values


def _objective(written: str, per_round: int) -> tuple[str, dict[str, float]]:
    """(transform, its options) of a line such as 'binary sigmoid:1'."""
    name, *words = written.split() or [""]
    if name not in TRANSFORMS:
        raise _unsupported(f"its objective is {name[:60]!r}", f"neoc knows {', '.join(filter(None, TRANSFORMS))}")
    if name in _SQUARED and "sqrt" in words:
        return "signed-square", {}
    given = dict(word.partition(":")[::2] for word in words)
    options: dict[str, float] = {}
    if name in ("binary", "multiclassova"):
        try:
            options["slope"] = float(given.get("sigmoid", "1"))
        except ValueError:
            raise broken(f"the sigmoid of {written[:60]!r} is no number", "header") from None
        if not 0 < options["slope"] < float("inf"):
            raise broken(f"the sigmoid of {written[:60]!r} is not positive", "header")
    wanted = name in ("multiclass", "multiclassova")
    if (per_round > 1) != wanted and TRANSFORMS[name] != "identity" and not (wanted and per_round == 1):
        raise broken(f"the objective {name!r} does not go with {per_round} trees a round", "header")
    return TRANSFORMS[name], options


def _unsupported(why: str, fix: str) -> UnsupportedModel:
    return UnsupportedModel("the LightGBM model cannot be compiled", why=why, fix=fix)


# ---- the trees -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Tree:
    """One tree: inner nodes [L - 1], leaves [L]."""

    left: Array
    """child c >= 0 is a node, c < 0 the leaf ~c"""
    right: Array
    feature: Array
    threshold: Array
    decision: Array
    value: Array
    members: Array
    """categories that go left, in the order of nodes"""
    member_count: Array

    @classmethod
    def of(cls, fields: dict[str, str], features: int, where: str) -> _Tree:
        leaves = _whole(fields, "num_leaves", where, 1, _MOST_LEAVES)
        size = leaves - 1
        if _whole(fields, "is_linear", where, 0, 1, "0"):
            raise _unsupported(
                f"{where} has linear models in its leaves (linear_tree)", "train it again with linear_tree=false"
            )
        value = _numbers(fields, "leaf_value", where, leaves, "float64")
        none = np.zeros(0, np.int64)
        if not size:
            return cls(none, none, none, np.zeros(0), none, value, none, none)
        left = _numbers(fields, "left_child", where, size, "int64")
        right = _numbers(fields, "right_child", where, size, "int64")
        feature = _numbers(fields, "split_feature", where, size, "int64")
        decision = _numbers(fields, "decision_type", where, size, "int64")
        threshold = _numbers(fields, "threshold", where, size, "float64")
        if min(left.min(), right.min()) < -leaves or max(left.max(), right.max()) >= size:
            raise broken("a child is none of its nodes and leaves", where)
        if feature.min() < 0 or feature.max() >= features:
            raise broken(f"it splits on feature {feature.max()} of {features}", where)
        if decision.min() < 0 or decision.max() > 11 or (decision >> 2 == 3).any():
            raise broken("'decision_type' holds an unknown kind of split", where)
        members, count = _categories(fields, decision, threshold, where)
        return cls(left, right, feature, threshold, decision, value, members, count)


def _categories(fields: dict[str, str], decision: Array, threshold: Array, where: str) -> tuple[Array, Array]:
    """The bit sets of the categorical splits; `threshold` holds the number of the set."""
    count = np.zeros(len(decision), np.int64)
    splits = np.flatnonzero(decision & _CATEGORICAL)
    if not len(splits):
        return np.zeros(0, np.int64), count
    sets = _whole(fields, "num_cat", where, 1, _MOST_LEAVES)
    bounds = _numbers(fields, "cat_boundaries", where, sets + 1, "int64")
    if bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] > _MOST_FEATURES:
        raise broken("'cat_boundaries' do not ascend from 0", where)
    words = _numbers(fields, "cat_threshold", where, int(bounds[-1]), "int64")
    if len(words) and (words.min() < 0 or words.max() >= 1 << 32):
        raise broken("'cat_threshold' holds something that is no 32-bit word", where)
    which = threshold[splits]
    if (which < 0).any() or (which >= sets).any():
        raise broken(f"a categorical split names set {which.max():g} of {sets}", where)
    found = []
    for node, number in zip(splits, which.astype(np.int64), strict=True):
        block = words[bounds[number] : bounds[number + 1]].astype("<u4")
        bits = np.flatnonzero(np.unpackbits(block.view(np.uint8), bitorder="little"))
        found.append(bits)
        count[node] = len(bits)
    return np.concatenate(found), count


def _joined(trees: list[_Tree], features: int, per_round: int) -> tuple[Ensemble, str]:
    """(ensemble, how zeros are read as missing). Leaves stand behind the inner nodes of their tree."""
    inner = np.array([len(tree.left) for tree in trees])
    sizes = 2 * inner + 1
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    at = np.concatenate([root + np.arange(n) for root, n in zip(roots, inner, strict=True)]).astype(np.int64)
    total = int(sizes.sum())
    is_leaf = np.ones(total, bool)
    is_leaf[at] = False
    root, count = np.repeat(roots, inner), np.repeat(inner, inner)

    def join(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in trees])

    def spread(values: Array, dtype: str) -> Array:
        made = np.zeros(total, dtype)
        made[at] = values
        return made

    def child(values: Array) -> Array:
        return spread(np.where(values >= 0, root + values, root + count + ~values), "int64")

    value = np.zeros(total)
    value[is_leaf] = join("value")
    decision, feature = join("decision"), join("feature")
    categorical = (decision & _CATEGORICAL) != 0
    threshold = _beside_zero(join("threshold"))
    feature, zero_missing = _zero_columns(feature, (decision >> 2 == _ZERO) & ~categorical, ~categorical, features)
    starts = np.zeros(total + 1, np.int64)
    starts[1:] = np.cumsum(spread(join("member_count"), "int64"))
    nodes = Nodes(
        roots=roots,
        on_true=child(join("left")),
        on_false=child(join("right")),
        is_leaf=is_leaf,
        feature=spread(feature, "int64"),
        mode=spread(np.where(categorical, MEMBER, LEQ), "uint8"),
        threshold=spread(threshold, "float64"),
        missing_true=spread(_missing_left(decision, threshold) & ~categorical, "bool"),
        value=value,
        target=np.arange(len(trees)) % per_round,
        sets=(join("members"), starts),
    )
    columns = 2 * features if zero_missing == "some" else features
    return build(nodes, columns, per_round, sum="f64", compare="f64"), zero_missing


def _beside_zero(threshold: Array) -> Array:
    """Thresholds moved out of the interval in which every value counts as 0, to where they decide the same.

    predict drops values of up to 1e-35 from its rows, so that they read as 0: all or none of them go left.
    """
    near = np.abs(threshold) <= ZERO
    moved: Array = np.where(near & (threshold >= 0), ZERO, threshold)
    return np.where(near & (threshold < 0), np.nextafter(-ZERO, -1.0), moved)


def _missing_left(decision: Array, threshold: Array) -> Array:
    """Whether NaN goes left: by the default direction, or where missing values count for nothing, as 0 does."""
    left: Array = np.where(decision >> 2 == _NONE, threshold >= 0, (decision & _DEFAULT_LEFT) != 0)
    return left


def _zero_columns(feature: Array, zero: Array, numeric: Array, features: int) -> tuple[Array, str]:
    """(features that nodes read, which of them read zeros as missing)."""
    if not zero.any():
        return feature, ""
    if zero[numeric].all() and numeric.all():
        return feature, "all"
    return np.where(zero, feature + features, feature), "some"
