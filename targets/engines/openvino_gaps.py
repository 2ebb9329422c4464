"""What OpenVINO does not take, told without OpenVINO: a table of its operators, and the types it cannot keep.

OpenVINO's CPU plugin computes float64 in float32 and every integer in 32 bits or less, and says nothing about it
(measured with 2026.4: int64 2**40 + 1 gives 1, uint8 200 + 100 gives 255, float64 1e300 * 1 gives 3.4e38). Where that
would show in a result, it is a gap here, or an error at run (`openvino.py` refuses int64 feeds beyond 32 bits).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neoc.compile.contracts import Gap, TensorSpec
from neoc.targets.engines.nodes import domain_of, label, where_of
from neoc.targets.engines.tensors import is_tensor

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

ENGINE = "openvino"
ORT_DOMAIN = "com.microsoft"

_UNKNOWN_TYPES = ("complex64", "complex128", "float8_e4m3fnuz", "float8_e5m2fnuz", "int2", "uint2")
NO_EDGE_TYPES = frozenset([*_UNKNOWN_TYPES, "string", "float64", "uint32", "uint64"])
"""dtypes that an input or output cannot have: no OpenVINO type, or one that the plugin narrows"""

_WRONG_TYPES = {
    "DOUBLE": "computes float64 in float32",
    "UINT64": "computes uint64 in 32 signed bits",
    "UINT32": "computes uint32 in 32 signed bits",
    "STRING": "has hardly any operator for strings",
}
_WRAPPING = frozenset(["Add", "Sub", "Mul", "Neg", "Pow", "Sum", "BitShift", "CumSum", "ReduceSum", "ReduceProd"])
"""operators that wrap around in ONNX's narrow integers, where the plugin saturates"""
_NARROW = frozenset({"INT8", "UINT8", "INT16", "UINT16"})
_IN_FLOAT32 = frozenset(["Pow", "ReduceProd", "ReduceSumSquare"])
"""operators that the plugin computes in float32 for integers, with results that easily pass 2**24"""
_ARITHMETIC = frozenset(
    ["Add", "Sub", "Mul", "Div", "Mod", "Pow", "MatMul", "Gemm", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor"]
)
_LARGEST_CONSTANT = 1 << 20
"""elements; larger constants are not read to look for wide integers"""


def _has_int(name: str, *values: int) -> Callable[[ir.Node], bool]:
    return lambda node: node.attributes.get_int(name, None) in values


def _has_text(name: str, *values: str) -> Callable[[ir.Node], bool]:
    return lambda node: node.attributes.get_string(name, None) in values


def _has_input(index: int) -> Callable[[ir.Node], bool]:
    return lambda node: len(node.inputs) > index and node.inputs[index] is not None


def _varies(index: int) -> Callable[[ir.Node], bool]:
    def varies(node: ir.Node) -> bool:
        value = node.inputs[index]
        return value is not None and value.const_value is None

    return varies


DEPARTURES: tuple[tuple[str, Callable[[ir.Node], bool], str, str], ...] = (
    ("LSTM", _has_int("layout", 1), "it ignores layout=1", "transpose to [time, batch, features]"),
    ("GRU", _has_int("layout", 1), "it ignores layout=1", "transpose to [time, batch, features]"),
    ("RNN", _has_int("layout", 1), "it ignores layout=1", "transpose to [time, batch, features]"),
    ("LSTM", _has_input(7), "it ignores the peephole weights", "write the cell out in a Scan"),
    ("Resize", _has_int("antialias", 1), "it ignores antialias", "filter before, or resize without it"),
    ("Resize", _has_int("exclude_outside", 1), "it ignores exclude_outside", "leave the attribute out"),
    (
        "Resize",
        _has_text("keep_aspect_ratio_policy", "not_larger", "not_smaller"),
        "it ignores keep_aspect_ratio_policy",
        "compute the sizes in the graph and stretch",
    ),
    ("RoiAlign", _has_text("mode", "max"), "it gives other values for mode=max", "use mode=avg"),
    ("DFT", _has_input(2), "it ignores the axis input", "give the axis as an attribute (opset 17 to 19)"),
    ("DFT", _has_int("onesided", 1), "it gives one-sided transforms another shape", "transform fully and slice"),
    ("SpaceToDepth", _has_text("mode", "CRD"), "it ignores mode=CRD", "use Reshape and Transpose"),
    ("Attention", lambda n: n.attributes.get_int("left_window_size", -1) >= 0, "it ignores the window", "mask instead"),
    (
        "Attention",
        lambda n: n.attributes.get_int("right_window_size", -1) >= 0,
        "it ignores the window",
        "mask instead",
    ),
    ("Tile", _varies(1), "it gives garbage for repeats that are computed", "make the repeats constant, or use Expand"),
    (
        "BitShift",
        lambda _: True,
        "it shifts signed and large amounts differently",
        "multiply or divide by powers of two",
    ),
)
"""Where OpenVINO 2026.4 takes a node and computes something else than ONNX says, without a word: operator, when, what,
what to do instead. Found by running ONNX's backend tests; parity would catch each, this saves the build."""


@cache
def _table() -> dict[str, frozenset[str]]:
    table = json.loads(Path(__file__).with_name("openvino_operators.json").read_text())
    return {domain: frozenset(names) for domain, names in table["operators"].items()}


@cache
def table_version() -> str:
    """The OpenVINO from which the table of operators was made."""
    return str(json.loads(Path(__file__).with_name("openvino_operators.json").read_text())["openvino"])


def gaps(program: Program) -> tuple[Gap, ...]:
    """Every node and every input or output that OpenVINO cannot take.

    The table speaks for its own version only: with another one installed, unknown operators are left to the build.
    """
    local = {(domain_of(f.domain), f.name) for f in program.model.functions.values()}
    found = [*_edges(program)]
    for node in program.nodes():
        if (domain_of(node.domain), node.op_type) not in local:
            found += _node_gaps(node)
    return tuple(found)


def _edges(program: Program) -> Iterator[Gap]:
    signature = program.signature
    for word, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if not is_tensor(spec) or spec.dtype in NO_EDGE_TYPES:
                yield _edge(word, spec)


def _edge(word: str, spec: TensorSpec) -> Gap:
    reason = f"{word} {spec.name!r} is of type {spec.dtype}, which it cannot take unchanged"
    return Gap(ENGINE, spec.name, "", reason, suggestion=f"give the {word} another type, float32 or int32 say")


def _node_gaps(node: ir.Node) -> Iterator[Gap]:
    domain, name = domain_of(node.domain), node.op_type
    if _table_holds() and domain != "org.openvinotoolkit" and name not in _table().get(domain, ()):
        yield _of(node, "there is no conversion rule for it", "rewrite it with other operators")
    types = [v.dtype.name for v in node.outputs if v.dtype is not None]
    inputs = [v.dtype.name for v in node.inputs if v is not None and v.dtype is not None]
    for kind in sorted(_WRONG_TYPES.keys() & {*types, *inputs}):
        yield _of(node, f"it {_WRONG_TYPES[kind]}", "cast to float32, or to int32 or int64")
    if name in _WRAPPING and _NARROW & set(types):
        yield _of(node, "it saturates 8- and 16-bit integers, which ONNX wraps around", "compute in int32")
    if name in ("Cast", "CastLike") and any(kind.startswith(("FLOAT8", "FLOAT4")) for kind in types):
        yield _of(node, "it rounds and saturates differently in 8- and 4-bit floats", "cast outside the model")
    if name in _IN_FLOAT32 and types and types[0] in ("INT32", "INT64"):
        yield _of(node, "it computes this operator in float32 for integers", "compute in float32 and cast")
    if domain == "":
        for operator, applies, reason, suggestion in DEPARTURES:
            if operator == name and applies(node):
                yield _of(node, reason, suggestion)
    if name in _ARITHMETIC and any(_is_wide(v) for v in node.inputs):
        yield _of(node, "a constant does not fit the 32 bits in which it computes int64", "keep constants in 32 bits")


@cache
def _table_holds() -> bool:
    try:
        return version("openvino") == table_version()
    except PackageNotFoundError:
        return True


def _is_wide(value: ir.Value | None) -> bool:
    """Whether a constant int64 has an element beyond 32 bits."""
    constant = None if value is None else value.const_value
    if constant is None or constant.dtype.name != "INT64" or not 0 < constant.size <= _LARGEST_CONSTANT:
        return False
    array, limits = constant.numpy(), np.iinfo(np.int32)
    return bool(array.min() < limits.min or array.max() > limits.max)


def _of(node: ir.Node, reason: str, suggestion: str) -> Gap:
    name = f"{node.domain}.{node.op_type}" if domain_of(node.domain) else node.op_type
    return Gap(ENGINE, label(node), name, reason, where_of(node), suggestion)
