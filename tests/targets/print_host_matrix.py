"""make host-matrix: the matrix of test_host_matrix.py as a table, and what a refusal takes."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from neoc.compile.artifact import Artifact
from neoc.compile.registry import load_target

REPEATS = 20


def main() -> None:
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]
    from test_host_matrix import HOSTS, TARGETS, artifact_for, refusal

    taken: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in TARGETS:
            path = artifact_for(Path(folder), load_target(name)).path
            runs = []
            for host, facts in HOSTS.items():
                times = []
                for _ in range(REPEATS):
                    start = time.perf_counter()
                    refused = refusal(Artifact.open(path), facts)
                    times.append(time.perf_counter() - start)
                if refused is None:
                    runs.append(host)
                else:
                    taken[name, host] = statistics.median(times)
            print(f"{name:14s} runs on {', '.join(runs) or 'none of them'}")
    (target, host), slowest = max(taken.items(), key=lambda item: item[1])
    print(
        f"{len(TARGETS)} targets x {len(HOSTS)} hosts: {len(taken)} pairs are refused, median "
        f"{statistics.median(taken.values()) * 1e3:.2f} ms, slowest {slowest * 1e3:.2f} ms ({target} on {host}); "
        f"from opening the file to the reason, median of {REPEATS} each"
    )


if __name__ == "__main__":
    main()
