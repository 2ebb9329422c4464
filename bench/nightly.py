"""The nightly measurement: one suite, into the ledger, a report, and a failure only for a confirmed regression.

    python -m neoc.bench.nightly matrix                    the workflow's matrix, from nightly.toml
    python -m neoc.bench.nightly run --suite nightly ...   what each job of it runs; it runs anywhere

Tonight's blocks are judged against those of the last nights of the same series. What looks slower is measured again in
fresh blocks, at once and on the same machine; only what both show is a regression, and only past the floor that the
ledger's own unchanged nights have shown.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neoc.bench import compare, ledger, suite, verdict
from neoc.bench.ledger import Ledger
from neoc.bench.report import engine_of, render
from neoc.compile.errors import NeocError
from neoc.compile.files import write_atomically

NIGHTS = 5
"""how many of the last nights are the base"""
CONFIG = Path(__file__).with_name("nightly.toml")


def matrix(config: Path = CONFIG) -> dict[str, Any]:
    """{'include': [{'name', 'labels', 'suite'}]}, as GitHub's strategy.matrix takes it."""
    tables = tomllib.loads(config.read_text(encoding="utf-8"))
    return {"include": [{"name": name, **table} for name, table in tables["runner"].items()]}


def base_of(known: Ledger, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last nights of the entry's series as one result; None where there is no earlier one with blocks."""
    earlier = [e for e in known.series().get(ledger.key_of(entry), []) if e["blocks"]][-NIGHTS:]
    if not earlier:
        return None
    blocks = [block for one in earlier for block in one["blocks"]]
    # The floor of the base is what its nights' own A against A reached.
    floors = {
        metric: max((e["floor"].get(metric) for e in earlier if e["floor"].get(metric) is not None), default=None)
        for metric in entry["metrics"]
    }
    return {**earlier[-1], "blocks": [{**b, "set": n} for n in (0, 1) for b in blocks], "floor": floors}


def judge(known: Ledger, entries: Sequence[Mapping[str, Any]]) -> dict[str, verdict.Verdict]:
    """'series/metric' -> tonight against the last nights, corrected for their number."""
    family = {}
    for entry in entries:
        base = base_of(known, entry)
        if base is None:
            continue
        for metric in entry["metrics"]:
            floor = known.floor(entry["machine"]["digest"], entry["target"], metric)
            family[f"{name_of(entry)}/{metric}"] = compare.judge(base, entry, metric, floor)
    return verdict.adjust(family)


def name_of(entry: Mapping[str, Any]) -> str:
    load = f"{entry['scenario']} b{entry['load']['batch']}"
    return f"{entry['model']['name']} by {engine_of(entry)} on {entry['target']}, {load}"


def suspects(known: Ledger, entries: Sequence[Mapping[str, Any]]) -> set[str]:
    """Series that one set of blocks already shows as slower: worth measuring again."""
    found = set()
    for entry in entries:
        base = base_of(known, entry)
        for metric in entry["metrics"] if base else ():
            seen = compare.judge(
                base or {}, entry, metric, known.floor(entry["machine"]["digest"], entry["target"], metric)
            )
            if seen.effect is not None and seen.effect.median > 0 and verdict.shows(seen.effect, seen.floor):
                found.add(name_of(entry))
    return found


def second_set(entry: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with the blocks of another run of it as its second set."""
    blocks = [*entry["blocks"], *({**block, "set": 1} for block in again["blocks"])]
    floors = {m: _larger(entry["floor"].get(m), again["floor"].get(m)) for m in entry["metrics"]}
    return {**entry, "blocks": blocks, "floor": floors}


def _larger(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else max(a, b)


def run(jobs: Sequence[suite.Job], path: Path, say: suite.Progress) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(outcomes, {'verdicts': ..., 'regressions': names, 'lost': ...}). The ledger is appended job by job."""
    known = ledger.read(path) if path.exists() else Ledger(path)
    outcomes: list[dict[str, Any]] = []
    family: dict[str, verdict.Verdict] = {}
    lost: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="neoc-nightly-") as folder:
        for job in jobs:
            outcome = suite.guarded(job, Path(folder), say)
            entries = suite.entries_of(outcome)
            flagged = suspects(known, entries)
            if flagged:
                say("confirm", ", ".join(sorted(flagged)))
                again = {name_of(e): e for e in suite.entries_of(suite.guarded(job, Path(folder), say))}
                entries = [second_set(e, again[name_of(e)]) if name_of(e) in again else e for e in entries]
            ledger.append(path, entries)
            family |= judge(known, entries)
            outcomes.append(outcome)
            lost |= {f"{job.name}: {what}": why for what, why in outcome["lost"].items()}
    judged = verdict.adjust(family)
    slower = sorted(name for name, found in judged.items() if found.word == "slower")
    return outcomes, {"verdicts": judged, "regressions": slower, "lost": lost, "bad": known.bad}


def summary(outcomes: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> str:
    """Markdown for a job summary: what regressed, by how much and how surely; then the table."""
    lines = ["## neoc nightly", ""]
    if found["regressions"]:
        lines.append(f"**{len(found['regressions'])} confirmed regression(s)**")
        lines.append("")
    else:
        lines += ["No regression was confirmed.", ""]
    judged: Mapping[str, verdict.Verdict] = found["verdicts"]
    if judged:
        lines += ["| series | time / last nights | 95% interval | A/A floor | verdict |", "|---|---|---|---|---|"]
        for name, one in sorted(judged.items(), key=lambda item: item[1].word != "slower"):
            facts = one.as_dict()
            effect = facts["effect"] or {"ratio": None, "interval": [None, None]}
            floor = "unknown" if facts["floor"] is None else f"{facts['floor']:.1%}"
            lines.append(f"| {name} | {effect['ratio']} | {effect['interval']} | {floor} | {one.text} |")
        lines.append("")
    columns, rows = suite.table(outcomes)
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    lines += ["", *(f"- lost: {what}: {why}" for what, why in found["lost"].items())]
    lines += [f"- ledger line {bad.number} could not be used: {bad.why}" for bad in found["bad"]]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 for a confirmed regression; 2 for a suite or ledger that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m neoc.bench.nightly", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("matrix", help="print the matrix; to $GITHUB_OUTPUT where that is set")
    runner = commands.add_parser("run", help="measure, append, report")
    runner.add_argument("--suite", default="nightly")
    runner.add_argument("--suite-file", type=Path)
    runner.add_argument("--ledger", type=Path)
    runner.add_argument("--report", type=Path, default=Path("build/nightly.html"))
    runner.add_argument("--summary", type=Path, help="Markdown is appended here; default: $GITHUB_STEP_SUMMARY")
    runner.add_argument("--seconds", type=float, help="instead of the suite's")
    runner.add_argument("--max-load", type=float, help="instead of the suite's")
    asked = parser.parse_args(arguments)
    try:
        return _matrix() if asked.command == "matrix" else _run(asked)
    except NeocError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


def _matrix() -> int:
    text = json.dumps(matrix())
    if place := os.environ.get("GITHUB_OUTPUT"):
        with open(place, "a", encoding="utf-8") as file:
            file.write(f"matrix={text}\n")
    print(text)
    return 0


def _run(asked: argparse.Namespace) -> int:
    jobs = suite.read(asked.suite, asked.suite_file)
    changes = {key: value for key in ("seconds", "max_load") if (value := getattr(asked, key)) is not None}
    jobs = [dataclasses.replace(job, **changes) for job in jobs]
    state = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["state"]
    path = asked.ledger or Path(state["ledger"]).expanduser()

    def say(stage: str, detail: str) -> None:
        print(f"{stage}: {detail}", file=sys.stderr, flush=True)

    outcomes, found = run(jobs, path, say)
    text = summary(outcomes, found)
    print(text)
    place = asked.summary or (
        Path(os.environ["GITHUB_STEP_SUMMARY"]) if os.environ.get("GITHUB_STEP_SUMMARY") else None
    )
    if place is not None:
        with place.open("a", encoding="utf-8") as file:
            file.write(text)
    if path.exists() and ledger.read(path).entries:
        asked.report.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(asked.report, render(ledger.read(path)).encode())
    for name in found["regressions"]:
        one = found["verdicts"][name]
        print(f"regression: {name}: x {one.effect.ratio:.3f}", file=sys.stderr)
    return 1 if found["regressions"] else 0


if __name__ == "__main__":
    sys.exit(main())
