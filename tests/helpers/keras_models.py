"""Writes the TensorFlow models of the tests and what TensorFlow computes: `python keras_models.py FOLDER`.

A program of its own: TensorFlow is never imported where the tests, PyTorch and TVM live. Each NAME.npz holds samples
`a/INPUT`, `b/INPUT` of two shapes and outputs `a:OUTPUT`, `b:OUTPUT`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_ENABLE_ONEDNN_OPTS="0")

import keras
import numpy as np
import tensorflow as tf

L = keras.layers
RANDOM = np.random.default_rng(7)


def write(folder: Path, name: str, model: Any, samples: list[np.ndarray]) -> None:
    model.save(folder / f"{name}.keras")
    arrays: dict[str, np.ndarray] = {}
    for key, sample in zip("ab", samples, strict=True):
        arrays[f"{key}/{model.inputs[0].name}"] = sample
        results = keras.tree.flatten(model(sample, training=False))
        arrays |= {f"{key}:{out}": np.asarray(r) for out, r in zip(model.output_names, results, strict=True)}
    np.savez(folder / f"{name}.npz", **arrays)


def noise(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def recurrent(folder: Path) -> None:
    x = L.Input((None, 5), name="x")
    model = keras.Model(x, [L.LSTM(7, name="lstm")(x), L.GRU(6, return_sequences=True, name="gru")(x)])
    write(folder, "recurrent", model, [noise(1, 4, 5), noise(3, 11, 5)])
    ids = L.Input((None,), dtype="int32", name="ids")
    both = L.Bidirectional(L.LSTM(7))(L.Embedding(20, 5)(ids))
    samples = [RANDOM.integers(0, 20, shape).astype(np.int32) for shape in ((1, 4), (2, 9))]
    write(folder, "bilstm", keras.Model(ids, both), samples)
    y = L.Input((None, 5), name="x")
    keras.Model(y, L.Bidirectional(L.GRU(4, return_sequences=True, reset_after=False))(y)).export(folder / "gru_saved")


def mobilenet(folder: Path) -> None:
    model = keras.applications.MobileNetV2(
        weights=None, input_tensor=L.Input((64, 64, 3), name="image"), classes=10, alpha=0.35
    )
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.5
    for _ in range(10):  # batch norm learns the statistics of data: without that no output would move
        model(RANDOM.uniform(-1, 1, (16, 64, 64, 3)).astype(np.float32), training=True)
    write(folder, "mobilenet", model, [noise(1, 64, 64, 3), noise(3, 64, 64, 3)])


def quantised(folder: Path) -> None:
    image = L.Input((16, 16, 3), name="image")
    x = L.DepthwiseConv2D(3, padding="same", activation="relu6")(L.Conv2D(8, 3, strides=2, activation="relu")(image))
    model = keras.Model(image, L.Dense(6)(L.Flatten()(x)))
    data = noise(40, 16, 16, 3)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    (folder / "dynamic.tflite").write_bytes(converter.convert())
    converter.representative_dataset = lambda: ([row[None]] for row in data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())
    interpreter = tf.lite.Interpreter(str(folder / "int8.tflite"))
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    feeds = RANDOM.integers(-128, 128, (30, 1, 16, 16, 3)).astype(np.int8)
    results = []
    for feed in feeds:
        interpreter.set_tensor(given, feed)
        interpreter.invoke()
        results.append(interpreter.get_tensor(made))
    np.savez(folder / "int8.npz", image=feeds, output=np.stack(results))


def odd_ones(folder: Path) -> None:
    class Mine(L.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x * 2

    x = L.Input((4,))
    keras.Model(x, Mine(name="mine")(L.Lambda(lambda t: t + 1, name="sneaky")(x))).save(folder / "custom.keras")
    plain = keras.Model(x, L.Dense(3)(x))
    plain.save_weights(folder / "only.weights.h5")
    plain.save(folder / "dense.h5")
    module = tf.Module()
    spec = tf.TensorSpec([None, 4], tf.float32, name="x")
    first = tf.function(lambda x: {"double": x * 2}, input_signature=[spec]).get_concrete_function()
    second = tf.function(lambda x: {"less": tf.where(x > 0, x, tf.math.log(-x))}, input_signature=[spec])
    signatures = {"first": first, "second": second.get_concrete_function()}
    tf.saved_model.save(module, str(folder / "two"), signatures=signatures)
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, [None, 4], name="image")
        kept = tf.compat.v1.placeholder_with_default(2.0, [], name="keep")
        tf.multiply(tf.nn.relu(image), kept, name="result")
        (folder / "frozen.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, [4, 4], name="image")
        tf.linalg.eigvals(tf.linalg.expm(image), name="one") + tf.cast(tf.math.igamma(image, image), tf.complex64)[0]
        (folder / "unsupported.pb").write_bytes(graph.as_graph_def().SerializeToString())


if __name__ == "__main__":
    for make in (recurrent, mobilenet, quantised, odd_ones):
        make(Path(sys.argv[1]))
