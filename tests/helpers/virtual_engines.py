"""Engines without a machine: service times that a test knows, on a clock of their own. Deterministic and instant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neoc.compile.measure import Timed


class VirtualMachine:
    """`engine(us)` is an entrant of that service time; `speed(seconds)` slows the whole machine down over time."""

    def __init__(self, seed: int = 0, speed: Callable[[float], float] = lambda seconds: 1.0) -> None:
        self.now = 0.0
        self.rng = np.random.default_rng(seed)
        self.speed = speed
        self.calls: list[tuple[str, int]] = []

    def clock(self) -> float:
        return self.now

    def engine(self, us: float, name: str = "", noise: float = 0.03, block_noise: float = 0.01) -> Timed:
        """`noise` of the iterations (only ever upwards) and of whole blocks, as standard deviations of the log."""

        def timed(iterations: int) -> np.ndarray:
            self.calls.append((name, iterations))
            block = us * 1e3 * self.speed(self.now) * np.exp(block_noise * self.rng.standard_normal())
            ns = (block * np.exp(noise * np.abs(self.rng.standard_normal(iterations)))).astype(np.int64)
            self.now += float(ns.sum()) / 1e9 + 2e-4
            return ns

        return timed
