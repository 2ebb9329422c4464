"""What is sent to a device: every file of a folder, each by a name of its own there."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.bench.on_device import _files
from neoc.compile.errors import InvalidInput


def test_names_that_become_alike_stay_two(tmp_path: Path) -> None:
    for name in ("a b.jpg", "a_b.jpg"):
        (tmp_path / name).write_text(name)
    assert [(name, path.name) for name, path in _files(tmp_path)] == [
        ("000000-a b.jpg", "a b.jpg"),
        ("000001-a_b.jpg", "a_b.jpg"),
    ]


def test_a_file_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_text("")
    assert _files(tmp_path / "d.npz") == [("d.npz", tmp_path / "d.npz")]


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no file"):
        _files(tmp_path)
