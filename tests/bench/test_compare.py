"""Records that were taken apart; unlike machines; pytest-benchmark's JSON, read and written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bench_samples
import pytest

from neoc.bench import record
from neoc.bench.compare import compare
from neoc.bench.pytest_json import to_pytest
from neoc.cli.app import run
from neoc.compile.errors import InvalidInput


def saved(path: Path, level: float, sets: int = 2, **more: Any) -> Path:
    made = bench_samples.record_of([bench_samples.result("s", bench_samples.medians(level), sets)], **more)
    record.write(path, made)
    return path


@pytest.mark.parametrize(
    ("factor", "sets", "word", "status"),
    [
        (1.06, 2, "slower", 1),
        (0.94, 2, "faster", 0),
        (1.0, 2, "no difference shown", 0),
        (1.008, 2, "no difference shown", 0),  # below the floor of 1 %
        (1.06, 1, "no difference shown", 0),  # not confirmed
    ],
)
def test_verdicts_and_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factor: float, sets: int, word: str, status: int
) -> None:
    base, new = saved(tmp_path / "a.json", 1e6, sets), saved(tmp_path / "b.json", factor * 1e6, sets)
    assert run(["compare", str(base), str(new), "--json"]) == status
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["verdict"] == word
    assert row["effect"]["ratio"] == pytest.approx(factor, abs=0.004)
    assert ("confirm" in row["why"]) == (sets == 1 and factor > 1.01)


def test_unlike_machines_are_refused_with_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = saved(tmp_path / "a.json", 1e6)
    other = json.loads(base.read_text())
    other["machine"]["machine"] |= {"governor": "powersave", "logical_cpus": 64}
    record.write(tmp_path / "b.json", other)
    assert run(["compare", str(base), str(tmp_path / "b.json")]) == 2
    told = capsys.readouterr().err
    assert "unlike machines" in told
    assert "governor" in told
    assert "64" in told


def test_other_loads_models_and_stand_ins_are_refused(tmp_path: Path) -> None:
    base = saved(tmp_path / "a.json", 1e6)
    assert run(["compare", str(base), str(saved(tmp_path / "b.json", 1e6, threads=2))]) == 2
    other = json.loads(base.read_text())
    other["results"][0]["model"] = {"name": "m", "sha256": "1" * 64}
    record.write(tmp_path / "c.json", other)
    assert run(["compare", str(base), str(tmp_path / "c.json")]) == 2
    other["results"][0]["level"] = "stand-in"
    record.write(tmp_path / "d.json", other)
    assert run(["compare", str(base), str(tmp_path / "d.json")]) == 2


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "neoc.bench/1"}', '{"benchmarks": [1], "machine_info": {}}']
)
def test_files_that_are_no_records_are_told_in_a_paragraph(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"x\.json"):
        record.read(tmp_path / "x.json")


def test_voided_blocks_do_not_count() -> None:
    base = bench_samples.record_of([bench_samples.result("s", bench_samples.medians(1e6))])
    new = bench_samples.record_of([bench_samples.result("s", bench_samples.medians(2e6))])
    for block in new["results"][0]["blocks"]:
        block["void"] = "other programs took 50%"
    (row,) = compare(base, new)["rows"]
    assert row["verdict"] == "void"


def test_pytest_benchmark_reads_what_neoc_writes_and_the_reverse(tmp_path: Path) -> None:
    for name, level in (("0001_a", 1e6), ("0002_b", 1.2e6)):
        made = bench_samples.record_of([bench_samples.result("s", bench_samples.medians(level))])
        (tmp_path / f"{name}.json").write_text(json.dumps(to_pytest(made)))
    files = [str(p) for p in sorted(tmp_path.glob("*.json"))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", *files, "--columns=median,rounds"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1.2" in done.stdout
    assert "12" in done.stdout
    # The process runs travel with it: neoc reads its own evidence back.
    again = compare(*(record.read(Path(f)) for f in files))
    assert [row["verdict"] for row in again["rows"]] == ["slower"]


PLUGIN_TEST = """
def test_latency(neoc_benchmark):
    result = neoc_benchmark("onnxruntime:{model}", "{data}", blocks=6)
    assert result["metrics"]["p50"]["value"] > 0

def test_plain(benchmark):
    benchmark(sum, range(100))
"""


def test_the_plugin_measures_in_a_users_own_suite(zoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    name = "silero_vad_openvino_16k"
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST.format(model=zoo(name), data=zoo.data(name)))
    own, theirs = tmp_path / "own.json", tmp_path / "theirs.json"
    command = [sys.executable, "-m", "pytest", "-q", "test_it.py", f"--neoc-benchmark-json={own}"]
    command += [f"--benchmark-json={theirs}", "--neoc-benchmark-seconds=1", "--neoc-benchmark-max-load=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = record.read(own)
    assert [r["subject"] for r in ours["results"]] == ["test_it.py::test_latency"]
    assert len(ours["results"][0]["blocks"]) == 12
    both = record.read(theirs)
    assert {r["subject"] for r in both["results"]} == {"test_it.py::test_latency", "test_it.py::test_plain"}
    # One process of pytest-benchmark's own is no evidence: there is no verdict, whatever the ratio.
    slower = json.loads(theirs.read_text())
    for one in slower["benchmarks"]:
        one["stats"]["median"] *= 3
    (tmp_path / "slower.json").write_text(json.dumps(slower))
    rows = {r["subject"]: r for r in compare(both, record.read(tmp_path / "slower.json"))["rows"]}
    plain = rows["test_it.py::test_plain"]
    assert plain["verdict"] == "no difference shown"
    assert plain["effect"]["ratio"] == pytest.approx(3)
    assert "bound nothing" in plain["why"]
