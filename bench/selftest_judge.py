"""How often is `neoc bench` right? Recorded process runs with known slow-downs, judged again by it and by others.

A trial is twelve blocks in a row: two sets of six, as `neoc bench` takes them, with a base, its twin and a candidate.
Trials share no block, so that Clopper-Pearson's bounds hold for their counts. Beside neoc's verdict the same traces are
judged as is common: the base's process run against the candidate's of the next block, by

    a fixed 10 % threshold on the mean
    Welch's t-test on the iterations, p < 0.05
    pytest-benchmark's own --benchmark-compare-fail=median:5%

`python -m neoc.bench.selftest_judge [--write docs/benchmarking.md]` prints the table (and puts it into the document).
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import verdict
from neoc.bench.selftest import ARMS, CONDITIONS, FOLDER, STATISTICS
from neoc.compile.files import write_atomically

BEGIN, END = "<!-- selftest: begin -->", "<!-- selftest: end -->"
BLOCKS = verdict.MIN_BLOCKS
FLOOR = 0.03
"""the power at 5 % is asked for where the floor is at most this"""
NULLS = (("a", "b", "c"), ("d", "e", "f"))
"""base, twin, candidate"""
SLOW = ("2%", "5%", "10%")


@dataclass(frozen=True)
class Trial:
    """What one set of traces led to. `right`: whether the verdict names a difference of the true sign."""

    arm: str
    condition: str
    said: str
    floor: float
    others: Mapping[str, str] = field(default_factory=dict)
    """method -> slower, faster or none"""


def recordings(folder: Path = FOLDER) -> dict[str, dict[str, np.ndarray]]:
    """'model-condition' -> arrays."""
    found = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            found[path.stem] = {name: arrays[name] for name in arrays.files}
    return found


# ---- neoc's verdict ------------------------------------------------------------------------


def neoc_verdict(cycles: np.ndarray, base: str, twin: str, candidate: str) -> verdict.Verdict:
    """cycles: (12, arm, cycle). The path of `neoc bench`: a second set only where the first shows something."""
    names = list(ARMS)
    rows = {name: [np.asarray(block[names.index(name)], float) for block in cycles] for name in (base, twin, candidate)}

    def judged(blocks: int) -> verdict.Verdict:
        pair = (rows[base][:blocks], rows[candidate][:blocks])
        sets = [verdict.effect(*(side[s : s + BLOCKS] for side in pair)) for s in range(0, blocks, BLOCKS)]
        floor = verdict.floor_of(verdict.effect(rows[base][:blocks], rows[twin][:blocks]))
        return verdict.judge(sets, verdict.effect(*pair), floor)

    first = judged(BLOCKS)
    seen = first.effect is not None and verdict.shows(first.effect, first.floor)
    return judged(2 * BLOCKS) if seen else first


# ---- the common ways -----------------------------------------------------------------------


def threshold(base: Mapping[str, float], new: Mapping[str, float]) -> str:
    """A fixed 10 % on the mean."""
    ratio = new["mean"] / base["mean"]
    return "slower" if ratio > 1.1 else "faster" if ratio < 1 / 1.1 else "none"


def t_test(base: Mapping[str, float], new: Mapping[str, float]) -> str:
    """Welch's t-test on iterations, p < 0.05."""
    from scipy.stats import ttest_ind_from_stats

    stats = [x for side in (new, base) for x in (side["mean"], side["std"], side["n"])]
    result = ttest_ind_from_stats(*stats, equal_var=False)
    if not result.pvalue < 0.05:
        return "none"
    return "slower" if result.statistic > 0 else "faster"


def pytest_benchmark(base: Mapping[str, float], new: Mapping[str, float]) -> str:
    """pytest-benchmark's own check of --benchmark-compare-fail=median:5%; it looks for what is slower alone."""
    check = import_module("pytest_benchmark.utils").parse_compare_fail("median:5%")
    return "slower" if check.fails(dict(new), dict(base)) else "none"


METHODS: dict[str, Callable[[Mapping[str, float], Mapping[str, float]], str]] = {
    "fixed 10% threshold": threshold,
    "t-test on iterations": t_test,
    "pytest-benchmark median:5%": pytest_benchmark,
}


def by_others(iterations: np.ndarray, base: str, candidate: str) -> dict[str, str]:
    """The base of the first block against the candidate of the next one: two jobs, one after the other."""
    names = list(ARMS)
    rows = [
        dict(zip(STATISTICS, map(float, iterations[i][names.index(n)]), strict=True))
        for i, n in ((0, base), (1, candidate))
    ]
    return {name: method(*rows) for name, method in METHODS.items()}


# ---- trials --------------------------------------------------------------------------------


