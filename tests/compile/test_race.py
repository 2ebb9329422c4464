"""The race, among engines whose true times are known, on a clock of their own."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from virtual_engines import VirtualMachine

from neoc.compile.errors import MissingTool, NoCandidate, WorkerTimeout
from neoc.compile.measure import Timed
from neoc.compile.race import FINALISTS, RaceResult, race

SEEDS = range(20)


def run(
    times: Mapping[str, float],
    prefer: Sequence[str] = (),
    *,
    seed: int = 0,
    budget: float = 3.0,
    world: VirtualMachine | None = None,
    block_noise: float = 0.01,
) -> RaceResult:
    world = world or VirtualMachine(seed)
    entrants = {name: world.engine(us, name, block_noise=block_noise) for name, us in times.items()}
    return race(entrants, budget_s=budget, prefer=prefer, clock=world.clock, watch_load=False)


def winners(times: Mapping[str, float], prefer: Sequence[str] = (), **more: float) -> Counter[str]:
    return Counter(run(times, prefer, seed=seed, **more).winner for seed in SEEDS)


# ---- who wins ----------------------------------------------------------------------------------


def test_three_percent_faster_wins_though_another_is_preferred() -> None:
    assert winners({"a": 100.0, "b": 97.0}, ["a", "b"])["b"] >= 19
    assert winners({"a": 100.0, "b": 97.0}, ["a", "b"], block_noise=0.02)["b"] >= 18


def test_of_equals_the_preferred_one_wins() -> None:
    assert winners({"a": 100.0, "b": 100.0}, ["b", "a"])["b"] >= 18
    assert winners({"a": 100.0, "b": 100.0}, ["a", "b"])["a"] >= 18
    assert winners({"a": 100.0, "b": 100.0, "c": 180.0, "d": 100.0}, ["d"])["d"] >= 16


def test_the_fastest_of_many_wins_and_the_slow_ones_cost_little() -> None:
    times = {"slow": 1000.0, "double": 200.0, "half more": 165.0, "close": 103.0, "best": 100.0}
    for seed in range(8):
        world = VirtualMachine(seed)
        result = run(times, list(times), world=world)
        assert result.winner == "best"
        spent = {name: sum(n for who, n in world.calls if who == name) * us for name, us in times.items()}
        # Warm-up is 0.09 s each, a round 0.03 s: these leave after two rounds, the close ones run several times that.
        assert max(spent["slow"], spent["double"], spent["half more"]) < 0.2e6 < spent["close"]


def test_preference_never_takes_one_whose_median_is_over_one_percent_worse() -> None:
    for seed in SEEDS:
        result = run({"a": 101.0, "b": 100.0}, ["a", "b"], seed=seed, budget=0.5, block_noise=0.03)
        if result.winner == "a":
            (other,) = (e for e in result.entrants if e.samples.name == "b")
            assert other.ratio is not None
            assert other.ratio.median >= 1 / 1.01 - 1e-9


def test_unknown_names_in_the_preference_do_not_matter_and_missing_ones_come_last() -> None:
    result = run({"a": 100.0, "b": 100.0, "c": 100.0}, ["ghost", "c"], block_noise=0.001)
    assert result.winner == "c"
    assert run({"a": 100.0, "b": 100.0}, block_noise=0.001).winner == "a"


# ---- what must not change the verdict ------------------------------------------------------------


def test_drift_does_not_change_the_verdict() -> None:
    for seed in range(8):
        world = VirtualMachine(seed, speed=lambda seconds: 1 + 0.5 * seconds)
        assert run({"a": 100.0, "b": 96.0}, ["a"], world=world).winner == "b"
        world = VirtualMachine(seed, speed=lambda seconds: 1 + 0.3 * math.sin(seconds * 3))
        assert run({"a": 96.0, "b": 100.0}, ["b"], world=world).winner == "a"


def test_load_spikes_do_not_change_the_verdict() -> None:
    for seed in range(8):
        spikes = np.random.default_rng(seed).random(4000) < 0.15
        world = VirtualMachine(seed, speed=lambda s, spikes=spikes: 2.5 if spikes[int(s * 20)] else 1.0)
        assert run({"a": 100.0, "b": 96.0, "c": 103.0}, ["a", "c"], world=world, budget=6.0).winner == "b"


# ---- the budget ----------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0.5, 2.0, 5.0])
def test_the_budget_is_kept(budget: float) -> None:
    times = dict.fromkeys("abcdef", 100.0)
    result = run(times, budget=budget, block_noise=0.05)
    assert result.used_s <= budget * 1.02
    assert result.budget_s == budget


def test_a_clear_race_ends_early_and_a_close_one_takes_its_time() -> None:
    assert run({"a": 100.0, "b": 300.0}, budget=10).used_s < 1
    close = run({"a": 100.0, "b": 100.3, "c": 100.0}, budget=4, block_noise=0.03)
    assert close.used_s > 3


def test_slow_entrants_over_the_budget_still_get_one_round() -> None:
    result = run({"a": 3e6, "b": 1e6}, budget=1.0)
    assert result.winner == "b"
    assert result.rounds == 1
    assert [e.samples.iterations for e in result.entrants] == [1, 1]


def test_only_the_finalists_run_at_the_end() -> None:
    names = "abcdefgh"
    world = VirtualMachine(3)
    result = run(dict.fromkeys(names, 100.0), ["h"], world=world, budget=6, block_noise=0.02)
    last = {who for who, _ in world.calls[-3 * FINALISTS :]}
    assert len(last) <= FINALISTS
    assert result.winner in last
    cut = [e for e in result.entrants if "last heat" in e.why]
    assert len(cut) == len(names) - FINALISTS


# ---- losses --------------------------------------------------------------------------------------


def failing_after(calls: int, timed: Timed) -> Timed:
    left = calls

    def failing(n: int) -> np.ndarray:
        nonlocal left
        left -= 1
        if left < 0:
            raise WorkerTimeout("timing did not finish within 5 s")
        return timed(n)

    return failing


def test_one_that_fails_mid_race_loses_only_itself() -> None:
    world = VirtualMachine()
    # Warming up takes about a dozen calls, so it fails after some rounds, in the lead.
    entrants = {"fails": failing_after(16, world.engine(90)), "a": world.engine(100), "b": world.engine(104)}
    result = race(entrants, budget_s=3, prefer=["fails"], clock=world.clock, watch_load=False)
    assert result.winner == "a"
    lost = result.entrants[0]
    assert (lost.status, lost.samples.name) == ("lost", "fails")
    assert "did not finish within 5 s" in lost.why
    assert lost.ratio is not None
    assert lost.ratio.median == pytest.approx(0.9, rel=0.05)


def test_those_that_left_come_back_where_all_faster_ones_are_lost() -> None:
    world = VirtualMachine()
    entrants = {
        "slow": world.engine(200),
        "slower": world.engine(230),
        "fails": failing_after(18, world.engine(100)),
        "fails too": failing_after(18, world.engine(100)),
    }
    result = race(entrants, budget_s=3, clock=world.clock, watch_load=False)
    assert result.winner == "slow"
    assert [e.status for e in result.entrants] == ["winner", "slower", "lost", "lost"]
    assert len(result.entrants[0].samples.blocks) > 3


def test_one_that_fails_at_once_is_named_and_all_failing_is_an_error() -> None:
    def absent(n: int) -> np.ndarray:
        raise MissingTool("openvino is missing")

    world = VirtualMachine()
    result = race({"x": absent, "a": world.engine(100)}, budget_s=1, clock=world.clock, watch_load=False)
    assert result.winner == "a"
    assert result.entrants[0].ratio is None
    with pytest.raises(NoCandidate) as caught:
        race({"x": absent, "y": absent}, budget_s=1, watch_load=False)
    assert caught.value.losses == {"x": "openvino is missing.", "y": "openvino is missing."}


# ---- what is told --------------------------------------------------------------------------------


def test_the_result_is_json_and_says_how_everyone_fared() -> None:
    result = run({"a": 100.0, "b": 100.0, "c": 110.0, "d": 400.0}, ["b", "a", "c", "d"], block_noise=0.004)
    told = json.loads(json.dumps(result.as_dict()))
    rows = {row["name"]: row for row in told["entrants"]}
    assert told["winner"] == "b"
    assert [rows[n]["status"] for n in "abcd"] == ["level", "winner", "slower", "slower"]
    assert "1.5x" in rows["d"]["why"]
    assert rows["b"]["ratio_to_winner"] is None
    assert rows["c"]["ratio_to_winner"]["ratio"] == pytest.approx(1.10, abs=0.01)
    assert rows["c"]["ratio_to_winner"]["low"] > 1.02
    assert rows["a"]["median_ns"] == pytest.approx(102_000, rel=0.03)
    assert rows["d"]["rounds"] == 2
    assert told["used_s"] <= told["budget_s"] == 3.0


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (run({"a": 100.0, "b": 99.0, "c": 101.0}, seed=5).as_dict() for _ in range(2))
    assert first == second


def test_real_callables_race_on_the_real_clock() -> None:
    def busy(us: float):  # type: ignore[no-untyped-def]
        def timed(n: int) -> np.ndarray:
            times = np.empty(n, np.int64)
            for i in range(n):
                start = time.perf_counter_ns()
                while time.perf_counter_ns() - start < us * 1e3:
                    pass
                times[i] = time.perf_counter_ns() - start
            return times

        return timed

    start = time.perf_counter()
    result = race({"a": busy(400), "b": busy(200)}, budget_s=2, prefer=["a"])
    assert result.winner == "b"
    assert time.perf_counter() - start < 3


# ---- Ctrl-C --------------------------------------------------------------------------------------

RACING = """
import sys
from pathlib import Path
import numpy as np
from neoc.compile.contracts import Signature, TensorSpec, Variant
from neoc.compile.race import race
from neoc.compile.worker import Worker

