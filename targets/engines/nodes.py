"""How an engine names a node to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

_PLACE = "neoc.where"
"""metadata in which neoc's front ends keep layer and line (neoc.compile.frontends.contract.WHERE)"""
_STACK_TRACES = ("pkg.torch.onnx.stack_trace",)
"""metadata in which exporters keep the source line of a node"""


def domain_of(domain: str) -> str:
    """A domain with the default one spelled ''."""
    return "" if domain == "ai.onnx" else domain


def label(node: ir.Node) -> str:
    """The node's name, or where it has none the value that it makes."""
    return node.name or next((v.name for v in node.outputs if v.name), "")


def where_of(node: ir.Node) -> str:
    """The layer and source line that made the node, where a front end or the exporter wrote it down."""
    if _PLACE in node.metadata_props:
        return node.metadata_props[_PLACE]
    for key in _STACK_TRACES:
        lines = [line.strip() for line in node.metadata_props.get(key, "").splitlines() if line.strip()]
        if lines:
            return next((line for line in reversed(lines) if line.startswith("File ")), lines[-1])
    return ""
