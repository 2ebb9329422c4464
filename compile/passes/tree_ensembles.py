"""TreeEnsembleRegressor and TreeEnsembleClassifier (ai.onnx.ml 1 and 3) as the TreeEnsemble of version 5.

    TreeEnsembleRegressor(x)   = post(TreeEnsemble(x))                                    averages divided afterwards
    TreeEnsembleClassifier(x)  = label: classes[ArgMax(TreeEnsemble(x))], scores: post(TreeEnsemble(x))

Base values become a first single-leaf tree of each target (docs/trees.md); where one class of two has all the votes,
the other's score is made as onnxruntime makes it. What has no such form (MIN, MAX, PROBIT, odd base values) stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.trees import form
from neoc.compile.frontends.trees.ensemble import EQ, GT, GTE, LEQ, LT, NEQ, Array, Ensemble, Nodes, build, with_base
from neoc.compile.passes import graph as g
from neoc.compile.program import Program

ML = "ai.onnx.ml"
VERSION = 5

_MODES = {"BRANCH_LEQ": LEQ, "BRANCH_LT": LT, "BRANCH_GTE": GTE, "BRANCH_GT": GT, "BRANCH_EQ": EQ, "BRANCH_NEQ": NEQ}
_POSTS = frozenset({"NONE", "LOGISTIC", "SOFTMAX"})


@dataclass(frozen=True)
class TreeEnsembles:
    """Rewrites both operators wherever the rest of the domain means the same at version 5."""

    def __call__(self, program: Program) -> Program:
        if not any(_is_old(node) for node in program.nodes()):
            return program
        version = program.model.opset_imports.get(ML, 1)
        if version > VERSION or any(
            n.domain == ML and not _is_old(n) and _differs(n, version) for n in program.nodes()
        ):
            return program
        copy = program.clone()
        names = g.Names(copy.model)
        did = [_rewrite(node, names) for graph in g.graphs(copy.model) for node in graph if _is_old(node)]
        if any(did):
            copy.model.opset_imports[ML] = VERSION
        return g.changed(program, copy, any(did))


def _is_old(node: ir.Node) -> bool:
    return node.domain == ML and node.op_type in _RULES


def _differs(node: ir.Node, version: int) -> bool:
    """Whether the operator's definition changed between `version` and VERSION."""
    from onnx import defs

    if not defs.has(node.op_type, version, ML):
        return True
    before, after = defs.get_schema(node.op_type, version, ML), defs.get_schema(node.op_type, VERSION, ML)
    return bool(before.since_version != after.since_version)


def _rewrite(node: ir.Node, names: g.Names) -> bool:
    x = node.inputs[0]
    if x is None or x.dtype is None:
        return False
    try:
        old = _Old.of(node)
        return old is not None and _RULES[node.op_type](node, old, _Maker(node, names))
    except InvalidModel as error:
        error.where = f"{node.op_type} {node.name}"
        raise


