"""Small models with an open length: an encoder that masks padding out, and ones that do not."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper
from small_models import model_of, tensor

WORDS, WIDTH, POSITIONS = 700, 64, 512


def encoder(
    masked: bool = True, inverted: bool = False, batch: int | str = "batch", seq: int | str = "seq"
) -> onnx.ModelProto:
    """One attention layer over token and position embeddings: ids (and mask) [batch,seq] -> hidden, pooled.

    masked: attention and the mean leave out tokens of mask 0. inverted: the mask says 1 where there is no token.
    """
    random = np.random.default_rng(5)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["embedded"]),
        helper.make_node("Shape", ["ids"], ["length"], start=1, end=2),
        helper.make_node("Slice", ["places", "zero", "length", "zero"], ["positions"]),
        helper.make_node("Add", ["embedded", "positions"], ["x"]),
        *(helper.make_node("MatMul", ["x", w], [v]) for w, v in (("wq", "q"), ("wk", "k"), ("wv", "v"))),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["raw"]),
    ]
    if masked:
        given = "flipped" if inverted else "seen"
        nodes += [
            helper.make_node("Cast", ["mask"], ["seen" if not inverted else "unseen"], to=TensorProto.FLOAT),
            *([helper.make_node("Sub", ["one", "unseen"], ["flipped"])] if inverted else []),
            helper.make_node("Sub", [given, "one"], ["minus"]),
            helper.make_node("Mul", ["minus", "much"], ["away"]),
            helper.make_node("Unsqueeze", ["away", "axis1"], ["bias"]),
            helper.make_node("Add", ["raw", "bias"], ["scores"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["raw"], ["scores"]))
    nodes += [
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["hidden"]),
    ]
    if masked:
        nodes += [
            helper.make_node("Unsqueeze", [given, "axis2"], ["column"]),
            helper.make_node("Mul", ["hidden", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axis1"], ["sum"], keepdims=0),
            helper.make_node("ReduceSum", [given, "axis1"], ["count"], keepdims=1),
            helper.make_node("Div", ["sum", "count"], ["pooled"]),
        ]
    else:
        nodes.append(helper.make_node("ReduceMean", ["hidden"], ["pooled"], axes=[1], keepdims=0))
    constants = {
        "words": weights(WORDS, WIDTH),
        "places": weights(POSITIONS, WIDTH),
        **{name: weights(WIDTH, WIDTH) for name in ("wq", "wk", "wv")},
        "zero": np.int64([0]),
        "axis1": np.int64([1]),
        "axis2": np.int64([2]),
        "one": np.float32(1),
        "much": np.float32(1e9),
    }
    inputs = [tensor("ids", [batch, seq], TensorProto.INT64)]
    if masked:
        inputs.append(tensor("mask", [batch, seq], TensorProto.INT64))
    outputs = [tensor("hidden", [batch, seq, WIDTH]), tensor("pooled", [batch, WIDTH])]
    return model_of(nodes, inputs, outputs, **constants)


def feeds(length: int, batch: int = 1, seed: int = 0, masked: bool = True) -> dict[str, np.ndarray]:
    random = np.random.default_rng([seed, length, batch])
    made = {"ids": random.integers(1, WORDS, (batch, length))}
    return made | ({"mask": np.ones((batch, length), np.int64)} if masked else {})


def doubler(seq: int | str = "seq") -> onnx.ModelProto:
    """x[1,seq] -> y[1,?]: x behind itself, with one more in front. Its length, 2*seq + 1, is declared nowhere."""
    nodes = [helper.make_node("Concat", ["one", "x", "x"], ["y"], axis=1)]
    return model_of(nodes, [tensor("x", [1, seq])], [tensor("y", [1, None])], one=np.float32([[1]]))


def pointwise(axis: str = "seq") -> onnx.ModelProto:
    """x[1,seq,8] -> y[1,seq,4]: each position by itself, so that padding cannot matter."""
    w = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Tanh", ["a"], ["y"])]
    return model_of(nodes, [tensor("x", [1, axis, 8])], [tensor("y", [1, axis, 4])], w=w)
