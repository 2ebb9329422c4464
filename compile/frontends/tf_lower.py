"""A frozen TensorFlow graph -> ONNX, by tf2onnx, with the names that the model's users know.

    Frozen(graph, inputs, outputs)
        grappler      functions inlined, constants folded
        endpoints     a placeholder for every input, an Identity for every output: tensors in the middle of a graph, one
                      tensor under two names, and inputs that are passed on need no cases of their own
        tf2onnx       opset 18, the newest that it writes; the normal form lifts it further
        named         users' names, unknown dimensions unnamed, every node knows its layer

Runs in a worker only. tf2onnx reports through its logger what it cannot convert, one record a node: all of them are
collected, so that the user sees every gap at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from neoc.compile import onnx_io
from neoc.compile.contracts import Gap
from neoc.compile.errors import InvalidModel, UnsupportedModel
from neoc.compile.frontends.contract import GRAPH, GRAPH_DATA
from neoc.compile.frontends.tf_names import Layers, finish
from neoc.compile.frontends.tf_runtime import explained, first_words, tensorflow
from neoc.compile.onnx_data import contents
from neoc.compile.options import InputBinding

OPSET = 18
"""the newest that tf2onnx writes"""

_INPUT, _OUTPUT, _FETCH = "neoc_input_", "neoc_output_", "neoc_fetch_"

_OUTSIDE = frozenset({"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"})
"""ops that reach for files or for Python while a graph runs: never run, be the graph trusted or not"""


@dataclass(frozen=True)
class Frozen:
    """A GraphDef without variables, and where its inputs and outputs are: users' name -> tensor name ('dense:0')."""

    graph: Any
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    layers: Layers = field(default_factory=Layers)


def lower(frozen: Frozen, bindings: Mapping[str, InputBinding], folder: Path, where: str) -> None:
    """Write GRAPH into `folder`. Raises InvalidModel, UnsupportedModel with every op that has no ONNX form."""
    refuse_unknown(frozen.graph, where)
    with explained(where, "TensorFlow cannot read the graph", "export the model again"):
        prepared = _with_endpoints(_inlined(frozen), bindings, where)
    inputs = {f"{_INPUT}{i}:0": name for i, name in enumerate(frozen.inputs)}
    outputs = {f"{_OUTPUT}{i}:0": name for i, name in enumerate(frozen.outputs)}
    _write(convert(prepared, frozen, where), inputs, outputs, frozen, folder)


def convert_tflite(path: Path, frozen: Frozen, folder: Path, where: str) -> None:
    """The same for a .tflite file; `frozen` names its endpoints."""
    proto = convert(None, frozen, where, tflite=path)
    inputs = {tensor: name for name, tensor in frozen.inputs.items()}
    _write(proto, inputs, {tensor: name for name, tensor in frozen.outputs.items()}, frozen, folder)


def _write(proto: Any, inputs: Mapping[str, str], outputs: Mapping[str, str], frozen: Frozen, folder: Path) -> None:
    """The model with users' names, in `folder`. `inputs`, `outputs`: tf2onnx's names -> users'."""
    model = finish(proto, inputs, outputs, frozen.layers)
    onnx_io.write(model, folder / GRAPH, data_name=GRAPH_DATA)


# ---- before the graph is touched ---------------------------------------------------------------------------


def refuse_unknown(graph: Any, where: str) -> None:
    """Raises UnsupportedModel for all ops that TensorFlow does not know, and for those that leave the graph."""
    tensorflow()
    from tensorflow.python.framework import op_def_registry

    own = {function.signature.name for function in graph.library.function}
    gaps = []
    for node in _all_nodes(graph):
        if node.op in _OUTSIDE:
            gaps.append(_gap(node.name, node.op, "it reads or writes files, or calls Python, while the graph runs"))
        elif node.op not in own and op_def_registry.get(node.op) is None:
            gaps.append(
                _gap(node.name, node.op, "this TensorFlow has no such op: it is a custom op of another library")
            )
    if gaps:
        raise unsupported(gaps, where)


def _all_nodes(graph: Any) -> Sequence[Any]:
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


# ---- endpoints and inlining --------------------------------------------------------------------------------


def _with_endpoints(frozen: Frozen, bindings: Mapping[str, InputBinding], where: str) -> Any:
    tf = tensorflow()
    probe = tf.Graph()
    with probe.as_default():
        tf.import_graph_def(frozen.graph, name="")
    known = {name: _tensor(probe, name, where) for name in (*frozen.inputs.values(), *frozen.outputs.values())}
    graph = tf.Graph()
    with graph.as_default():
        fed = {
            tensor: tf.compat.v1.placeholder(
                known[tensor].dtype, _shape(known[tensor], bindings.get(name), name, where), f"{_INPUT}{i}"
            )
            for i, (name, tensor) in enumerate(frozen.inputs.items())
        }
        results = tf.import_graph_def(frozen.graph, fed, list(frozen.outputs.values()), name="")
        for i, (tensor, result) in enumerate(zip(frozen.outputs.values(), results, strict=True)):
            tf.identity(fed.get(tensor, result), f"{_OUTPUT}{i}")
    return graph.as_graph_def()


