"""The table of docs/kernels.md from pytest-benchmark's JSON: `python bench/kernels/table.py RESULT.json [--write
docs/kernels.md]`.

With --check the exit status is 1 where a figure misses its target.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

START, END = "<!-- table -->", "<!-- /table -->"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def row(entry: dict[str, Any]) -> tuple[str, bool]:
    """(table row, whether every target is met). Ratios are of medians taken in the same, interleaved run."""
    facts, ours = entry["extra_info"], entry["stats"]["median"]
    peers = {name: seconds / ours for name, seconds in facts["peers"].items()}
    others = ", ".join(
        f"{n} {milliseconds(r * ours)} (**{r:.2f}x**)" for n, r in sorted(peers.items(), key=lambda p: p[1])
    )
    wanted, met = [], True
    for name, least in facts["target"]:
        ratio = min(peers.values()) if name == "best" else peers[name]
        met &= ratio >= least
        wanted.append(
            f"{least:g}x {'the best' if name == 'best' else name}: {'yes' if ratio >= least else f'no, {ratio:.2f}x'}"
        )
    time = milliseconds(ours)
    if facts["limit_us"] is not None:
        each = ours / facts["per"] * 1e6
        met &= each <= facts["limit_us"]
        time, wanted = (
            f"{each:.2f} us",
            [f"at most {facts['limit_us']:g} us: {'yes' if each <= facts['limit_us'] else 'no'}"],
        )
    return f"| {entry['param']} | {time} | {others or '-'} | {'; '.join(wanted) or '-'} |", met


def main(arguments: list[str]) -> int:
    data = json.loads(Path(arguments[0]).read_text())
    machine = data["machine_info"]
    cpu, commit = machine["cpu"], data["commit_info"].get("id", "?")[:8]
    lines = [
        f"{cpu.get('brand_raw', machine['machine'])}, {cpu.get('count', '?')} cores, "
        f"Python {machine['python_version']}, commit {commit}. Medians of interleaved rounds, 1 thread.",
        "",
        "| workload | neoc | others (their time / ours) | target |",
        "|---|---|---|---|",
    ]
    results = [row(entry) for entry in data["benchmarks"]]
    text = "\n".join([*lines, *(line for line, _ in results)])
    print(text)
    if "--write" in arguments:
        page = Path(arguments[arguments.index("--write") + 1])
        old = page.read_text()
        page.write_text(old[: old.index(START) + len(START)] + "\n" + text + "\n" + old[old.index(END) :])
    return 1 if "--check" in arguments and not all(met for _, met in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
