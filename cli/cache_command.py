"""neoc cache ls | clear"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from neoc.cli import console

if TYPE_CHECKING:
    from neoc.compile.cache import BuildCache

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List or clear the build cache.")


@app.command()
def ls(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """What lies in the cache, the last used first."""
    cache = _cache()
    entries = cache.entries()
    if as_json:
        console.print_json({"folder": str(cache.root), "entries": [e.as_dict() for e in entries]})
        return 0
    rows = [(e.digest[:12], e.key.get("engine", ""), console.size(e.bytes), e.last_used) for e in entries]
    console.table(str(cache.root), ("entry", "engine", "size", "last used"), rows)
    return 0


@app.command()
def clear() -> int:
    """Remove every cached build."""
    cache = _cache()
    removed = len(cache.clear())
    print(f"removed {removed} builds from {cache.root}")
    kept = len(cache.entries())
    if kept:
        print(f"{kept} builds are in use and stay")
    return 0


def _cache() -> BuildCache:
    from neoc.compile.cache import BuildCache
    from neoc.compile.settings import Settings

    settings = Settings.read()
    return BuildCache(settings.cache_dir / "builds", settings.cache_limit_bytes)
