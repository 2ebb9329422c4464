"""The interleaved timer and its statistics, on engines whose true times are known."""

from __future__ import annotations

import gc
import json
import math
import time
from itertools import chain, pairwise, repeat
from pathlib import Path

import numpy as np
import pytest
from virtual_engines import VirtualMachine

from neoc.compile import machine
from neoc.compile.errors import WorkerCrashed
from neoc.compile.measure import (
    Load,
    LoadWatch,
    Samples,
    fingerprint,
    interleave,
    noise_note,
    ordered,
    percentile,
    ratio,
    time_calls,
)

# ---- the clock of one block ------------------------------------------------------------------


def test_time_calls_measures_each_call_in_nanoseconds() -> None:
    pauses = iter([0.002, 0.02, 0.004])
    start = time.perf_counter_ns()
    times = time_calls(lambda: time.sleep(next(pauses)), 3)
    assert times.dtype == np.int64
    assert all(times >= [2_000_000, 20_000_000, 4_000_000])
    assert times.sum() <= time.perf_counter_ns() - start


def test_the_collector_is_off_while_timing_and_back_after_it_even_after_an_error() -> None:
    seen = []
    time_calls(lambda: seen.append(gc.isenabled()), 2)
    assert seen == [False, False]
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_calls(lambda: 1 // 0, 1)
    assert gc.isenabled()


# ---- order and rounds --------------------------------------------------------------------------


def test_the_order_rotates_and_reverses() -> None:
    orders = ["".join(ordered("abc", i)) for i in range(6)]
    assert orders == ["abc", "cba", "bca", "acb", "cab", "bac"]
    assert ["".join(ordered("ab", i)) for i in range(4)] == ["ab", "ba", "ba", "ab"]
    assert ["".join(ordered("abc", i, "rotate")) for i in range(3)] == ["abc", "bca", "cab"]
    assert ordered("abc", 5, "fixed") == ["a", "b", "c"]
    with pytest.raises(ValueError, match="random"):
        ordered("abc", 0, "random")


def test_every_place_and_every_predecessor_comes_equally_often() -> None:
    names = "abcd"
    rounds = [ordered(names, i) for i in range(8)]
    for place in range(4):
        assert sorted(r[place] for r in rounds) == sorted(names * 2)
    before = [pair for r in rounds for pair in pairwise(r)]
    assert all(before.count((a, b)) == before.count((b, a)) for a in names for b in names)


def test_blocks_last_about_as_long_for_every_entrant() -> None:
    world = VirtualMachine()
    entrants = {"fast": world.engine(20), "medium": world.engine(3_000), "slow": world.engine(90_000)}
    samples = interleave(entrants, budget_s=10, block_s=0.03, clock=world.clock)
    for name in ("fast", "medium"):
        lengths = [block.sum() / 1e9 for block in samples[name].blocks.values()]
        assert 0.025 < np.median(lengths) < 0.036
    assert {len(block) for block in samples["slow"].blocks.values()} == {1}
    counts = {len(s.blocks) for s in samples.values()}
    assert len(counts) == 1
    assert counts.pop() > 40


@pytest.mark.parametrize("budget", [0.5, 2.0, 10.0])
def test_the_budget_is_kept(budget: float) -> None:
    world = VirtualMachine()
    interleave({"a": world.engine(100), "b": world.engine(7_000)}, budget_s=budget, clock=world.clock)
    assert 0.8 * budget < world.now <= 1.02 * budget


def test_a_budget_too_small_for_anything_still_gives_one_call_and_one_round() -> None:
    world = VirtualMachine()
    samples = interleave({"a": world.engine(2e6), "b": world.engine(1e6)}, budget_s=0.1, clock=world.clock)
    assert [s.iterations for s in samples.values()] == [1, 1]
    assert world.now < 7


def test_warm_up_is_not_in_the_samples() -> None:
    cold = chain([50_000_000], repeat(1000))

    def timed(n: int) -> np.ndarray:
        return np.array([next(cold) for _ in range(n)])

    samples = interleave({"a": timed}, budget_s=1, rounds=2, block_s=1e-4)
    assert samples["a"].ns.max() == 1000
    assert len(samples["a"].blocks) == 2


def test_an_entrant_that_fails_loses_only_itself() -> None:
    world = VirtualMachine()
    good, calls = world.engine(100), []

    def failing(n: int) -> np.ndarray:
        calls.append(n)
        if len(calls) > 12:
            raise WorkerCrashed("it crashed", why="killed by SIGSEGV")
        return good(n)

    samples = interleave({"bad": failing, "good": good}, budget_s=3, clock=world.clock)
    assert "SIGSEGV" in samples["bad"].lost
    assert 0 < len(samples["bad"].blocks) < len(samples["good"].blocks)
    assert len(calls) == 13
    assert samples["good"].lost == ""
    assert samples["bad"].as_dict()["lost"] == samples["bad"].lost


# ---- statistics ------------------------------------------------------------------------------


def samples_of(name: str, medians: list[float]) -> Samples:
    return Samples(name, {i: np.array([m, m, m]) for i, m in enumerate(medians)})


def test_the_ratio_is_paired_by_round() -> None:
    drift = [100.0, 140.0, 90.0, 200.0, 120.0, 80.0, 170.0, 110.0]
    a, b = samples_of("a", [1.1 * d for d in drift]), samples_of("b", drift)
    found = ratio(a, b)
    assert found.median == pytest.approx(1.1, rel=1e-3)
    assert found.low == pytest.approx(1.1, rel=1e-3)
    assert found.high == pytest.approx(1.1, rel=1e-3)
    back = ratio(b, a)
    assert back.median == pytest.approx(1 / 1.1, rel=1e-3)
    del a.blocks[0], b.blocks[7]
    assert ratio(a, b).rounds == 6


def test_fewer_than_six_rounds_bound_nothing() -> None:
    found = ratio(samples_of("a", [5.0] * 5), samples_of("b", [4.0] * 5))
    assert (found.median, found.low, found.high) == (pytest.approx(1.25), 0.0, math.inf)
    assert found.as_dict()["high"] is None
    with pytest.raises(ValueError, match="never ran in the same round"):
        ratio(samples_of("a", [1.0]), samples_of("b", []))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng, hits, trials, true = np.random.default_rng(1), 0, 300, 1.05
    for _ in range(trials):
        drift = np.exp(rng.normal(0, 0.3, 25))
        a = samples_of("a", list(1e6 * true * drift * np.exp(rng.normal(0, 0.05, 25))))
        b = samples_of("b", list(1e6 * drift * np.exp(rng.normal(0, 0.05, 25))))
        found = ratio(a, b)
        hits += found.low <= true <= found.high
    assert 0.90 < hits / trials < 0.99


@pytest.mark.parametrize(("q", "enough"), [(0.9, 29), (0.99, 299), (0.5, 5)])
def test_a_percentile_is_refused_below_the_sample_that_bounds_it(q: float, enough: int) -> None:
    assert percentile(np.arange(enough - 1), q) is None
    found = percentile(np.arange(enough), q)
    assert found is not None
    assert found.high == enough - 1


def test_the_percentile_bound_matches_the_binomial_tail_and_covers() -> None:
    stats = pytest.importorskip("scipy.stats")
    for n, q in [(29, 0.9), (100, 0.9), (1000, 0.99), (50_000, 0.99)]:
        k = int(stats.binom.ppf(0.95, n, q)) + 1
        found = percentile(np.arange(n)[::-1], q)
        assert found is not None
        assert found.high == min(k, n) - 1
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        found = percentile(rng.random(400), 0.9)
        assert found is not None
        covered += found.high >= 0.9
        assert found.ns <= found.high
    assert covered / 400 > 0.93


def test_the_summary_is_json_and_leaves_out_tails_that_the_sample_does_not_support() -> None:
    small = Samples("s", {0: np.arange(1, 40)}).as_dict()
    assert small["median_ns"] == 20
    assert "p90_ns" in small
    assert "p99_ns" not in small
    assert "p99_ns" in Samples("s", {0: np.arange(300)}).as_dict()
    assert json.loads(json.dumps(Samples("none").as_dict()))["median_ns"] is None


def test_noise_is_named() -> None:
    calm = samples_of("calm", [100.0, 101.0] * 5)
    wild = samples_of("wild", [100.0, 150.0] * 5)
    assert noise_note({"calm": calm}, Load(0.01, 0.0)) == ""
    assert "wild" in noise_note({"calm": calm, "wild": wild})
    note = noise_note({"calm": calm}, Load(0.25, 0.03))
    assert "25%" in note
    assert "hypervisor took 3%" in note
    assert samples_of("x", [90.0, 100.0, 110.0, 100.0, 100.0]).spread == pytest.approx(0.0)


def test_own_work_is_not_other_load() -> None:
    watch = LoadWatch()
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
    load = watch.read()
    assert 0 <= load.others <= 1
    assert 0 <= load.steal <= 1


# ---- the machine -----------------------------------------------------------------------------

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9R14
stepping\t: 1
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu sse avx2 hypervisor
"""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def x86(root: Path, **more: str) -> dict[str, str]:
    second = EPYC.replace("processor\t: 0", "processor\t: 1").replace("core id\t\t: 0", "core id\t\t: 1")
    return {
        "proc/cpuinfo": f"{EPYC}\n{second}\n",
        "proc/meminfo": "MemTotal:       16252928 kB\nMemFree: 1 kB\n",
        "proc/loadavg": "0.42 0.2 0.1 1/95 7",
        "proc/sys/kernel/osrelease": "6.1.0\n",
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
        "sys/fs/cgroup/outer/memory.max": f"{3 * 2**30}\n",
        "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        "sys/devices/system/cpu/smt/active": "1\n",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        **more,
    }


def test_the_facts_of_a_machine_are_read(tmp_path: Path) -> None:
    print_ = fingerprint(["onnx", "no-such-package"], tree(tmp_path, x86(tmp_path)))
    facts = print_["machine"]
    assert facts["cpu"] == "AMD EPYC 9R14"
    assert facts["stepping"] == "25/17/1"
    assert (facts["logical_cpus"], facts["cores"], facts["smt"], facts["virtual"]) == (2, 2, True, True)
    assert facts["cgroup_cpus"] == 1.5
    assert facts["cgroup_memory_gib"] == 3.0
    assert facts["memory_gib"] == 16
    assert facts["governor"] == "powersave"
    assert facts["turbo"] is False
    assert print_["state"]["load_1m"] == 0.42
    assert print_["state"]["transparent_hugepages"] == "madvise"
    assert print_["versions"]["numpy"] == np.__version__
    assert print_["versions"]["no-such-package"] is None
    json.dumps(print_)


def test_like_machines_have_one_digest_and_unlike_ones_do_not(tmp_path: Path) -> None:
    def digest(name: str, **more: str) -> str:
        return str(fingerprint(root=tree(tmp_path / name, x86(tmp_path, **more)))["digest"])

    base = digest("base")
    assert digest("busier", **{"proc/loadavg": "9.0 9 9 1/2 3", "proc/sys/kernel/osrelease": "6.2"}) == base
    assert digest("less memory for the firmware", **{"proc/meminfo": "MemTotal: 16300000 kB\n"}) == base
    assert digest("governor", **{"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance"}) != base
    assert digest("fewer cpus", **{"sys/fs/cgroup/outer/cpu.max": "100000 100000"}) != base
    assert digest("features", **{"proc/cpuinfo": EPYC.replace("avx2", "avx512f")}) != base


def test_cgroup_version_1_and_an_arm_machine_are_read(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor: 0\nFeatures: fp asimd\nCPU implementer: 0x41\nCPU part: 0xd0b\n\nSerial: 1\n",
        "proc/self/cgroup": "4:memory:/a\n2:cpu,cpuacct:/a/b\n0::/\n",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{2**29}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    facts = fingerprint(root=tree(tmp_path, files))["machine"]
    assert facts["cpu"] == "0x41/0xd0b"
    assert facts["logical_cpus"] == 1
    assert facts["cgroup_cpus"] == 0.5
    assert facts["cgroup_memory_gib"] == 0.5


def test_a_system_that_tells_nothing_gives_nothing_and_no_error(tmp_path: Path) -> None:
    facts = fingerprint(root=tmp_path)
    assert facts["machine"]["cpu"] is None
    assert facts["machine"]["cgroup_cpus"] is None
    assert len(facts["digest"]) == 12


def test_this_machine_has_a_name_and_a_stable_digest() -> None:
    first, second = fingerprint(), fingerprint()
    assert first["machine"]["cpu"]
    assert first["machine"]["affinity"] >= 1
    assert first["digest"] == second["digest"]
    assert machine.fingerprint is fingerprint
