"""The recorded process runs, judged again: how often is neoc right, and how often are the common ways?"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from neoc.bench import selftest, selftest_judge
from neoc.bench.selftest_judge import Rate, clopper_pearson

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / selftest.FOLDER


@pytest.fixture(scope="module")
def judged() -> list[selftest_judge.Trial]:
    found = selftest_judge.recordings(FOLDER)
    assert {stem.rpartition("-")[2] for stem in found} == set(selftest.CONDITIONS)
    return list(selftest_judge.trials(found))


def test_equal_code_is_called_different_in_at_most_one_trial_of_a_hundred(judged: list[selftest_judge.Trial]) -> None:
    found = selftest_judge.rate(judged, "A/A")
    assert found.n >= 50
    assert found.value <= 0.01


def test_five_percent_is_seen_where_the_floor_allows_it_and_said_where_not(judged: list[selftest_judge.Trial]) -> None:
    fine = selftest_judge.rate(judged, "5%", None, fine=True)
    assert fine.n >= 10
    assert fine.value >= 0.9
    assert selftest_judge.wrong_sign(judged) == 0
    cycles = np.random.default_rng(0).normal(0, 0.05, (12, len(selftest.ARMS), 3))
    said = selftest_judge.neoc_verdict(cycles, "a", "b", "5%")
    assert said.floor > math.log1p(selftest_judge.FLOOR)
    assert "cannot resolve 5% here" in said.why


def test_the_common_ways_cry_wolf_on_the_same_traces(judged: list[selftest_judge.Trial]) -> None:
    for method in selftest_judge.METHODS:
        assert selftest_judge.rate(judged, "A/A", method).value > 0.1, method


def test_clopper_pearson_covers_as_it_promises() -> None:
    assert clopper_pearson(0, 100)[1] == pytest.approx(1 - 0.025 ** (1 / 100))
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    rng = np.random.default_rng(0)
    inside = [lo <= 0.1 <= hi for lo, hi in (clopper_pearson(int(k), 60) for k in rng.binomial(60, 0.1, 2000))]
    assert np.mean(inside) >= 0.95
    assert str(Rate(0, 100)).startswith("0/100 = 0.0% [0.0%, 3.6%]")


def test_the_published_table_is_what_the_recordings_give(judged: list[selftest_judge.Trial]) -> None:
    text = selftest_judge.table(selftest_judge.recordings(FOLDER), judged)
    document = (ROOT / "docs" / "benchmarking.md").read_text()
    assert text in document, "make selftest ARGS='--write docs/benchmarking.md'"
    with pytest.raises(ValueError, match="lacks"):
        selftest_judge.put(text, "no marks")


@pytest.mark.parametrize("condition", ["quiet", "drift"])
def test_recording_gives_blocks_of_every_arm(tmp_path: Path, condition: str) -> None:
    arrays = selftest.record("silero_vad_openvino_16k", condition, 0.1, print)
    selftest.save(tmp_path / f"m-{condition}.npz", arrays)
    (found,) = selftest_judge.recordings(tmp_path).values()
    assert found["cycles"].shape[:2] == (1, len(selftest.ARMS))
    medians = np.median(found["cycles"][0], axis=1)
    assert np.all(medians > math.log(1000))
    assert found["iterations"].shape == (1, len(selftest.ARMS), len(selftest.STATISTICS))
