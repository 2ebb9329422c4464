"""A Program in the normal form of docs/trees.md -> the ensemble for the tree compiler, and what stands around it.

    features --(steps)--> TreeEnsemble --> operators of the post-transform --> outputs

Casts, and category columns that are cut to whole numbers, become part of the trees. Everything else before and behind
the sum is a table of small numpy functions, kept as a list of steps in the artifact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.contracts import Gap, TensorSpec
from neoc.compile.errors import InvalidModel
from neoc.kernels.errors import KernelInputError
from neoc.kernels.trees.ensemble import Ensemble, check
from neoc.targets.engines.nodes import label, where_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

SUM_FUNCTION = 1
ELEMENTS = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 11: "float64"}


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


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whole numbers are divided towards zero, as the standard has it; numpy would make floats of them."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    down = a // b
    return np.asarray(down + ((a < 0) != (b < 0)) * (a - down * b != 0), a.dtype)


def _arg(best: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
        if not select_last_index:
            return np.asarray(best(x, axis=axis, keepdims=bool(keepdims)), np.int64)
        return np.asarray(x.shape[axis] - 1 - best(np.flip(x, axis), axis=axis, keepdims=bool(keepdims)), np.int64)

    return run


def _reduce_sum(x: np.ndarray, axes: np.ndarray, keepdims: int = 1) -> np.ndarray:
    return np.asarray(x.sum(tuple(int(a) for a in axes), keepdims=bool(keepdims)))


STEPS: dict[str, Callable[..., np.ndarray]] = {
    "Abs": np.abs,
    "Add": lambda a, b: a + b,
    "And": np.logical_and,
    "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "Cast": lambda x, to, saturate=1: x.astype(ELEMENTS[to]),
    "Ceil": np.ceil,
    "Concat": _concat,
    "Div": _divide,
    "Equal": lambda a, b: a == b,
    "Exp": np.exp,
    "Floor": np.floor,
    "Gather": lambda x, i, axis=0: np.take(x, i, axis),
    "Greater": lambda a, b: a > b,
    "GreaterOrEqual": lambda a, b: a >= b,
    "Identity": lambda x: x,
    "IsNaN": np.isnan,
    "Less": lambda a, b: a < b,
    "LessOrEqual": lambda a, b: a <= b,
    "Log": np.log,
    "Max": lambda *xs: np.maximum.reduce(xs),
    "Min": lambda *xs: np.minimum.reduce(xs),
    "Mul": lambda a, b: a * b,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Pow": np.power,
    "ReduceSum": _reduce_sum,
    "Relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
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
    before: tuple[dict[str, Any], ...] = ()
    """the same of what comes before the trees, where that is no part of them"""
    fed: str = ""
    """the value that the trees then read"""


def find_gaps(program: Program, engine: str) -> tuple[Gap, ...]:
    """Every reason why the program is no pure tree program."""
    nodes = list(program.nodes())
    trees = [n for n in nodes if _is_trees(n)]
    found: list[Gap] = []
    if not trees:
        reason = "the program has no TreeEnsemble node: this engine is for tree models"
        return (Gap(engine, "", "", reason, suggestion="use another engine"),)
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
        if node.domain or op not in STEPS or len(node.outputs) != 1:
            place = "before" if node in before else "behind"
            found.append(Gap(engine, name, op, f"it is no known step {place} the trees", where_of(node)))
    if not found:
        try:
            take_apart(program)
        except (InvalidModel, KernelInputError, ValueError, KeyError, TypeError) as error:
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
    """The ensemble and the steps behind it. Raises InvalidModel, KernelInputError, ValueError where `find_gaps` names a
    gap."""
    from neoc.compile.frontends.trees import form
    from neoc.compile.frontends.trees.kernel import compiled

    node = next(n for n in program.nodes() if _is_trees(n))
    before = _before(node)
    spec = program.signature.inputs[0]
    casts, width = _prologue(program, before, spec)
    parsed = form.parse(node, width)
    row = spec.dtype if casts is not None else "float32" if parsed.compare == "f32" else "float64"
    ensemble = compiled(parsed, row, casts)
    check(ensemble)
    # What the trees do themselves stays only where something behind them reads it too.
    known = _values(program)
    after = [n for n in program.nodes() if n is not node and n not in before]
    ahead = [] if casts is not None else [n for n in program.nodes() if n in before]
    used = {str(v.name) if v is not None else "" for n in (*ahead, *after) for v in n.inputs}
    constants = {name: value for name, value in known.items() if name in used}
    margin, fed = str(node.outputs[0].name), "" if casts is not None else str(node.inputs[0].name)  # type: ignore[union-attr]
    made = {margin, *constants, *(str(n.outputs[0].name) for n in after)}
    wanted = {str(v.name) if v is not None else "" for n in after for v in n.inputs}
    wanted |= {output.name for output in program.signature.outputs}
    if strangers := sorted(str(name) for name in wanted - made):
        raise ValueError(f"{strangers[0] or 'a left-out input'} is read behind the trees, and is no result of them")
    return Parts(ensemble, margin, tuple(map(_step, after)), constants, tuple(map(_step, ahead)), fed)


def _step(node: ir.Node) -> dict[str, Any]:
    return {
        "operator": node.op_type,
        "inputs": ["" if v is None else v.name for v in node.inputs],
        "output": node.outputs[0].name,
        "attributes": _attributes(node),
    }


def _values(program: Program) -> dict[str, np.ndarray]:
    """The initializers."""
    held = program.model.graph.initializers.items()
    return {str(name): value.const_value.numpy() for name, value in held if value.const_value is not None}


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {str(a.name): a.value for a in node.attributes.values()}


def _prologue(program: Program, before: set[ir.Node], spec: TensorSpec) -> tuple[np.ndarray | None, int]:
    """(what is done to each column as `Ensemble.cast` has it, columns that the trees read).

    Found by running what comes before the trees on numbers that tell the ways apart; None where it is more than a
    choice, by column and sign, between a value and its neighbouring whole numbers.
    """
    width = int(spec.shape[1]) if spec.shape else 0  # type: ignore[arg-type]
    if not any(n.op_type != "Cast" for n in before):
        return np.zeros(0, np.uint8), width
    probe = np.repeat(np.array([[-1.5], [1.5], [-0.5], [2.0], [0.0], [np.nan]], spec.dtype), width, axis=1)
    values = {spec.name: probe, **_values(program)}
    last = probe
    for node in program.nodes():
        if node in before:
            arguments = [values[str(v.name)] for v in node.inputs if v is not None]
            last = STEPS[node.op_type](*arguments, **_attributes(node))
            values[str(node.outputs[0].name)] = last
    if last.ndim != 2 or len(last) != len(probe):
        raise ValueError("what comes before the trees gives no row for each row")
    if not all(_only_cuts(node, program) for node in before):
        return None, last.shape[1]
    kinds = np.full(width, 255, np.uint8)
    ways: tuple[Callable[..., Any], ...] = (np.asarray, np.floor, np.trunc)
    for kind, way in enumerate(ways):
        same = (way(probe) == last) | (np.isnan(probe) & np.isnan(last))
        kinds[same.all(axis=0) & (kinds == 255)] = kind
    return (None if (kinds == 255).any() else kinds), last.shape[1]


def _only_cuts(node: ir.Node, program: Program) -> bool:
    """Whether the node only casts, cuts, asks for the sign, or chooses between results of such nodes."""
    fixed = _values(program)
    constants = [fixed.get(str(v.name)) if v is not None else None for v in node.inputs]
    if node.op_type == "Less":
        return constants[0] is None and constants[1] is not None and not constants[1].any()
    if node.op_type == "Where":
        return constants[1] is None and constants[2] is None
    return node.op_type in ("Cast", "Floor", "Ceil")
