"""A sample of `make fuzz-trees`, and that the fuzzer sees what it is there to see."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from neoc.targets.host import detect

pytestmark = [
    pytest.mark.needs("llvmlite"),
    pytest.mark.skipif(detect().arch != "x86_64", reason="needs x86_64: its levels are what is run"),
]
FUZZER = Path(__file__).with_name("fuzz_trees.py")
COUNT = 96
"""`make fuzz-trees` tries 2,000"""


def run(*arguments: str) -> dict[str, object]:
    command = [sys.executable, str(FUZZER), *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_trees", FUZZER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_KERNELS_GUARD", "0")  # importing the fuzzer sets it, for its own process
        spec.loader.exec_module(module)
    return module


def test_every_design_at_every_level_stays_within_its_memory(fuzzer: ModuleType) -> None:
    result = run("--designs")
    assert result["failures"] == []
    assert result["outcomes"] == {"designs: same": len(fuzzer.CASES) * len(fuzzer.isas())}


def test_drawn_and_malformed_ensembles() -> None:
    result = run("--count", str(COUNT), "--seed", "3")
    assert result["failures"] == []
    outcomes = result["outcomes"]
    assert isinstance(outcomes, dict)
    assert sum(outcomes.values()) == COUNT
    for outcome in ("drawn: same", "arrays: same", "arrays: refused", "nodes: same", "nodes: refused"):
        assert outcomes[outcome] >= COUNT // 24, "damage that never does, or always does, harm finds nothing"


def test_an_access_out_of_bounds_is_told_as_the_failure_of_its_case(tmp_path: Path) -> None:
    """A kernel that believes its rows to be twice as wide reads behind them: the child dies, the next one goes on."""
    text = FUZZER.read_text().replace('Path(__file__).parents[1] / "helpers"', repr(str(FUZZER.parents[1] / "helpers")))
    compiling = "    predictor = compile_ensemble(e, isa)\n"
    assert compiling in text
    text = text.replace(compiling, f"{compiling}    predictor._tables[16:24].view(np.int64)[0] *= 2\n")
    sabotaged = tmp_path / "fuzz_trees.py"
    sabotaged.write_text(text)
    done = subprocess.run([sys.executable, str(sabotaged), "--count", "2"], capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert done.returncode == 1
    assert "status -11" in result["failures"][0]["outcome"]
    assert result["failures"][0] | {"outcome": ""} == {"case": 0, "kind": "lost", "outcome": ""}
    assert sum(result["outcomes"].values()) == 2


def test_other_bits_are_seen(fuzzer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    e = fuzzer.drawn(1, trees=2, height=2)
    isa = fuzzer.isas()[-1][1]
    assert fuzzer.compared(e, isa, (5,)) == "same"
    plain = fuzzer.evaluate
    monkeypatch.setattr(fuzzer, "evaluate", lambda *a: np.nextafter(plain(*a), np.float32(9)))
    assert fuzzer.compared(e, isa, (5,)) == "other bits in 5 rows"


def test_damage_is_done(fuzzer: ModuleType) -> None:
    import random

    changed = 0
    for number in range(60):
        rng = random.Random(number)
        e = fuzzer.sound(rng)
        changed += any(
            not np.array_equal(
                getattr(e, f.name), getattr(fuzzer.damaged(e, random.Random(number)), f.name), equal_nan=False
            )
            for f in fuzzer.fields(e)
        )
    assert changed > 50
