"""A Program in the normal form of docs/trees.md -> the ensemble for the tree compiler, and what stands around it.

    features --(Cast)--(category columns cut)--> TreeEnsemble --> operators of the post-transform --> outputs

Everything behind the sum is a table of small numpy functions, kept as a list of steps in the artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import Gap, TensorSpec
from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees.ensemble import LEQ, MEMBER, Ensemble, check
from neoc.targets.engines.nodes import label, where_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

SUM_FUNCTION = 1
_ELEMENTS = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def _reshape(x: np.ndarray, shape: np.ndarray, allowzero: int = 0) -> np.ndarray:
    sizes = [x.shape[k] if s == 0 and not allowzero else int(s) for k, s in enumerate(shape)]
    return x.reshape(sizes)


def _where(condition: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(condition, a, b))


def _concat(*parts: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(parts, axis)


def _arg(best: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
        return np.asarray(best(x, axis=axis, keepdims=bool(keepdims)), np.int64)

    return run


STEPS: dict[str, Callable[..., np.ndarray]] = {
    "Add": lambda a, b: a + b,
    "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "Cast": lambda x, to, saturate=1: x.astype(_ELEMENTS[to]),
    "Concat": _concat,
    "Div": lambda a, b: a / b,
    "Equal": lambda a, b: a == b,
    "Exp": np.exp,
    "Gather": lambda x, i, axis=0: np.take(x, i, axis),
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Identity": lambda x: x,
    "Less": lambda a, b: a < b,
    "Log": np.log,
    "Max": lambda *xs: np.maximum.reduce(xs),
    "Min": lambda *xs: np.minimum.reduce(xs),
    "Mul": lambda a, b: a * b,
    "Neg": np.negative,
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Sign": np.sign,
    "Softmax": _softmax,
    "Softplus": lambda x: np.logaddexp(x, np.zeros((), x.dtype)),
    "Sqrt": np.sqrt,
    "Squeeze": lambda x, axes=None: np.squeeze(x, None if axes is None else tuple(int(a) for a in axes)),
    "Sub": lambda a, b: a - b,
    "Unsqueeze": lambda x, axes: np.expand_dims(x, tuple(int(a) for a in axes)),
    "Where": _where,
}
"""operator -> (*inputs, **attributes) -> its one output. This table is both what `gaps` knows and what runs."""


@dataclass(frozen=True)
class Parts:
    """A program taken apart."""

    ensemble: Ensemble
    margin: str
    """the name of the TreeEnsemble's output"""
    steps: tuple[dict[str, Any], ...]
    """what follows: operator, inputs, output, attributes"""
    constants: dict[str, np.ndarray]


def find_gaps(program: Program, engine: str) -> tuple[Gap, ...]:
    """Every reason why the program is no pure tree program."""
    nodes = list(program.nodes())
    trees = [n for n in nodes if _is_trees(n)]
    found: list[Gap] = []
    if len(trees) == 1:
        found += [*_tree_gaps(trees[0], engine), *_input_gaps(program, trees[0], engine)]
    else:
        reason = f"the program has {len(trees)} TreeEnsemble nodes; this engine takes exactly one"
        found.append(Gap(engine, "", "", reason, suggestion="use another engine"))
    before = _before(trees[0]) if len(trees) == 1 else set()
    for node in nodes:
        name, op = label(node), node.op_type
        if _is_trees(node):
            continue
        if node in before and op not in ("Cast", "Where", "Floor", "Ceil", "Less"):
            found.append(Gap(engine, name, op, "it changes the features before the trees", where_of(node)))
        elif node not in before and (node.domain or op not in STEPS or len(node.outputs) != 1):
            found.append(Gap(engine, name, op, "it is no known step behind the trees", where_of(node)))
    if not found:
        try:
            take_apart(program)
        except (KernelInputError, ValueError, KeyError, TypeError) as error:
            found.append(Gap(engine, label(trees[0]), "TreeEnsemble", str(error), where_of(trees[0])))
    return tuple(found)


def _is_trees(node: ir.Node) -> bool:
    return node.op_type == "TreeEnsemble" and node.domain == "ai.onnx.ml"


