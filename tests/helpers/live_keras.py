"""A Keras model in memory, compiled without being saved by hand: prints how far the artifact is from Keras, twice.

Run as a program of its own: tests never import TensorFlow into pytest's process.
"""

from __future__ import annotations

import json
import sys

import keras
import numpy as np

from neoc.compile import CompileOptions, compile_model
from neoc.targets import open_artifact


def main(output: str) -> None:
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((None, None, 3), name="image"),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="tanh"),
        ]
    )
    options = CompileOptions(engines=("onnxruntime",), race_seconds=0.3)
    artifact = compile_model(model, "host", options, output=output)
    errors, answers = [], []
    with open_artifact(output, threads=1) as session:
        for shape in ((1, 16, 20, 3), (3, 9, 7, 3)):
            image = np.random.default_rng(shape[0]).normal(size=shape).astype(np.float32)
            want = np.asarray(model(image))
            (got,) = session.run({session.inputs[0].name: image}).values()
            errors.append(float(np.abs(got - want).max() / np.abs(want).max()))
            answers.append(got[0].tolist())
    proof = artifact.manifest["verification"]
    print(json.dumps({"errors": errors, "answers": answers, "reference": proof["reference"], "level": artifact.level}))


if __name__ == "__main__":
    main(sys.argv[1])
