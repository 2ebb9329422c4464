"""`make conformance-neuron`: ONNX's 1,884 node tests through the HLO path, and the counts that guard it.

Passed: may only go up. Wrong: stays 0. Every test that does not pass is listed with its reason in hlo_baseline.json;
--update also writes what the operators became to targets/engines/neuron/opcodes.json, which `neoc check` reads.

usage: run_hlo.py [--update] [--keep FILE] [NAME...]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from run import HERE, Result, run_all

BASELINE = HERE / "hlo_baseline.json"
OPCODES = HERE.parents[1] / "targets" / "engines" / "neuron" / "opcodes.json"
COMMAND = (sys.executable, str(HERE / "child.py"), "hlo")
FAULTS = ("wrong", "late", "broken", "crash", "hang")
"""statuses that no test may have"""


def baseline_of(results: Mapping[str, Result]) -> dict[str, Any]:
    counts = Counter(result.status for result in results.values())
    others = {r.name: f"{r.status}: {r.reason}"[:240] for r in results.values() if r.status != "passed"}
    return {
        "onnx": version("onnx"),
        "tests": len(results),
        **{status: counts[status] for status in ("passed", "constant", "rounding", "random", "refused", *FAULTS)},
        "others": dict(sorted(others.items())),
    }


def faults(results: Mapping[str, Result], baseline: Mapping[str, Any]) -> list[str]:
    """Why these results are worse than the baseline."""
    found = []
    for result in results.values():
        if result.status in FAULTS:
            found.append(f"{result.name} is {result.status.upper()}: {result.reason}")
        elif result.status != "passed" and result.name not in baseline["others"]:
            found.append(f"{result.name} was passed, is {result.status}: {result.reason}")
    return found


def opcodes_of(results: Iterable[Result]) -> dict[str, Any]:
    """For each operator the opcodes that it became in every node, and those that it became in some."""
    seen: dict[str, list[set[str]]] = {}
    for result in results:
        for fact in result.facts:
            operator, *names = fact.split()
            seen.setdefault(operator, []).append(set(names))
    operators = {}
    for operator, sets in sorted(seen.items()):
        always = set.intersection(*sets)
        operators[operator] = {"always": sorted(always), "sometimes": sorted(set.union(*sets) - always)}
    return {"source": "make conformance-neuron ARGS=--update", "jax": version("jax"), "operators": operators}


def summary(results: Iterable[Result]) -> str:
    counts = Counter(result.status for result in results)
    lines = [f"{count:5d}  {status}" for status, count in counts.most_common()]
    return "\n".join([f"{counts.total()} node tests of onnx {version('onnx')} through HLO on XLA's CPU", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description="ONNX's node tests through the HLO path")
    parser.add_argument("names", nargs="*", help="only these tests")
    parser.add_argument("--update", action="store_true", help="write hlo_baseline.json and opcodes.json")
    parser.add_argument("--keep", type=Path, help="leave the results here, a JSON line each")
    arguments = parser.parse_args()
    if arguments.update and arguments.names:
        parser.error("a baseline is of the whole suite: --update takes no names")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="neoc-conformance-") as scratch:
        results = run_all(arguments.names, Path(scratch) / "results.jsonl", COMMAND)
        if arguments.keep:
            arguments.keep.write_bytes((Path(scratch) / "results.jsonl").read_bytes())
    print(summary(results.values()))
    print(f"{time.monotonic() - began:.0f} s")
    if arguments.update:
        BASELINE.write_text(json.dumps(baseline_of(results), indent=1) + "\n")
        OPCODES.write_text(json.dumps(opcodes_of(results.values()), indent=1) + "\n")
        return 1 if any(result.status in FAULTS for result in results.values()) else 0
    baseline = json.loads(BASELINE.read_text())
    if baseline["onnx"] != version("onnx"):
        print(f"the baseline is of onnx {baseline['onnx']}: install that (make conformance-neuron does), or --update")
        return 1
    worse = faults(results, baseline)
    if not arguments.names:
        passed = baseline_of(results)["passed"]
        worse += [f"passed: {passed}, baseline {baseline['passed']}"] * (passed < baseline["passed"])
        if passed > baseline["passed"]:
            print(f"better than the baseline ({baseline['passed']}): commit it with --update")
    for line in worse:
        print(line)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
