"""Damaged PyTorch files, and that the fuzzer sees what it is there to see."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from neoc.compile import frontends
from neoc.compile.errors import InvalidModel, WorkerCrashed
from neoc.compile.worker import Worker

pytestmark = pytest.mark.needs("torch", "onnxscript")
FUZZER = Path(__file__).with_name("fuzz_torch.py")
COUNT = 96
"""`make fuzz-torch` tries 2,000"""


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_torch", FUZZER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_torch"] = module  # its dataclasses and its pickles look it up
    spec.loader.exec_module(module)
    return module


def test_every_damaged_file_is_converted_or_refused() -> None:
    command = [sys.executable, str(FUZZER), "--count", str(COUNT), "--seed", "7"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert sum(result["outcomes"].values()) == COUNT
    assert result["outcomes"]["program"] >= COUNT // 24, "damage that never leaves anything whole finds nothing"
    assert result["outcomes"]["refused"] >= COUNT // 2


def test_untyped_errors_and_lost_workers_are_seen(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(error: Exception):  # type: ignore[no-untyped-def]
        def load(*args: object) -> None:
            raise error

        return load

    for error, outcome in (
        (ValueError("x"), "untyped"),
        (InvalidModel("x"), "refused"),
        (WorkerCrashed("x"), "lost"),
    ):
        monkeypatch.setattr(fuzzer, "load", raising(error))
        assert fuzzer.attempt(tmp_path / "m.pt", {})[0] == outcome


def test_a_lost_worker_is_replaced(fuzzer: ModuleType) -> None:
    shared = fuzzer.Shared(Worker)

    def lose() -> None:
        with shared() as first:
            os.kill(first.facts["pid"], signal.SIGKILL)
            first.memory()

    with pytest.raises(WorkerCrashed):
        lose()
    with shared() as second:
        assert second.memory()["rss"] > 0
    shared.close()


def test_code_that_ran_would_be_seen(fuzzer: ModuleType, tmp_path: Path) -> None:
    marker = tmp_path / fuzzer.MARKER
    pickle.loads(pickle.dumps(fuzzer._Harm(marker))).close()
    assert marker.exists()


def test_damage_reaches_what_lies_under_the_zip(fuzzer: ModuleType, tmp_path: Path) -> None:
    for source in fuzzer.sources(tmp_path):
        kinds = {}
        for number in range(60):
            kind, data = fuzzer.damage(source.data, random.Random(number))
            kinds.setdefault(kind, []).append(data != source.data)
        changed = [different for found in kinds.values() for different in found]
        assert sum(changed) > 0.8 * len(changed), source.name
        if fuzzer._members(source.data):
            assert len(kinds) == 7, source.name


def test_the_sources_are_whole(fuzzer: ModuleType, tmp_path: Path) -> None:
    """Undamaged, those that hold a graph become programs, and the rest is refused by name."""
    found = {}
    for source in fuzzer.sources(tmp_path):
        path = tmp_path / f"whole-{source.name}"
        path.write_bytes(source.data)
        try:
            frontends.load(path, source.inputs)
            found[source.name] = "program"
        except InvalidModel as error:
            found[source.name] = error.what
    assert [name for name, what in found.items() if what == "program"] == ["net.pt2", "traced.pt", "scripted.jit"]
    assert "no graph" in found["state.pt"]
    assert "no graph" in found["old.pt"]
    assert all("pickle" in found[name] for name in ("module.pt", "harm.pkl", "hidden.pt2"))
