"""What a rewrite rule is: a row of a table with a pattern, guards, the rewrite, and the algebra in words.

    Rule("prelu-max", "PRelu(x, a) = Max(x, a * x) where a <= 1", {"PRelu"}, find, guards, rewrite)

`find` looks at one node and says what stands around it, a `Site`, or None where the pattern is another. A guard is one
named condition under which the algebra holds; a test takes each away in turn and shows what then goes wrong. `worth`
are conditions of use alone: without them the result would still be right. Whether a rewrite *pays* is never decided
here: rules propose, the race of neoc.compile.rewrites.search disposes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g


@dataclass
class Site:
    """One place where a pattern was found. Rules keep in `facts` what their guards and their rewrite need."""

    node: ir.Node
    """the node that the pattern was found at"""
    opset: int
    nodes: tuple[ir.Node, ...] = ()
    """every node that the rewrite stands for, in graph order; empty: `node` alone"""
    facts: dict[str, Any] = field(default_factory=dict)
    remade: tuple[ir.Value, ...] = ()
    """every value that the rewrite makes anew, where it is not only the first output of the last node"""

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    @property
    def covered(self) -> tuple[ir.Node, ...]:
        return self.nodes or (self.node,)

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """The values that the rewrite makes anew."""
        return self.remade or (self.covered[-1].outputs[0],)

    @property
    def output(self) -> ir.Value:
        """The first of them; of most rules the only one."""
        return self.outputs[0]


@dataclass(frozen=True)
class Guard:
    """One condition under which the algebra of a rule holds."""

    name: str
    """a word of the trade, the same in every rule: axis, broadcast, dtype, dynamic, opset, pad, stride, group ..."""
    holds: Callable[[Site], bool]


@dataclass(frozen=True)
class Rule:
    """One row of the table. `choices`: ways to rewrite a site that differ in speed alone, the first the default."""

    name: str
    algebra: str
    anchors: frozenset[str]
    """operators of the default domain that the pattern is looked for at"""
    find: Callable[[ir.Node, int], Site | None]
    """(node, opset) -> the site"""
    guards: tuple[Guard, ...]
    rewrite: Callable[[Site, Editor, int], ir.Value | Sequence[ir.Value] | None]
    """(site, editor, choice) -> what takes the place of site.outputs; None: it cannot be made after all"""
    worth: tuple[Guard, ...] = ()
    choices: Callable[[Site], tuple[int, ...]] | None = None
    key: Callable[[Site], str] | None = None
    """sites of one key are alike in speed: one of them is measured for all. Only where there are choices"""
    opset: int = 1
    """the least version of the default domain that the result needs; the program is brought there first"""
    around: tuple[str, ...] = ()
    """rules that are applied before and after it, wherever they fit: they bring out its pattern, and clear up"""
    repeats: bool = False
    """whether what it made may be rewritten once more: each time there is less to do"""

    @property
    def conditions(self) -> tuple[Guard, ...]:
        """All guards: the rule's own, and its version of the default domain."""
        return (Guard("opset", lambda site: site.opset >= self.opset), *self.guards)

    def site(self, node: ir.Node, opset: int) -> Site | None:
        """Where the rule may rewrite at `node`: the pattern is there and every guard holds."""
        if node.domain != g.ONNX or node.op_type not in self.anchors:
            return None
        found = self.find(node, opset)
        if found is None or not any(map(g.is_used, found.outputs)):
            return None
        return found if all(guard.holds(found) for guard in (*self.conditions, *self.worth)) else None

    def ways(self, site: Site) -> tuple[int, ...]:
        return (0,) if self.choices is None else self.choices(site)


class Editor:
    """Makes nodes and constants in the graph of a site, before its last node, with names that are free."""

    def __init__(self, before: ir.Node, names: g.Names, base: str) -> None:
        assert before.graph is not None
        self.graph = before.graph
        self._before, self._names, self._base = before, names, base

    def op(self, operator: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The only output of a new node of the default domain."""
        return self.ops(operator, 1, *inputs, **attributes)[0]

    def ops(self, operator: str, outputs: int, *inputs: ir.Value | None, **attributes: Any) -> list[ir.Value]:
        """All outputs of a new node of the default domain."""
        given = [
            value if isinstance(value, ir.Attr) else ir.convenience.convert_attribute(name, value)
            for name, value in attributes.items()
        ]
        node = ir.Node(g.ONNX, operator, list(inputs), given, num_outputs=outputs, name=self._names.fresh(self._base))
        self._place(node)
        for output in node.outputs:
            output.name = self._names.fresh(f"{self._base}:{operator}")
        return list(node.outputs)

    def _place(self, node: ir.Node) -> None:
        self.graph.insert_before(self._before, node)

    def body(self, inputs: Sequence[tuple[str, ir.DataType]]) -> BodyEditor:
        """An editor of a new graph with such inputs, each a name that need not be free and a dtype."""
        values = [ir.Value(name=self._names.fresh(f"{self._base}:{n}"), type=ir.TensorType(k)) for n, k in inputs]
        return BodyEditor(ir.Graph(values, [], nodes=[], name="body"), self._names, self._base)

    def like(self, node: ir.Node, *inputs: ir.Value | None) -> ir.Value:
        """The only output of a new node of the operator of `node`, with its attributes."""
        return self.op(node.op_type, *inputs, **node.attributes)

    def const(self, array: np.ndarray, dtype: Any = None) -> ir.Value:
        """A new initializer; `dtype`: numpy's, None as the array has it. Every array is copied."""
        data = np.array(array, dtype=dtype, order="C")
        return g.add_initializer(self.graph, self._names.fresh(f"{self._base}:const"), ir.tensor(data))

    def ints(self, *values: int) -> ir.Value:
        return self.const(np.array(values, np.int64))

    def reshape(self, value: ir.Value, *dims: int) -> ir.Value:
        """`value` in another shape; one -1 takes what is left, a 0 is kept as it was."""
        return self.op("Reshape", value, self.ints(*dims))

    def transpose(self, value: ir.Value, *perm: int) -> ir.Value:
        return self.op("Transpose", value, perm=list(perm))

    def cut(self, value: ir.Value, axis: int, start: int, end: int) -> ir.Value:
        """value[..., start:end] along `axis`"""
        return self.op("Slice", value, self.ints(start), self.ints(end), self.ints(axis))


class BodyEditor(Editor):
    """Makes nodes and constants at the end of `body`, a graph that is being made for an attribute."""

    def __init__(self, body: ir.Graph, names: g.Names, base: str) -> None:
        self.graph = body
        self._names, self._base = names, base

    def _place(self, node: ir.Node) -> None:
        self.graph.append(node)


def sites(model: ir.Model, rule: Rule, opset: int) -> Iterator[Site]:
    """Every site of `rule` in the model as it is now, bodies included."""
    for graph in g.graphs(model):
        for node in graph:
            found = rule.site(node, opset)
            if found is not None:
                yield found