def _tensor(graph: Any, name: str, where: str) -> Any:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError) as error:
        raise InvalidModel(
            "the graph lacks a tensor that its signature names",
            where=where,
            why=f"there is no tensor {name!r}",
            fix="export the model again, or name tensors that exist",
        ) from error


def _shape(tensor: Any, binding: InputBinding | None, name: str, where: str) -> Any:
    """The placeholder's shape: sizes that the user bound are known to TensorFlow's own shape inference."""
    if tensor.dtype.is_numpy_compatible is False or tensor.dtype.name in ("variant", "resource"):
        raise InvalidModel(
            "an input is no plain tensor",
            where=f"{where}, input {name!r}",
            why=f"it is of TensorFlow's type {tensor.dtype.name} (a ragged or sparse tensor, a table, a data set)",
            fix="export a signature that takes dense tensors",
        )
    if binding is None:
        return tensor.shape
    sizes = [size if isinstance(size, int) else None for size in binding.shape]
    if tensor.shape.rank is None:
        return sizes
    if tensor.shape.rank != len(sizes):
        return tensor.shape  # a misfit, which is told where bindings are checked
    pairs = zip(tensor.shape.as_list(), sizes, strict=True)
    return [size if known is None else known for known, size in pairs]


_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def _inlined(frozen: Frozen) -> Frozen:
    tf = tensorflow()
    from tf2onnx import tf_loader

    inputs, outputs = ([*dict.fromkeys(ends.values())] for ends in (frozen.inputs, frozen.outputs))
    # Inputs that no output needs stay inputs: they are part of the signature.
    keep = [*dict.fromkeys(name.split(":")[0] for name in (*inputs, *outputs))]
    graph = tf.compat.v1.graph_util.extract_sub_graph(frozen.graph, keep)
    _stay_whole(graph)
    with tf.Graph().as_default():
        made = tf_loader.tf_optimize(inputs, outputs, graph)
    if not any(node.op in _CALLS for node in made.node):
        return replace(frozen, graph=made)
    # Grappler leaves graphs of fewer than four nodes as they are (RewriterConfig.min_graph_nodes): make them larger.
    fetched = {tensor: f"{_FETCH}{i}" for i, tensor in enumerate(outputs)}
    dtypes = _dtypes(graph)
    for tensor, name in fetched.items():
        for step, source in ((f"{name}a", tensor), (f"{name}b", f"{name}a"), (name, f"{name}b")):
            graph.node.add(name=step, op="Identity", input=[source]).attr["T"].type = dtypes[tensor]
    with tf.Graph().as_default():
        made = tf_loader.tf_optimize(inputs, [f"{name}:0" for name in fetched.values()], graph)
    return replace(frozen, graph=made, outputs={user: f"{fetched[t]}:0" for user, t in frozen.outputs.items()})


def _dtypes(graph: Any) -> Mapping[str, int]:
    """tensor name -> number of its dtype."""
    tf = tensorflow()
    bare = type(graph)()
    bare.CopyFrom(graph)
    for node in bare.node:
        node.attr.pop("_output_shapes", None)  # a hint, which is wrong where variables became constants
    with tf.Graph().as_default() as whole:
        tf.import_graph_def(bare, name="")
        return {t.name: t.dtype.as_datatype_enum for operation in whole.get_operations() for t in operation.outputs}


def _stay_whole(graph: Any) -> None:
    """Loops stay While (not Enter, Exit, Merge), and functions that Keras offers as alternatives are inlined too."""
    for node in _all_nodes(graph):
        if "_lower_using_switch_merge" in node.attr:
            node.attr["_lower_using_switch_merge"].b = False
    for function in graph.library.function:
        function.attr.pop("api_implements", None)


# ---- tf2onnx ---------------------------------------------------------------------------------------------


