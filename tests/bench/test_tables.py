"""Tables between marks: replaced whole, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.bench.tables import between
from neoc.compile.errors import InvalidInput

MARKS = ("<!-- a -->", "<!-- b -->")


def test_what_stands_between_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("head\n<!-- a -->\nold\n<!-- b -->\ntail\n")
    between(page, MARKS, "| new |")
    between(page, MARKS, "| newer |")
    assert page.read_text() == "head\n<!-- a -->\n\n| newer |\n\n<!-- b -->\ntail\n"


@pytest.mark.parametrize("text", ["", "<!-- a -->", "<!-- b --> <!-- a -->", "<!-- a --><!-- a --><!-- b -->"])
def test_a_page_without_the_place_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(InvalidInput, match="no place for the table"):
        between(page, MARKS, "| new |")
    assert page.read_text() == text
