"""The table of exact speed names what failed, keeps what was measured, and ends with an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neoc.bench import exact_table
from neoc.compile.errors import InvalidInput


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fakes of fetching and measuring: `no-file` cannot be fetched, `wrong` cannot be measured."""
    seen: list[str] = []

    def fetched(name: str, folder: Path) -> tuple[Path, Path]:
        if name == "no-file":
            raise InvalidInput("there is no such model", where=name)
        np.savez(folder / "data.npz", x=np.zeros((2, 3), np.float32))
        return folder / "m.onnx", folder / "data.npz"

    def measure(name: str, *rest: Any) -> dict[str, str]:
        seen.append(name)
        if name == "wrong":
            raise InvalidInput("it computes something else", where=name)
        return {"model": name}

    monkeypatch.setattr(exact_table, "fetched", fetched)
    monkeypatch.setattr(exact_table, "measured", measure)
    monkeypatch.setattr(exact_table, "row", lambda result: [result["model"]])
    monkeypatch.setattr(exact_table, "table", lambda results: "\n".join(r["model"] for r in results))
    return seen


def page(folder: Path) -> Path:
    path = folder / "page.md"
    path.write_text("before\n" + "\n\nold\n\n".join(exact_table.MARKS) + "\nafter\n")
    return path


def test_failing_models_are_named_and_the_others_measured(
    measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, records = page(tmp_path), tmp_path / "records.json"
    with pytest.raises(SystemExit) as ended:
        exact_table.main(["no-file", "wrong", "right", "--write", str(written), "-o", str(records)])
    assert ended.value.code == "2 of the models failed: no-file, wrong"  # a text: the process ends with 1
    assert measured == ["wrong", "right"]
    assert json.loads(records.read_text()) == [{"model": "right"}]
    text = written.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "right\n\nNot measured in this run, because they failed: no-file, wrong." in text
    assert "there is no such model" in capsys.readouterr().out


def test_where_nothing_fails_it_ends_well(measured: list[str], tmp_path: Path) -> None:
    written = page(tmp_path)
    exact_table.main(["right", "--write", str(written)])
    assert measured == ["right"]
    assert "right" in written.read_text()
    assert "Not measured" not in written.read_text()
