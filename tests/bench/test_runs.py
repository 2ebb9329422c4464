"""Blocks of process runs: fresh processes in turns, voided by other load, subjects lost alone, sets confirmed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.bench import runs, scenarios
from neoc.bench.measurement import BenchOptions, bench
from neoc.bench.runs import TWIN, Measured, Setting
from neoc.bench.subjects import Subject, open_subject
from neoc.cli.app import run
from neoc.compile.errors import MissingTool, UsageError, WorkerRefused
from neoc.compile.measure import Load as OtherLoad

MODEL = "silero_vad_openvino_16k"


def quiet(stage: str, detail: str) -> None:
    pass


@pytest.fixture
def setting(zoo: Any) -> Setting:
    chosen = scenarios.scenario("single-stream")
    return Setting(chosen, zoo.samples(MODEL)[:1], blocks=2, seconds=0.6, max_load=1.0)


def test_a_block_is_fresh_processes_in_turns(zoo: Any, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[tuple[int, str]] = []
    pids: dict[str, set[int]] = {}
    plain = scenarios.drive_of

    def watched(opened: Any, samples: Any, also: Any = None) -> Any:
        drive = plain(opened, samples, also)
        pids.setdefault(opened.subject.text, set()).add(opened.worker.facts["pid"])

        def told(driver: str, options: Any) -> Any:
            if driver.endswith("single_stream"):
                turns.append((opened.worker.facts["pid"], opened.subject.text))
            return drive(driver, options)

        return told

    monkeypatch.setattr(scenarios, "drive_of", watched)
    a, b = Subject("a", zoo(MODEL), "onnxruntime"), Subject("b", zoo(MODEL), "onnxruntime")
    found = runs.measure([a, b], setting, quiet)
    assert [sorted(block.runs) for block in found.blocks] == [["a", "a" + TWIN, "b"]] * 2
    assert len(pids["a"]) == 4  # a and its twin, in two blocks
    assert len(pids["b"]) == 2
    first = [pid for pid, _ in turns[:6]]
    assert first == [*first[:3], *reversed(first[:3])]
    assert len(set(first)) == 3
    run_ = found.blocks[0].runs["a"]
    assert run_.open_s > 0
    assert run_.first_s > 0
    assert run_.warm_up["iterations"] >= 20
    assert run_.memory["threads"] >= 1
    assert len(run_.cycles["p50"]) == len(run_.cycles["p90"]) >= 2


def test_a_known_slow_down_is_found_and_its_size_too(zoo: Any, setting: Setting) -> None:
    import dataclasses

    slow = dataclasses.replace(setting, blocks=6, seconds=2.0, slow_down=lambda name: 0.5 if name == "b" else 0.0)
    subjects = [Subject(name, zoo(MODEL), "onnxruntime") for name in "ab"]
    found = runs.measure(subjects, slow, quiet, sets=2)
    effect = found.effect("a", "b", "p50")
    assert effect is not None
    assert 1.3 < effect.ratio < 1.75
    judged = runs.judge(found, "b", "p50")
    assert judged.word == "slower" or not judged.resolves


def test_other_load_voids_a_block_and_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch, setting: Setting
) -> None:
    loads = iter([0.5, 0.02, 0.3, 0.01, 0.4, 0.9])

    def block(entrants: Any, setting: Setting, number: int, index: int, lost: Any) -> runs.Block:
        load = OtherLoad(next(loads), 0.0)
        one = runs.Run(0.1, 0.1, {"typical_ns": 1e6, "steady": True}, {"p50": [0.0], "p90": [0.0]})
        return runs.Block(number, dict.fromkeys(entrants, one), load, runs._void(load, 0.1))

    monkeypatch.setattr(runs, "run_block", block)
    found = runs.measure(
        [Subject("a", Path("m"), "onnxruntime"), Subject("b", Path("m"), "onnxruntime")], setting, quiet
    )
    assert [bool(b.void) for b in found.blocks] == [True, False, True, False]
    assert "50%" in found.blocks[0].void
    judged = runs.judge(found, "b", "p50")
    assert judged.word == "void"
    assert "2 of 4 blocks" in judged.why
    assert "hypervisor" in runs._void(OtherLoad(0.0, 0.05), 0.1)


def _orphan() -> int:
    """The pid of a program that spins for a minute at most, and is no descendant of ours: ours is no other load."""
    spin = "import time; end = time.time() + 60\nwhile time.time() < end: pass"
    start = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {spin!r}], stdout=-3, stderr=-3).pid)"
    )
    return int(subprocess.run([sys.executable, "-c", start], check=True, capture_output=True, text=True).stdout)


def test_real_load_is_seen(zoo: Any, setting: Setting) -> None:
    import dataclasses

    busy = [_orphan() for _ in range(2)]
    try:
        strict = dataclasses.replace(setting, max_load=0.05)
        block = runs.run_block({"a": Subject("a", zoo(MODEL), "onnxruntime")}, strict, 0, 0, {})
    finally:
        for pid in busy:
            os.kill(pid, signal.SIGKILL)
    assert block.void.startswith("other programs took")


def test_a_subject_that_fails_loses_itself_and_the_first_ends_the_run(zoo: Any, setting: Setting) -> None:
    def open_(subject: Subject, threads: int) -> Any:
        if subject.text == "broken":
            raise WorkerRefused("it does not open")
        return open_subject(subject, threads)

    import dataclasses

    asked = dataclasses.replace(setting, blocks=1, open=open_)
    a, broken = Subject("a", zoo(MODEL), "onnxruntime"), Subject("broken", zoo(MODEL), "onnxruntime")
    found: Measured = runs.measure([a, broken], asked, quiet)
    assert found.lost == {"broken": "it does not open."}
    assert "broken" not in found.blocks[0].runs
    with pytest.raises(WorkerRefused):
        runs.measure([broken, a], asked, quiet)


@pytest.mark.needs("mlperf_loadgen")
def test_server_and_multi_stream_from_end_to_end(zoo: Any) -> None:
    subject = Subject("s", zoo(MODEL), "onnxruntime")
    base = BenchOptions(data=zoo.data(MODEL), blocks=1, sets=1, seconds=4.0, max_load=1.0, footprint=False)
    import dataclasses

    found = bench([subject], dataclasses.replace(base, scenario="server", latency_s=0.02, percentile=0.9), quiet)
    rate = found["results"][0]["metrics"]["rate"]
    assert (rate["unit"], rate["better"]) == ("requests/s", "higher")
    assert rate["value"] > 100
    assert found["results"][0]["facts"]["probes"]
    found = bench([subject], dataclasses.replace(base, scenario="multi-stream", seconds=1.0), quiet)
    assert found["results"][0]["n"] > 10
    found = bench([subject], dataclasses.replace(base, scenario="offline", seconds=1.0), quiet)
    (offline,) = found["results"]
    assert offline["n"] > 100
    assert offline["metrics"]["throughput"]["value"] > 100
    assert offline["percentiles_ns"] == {}  # one query: what a sample waited in it says nothing


def test_usage_is_told_before_anything_starts(zoo: Any, capsys: pytest.CaptureFixture[str]) -> None:
    subject = f"onnxruntime:{zoo(MODEL)}"
    for words, told in (
        (["--scenario", "server"], "--slo p99=20ms"),
        (["--scenario", "fast"], "one of: single-stream"),
        (["--slo", "20ms", "--scenario", "server"], "p99=20ms"),
        (["--batch", "1,x"], "--batch"),
        (["--batch", "4"], "compile it for that batch"),
        (["--blocks", "0"], "--blocks"),
        (["--trace", "nowhere.csv"], "nowhere.csv"),
    ):
        assert run(["bench", subject, *words]) == 2, words
        assert told in capsys.readouterr().err, words
    assert run(["bench"]) == 2
    with pytest.raises(UsageError):
        scenarios.scenario("x")
    assert MissingTool.exit_status == 3


def test_batches_are_stacked_for_a_model_with_an_open_batch(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.load(zoo.data("ppocr_cls"))["x"][:1]
    np.savez(tmp_path / "d.npz", x=x)
    words = ["bench", f"onnxruntime:{zoo('ppocr_cls')}", "--data", str(tmp_path / "d.npz"), "--batch", "1,4"]
    assert run([*words, "--seconds", "1", "--blocks", "1", "--max-load", "1", "--json"]) == 0
    one, four = json.loads(capsys.readouterr().out)["records"]
    assert (one["load"]["batch"], four["load"]["batch"]) == (1, 4)
    ratio = four["results"][0]["percentiles_ns"]["p50"] / one["results"][0]["percentiles_ns"]["p50"]
    assert ratio > 1.5
