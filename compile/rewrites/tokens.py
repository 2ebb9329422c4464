"""Functions of a token become a table: one-hot(t) @ W, and whatever is done to it element by element, is f(t).

    y = gelu(onehot(t) @ W + b)      =      y = Gather(T, t),  T[v] = gelu(W[v] + b) in double precision

What varies along the last axis alone is a table with one row a token. The rule follows the chain back from its end to
the operator that brings the token in: Equal(t, 0 1 2 ...), OneHot(t) or Gather(W, t).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.onnx_tools import Kernel
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

_ONE_BY_ONE = """
Abs Cast Ceil Clip Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log Mish Neg Not Reciprocal Relu
Selu Sigmoid Sign Softplus Softsign Sqrt Tanh
"""
_UNARY = frozenset(_ONE_BY_ONE.split())
_BINARY = frozenset(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"])
_STARTS = frozenset(["Equal", "OneHot", "Gather"])
_DOMAINS = 1 << 16
"""tokens that a table may have"""
_BYTES = 64 << 20
"""that a table may take"""


@dataclass
class _Chain:
    """What is known of one value of the chain."""

    start: ir.Node
    token: ir.Value
    rank: int


_Known = dict[ir.Node, _Chain | None]
_DEPTH = 200
"""nodes behind each other that a chain may have"""


def _find(node: ir.Node, opset: int) -> Site | None:
    """The whole chain that ends at `node`: its value is a function of the token, and somebody needs more than that."""
    known: _Known = {}
    chain = _trace(node, known)
    if chain is None or not _ends(node.outputs[0], known):
        return None
    nodes = _ordered(node, chain.start)
    facts = {
        "token": chain.token,
        "start": chain.start,
        "rank": chain.rank,
        "constants": _constants(nodes, chain.start),
    }
    return Site(node, opset, nodes, facts)


def _ends(value: ir.Value, known: _Known) -> bool:
    """Whether somebody reads `value` who does not only carry the chain on."""
    return value.is_graph_output() or any(_trace(user, known) is None for user, _ in value.uses())


def _trace(node: ir.Node | None, known: _Known, depth: int = 0) -> _Chain | None:
    """The chain that `node` ends; None where it is no function of one token."""
    if node is None or node.domain != g.ONNX or len(node.outputs) != 1 or depth > _DEPTH:
        return None
    if node not in known:
        known[node] = _start(node) if node.op_type in _STARTS else _carried(node, known, depth)
    return known[node]


def _carried(node: ir.Node, known: _Known, depth: int) -> _Chain | None:
    """What the inputs that are not constant have in common: one token, brought in by one node."""
    product = node.op_type == "MatMul"
    if node.op_type not in _UNARY and node.op_type not in _BINARY and not product:
        return None
    if product and (g.constant(node.inputs[1]) is None or g.constant(node.inputs[0]) is not None):
        return None
    chains = []
    for value in node.inputs:
        if value is not None and g.constant(value) is None:
            chains.append(_trace(value.producer(), known, depth + 1))
            if chains[-1] is None:
                return None
    first = chains[0] if chains else None
    if first is None or any(c is None or c.start is not first.start or c.rank != first.rank for c in chains):
        return None
    return first


def _ordered(end: ir.Node, start: ir.Node) -> tuple[ir.Node, ...]:
    """Every node of the chain, each behind those that it reads."""
    done: dict[ir.Node, None] = {start: None}
    todo = [end]
    while todo:
        node = todo[-1]
        before = [p for v in node.inputs if v is not None and (p := v.producer()) is not None and g.constant(v) is None]
        waiting = [] if node in done else [p for p in before if p not in done]
        if waiting:
            todo += waiting
            continue
        done[node] = None
        todo.pop()
    return tuple(done)


def _constants(nodes: Iterable[ir.Node], start: ir.Node) -> list[tuple[str, ir.TensorProtocol]]:
    """(operator, tensor) of every constant that a node behind the start reads."""
    pairs = [(node.op_type, g.constant(v)) for node in nodes if node is not start for v in node.inputs]
    return [(operator, tensor) for operator, tensor in pairs if tensor is not None]


def _start(node: ir.Node) -> _Chain | None:
    if node.op_type == "Equal":
        for token, fixed in (node.inputs, reversed(node.inputs)):
            if g.constant(token) is None and g.constant(fixed) is not None and token is not None and token.shape:
                return _Chain(node, token, len(token.shape))
        return None
    table, token = (node.inputs[0], node.inputs[1]) if node.op_type == "Gather" else (node.inputs[1], node.inputs[0])
    if token is None or token.shape is None or g.constant(table) is None or g.constant(token) is not None:
        return None
    if node.op_type == "OneHot" and g.constant(node.inputs[2]) is None:
        return None
    return _Chain(node, token, len(token.shape) + 1)


# ---- guards --------------------------------------------------------------------------------------


def _integers(site: Site) -> bool:
    """Tokens are integers, and what comes out is float32: 1.0 and 1.0000001 are two tokens, but no two rows."""
    token: ir.Value = site["token"]
    kind = token.dtype
    whole = kind is not None and kind.is_integer()
    return whole and site.output.dtype == ir.DataType.FLOAT and all(map(_real, site.covered))


def _real(node: ir.Node) -> bool:
    """Tables are computed in double precision: whole numbers that wrap around or divide without a rest are not that."""
    carries = node.op_type in _STARTS or node.op_type in ("Cast", "Identity")
    return carries or node.outputs[0].dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.BOOL)


def _last_axis(site: Site) -> bool:
    """The token spreads along the last axis: its own last axis is one wide, or the operator makes a new, last one."""
    start: ir.Node = site["start"]
    token: ir.Value = site["token"]
    if start.op_type == "Equal":
        return token.shape is not None and token.shape[-1] == 1
    if start.op_type == "OneHot":
        return g.attribute_int(start, "axis", -1) in (-1, site["rank"] - 1)
    table = g.constant(start.inputs[0])
    return table is not None and len(table.shape.numpy()) == 2 and g.attribute_int(start, "axis", 0) in (0, -2)


def _along_last(site: Site) -> bool:
    """Every constant on the way varies along the last axis alone, and adds no axis of its own."""
    dims: dict[str, list[tuple[int, ...]]] = {operator: [] for operator, _ in site["constants"]}
    for operator, tensor in site["constants"]:
        dims[operator].append(tuple(int(d) for d in tensor.shape.numpy()))
    if any(len(shape) != 2 for shape in dims.pop("MatMul", [])):
        return False
    shapes = [shape for found in dims.values() for shape in found]
    if site["start"].op_type == "Equal":
        shapes.append(tuple(int(d) for d in _fixed(site["start"]).shape))
    return all(len(shape) <= site["rank"] and all(d == 1 for d in shape[:-1]) for shape in shapes)


def _saves(site: Site) -> bool:
    """There is a product to save, or a chain; and the table is of a size that a cache may hold."""
    heavy = any(node.op_type == "MatMul" for node in site.covered)
    if not heavy and len(site.covered) < 4:
        return False
    rows = _rows(site["start"])
    return rows is not None and len(rows) <= _DOMAINS


TOKEN_TABLE = Rule(
    "token-table",
    "f(onehot(t) @ W) = Gather(T, t) with T[v] = f(W[v])",
    _UNARY | _BINARY | {"MatMul"},
    _find,
    (Guard("dtype", _integers), Guard("axis", _last_axis), Guard("broadcast", _along_last)),
    lambda site, editor, way: _rewrite(site, editor),
    worth=(Guard("size", _saves),),
    opset=13,
)


# ---- the table -----------------------------------------------------------------------------------


def _fixed(start: ir.Node) -> np.ndarray:
    tensor = next(t for value in start.inputs if (t := g.constant(value)) is not None)
    array: np.ndarray = tensor.numpy()
    return array


def _rows(start: ir.Node) -> np.ndarray | None:
    """The tokens that have a row each, consecutive. For Equal and OneHot the first and last stand for all beyond."""
    if start.op_type == "Gather":
        table = g.constant(start.inputs[0])
        return None if table is None else np.arange(int(table.shape.numpy()[0]))
    if start.op_type == "OneHot":
        depth = int(_fixed_input(start, 1).reshape(-1)[0])
        low, high = -depth, depth - 1
    else:
        compared = _fixed(start)
        low, high = int(compared.min()), int(compared.max())
    token = start.inputs[0] if g.constant(start.inputs[0]) is None else start.inputs[1]
    assert token is not None
    assert token.dtype is not None
    if token.dtype.is_integer():
        kind = np.iinfo(token.dtype.numpy())
        low, high = max(low - 1, int(kind.min)), min(high + 1, int(kind.max))
    return np.arange(low, high + 1) if high - low < _DOMAINS else None


def _fixed_input(node: ir.Node, index: int) -> np.ndarray:
    tensor = g.constant(node.inputs[index])
    assert tensor is not None
    array: np.ndarray = tensor.numpy()
    return array


def _first_table(start: ir.Node, rows: np.ndarray) -> np.ndarray:
    """The start's value for each row, in double precision (bool for Equal)."""
    if start.op_type == "Gather":
        return _fixed_input(start, 0).astype(np.float64)
    if start.op_type == "Equal":
        same: np.ndarray = rows[:, None] == _fixed(start).reshape(1, -1)
        return same
    depth = int(_fixed_input(start, 1).reshape(-1)[0])
    off, on = _fixed_input(start, 2).astype(np.float64)
    wrapped = np.where(rows < 0, rows + depth, rows)
    hot: np.ndarray = np.where(wrapped[:, None] == np.arange(depth), on, off)
    return hot


