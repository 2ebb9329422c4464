"""A pytest plugin: `neoc_benchmark` measures an artifact in a user's own test suite, by process runs as neoc does.

    def test_latency(neoc_benchmark):
        result = neoc_benchmark("model.neoc", "inputs.npz")
        assert result["percentiles_ns"]["p50"] < 2e6

    pytest --neoc-benchmark-json=new.json       and then       neoc compare base.json new.json

Where pytest-benchmark is installed, the figures also stand in its table and in its own --benchmark-json file, which
neoc compare reads as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECORDS = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("neoc")
    group.addoption("--neoc-benchmark-json", metavar="FILE", help="write what neoc_benchmark measured (neoc compare)")
    group.addoption("--neoc-benchmark-seconds", type=float, default=5.0, help="driving time of one measurement")
    group.addoption("--neoc-benchmark-max-load", type=float, default=0.1, help="what others may take of the CPU")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORDS] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    place = session.config.getoption("--neoc-benchmark-json")
    records = session.config.stash.get(RECORDS, [])
    if place and records:
        from neoc.compile.files import write_atomically

        merged = {**records[0], "results": [result for one in records for result in one["results"]]}
        write_atomically(Path(place), json.dumps(merged, indent=1).encode())


Benchmark = Callable[..., dict[str, Any]]


@pytest.fixture
def neoc_benchmark(request: pytest.FixtureRequest) -> Benchmark:
    """neoc_benchmark(subject, data=None, **options): the row of a record; options as BenchOptions has them.

    `subject` is an artifact or ENGINE:MODEL. Raises neoc's errors, which fail the test with one paragraph.
    """

    def measure(subject: str | Path, data: str | Path | None = None, **options: Any) -> dict[str, Any]:
        from neoc.bench.measurement import BenchOptions, bench
        from neoc.bench.subjects import parse

        config = request.config
        asked: dict[str, Any] = {
            "seconds": config.getoption("--neoc-benchmark-seconds"),
            "max_load": config.getoption("--neoc-benchmark-max-load"),
            "sets": 2,
            "footprint": False,
            **options,
        }
        found = bench([parse(str(subject))], BenchOptions(data=None if data is None else Path(data), **asked), _quiet)
        # The test's name is what a later run of the same test is compared by.
        found["results"][0]["subject"] = request.node.nodeid
        config.stash[RECORDS].append(found)
        _tell_pytest_benchmark(request, found)
        result: dict[str, Any] = found["results"][0]
        return result

    return measure


def _quiet(stage: str, detail: str) -> None:
    pass


def _tell_pytest_benchmark(request: pytest.FixtureRequest, found: dict[str, Any]) -> None:
    """Give the process runs to pytest-benchmark's own fixture as its rounds, where it is installed and on."""
    if not request.config.pluginmanager.hasplugin("benchmark"):
        return
    import numpy as np

    from neoc.bench import record

    result = found["results"][0]
    values = [float(np.exp(np.median(c))) / 1e9 for c in record.cycles(result, next(iter(result["metrics"])))]
    benchmark = request.getfixturevalue("benchmark")
    if benchmark.disabled or not values:
        benchmark.disabled = True
        benchmark(lambda: None)
        return
    benchmark.extra_info["neoc"] = found
    stats = benchmark._make_stats(1)
    for value in values:
        stats.update(value)
    benchmark._mode = "neoc_benchmark"
