"""A valid manifest to start from, an engine that multiplies, and ways to forge artifacts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile import container, manifest
from neoc.compile.contracts import (
    Built,
    Engine,
    EngineOptions,
    FeedCheck,
    Gap,
    Session,
    Signature,
    Target,
    TensorSpec,
    Variant,
)
from neoc.compile.program import Program

FACTOR = "factor.bin"
SIGNATURE = Signature((TensorSpec("x", "float32", ("n",)),), (TensorSpec("y", "float32", ("n",)),))


class Multiplier(Engine):
    """y = x * factor, where the factor is the first float32 of its member. Keeps the member's bytes where `keeps`."""

    name = "multiplier"
    keeps = False

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []

    def missing(self) -> str | None:
        return None

    def serves(self, target: Target) -> bool:
        return True

    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        return ()

    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        return (Variant.of("default"),)

    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        raise NotImplementedError("these tests open; they never build")

    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        self.opened.append({"members": {n: v.nbytes for n, v in members.items()}, "threads": threads, "device": device})
        assert all(view.readonly for view in members.values())
        return Product(signature, members[FACTOR] if self.keeps else bytes(members[FACTOR][:4]))


class Product(Session):
    def __init__(self, signature: Signature, factor: bytes | memoryview) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._factor, self._check = factor, FeedCheck(signature.inputs)
        self.runs = 0
        self.closed = False

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        self.runs += 1
        (source,), (result,) = self.inputs, self.outputs
        return {result.name: feeds[source.name] * np.frombuffer(self._factor, np.float32, 1)[0]}

    def close(self) -> None:
        self.closed = True


def factor(value: float, size: int = 4) -> bytes:
    """A member of `size` bytes that begins with the factor; the rest differs from place to place."""
    rest = np.arange(size // 4 - 1, dtype=np.uint32)
    return np.float32(value).tobytes() + rest.tobytes()


def step(members: Mapping[str, str], engine: str = "multiplier", signature: Signature | None = None) -> dict[str, Any]:
    plain = {
        "engine": engine,
        "variant": Variant.of("default").as_dict(),
        "members": dict(members),
        "placement": {"nodes": {engine: 1}, "fallback": []},
        "tools": {engine: "1.0"},
        "reproducible": True,
    }
    return plain if signature is None else plain | {"signature": signature.as_dict()}


def variant(*steps: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "multiplier/default",
        "bind": {},
        "precision": "fp32",
        "threads": 1,
        "steps": [dict(s) for s in steps],
        "requirements": [],
        "level": "executed",
        "numerics": "executed",
        "toolchain": "real",
    } | changes


def draft(*variants: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A manifest as `pack` takes it."""
    placement = {"nodes": {"multiplier": 1}, "fallback": []}
    target = Target(name="x86-64", title="64-bit x86", arch="x86_64", level="x86-64")
    return {
        "signature": SIGNATURE.as_dict(),
        "target": target.as_dict(),
        "variants": list(variants) or [variant(step({FACTOR: "native/multiplier/factor.bin"}))],
        "program": {},
        "pre": [],
        "post": [],
        "tools": {"neoc": "0.1.0"},
        "provenance": {"framework": "onnx", "version": "1", "sha256": "0" * 64, "name": "m.onnx"},
        "placement": placement,
        "verification": {
            "numerics": "executed",
            "why": "",
            "reference": "onnxruntime, no optimisation",
            "independent": True,
            "corroborated_by": [],
            "judged_by": "",
            "samples": 2,
            "given_samples": 0,
            "outputs": [],
            "notes": [],
        },
        "chosen_by": "race",
        "notes": [],
    } | changes


MEMBERS = {"native/multiplier/factor.bin": factor(3.0, 200)}
EVIDENCE: dict[str, Any] = {"decision": {"plan": "multiplier/default", "chosen_by": "race"}, "machine": {"cpu": "any"}}


def redigest(facts: dict[str, Any]) -> dict[str, Any]:
    """The manifest with a content_digest that fits: what someone who knows the format would forge."""
    return facts | {"content_digest": manifest.content_digest(facts)}


def forge(path: Path, parts: Sequence[tuple[str, bytes]]) -> Path:
    """A well-formed container over any members, whatever they say."""
    entries = container.lay_out([(name, len(data), zlib.crc32(data)) for name, data in parts])
    body = b"".join(entry.header() + data for entry, (_, data) in zip(entries, parts, strict=True))
    path.write_bytes(body + container.directory(entries))
    return path


def reforge(source: Path, path: Path, change: Any) -> Path:
    """A copy of the artifact `source` whose manifest went through `change`, with every digest made to fit again."""
    from neoc.compile.artifact import Artifact

    artifact = Artifact.open(source)
    facts = change(json.loads(json.dumps(artifact.manifest)))
    contents = artifact.read(list(artifact.members()))
    text = manifest.canonical(redigest(facts), "manifest.json")
    proof = manifest.canonical(artifact.evidence, "evidence.json")
    inner = [(name, bytes(data)) for name, data in contents.items()]
    return forge(path, [("manifest.json", text), *inner, ("evidence.json", proof)])
