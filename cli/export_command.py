"""neoc export ARTIFACT -o DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neoc.cli import console
from neoc.compile.errors import OutputError


def command(
    artifact: Annotated[Path, typer.Argument(help="A .neoc file.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist or be empty.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """The plain ONNX and each engine's native files: no lock-in."""
    from neoc.compile.artifact import Artifact

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError("the export folder is not empty", where=str(output), fix="name a new folder with -o")
    files = Artifact.open(artifact).export(output)
    if as_json:
        console.print_json({"folder": str(output), "files": [str(f.relative_to(output)) for f in files]})
    else:
        rows = [(str(f.relative_to(output)), console.size(f.stat().st_size)) for f in files]
        console.table(str(output), ("file", "size"), rows)
    return 0
