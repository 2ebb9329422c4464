"""Records and ledger entries made by hand: what a measurement of blocks with such medians would have written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neoc.bench import percentiles, record
from neoc.compile.machine import fingerprint


def result(subject: str, medians: list[float], sets: int = 2, twin: float = 0.002, **more: Any) -> dict[str, Any]:
    """One subject whose process runs had these medians (ns), in `sets` sets; its twin differs by `twin`."""
    rng = np.random.default_rng(len(medians))
    per = -(-len(medians) // sets)

    def cycles(median: float) -> dict[str, list[float]]:
        return {"p50": [math.log(median) + float(x) for x in rng.normal(0, 0.001, 5)]}

    blocks = [
        {"set": i // per, "void": "", "others": 0.0, "cycles": cycles(m), "twin": cycles(m * (1 + twin))}
        for i, m in enumerate(medians)
    ]
    ns = (np.median(medians) * rng.lognormal(0, 0.02, 2000)).astype(np.int64)
    facts = {
        "subject": subject,
        "model": {"name": "m", "sha256": "0" * 64},
        "target": "host",
        "engine": "onnxruntime",
        "variant": "plain",
        "precision": "fp32",
        "level": "executed",
        "tools": {"onnxruntime": "1"},
        "artifact": None,
        "bytes": 1000,
        "runs": len(medians),
        "n": len(ns),
        "void": False,
        **percentiles.percentiles(ns, (0.5, 0.9, 0.99, 0.999)),
        "metrics": {"p50": {"value": float(np.median(medians)), "unit": "ns", "better": "lower"}},
        "histogram": record.histogram(ns),
        "phases": {"open_s": 0.1, "first_s": 0.01, "warm_up_s": 0.2, "warm_up_iterations": 50.0, "steady": 6,
                   "processes": 6},
        "memory": {"rss": 1 << 26, "uss": 1 << 25, "peak": 1 << 26, "threads": 3},
        "spread": 0.01,
        "floor": {"p50": 0.01},
        "agrees": "the first",
        "footprint": {},
        "roofline": {"flops": 10**9, "bytes": 10**7, "intensity": 100.0, "achieved_flops": 4e10, "peak_flops": 1e11,
                     "bandwidth": 2e10, "roof_flops": 1e11, "of_peak": 0.4, "of_roof": 0.4, "dtype": "float32",
                     "uncounted": [], "source": "measured"},
        "verdicts": {},
        "ratio_to_first": None,
        "blocks": blocks,
        "facts": {},
        "stages": None,
    }  # fmt: skip
    return facts | more


def record_of(results: list[dict[str, Any]], created: str = "2026-01-01T00:00:00Z", **more: Any) -> dict[str, Any]:
    return {
        "format": record.FORMAT,
        "created": created,
        "scenario": "single-stream",
        "load": {"batch": 1, "concurrency": 1},
        "threads": 1,
        "max_load": 0.1,
        "machine": fingerprint(),
        "inputs": [],
        "data": None,
        "noise": "",
        "results": results,
        "lost": {},
    } | more


def medians(level: float, n: int = 12, spread: float = 0.003, seed: int = 0) -> list[float]:
    return [float(x) for x in level * np.random.default_rng(seed).lognormal(0, spread, n)]
