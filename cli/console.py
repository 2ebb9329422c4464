"""What every command says and how: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def print_json(data: Mapping[str, Any]) -> None:
    """The one JSON object of --json."""
    json.dump(data, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")


def error(message: str) -> None:
    """One paragraph on standard error."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True).print(Text.assemble(("error: ", "bold red"), message))
    else:
        print(f"error: {message}", file=sys.stderr)


def note(message: str) -> None:
    print(message, file=sys.stderr)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """A table on standard output; numbers to the right. Full width where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title or None, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(_looks_numeric(row[index]) for row in rows)
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(str(cell)) for cell in row))
    out = Console() if sys.stdout.isatty() else Console(width=160, no_color=True)
    out.print(grid)
    if note:
        out.print(Text(note))


def _looks_numeric(cell: object) -> bool:
    text = str(cell)
    return text in ("", "-") or text.lstrip("+-")[:1].isdigit()


class Progress:
    """Told of (stage, detail). A spinner line on a terminal, one plain line a step elsewhere."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._status: Any = None

    def __call__(self, stage: str, detail: str) -> None:
        if not self._enabled:
            return
        if self._status is None:
            print(f"{stage}: {detail}", file=sys.stderr, flush=True)
        else:
            from rich.markup import escape

            self._status.update(f"[bold]{escape(stage)}[/bold] {escape(detail)}")

    @contextmanager
    def live(self, title: str) -> Iterator[Progress]:
        """Show progress while the block runs."""
        if not (self._enabled and sys.stderr.isatty()):
            yield self
            return
        from rich.console import Console

        with Console(stderr=True).status(title) as status:
            self._status = status
            try:
                yield self
            finally:
                self._status = None


def seconds(ns: float) -> str:
    """A duration of `ns` nanoseconds with three digits and a fitting unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def size(count: float) -> str:
    """A number of bytes with a binary unit."""
    for unit, step in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count:.0f} B"


def count(value: float) -> str:
    """A large number with a decimal unit: 2.99 G."""
    for unit, step in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= step:
            return f"{value / step:.3g} {unit}"
    return f"{value:.0f}"