def _table(site: Site, rows: np.ndarray) -> np.ndarray | None:
    """One row a token; None where an operator has no answer for one of them (a division by zero, say)."""
    start: ir.Node = site["start"]
    values = {start.outputs[0]: _first_table(start, rows)}
    for node in site.covered:
        if node is start:
            continue
        given = [None if v is None else values[v] if v in values else _widened(v) for v in node.inputs]
        found = _evaluate(node, given, site.opset)
        if found is None or found.shape[0] != len(rows) or found.ndim != 2 or found.nbytes > 2 * _BYTES:
            return None
        values[node.outputs[0]] = found
    return values[site.output]


def _widened(value: ir.Value) -> np.ndarray:
    tensor = g.constant(value)
    assert tensor is not None
    array: np.ndarray = tensor.numpy()
    # A constant has the last axis alone, but may have leading ones of size 1: the table has two axes.
    flat: np.ndarray = array.reshape(array.shape[-2:]) if array.ndim > 2 else array
    return flat.astype(np.float64) if flat.dtype.kind == "f" else flat


def _evaluate(node: ir.Node, given: list[np.ndarray | None], opset: int) -> np.ndarray | None:
    operation = _DIRECT.get(node.op_type)
    if operation is not None:
        return operation(*[a for a in given if a is not None])
    if node.op_type == "Cast":
        kind = ir.DataType(g.attribute_int(node, "to", 1)).numpy()
        first = given[0]
        assert first is not None
        cast: np.ndarray = first.astype(np.float64 if kind.kind == "f" else kind)
        return cast
    kernel = Kernel(node, [None if a is None else ir.tensor(a) for a in given], opset)
    results = kernel.evaluate()
    return None if results is None else results[0]


_DIRECT: dict[str, Callable[..., np.ndarray]] = {"MatMul": lambda a, b: a.astype(np.float64) @ b}


def _rewrite(site: Site, editor: Editor) -> ir.Value | None:
    start: ir.Node = site["start"]
    rows = _rows(start)
    assert rows is not None
    table = _table(site, rows)
    if table is None:
        return None
    index: ir.Value = site["token"]
    assert index.dtype is not None
    if start.op_type == "Equal":
        index = editor.op("Squeeze", index, editor.ints(-1))
    if start.op_type != "Gather":
        kind = site["token"].dtype.numpy()
        low, high = editor.const(np.array(rows[0], kind)), editor.const(np.array(rows[-1], kind))
        index = editor.op("Clip", index, low, high)
        index = editor.op("Cast", index, to=ir.DataType.INT64.value)
        if rows[0]:
            index = editor.op("Sub", index, editor.const(np.array(rows[0], np.int64)))
    return editor.op("Gather", editor.const(table, np.float32), index, axis=0)
