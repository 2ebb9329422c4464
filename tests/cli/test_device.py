"""neoc device, run --on and bench --on over the stand-in of ssh: what scripts see, and that a stand-in never counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remote_devices import DENSE, FEEDS, KEY, OTHER, FakeDevice, write_peaks

from neoc.cli.app import run
from neoc.targets.host import machine

pytestmark = pytest.mark.skipif(machine() != "x86_64", reason="the sample artifact is for x86-64")
SHORT = ("--seconds", "0.3", "--blocks", "1", "--sets", "1", "--max-load", "100")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setenv("NEOC_CONFIG_DIR", str(tmp_path / "config"))
    return FakeDevice(tmp_path)


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """The one JSON object on standard output."""
    return json.loads(capsys.readouterr().out)


def added(fake: FakeDevice) -> None:
    words = ["device", "add", "fake", fake.url, "--python", sys.executable, "--accept-host-key", KEY.fingerprint]
    assert run(words) == 0


def test_json_of_every_subcommand(fake: FakeDevice, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["device", "add", "fake", fake.url, "--python", sys.executable, "--json"]
    assert run(words) == 2
    assert said(capsys)["error"]["what"] == "nobody has confirmed the device's host key"
    assert run([*words, "--accept-host-key", OTHER.fingerprint]) == 3
    assert said(capsys)["error"]["kind"] == "HostKeyMismatch"
    assert run([*words, "--accept-host-key", KEY.fingerprint]) == 0
    facts = said(capsys)
    assert facts["host_key"]["fingerprint"] == KEY.fingerprint
    assert facts["seen"]["arch"] == machine()
    assert run([*words, "--accept-host-key", KEY.fingerprint]) == 2
    assert "a device named 'fake' already" in said(capsys)["error"]["message"]
    assert run(["device", "list", "--json"]) == 0
    assert list(said(capsys)["devices"]) == ["fake"]
    assert run(["device", "check", "fake", "--json"]) == 0
    assert said(capsys)["swept"] == []
    assert run(["device", "remove", "fake", "--json"]) == 0
    assert said(capsys)["removed"] == "fake"
    assert run(["device", "list"]) == 0
    assert "No device was added" in capsys.readouterr().out


def test_a_device_without_neoc_is_not_added(
    fake: FakeDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["device", "add", "fake", fake.url, "--python", "/no/such/python", "--accept-host-key", KEY.fingerprint]
    assert run(words) == 3
    assert "cannot be run there" in capsys.readouterr().err
    assert run(["device", "list", "--json"]) == 0
    assert said(capsys) == {"devices": {}}
    assert not (tmp_path / "config" / "known_hosts").exists()


def test_a_run_writes_what_the_device_computed(
    fake: FakeDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(data, x=np.stack([FEEDS["x"], FEEDS["x"] + 1]))
    added(fake)
    capsys.readouterr()
    assert run(["run", str(DENSE), "--data", str(data), "-o", str(out), "--on", "fake", "--json"]) == 0
    facts = said(capsys)
    assert facts["samples"] == 2
    assert facts["stamp"].startswith("stand-in device")
    with np.load(out) as arrays:
        assert arrays["y"].shape == (2, 2, 3)
        assert not np.array_equal(arrays["y"][0], arrays["y"][1])


def test_a_failure_there_writes_nothing_here(
    fake: FakeDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(data, x=FEEDS["x"][None])
    added(fake)
    fake.write(fault={"cut_after": 2500})
    before = sorted(tmp_path.iterdir())
    assert run(["run", str(DENSE), "--data", str(data), "-o", str(out), "--on", "fake"]) == 3
    assert "the device was lost" in capsys.readouterr().err
    assert sorted(path for path in tmp_path.iterdir() if path != fake.cache) == [p for p in before if p != fake.cache]


def test_what_a_stand_in_measures_never_counts(
    fake: FakeDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added(fake)
    write_peaks(fake.cache)
    out, ledger = tmp_path / "b.json", tmp_path / "ledger.jsonl"
    assert run(["bench", str(DENSE), "--on", "fake", "-o", str(out), *SHORT, "--ledger", str(ledger)]) == 2
    assert "stand-in result" in capsys.readouterr().err
    assert not ledger.exists()
    assert json.loads(out.read_text())["results"][0]["level"] == "stand-in"
    assert run(["compare", str(out), str(out)]) == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["bench", f"onnxruntime:{DENSE}", "--on", "fake"], "a device runs artifacts alone"),
        (["bench", str(DENSE), "--on", "nobody"], "no device named 'nobody'"),
        (["bench", "--suite", "zoo", "--on", "fake"], "a suite runs here"),
        (["device", "check", "nobody"], "no device named 'nobody'"),
        (["device", "add", "x", "ssh://-oProxyCommand=id"], "no host name"),
        (["device", "add", "-x", "ssh://board"], "See `neoc device"),
        (["device", "add", "x", "ssh://board", "--identity", "/no/key"], "no such key file"),
        (["device", "add", "x", "ssh://board", "--accept-host-key", "abc"], "fingerprint cannot be read"),
    ],
)
def test_words_that_cannot_be_used(
    fake: FakeDevice, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "fake" in words:
        added(fake)
    assert run(words) == 2
    assert why in capsys.readouterr().err
    assert fake.sessions == []
