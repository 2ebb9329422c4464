"""The ledger: two writers, kill -9, a full disk, a damaged line: nothing that was measured before is lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import bench_samples
import pytest

from neoc.bench import ledger, suite
from neoc.cli.app import run
from neoc.compile.errors import InvalidInput, OutputError, UsageError

HELPERS = Path(__file__).parents[1] / "helpers"


def entries(subject: str = "s", count: int = 1) -> list[dict[str, object]]:
    found = bench_samples.record_of([bench_samples.result(subject, bench_samples.medians(1e6))])
    return ledger.entries_of(found) * count


def writer(path: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    code = (
        "import sys, bench_samples as b\nfrom pathlib import Path\nfrom neoc.bench import ledger\n"
        f"e = ledger.entries_of(b.record_of([b.result({name!r}, b.medians(1e6))]))\n"
        "print('ready', flush=True)\n"
        f"for _ in range({count}): ledger.append(Path({str(path)!r}), e)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(HELPERS)}
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)


def test_two_writers_never_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    both = [writer(path, name, 60) for name in ("one", "two")]
    assert [w.wait(60) for w in both] == [0, 0]
    found = ledger.read(path)
    assert found.bad == []
    assert sorted(e["subject"] for e in found.entries) == ["one"] * 60 + ["two"] * 60


def test_kill_9_loses_nothing_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    ledger.append(path, entries("before", 3))
    for pause in (0.02, 0.05, 0.1):
        process = writer(path, "killed", 100_000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        ledger.append(path, entries("after"))
    found = ledger.read(path)
    assert [e["subject"] for e in found.entries].count("before") == 3
    assert [e["subject"] for e in found.entries].count("after") == 3
    assert len(found.bad) <= 3


def test_a_line_that_was_cut_off_is_ended_and_named(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    ledger.append(path, entries("first"))
    with path.open("ab") as file:
        file.write(ledger.encode(entries("torn")[0])[:700])
    ledger.append(path, entries("last"))
    found = ledger.read(path)
    assert [e["subject"] for e in found.entries] == ["first", "last"]
    assert [(b.number, b.why) for b in found.bad] == [(2, "it is no JSON: cut off, or overwritten")]


def test_a_changed_line_is_named_by_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "l.jsonl"
    ledger.append(path, entries("a") + entries("b") + entries("c"))
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace('"threads":1', '"threads":2', 1)
    path.write_text("\n".join(lines) + "\n")
    found = ledger.read(path)
    assert [e["subject"] for e in found.entries] == ["a", "c"]
    assert found.bad[0].number == 2
    assert "digest" in found.bad[0].why
    assert run(["report", str(path), "-o", str(tmp_path / "r.html")]) == 0
    assert f"{path}:2:" in capsys.readouterr().err
    assert "Ledger line 2 could not be used" in (tmp_path / "r.html").read_text()


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    ledger.append(path, entries("before", 2))
    size = path.stat().st_size
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 500, old[1]))
        with pytest.raises(OutputError, match="untouched"):
            ledger.append(path, entries("too much"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.stat().st_size == size
    assert [e["subject"] for e in ledger.read(path).entries] == ["before", "before"]


def test_a_suite_that_is_killed_keeps_the_jobs_that_were_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "l.jsonl"
    done = []

    def job(one: suite.Job, folder: Path, progress: object) -> dict[str, object]:
        if done:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(one)
        found = bench_samples.record_of([bench_samples.result("s", bench_samples.medians(1e6))])
        return {"job": one.as_dict(), "record": found, "levels": [], "lost": {}, "machine": found["machine"]}

    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(suite, "guarded", job)
        (tmp_path / "neoc.toml").write_text('[suite.s]\nmodels = ["zoo:magika"]\nbatch = [1, 2]\n')
        suite.run(suite.read("s", tmp_path / "neoc.toml"), tmp_path, path, lambda stage, detail: None)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(ledger.read(path).entries) == 1


def test_stand_ins_and_void_results_do_not_enter(tmp_path: Path) -> None:
    stand_in = bench_samples.result("s", bench_samples.medians(1e6), level="stand-in")
    with pytest.raises(UsageError, match="stand-in"):
        ledger.entries_of(bench_samples.record_of([stand_in]))
    with pytest.raises(UsageError, match="stand-in"):
        ledger.append(tmp_path / "l", [entries()[0] | {"level": "stand-in"}])
    assert not (tmp_path / "l").exists()
    (tmp_path / "l").write_bytes(ledger.encode(entries()[0] | {"level": "stand-in"}))
    assert "stand-in" in ledger.read(tmp_path / "l").bad[0].why
    void = bench_samples.result("s", bench_samples.medians(1e6), void=True)
    assert ledger.entries_of(bench_samples.record_of([void])) == []
    with pytest.raises(InvalidInput):
        ledger.read(tmp_path / "none")


def test_the_floor_is_what_equal_code_did_from_run_to_run(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    for night, level in enumerate([1.0, 1.03, 1.0, 1.03, 1.0, 1.03, 1.0]):
        made = bench_samples.result("s", bench_samples.medians(level * 1e6))
        ledger.append(path, ledger.entries_of(bench_samples.record_of([made], created=f"2026-01-0{night + 1}")))
    found = ledger.read(path)
    digest = found.entries[0]["machine"]["digest"]
    assert found.floor(digest, "host", "p50") == pytest.approx(0.0296, abs=0.002)
    assert found.floor("another", "host", "p50") == 0
    assert len(found.series()) == 1
    assert json.loads(next(iter(found.series())))["machine"] == digest