def _tree_gaps(node: ir.Node, engine: str) -> list[Gap]:
    found = []
    for name, wanted, default in (("aggregate_function", SUM_FUNCTION, 1), ("post_transform", 0, 0)):
        value = node.attributes[name].value if name in node.attributes else default
        if value != wanted:
            reason = f"{name} is {value}; only sums without a transform are compiled"
            found.append(Gap(engine, label(node), "TreeEnsemble", reason, where_of(node)))
    return found


def _input_gaps(program: Program, node: ir.Node, engine: str) -> list[Gap]:
    inputs = program.signature.inputs
    if len(inputs) != 1:
        return [Gap(engine, "", "", f"the program has {len(inputs)} inputs, not one matrix of features")]
    spec = inputs[0]
    shape = spec.shape or ()
    if spec.dtype not in ("float32", "float64") or len(shape) != 2 or not isinstance(shape[1], int):
        return [Gap(engine, spec.name, "", f"{spec} is no matrix of floats with a known number of columns")]
    return []


def _before(trees: ir.Node) -> set[ir.Node]:
    found: set[ir.Node] = set()
    todo = [trees]
    while todo:
        for value in todo.pop().inputs:
            node = None if value is None else value.producer()
            if node is not None and node not in found:
                found.add(node)
                todo.append(node)
    return found


def take_apart(program: Program) -> Parts:
    """The ensemble and the steps behind it. Raises KernelInputError, ValueError where `find_gaps` names a gap."""
    node = next(n for n in program.nodes() if _is_trees(n))
    before = _before(node)
    spec = program.signature.inputs[0]
    ensemble = _ensemble(node, spec, _casts(program, before, spec))
    check(ensemble)
    after = [n for n in program.nodes() if n is not node and n not in before]
    steps = tuple(
        {
            "operator": n.op_type,
            "inputs": ["" if v is None else v.name for v in n.inputs],
            "output": n.outputs[0].name,
            "attributes": _attributes(n),
        }
        for n in after
    )
    used = {str(v.name) if v is not None else "" for n in after for v in n.inputs}
    constants = {
        name: value.const_value.numpy()
        for name, value in program.model.graph.initializers.items()
        if name in used and value.const_value is not None
    }
    margin = str(node.outputs[0].name)
    known = {margin, *constants, *(str(n.outputs[0].name) for n in after)}
    wanted = used | {output.name for output in program.signature.outputs}
    if strangers := sorted(str(name) for name in wanted - known):
        raise ValueError(f"{strangers[0] or 'a left-out input'} is read behind the trees, and is no result of them")
    return Parts(ensemble, margin, steps, constants)


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {str(a.name): a.value for a in node.attributes.values()}


def _casts(program: Program, before: set[ir.Node], spec: TensorSpec) -> np.ndarray:
    """What the prologue does to each column, found by running it on numbers that tell the ways apart."""
    width = int(spec.shape[1]) if spec.shape else 0  # type: ignore[arg-type]
    if not any(n.op_type != "Cast" for n in before):
        return np.zeros(0, np.uint8)
    operators: dict[str, Callable[..., Any]] = {**STEPS, "Floor": np.floor, "Ceil": np.ceil}
    probe = np.repeat(np.array([[-1.5], [1.5], [-0.5], [2.0]], spec.dtype), width, axis=1)
    values: dict[str, np.ndarray] = {spec.name: probe}
    for name, value in program.model.graph.initializers.items():
        if value.const_value is not None:
            values[name] = value.const_value.numpy()
    last = probe
    for node in program.nodes():
        if node in before:
            arguments = [values[str(v.name)] for v in node.inputs if v is not None]
            last = operators[node.op_type](*arguments, **_attributes(node))
            values[str(node.outputs[0].name)] = last
    if last.shape != probe.shape:
        raise ValueError("the prologue adds columns, which this engine does not follow")
    kinds = np.full(width, 255, np.uint8)
    ways: tuple[Callable[..., Any], ...] = (np.asarray, np.floor, np.trunc)
    for kind, way in enumerate(ways):
        kinds[(way(probe) == last).all(axis=0) & (kinds == 255)] = kind
    if (kinds == 255).any():
        raise ValueError("the prologue computes something else than whole numbers of categories")
    return kinds


