"""Programs from ONNX's text form, and their way through an engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from neoc.compile import onnx_io
from neoc.compile.contracts import Engine, EngineOptions, Session, Target, Variant
from neoc.compile.program import Program, Provenance
from neoc.targets.host import X86_LEVELS

V3 = Target("x86-64-v3", "x86-64-v3", "x86_64", "x86-64-v3", features=X86_LEVELS["x86-64-v3"])


def program_of(text: str, opset: int = 17, **weights: np.ndarray) -> Program:
    """`text`: 'name (float[N] x) => (float[N] y) { y = Relu (x) }', weights by name; shapes are inferred."""
    head = f'<ir_version: 10, opset_import: ["" : {opset}, "com.microsoft" : 1, "ai.onnx.ml" : 3]>\n'
    model = onnx.parser.parse_model(head + text)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return Program(ir.from_proto(onnx.shape_inference.infer_shapes(model)), Provenance("onnx", "", "", "test"))


def program_in(path: Path) -> Program:
    """The model of the zoo in `path`; sizes of -1 and '?' become unknown, as the front end reads them."""
    model = onnx_io.read(path)
    for value in [*model.graph.inputs, *model.graph.outputs]:
        if value.shape is not None:
            value.shape = ir.Shape([d if isinstance(d, int) and d > 0 else None for d in value.shape])
    return Program(model, Provenance("onnx", "", "", path.name))


@contextmanager
def opened(engine: Engine, program: Program, variant: Variant | None = None, threads: int = 1) -> Iterator[Session]:
    """Build into a folder that is gone when the session opens: only the members' bytes are left."""
    variant = variant or engine.variants(program, V3, EngineOptions())[0]
    with tempfile.TemporaryDirectory() as folder:
        built = engine.build(program, V3, variant, Path(folder))
        members = {name: memoryview(path.read_bytes()) for name, path in built.members.items()}
    with engine.open(members, program.signature, variant, threads, None) as session:
        yield session


def run(engine: Engine, program: Program, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    with opened(engine, program) as session:
        return session.run(feeds)
