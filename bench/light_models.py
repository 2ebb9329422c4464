"""The nine image classifiers of the onnx package ("light" models), with random weights in place of constant ones.

Their weights are made by ConstantOfShape nodes, so every class gets the same logit and a comparison of results proves
little. Here each weight is drawn from a seeded generator, scaled by its fan-in (He et al. 2015), and the last layer is
scaled so that the logits differ by some units: the outputs then hang on the input and on every layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NAMES = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)
LOGIT_SPREAD = 2.0
"""standard deviation of the logits over the classes"""


def randomised(name: str, folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write the model NAME with random weights, and an .npz of two inputs, to `folder`; equal seeds, equal bytes."""
    import onnx
    import onnx.backend.test

    source = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx"
    model = onnx.load(source)
    random = np.random.default_rng(seed)
    made = {tensor.name: tensor for tensor in _weights(model, random)}
    kept = [node for node in model.graph.node if node.output[0] not in made]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name in read - held]
    model.ir_version = 8  # from 4 on initializers need not be inputs
    del model.graph.initializer[:], model.graph.input[:]
    model.graph.initializer.extend([*constants, *made.values()])
    model.graph.input.extend(inputs)
    (value,) = inputs
    _spread(model, value.name, folder)
    path, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    onnx.save(model, path)
    np.savez(data, **{value.name: np.stack([sample(1), sample(2)])})  # type: ignore[arg-type]
    return path, data


def sample(seed: int = 1) -> np.ndarray:
    """An image-like input, float32 [1, 3, 224, 224]: smooth, of unit variance."""
    random = np.random.default_rng(seed)
    coarse = random.standard_normal((1, 3, 28, 28))
    image = np.kron(coarse, np.ones((8, 8))) + 0.3 * random.standard_normal((1, 3, 224, 224))
    return np.asarray(image / image.std(), np.float32)


def _weights(model: Any, random: np.random.Generator) -> Iterator[Any]:
    """A random tensor for every one that a ConstantOfShape makes."""
    from onnx import numpy_helper

    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    readers: dict[str, tuple[str, int]] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            readers.setdefault(name, (node.op_type, index))
    behind = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Unsqueeze"}
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            continue
        name = node.output[0]
        shape = tuple(int(d) for d in shapes[node.input[0]])
        reader = readers.get(behind.get(name, name), ("", 0))
        value = node.attribute[0].t if node.attribute else None
        if value is not None and value.data_type != 1:
            continue  # a shape of a Reshape
        yield numpy_helper.from_array(_draw(shape, reader, random).astype(np.float32), name)


def _draw(shape: tuple[int, ...], reader: tuple[str, int], random: np.random.Generator) -> np.ndarray:
    operator, index = reader
    if len(shape) > 1:
        return np.asarray(random.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:])))
    positive = (operator == "BatchNormalization" and index in (1, 4)) or operator == "Mul"
    return np.asarray(random.uniform(0.5, 1.5, shape) if positive else 0.1 * random.standard_normal(shape))


def _spread(model: Any, name: str, folder: Path) -> None:
    """Scale the last layer so that the logits, as onnxruntime has them, differ by LOGIT_SPREAD."""
    import onnx
    from onnx import numpy_helper

    from neoc.compile.registry import load_engine

    softmax = next((n for n in reversed(model.graph.node) if n.op_type == "Softmax"), None)
    logits = softmax.input[0] if softmax is not None else model.graph.output[0].name
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.append(onnx.ValueInfoProto(name=logits))
    path = folder / "probe.onnx"
    onnx.save(probe, path)
    call: Any = load_engine("onnxruntime").plain_call(path, 1)
    spread = float(np.std(call({name: sample()})[0]))
    path.unlink()
    last = next(n for n in reversed(model.graph.node) if n.op_type in ("Gemm", "Conv"))
    for tensor in model.graph.initializer:
        if tensor.name in last.input[1:]:
            scaled = numpy_helper.to_array(tensor) * np.float32(LOGIT_SPREAD / spread)
            tensor.CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), tensor.name))
