"""A sample of planted faults: each named with its code, nothing else named; without jax and without Neuron software."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("check_mutants.py")
SAMPLE = ("silero_vad_openvino_16k", "magika")


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("count", "models"),
    [(40, ",".join(SAMPLE)), pytest.param(200, None, marks=pytest.mark.slow)],
    ids=["sample", "all"],
)
def test_every_planted_fault_is_named_and_nothing_else(
    zoo: Callable[[str], Path], count: int, models: str | None
) -> None:
    for name in SAMPLE:
        zoo(name)  # fetched, or the test says why not
    status, said = run("--count", str(count), *(("--models", models) if models else ()))
    assert f"{count} mutants" in said, said
    assert "recall 100.0 %, false alarms 0" in said, said
    assert status == 0
    median = re.search(r"median ([\d.]+)", said)
    assert median is not None
    assert float(median[1]) < 1
