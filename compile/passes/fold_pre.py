"""Steps of `pre` move into the graph where that is exact: the link carries bytes instead of floats.

    image -> NHWC -> Transpose -> ...          the kernel writes NCHW, the Transpose goes                        exact
    image -> levels as float32 -> ...          the kernel writes uint8, a Cast begins the graph                  exact
    image -> (u / d - m) / s -> Conv(W, b)     uint8 -> Cast -> Conv(W', b'), with a = 1 / (d s):
        m = 0, a a power of two                W' = W a: every product is the same number                        exact
        the Conv does not pad                  W' = W a,  b' = b - sum(W m / s)                                   near
        it pads, m d is one level p            Pad with p, then the same: p is what normalises to 0              near
        it pads, m d differs by channel        Sub(m d) before the Conv, which pads with 0: W' = W a,  b' = b    near

`exact` changes no bit of any result. `near` is equal but for the rounding of float32, which parity judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from neoc.compile.passes import graph as g
from neoc.compile.program import ProcessStep, Program


@dataclass(frozen=True)
class FoldPre:
    """mode: 'exact' or 'near'. retyped: the inputs that image steps feed, whose dtype may change."""

    mode: str
    retyped: frozenset[str]

    def __call__(self, program: Program) -> Program:
        copy = program.clone()
        names = g.Names(copy.model)
        pre, notes = list(program.pre), list(program.notes)
        inputs = {value.name: value for value in copy.model.graph.inputs}
        for place, step in enumerate(pre):
            options = step.as_dict()["options"]
            fed = options.get("input", [])
            if step.name != "image" or fed[0] not in self.retyped:
                continue
            value = inputs[fed[0]]
            options = _layout(value, options, names)
            options, note = _levels(value, options, self.mode, names)
            notes += [note] if note and note not in notes else []
            pre[place] = ProcessStep.from_dict({"name": "image", "options": options})
        if tuple(pre) == program.pre:
            return replace(program, notes=tuple(notes)) if tuple(notes) != program.notes else program
        return replace(copy, pre=tuple(pre), notes=tuple(notes), unfolded=program.unfolded or program)


def foldable(program: Program) -> frozenset[str]:
    """The inputs that an image step feeds and no later step rewrites."""
    fed = [(step.name, name) for step in program.pre for name in step.as_dict()["options"].get("input", [])]
    names = [name for _, name in fed]
    return frozenset(name for kind, name in fed if kind == "image" and names.count(name) == 1)


def _only_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads a graph input, and reads it once."""
    uses = list(value.uses())
    if value.is_graph_output() or len(uses) != 1 or uses[0].node.graph is not value.graph:
        return None
    return uses[0].node


def _layout(value: ir.Value, options: dict[str, Any], names: g.Names) -> dict[str, Any]:
    """The options after a Transpose between image and model became the kernel's own layout."""
    node = _only_reader(value)
    turned = {"NHWC": ("NCHW", [0, 3, 1, 2]), "NCHW": ("NHWC", [0, 2, 3, 1])}[options["layout"]]
    if node is None or node.op_type != "Transpose" or node.domain != g.ONNX or value.shape is None:
        return options
    if g.attribute_ints(node, "perm") != turned[1] or node.outputs[0].is_graph_output():
        return options
    value.shape = ir.Shape([value.shape[axis] for axis in turned[1]])
    g.forward(node, value, names)
    return options | {"layout": turned[0]}


def _levels(value: ir.Value, options: dict[str, Any], mode: str, names: g.Names) -> tuple[dict[str, Any], str]:
    """The options after the normalisation moved into the graph, and a note."""
    name = value.name
    if options["dtype"] != "float32" or options["resize"].startswith("torch-") or value.is_graph_output():
        return options, ""
    if not value.uses() or not isinstance(value.type, ir.TensorType) or value.type.dtype != ir.DataType.FLOAT:
        return options, ""
    mean, std = (np.asarray(options[key] or [blank] * 3, np.float64) for key, blank in (("mean", 0.0), ("std", 1.0)))
    raw = options | {"dtype": "uint8", "divisor": 1.0, "mean": None, "std": None}
    if options["divisor"] == 1.0 and not mean.any() and (std == 1).all():
        _cast(value, names)
        return raw, f"input {name!r} takes the image's levels as uint8"
    node = _only_reader(value)
    why = _obstacle(node, value, options)
    if node is None or why:
        return options, f"the normalisation of {name!r} stays in the image step: {why}"
    scale = 1 / (options["divisor"] * std)
    if mode == "exact" and not _is_exact(node, mean, scale):
        return options, (
            f"the normalisation of {name!r} stays in the image step: in the Conv it would round otherwise "
            "(--fold near folds it)"
        )
    _into_conv(node, value, mean, std, options["divisor"], names)
    return raw, f"the normalisation of {name!r} lies in the first Conv: it takes the image's levels as uint8"


