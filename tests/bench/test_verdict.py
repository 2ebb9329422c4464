"""Verdicts: intervals that see both kinds of noise, a measured floor, a second look, and many questions at once."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from neoc.bench import verdict
from neoc.bench.verdict import NONE, Effect, Verdict


def blocks(rng: np.random.Generator, n: int, shift: float = 0.0, between: float = 0.005, within: float = 0.01):  # type: ignore[no-untyped-def]
    return [shift + rng.normal(0, between) + rng.normal(0, within, 8) for _ in range(n)]


def test_an_effect_is_the_median_over_blocks_of_paired_cycles() -> None:
    rng = np.random.default_rng(0)
    base = blocks(rng, 6)
    found = verdict.effect(base, [b + math.log(1.05) for b in base])
    assert found.ratio == pytest.approx(1.05)
    assert found.low == pytest.approx(found.high)  # pairing takes out all that both met
    assert verdict.effect(base, base).median == 0


@pytest.mark.parametrize(("between", "within", "wider"), [(0.05, 0.001, "between"), (0.0, 0.05, "within")])
def test_the_interval_is_the_wider_of_the_two(between: float, within: float, wider: str) -> None:
    rng = np.random.default_rng(1)
    found = verdict.effect(blocks(rng, 8), blocks(rng, 8, 0.0, between, within))
    assert (found.low, found.high) == getattr(found, wider)
    other = found.within if wider == "between" else found.between
    assert found.high - found.low > other[1] - other[0]


def test_few_blocks_bound_nothing() -> None:
    rng = np.random.default_rng(2)
    found = verdict.effect(blocks(rng, 5), blocks(rng, 5, 0.5))
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert "6 do" in verdict.judge([found], found, 0.0).why


def test_the_sign_flip_test_is_exact() -> None:
    assert verdict.sign_flip(np.array([1.0, 2, 3, 4, 5, 6])) == 2 / 64
    rng = np.random.default_rng(3)
    values = rng.normal(0.3, 1, 9)
    wanted = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert verdict.sign_flip(values) == pytest.approx(wanted.pvalue)


def effect_of(median: float, half: float = 0.002, p: float = 0.001) -> Effect:
    pair = (median - half, median + half)
    return Effect(median, *pair, pair, pair, p, 12)


@pytest.mark.parametrize(
    ("sets", "floor", "word", "why"),
    [
        ([0.05, 0.05], 0.01, "slower", ""),
        ([-0.05, -0.04], 0.01, "faster", ""),
        ([0.05], 0.01, NONE, "must confirm"),
        ([0.05, 0.001], 0.01, NONE, "not confirmed"),
        ([0.05, -0.05], 0.01, NONE, "not confirmed"),
        ([0.02], 0.025, NONE, ""),
        ([0.04], 0.08, NONE, "cannot resolve 5% here"),
        ([0.001], 0.01, NONE, ""),
    ],
)
def test_a_verdict_needs_the_floor_and_a_second_look(sets: list[float], floor: float, word: str, why: str) -> None:
    found = verdict.judge([effect_of(m) for m in sets], effect_of(sets[0]), floor)
    assert found.word == word
    assert why in found.why
    assert bool(found.why) == bool(why)
    assert found.confirmed == (word != NONE)


def test_benjamini_hochberg_takes_verdicts_back() -> None:
    rng = np.random.default_rng(4)
    ps = [*rng.uniform(0, 1, 30), 0.0004, 0.03]
    family = {str(i): Verdict("slower", "", effect_of(0.1, p=p), 0.01, True) for i, p in enumerate(ps)}
    judged = verdict.adjust(family)
    wanted = stats.false_discovery_control(ps, method="bh")
    assert [judged[str(i)].p_adjusted for i in range(len(ps))] == pytest.approx(list(wanted))
    assert judged["30"].word == "slower"
    assert judged["31"].word == NONE
    assert "p = " in judged["31"].why


def test_unpaired_sides_are_resampled_apart() -> None:
    rng = np.random.default_rng(5)
    base, new = blocks(rng, 12), blocks(rng, 12, math.log(1.1))
    found = verdict.unpaired_effect(base, new)
    assert found.ratio == pytest.approx(1.1, abs=0.01)
    assert found.excludes_zero
    assert found.p < 0.01
    assert verdict.unpaired_effect(base, blocks(rng, 12)).p > 0.05


def test_false_alarms_are_rare_and_power_is_high_on_simulated_blocks() -> None:
    """Noise of 1 % between processes: the whole rule, twelve blocks a trial."""
    rng = np.random.default_rng(6)

    def said(shift: float) -> str:
        # What both meet moves them together; what is a process's own does not.
        common = [rng.normal(0, 0.05) for _ in range(12)]
        base, twin, new = ([c + b for c, b in zip(common, blocks(rng, 12), strict=True)] for _ in range(3))
        new = [b + shift for b in new]
        sets = [verdict.effect(base[i:j], new[i:j]) for i, j in pairwise((0, 6, 12))]
        floor = verdict.floor_of(verdict.effect(base, twin))
        return verdict.judge(sets, verdict.effect(base, new), floor).word

    assert sum(said(0.0) != NONE for _ in range(150)) <= 1
    assert sum(said(math.log(1.05)) == "slower" for _ in range(40)) >= 38
