#!/usr/bin/env python3
"""STAND-IN for trtexec, for tests. It is NOT NVIDIA's TensorRT, and what it writes is NOT a plan.

It takes the documented command line strictly, reads the ONNX file by a reader of its own (protobuf wire format), checks
that it is well formed (every value made once and before it is read, shapes given for open inputs and no others) and
that its operators are among those that onnx-tensorrt lists, and writes a marked JSON file. It imports the standard
library alone. What it accepts is thereby known to be well formed; whether TensorRT takes it is not known.

Sources: TensorRT 10 developer guide, trtexec (command line); onnx.proto3 (field numbers); onnx-tensorrt, operators.md
of 10.15. Assumptions: the exit status, the form of its messages.

It runs only where NEOC_ALLOW_STANDIN=1. NEOC_STANDIN_FAULT: no-file, empty-file, killed, hang, crash.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from typing import Any, NoReturn

VERSION = "10.16.0+neoc.stand-in"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = _names(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BlackmanWindow
    Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv
    DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization GRU HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If ImageScaler
    InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM
    LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression
    NonZero Not OneHot Or Pad ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RMSNormalization RNN RoiAlign
    RotaryEmbedding Round STFT ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin
    Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh TensorScatter
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """
)
OPSETS = range(9, 25)
SHAPES = ("minShapes", "optShapes", "maxShapes")
PLAIN = _names("skipInference noTF32 fp16 bf16 int8 best verbose stronglyTyped")


class Refused(Exception):
    """In the parser's words."""


# ---- the wire format -----------------------------------------------------------------------------


class Message(dict[int, list[Any]]):
    """field number -> list of values: int for numbers, bytes for all else."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        at = 0
        while at < len(data):
            tag, at = varint(data, at)
            number, kind = tag >> 3, tag & 7
            if number == 0 or kind not in (0, 1, 2, 5):
                raise Refused(f"Failed to parse ONNX model: field {number} of wire type {kind}")
            if kind == 0:
                value: Any
                value, at = varint(data, at)
            else:
                size = {1: 8, 5: 4}.get(kind)
                if size is None:
                    size, at = varint(data, at)
                value, at = data[at : at + size], at + size
                if len(value) != size:
                    raise Refused("Failed to parse ONNX model: a field is truncated")
            self.setdefault(number, []).append(value)

    def text(self, field: int) -> str:
        value = self.get(field, [b""])[-1]
        if not isinstance(value, bytes):
            raise Refused("Failed to parse ONNX model: a number where text belongs")
        return value.decode("utf-8", "replace")

    def texts(self, field: int) -> list[str]:
        return [v.decode("utf-8", "replace") for v in self.get(field, ()) if isinstance(v, bytes)]

    def messages(self, field: int) -> list[Message]:
        return [Message(v) for v in self.get(field, ()) if isinstance(v, bytes)]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Refused("Failed to parse ONNX model: a number is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


# ---- the model -----------------------------------------------------------------------------------


def check(data: bytes, shapes: dict[str, dict[str, list[int]]]) -> dict[str, Any]:
    """What goes into the stand-in's file. Raises Refused."""
    model = Message(data)
    graphs = model.messages(7)
    if not graphs:
        raise Refused("Failed to parse ONNX model: it has no graph")
    for domain in model.messages(8):
        number = domain.get(2, [0])[-1]
        if domain.text(1) in ("", "ai.onnx") and number not in OPSETS:
            raise Refused(f"opset {number} is not in {OPSETS.start} to {OPSETS.stop - 1}")
    graph = graphs[-1]
    weights = {tensor.text(8) for tensor in graph.messages(5)}
    inputs = {v.text(1): dims(v) for v in graph.messages(11) if v.text(1) not in weights}
    operators = walk(graph, weights | set(inputs))
    made = {name for node in graph.messages(1) for name in node.texts(2)} | weights | set(inputs)
    outputs = [v.text(1) for v in graph.messages(12)]
    if not outputs or (lost := [name for name in outputs if name not in made]):
        raise Refused(f"output {lost[0]!r} is made by no node" if outputs else "the graph has no output")
    given(inputs, shapes)
    return {"inputs": list(inputs), "outputs": outputs, "operators": operators}


def dims(value: Message) -> list[int]:
    """Sizes of a tensor; -1 where one is open."""
    for kind in value.messages(2):
        for tensor in kind.messages(1):
            for shape in tensor.messages(2):
                return [d[1][-1] if 1 in d else -1 for d in shape.messages(1)]
    return []


