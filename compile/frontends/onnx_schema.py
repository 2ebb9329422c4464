"""Nodes against the schemas of the operator sets that a model imports: arity, attributes, bodies of control flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import onnx
from onnx import defs

from neoc.compile.frontends.onnx_faults import fault, need_text, shown

OLDEST_OPSET = 7
"""what the compiled engines serve; older models are read, and left to whoever can"""

_STANDARD = ("", "ai.onnx.ml", "ai.onnx.preview.training", "ai.onnx.training")
_NEWEST_CUSTOM = 2**31 - 1
_A = onnx.AttributeProto


@cache
def newest(domain: str) -> int:
    """The newest version of a standard domain that the installed onnx package knows; 0 for one that it does not."""
    return max(
        (schema.since_version for schema in defs.get_all_schemas_with_history() if schema.domain == domain), default=0
    )


def normal(domain: str) -> str:
    """'ai.onnx' is another name of the default domain."""
    return "" if domain == "ai.onnx" else domain


Imports = Any
"""a repeated field of OperatorSetIdProto"""


class Operators:
    """The operator sets in force: of a model, or of one of its functions."""

    def __init__(self, imports: Imports, ir_version: int, model: Operators | None = None) -> None:
        """`imports` is added to where the model leaves out what can only mean one thing."""
        self._imports = imports
        self._model = model
        self._ir_version = ir_version
        self._versions: dict[str, int] = {}
        self.notes: list[str] = [] if model is None else model.notes
        for entry in imports:
            self._read(entry)
        if ir_version < 3 and "" not in self._versions:
            self._assume("", 1)  # IR 1 and 2 know no imports
        opset = self._versions.get("", OLDEST_OPSET)
        if opset < OLDEST_OPSET and model is None:
            self.notes.append(f"opset {opset} is older than {OLDEST_OPSET}, the oldest that compiled engines serve")

    def of_function(self, imports: Imports) -> Operators:
        return Operators(imports, self._ir_version, self)

    def of_model(self) -> Operators:
        return self._model or self

    def _assume(self, domain: str, version: int) -> None:
        self._versions[domain] = version
        self._imports.add(domain=domain, version=version)

    def _read(self, entry: onnx.OperatorSetIdProto) -> None:
        need_text(entry.domain, "the opset imports", "domain")
        domain = normal(entry.domain)
        where = f"the import of domain {shown(domain or 'ai.onnx')}"
        limit = newest(domain) or _NEWEST_CUSTOM
        if domain == "":
            limit = defs.onnx_opset_version()
        if not 1 <= entry.version <= limit:
            raise fault(
                where,
                f"version {entry.version} is not one of 1 to {limit}",
                f"export it with an older opset (the newest that neoc knows is {limit})",
            )
        if self._versions.get(domain, entry.version) != entry.version:
            raise fault(where, f"versions {self._versions[domain]} and {entry.version} are both asked for")
        self._versions[domain] = entry.version

    def check(self, node: onnx.NodeProto, where: str) -> None:
        """Raises InvalidModel where a node does not fit its operator's schema. Operators without a schema pass."""
        domain = normal(node.domain)
        version = self._versions.get(domain)
        if version is None:
            if domain in _STANDARD:
                name = domain or "ai.onnx"
                raise fault(where, f"its domain {name} is not imported", "add the opset_import that it was written for")
            self._assume(domain, 1)
            self.notes.append(f"domain {shown(domain)} is used but not imported: version 1 is assumed")
            return
        schema = _schema(node.op_type, version, domain)
        if schema is not None:
            _check_arity(node, schema, where)
            _check_attributes(node, schema, where)
            body_check = _BODIES.get((domain, node.op_type))
            if body_check is not None and not any(attribute.ref_attr_name for attribute in node.attribute):
                body_check(node, version, where)


@cache
def _schema(operator: str, version: int, domain: str) -> defs.OpSchema | None:
    try:
        return defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None


def _check_arity(node: onnx.NodeProto, schema: defs.OpSchema, where: str) -> None:
    for what, names, least, most in (
        ("inputs", node.input, schema.min_input, schema.max_input),
        ("outputs", node.output, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            wanted = str(least) if least == most else f"{least} or more" if most > 1 << 16 else f"{least} to {most}"
            raise fault(where, f"it has {len(names)} {what}, {node.op_type} takes {wanted}")
    single = defs.OpSchema.FormalParameterOption.Single
    for formal, name in zip(schema.inputs, node.input, strict=False):
        if formal.option == single and not name:
            raise fault(where, f"its input {formal.name} is left out, and {node.op_type} needs it")


def _check_attributes(node: onnx.NodeProto, schema: defs.OpSchema, where: str) -> None:
    given = {attribute.name for attribute in node.attribute}
    known = _attributes(schema)
    for attribute in node.attribute:
        if attribute.name not in known:
            if attribute.name.startswith("__"):  # private to whoever wrote it, by onnx's own checker
                continue
            raise fault(where, f"{node.op_type} of this opset has no attribute {shown(attribute.name)}")
        wanted = known[attribute.name][0]
        if attribute.type not in (wanted, _A.UNDEFINED):
            kinds = [_A.AttributeType.Name(kind) for kind in (wanted, attribute.type)]
            raise fault(where, f"attribute {shown(attribute.name)} is {kinds[1]}, {node.op_type} takes {kinds[0]}")
    for name, (_, required) in known.items():
        if required and name not in given:
            raise fault(where, f"attribute {name!r} is missing, and {node.op_type} needs it")


@cache
def _attributes(schema: defs.OpSchema) -> dict[str, tuple[int, bool]]:
    """name -> (AttributeProto type, whether it must be given)"""
    return {
        name: (int(a.type), bool(a.required))  # type: ignore[call-overload]
        for name, a in schema.attributes.items()
    }


# ---- bodies of control flow: how many values go in and come out ------------------------------------


def _body(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    for attribute in node.attribute:
        if attribute.name == name:
            body: onnx.GraphProto = attribute.g
            return body
    return onnx.GraphProto()


def _expect(where: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise fault(where, f"{what} {found}, and its operator asks for {wanted}")


def _check_if(node: onnx.NodeProto, version: int, where: str) -> None:
    for name in ("then_branch", "else_branch"):
        branch = _body(node, name)
        _expect(where, f"inputs of {name}:", len(branch.input), 0)
        _expect(where, f"outputs of {name}:", len(branch.output), len(node.output))


def _check_loop(node: onnx.NodeProto, version: int, where: str) -> None:
    """inputs M, cond, v... -> outputs v..., scans...; body (i, cond, v...) -> (cond, v..., scans...)"""
    body, carried = _body(node, "body"), max(len(node.input) - 2, 0)
    _expect(where, "inputs of its body:", len(body.input), 2 + carried)
    _expect(where, "outputs of its body:", len(body.output), 1 + max(len(node.output), carried))


def _check_scan(node: onnx.NodeProto, version: int, where: str) -> None:
    """inputs state..., scan... -> outputs state..., scan...; its body the same. Version 8: sequence_lens first."""
    body, first = _body(node, "body"), int(version < 9)
    _expect(where, "inputs of its body:", len(body.input), len(node.input) - first)
    _expect(where, "outputs of its body:", len(body.output), len(node.output))
    scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
    if not 1 <= scanned <= len(body.input):
        raise fault(where, f"num_scan_inputs is {scanned}, with {len(body.input)} inputs in its body")


_BODIES: dict[tuple[str, str], Callable[[onnx.NodeProto, int, str], None]] = {
    ("", "If"): _check_if,
    ("", "Loop"): _check_loop,
    ("", "Scan"): _check_scan,
}
