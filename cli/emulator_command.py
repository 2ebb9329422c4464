"""neoc emulator prepare | status | count | clear"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neoc.cli import console

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The ARM file system in which qemu runs what was compiled for ARM."
)

_JSON = typer.Option("--json", help="One JSON object on standard output.")


@app.command()
def prepare(as_json: Annotated[bool, _JSON] = False) -> int:
    """Make it, once: Debian's Python, the engines' ARM wheels, a qemu that runs them (some 250 MB, half a minute)."""
    from neoc.targets import guest

    made = guest.prepare(console.note)
    _show(_facts(made), as_json)
    return 0


@app.command()
def status(as_json: Annotated[bool, _JSON] = False) -> int:
    """Whether it is there, with the versions in it; 1 where it is not."""
    from neoc.targets import guest

    found = guest.prepared()
    if isinstance(found, str):
        if as_json:
            console.print_json({"ready": False, "why": found})
        else:
            print(found)
        return 1
    _show(_facts(found), as_json)
    return 0


@app.command()
def clear() -> int:
    """Remove it, and those of earlier versions."""
    from neoc.targets import guest

    removed = guest.remove()
    print(f"removed {len(removed)} file systems")
    return 0


@app.command()
def count(
    artifact: Annotated[Path, typer.Argument(help="A .neoc file for an ARM target.", show_default=False)],
    data: Annotated[Path, typer.Option(help="An .npz whose arrays are named like the inputs.")],
    as_json: Annotated[bool, _JSON] = False,
) -> int:
    """Instructions of one inference on the first sample, by a plugin of qemu's. A count, never a time."""
    from neoc.compile.artifact import Artifact
    from neoc.compile.inputs import load_data
    from neoc.targets import instructions

    opened = Artifact.open(artifact)
    found = instructions.count(opened, load_data(data, opened.signature)[0])
    if as_json:
        console.print_json({"instructions": found.count, "cpu": found.cpu, "by": dict(found.by)})
        return 0
    rows = [(name, f"{number:,}") for name, number in found.by.items()]
    note = f"{found.count:,} without the interpreter; counts of a {found.cpu}, which say nothing of time"
    console.table("instructions of one inference", ("code of", "instructions"), rows, note)
    return 0


def _facts(made: Any) -> dict[str, Any]:
    return {"ready": True, "folder": str(made.folder), "qemu": made.qemu_version, "wheels": made.facts["wheels"]}


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.print_json(facts)
        return
    rows = [("folder", facts["folder"]), ("qemu", facts["qemu"]), *facts["wheels"].items()]
    console.table("ARM file system", ("part", "version"), rows)