def walk(graph: Message, known: set[str]) -> dict[str, int]:
    """Operator -> how often, bodies included; every value must be known before it is read."""
    counts: dict[str, int] = {}
    known = known | {tensor.text(8) for tensor in graph.messages(5)} | {v.text(1) for v in graph.messages(11)}
    for index, node in enumerate(graph.messages(1)):
        kind, where = node.text(4), f'While parsing node number {index} [{node.text(4)} -> "{node.text(2)}"]'
        if node.text(7) not in ("", "ai.onnx"):
            raise Refused(f"{where}: no importer registered for op: {node.text(7)}.{kind}")
        if kind not in OPERATORS:
            raise Refused(f"{where}: no importer registered for op: {kind}")
        if lost := [name for name in node.texts(1) if name and name not in known]:
            raise Refused(f"{where}: input {lost[0]!r} is not made before it")
        counts[kind] = counts.get(kind, 0) + 1
        for attribute in node.messages(5):
            for body in attribute.messages(6):
                for name, count in walk(body, known).items():
                    counts[name] = counts.get(name, 0) + count
        for name in node.texts(2):
            if name and name in known:
                raise Refused(f"{where}: value {name!r} is made twice")
            known = known | {name}
    return counts


def given(inputs: dict[str, list[int]], shapes: dict[str, dict[str, list[int]]]) -> None:
    opened = {name for name, sizes in inputs.items() if -1 in sizes}
    for flag in SHAPES:
        named = shapes.get(flag, {})
        if strangers := sorted(set(named) - set(inputs)):
            raise Refused(f"Cannot find input tensor with name {strangers[0]!r} in the network inputs (--{flag})")
        if missing := sorted(opened - set(named)):
            raise Refused(
                f"Dynamic dimensions required for input: {missing[0]}, but no shapes were provided (--{flag})"
            )
        for name, sizes in named.items():
            if len(sizes) != len(inputs[name]) or any(
                d not in (-1, s) for d, s in zip(inputs[name], sizes, strict=False)
            ):
                raise Refused(f"--{flag}: {name} is {inputs[name]}, not {sizes}")
    for name in opened:
        rows = zip(*(shapes[flag][name] for flag in SHAPES), strict=True)
        if any(not low <= usual <= high for low, usual, high in rows):
            raise Refused(f"shapes of {name} are not min <= opt <= max")


# ---- the command line ----------------------------------------------------------------------------


def fail(message: str) -> NoReturn:
    sys.stderr.write(f"[E] {message}\n&&&& FAILED TensorRT.trtexec [TensorRT v{VERSION}]\n")
    sys.exit(1)


def parsed(words: list[str]) -> tuple[str, str, dict[str, dict[str, list[int]]]]:
    model, plan = "", ""
    shapes: dict[str, dict[str, list[int]]] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            fail(f"Unknown option: {word}")
        if name == "onnx" and value:
            model = value
        elif name == "saveEngine" and value:
            plan = value
        elif name in SHAPES and value:
            shapes[name] = dict(shape(part) for part in value.split(","))
        elif name == "memPoolSize" and re.fullmatch(r"workspace:\d+[KMG]?", value):
            continue
        elif name not in PLAIN or equals:
            fail(f"Unknown option: {word}")
    if not model:
        fail("Model missing or format not recognized: --onnx=FILE")
    if not plan:
        fail("--saveEngine=FILE was not given")
    return model, plan, shapes


def shape(text: str) -> tuple[str, list[int]]:
    name, colon, sizes = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d+(x\d+)*", sizes):
        fail(f"Invalid shape: {text}")
    return name, [int(size) for size in sizes.split("x")]


def fault(kind: str, output: str) -> NoReturn:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(3600)
    if kind == "crash":
        raise RuntimeError("internal error (asked for by NEOC_STANDIN_FAULT)")
    if kind == "empty-file":
        open(output, "wb").close()
    sys.exit(0 if kind in ("no-file", "empty-file") else 2)


def main(words: list[str]) -> None:
    if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
        sys.stderr.write("this is neoc's stand-in for trtexec; it runs only where NEOC_ALLOW_STANDIN=1\n")
        sys.exit(3)
    if words == ["--help"]:
        print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{VERSION}]")
        return
    model, plan, shapes = parsed(words)
    if kind := os.environ.get("NEOC_STANDIN_FAULT"):
        fault(kind, plan)
    try:
        with open(model, "rb") as file:
            found = check(file.read(), shapes)
    except (OSError, Refused, RecursionError) as error:
        fail(str(error))
    facts = {"NEOC_STANDIN": "made by neoc's stand-in for trtexec; TensorRT cannot load it", "version": VERSION}
    facts |= {"engine": True, **found}  # type: ignore[dict-item]
    with open(plan, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v{VERSION}]")


if __name__ == "__main__":
    main(sys.argv[1:])
