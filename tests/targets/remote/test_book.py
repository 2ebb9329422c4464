"""The book of devices: kept whole, its keys as ssh reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neoc.compile.errors import InvalidInput, OutputError, UsageError
from neoc.targets.remote.address import Address, HostKey
from neoc.targets.remote.book import Book, Device

KEY = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIJdOJ3Q2H8VZ6x0mG3bJm1Yy3m4n5o6p7q8r9s0t1u2v")


def device(name: str, **changes: object) -> Device:
    facts: dict[str, object] = {"address": Address("ssh", "pi", "board", 2222), "key": KEY, "python": "/opt/py"}
    return Device(name, **(facts | changes))  # type: ignore[arg-type]


def test_what_was_added_is_there_until_it_is_removed(tmp_path: Path) -> None:
    book = Book(tmp_path / "config")
    assert book.devices() == {}
    book.add(device("one", seen={"cpu": "x"}))
    book.add(device("two"))
    assert Book(tmp_path / "config").devices() == {"one": device("one"), "two": device("two")}
    assert book.get("one").seen == {"cpu": "x"}
    assert book.known_hosts.read_text() == "".join(f"neoc-device-{n} ssh-ed25519 {KEY.blob}\n" for n in ("one", "two"))
    assert book.remove("one") == device("one")
    assert list(book.devices()) == ["two"]
    assert "device-one" not in book.known_hosts.read_text()


def test_names_are_taken_once_and_must_be_known(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.add(device("one"))
    with pytest.raises(UsageError, match=r"a device named 'one' already.*device remove one"):
        book.add(device("one"))
    with pytest.raises(UsageError, match=r"no device named 'two'.*known are: one"):
        book.get("two")
    with pytest.raises(UsageError, match="no device named 'two'"):
        book.remove("two")
    assert list(book.devices()) == ["one"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": "neoc.devices/9", "devices": {}}',
        '{"format": "neoc.devices/1", "devices": {"x": {}}}',
        '{"format": "neoc.devices/1", "devices": {"-x": {}}}',
        '{"format": "neoc.devices/1", "devices": [1]}',
    ],
)
def test_a_damaged_book_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "devices.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"list of devices is damaged.*devices\.json"):
        Book(tmp_path).devices()


def test_an_address_that_was_written_in_by_hand_is_checked(tmp_path: Path) -> None:
    Book(tmp_path).add(device("one"))
    path = tmp_path / "devices.json"
    facts = json.loads(path.read_text())
    facts["devices"]["one"]["url"] = "ssh://-oProxyCommand=id"
    path.write_text(json.dumps(facts))
    with pytest.raises(InvalidInput, match="no host name"):
        Book(tmp_path).get("one")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("host_key", {"type": "ssh-ed25519", "key": 5}, "other types"),
        ("host_key", {"type": "ssh-ed25519", "key": "AAAA"}, "host key of one"),
        ("host_key", {"type": "ssh-rsa", "key": KEY.blob}, "host key of one"),
        ("python", 7, "other types"),
        ("seen", [1], "other types"),
    ],
)
def test_facts_that_were_written_in_by_hand_are_checked(tmp_path: Path, field: str, value: object, why: str) -> None:
    Book(tmp_path).add(device("one"))
    path = tmp_path / "devices.json"
    facts = json.loads(path.read_text())
    facts["devices"]["one"][field] = value
    path.write_text(json.dumps(facts))
    with pytest.raises(InvalidInput, match=f"list of devices is damaged.*{why}"):
        Book(tmp_path).get("one")


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Book(tmp_path / "file").add(device("one"))
