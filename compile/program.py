"""Program: the shared IR. An ONNX model in neoc's normal form, with its signature and where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import Dim, Signature, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir

    from neoc.compile.frontends.contract import Request


@dataclass(frozen=True)
class ProcessStep:
    """One step of pre- or post-processing: a kernel's name and its options as sorted (key, JSON text) pairs."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "options": {k: json.loads(v) for k, v in self.options}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProcessStep:
        pairs = ((k, json.dumps(v, sort_keys=True)) for k, v in data["options"].items())
        return cls(data["name"], tuple(sorted(pairs)))


@dataclass(frozen=True)
class Provenance:
    """Where a program came from."""

    framework: str
    """'onnx', 'pytorch', 'xgboost' ..."""
    version: str
    """of the framework or exporter that wrote the source, as the file says"""
    sha256: str
    """of the source's bytes (for a model with external data: of model file and data files in name order)"""
    name: str
    """file name, without its folder"""

    def as_dict(self) -> dict[str, str]:
        return {
            "framework": self.framework,
            "version": self.version,
            "sha256": self.sha256,
            "name": self.name,
        }


@dataclass(frozen=True)
class Source:
    """The untouched source, for the reference run: a file (its external data beside it) or a folder."""

    path: Path
    bound: tuple[tuple[str, tuple[Dim, ...], str], ...] = ()
    """--input bindings that were applied: (name, shape, dtype)"""
    format: str = "onnx"
    """name of the front end that read it"""
    converted: Path | None = None
    """the ONNX file that a front end of another format made of it"""
    request: Request | None = None
    """what the front end was asked, where it was a converter"""
    keepers: tuple[object, ...] = field(default=(), repr=False, compare=False)
    """what the files above live in (a cache's lease, a temporary folder): gone with the last holder"""

    @property
    def graph(self) -> Path:
        """The ONNX file that ONNX oracles and the float64 judge run: the source itself where that is ONNX."""
        return self.converted or self.path

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bound": [[n, list(s), d] for n, s, d in self.bound],
            "format": self.format,
            "converted": None if self.converted is None else str(self.converted),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Source:
        """Without the request and the keepers, which stay with the process that loaded the source."""
        return cls(
            Path(data["path"]),
            tuple((n, tuple(s), d) for n, s, d in data["bound"]),
            data["format"],
            None if data["converted"] is None else Path(data["converted"]),
        )


@dataclass(frozen=True)
class Program:
    """Immutable by convention: a pass that changes `model` works on a copy (`clone`) and returns a new Program."""

    model: ir.Model = field(repr=False)
    provenance: Provenance
    source: Source | None = None
    pre: tuple[ProcessStep, ...] = ()
    post: tuple[ProcessStep, ...] = ()
    unfolded: Program | None = field(default=None, repr=False, compare=False)
    """the same before a step of `pre` was folded into the graph: its inputs are those of the source"""
    notes: tuple[str, ...] = ()
    """what the user should know of the lowering: 'opset conversion failed, kept 12: ...'"""

    @property
    def signature(self) -> Signature:
        """Inputs that must be fed (initializers that double as inputs are not) and outputs."""
        graph = self.model.graph
        initializers = graph.initializers
        inputs = tuple(spec_of(v) for v in graph.inputs if v.name not in initializers)
        return Signature(inputs, tuple(spec_of(v) for v in graph.outputs))

    @property
    def opset(self) -> int:
        """The version of the default domain."""
        imports = self.model.opset_imports
        version = imports.get("", imports.get("ai.onnx"))
        return 1 if version is None else version

    def nodes(self) -> Iterator[ir.Node]:
        """Every node, bodies of If, Loop and Scan included, in graph order."""
        import onnx_ir as ir

        yield from ir.traversal.RecursiveGraphIterator(self.model.graph)

    def clone(self) -> Program:
        """A program whose model can be changed in place; tensors are shared, not copied."""
        return replace(self, model=clone_model(self.model))

    def with_note(self, note: str) -> Program:
        return self if note in self.notes else replace(self, notes=(*self.notes, note))

    @cached_property
    def digest(self) -> str:
        """sha256 over the model and its tensors: equal for equal programs, on every machine."""
        from neoc.compile import onnx_io

        state = hashlib.sha256(onnx_io.canonical_bytes(self.model))
        steps = [[s.as_dict() for s in self.pre], [s.as_dict() for s in self.post]]
        state.update(json.dumps(steps, sort_keys=True).encode())
        return state.hexdigest()

    def save(self, folder: Path) -> None:
        """Write program.onnx (large tensors in program.data) and program.json into `folder`."""
        from neoc.compile import onnx_io

        onnx_io.write(self.model, folder / "program.onnx", data_name="program.data")
        facts = {
            "provenance": self.provenance.as_dict(),
            "source": None if self.source is None else self.source.as_dict(),
            "pre": [s.as_dict() for s in self.pre],
            "post": [s.as_dict() for s in self.post],
            "notes": list(self.notes),
        }
        (folder / "program.json").write_text(json.dumps(facts, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Program:
        """The inverse of `save`. Tensors stay memory-mapped in `folder`."""
        from neoc.compile import onnx_io

        facts = json.loads((folder / "program.json").read_text())
        source = facts["source"]
        return cls(
            model=onnx_io.read(folder / "program.onnx"),
            provenance=Provenance(**facts["provenance"]),
            source=None if source is None else Source.from_dict(source),
            pre=tuple(ProcessStep.from_dict(d) for d in facts["pre"]),
            post=tuple(ProcessStep.from_dict(d) for d in facts["post"]),
            notes=tuple(facts["notes"]),
        )


def clone_model(model: ir.Model) -> ir.Model:
    """A copy that can be changed in place. `Model.clone` alone shares the mutable types of values."""
    import onnx_ir as ir

    copy = model.clone()
    for graph in copy.graphs():
        values = [*graph.inputs, *graph.initializers.values(), *(v for n in graph for v in n.outputs)]
        for value in values:
            kind = value.type
            if isinstance(kind, ir.TensorType) and type(kind) is ir.TensorType:  # deepcopy takes ten times as long
                value.type = ir.TensorType(kind.dtype, denotation=kind.denotation)
            else:
                value.type = deepcopy(kind)
    return copy


def spec_of(value: ir.Value) -> TensorSpec:
    """The TensorSpec of a graph value. Sequences and optionals keep dtype 'sequence' / 'optional', shape None."""
    import onnx_ir as ir

    kind = value.type
    name = value.name or ""
    if kind is None:
        return TensorSpec(name, "undefined", None)
    if not isinstance(kind, ir.TensorType):
        word = "optional" if isinstance(kind, ir.OptionalType) else "sequence"
        return TensorSpec(name, word, None)
    shape: tuple[Dim, ...] | None = None
    if value.shape is not None:
        shape = tuple(d if isinstance(d, int) else d.value for d in value.shape)
    return TensorSpec(name, _dtype_name(kind.dtype), shape)


def _dtype_name(dtype: ir.DataType) -> str:
    import onnx_ir as ir

    if dtype == ir.DataType.STRING:
        return "string"
    if dtype == ir.DataType.UNDEFINED:
        return "undefined"
    return dtype.numpy().name
