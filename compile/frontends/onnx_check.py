"""Structural validation of an ONNX model in pure Python, before any native code sees it.

Every fault is an InvalidModel that names its node or tensor. Accepted beyond the letter of the specification, because
exporters write it and runtimes take it: nodes out of order (they are sorted), opsets below 7, body inputs that shadow
names around them, custom domains without an import, an output listed twice. An operator that no schema knows is no
fault: whether an engine has it is a question of gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from neoc.compile.frontends.onnx_faults import fault, need_text, node_place, shown
from neoc.compile.frontends.onnx_schema import Operators
from neoc.compile.frontends.onnx_tensors import check_tensor, check_type
from neoc.compile.onnx_data import Folder

_MOST_NODES = 20_000_000
"""after local functions are inlined: a model of a few bytes can otherwise expand without bound"""

_A = onnx.AttributeProto
_FIELD_OF = {
    _A.FLOAT: "f", _A.INT: "i", _A.STRING: "s", _A.TENSOR: "t", _A.GRAPH: "g", _A.SPARSE_TENSOR: "sparse_tensor",
    _A.TYPE_PROTO: "tp", _A.FLOATS: "floats", _A.INTS: "ints", _A.STRINGS: "strings", _A.TENSORS: "tensors",
    _A.GRAPHS: "graphs", _A.SPARSE_TENSORS: "sparse_tensors", _A.TYPE_PROTOS: "type_protos",
}  # fmt: skip


def check(model: onnx.ModelProto, folder: Folder) -> list[str]:
    """Raises InvalidModel for the first fault found. Returns notes on what is unusual and was accepted."""
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise fault(
            "the file's head",
            f"IR version {model.ir_version} is not one of 1 to {onnx.IR_VERSION}",
            "export it again, or update neoc's onnx package for a newer one",
        )
    if not model.HasField("graph"):
        raise fault("the file's head", "it holds no graph")
    operators = Operators(model.opset_import, model.ir_version)
    checker = _Checker(folder, operators, _functions(model))
    for key, function in checker.functions.items():
        checker.check_function(function, f"function {shown('::'.join(filter(None, key)))}")
    _check_calls(checker.functions, model.graph)
    checker.check_graph(model.graph, Scope((), ()), "the main graph", top=True)
    return [*operators.notes, *checker.notes]


FunctionKey = tuple[str, str, str]


def _functions(model: onnx.ModelProto) -> dict[FunctionKey, onnx.FunctionProto]:
    functions: dict[FunctionKey, onnx.FunctionProto] = {}
    for function in model.functions:
        for text in (function.domain, function.name, function.overload):
            need_text(text, "the functions", "name")
        key = (function.domain, function.name, function.overload)
        if key in functions:
            raise fault(f"function {shown(function.name)}", "it is defined twice")
        functions[key] = function
    return functions


@dataclass(frozen=True)
class Scope:
    """What is visible around a body, outermost graph first."""

    names: tuple[set[str], ...]
    """everything that the graphs around define"""
    earlier: tuple[set[str], ...]
    """of that, what is defined before the node that holds the body"""

    def defines(self, name: str) -> bool:
        return any(name in names for names in self.names)

    def within(self, names: set[str], earlier: set[str]) -> Scope:
        return Scope((*self.names, names), (*self.earlier, earlier))


class _Checker:
    def __init__(self, folder: Folder, operators: Operators, functions: dict[FunctionKey, onnx.FunctionProto]) -> None:
        self._folder = folder
        self._operators = operators
        self._references: set[str] | None = None
        """attributes that the function at hand declares; None outside functions"""
        self.functions = functions
        self.notes: list[str] = []

    def check_function(self, function: onnx.FunctionProto, place: str) -> None:
        self._operators = self._operators.of_function(function.opset_import)
        self._references = {*function.attribute, *(a.name for a in function.attribute_proto)}
        defined: dict[str, int] = {}
        for name in function.input:
            _define(defined, name, -1, place, "input")
        for attribute in function.attribute_proto:
            self._check_attribute(attribute, Scope((), ()), place, set())
        self._check_nodes(function.node, defined, Scope((), ()), place)
        for name in function.output:
            if name not in defined:
                raise fault(place, f"its output {shown(name)} is not computed in it")
        self._operators, self._references = self._operators.of_model(), None

    def check_graph(self, graph: onnx.GraphProto, scope: Scope, place: str, top: bool = False) -> set[str]:
        """The names that the graph takes from around it."""
        defined: dict[str, int] = {}
        for value in graph.input:
            _define(defined, value.name, -1, place, "input")
            check_type(value.type, f"input {shown(value.name)} of {place}", needed=top)
        self._check_initializers(graph, defined, place)
        for value in graph.value_info:
            need_text(value.name, place, "value name")
            check_type(value.type, f"value {shown(value.name)} of {place}", needed=False)
        free = self._check_nodes(graph.node, defined, scope, place)
        if not graph.output:
            raise fault(place, "it has no outputs")
        for value in graph.output:
            need_text(value.name, place, "output name")
            check_type(value.type, f"output {shown(value.name)} of {place}", needed=False)
            if value.name not in defined and not scope.defines(value.name):
                raise fault(place, f"its output {shown(value.name)} is not computed anywhere")
            if value.name not in defined:
                free.add(value.name)
        return free

    def _check_initializers(self, graph: onnx.GraphProto, defined: dict[str, int], place: str) -> None:
        seen: set[str] = set()
        tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
        for tensor in tensors:
            check_tensor(tensor, self._folder, place)
            if not tensor.name:
                raise fault(place, "an initializer has no name")
            if tensor.name in seen:
                raise fault(place, f"initializer {shown(tensor.name)} is defined twice")
            seen.add(tensor.name)
            defined[tensor.name] = -1
        for sparse in graph.sparse_initializer:
            check_tensor(sparse.indices, self._folder, place)

    def _check_nodes(
        self, nodes: Sequence[onnx.NodeProto], defined: dict[str, int], scope: Scope, place: str
    ) -> set[str]:
        """Check nodes and their order; add their outputs to `defined`. Returns names taken from around."""
        earlier = set(defined)
        for index, node in enumerate(nodes):
            where = node_place(node, index, place)
            for name in node.output:
                need_text(name, where, "output name")
                if any(name in names for names in scope.earlier):
                    raise fault(where, f"{shown(name)} is defined twice: here and around it", "rename one of them")
                if name:
                    _define(defined, name, index, where, "output")
        inner = scope.within(set(defined), earlier)
        needs = []
        for index, node in enumerate(nodes):
            where = node_place(node, index, place)
            for name in node.input:
                need_text(name, where, "input name")
            inside = self._check_node(node, where, inner)
            needs.append({name for name in (*node.input, *inside) if name})
            for name in needs[-1]:
                if not inner.defines(name):
                    raise fault(where, f"its input {shown(name)} is not computed anywhere")
            earlier.update(node.output)
        self._check_order(nodes, needs, defined, place)
        return {name for names in needs for name in names if name not in defined}

    def _check_node(self, node: onnx.NodeProto, where: str, scope: Scope) -> set[str]:
        """Check one node; the names that its bodies take from around them."""
        for text, what in ((node.op_type, "operator"), (node.domain, "domain"), (node.name, "name")):
            need_text(text, where, what)
        need_text(node.overload, where, "overload")
        if not node.op_type:
            raise fault(where, "it names no operator")
        free: set[str] = set()
        seen: set[str] = set()
        for attribute in node.attribute:
            free |= self._check_attribute(attribute, scope, where, seen)
        function = self.functions.get((node.domain, node.op_type, node.overload))
        if function is None:
            self._operators.check(node, where)
        elif len(node.input) > len(function.input) or len(node.output) > len(function.output):
            raise fault(where, f"function {shown(node.op_type)} has fewer inputs or outputs")
        return free

    def _check_attribute(self, attribute: onnx.AttributeProto, scope: Scope, where: str, seen: set[str]) -> set[str]:
        need_text(attribute.name, where, "attribute name")
        need_text(attribute.ref_attr_name, where, "attribute reference")
        place = f"attribute {shown(attribute.name)} of {where}"
        if not attribute.name:
            raise fault(where, "an attribute has no name")
        if attribute.name in seen:
            raise fault(where, f"attribute {shown(attribute.name)} is given twice")
        seen.add(attribute.name)
        if attribute.ref_attr_name:
            if self._references is None or attribute.ref_attr_name not in self._references:
                raise fault(place, f"it refers to {shown(attribute.ref_attr_name)}, which no function around declares")
            return set()
        _check_kind(attribute, place)
        for tensor in (*_one(attribute, _A.TENSOR), *attribute.tensors):
            check_tensor(tensor, self._folder, place)
        for sparse in (*_one(attribute, _A.SPARSE_TENSOR), *attribute.sparse_tensors):
            check_tensor(sparse.values, self._folder, place)
            check_tensor(sparse.indices, self._folder, place)
        for kind in (*_one(attribute, _A.TYPE_PROTO), *attribute.type_protos):
            check_type(kind, place, needed=True)
        free: set[str] = set()
        for body in bodies(attribute):
            free |= self.check_graph(body, scope, f"{shown(attribute.name)[1:-1]} of {where}")
        return free

    def _check_order(
        self, nodes: Sequence[onnx.NodeProto], needs: list[set[str]], defined: dict[str, int], place: str
    ) -> None:
        """Raises InvalidModel for a cycle; notes nodes that come before what they need (the reader sorts them)."""
        after = [{defined[name] for name in names if defined.get(name, -1) >= 0} for names in needs]
        if all(index > max(wanted, default=-1) for index, wanted in enumerate(after)):
            return
        users: list[list[int]] = [[] for _ in nodes]
        for index, wanted in enumerate(after):
            for producer in wanted:
                users[producer].append(index)
        waiting = [len(wanted) for wanted in after]
        ready = [index for index, count in enumerate(waiting) if count == 0]
        done = 0
        while ready:
            done += 1
            for user in users[ready.pop()]:
                waiting[user] -= 1
                if waiting[user] == 0:
                    ready.append(user)
        if done < len(nodes):
            stuck = [node_place(nodes[i], i, place) for i in _cycle(after, waiting)]
            raise fault(stuck[0], f"its input hangs on its own output, by way of: {'; '.join(stuck[1:6]) or 'itself'}")
        self.notes.append(f"the nodes of {place} were out of order and have been sorted")


def _cycle(after: list[set[int]], waiting: list[int]) -> list[int]:
    """The nodes of one cycle among those that still wait."""
    path: list[int] = [next(index for index, count in enumerate(waiting) if count)]
    position = {path[0]: 0}
    while True:
        following = next(index for index in after[path[-1]] if waiting[index])
        if following in position:
            return path[position[following] :]
        position[following] = len(path)
        path.append(following)


def _define(defined: dict[str, int], name: object, index: int, where: str, what: str) -> None:
    need_text(name, where, f"{what} name")
    if not name:
        raise fault(where, f"an {what} has no name")
    if name in defined:
        raise fault(where, f"{shown(name)} is defined twice", "give every value a name of its own")
    defined[str(name)] = index


def _one(attribute: onnx.AttributeProto, kind: onnx.AttributeProto.AttributeType) -> tuple[Any, ...]:
    """The single message of an attribute, if it is of that kind."""
    return (getattr(attribute, _FIELD_OF[kind]),) if attribute.type == kind else ()


def bodies(attribute: onnx.AttributeProto) -> tuple[onnx.GraphProto, ...]:
    return (*_one(attribute, _A.GRAPH), *attribute.graphs)


def _check_kind(attribute: onnx.AttributeProto, place: str) -> None:
    """The type is known and the value lies where the type says; a missing type (IR 1) is made up for."""
    fields = {field.name for field, _ in attribute.ListFields()}
    filled = [kind for kind, field in _FIELD_OF.items() if field in fields]
    if attribute.type == _A.UNDEFINED and len(filled) == 1:
        attribute.type = filled[0]
    if attribute.type not in _FIELD_OF:
        raise fault(place, f"attribute type {attribute.type} is unknown")
    if any(kind != attribute.type for kind in filled):
        raise fault(place, f"it is declared {_A.AttributeType.Name(attribute.type)} and holds something else too")
    if not filled and attribute.type in (_A.TENSOR, _A.GRAPH, _A.SPARSE_TENSOR, _A.TYPE_PROTO):
        raise fault(place, f"it is declared {_A.AttributeType.Name(attribute.type)} and holds nothing")


def _check_calls(functions: dict[FunctionKey, onnx.FunctionProto], graph: onnx.GraphProto) -> None:
    """Raises InvalidModel where functions call each other in a circle, or would inline to too many nodes."""
    calls = {key: _called(function.node, functions) for key, function in functions.items()}
    sizes: dict[FunctionKey, int] = {}
    active: dict[FunctionKey, list[FunctionKey]] = {}
    for start in calls:
        active = {start: list(calls[start])} if start not in sizes else {}
        while active:
            key, todo = next(reversed(active.items()))
            if not todo:
                size, own = 0, calls[key]
                size = len(functions[key].node) + sum(sizes[callee] for callee in own)
                sizes[key] = min(size, _MOST_NODES + 1)
                del active[key]
                continue
            callee = todo.pop()
            if callee in active:
                raise fault(f"function {shown(callee[1])}", "it calls itself, which ONNX does not allow")
            if callee not in sizes:
                active[callee] = list(calls[callee])
    total = len(graph.node) + sum(sizes[callee] for callee in _called(graph.node, functions))
    if total > _MOST_NODES:
        raise fault("the main graph", f"its functions expand to more than {_MOST_NODES} nodes")


def _called(nodes: Iterable[onnx.NodeProto], functions: dict[FunctionKey, onnx.FunctionProto]) -> list[FunctionKey]:
    """The functions that nodes call, bodies included, as often as they do."""
    if not functions:
        return []
    called: list[FunctionKey] = []
    todo = list(nodes)
    while todo:
        node = todo.pop()
        key = (node.domain, node.op_type, node.overload)
        if key in functions:
            called.append(key)
        for attribute in node.attribute:
            for body in bodies(attribute):
                todo += body.node
    return called
