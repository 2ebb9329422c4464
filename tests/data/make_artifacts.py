"""Writes the stored artifacts of tests/data/artifacts: one per minor version of the format, kept for ever.

    python tests/data/make_artifacts.py FOLDER

A stored file is never made anew: that today's neoc still reads it is what it is for. When the format's minor version
rises, run this once into tests/data/artifacts and commit what it adds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from neoc.compile import frontends, process
from neoc.compile.artifact import pack
from neoc.compile.contracts import Built, EngineOptions, Requirement, Target, Variant
from neoc.compile.manifest import FORMAT
from neoc.compile.program import Program
from neoc.compile.raw import RawPipeline
from neoc.compile.registry import load_engine, load_target

WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 4
BIAS = np.array([0.5, -1.0, 2.0], np.float32)


NAMES = ("a", "b", "c", "d")
MEAN = (0.5, -1.0, 2.0, 0.0)
PREPROCESS = {
    "columns": 4,
    "names": list(NAMES),
    "blocks": [
        {"kind": "numeric", "column": j, "steps": [["impute", m], ["subtract", m], ["divide", 2.0]]}
        for j, m in enumerate(MEAN)
    ],
}
"""since format 1.1: rows of four named columns, NaN is the mean"""
POSTPROCESS = {"k": 1, "names": ["red", "green", "blue"]}


def expected(x: np.ndarray) -> np.ndarray:
    """What the stored model computes: relu(x @ WEIGHTS + BIAS) for x of shape (batch, 4)."""
    return np.maximum(x @ WEIGHTS + BIAS, 0)


def source(folder: Path) -> Path:
    """The model as an ONNX file."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    dense (float[batch, 4] x) => (float[batch, 3] y) { h = Gemm(x, weights, bias)  y = Relu(h) }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "weights"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(BIAS, "bias"))
    onnx.save(model, folder / "dense.onnx")
    return folder / "dense.onnx"


def write(path: Path, folder: Path) -> None:
    """The artifact at `path`, built with onnxruntime for x86-64; `folder` is scratch."""
    program = process.attach(frontends.load(source(folder), {}), [{"table": PREPROCESS}], [{"top_k": POSTPROCESS}])
    target, engine = load_target("x86-64"), load_engine("onnxruntime")
    variant = engine.variants(program, target, EngineOptions())[0]
    (folder / "built").mkdir()
    (folder / "plain").mkdir()
    built = engine.build(program, target, variant, folder / "built")
    program.save(folder / "plain")
    members = {f"native/onnxruntime/{name}": path for name, path in built.members.items()}
    plain = {"program/program.onnx": folder / "plain" / "program.onnx"}
    evidence = {"decision": {"plan": f"onnxruntime/{variant.id}", "chosen_by": "preference"}, "losses": []}
    pack(path, manifest(program, target, variant, built), {**members, **plain}, evidence)


def manifest(program: Program, target: Target, variant: Variant, built: Built) -> dict[str, Any]:
    # Any version of onnxruntime will do: the stored file is about neoc's format.
    needs = [*target.requirements(), Requirement("package", "onnxruntime")]
    step = {
        "engine": "onnxruntime",
        "variant": variant.as_dict(),
        "members": {name: f"native/onnxruntime/{name}" for name in built.members},
        "placement": built.placement.as_dict(),
        "tools": dict(built.tools),
        "reproducible": built.reproducible,
    }
    facts = {"precision": variant.precision, "threads": variant.threads, "bind": {}}
    levels = {"level": "compiled", "numerics": "unchecked", "toolchain": "real"}
    return {
        "signature": program.signature.as_dict(),
        "target": target.as_dict(),
        "variants": [
            {
                "id": f"onnxruntime/{variant.id}",
                **facts,
                **levels,
                "steps": [step],
                "requirements": [r.as_dict() for r in needs],
            }
        ],
        "program": {"program.onnx": "program/program.onnx"},
        "pre": [s.as_dict() for s in program.pre],
        "post": [s.as_dict() for s in program.post],
        "raw": RawPipeline(
            [s.as_dict() for s in program.pre], [s.as_dict() for s in program.post], program.signature
        ).as_dict(),
        "tools": dict(built.tools),
        "provenance": program.provenance.as_dict(),
        "placement": built.placement.as_dict(),
        "verification": {
            "numerics": "unchecked",
            "why": "made to test that it can be opened",
            "reference": "",
            "independent": False,
            "corroborated_by": [],
            "judged_by": "",
            "samples": 0,
            "given_samples": 0,
            "outputs": [],
            "notes": [],
        },
        "chosen_by": "preference",
        "notes": [],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(sys.argv[1]) / f"dense-{FORMAT}.neoc", Path(scratch))