# ---- reading -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Old:
    """One old node: its trees, its transform, and for a classifier its classes."""

    ensemble: Ensemble
    post: str
    divide: int
    """trees that an average divides by, else 1"""
    classes: Array | None
    binary: bool
    """two classes, and every vote is for one of them"""
    positive: bool
    """no vote is negative"""

    @classmethod
    def of(cls, node: ir.Node) -> _Old | None:
        """None where there is no form of version 5. Raises InvalidModel for broken trees."""
        get = _Attributes(node)
        prefix = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
        dtype = np.dtype(np.float64 if node.inputs[0].dtype == ir.DataType.DOUBLE else np.float32)  # type: ignore[union-attr]
        post, aggregate = get.text("post_transform", "NONE"), get.text("aggregate_function", "SUM")
        classes = _classes(get) if prefix == "class" else None
        targets = get.number("n_targets", 1) if classes is None else len(classes)
        if post not in _POSTS or aggregate not in ("SUM", "AVERAGE") or targets < 1:
            return None
        if classes is None and targets == 1 and post != "NONE":
            return None  # onnxruntime leaves a single target as it is, whatever the standard says
        ids = get.integers(f"{prefix}_ids")
        weights = get.reals(f"{prefix}_weights", dtype)
        base = get.reals("base_values", dtype)
        # With its votes for class 0, the one score is the second class's: exporters write it, onnxruntime completes it.
        binary = classes is not None and targets == 2 and len(ids) > 0 and not ids.any()
        if classes is not None and len(classes) == 2 and not (binary and _are_plain(classes)):
            return None  # of two classes with votes for both, the standard and onnxruntime choose differently
        if binary:
            targets = 1
        if len(base) not in (0, targets):
            return None
        nodes = _nodes(get, prefix, ids, weights, targets, dtype)
        if nodes is None:
            return None
        # onnxruntime leaves out base and rank of what no leaf votes for, and the base of an average of several.
        if (len(base) or classes is not None) and not _always_voted_for(get, prefix, ids, targets):
            return None
        if len(base) and aggregate == "AVERAGE" and targets > 1:
            return None
        columns = int(np.max(nodes.feature, initial=0)) + 1
        single = dtype == np.float32
        ensemble = build(
            nodes, columns, targets, sum="f32-sequential" if single else "f64", compare="f32" if single else "f64"
        )
        if len(base):
            # Of an average, the base is added to the quotient.
            scale = ensemble.trees if aggregate == "AVERAGE" else 1
            ensemble = with_base(ensemble, base * dtype.type(scale))
        divide = len(nodes.roots) if aggregate == "AVERAGE" else 1
        return cls(ensemble, post, divide, classes, binary, bool((weights >= 0).all()))


class _Attributes:
    """Attributes of a node, whichever of the two spellings of version 3 it uses."""

    def __init__(self, node: ir.Node) -> None:
        self._values = {name: attribute.value for name, attribute in node.attributes.items()}

    def text(self, name: str, default: str) -> str:
        value = self._values.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def number(self, name: str, default: int) -> int:
        return int(self._values.get(name, default))

    def listed(self, name: str) -> list[Any]:
        return list(self._values.get(name, ()))

    def integers(self, name: str) -> Array:
        return np.asarray(self._values.get(name, ()), np.int64)

    def reals(self, name: str, dtype: np.dtype[Any]) -> Array:
        tensor = self._values.get(f"{name}_as_tensor")
        values = self._values.get(name, ()) if tensor is None else tensor.numpy().ravel()
        return np.asarray(values, dtype)


def _classes(get: _Attributes) -> Array:
    strings = [s.decode() if isinstance(s, bytes) else str(s) for s in get.listed("classlabels_strings")]
    return np.array(strings, object) if strings else get.integers("classlabels_int64s")


def _nodes(
    get: _Attributes, prefix: str, ids: Array, weights: Array, targets: int, dtype: np.dtype[Any]
) -> Nodes | None:
    """The node table, roots found; None where lengths or names do not fit: such nodes are onnxruntime's to judge."""
    tree, number = get.integers("nodes_treeids"), get.integers("nodes_nodeids")
    modes = [m.decode() if isinstance(m, bytes) else str(m) for m in get.listed("nodes_modes")]
    leaf = np.array([m == "LEAF" for m in modes], bool)
    count = len(tree)
    features, splits = get.integers("nodes_featureids"), get.reals("nodes_values", dtype)
    on_true, on_false = get.integers("nodes_truenodeids"), get.integers("nodes_falsenodeids")
    lengths = {len(a) for a in (number, modes, features, splits, on_true, on_false)}
    if not count or lengths != {count} or any(m not in _MODES and m != "LEAF" for m in modes):
        return None
    place = _Places(tree, number)
    inner = ~leaf
    true_at, false_at = np.zeros(count, np.int64), np.zeros(count, np.int64)
    true_at[inner], false_at[inner] = place(tree[inner], on_true[inner]), place(tree[inner], on_false[inner])
    owner = place(get.integers(f"{prefix}_treeids"), get.integers(f"{prefix}_nodeids"))
    if min(true_at.min(), false_at.min(), owner.min(initial=0)) < 0 or not (len(owner) == len(ids) == len(weights)):
        return None
    if len(ids) and (ids.min() < 0 or ids.max() >= targets or not leaf[owner].all()):
        return None
    is_child = np.zeros(count, bool)
    is_child[true_at[inner]] = is_child[false_at[inner]] = True
    roots = np.flatnonzero(~is_child)
    values = np.zeros((count, targets), dtype)
    np.add.at(values, (owner, ids), weights)
    missing = get.integers("nodes_missing_value_tracks_true")
    alone = _single_target(owner, ids, tree, roots)
    return Nodes(
        roots=roots,
        on_true=true_at,
        on_false=false_at,
        is_leaf=leaf,
        feature=features,
        mode=np.array([_MODES.get(m, LEQ) for m in modes], np.uint8),
        threshold=splits,
        missing_true=missing != 0 if len(missing) == count else np.zeros(count, bool),
        value=values if alone is None else values.sum(axis=1, dtype=dtype),
        target=np.zeros(len(roots), np.int64) if alone is None else alone,
    )


