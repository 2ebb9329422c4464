"""What onnxruntime's CPU provider has no kernel for, from the tables of the installed build: no session is created.

A node runs when the registry holds a kernel of its operator, in the version that the opset selects, for its types. Two
ways around a missing kernel are onnxruntime's own and count as support: an operator that ONNX defines by a function is
inlined, and a float16 node is computed in float32 where only that kernel exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import Gap
from neoc.targets.engines.nodes import domain_of, label, where_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.program import Program

ENGINE = "onnxruntime"
OPEN_END = 2**31 - 1
"""a kernel's last version where none is set: it then serves its first version only"""

Operator = tuple[str, str]
"""(domain, name)"""


@dataclass(frozen=True)
class _Kernel:
    first: int
    last: int
    types: Mapping[str, frozenset[str]]
    """type parameter, or name of an input or output -> types, spelled 'tensor(float)'"""

    def serves(self, version: int) -> bool:
        """onnxruntime's own rule (kernel_registry.cc, VerifyKernelDef)."""
        return self.first == version or (self.last != OPEN_END and self.first < version <= self.last)


@dataclass(frozen=True)
class _Schema:
    inputs: tuple[tuple[str, str], ...]
    """(name, type parameter); the last one repeats where the operator is variadic"""
    outputs: tuple[tuple[str, str], ...]


@cache
def _kernels() -> Mapping[Operator, tuple[_Kernel, ...]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    found: dict[Operator, list[_Kernel]] = defaultdict(list)
    for k in native.get_all_opkernel_def():
        if k.provider == "CPUExecutionProvider":
            types = {name: frozenset(allowed) for name, allowed in k.type_constraints.items()}
            found[k.domain, k.op_name].append(_Kernel(k.version_range[0], k.version_range[1], types))
    return {operator: tuple(kernels) for operator, kernels in found.items()}


@cache
def _schemas() -> Mapping[Operator, Mapping[int, _Schema]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as native

    found: dict[Operator, dict[int, _Schema]] = defaultdict(dict)
    for s in native.get_all_operator_schema():
        inputs = tuple((p.name, p.typeStr) for p in s.inputs)
        found[s.domain, s.name][s.since_version] = _Schema(inputs, tuple((p.name, p.typeStr) for p in s.outputs))
    return found


@cache
def newest_opset() -> int:
    """The newest version of the default domain that the installed build knows."""
    return max(version for (domain, _), versions in _schemas().items() if domain == "" for version in versions)


def gaps(program: Program) -> tuple[Gap, ...]:
    """Every node that the installed build cannot run."""
    if program.opset > newest_opset():
        reason = f"opset {program.opset} is newer than {newest_opset()}, the newest that it knows"
        return (Gap(ENGINE, "", "", reason, suggestion="install a newer onnxruntime, or export to an older opset"),)
    local = {(domain_of(f.domain), f.name) for f in program.model.functions.values()}
    nodes = (n for n in program.nodes() if (domain_of(n.domain), n.op_type) not in local)
    return tuple(gap for node in nodes if (gap := _gap(node, program.model.opset_imports)) is not None)


def _gap(node: ir.Node, opsets: Mapping[str, int]) -> Gap | None:
    operator = (domain_of(node.domain), node.op_type)
    if operator == ("", "Constant"):  # becomes an initializer at load
        return None
    opset = opsets.get(operator[0], opsets.get(node.domain, 1))
    versions = [v for v in _schemas().get(operator, {}) if v <= opset]
    if not versions:
        return _of(node, "it knows no such operator", "rewrite the node with operators of the default domain")
    version = max(versions)
    kernels = [k for k in _kernels().get(operator, ()) if k.serves(version)]
    if not kernels:
        if _has_function(operator, version):
            return None
        return _of(node, *_no_version(operator, version))
    found = _types(node, _schemas()[operator][version])
    if not any(_fits(k, found) or _fits(k, _in_float32(found)) for k in kernels):
        return None if _has_function(operator, version) else _of(node, *_no_type(node, version, kernels, found))
    return _unsupported_attribute(node)


def _has_function(operator: Operator, version: int) -> bool:
    from onnx import defs

    domain, name = operator
    try:
        schema: Any = defs.get_schema(name, version, domain)
    except defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def _types(node: ir.Node, schema: _Schema) -> dict[str, str]:
    """Type parameter, and name of an input or output, -> the type found there. What is not known is left out."""
    found: dict[str, str] = {}
    for values, parameters in ((node.inputs, schema.inputs), (node.outputs, schema.outputs)):
        for value, (name, parameter) in zip(values, _repeated(parameters, len(values)), strict=False):
            kind = None if value is None else type_text(value.type)
            if kind is not None:
                found.setdefault(name, kind)
                found.setdefault(parameter, kind)
    return found


def _repeated(parameters: tuple[tuple[str, str], ...], count: int) -> Iterator[tuple[str, str]]:
    yield from parameters
    for _ in range(count - len(parameters)):
        yield parameters[-1]


def type_text(kind: Any) -> str | None:
    """'tensor(float)', 'seq(tensor(int64))' ..., as onnxruntime spells a type; None where it is not known."""
    import onnx_ir as ir

    if kind is None or kind.dtype in (None, ir.DataType.UNDEFINED):
        return None
    if isinstance(kind, ir.TensorType):
        return f"tensor({kind.dtype.name.lower()})"
    if isinstance(kind, ir.SparseTensorType):
        return f"sparse_tensor({kind.dtype.name.lower()})"
    inner = type_text(kind.elem_type)
    word = "optional" if isinstance(kind, ir.OptionalType) else "seq"
    return None if inner is None else f"{word}({inner})"


def _fits(kernel: _Kernel, found: Mapping[str, str]) -> bool:
    return all(found[name] in allowed for name, allowed in kernel.types.items() if name in found)


def _in_float32(found: Mapping[str, str]) -> dict[str, str]:
    return {name: kind.replace("(float16)", "(float)") for name, kind in found.items()}


def _no_version(operator: Operator, version: int) -> tuple[str, str]:
    kernels = _kernels().get(operator, ())
    if not kernels:
        return f"version {version} has no CPU kernel", "rewrite the node with other operators"
    spans = {f"{k.first}" if k.last in (k.first, OPEN_END) else f"{k.first}-{k.last}" for k in kernels}
    known = ", ".join(sorted(spans, key=lambda span: int(span.split("-")[0])))
    return (
        f"version {version} has no CPU kernel, only version {known}",
        f"convert the model to an opset that selects version {known}",
    )


def _no_type(node: ir.Node, version: int, kernels: list[_Kernel], found: Mapping[str, str]) -> tuple[str, str]:
    bad = sorted({name for k in kernels for name in k.types if name in found and found[name] not in k.types[name]})
    have = ", ".join(f"{name} = {found[name]}" for name in bad)
    can = sorted({kind for k in kernels for name in bad for kind in k.types.get(name, ())})
    reason = f"version {version} has no CPU kernel for {have}"
    return reason, f"cast around the node to one of {', '.join(can)}"


def _unsupported_attribute(node: ir.Node) -> Gap | None:
    if node.op_type in ("LSTM", "GRU", "RNN") and node.attributes.get_int("layout", 0) != 0:
        return _of(node, "it computes layout 0 only", "transpose to [time, batch, features] and use layout=0")
    return None


def _of(node: ir.Node, reason: str, suggestion: str) -> Gap:
    name = f"{node.domain}.{node.op_type}" if domain_of(node.domain) else node.op_type
    return Gap(ENGINE, label(node), name, reason, where_of(node), suggestion)
