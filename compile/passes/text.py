"""A program as text, one node a line: what golden tests compare and what errors show.

opset 17
input  x: float32[N,3]
const  w: float32[3,4] = #1f0c9a52
h: float32[N,4] = MatMul(x, w)
y: float32[N,4] = If(flag)
  then_branch {
    t: float32[N,4] = Relu(h)
    yields t
  }
output y
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import Program, spec_of

_SHOWN = 8
"""tensors up to this many elements are written out, larger ones by the start of a digest of their bytes"""


def render(program: Program) -> str:
    """The whole program; equal programs give equal text."""
    imports = sorted(program.model.opset_imports.items())
    lines = [", ".join(f"{domain or 'opset'} {version}" for domain, version in imports)]
    lines += _graph(program.model.graph, "", "output")
    for function in program.model.functions.values():
        lines.append(f"function {function.domain}::{function.name}({_names(function.inputs)})")
        lines += ["  " + line for node in function for line in _node(node)]
        lines.append(f"  yields {_names(function.outputs)}")
    lines += [f"note   {note}" for note in program.notes]
    return "\n".join(lines) + "\n"


def node_line(node: ir.Node) -> str:
    """One node on one line, its bodies left out."""
    return _node(node)[0]


def tensor(value: ir.TensorProtocol) -> str:
    """A short form of a tensor's content."""
    if value.size <= _SHOWN:
        return str(value.numpy().tolist())
    if isinstance(value, ir.StringTensor):
        content = b"\0".join(value.string_data())
    else:
        content = value.tobytes()
    return f"#{hashlib.sha256(content).hexdigest()[:8]}"


def _graph(graph: ir.Graph, indent: str, last: str) -> Iterator[str]:
    for value in graph.inputs:
        yield f"{indent}input  {spec_of(value)}"
    for value in graph.initializers.values():
        content = "?" if value.const_value is None else tensor(value.const_value)
        yield f"{indent}const  {spec_of(value)} = {content}"
    for node in graph:
        yield from (indent + line for line in _node(node))
    yield f"{indent}{last} {_names(graph.outputs)}"


def _node(node: ir.Node) -> list[str]:
    outputs = ", ".join(str(spec_of(v)) if v.name else "_" for v in node.outputs)
    operator = node.op_type if node.domain == g.ONNX else f"{node.domain}.{node.op_type}"
    inputs = ", ".join("_" if v is None else v.name or "?" for v in node.inputs)
    plain = {a.name: a for a in node.attributes.values() if a.is_ref() or not _holds_graphs(a)}
    written = ", ".join(f"{name}={_attribute(a)}" for name, a in sorted(plain.items()))
    lines = [f"{outputs} = {operator}({inputs})" + (f" {{{written}}}" if written else "")]
    for attribute in node.attributes.values():
        if attribute.is_ref() or not _holds_graphs(attribute):
            continue
        single = attribute.type == ir.AttributeType.GRAPH
        for body in [attribute.as_graph()] if single else attribute.as_graphs():
            lines += [f"  {attribute.name} {{", *_graph(body, "    ", "yields"), "  }"]
    return lines


def _holds_graphs(attribute: ir.Attr) -> bool:
    return attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _attribute(attribute: ir.Attr) -> str:
    if attribute.is_ref():
        return f"@{attribute.ref_attr_name}"
    if attribute.type == ir.AttributeType.TENSOR:
        kind = attribute.value.dtype
        name = kind.name.lower() if kind == ir.DataType.STRING else kind.numpy().name
        return f"{name}{list(attribute.value.shape.numpy())} {tensor(attribute.value)}"
    if attribute.type == ir.AttributeType.FLOAT:
        return str(np.float32(attribute.value))
    return str(attribute.value)


def _names(values: object) -> str:
    assert hasattr(values, "__iter__")
    return ", ".join(v.name or "?" for v in values)
