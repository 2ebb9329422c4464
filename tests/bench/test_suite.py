"""Suites, the nightly run, recommendations, raw items: from files to tables, on real models."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import bench_samples
import numpy as np
import pytest

from neoc.bench import ledger, nightly, recommend, runs, suite
from neoc.bench.scenarios import Load
from neoc.cli.app import run
from neoc.compile import registry
from neoc.compile.errors import InvalidInput

ROOT = Path(__file__).parents[2]
MODEL = "silero_vad_openvino_16k"
SUITE = """
[suite.t]
models = ["zoo:{model}"]
targets = {targets}
engines = ["onnxruntime"]
seconds = 1.0
race_seconds = 0.5
max_load = 1.0
slo = "p90=50ms"
"""


def suite_file(folder: Path, targets: str = '["host"]') -> Path:
    path = folder / "neoc.toml"
    path.write_text(SUITE.format(model=MODEL, targets=targets))
    return path


def test_the_matrix_is_models_by_batches_by_scenarios(tmp_path: Path) -> None:
    models = 'models=["zoo:magika", {path="m.onnx", data="d.npz", input=["x=N,3"]}]'
    text = f'[suite.t]\n{models}\nbatch=[1,8]\nscenarios=["offline"]'
    (tmp_path / "neoc.toml").write_text(text)
    jobs = suite.read("t", tmp_path / "neoc.toml")
    assert [job.name for job in jobs] == ["magika b1 offline", "magika b8 offline", "m b1 offline", "m b8 offline"]
    assert jobs[2].model == str(tmp_path / "m.onnx")
    assert suite.Job.from_dict(json.loads(json.dumps(jobs[3].as_dict()))) == jobs[3]
    assert suite._bindings(jobs[3])["x"].shape == (8, 3)
    assert len(suite.read("zoo", ROOT / "neoc.toml")) >= 7


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[suite.t", "no TOML"),
        ("[suite.u]\nmodels=[]", "no suite 't'"),
        ("[suite.t]\nmodel=['x']", "unknown model"),
        ("[suite.t]\nmodels=['x']\nslo='fast'", "p99=20ms"),
        ("[suite.t]", "models"),
    ],
)
def test_a_suite_that_cannot_be_used_is_told(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(InvalidInput, match=why):
        suite.read("t", tmp_path / "s.toml")


def test_a_suite_runs_into_one_table_and_one_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "l.jsonl"
    words = ["bench", "--suite", "t", "--suite-file", str(suite_file(tmp_path)), "--ledger", str(book)]
    assert run([*words, "-o", str(tmp_path / "o.json")]) == 0
    out = capsys.readouterr().out
    assert "neoc:host" in out
    assert "executed" in out
    assert "objective held" in out
    entries = ledger.read(book).entries
    assert [bool(e["artifact"]) for e in entries] == [True, False]
    assert entries[0]["target"] == entries[1]["target"] == registry.resolve_target("host").name
    assert len({e["model"]["sha256"] for e in entries}) == 1
    assert entries[1]["agrees"] == "agrees"
    assert run(["report", str(book), "-o", str(tmp_path / "r.html")]) == 0
    # The ledger answers: one replica of a model of 0.05 ms serves 100 requests a second within 50 ms.
    model = json.loads((tmp_path / "o.json").read_text())["outcomes"][0]["job"]["model"]
    assert model == f"zoo:{MODEL}"


def test_a_job_that_fails_loses_itself_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.toml").write_text('[suite.t]\nmodels=["nowhere.onnx"]\nmax_load=1.0')
    assert run(["bench", "--suite", "t", "--suite-file", str(tmp_path / "s.toml")]) == 1
    assert "nowhere.onnx" in capsys.readouterr().err


# ---- nightly -------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_a_night_fails_only_on_a_confirmed_regression_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """End to end, twice: a night as it is, then one whose every run is twice as slow as it would be."""
    monkeypatch.setattr(runs, "STEAL", 1.0)
    text = SUITE.format(model=MODEL, targets="[]")
    (tmp_path / "neoc.toml").write_text(text)
    words = ["run", "--suite", "t", "--suite-file", str(tmp_path / "neoc.toml"), "--ledger", str(tmp_path / "l.jsonl")]
    words += ["--report", str(tmp_path / "r.html"), "--summary", str(tmp_path / "s.md")]
    assert nightly.main(words) == 0
    assert "No regression was confirmed" in (tmp_path / "s.md").read_text()
    monkeypatch.setattr(runs.Setting, "load_of", lambda self, name: dataclasses.replace(self.load, slow_down=1.5))
    status = nightly.main(words)
    told = (tmp_path / "s.md").read_text()
    assert status == 1, told
    assert "confirmed regression" in told
    assert f"{MODEL} by onnxruntime on {registry.resolve_target('host').name}" in told
    assert "regression:" in capsys.readouterr().err
    entries = ledger.read(tmp_path / "l.jsonl").entries
    assert {b["set"] for b in entries[1]["blocks"]} == {0, 1}
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_a_change_within_the_nights_floor_is_no_regression() -> None:
    known = ledger.Ledger(Path("l"))
    for night, level in enumerate([1.0, 1.06, 1.0, 1.06, 1.0, 1.06, 1.0]):
        made = bench_samples.result("s", bench_samples.medians(level * 1e6))
        known.entries += ledger.entries_of(bench_samples.record_of([made], created=f"2026-01-0{night + 1}"))
    tonight = ledger.entries_of(bench_samples.record_of([bench_samples.result("s", bench_samples.medians(1.05e6))]))
    (found,) = nightly.judge(known, tonight).values()
    assert found.word == "no difference shown"
    much = ledger.entries_of(bench_samples.record_of([bench_samples.result("s", bench_samples.medians(1.3e6))]))
    (found,) = nightly.judge(known, much).values()
    assert found.word == "slower"
    assert nightly.suspects(known, much)


# ---- recommend -----------------------------------------------------------------------------


def test_the_cheapest_that_holds_the_objective_comes_first(
    zoo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from neoc.bench.record import file_digest

    digest = file_digest(zoo(MODEL))
    book, prices = tmp_path / "l.jsonl", tmp_path / "p.toml"
    results = [
        bench_samples.result("fast", bench_samples.medians(1e6), model={"name": "m", "sha256": digest}, target="big"),
        bench_samples.result("slow", bench_samples.medians(8e6), model={"name": "m", "sha256": digest}, target="small"),
        bench_samples.result("late", bench_samples.medians(9e7), model={"name": "m", "sha256": digest}, target="tiny"),
    ]
    ledger.append(book, ledger.entries_of(bench_samples.record_of(results)))
    prices.write_text('currency = "EUR"\n[target]\nbig = 10.0\nsmall = 1.0\n')
    words = [
        "recommend",
        str(zoo(MODEL)),
        "--slo",
        "p99=20ms",
        "--ledger",
        str(book),
        "--prices",
        str(prices),
        "--json",
    ]
    assert run([*words, "--rate", "100"]) == 0
    found = json.loads(capsys.readouterr().out)
    small, big = found["measured"]
    assert (small["target"], big["target"]) == ("small", "big")
    # M/G/1 with 8 ms of service and 20 ms at p99: a replica serves some, not all, of its 125 a second.
    assert 10 < small["capacity"] < 100
    assert small["replicas"] * small["capacity"] >= 100 > (small["replicas"] - 1) * small["capacity"]
    assert big["replicas"] == 1
    assert [row["target"] for row in found["unfit"]] == ["tiny"]
    modelled = {row["target"]: row for row in found["modelled"]}
    assert "inf2" in modelled
    assert not set(modelled) & {"big", "small", "tiny"}
    # At a rate that one big replica serves and eleven small ones do not, the order turns.
    assert run([*words, "--rate", "800"]) == 0
    assert json.loads(capsys.readouterr().out)["measured"][0]["target"] == "big"
    assert run([*words[:2], "--slo", "p99=100us", *words[4:], "--rate", "1"]) == 1


def test_a_queue_of_known_service_time_gives_the_known_rate() -> None:
    from neoc.bench.server import md1_rate

    times = np.full(20_000, 0.001)
    assert recommend.queue_rate(times, 0.9, 0.005) == pytest.approx(md1_rate(0.001, 0.005, 0.9, 300_000), rel=0.05)


@pytest.mark.parametrize("text", ["x", "[target]\nhost = -1", '[target]\nhost = "much"'])
def test_prices_that_cannot_be_used_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InvalidInput, match="prices"):
        recommend.read_prices(tmp_path / "p.toml")


# ---- many machines -------------------------------------------------------------------------

CLUSTER = """
import json, sys
from dataclasses import replace
from pathlib import Path
from ray.cluster_utils import Cluster
from neoc.bench import suite, spread
from neoc.compile.errors import UsageError
cluster = Cluster()
cluster.add_node(num_cpus=1, resources={"neoc-host": 1})
cluster.add_node(num_cpus=1, resources={"neoc-host": 1})
jobs = suite.read("t", Path(sys.argv[1]))
jobs = [jobs[0], replace(jobs[0], scenario="offline"), replace(jobs[0], threads=2)]
out = spread.run_on_ray(jobs, cluster.address, Path(sys.argv[2]), lambda *a: None)
try:
    elsewhere = replace(jobs[0], targets=("inf2",))
    spread.run_on_ray([elsewhere], cluster.address, None, lambda *a: None)
