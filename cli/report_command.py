"""neoc report LEDGER -o report.html"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import arguments, console


def command(
    ledger: Annotated[Path, typer.Argument(help="What neoc bench --ledger wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
) -> int:
    """The ledger as one HTML page that needs no network."""
    from neoc.bench import ledger as book
    from neoc.bench.report import render
    from neoc.compile.files import write_atomically

    place = arguments.output_file(output, "report.html", several=False, sources=[ledger])
    known = book.read(ledger)
    for bad in known.bad:
        console.note(f"ledger: {ledger}:{bad.number}: {bad.why}")
    write_atomically(place, render(known).encode())
    print(f"{place}: {len(known.entries)} entries, {console.size(place.stat().st_size)}")
    return 0