signature = Signature((TensorSpec("x", "float32", (4,)),), (TensorSpec("y", "float32", (4,)),))
feeds = {"x": np.ones(4, np.float32)}
entrants, pids = {}, []
for name in ("a", "b", "c"):
    worker = Worker(name)
    worker.open("misbehaving_engine:Misbehaving", {"factor": Path(sys.argv[1])}, signature,
                Variant.of("v", do="run busy"), 1, None)
    entrants[name] = worker.timed(feeds)
    pids.append(worker.facts["pid"])
print(*pids, flush=True)
race(entrants, budget_s=60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_race_leaves_no_process_behind(how: signal.Signals, tmp_path: Path) -> None:
    member = tmp_path / "factor"
    member.write_text("2")
    helpers = str(Path(__file__).parents[1] / "helpers")
    env = {**os.environ, "PYTHONPATH": helpers, "TMPDIR": str(tmp_path)}
    racing = subprocess.Popen(
        [sys.executable, "-c", RACING, str(member)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert racing.stdout is not None
    pids = [int(word) for word in racing.stdout.readline().split()]
    tree = psutil.Process(racing.pid).children(recursive=True)
    assert len(pids) == 3
    assert {process.pid for process in tree} > set(pids)
    time.sleep(0.5)
    racing.send_signal(how)
    _, errors = racing.communicate(timeout=20)
    assert racing.returncode == -how
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in errors
        assert not list(tmp_path.glob("neoc-worker-*"))
    _, alive = psutil.wait_procs(tree, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
