"""Tables that commands put into pages of the documentation, between two marks."""

from __future__ import annotations

from pathlib import Path

from neoc.compile.errors import InvalidInput
from neoc.compile.files import write_atomically


def between(page: Path, marks: tuple[str, str], text: str) -> None:
    """Replace what stands between `marks` in `page` by `text`. Raises InvalidInput where a mark is not there once."""
    whole = page.read_text()
    if any(whole.count(mark) != 1 for mark in marks) or whole.index(marks[0]) > whole.index(marks[1]):
        raise InvalidInput(
            "the page has no place for the table",
            where=str(page),
            why=f"it must hold {marks[0]!r} and then {marks[1]!r}, once each",
            fix="add the two lines",
        )
    head, rest = whole.split(marks[0])
    write_atomically(page, f"{head}{marks[0]}\n\n{text}\n\n{marks[1]}{rest.split(marks[1])[1]}".encode())
