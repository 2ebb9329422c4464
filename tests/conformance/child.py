"""The process that runs cases: a JSON line before and after each, so that the parent knows where it died.

usage: child.py SUITE RESULTS [NAME...]   SUITE: engines (suite.py), hlo (hlo_suite.py)
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

CASE_SECONDS = 60
"""bound on one case; Python code is interrupted by an alarm, native code is killed by the parent"""


def main() -> None:
    which, results, names = sys.argv[1], Path(sys.argv[2]), set(sys.argv[3:])
    os.environ["ONNX_HOME"] = str(results.parent / "onnx-home")  # the suite writes there
    warnings.simplefilter("ignore")
    started = {json.loads(line)["name"] for line in results.read_text().splitlines()} if results.exists() else set()

    from suite import Backend, Suite, Verdict

    suite = Suite(Backend)
    if which == "hlo":
        from hlo_suite import HloSuite

        suite = HloSuite(Backend)
    signal.signal(signal.SIGALRM, _interrupt)
    with results.open("a", buffering=1) as stream:
        for case in suite.cases():
            if case.name in started or (names and case.name not in names):
                continue
            stream.write(json.dumps({"name": case.name, "event": "start"}) + "\n")
            begun = time.monotonic()
            signal.alarm(CASE_SECONDS)
            try:
                verdict = suite.run(case)
            except TimeoutError:
                verdict = Verdict("hang", reason=f"not done in {CASE_SECONDS} s")
            finally:
                signal.alarm(0)
            line = {
                "name": case.name,
                "event": "end",
                "status": verdict.status,
                "engines": verdict.engines,
                "reason": verdict.reason[:600],
                "facts": verdict.facts,
                "seconds": round(time.monotonic() - begun, 3),
            }
            stream.write(json.dumps(line) + "\n")
        stream.write(json.dumps({"name": "", "event": "done"}) + "\n")


def _interrupt(number: int, frame: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    main()