def _single_target(owner: Array, ids: Array, tree: Array, roots: Array) -> Array | None:
    """The one target of each tree [trees]; None where a tree votes for several."""
    least: dict[int, int] = {}
    most: dict[int, int] = {}
    for name, target in zip(tree[owner].tolist(), ids.tolist(), strict=True):
        least[name] = min(target, least.get(name, target))
        most[name] = max(target, most.get(name, target))
    if least != most:
        return None
    return np.array([least.get(name, 0) for name in tree[roots].tolist()], np.int64)


def _are_plain(classes: Array) -> bool:
    """Texts, or 0 and 1, which is what onnxruntime answers whatever two integers the classes are."""
    return bool(classes.dtype == object or classes.tolist() == [0, 1])


def _always_voted_for(get: _Attributes, prefix: str, ids: Array, targets: int) -> bool:
    """Whether each target has a tree whose every leaf votes for it."""
    tree, leaf = (
        get.integers("nodes_treeids"),
        np.array([str(m) in ("LEAF", "b'LEAF'") for m in get.listed("nodes_modes")]),
    )
    leaves = dict(zip(*map(np.ndarray.tolist, np.unique(tree[leaf], return_counts=True)), strict=True))
    votes = np.unique(np.stack([get.integers(f"{prefix}_treeids"), get.integers(f"{prefix}_nodeids"), ids]), axis=1)
    counts: dict[tuple[int, int], int] = {}
    for name, target in zip(votes[0].tolist(), votes[2].tolist(), strict=True):
        counts[name, target] = counts.get((name, target), 0) + 1
    return len({target for (name, target), count in counts.items() if count == leaves.get(name)}) == targets


class _Places:
    """(tree id, node id) -> position in the node table, -1 for none."""

    def __init__(self, tree: Array, number: Array) -> None:
        self._at = {pair: i for i, pair in enumerate(zip(tree.tolist(), number.tolist(), strict=True))}

    def __call__(self, tree: Array, number: Array) -> Array:
        if len(tree) != len(number):
            return np.full(max(1, len(tree)), -1)
        pairs = zip(tree.tolist(), number.tolist(), strict=True)
        return np.array([self._at.get(pair, -1) for pair in pairs], np.int64)


# ---- writing -------------------------------------------------------------------------------------------


class _Maker:
    """New nodes in front of the old one."""

    def __init__(self, node: ir.Node, names: g.Names) -> None:
        self._node, self._names = node, names

    def add(self, operator: str, *inputs: ir.Value, domain: str = g.ONNX, **attributes: Any) -> ir.Value:
        made = [ir.convenience.convert_attribute(name, value) for name, value in attributes.items()]
        name = self._names.fresh(f"{self._node.name or 'trees'}_{operator.lower()}")
        node = ir.Node(domain, operator, inputs, made, num_outputs=1, name=name)
        node.outputs[0].name = name
        graph = self._node.graph
        assert graph is not None
        graph.insert_before(self._node, node)
        return node.outputs[0]

    def constant(self, value: Any, dtype: Any) -> ir.Value:
        graph = self._node.graph
        assert graph is not None
        name = self._names.fresh(f"{self._node.name or 'trees'}_constant")
        if dtype is object:
            encoded = np.array([text.encode() for text in value], object)
            return g.add_initializer(graph, name, ir.StringTensor(encoded, name=name))
        tensor = ir.tensor(np.asarray(value, dtype))
        return g.add_initializer(graph, name, tensor)

    def sums(self, old: _Old) -> ir.Value:
        """[rows, T] of the new TreeEnsemble, divided where it was an average."""
        e = old.ensemble
        x = self._node.inputs[0]
        assert x is not None
        wanted = ir.DataType.DOUBLE if e.threshold.dtype == np.float64 else ir.DataType.FLOAT
        if x.dtype != wanted:
            x = self.add("Cast", x, to=int(wanted))
        made = [_attribute(name, value) for name, value in form.attributes(e).items()]
        node = ir.Node(ML, "TreeEnsemble", [x], made, num_outputs=1, name=self._node.name)
        node.metadata_props.update(self._node.metadata_props)
        node.metadata_props.update(form.metadata(e))
        total = node.outputs[0]
        total.name = self._names.fresh(f"{self._node.name or 'trees'}_sum")
        graph = self._node.graph
        assert graph is not None
        graph.insert_before(self._node, node)
        if old.divide > 1:
            total = self.add("Div", total, self.constant(old.divide, e.threshold.dtype))
        return total

    def finish(self, index: int, value: ir.Value, dtype: ir.DataType, now: ir.DataType) -> None:
        """Let output `index` of the old node be `value`."""
        output = self._node.outputs[index]
        if not output.name or not g.is_used(output):
            return
        value = value if now == dtype else self.add("Cast", value, to=int(dtype))
        value.type = ir.TensorType(dtype)
        g.substitute(output, value, self._names)


