"""The table of static variants: a real model through the whole of it, and the page that it is written into."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.bench import static_table


@pytest.mark.slow
@pytest.mark.needs("openvino")
def test_a_model_with_open_sizes_is_measured_both_ways(
    zoo: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{static_table.MARKS[0]}\nold\n{static_table.MARKS[1]}\nbehind\n")
    asked = ["silero_vad_16k_sequence", "--seconds", "1", "--race-seconds", "0.5", "--write", str(page)]
    static_table.main(asked)
    shown = capsys.readouterr().out
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nbehind\n")
    assert "old" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| silero")]
    assert row in shown
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == len(static_table._HEAD)
    assert all(float(cells[i]) > 0 for i in (3, 4, 5))


def test_the_page_has_the_places_that_the_table_goes_to() -> None:
    page = (Path(__file__).parents[2] / "docs/bound-and-cold.md").read_text()
    assert [page.count(mark) for mark in static_table.MARKS] == [1, 1]
    assert page.index(static_table.MARKS[0]) < page.index(static_table.MARKS[1])


def test_every_row_has_the_columns_of_the_head() -> None:
    text = static_table.table([["m", "a", "b", "1", "2", "3", "1.5 [1, 2]", "1 [1, 1]"]])
    assert {line.count("|") for line in text.splitlines()} == {len(static_table._HEAD) + 1}
