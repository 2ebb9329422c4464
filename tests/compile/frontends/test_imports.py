"""neoc's own process imports no framework, whatever it compiles: only workers do, and only the one that is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch_models
import written_models

FRAMEWORKS = (
    "torch", "onnxscript", "tensorflow", "keras", "tf2onnx", "xgboost", "lightgbm", "sklearn", "skops", "safetensors",
    "jax", "tvm", "openvino",
)  # fmt: skip

_SCRIPT = """
import sys
from pathlib import Path
from neoc.compile import CompileOptions, check_model, compile_model
from neoc.compile.errors import NeocError

for model in sys.argv[2:]:
    try:
        compile_model(Path(model), "host", CompileOptions(race_seconds=0.2), output=Path(sys.argv[1]) / "m.neoc")
        print("compiled")
    except NeocError as error:
        print(type(error).__name__)
print(sorted({name.partition(".")[0] for name in sys.modules} & set(%r)))
"""


def _imported(tmp_path: Path, *models: Path) -> list[str]:
    """The lines of a process that compiled the models, the last one being the frameworks that it has imported."""
    env = {**os.environ, "NEOC_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", _SCRIPT % (FRAMEWORKS,), str(tmp_path), *map(str, models)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_an_onnx_model_needs_none(tmp_path: Path) -> None:
    assert _imported(tmp_path, written_models.cnn(tmp_path / "m.onnx")) == ["compiled", "[]"]


@pytest.mark.needs("torch", "onnxscript")
def test_pytorch_stays_in_its_worker(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((2).to_bytes(8, "little") + b"{}")
    assert _imported(tmp_path, torch_models.exported(tmp_path / "net.pt2"), weights) == [
        "compiled",
        "InvalidModel",
        "[]",
    ]
