"""Percentiles: MLPerf's sample sizes, bounds that hold, and nothing where the sample is too small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from neoc.bench import percentiles


def test_sample_sizes_are_mlperfs() -> None:
    assert [percentiles.needed(q) for q in (0.5, 0.9, 0.99)] == [1, 64, 662]


@pytest.mark.parametrize("n", [64, 500, 5000])
def test_the_binomial_tail_is_scipys(n: int) -> None:
    for k in (0, 1, n // 20, n // 10):
        assert percentiles.at_most(k, n, 0.1) == pytest.approx(stats.binom.cdf(k, n, 0.1))


def test_a_tail_that_the_sample_does_not_support_is_not_named() -> None:
    found = percentiles.percentiles(np.arange(100), (0.5, 0.9, 0.99))
    assert found["percentiles_ns"] == {"p50": 50.0, "p90": 90.0, "p99": None}
    assert found["needed"] == {"p99": 662}
    assert percentiles.tail(np.empty(0), 0.5) is None


@pytest.mark.parametrize(("q", "n"), [(0.9, 64), (0.9, 1000), (0.99, 700)])
def test_the_bound_is_over_the_true_quantile_as_often_as_promised(q: float, n: int) -> None:
    rng = np.random.default_rng(0)
    true = -np.log(1 - q)
    over = [percentiles.tail(rng.exponential(1, n), q).bound >= true for _ in range(400)]  # type: ignore[union-attr]
    assert np.mean(over) >= 0.975


def test_holds_answers_only_what_the_sample_settles() -> None:
    rng = np.random.default_rng(1)
    sample, true = rng.exponential(1, 3000), -np.log(0.01)
    assert percentiles.holds(sample, 0.99, 1.3 * true) is True
    assert percentiles.holds(sample, 0.99, 0.7 * true) is False
    assert percentiles.holds(sample[:100], 0.99, 1.3 * true) is None