except UsageError as error:
    lacking = str(error)
print("RESULT" + json.dumps({"nodes": [o["node"] for o in out], "lost": [o["lost"] for o in out], "lacking": lacking}))
"""


@pytest.mark.slow
@pytest.mark.needs("ray")
@pytest.mark.timeout(600)
def test_a_suite_spreads_over_two_nodes_into_one_ledger(tmp_path: Path) -> None:
    path = suite_file(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, str(path), str(tmp_path / "l.jsonl")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.partition("RESULT")[2].splitlines()[0])
    assert len(set(found["nodes"])) == 2, "both nodes worked"
    assert found["lost"] == [{}, {}, {}]
    assert "no node of the cluster has the device" in found["lacking"]
    assert "neoc-inf2" in found["lacking"]
    entries = ledger.read(tmp_path / "l.jsonl").entries
    assert len(entries) == 6
    assert {e["scenario"] for e in entries} == {"single-stream", "offline"}


def test_ray_needs_a_suite_and_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "x.neoc", "--ray", "here"]) == 2
    assert "--suite" in capsys.readouterr().err


def test_a_long_stint_is_cut_from_the_time_that_was_asked() -> None:
    from neoc.bench.measurement import BenchOptions, _stint
    from neoc.bench.scenarios import scenario

    asked = BenchOptions(seconds=12, blocks=6)
    assert _stint(Load(), scenario("offline"), 2, asked).stint_s == 0.5
    assert _stint(Load(), scenario("single-stream"), 2, asked).stint_s == 0.03