def convert(graph: Any, frozen: Frozen, where: str, tflite: Path | None = None) -> Any:
    """The ModelProto of a GraphDef with endpoints, or of a .tflite file. Raises UnsupportedModel with all gaps."""
    tf = tensorflow()
    from tf2onnx import optimizer, tfonnx

    faults = _Faults()
    logger = logging.getLogger("tf2onnx")
    logger.addHandler(faults)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    options: dict[str, Any] = {"opset": OPSET, "continue_on_error": True, "custom_op_handlers": _HANDLERS}
    try:
        with tf.Graph().as_default() as loaded:
            if tflite is not None:
                options |= {
                    "tflite_path": str(tflite),
                    "input_names": list(frozen.inputs.values()),
                    "output_names": list(frozen.outputs.values()),
                }
            else:
                tf.import_graph_def(graph, name="")
                options |= {
                    "use_default": [node.name for node in graph.node if node.op == "PlaceholderWithDefault"],
                    "input_names": [f"{_INPUT}{i}:0" for i in range(len(frozen.inputs))],
                    "output_names": [f"{_OUTPUT}{i}:0" for i in range(len(frozen.outputs))],
                }
            converted = tfonnx.process_tf_graph(None if tflite else loaded, **options)
            faults.check(where, frozen.layers)
            proto = optimizer.optimize_graph(converted).make_model("neoc")
            faults.leftovers(proto)
            faults.check(where, frozen.layers)
            return proto
    except UnsupportedModel:
        raise
    except Exception as error:
        faults.check(where, frozen.layers)  # what it logged explains more than where it gave up
        why = f"tf2onnx gave up: {first_words(error)}"
        raise UnsupportedModel(
            "the model has no ONNX form",
            where=where,
            why=why,
            fix="export a simpler graph (static shapes with --input often help), or export to ONNX yourself",
            gaps=(Gap("tensorflow", "", "", why),),
        ) from error
    finally:
        logger.removeHandler(faults)


class _Faults(logging.Handler):
    """What tf2onnx says of nodes that it cannot convert. Its messages are formats: their arguments name the node."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: dict[tuple[str, str], str] = {}
        """(node, operator) -> reason"""

    def emit(self, record: logging.LogRecord) -> None:
        text, arguments = str(record.msg), record.args
        if text.startswith("Tensorflow op [") and isinstance(arguments, tuple):
            node, operator = map(str, arguments[:2])
            self.found.setdefault((node, operator), "it has no ONNX form")
        elif text.startswith("Failed to convert node") and isinstance(arguments, tuple):
            error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            handler = getattr(getattr(arguments[1], "__self__", None), "__name__", "")
            reason = first_words(error, 200) if error is not None else "tf2onnx failed on it"
            self.found.setdefault((str(arguments[0]), _operator(str(arguments[2])) or handler), reason)

    def leftovers(self, proto: Any) -> None:
        """Operators that passed through and that no ONNX version knows."""
        import onnx

        known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
        for node in contents(proto)[1]:
            if node.domain in ("", "ai.onnx") and node.op_type not in known:
                self.found.setdefault((node.name, node.op_type), "it has no ONNX form")

    def check(self, where: str, layers: Layers) -> None:
        if self.found:
            raise unsupported(
                [_gap(node, operator, reason, layers) for (node, operator), reason in self.found.items()], where
            )


def _operator(summary: str) -> str:
    """The operator in tf2onnx's own description of a node: 'OP=MatMul\\nName=...'."""
    return next((line[3:] for line in summary.replace("'", "\n").split("\n") if line.startswith("OP=")), "")


def _gap(node: str, operator: str, reason: str, layers: Layers | None = None) -> Gap:
    layer = layers.of(node) if layers is not None else ""
    operator = operator.removeprefix("TFL_")
    return Gap(
        "tensorflow",
        node,
        operator,
        reason,
        where=f"layer {layer}" if layer else "",
        suggestion="replace the layer by one made of standard operations, or leave it outside the exported model",
    )


def unsupported(gaps: Sequence[Gap], where: str) -> UnsupportedModel:
    """One error with every gap; the message names the operators and the first layers."""
    operators = list(dict.fromkeys(gap.operator for gap in gaps if gap.operator))
    first = "; ".join(f"{gap.operator} at {gap.where or gap.node}: {gap.reason}" for gap in gaps[:3])
    return UnsupportedModel(
        f"{len(gaps)} node{'s' * (len(gaps) > 1)} of the model cannot be converted ({', '.join(operators[:8])})",
        gaps=gaps,
        where=where,
        why=first,
        fix="`neoc check` lists all of them; replace these layers, or leave them outside the exported model",
    )


# ---- operators that tf2onnx converts into something else -----------------------------------------------------


def _select(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Select(c, x, y) -> Where(c, x, y).

    tf2onnx writes c*x + (1-c)*y, which is NaN wherever the branch that was *not* taken is infinite or NaN. Select (not
    SelectV2) also takes a vector of conditions for the first axis.
    """
    import numpy as np

    condition, value = context.get_shape(node.input[0]), context.get_shape(node.input[1])
    if arguments == ["Select"] and condition is not None and len(condition) == 1 and value and len(value) > 1:
        shape = context.make_const(f"{name}_shape", np.array([-1] + [1] * (len(value) - 1), np.int64))
        reshaped = context.make_node("Reshape", [node.input[0], shape.output[0]])
        context.replace_input(node, node.input[0], reshaped.output[0], 0)


_HANDLERS: dict[str, tuple[Any, list[str]]] = {
    "Select": (_select, ["Where", "Select"]),
    "SelectV2": (_select, ["Where", "SelectV2"]),
}
