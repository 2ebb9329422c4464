"""TreeModel -> ONNX, in the normal form of docs/trees.md. Large attributes go into the protobuf in bulk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from neoc.compile.frontends.trees import form
from neoc.compile.frontends.trees.columns import FEATURES, Table, lower
from neoc.compile.frontends.trees.ensemble import Ensemble
from neoc.compile.frontends.trees.lightgbm import ZERO
from neoc.compile.frontends.trees.model import Linear, TreeModel
from neoc.compile.frontends.trees.samples import HINTS, Hints, hints_of_table
from neoc.compile.frontends.trees.sklearn import Estimator
from neoc.compile.frontends.trees.transforms import TRANSFORMS, Outputs
from neoc.kernels.tabular import Block

OPSET, ML_OPSET, IR_VERSION = 21, 5, 10
"""IR 10 brings metadata of nodes; opset 21 goes with it"""

_ELEMENT = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64,
            "string": TensorProto.STRING, "bool": TensorProto.BOOL}  # fmt: skip

Input = tuple[str, str, tuple[str | int, ...]]
"""name, dtype, shape"""

NAMES, TYPES = "neoc.feature_names", "neoc.feature_types"
"""keys of the model's metadata: JSON lists"""


class Builder:
    """Nodes in order. Values are names; dtype is that of the floating-point values of the graph."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._counts: dict[str, int] = {}

    def fresh(self, stem: str) -> str:
        self._counts[stem] = self._counts.get(stem, 0) + 1
        return f"{stem}_{self._counts[stem]}"

    def constant(self, value: Any, dtype: str | None = None, stem: str = "constant") -> str:
        """A float of the graph's dtype, unless `dtype` says otherwise."""
        name = self.fresh(stem)
        if dtype == "string":
            self.initializers.append(helper.make_tensor(name, TensorProto.STRING, np.shape(value), list(value)))
        else:
            self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype or self.dtype), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The one output of a new node."""
        name = self.fresh(operator.lower())
        node = helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return name

    def cast(self, value: str, dtype: str) -> str:
        return self.add("Cast", value, to=_ELEMENT[dtype])

    def squeezed(self, value: str) -> str:
        """[rows, 1] -> [rows]"""
        return self.add("Squeeze", value, self.constant([1], "int64", "axes"))

    def trees(self, e: Ensemble, features: str) -> str:
        name = self.fresh("trees")
        self.nodes.append(tree_node(e, features, name))
        return name


def tree_node(e: Ensemble, features: str, output: str) -> onnx.NodeProto:
    """The TreeEnsemble node of `e`."""
    node = onnx.NodeProto(op_type="TreeEnsemble", domain="ai.onnx.ml", name=output)
    node.input.append(features)
    node.output.append(output)
    for name, value in form.attributes(e).items():
        attribute = node.attribute.add(name=name)
        if isinstance(value, int):
            attribute.type, attribute.i = onnx.AttributeProto.INT, value
        elif value.dtype == np.int64:
            attribute.type = onnx.AttributeProto.INTS
            attribute.ints.extend(value.tolist())
        else:
            attribute.type = onnx.AttributeProto.TENSOR
            attribute.t.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    for key, text in form.metadata(e).items():
        node.metadata_props.add(key=key, value=text)
    return node


def build(model: TreeModel, blocks: Sequence[Block] = (), table: Table | None = None) -> onnx.ModelProto:
    """The whole graph. blocks, table: the column steps before the model, and the table that they read."""
    dtype = "float32" if isinstance(model.core, Linear) else model.core.leaf_value.dtype.name
    b = Builder(dtype)
    outputs = Outputs(b)
    inputs: list[Input] = [(FEATURES, model.input_dtype, ("rows", model.features))]
    value, has = FEATURES, model.input_dtype
    if blocks and table is not None:
        inputs, has = table.inputs(dtype), dtype
        value = lower(b, blocks, table)
    if isinstance(model.core, Ensemble) and model.core.compare == "f32" and has == "float64":
        # scikit-learn's forests narrow what the steps before them give.
        value, has = b.cast(value, "float32"), "float32"
    if has != dtype:
        value = b.cast(value, dtype)
    scored(b, model, value, outputs)
    return finished(b, inputs, outputs, metadata_of(model, table))


def build_estimator(found: Estimator) -> onnx.ModelProto:
    """The whole graph of a scikit-learn model, and what it takes as samples."""
    made = build(found.model, found.blocks, found.table)
    hints = Hints(found.allows_nan, found.allows_infinity)
    if found.table is not None:
        hints = hints_of_table(found.blocks, found.table, found.allows_nan)
    made.metadata_props.add(key=HINTS, value=hints.to_json())
    return made


def scored(b: Builder, model: TreeModel, features: str, outputs: Outputs) -> None:
    """From the features, in the dtype of the graph, to all outputs."""
    if isinstance(model.core, Linear):
        total = _linear(b, model.core, features)
    else:
        total = b.trees(model.core, prologue(b, model, features))
    if model.margin:
        if model.targets > 1:
            outputs.add("margin", total, b.dtype, model.targets)
        else:
            outputs.add("margin", b.squeezed(total), b.dtype)
    if model.average > 1:
        total = b.add("Div", total, b.constant(model.average, stem="trees_in_all"))
    TRANSFORMS[model.transform](b, total, model, outputs)


def prologue(b: Builder, model: TreeModel, x: str) -> str:
    """What happens to values before they are compared."""
    nan = np.nan
    if model.category_columns:
        mask = np.zeros(model.features, bool)
        mask[list(model.category_columns)] = True
        whole = b.add("Floor", x)
        if model.truncate == "toward-zero":
            negative = b.add("Less", x, b.constant(0, stem="zero"))
            whole = b.add("Where", negative, b.add("Ceil", x), whole)
        elif model.truncate == "whole-or-missing":
            whole = b.add("Where", b.add("Equal", x, whole), x, b.constant(nan, stem="missing"))
        x = b.add("Where", b.constant(mask, "bool", "is_category"), whole, x)
    if model.zero_missing:
        is_zero = b.add("LessOrEqual", b.add("Abs", x), b.constant(ZERO, stem="zero"))
        missing = b.add("Where", is_zero, b.constant(nan, stem="missing"), x)
        x = missing if model.zero_missing == "all" else b.add("Concat", x, missing, axis=1)
    return x


def _linear(b: Builder, core: Linear, x: str) -> str:
    """Missing values count for nothing; summed in float64, for the order in which xgboost adds is not kept."""
    present = b.add("Where", b.add("IsNaN", x), b.constant(0, stem="zero"), x)
    product = b.add("MatMul", b.cast(present, "float64"), b.constant(core.weights, "float64", "weights"))
    return b.cast(b.add("Add", product, b.constant(core.bias, "float64", "bias")), b.dtype)


def metadata_of(model: TreeModel, table: Table | None = None) -> dict[str, str]:
    """The names of the columns, in the order of the inputs; of a table with texts, those of the numbers come first."""
    names = model.feature_names
    if table is not None and names:
        names = tuple(names[c] for c in (*table.numbers, *table.texts))
    found = {NAMES: names, TYPES: model.feature_types}
    return {key: json.dumps(list(value)) for key, value in found.items() if value}


def finished(b: Builder, inputs: Sequence[Input], outputs: Outputs, metadata: dict[str, str]) -> onnx.ModelProto:
    made = [helper.make_tensor_value_info(name, _ELEMENT[dtype], shape) for name, dtype, shape in inputs]
    ends = [helper.make_tensor_value_info(name, _ELEMENT[dtype], shape) for name, dtype, shape in outputs.specs]
    graph = helper.make_graph(b.nodes, "trees", made, ends, b.initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="neoc")
    helper.set_model_props(model, metadata)
    return model
