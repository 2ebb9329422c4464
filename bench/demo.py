"""`make demo`: the commands a first user would type, on a real model, each shown before it runs."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

MODEL = "ppocr_cls"
"""PP-OCR's text direction classifier: is this line of text upright or upside down?"""


def main() -> None:
    """Fetch, inspect, compile, run, measure. Ends with the status of the first command that fails."""
    folder = Path("demo")
    model, data = folder / f"{MODEL}.onnx", folder / f"{MODEL}.npz"
    artifact, answer = folder / f"{MODEL}.neoc", folder / "answer.npz"
    _neoc("zoo", folder, "--name", MODEL)
    _neoc("compile", model, "--target", "host", "--data", data, "-o", artifact)
    _neoc("inspect", artifact)
    _neoc("run", artifact, "--data", data, "-o", answer)
    _say(answer)
    _neoc("bench", artifact, f"onnxruntime:{model}", f"openvino:{model}", "--data", data)


def _neoc(*words: object) -> None:
    line = shlex.join(map(str, words))
    print(f"\n$ neoc {line}", flush=True)
    done = subprocess.run([sys.executable, "-m", "neoc.cli", *map(str, words)], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def _say(answer: Path) -> None:
    """What the model said about the rendered lines of text: two upright, then the same two turned by 180 degrees."""
    with np.load(answer) as arrays:
        (scores,) = (arrays[name] for name in arrays.files)
    for index, (upright, turned) in enumerate(scores.reshape(-1, 2)):
        verdict = "upright" if upright > turned else "upside down"
        print(f"line of text {index}: {verdict} ({max(upright, turned):.3f})", flush=True)


if __name__ == "__main__":
    main()
