"""`make bench-cold`: from a new process to the first result, and its memory, against onnxruntime's plain load.

Each of the ten models is compiled with `--optimize cold-start` and then started in fresh processes, in turns with
onnxruntime on the untouched file (one thread, defaults). The clock runs from opening the file to the first result;
files are in the page cache. Memory is read after the first inference: *anonymous* pages, which only this process can
have, and the USS, which counts pages of files too where no other process maps them, alone and with a second process of
the same kind beside it. The first start of each artifact, which hashes all of it, is shown apart, in no median.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from neoc.bench import ten_models
from neoc.bench.ten_models import TenModel
from neoc.compile import trust
from neoc.compile.artifact import Artifact
from neoc.compile.errors import Unavailable
from neoc.compile.files import write_atomically
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.compile.registry import load_target

MARKS = ("<!-- cold table: written by make bench-cold -->", "<!-- end of the cold table -->")
SUBJECTS = ("neoc", "onnxruntime")
START_S = 120.0


@dataclass
class Starts:
    """What the starts of one model took. Each list: one entry a process."""

    model: str
    selected: str
    first_start_s: float
    seconds: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in SUBJECTS})
    imports: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in SUBJECTS})
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    """subject -> bytes: anonymous, uss, uss_beside_a_twin, rss"""

    @property
    def ratio(self) -> float:
        return median(self.seconds["neoc"]) / median(self.seconds["onnxruntime"])


def measure(model: TenModel, folder: Path, rounds: int, race_seconds: float) -> Starts:
    """Compile the model for a cold start and start it, and onnxruntime, `rounds` times each."""
    options = CompileOptions(data=model.data, optimize="cold-start", race_seconds=race_seconds)
    artifact = compile_model(model.path, load_target("host"), options, output=folder / f"{model.name}.neoc")
    time.sleep(1.5 * trust.SETTLED_NS / 1e9)  # only a file that is left alone is noted as checked
    first = _started("neoc", model, artifact)
    found = Starts(model.name, artifact.manifest["variants"][0]["id"], first["open_s"] + first["first_s"])
    for index in range(rounds):
        for subject in SUBJECTS if index % 2 else SUBJECTS[::-1]:
            facts = _started(subject, model, artifact)
            found.seconds[subject].append(facts["open_s"] + facts["first_s"])
            found.imports[subject].append(facts["import_s"])
    found.memory = {subject: _memory(subject, model, artifact) for subject in SUBJECTS}
    return found


class _Child:
    """A process of neoc.bench.cold_child that has made its first inference."""

    def __init__(self, subject: str, model: TenModel, artifact: Artifact) -> None:
        file = artifact.path if subject == "neoc" else model.path
        package = artifact.manifest["variants"][0]["steps"][0]["engine"] if subject == "neoc" else "onnxruntime"
        command = [sys.executable, "-P", "-m", "neoc.bench.cold_child", subject, str(file), str(model.data), package]
        # Byte code is used where it was written before, as it is in any installation.
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        try:
            self.facts = self._line()
        except Unavailable:
            self.close()
            raise

    def memory(self) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable("a cold start failed", why=f"its process ended with status {self._process.wait(START_S)}")
        facts: dict[str, float] = json.loads(line)
        return facts

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(START_S)


def _started(subject: str, model: TenModel, artifact: Artifact) -> dict[str, float]:
    child = _Child(subject, model, artifact)
    child.close()
    return child.facts


def _memory(subject: str, model: TenModel, artifact: Artifact) -> dict[str, float]:
    with ExitStack() as stack:
        child = _Child(subject, model, artifact)
        stack.callback(child.close)
        alone = child.memory()
        twin = _Child(subject, model, artifact)
        stack.callback(twin.close)
        twin.memory()
        return alone | {"uss_beside_a_twin": child.memory()["uss"]}


# ---- the table ---------------------------------------------------------------------------------


COLUMNS = (
    "model",
    "opens",
    "first start ms",
    "onnxruntime ms",
    "neoc ms",
    "ratio",
    "anonymous MB",
    "USS MB",
    "with a twin",
)


def row(found: Starts) -> tuple[str, ...]:
    own, peer = (1e3 * median(found.seconds[s]) for s in SUBJECTS)

    def pair(key: str) -> str:
        a, b = (found.memory[s][key] / 1e6 for s in SUBJECTS)
        return f"{a:.1f} of {b:.1f}"

    cells = [f"{1e3 * found.first_start_s:.1f}", f"{peer:.1f}", f"{own:.1f}", f"{found.ratio:.2f}"]
    return (found.model, found.selected, *cells, pair("anonymous"), pair("uss"), pair("uss_beside_a_twin"))


def table(results: Sequence[Starts]) -> str:
    """The results as Markdown, with the geometric mean of the ratios of medians."""
    lines = [" | ".join(cells) for cells in [COLUMNS, ["---"] * len(COLUMNS), *map(row, results)]]
    mean = float(np.exp(np.mean([np.log(found.ratio) for found in results])))
    imports = {s: 1e3 * median(t for found in results for t in found.imports[s]) for s in SUBJECTS}
    text = "\n".join(f"| {line} |" for line in lines)
    return (
        f"{text}\n\nOpen + first inference over onnxruntime's plain load, geometric mean: {mean:.2f} "
        f"({len(results[0].seconds['neoc'])} starts of each, in turns, medians). Imports beforehand, median: "
        f"neoc with the engine {imports['neoc']:.0f} ms, onnxruntime {imports['onnxruntime']:.0f} ms."
    )


def written(page: str, text: str) -> str:
    """The page with the text between its marks. Raises ValueError where it does not hold each mark once, in order."""
    if [page.count(mark) for mark in MARKS] != [1, 1] or page.index(MARKS[0]) > page.index(MARKS[1]):
        raise ValueError(f"the page must hold {MARKS[0]!r} and behind it {MARKS[1]!r}, each once")
    head, rest = page.split(MARKS[0])
    return f"{head}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def as_dict(found: Starts) -> dict[str, Any]:
    return {**found.__dict__, "ratio": found.ratio}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(ten_models.NAMES)}; all where none is named")
    parser.add_argument("--rounds", type=int, default=11, help="starts of each subject")
    parser.add_argument("--race-seconds", type=float, default=3.0)
    parser.add_argument("-o", "--output", type=Path, help="write the figures here (JSON)")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    asked = parser.parse_args(arguments)
    if asked.write is not None:
        try:
            written(asked.write.read_text(), "")  # a page without the marks is refused before minutes are spent
        except (OSError, ValueError) as why:
            parser.error(f"--write {asked.write}: {why}")
    results = []
    with tempfile.TemporaryDirectory(prefix="neoc-cold-") as scratch:
        for name in asked.names or ten_models.NAMES:
            (model,) = ten_models.fetch(Path(scratch), [name])
            results.append(measure(model, Path(scratch), asked.rounds, asked.race_seconds))
            print("  ".join(row(results[-1])), flush=True)
    print()
    print(table(results))
    if asked.output is not None:
        write_atomically(asked.output, json.dumps([as_dict(found) for found in results], indent=1).encode())
    if asked.write is not None:
        write_atomically(asked.write, written(asked.write.read_text(), table(results)).encode())


if __name__ == "__main__":
    main()
