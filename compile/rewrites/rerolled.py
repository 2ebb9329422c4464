"""A chain of equal steps, as a framework's Python loop leaves it, is one LSTM or GRU again.

    h1, c1 = cell(x1, h0, c0)   h2, c2 = cell(x2, h1, c1)  ...      =      LSTM([x1 x2 ...], h0, c0)

The steps are read backwards from the last one, as far as weights and functions are the same. What stacks the states
afterwards is the operator's own history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.passes.loop_activation import activation_attributes
from neoc.compile.passes.loop_invariants import through_identity
from neoc.compile.rewrites import cells
from neoc.compile.rewrites.cells import CellStep
from neoc.compile.rewrites.recurrent import DEFAULTS, OPSET
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site

LEAST = 2
"""steps from which a chain is one"""


@dataclass(frozen=True)
class Link:
    """One step of a chain, its operands told apart."""

    step: CellStep
    x: ir.Value
    h: ir.Value | None
    """None: zeros, whose product an exporter has folded away"""
    w: np.ndarray
    r: np.ndarray


@dataclass(frozen=True)
class Chain:
    """First step first."""

    links: tuple[Link, ...]

    @property
    def last(self) -> Link:
        return self.links[-1]

    @property
    def starts(self) -> tuple[ir.Value | None, ...]:
        """h0, and of an LSTM c0; None: zeros."""
        first = self.links[0]
        given = (first.h, *first.step.states[1 if first.step.kind == "GRU" else 0 :])
        return tuple(None if value is None or _is_zero(value) else value for value in given)

    @property
    def results(self) -> list[ir.Value]:
        return [value for link in self.links for value in link.step.results]


# ---- finding -------------------------------------------------------------------------------------


def _find(node: ir.Node, opset: int) -> Site | None:
    chain = _chain(node)
    if chain is None or len(chain.links) < LEAST or _goes_on(chain.last):
        return None
    inside = _inside(chain)
    if any(each.graph is not node.graph for each in inside):
        return None
    ordered = tuple(each for each in node.graph or () if each in inside)
    stack = _stack(chain)
    outside = [v for v in chain.results if _read_outside(v, inside, None if stack is None else stack[0])]
    remade = (*outside, *([] if stack is None else [stack[0].outputs[0]]))
    return Site(node, opset, ordered, {"chain": chain, "inside": inside, "stack": stack}, remade)


def _chain(node: ir.Node) -> Chain | None:
    step = cells.read(node.outputs[0])
    links: list[Link] = []
    after: Link | None = None
    while step is not None:
        link = _link(step, after)
        if link is None:
            break
        links.append(link)
        step, after = _before(link), link
    return Chain(tuple(links[::-1])) if links else None


def _before(link: Link) -> CellStep | None:
    """The step whose results are the states of `link`."""
    step = None if link.h is None else cells.read(link.h)
    if step is None or step.kind != link.step.kind or not step.alike(link.step):
        return None
    return step if step.kind == "GRU" or step.results[1] is link.step.states[0] else None


def _link(step: CellStep, after: Link | None) -> Link | None:
    """`step` with its operands told apart: by the step before it, or by the matrices of the one behind it."""
    if step.kind == "GRU":
        (x, w), (h, r) = step.operands
        found = Link(step, x, h, w, r)
        return found if after is None or _same_weights(found, after) else None
    if len(step.operands) == 1 and after is not None:
        ((x, w),) = step.operands
        found = Link(step, x, None, w, after.r)
        return found if _same_weights(found, after) else None
    if len(step.operands) != 2:
        return None
    made = [Link(step, x, h, w, r) for (x, w), (h, r) in (step.operands, step.operands[::-1])]
    fitting = [m for m in made if m.r.shape[0] == step.hidden and (after is None or _same_weights(m, after))]
    linked = [m for m in fitting if _before(m) is not None]
    if after is None:
        return linked[0] if linked else None
    return next(iter(linked or fitting), None)


def _same_weights(one: Link, other: Link) -> bool:
    return np.array_equal(one.w, other.w) and np.array_equal(one.r, other.r)


def _goes_on(link: Link) -> bool:
    """Whether the new state is multiplied by the recurrent weights once more: a later step is the last one."""
    columns = {column.tobytes() for column in np.ascontiguousarray(link.r.T)}
    waiting = [user for user, _ in link.step.results[0].uses()]
    while waiting:
        user = waiting.pop()
        if user.domain != g.ONNX:
            continue
        if user.op_type in ("Concat", "Identity"):
            waiting += [reader for reader, _ in user.outputs[0].uses()]
        elif user.op_type in ("MatMul", "Gemm") and user.inputs[0] is not None:
            products = cells.products_of(user.outputs[0])
            if any(v is link.step.results[0] and _column(m) in columns for v, m in products):
                return True
        elif user.op_type == "Mul" and link.step.kind == "GRU" and not link.step.reset_after:
            waiting += [r for r, _ in user.outputs[0].uses() if r.op_type in ("MatMul", "Gemm")]
    return False


def _column(matrix: np.ndarray) -> bytes:
    return np.ascontiguousarray(matrix[:, 0]).tobytes()


def _inside(chain: Chain) -> set[ir.Node]:
    """Every node between the inputs of the steps and the last state."""
    edge = {link.x for link in chain.links} | set(chain.links[0].step.states) | {chain.links[0].h}
    found: set[ir.Node] = set()
    waiting: list[ir.Value] = chain.results
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value in edge or node is None or node in found or node.op_type == "Constant":
            continue
        found.add(node)
        waiting += [v for v in node.inputs if v is not None]
    return found


def _stack(chain: Chain) -> tuple[ir.Node, int] | None:
    """(Concat, its axis) where one stacks all hidden states in order, as torch.stack and tf.stack are written.

    Others may stand before them: an exporter may have folded the first step until it is none.
    """
    states = [link.step.results[0] for link in chain.links]
    for user, _ in states[0].uses():
        if user.op_type != "Unsqueeze" or len(user.inputs) < 2:
            continue
        for concat, _ in user.outputs[0].uses():
            axis = g.attribute_int(concat, "axis", 0) if concat.op_type == "Concat" else -1
            if axis in (0, 1) and len(concat.inputs) >= len(states) and _stacks(concat, states, axis):
                return concat, axis
    return None


def _stacks(concat: ir.Node, states: Sequence[ir.Value], axis: int) -> bool:
    for value, state in zip(concat.inputs[-len(states) :], states, strict=True):
        node = None if value is None else value.producer()
        if node is None or node.op_type != "Unsqueeze" or len(node.inputs) < 2:
            return False
        if through_identity(node.inputs[0]) is not state or g.constant_ints(node.inputs[1]) != [axis]:
            return False
    return True


def _read_outside(value: ir.Value, inside: set[ir.Node], stack: ir.Node | None) -> bool:
    """Whether anything but the chain and its stack reads `value`."""
    if value.is_graph_output():
        return True
    for user, _ in value.uses():
        behind = [reader for reader, _ in user.outputs[0].uses()] if user.op_type == "Unsqueeze" else []
        if user not in inside and not (stack is not None and behind and set(behind) == {stack}):
            return True
    return False


def _is_zero(value: ir.Value) -> bool:
    array = g.constant_array(value, 1 << 16)
    return array is not None and not array.any()


# ---- guards --------------------------------------------------------------------------------------


def _causal(site: Site) -> bool:
    """No input hangs on a state of the chain: a decoder that reads its own output must go step by step."""
    chain: Chain = site["chain"]
    inside, seen = site["inside"], set[ir.Value]()
    waiting = [link.x for link in chain.links]
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value in seen or node is None:
            continue
        if node in inside:
            return False
        seen.add(value)
        waiting += [v for v in node.inputs if v is not None]
        waiting += [v for body in g.bodies(node) for inner in body for v in inner.inputs if v is not None]
    return True


def _cells_within(site: Site) -> bool:
    """Of the cell states, c, the operator gives the last one alone."""
    chain: Chain = site["chain"]
    early = {v for link in chain.links[:-1] for v in link.step.results[1:]}
    return not early & set(site.outputs)


def _one_batch(site: Site) -> bool:
    """Inputs and first states have one batch: the operator does not broadcast a state over it."""
    chain: Chain = site["chain"]
    values = [*(link.x for link in chain.links), *(v for v in chain.starts if v is not None)]
    sizes = {None if v.shape is None or len(v.shape) != 2 else _size(v.shape[0]) for v in values}
    return len(sizes) == 1 and None not in sizes


def _size(dim: int | ir.SymbolicDim) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value


def _is_float(site: Site) -> bool:
    return bool(site["chain"].last.x.dtype == ir.DataType.FLOAT)


# ---- rewriting -----------------------------------------------------------------------------------


def _rerolled(site: Site, editor: Editor, way: int) -> list[ir.Value]:
    chain: Chain = site["chain"]
    step = chain.last.step
    first, second = editor.ints(0), editor.ints(1)
    sequence = _sequence(chain, editor, first)
    bias = step.bias if step.kind == "GRU" else np.concatenate([step.bias, np.zeros_like(step.bias)])
    weights = [editor.const(a[None]) for a in (chain.last.w.T, chain.last.r.T, bias)]
    starts = [None if v is None else editor.op("Unsqueeze", v, first) for v in chain.starts]
    attributes = {a.name: a for a in activation_attributes(step.functions, DEFAULTS[step.kind])}
    if step.reset_after:
        attributes["linear_before_reset"] = ir.AttrInt64("linear_before_reset", 1)
    count = 1 + len(starts)
    history, *ends = editor.ops(
        step.kind, count, sequence, *weights, None, *starts, hidden_size=step.hidden, **attributes
    )
    flat = editor.op("Squeeze", history, second)  # [steps, batch, hidden]
    places = {link.step.results[0]: t for t, link in enumerate(chain.links)}
    last = dict(zip(step.results, ends, strict=True))
    made = []
    for old in site.outputs:
        if old in last:
            made.append(editor.op("Squeeze", last[old], first))
        elif old in places:
            made.append(editor.op("Gather", flat, editor.const(np.array(places[old], np.int64)), axis=0))
        else:
            made.append(_stacked(site, editor, flat))
    return made


def _stacked(site: Site, editor: Editor, flat: ir.Value) -> ir.Value:
    """The states as the Concat has them, behind those that it had before them."""
    concat, axis = site["stack"]
    whole = editor.transpose(flat, 1, 0, 2) if axis else editor.op("Identity", flat)
    earlier = concat.inputs[: -len(site["chain"].links)]
    return editor.op("Concat", *earlier, whole, axis=axis) if earlier else whole


def _sequence(chain: Chain, editor: Editor, first: ir.Value) -> ir.Value:
    """The inputs [steps, batch, inputs]; one Gather where each is a row of one tensor."""
    rows = [_row(link.x) for link in chain.links]
    sources = {(row[0], row[1]) for row in rows if row is not None}
    if None in rows or len(sources) != 1:
        return editor.op("Concat", *(editor.op("Unsqueeze", link.x, first) for link in chain.links), axis=0)
    ((source, axis),) = sources
    index = [row[2] for row in rows if row is not None]
    part = source
    if source.shape is None or index != list(range(len(index))) or source.shape[axis] != len(index):
        part = editor.op("Gather", source, editor.ints(*index), axis=axis)
    return editor.transpose(part, 1, 0, 2) if axis else part


def _row(value: ir.Value) -> tuple[ir.Value, int, int] | None:
    """(source, axis, index) where `value` is source[index] or source[:, index] of a tensor of rank 3."""
    node = value.producer()
    if node is None or node.op_type != "Gather" or node.domain != g.ONNX or node.inputs[0] is None:
        return None
    source, axis = node.inputs[0], g.attribute_int(node, "axis", 0)
    index = g.constant_array(node.inputs[1], 1)
    if source.shape is None or len(source.shape) != 3 or axis not in (0, 1) or index is None or index.ndim:
        return None
    return source, axis, int(index)


REROLLED = Rule(
    "rerolled",
    "cell(x2, cell(x1, s)) ... = LSTM([x1 x2 ...], s), or GRU",
    frozenset({"Mul", "Add"}),
    _find,
    (
        Guard("dtype", _is_float),
        Guard("feedback", _causal),
        Guard("cells", _cells_within),
        Guard("broadcast", _one_batch),
    ),
    _rerolled,
    opset=OPSET,
)
