"""`make selftest-long`: blocks of process runs with known slow-downs, recorded on this machine.

Nine arms run in turns, as subjects of `neoc bench` do: one model on one engine, six arms as it is and three slowed down
by 2, 5 and 10 %. Three conditions: as the machine is; with a drift that slows all arms by up to 30 % and back every
40 s; with bursts of load by another process. `neoc.bench.selftest_judge` replays what was recorded.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import zoo
from neoc.bench.runs import Block, Setting, run_block
from neoc.bench.scenarios import scenario
from neoc.bench.subjects import Subject, signature_of
from neoc.compile import inputs
from neoc.compile.files import atomic_file
from neoc.compile.measure import fingerprint

ARMS = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 0.0, "f": 0.0, "2%": 0.02, "5%": 0.05, "10%": 0.10}
"""arm -> slow-down; a, b, c and d, e, f are two A/A trials that share nothing"""
MODELS = ("silero_vad_openvino_16k", "ppocr_cls")
CONDITIONS = ("quiet", "drift", "spikes")
CYCLES = 3
DRIFT, DRIFT_PERIOD_S = 0.3, 40.0
BURST_S, PAUSE_S = (0.05, 0.5), (0.2, 1.5)
STATISTICS = ("n", "mean", "std", "min", "median")
FOLDER = Path("tests/data/selftest")


def drifting(start: float) -> Callable[[str], float]:
    """The slow-down of an arm at this moment, drift included: (1 + arm)(1 + drift) - 1, a triangle in time."""

    def now(arm: str) -> float:
        phase = (time.perf_counter() - start) / DRIFT_PERIOD_S % 1.0
        return (1 + ARMS[arm]) * (1 + DRIFT * (1 - abs(2 * phase - 1))) - 1

    return now


@contextmanager
def bursts() -> Iterator[None]:
    """Another process that computes for a while and rests for a while, at random."""
    command = [sys.executable, "-m", "neoc.bench.selftest", "--burst"]
    other = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        other.kill()
        other.wait()


def burst() -> None:
    """The other process of `bursts`."""
    draw = random.Random(7)
    while True:
        until = time.perf_counter() + draw.uniform(*BURST_S)
        while time.perf_counter() < until:
            pass
        time.sleep(draw.uniform(*PAUSE_S))


def record(model: str, condition: str, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Blocks of `model` for about `seconds`, as arrays: cycles (block, arm, cycle) of log ns, iteration statistics
    (block, arm, STATISTICS), and other programs' share of the CPU (block)."""
    (entry,) = zoo.fetch([model])
    subject = Subject(f"onnxruntime:{model}", entry.path, "onnxruntime")
    samples = inputs.load_data(entry.data, signature_of(subject)) if entry.data else []
    begin = time.perf_counter()
    slow = drifting(begin) if condition == "drift" else ARMS.__getitem__
    # Two stints of 30 ms an arm and cycle; the number of cycles follows from it.
    setting = Setting(
        scenario("single-stream"),
        samples,
        blocks=1,
        seconds=CYCLES * 2 * 0.031 * len(ARMS),
        max_load=1.0,
        slow_down=slow,
    )
    blocks: list[Block] = []
    while time.perf_counter() - begin < seconds:
        lost: dict[str, str] = {}
        block = run_block(dict.fromkeys(ARMS, subject), setting, 0, len(blocks), lost)
        if lost:
            raise RuntimeError(f"arms were lost: {lost}")
        blocks.append(block)
        if len(blocks) % 12 == 0:
            say(f"{model}, {condition}: {len(blocks)} blocks, {time.perf_counter() - begin:.0f} s")
    cycles = min(len(block.runs["a"].cycles["p50"]) for block in blocks)
    return {
        "cycles": np.array([[block.runs[arm].cycles["p50"][:cycles] for arm in ARMS] for block in blocks], np.float32),
        "iterations": np.array([[_statistics(block.runs[arm].ns) for arm in ARMS] for block in blocks], np.float32),
        "others": np.array([block.load.others for block in blocks], np.float32),
        "cpu": np.array(str(fingerprint()["machine"]["cpu"])),
        "date": np.array(time.strftime("%Y-%m-%d", time.gmtime())),
    }


def _statistics(ns: np.ndarray) -> list[float]:
    return [len(ns), ns.mean(), ns.std(ddof=1) if len(ns) > 1 else 0.0, ns.min(), float(np.median(ns))]


def save(path: Path, arrays: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez_compressed(file, **arrays)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="in all; the quiet condition gets half of it")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=CONDITIONS)
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="a folder")
    parser.add_argument("--burst", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.burst:
        burst()
    weights = {condition: 2.0 if condition == "quiet" else 1.0 for condition in asked.conditions}
    unit = asked.minutes * 60 / sum(weights.values()) / len(asked.models)
    for condition, weight in weights.items():
        for model in asked.models:
            if condition == "spikes":
                with bursts():
                    arrays = record(model, condition, unit * weight, print)
            else:
                arrays = record(model, condition, unit * weight, print)
            save(asked.output / f"{model}-{condition}.npz", arrays)


if __name__ == "__main__":
    main()
