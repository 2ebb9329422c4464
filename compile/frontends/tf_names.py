"""Names: what TensorFlow calls a tensor is not what its user calls it.

'functional_1/gru/while/Identity:0' -> the input or output that the signature, or Keras, names
'unk__176'                          -> a dimension that is simply not known
'functional_1/gru_1/while/MatMul'   -> layer 'gru', where the model has a layer of that name
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from neoc.compile.frontends.contract import WHERE
from neoc.compile.passes import graph as g

_BATCH = "batch"
"""the first dimension of every input whose size is open: TensorFlow's models are fed in batches"""

_CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?$")
"""a scope that only says that a function was inlined"""

_MADE_UP = re.compile(r"unk__\d+$")
"""tf2onnx's names of unknown dimensions, each unknown its own"""


@dataclass(frozen=True)
class Layers:
    """The layers of a model, to find by whom a node was made."""

    names: frozenset[str] = frozenset()
    """empty: not known"""
    suffixed: bool = False
    """Keras 3 enters a layer's scope while it builds it and again when it calls it, so that each has _1, _2 ... more"""

    def of(self, node: str) -> str:
        """The layer that made `node`: the innermost scope in its path that is one; all scopes where none is known."""
        scopes = node.split(";")[0].split(":")[0].split("/")[:-1]
        if not self.names:
            return "/".join(scope for scope in scopes if not _CALL.match(scope))
        for scope in reversed(scopes):
            plain = re.sub(r"_\d+$", "", scope)
            for name in (plain, scope) if self.suffixed else (scope, plain):
                if name in self.names:
                    return name
        return ""


def finish(proto: Any, inputs: Mapping[str, str], outputs: Mapping[str, str], layers: Layers) -> ir.Model:
    """The model with the given names (tf2onnx's -> users'), inputs and outputs in the order of the mappings."""
    proto.graph.ClearField("doc_string")
    proto.ClearField("metadata_props")
    proto.producer_name, proto.producer_version = "tf2onnx", _version()
    model = ir.serde.deserialize_model(proto)
    _rename(model, {**inputs, **outputs})
    _order(model.graph.inputs, list(inputs.values()))
    _order(model.graph.outputs, list(outputs.values()))
    for graph in g.graphs(model):
        for value in g.values_of(graph):
            if value.shape is not None:
                value.shape = ir.Shape(_known(dim) for dim in value.shape)
        for node in graph:
            layer = layers.of(node.name or "")
            if layer:
                node.metadata_props[WHERE] = f"layer {layer}"
    for value in model.graph.inputs:
        if value.shape is not None and len(value.shape) and _known(value.shape[0]) is None:
            value.shape = ir.Shape([_BATCH, *list(value.shape)[1:]])
    return model


def _version() -> str:
    from importlib.metadata import version

    return version("tf2onnx")


def _known(dim: int | ir.SymbolicDim) -> int | str | None:
    if isinstance(dim, int):
        return dim if dim >= 0 else None
    return None if dim.value is None or _MADE_UP.match(dim.value) else dim.value


def _rename(model: ir.Model, names: Mapping[str, str]) -> None:
    """Give values their users' names; whatever else has one of these steps aside."""
    values = {value.name: value for graph in g.graphs(model) for value in g.values_of(graph)}
    free = g.Names(model)
    renamed = {old: values[old] for old in names if old in values}
    for name in set(names.values()) & values.keys():
        values[name].name = free.fresh(f"{name}/inner")
    for old, value in renamed.items():
        value.name = names[old]


def _order(values: Any, names: list[str]) -> None:
    place = {name: index for index, name in enumerate(names)}
    ordered = sorted(values, key=lambda value: place.get(value.name, len(place)))
    values.clear()
    values.extend(ordered)