def _attribute(name: str, value: Any) -> ir.Attr:
    if isinstance(value, int):
        return ir.AttrInt64(name, value)
    if value.dtype == np.int64:
        return ir.AttrInt64s(name, tuple(value.tolist()))
    return ir.AttrTensor(name, ir.tensor(np.ascontiguousarray(value)))


def _regressor(node: ir.Node, old: _Old, make: _Maker) -> bool:
    total = _POST[old.post](make, make.sums(old))
    make.finish(0, total, ir.DataType.FLOAT, _dtype(old))
    g.discard(node)
    return True


def _classifier(node: ir.Node, old: _Old, make: _Maker) -> bool:
    assert old.classes is not None
    total = make.sums(old)
    if old.binary:
        best, scores = _of_two(old, make, total)
    else:
        best, scores = make.add("ArgMax", total, axis=1, keepdims=0), _POST[old.post](make, total)
    strings = old.classes.dtype == object
    classes = make.constant(old.classes, object if strings else np.int64)
    label = make.add("Gather", classes, best, axis=0)
    kind = ir.DataType.STRING if strings else ir.DataType.INT64
    make.finish(0, label, kind, kind)
    make.finish(1, scores, ir.DataType.FLOAT, _dtype(old))
    g.discard(node)
    return True


def _of_two(old: _Old, make: _Maker, score: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(number of the class [rows], scores [rows, 2]) of the second class's score s [rows, 1], as onnxruntime has it.

    No vote negative: s is a share, the second class wins above 1/2, the first gets 1 - s. Else it wins above 0, and the
    first gets -s. LOGISTIC makes both of s, after the choice.
    """
    dtype = old.ensemble.threshold.dtype
    border = make.constant(0.5 if old.positive else 0.0, dtype)
    wins = make.add("Cast", make.add("Greater", score, border), to=int(ir.DataType.INT64))
    best = make.add("Squeeze", wins, make.constant([1], np.int64))
    if old.post == "LOGISTIC":
        first, second = make.add("Sigmoid", make.add("Neg", score)), make.add("Sigmoid", score)
    elif old.positive:
        first, second = make.add("Sub", make.constant(1.0, dtype), score), score
    else:
        first, second = make.add("Neg", score), score
    return best, make.add("Concat", first, second, axis=1)


def _dtype(old: _Old) -> ir.DataType:
    return ir.DataType.DOUBLE if old.ensemble.threshold.dtype == np.float64 else ir.DataType.FLOAT


_POST: dict[str, Callable[[_Maker, ir.Value], ir.Value]] = {
    "NONE": lambda make, x: x,
    "LOGISTIC": lambda make, x: make.add("Sigmoid", x),
    "SOFTMAX": lambda make, x: make.add("Softmax", x, axis=1),
}

_RULES: dict[str, Callable[[ir.Node, _Old, _Maker], bool]] = {
    "TreeEnsembleRegressor": _regressor,
    "TreeEnsembleClassifier": _classifier,
}
