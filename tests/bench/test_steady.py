"""Warm-up ends when a change-point test says so."""

from __future__ import annotations

import numpy as np
import pytest

from neoc.bench import steady


def test_pettitt_finds_the_step_and_its_size() -> None:
    rng = np.random.default_rng(0)
    found = steady.change_point(np.concatenate([rng.normal(130, 1, 12), rng.normal(100, 1, 18)]))
    assert found.at == 12
    assert found.p < 0.001
    assert found.step == pytest.approx(0.3, abs=0.02)
    assert steady.change_point(np.ones(30)).p == 1


def test_pettitt_keeps_its_level_on_noise() -> None:
    rng = np.random.default_rng(1)
    p = [steady.change_point(rng.lognormal(0, 0.1, steady.WINDOW)).p for _ in range(1000)]
    assert np.mean(np.array(p) < 0.05) < 0.07


class Machine:
    """A process that gets faster in steps, in a time of its own."""

    def __init__(self, steps: dict[int, float], noise: float = 0.01) -> None:
        self.now, self.runs, self.steps, self.noise = 0.0, 0, steps, noise
        self.rng = np.random.default_rng(2)

    def timed(self, n: int) -> np.ndarray:
        out = np.empty(n)
        for i in range(n):
            level = [ns for at, ns in self.steps.items() if at <= self.runs][-1]
            out[i] = level * self.rng.lognormal(0, self.noise)
            self.runs += 1
        self.now += out.sum() / 1e9
        return out


def test_warm_up_follows_a_process_to_its_last_step() -> None:
    machine = Machine({0: 3e6, 12: 2e6, 30: 1e6})
    found = steady.warm_up(machine.timed, clock=lambda: machine.now)
    assert found.steady
    assert found.iterations >= 30 + steady.WINDOW
    assert found.changes >= 1
    assert found.typical_ns == pytest.approx(1e6, rel=0.02)
    quick = Machine({0: 1e6})
    assert steady.warm_up(quick.timed, clock=lambda: quick.now).iterations < 60


def test_a_process_that_never_settles_is_said_to_be_unsteady() -> None:
    machine = Machine({at: 1e6 * 1.1 ** (at / 20) for at in range(0, 4000, 10)}, noise=0.001)
    found = steady.warm_up(machine.timed, limit_s=0.5, clock=lambda: machine.now)
    assert not found.steady
    assert found.changes > 2
