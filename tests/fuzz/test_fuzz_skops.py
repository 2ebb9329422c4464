"""Damaged scikit-learn files, and that the fuzzer sees what it is there to see."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from neoc.bench import tree_recipes
from neoc.compile.errors import InvalidModel

pytestmark = pytest.mark.needs("sklearn", "skops", "pandas")
FUZZER = Path(__file__).with_name("fuzz_skops.py")
COUNT = 150
"""`make fuzz-skops` tries 2,000"""


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_skops", FUZZER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_damaged_file_is_read_or_refused() -> None:
    command = [sys.executable, str(FUZZER), "--count", str(COUNT), "--seed", "3"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.stdout, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert sum(result["outcomes"].values()) == COUNT
    assert result["outcomes"]["program"] >= COUNT // 10, "damage that never leaves anything whole finds nothing"
    assert result["outcomes"]["refused"] >= COUNT // 4


def test_untyped_errors_and_shells_are_seen(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, outcome in (
        (ValueError("x"), "untyped"),
        (MemoryError(), "untyped"),
        (InvalidModel("x"), "refused"),
        (fuzzer._Ran("x"), "ran"),
    ):

        def load(path: Path, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(fuzzer.skops_file, "load", load)
        assert fuzzer.attempt(tmp_path / "m.skops")[0] == outcome
    code = f"import runpy; m = runpy.run_path({str(FUZZER)!r}); m['_guard'](); import os; os.system('true')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "a shell was asked for" in done.stderr


def test_damage_reaches_what_lies_under_the_zip(fuzzer: ModuleType) -> None:
    data = fuzzer._dumped(tree_recipes.fitted("forest")[0])
    kinds: Counter[str] = Counter()
    for number in range(150):
        kind, damaged = fuzzer.damage(data, random.Random(number))
        if kind not in ("bytes", "cut"):
            kinds[kind] += fuzzer._members(damaged) != fuzzer._members(data)
    assert set(kinds) == set(fuzzer._KINDS) - {"bytes", "cut"}
    assert all(kinds.values())


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("__main__", "Stranger"), ("builtins", "eval")])
def test_a_hostile_type_is_refused_by_name(fuzzer: ModuleType, tmp_path: Path, module: str, name: str) -> None:
    members = fuzzer._members(fuzzer._dumped(tree_recipes.fitted("forest")[0]))
    schema = json.loads(members["schema.json"])
    assert schema["__class__"] == "RandomForestRegressor"
    schema["__module__"], schema["__class__"] = module, name
    members["schema.json"] = json.dumps(schema).encode()
    path = tmp_path / "m.skops"
    path.write_bytes(fuzzer._zipped(members))
    outcome, detail = fuzzer.attempt(path)
    assert outcome == "refused"
    assert f"{module}.{name}" in detail


def test_absurd_sizes_are_refused(fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of a terabyte, and archives of more members, or more bytes, than any model has."""
    members = fuzzer._members(fuzzer._dumped(tree_recipes.fitted("forest")[0]))
    name = next(n for n in members if n.endswith(".npy"))
    huge = dict(members)
    huge[name] = members[name].replace(b"'shape': (", b"'shape': (999999999999, ", 1)
    path = tmp_path / "m.skops"
    path.write_bytes(fuzzer._zipped(huge))
    assert fuzzer.attempt(path)[0] == "refused"
    path.write_bytes(fuzzer._zipped(members))
    for bound, most in (("_MOST_MEMBERS", 5), ("_MOST_BYTES", 1000)):
        with monkeypatch.context() as patch:
            patch.setattr(fuzzer.skops_file, bound, most)
            outcome, detail = fuzzer.attempt(path)
        assert outcome == "refused"
        assert "would unpack to" in detail
    assert fuzzer.attempt(path)[0] == "program"
