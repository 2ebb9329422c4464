"""neoc emulator: what it says where nothing is prepared, and where something is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neoc.cli.app import run
from neoc.targets import guest


def test_status_without_a_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    assert run(["emulator", "status"]) == 1
    assert "neoc emulator prepare" in capsys.readouterr().out
    assert run(["emulator", "status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ready"] is False


def test_prepare_tells_what_is_missing_in_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(guest.shutil, "which", lambda name: None)
    assert run(["emulator", "prepare"]) == 3
    error = capsys.readouterr().err
    assert "mmdebstrap is not installed" in error
    assert "Traceback" not in error


def test_status_and_clear_of_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(folder: Path, parts: object, progress: object) -> None:
        (folder / "qemu").mkdir()
        (folder / "qemu/qemu-aarch64").touch()
        (folder / "facts.json").write_text('{"qemu": {"version": "10.0.13"}, "wheels": {"numpy": "2.4.6"}}')

    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(guest, "_make", make)
    assert run(["emulator", "prepare", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["qemu"], facts["wheels"]) == ("10.0.13", {"numpy": "2.4.6"})
    assert run(["emulator", "status"]) == 0
    assert "10.0.13" in capsys.readouterr().out
    assert run(["emulator", "clear"]) == 0
    assert run(["emulator", "status"]) == 1


def test_counting_what_is_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.neoc").write_bytes(b"no archive")
    assert run(["emulator", "count", str(tmp_path / "m.neoc"), "--data", str(tmp_path / "x.npz")]) == 2
    assert "Traceback" not in capsys.readouterr().err
