"""One cold start, in a process of its own: `python -m neoc.bench.cold_child SUBJECT FILE DATA.npz PACKAGE`.

SUBJECT is `neoc` (FILE an artifact) or `onnxruntime` (FILE an ONNX file, one thread, defaults). numpy and PACKAGE, the
engine's own, are imported before the clock starts, on both sides alike; how long imports take is told too. Prints one
JSON line with the times and, for every line that it reads, one with its memory. Ends with its standard input.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import numpy as np


def main() -> None:
    subject, file, data, package = sys.argv[1:]
    with np.load(data) as arrays:
        feeds = {name: arrays[name][0] for name in arrays.files}
    start = time.perf_counter()
    import_module(package)
    opener = {"neoc": _neoc, "onnxruntime": _onnxruntime}[subject]()
    before, bare = time.perf_counter(), memory()
    session = opener(file)
    opened = time.perf_counter()
    outputs = session(feeds)
    done = time.perf_counter()
    facts = {"import_s": before - start, "open_s": opened - before, "first_s": done - opened, "sum": _sum(outputs)}
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        now = memory()
        print(json.dumps({key: now[key] - bare[key] for key in now}), flush=True)


def _neoc() -> Callable[[str], Callable[[Mapping[str, np.ndarray]], object]]:
    from neoc.targets import open_artifact

    return lambda file: open_artifact(file).run


def _onnxruntime() -> Callable[[str], Callable[[Mapping[str, np.ndarray]], object]]:
    from neoc.compile.registry import load_engine

    engine = load_engine("onnxruntime")
    return lambda file: engine.plain_call(Path(file), 1)


def _sum(outputs: object) -> float:
    arrays = outputs.values() if isinstance(outputs, dict) else outputs
    return float(sum(np.abs(np.asarray(a, np.float64)).sum() for a in arrays))  # type: ignore[attr-defined]


def memory(root: Path = Path("/proc/self")) -> dict[str, int]:
    """Bytes: uss (pages that no other process maps, those of files included), anonymous, rss. Source: proc(5)."""
    rows = [line.split() for line in (root / "smaps_rollup").read_text().splitlines()[1:]]
    kib = {row[0].rstrip(":"): int(row[1]) for row in rows}
    return {
        "uss": 1024 * (kib["Private_Clean"] + kib["Private_Dirty"]),
        "anonymous": 1024 * kib["Anonymous"],
        "rss": 1024 * kib["Rss"],
    }


if __name__ == "__main__":
    main()
