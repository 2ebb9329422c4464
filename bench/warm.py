"""`make bench-warm`: what a compilation costs the first time, and what the same one costs again.

Each model is compiled by the command `neoc compile` in an empty cache, then again three times: whole processes, from
the shell's point of view. Printed are the seconds of the first, those of its search for rewrites, and the median of the
others.

usage: python -m neoc.bench.warm [--write FILE.md] [MODEL...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neoc.bench.exact_table import TORCH, ZOO, fetched
from neoc.bench.tables import between
from neoc.compile.artifact import Artifact

MARKS = ("<!-- warm table: written by make bench-warm -->", "<!-- end of the warm table -->")
AGAIN = 3


def compiled(model: Path, data: Path, folder: Path, cache: Path) -> float:
    """Seconds of one `neoc compile`, with the model bound to the sizes of its data."""
    with np.load(data) as arrays:
        sizes = [f"{name}={','.join(map(str, arrays[name].shape[1:]))}" for name in arrays.files]
    command = [sys.executable, "-m", "neoc.cli", "compile", str(model), "--target", "host", "--data", str(data)]
    for size in sizes:
        command += ["--input", size]
    started = time.monotonic()
    subprocess.run(
        [*command, "-o", str(folder / "m.neoc")],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NEOC_CACHE_DIR": str(cache)},
    )
    return time.monotonic() - started


def row(name: str, folder: Path) -> tuple[str, ...]:
    model, data = fetched(name, folder)
    with tempfile.TemporaryDirectory(prefix="neoc-warm-") as cache:
        first = compiled(model, data, folder, Path(cache))
        evidence = Artifact.open(folder / "m.neoc").evidence
        again = [compiled(model, data, folder, Path(cache)) for _ in range(AGAIN)]
    searched = (evidence.get("rewrites") or {}).get("seconds", 0.0)
    return name, f"{first:.0f}", f"{searched:.0f}", f"{statistics.median(again):.2f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="models; all ten where none is named")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    parser.add_argument("-o", "--output", type=Path, help="write the rows here (JSON)")
    asked = parser.parse_args(arguments)
    rows = []
    for name in asked.names or (*ZOO, *TORCH):
        with tempfile.TemporaryDirectory(prefix="neoc-warm-") as folder:
            rows.append(row(name, Path(folder)))
        print("  ".join(rows[-1]), flush=True)
    head = ("model", "first time, s", "of it the search, s", "again, s")
    text = "\n".join("| " + " | ".join(line) + " |" for line in (head, ("---",) * 4, *rows))
    print(f"\n{text}")
    if asked.output is not None:
        asked.output.write_text(json.dumps(rows))
    if asked.write is not None:
        between(asked.write, MARKS, text)


if __name__ == "__main__":
    main()
