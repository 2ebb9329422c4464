"""Damaged models, and that the fuzzer sees what it is there to see."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import model_files
import numpy as np
import pytest

FUZZER = Path(__file__).with_name("fuzz_onnx.py")
MODELS = ("magika", "ppocr_cls", "silero_vad", "silero_vad_openvino_16k")


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_onnx", FUZZER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


COUNT = 100
"""`make fuzz` tries 2,000"""


def test_every_damaged_model_is_loaded_or_refused(zoo: Callable[[str], Path]) -> None:
    command = [sys.executable, str(FUZZER), "--count", str(COUNT), "--seed", "20240501"]
    done = subprocess.run(
        [*command, *(str(zoo(name)) for name in MODELS)], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert sum(result["outcomes"].values()) == COUNT
    # Both happen, or the mutations are too weak or too strong to find anything.
    assert result["outcomes"]["program"] >= COUNT // 20
    assert result["outcomes"]["refused"] >= COUNT // 4


def test_the_same_seed_gives_the_same_damage(fuzzer: ModuleType, tmp_path: Path) -> None:
    data = model_files.affine(tmp_path / "m.onnx").read_bytes()
    first = [fuzzer.mutations.mutate(data, data, random.Random(n)) for n in range(40)]
    assert first == [fuzzer.mutations.mutate(data, data, random.Random(n)) for n in range(40)]
    assert len({kind for kind, _ in first}) == 7
    assert sum(damaged != data for _, damaged in first) > 35


def test_damage_goes_past_the_weights(fuzzer: ModuleType, tmp_path: Path) -> None:
    """A megabyte of weights is one place among many, so names and numbers of the graph are damaged as often."""
    data = model_files.write(
        tmp_path / "m.onnx", "g (float[N] x) => (float[N] y) { [only] y = Mul (x, w) }", w=np.ones(1 << 18, np.float32)
    ).read_bytes()
    places = fuzzer.mutations.structure(data)
    name = data.index(b"only")
    assert any(start < name < end and end - start < 10 for start, end, _ in places)
    assert sum(end - start > 1 << 18 for start, end, _ in places) < len(places) / 5


def test_a_native_crash_is_seen_and_survived(fuzzer: ModuleType, tmp_path: Path) -> None:
    child = fuzzer.Child([sys.executable, "-c", "import os; input(); os.abort()"])
    assert child.load(tmp_path) == ("crash", "exit status -6")
    assert child.load(tmp_path) == ("crash", "exit status -6")
    child.close()


def test_a_hang_is_bounded(fuzzer: ModuleType, tmp_path: Path) -> None:
    child = fuzzer.Child([sys.executable, "-c", "import time; time.sleep(600)"], bound_s=0.3)
    outcome, detail = child.load(tmp_path)
    assert (outcome, detail) == ("hang", "no answer in 0.3 s")
    child.close()


def test_what_escapes_is_not_taken_for_a_refusal(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neoc.compile import frontends
    from neoc.compile.errors import InternalError

    model = model_files.affine(tmp_path / "m.onnx")
    assert fuzzer.attempt(model) == ("program", "")
    for raised, outcome in (
        (ValueError("out of range"), "untyped"),
        (MemoryError(), "memory"),
        (InternalError("a bug"), "status"),
    ):
        monkeypatch.setattr(frontends, "load", lambda *_, raised=raised: (_ for _ in ()).throw(raised))
        assert fuzzer.attempt(model)[0] == outcome