def _ensemble(node: ir.Node, spec: TensorSpec, casts: np.ndarray) -> Ensemble:
    values = {name: _value(a) for name, a in node.attributes.items()}
    splits = np.asarray(values["nodes_splits"]).ravel()
    meta: Mapping[str, str] = node.metadata_props
    narrow = spec.dtype == "float32"
    total = meta.get("neoc.sum", "f32-sequential" if splits.dtype == np.float32 else "f64")
    row = np.float32 if narrow else np.float64
    if not narrow and splits.dtype == np.float32:
        raise ValueError("the features are float64 and the trees compare float32")
    if (splits.astype(row) != splits)[np.asarray(values["nodes_modes"]).ravel() != MEMBER].any():
        raise ValueError("a split is no float32 number although the features are")
    true, false = (_branch(values[f"nodes_{k}nodeids"], values[f"nodes_{k}leafs"]) for k in ("true", "false"))
    keep, number = _without_single_leaves(true, false)
    roots = np.asarray(values["tree_roots"], np.int64)
    if len(true) == 0 or roots.min() < 0 or roots.max() >= len(true):
        raise ValueError("a root is no node")
    mode = np.asarray(values["nodes_modes"]).ravel().astype(np.uint8)
    members, start = _sets(np.where(true == false, LEQ, mode), np.asarray(values.get("membership_values", ()), row))
    missing = np.asarray(values.get("nodes_missing_value_tracks_true", np.zeros(len(mode))), bool)
    sizes = np.diff(start)[keep]
    return Ensemble(
        features=int(spec.shape[1]),  # type: ignore[index, arg-type]
        targets=int(values.get("n_targets", 1)),
        compare="f32" if narrow else "f64",
        sum="f64" if total == "f64" else "f32-sequential",
        roots=np.where(true[roots] == false[roots], true[roots], number[roots]).astype(np.int32),
        feature=np.asarray(values["nodes_featureids"])[keep].astype(np.int32),
        mode=mode[keep],
        split=splits[keep].astype(row),
        missing_true=missing[keep],
        true_child=_renumbered(true[keep], number),
        false_child=_renumbered(false[keep], number),
        leaf_target=np.asarray(values["leaf_targetids"]).astype(np.int32),
        leaf_value=np.asarray(values["leaf_weights"]).ravel().astype(np.float64 if total == "f64" else np.float32),
        member_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        members=members,
        cast=casts,
    )


def _value(attribute: Any) -> Any:
    value = attribute.value
    return value.numpy() if hasattr(value, "numpy") else value


def _branch(ids: Any, is_leaf: Any) -> np.ndarray:
    ids, is_leaf = np.asarray(ids, np.int64), np.asarray(is_leaf, bool)
    return np.asarray(np.where(is_leaf, ~ids, ids))


def _without_single_leaves(true: np.ndarray, false: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes that are no single-leaf tree, new number of each node)."""
    keep = ~((true == false) & (true < 0))
    return np.flatnonzero(keep), np.cumsum(keep) - 1


def _renumbered(child: np.ndarray, number: np.ndarray) -> np.ndarray:
    inner = (child >= 0) & (child < len(number))
    return np.where(inner, number[np.where(inner, child, 0)], np.where(child >= 0, 2**31 - 1, child)).astype(np.int32)


def _sets(mode: np.ndarray, delimited: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(members, start of each node's set) of values that a NaN ends for each MEMBER node."""
    ends = np.flatnonzero(np.isnan(delimited))
    which = mode == MEMBER
    if len(ends) != np.count_nonzero(which):
        raise ValueError(f"there are {np.count_nonzero(which)} categorical splits and {len(ends)} sets")
    sizes = np.zeros(len(mode), np.int64)
    sizes[which] = np.diff(ends, prepend=-1) - 1
    members = delimited[~np.isnan(delimited)]
    if len(members) != sizes.sum():
        raise ValueError("the last set has no end")
    return members, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
