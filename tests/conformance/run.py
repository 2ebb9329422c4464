"""`make conformance`: ONNX's own backend suite through neoc, and the three counts that guard it.

Passed by compiled engines: may only go up. Wrong: stays 0. Passed by the fallback beside them. Every other test is
listed with its reason in baseline.json. A child process runs the cases and is restarted behind a case that kills it.

usage: run.py [--update] [--keep FILE] [NAME...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
STALL_SECONDS = 120.0
"""a file of results that does not grow for so long means that native code hangs; the start takes some 20 s"""
PASSED = ("compiled", "fallback")


@dataclass(frozen=True)
class Result:
    name: str
    status: str
    engines: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    facts: tuple[str, ...] = ()


def run_all(
    names: Sequence[str],
    results: Path,
    command: Sequence[str] = (sys.executable, str(HERE / "child.py"), "engines"),
    stall_s: float = STALL_SECONDS,
) -> dict[str, Result]:
    """Results by name. The child's death, or its silence for `stall_s`, is the result of the case it was at."""
    done: dict[str, Result] = {}
    while True:
        before = len(done)
        ended = _one_child([*command, str(results), *names], results, stall_s)
        done, current, complete = read(results)
        if complete:
            return done
        if current is None and len(done) == before:
            raise SystemExit(f"the child ends without running anything ({ended}): {' '.join(command)}")
        if current is not None:
            status = "hang" if ended == "stalled" else "crash"
            line = {"name": current, "event": "end", "status": status, "reason": f"the process ended: {ended}"}
            with results.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def _one_child(command: Sequence[str], results: Path, stall_s: float) -> str:
    """Run one child to its end: 'status N', 'signal N' or 'stalled'."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=HERE)
    try:
        size, since = -1, time.monotonic()
        while process.poll() is None:
            time.sleep(0.2)
            grown = results.stat().st_size if results.exists() else 0
            if grown != size:
                size, since = grown, time.monotonic()
            elif time.monotonic() - since > stall_s:
                return "stalled"
        code = process.returncode
        return f"signal {-code}" if code < 0 else f"status {code}"
    finally:
        process.kill()
        process.wait()


def read(results: Path) -> tuple[dict[str, Result], str | None, bool]:
    """(results so far, the case that was started and never ended, whether the child came to its end)."""
    done: dict[str, Result] = {}
    current, complete = None, False
    for text in results.read_text().splitlines() if results.exists() else []:
        line = json.loads(text)
        if line["event"] == "start":
            current = line["name"]
        elif line["event"] == "end":
            current = None
            fields = {k: line[k] for k in ("status", "reason", "seconds") if k in line}
            lists = {k: tuple(line.get(k, ())) for k in ("engines", "facts")}
            done[line["name"]] = Result(line["name"], **lists, **fields)
        else:
            complete = True
    return done, current, complete


def baseline_of(results: Mapping[str, Result]) -> dict[str, Any]:
    """What baseline.json holds: the counts, the names that the fallback passes, and every other with its reason."""
    counts = Counter(result.status for result in results.values())
    others = {r.name: f"{r.status}: {r.reason}"[:300] for r in results.values() if r.status not in PASSED}
    return {
        "onnx": version("onnx"),
        "tests": len(results),
        "compiled": counts["compiled"],
        "wrong": counts["wrong"],
        "fallback": counts["fallback"],
        "passed_by_fallback": sorted(r.name for r in results.values() if r.status == "fallback"),
        "others": dict(sorted(others.items())),
    }


def faults(results: Mapping[str, Result], baseline: Mapping[str, Any]) -> list[str]:
    """Why these results are worse than the baseline: wrong answers, and tests that lost their status."""
    found = [f"{r.name} is WRONG: {r.reason}" for r in results.values() if r.status == "wrong"]
    by_fallback = set(baseline["passed_by_fallback"])
    for result in results.values():
        if result.name in baseline["others"] or result.status == "wrong":
            continue
        was = "fallback" if result.name in by_fallback else "compiled"
        if result.status != was and result.status != "compiled":
            found.append(f"{result.name} was {was}, is {result.status}: {result.reason}")
    return found


def summary(results: Iterable[Result]) -> str:
    rows = list(results)
    counts = Counter(row.status for row in rows)
    lines = [
        f"{counts['compiled']:5d}  passed by compiled engines",
        f"{counts['wrong']:5d}  wrong",
        f"{counts['compiled'] + counts['fallback']:5d}  passed with the fallback ({counts['fallback']} by it)",
    ]
    for status, count in counts.most_common():
        if status not in (*PASSED, "wrong"):
            lines.append(f"{count:5d}  {status}")
    return "\n".join([f"{len(rows)} tests of onnx {version('onnx')}", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description="ONNX's backend suite through neoc")
    parser.add_argument("names", nargs="*", help="only these tests")
    parser.add_argument("--update", action="store_true", help="write baseline.json")
    parser.add_argument("--keep", type=Path, help="leave the results here, a JSON line each")
    arguments = parser.parse_args()
    if arguments.update and arguments.names:
        parser.error("a baseline is of the whole suite: --update takes no names")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="neoc-conformance-") as scratch:
        results = run_all(arguments.names, Path(scratch) / "results.jsonl")
        if arguments.keep:
            arguments.keep.write_bytes((Path(scratch) / "results.jsonl").read_bytes())
    print(summary(results.values()))
    print(f"{time.monotonic() - began:.0f} s")
    if arguments.update:
        BASELINE.write_text(json.dumps(baseline_of(results), indent=1) + "\n")
        return 0
    baseline = json.loads(BASELINE.read_text())
    if baseline["onnx"] != version("onnx"):
        print(f"the baseline is of onnx {baseline['onnx']}: install that (make conformance does), or use --update")
        return 1
    worse = faults(results, baseline)
    if not arguments.names:
        counts = baseline_of(results)
        worse += [f"{k}: {counts[k]}, baseline {baseline[k]}" for k in ("compiled",) if counts[k] < baseline[k]]
        if counts["compiled"] > baseline["compiled"]:
            print(f"better than the baseline ({baseline['compiled']}): commit it with --update")
    for line in worse:
        print(line)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