def trials(found: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[Trial]:
    """Every trial that the recordings hold: windows of twelve blocks that share none."""
    for stem, arrays in found.items():
        condition = stem.rpartition("-")[2]
        length = len(arrays["cycles"]) // (2 * BLOCKS) * 2 * BLOCKS
        for start in range(0, length, 2 * BLOCKS):
            cycles = arrays["cycles"][start : start + 2 * BLOCKS]
            iterations = arrays["iterations"][start : start + 2 * BLOCKS]
            wanted = [("A/A", *null) for null in NULLS] + [(arm, "a", "b", arm) for arm in SLOW]
            for arm, base, twin, candidate in wanted:
                said = neoc_verdict(cycles, base, twin, candidate)
                others = by_others(iterations, base, candidate)
                yield Trial(arm, condition, said.word, said.floor, others)


def all_assignments(found: Mapping[str, Mapping[str, np.ndarray]]) -> Rate:
    """A/A with every choice of base, twin and candidate among the arms as they are: many trials that share traces, so a
    steadier figure without bounds of its own."""
    nulls = [name for name, slow in ARMS.items() if slow == 0]
    hits = n = 0
    for arrays in found.values():
        for start in range(0, len(arrays["cycles"]) // (2 * BLOCKS) * 2 * BLOCKS, 2 * BLOCKS):
            window = arrays["cycles"][start : start + 2 * BLOCKS]
            for base, twin, candidate in itertools.permutations(nulls, 3):
                hits += neoc_verdict(window, base, twin, candidate).confirmed
                n += 1
    return Rate(hits, n)


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a probability of which `hits` in `n` were seen; (0, 1) where n is 0."""
    from scipy.stats import beta

    if n == 0:
        return 0.0, 1.0
    alpha = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(alpha, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - alpha, hits + 1, n - hits))
    return low, high


@dataclass(frozen=True)
class Rate:
    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else math.nan

    def __str__(self) -> str:
        if not self.n:
            return "-"
        low, high = clopper_pearson(self.hits, self.n)
        return f"{self.hits}/{self.n} = {self.value:.1%} [{low:.1%}, {high:.1%}]"


def rate(judged: Sequence[Trial], arm: str, method: str | None = None, fine: bool | None = None) -> Rate:
    """How often a difference was named: any for A/A, 'slower' for a slow-down. `fine`: where the floor is (not) low."""
    chosen = [t for t in judged if t.arm == arm and (fine is None or (t.floor <= math.log1p(FLOOR)) == fine)]
    words = ("slower", "faster") if arm == "A/A" else ("slower",)
    return Rate(sum((t.said if method is None else t.others[method]) in words for t in chosen), len(chosen))


def wrong_sign(judged: Sequence[Trial]) -> int:
    """Slow-downs that were called faster."""
    return sum(t.arm != "A/A" and t.said == "faster" for t in judged)


# ---- the table -----------------------------------------------------------------------------


def table(found: Mapping[str, Mapping[str, np.ndarray]], judged: Sequence[Trial]) -> str:
    """Markdown: what was recorded, then false positives and power of every method."""
    cpus = sorted({str(a["cpu"]) for a in found.values()})
    dates = sorted({str(a["date"]) for a in found.values()})
    blocks = sum(len(a["cycles"]) for a in found.values())
    others = np.concatenate([a["others"] for a in found.values()])
    floors = np.array([math.expm1(t.floor) for t in judged if t.arm == "A/A"])
    lines = [
        f"Recorded on {', '.join(cpus)}, {', '.join(dates)}: {blocks} blocks of {len(ARMS)} process runs; others took "
        f"{np.median(others):.0%} of the CPU in the median block (at most {others.max():.0%}). A/A floor: median "
        f"{np.median(floors):.1%}, at most 3% in {np.mean(floors <= FLOOR):.0%} of them.",
        "",
        "| judged by | A/A: a difference is named | 2% slower | 5% slower | 5%, floor at most 3% | 10% slower |",
        "|---|---|---|---|---|---|",
        _row("neoc bench", judged, None),
        *(_row(name, judged, name) for name in METHODS),
        "",
        f"By condition, neoc names (A/A; 5%): {_by_condition(judged)}. Slow-downs called faster: {wrong_sign(judged)}.",
        f"Where the floor was above 3%, a slow-down of 5% was named in {rate(judged, '5%', None, False)}; the other "
        "verdicts there read `no difference shown (cannot resolve 5% here: ...)`.",
    ]
    return "\n".join(lines)


def _row(title: str, judged: Sequence[Trial], method: str | None) -> str:
    cells = [rate(judged, "A/A", method), rate(judged, "2%", method), rate(judged, "5%", method)]
    cells += [rate(judged, "5%", method, True), rate(judged, "10%", method)]
    return f"| {title} | " + " | ".join(map(str, cells)) + " |"


def _by_condition(judged: Sequence[Trial]) -> str:
    parts = []
    for condition in CONDITIONS:
        own = [t for t in judged if t.condition == condition]
        if own:
            null, slow = rate(own, "A/A"), rate(own, "5%")
            parts.append(f"{condition} {null.hits}/{null.n}; {slow.hits}/{slow.n}")
    return ", ".join(parts)


def put(text: str, document: str) -> str:
    """The document with the text between its marks. Raises ValueError where it has none."""
    before, mark, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the document lacks {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--write", type=Path, help="a document with the table's marks")
    asked: Any = parser.parse_args(arguments)
    found = recordings(asked.folder)
    if not found:
        print(f"error: nothing is recorded in {asked.folder}; make selftest-long records", file=sys.stderr)
        return 2
    judged = list(trials(found))
    again = all_assignments(found)
    text = table(found, judged) + (
        f"\n\nA/A over every assignment of the six equal arms (sharing traces): {again.hits} of {again.n} named."
    )
    print(text)
    if asked.write is not None:
        write_atomically(asked.write, put(text, asked.write.read_text(encoding="utf-8")).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
