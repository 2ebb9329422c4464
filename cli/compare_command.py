"""neoc compare BASE.json NEW.json"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import arguments, bench_tables, console


def command(
    base: Annotated[Path, typer.Argument(help="A record of neoc bench -o, or pytest-benchmark's JSON.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    ledger: Annotated[Path | None, typer.Option(help="Take A/A floors from this ledger too.")] = None,
    resolve: Annotated[float, typer.Option(help="Say so where a difference of this share cannot be resolved.")] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Is NEW slower than BASE? Past the measured A/A floor and confirmed, or no difference is shown. Exit 1: slower."""
    from neoc.bench import ledger as book
    from neoc.bench import record
    from neoc.bench.compare import compare

    arguments.check_positive("--resolve", resolve)
    older, newer = record.read(base), record.read(new)
    floors: dict[str, float] = {}
    if ledger is not None:
        known = book.read(ledger)
        for bad in known.bad:
            console.note(f"ledger: {ledger}:{bad.number}: {bad.why}")
        digest = newer["machine"]["digest"]
        pairs = {(r["target"], metric) for r in newer["results"] for metric in r["metrics"]}
        for target, metric in pairs:
            floors[metric] = max(floors.get(metric, 0.0), known.floor(digest, target, metric))
    found = compare(older, newer, floors, resolve)
    if as_json:
        console.print_json(found)
    else:
        bench_tables.show_comparison(found)
    return 1 if found["regressions"] else 0
