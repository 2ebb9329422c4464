"""pytest-benchmark's JSON and neoc's records, each read as the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neoc.compile.errors import InvalidInput

PYTEST_BENCHMARK = "pytest-benchmark"


def from_pytest(found: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A record. What the neoc_benchmark fixture measured keeps its process runs; all else is one process, so that no
    verdict can rest on it. Raises InvalidInput."""
    try:
        records = [b["extra_info"]["neoc"] for b in found["benchmarks"] if "neoc" in b.get("extra_info", {})]
        results = [result for one in records for result in one["results"]]
        plain = [_plain(b) for b in found["benchmarks"] if "neoc" not in b.get("extra_info", {})]
        info = found["machine_info"]
        machine = {"cpu": info.get("cpu", {}).get("brand_raw"), "arch": info.get("machine"), "host": info.get("node")}
        base = records[0] if records else {}
        return {
            "format": "neoc.bench/1",
            "created": found.get("datetime", ""),
            "scenario": base.get("scenario", "single-stream"),
            "load": base.get("load", {"batch": 1, "concurrency": 1}),
            "threads": base.get("threads", 1),
            "max_load": base.get("max_load", 1.0),
            "machine": base.get("machine", {"machine": machine, "state": {}, "versions": {}, "digest": "pytest"}),
            "data": base.get("data"),
            "noise": base.get("noise", ""),
            "results": [*results, *plain],
            "lost": {},
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            "the benchmark file is damaged", where=where, why=f"{type(error).__name__}: {error}", fix="run pytest again"
        ) from error


def _plain(one: Mapping[str, Any]) -> dict[str, Any]:
    """A benchmark of pytest-benchmark's own: one process run, one cycle of its median."""
    median = float(one["stats"]["median"]) * 1e9
    return {
        "subject": one["fullname"],
        "model": {"name": one["name"], "sha256": one["fullname"]},
        "target": "host",
        "engine": PYTEST_BENCHMARK,
        "level": "executed",
        "metrics": {"p50": {"value": median, "unit": "ns", "better": "lower"}},
        "floor": {"p50": None},
        "void": False,
        "blocks": [{"set": 0, "void": "", "others": 0.0, "cycles": {"p50": [math.log(median)]}}],
    }


def to_pytest(record: Mapping[str, Any]) -> dict[str, Any]:
    """A file that `pytest-benchmark compare` reads: each process run is one of its rounds. Seconds, as it has them."""
    machine = record["machine"]
    return {
        "machine_info": {
            "node": machine["digest"],
            "processor": "",
            "machine": machine["machine"]["arch"],
            "python_implementation": "CPython",
            "python_version": "",
            "system": "",
            "release": machine["state"].get("kernel") or "",
            "cpu": {"brand_raw": machine["machine"]["cpu"]},
        },
        "commit_info": {"id": "", "time": record["created"], "dirty": False, "branch": ""},
        "benchmarks": [_benchmark(record, result) for result in record["results"]],
        "datetime": record["created"],
        "version": "5.3.1",
    }


def _benchmark(record: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    from neoc.bench import record as records

    metric = "p50" if "p50" in result["metrics"] else next(iter(result["metrics"]))
    values = np.exp([np.median(cycles) for cycles in records.cycles(result, metric)] or [math.nan]) / 1e9
    return {
        "group": record["scenario"],
        "name": f"{result['subject']} {metric}",
        "fullname": f"{result['subject']} {metric}",
        "params": None,
        "param": None,
        "extra_info": {"neoc": {**record, "results": [result]}},
        "options": {"disable_gc": True, "timer": "perf_counter", "min_rounds": len(values), "max_time": 0,
                    "min_time": 0, "warmup": True},
        "stats": stats(values),
    }  # fmt: skip


def stats(values: np.ndarray) -> dict[str, Any]:
    """pytest-benchmark's statistics of rounds, in seconds."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "stddev": deviation,
        "rounds": len(values),
        "median": float(middle),
        "iqr": float(high - low),
        "q1": float(low),
        "q3": float(high),
        "iqr_outliers": 0,
        "stddev_outliers": 0,
        "outliers": "0;0",
        "ld15iqr": float(values.min()),
        "hd15iqr": float(values.max()),
        "ops": float(1 / values.mean()),
        "total": float(values.sum()),
        "iterations": 1,
    }