def _obstacle(node: ir.Node | None, value: ir.Value, options: Mapping[str, Any]) -> str:
    """Why nothing can be folded into the node that reads the input; empty where it can."""
    if node is None or node.op_type != "Conv" or node.domain != g.ONNX or node.inputs[0] is not value:
        return "no Conv alone reads it"
    if options["layout"] != "NCHW":
        return "it is not NCHW"
    pad = node.attributes.get("auto_pad")
    if pad is not None and pad.as_string() not in ("NOTSET", "VALID"):
        return f"the Conv pads by {pad.as_string()}"
    for tensor in (g.constant(v) for v in node.inputs[1:] if v is not None):
        if tensor is None or tensor.dtype != ir.DataType.FLOAT:
            return "the Conv's weights are no float32 constants"
    weight = g.constant(node.inputs[1])
    if weight is None or len(weight.shape) != 4 or weight.shape[1] != 3 or g.attribute_int(node, "group", 1) != 1:
        return "the Conv does not mix the three channels"
    return ""


def _is_exact(node: ir.Node, mean: np.ndarray, scale: np.ndarray) -> bool:
    """Whether no bit changes: nothing is subtracted, and the weights lose nothing to a power of two."""
    weight = g.constant(node.inputs[1])
    if weight is None or mean.any() or not (np.frexp(scale)[0] == 0.5).all():
        return False
    plain = weight.numpy()
    scaled = (plain * scale.reshape(1, 3, 1, 1)).astype(np.float32)
    tiny = np.finfo(np.float32).tiny
    normal = (np.abs(scaled) >= tiny) | (plain == 0)
    return bool(np.isfinite(scaled).all() and normal.all() and (scaled / scale.reshape(1, 3, 1, 1) == plain).all())


def _into_conv(
    node: ir.Node, value: ir.Value, mean: np.ndarray, std: np.ndarray, divisor: float, names: g.Names
) -> None:
    weight = g.constant(node.inputs[1])
    graph = node.graph
    assert weight is not None
    assert graph is not None
    plain = weight.numpy().astype(np.float64)
    scaled = (plain / (divisor * std).reshape(1, 3, 1, 1)).astype(np.float32)
    base = f"{value.name}_folded"
    node.replace_input_with(1, g.add_initializer(graph, names.fresh(f"{base}_weight"), ir.tensor(scaled)))
    source = _cast(value, names)
    if not mean.any():
        return
    level = mean * divisor
    pads = [] if _is_valid(node) else g.attribute_ints(node, "pads") or []
    if any(pads) and (level != level[0]).any():
        shift = ir.tensor(level.astype(np.float32).reshape(1, 3, 1, 1))
        shifted = ir.Node(
            g.ONNX, "Sub", [source, g.add_initializer(graph, names.fresh(f"{base}_mean"), shift)], num_outputs=1
        )
        _between(graph, node, source, shifted, names.fresh(f"{base}_levels"), source.shape)
        return
    if any(pads):
        half = len(pads) // 2
        edges = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
        amounts = g.add_initializer(graph, names.fresh(f"{base}_pads"), ir.tensor(edges))
        fill = g.add_initializer(graph, names.fresh(f"{base}_level"), ir.tensor(np.float32(level[0])))
        padded = ir.Node(g.ONNX, "Pad", [source, amounts, fill], num_outputs=1)
        _between(graph, node, source, padded, names.fresh(f"{base}_padded"), None)
        node.attributes["pads"] = ir.AttrInt64s("pads", [0] * len(pads))
    _add_bias(node, -(plain * (mean / std).reshape(1, 3, 1, 1)).sum(axis=(1, 2, 3)), f"{base}_bias", names)


def _is_valid(node: ir.Node) -> bool:
    pad = node.attributes.get("auto_pad")
    return pad is not None and pad.as_string() == "VALID"


def _between(
    graph: ir.Graph, node: ir.Node, source: ir.Value, made: ir.Node, name: str, shape: ir.Shape | None
) -> None:
    """Let `node` read the new node `made` where it read `source`."""
    output = made.outputs[0]
    output.name, output.type, output.shape = name, source.type, shape
    graph.insert_before(node, made)
    node.replace_input_with(0, output)


def _add_bias(node: ir.Node, extra: np.ndarray, name: str, names: g.Names) -> None:
    old = g.constant(node.inputs[2]) if len(node.inputs) > 2 else None
    bias = extra if old is None else old.numpy().astype(np.float64) + extra
    assert node.graph is not None
    value = g.add_initializer(node.graph, names.fresh(name), ir.tensor(bias.astype(np.float32)))
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, value)


def _cast(value: ir.Value, names: g.Names) -> ir.Value:
    """The input becomes uint8; what read it reads its Cast to float32."""
    readers = [(use.node, use.idx) for use in value.uses()]
    graph = value.graph
    assert graph is not None
    cast = ir.Node(g.ONNX, "Cast", [value], [ir.AttrInt64("to", ir.DataType.FLOAT.value)], num_outputs=1)
    output = cast.outputs[0]
    output.name, output.type, output.shape = names.fresh(f"{value.name}_float"), value.type, value.shape
    value.type = ir.TensorType(ir.DataType.UINT8)
    graph.insert_before(graph[0], cast)
    for node, index in readers:
        node.replace_input_with(index, output)
    return output
