"""The table of cold starts: the page that it is written into, and the mean below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.bench import cold


def starts(model: str, own: float, peer: float) -> cold.Starts:
    memory = {s: {"anonymous": 1e6, "uss": 2e6, "uss_beside_a_twin": 1e6, "rss": 3e6} for s in cold.SUBJECTS}
    times = {"neoc": [own], "onnxruntime": [peer]}
    return cold.Starts(model, "onnxruntime/mapped", 0.1, times, {s: [0.1] for s in cold.SUBJECTS}, memory)


def test_the_page_has_the_places_that_the_table_goes_to() -> None:
    page = (Path(__file__).parents[2] / "docs/bound-and-cold.md").read_text()
    text = cold.written(page, "the table")
    assert cold.written(text, "another") == cold.written(page, "another")  # writing twice leaves one table
    assert text.split(cold.MARKS[0])[0] == page.split(cold.MARKS[0])[0]
    assert text.split(cold.MARKS[1])[1] == page.split(cold.MARKS[1])[1]


def test_the_mean_is_geometric_and_rows_have_the_columns_of_the_head() -> None:
    text = cold.table([starts("a", 0.2, 0.1), starts("b", 0.1, 0.8)])
    assert "geometric mean: 0.50 " in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {len(cold.COLUMNS) + 1}


@pytest.mark.parametrize("page", ["", cold.MARKS[0], cold.MARKS[1] + cold.MARKS[0], "".join(cold.MARKS) * 2])
def test_a_page_without_its_marks_is_refused_before_anything_is_measured(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cold, "measure", lambda *_: pytest.fail("measured"))
    file = tmp_path / "page.md"
    file.write_text(page)
    with pytest.raises(SystemExit) as ended:
        cold.main(["ppocr_cls", "--write", str(file)])
    assert ended.value.code == 2
    assert "each once" in capsys.readouterr().err
    assert file.read_text() == page
