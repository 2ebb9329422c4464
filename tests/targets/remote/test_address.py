"""What users write and hosts show: nothing of it may become an option, a shell word or another machine's key."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoc.compile.errors import UsageError
from neoc.targets.remote.address import Address, HostKey, check_fingerprint, check_name, host_keys, parse

BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ssh://pi@board", Address("ssh", "pi", "board")),
        ("ssh://board:2222", Address("ssh", "", "board", 2222)),
        ("ssh://a.b@10.0.0.7/", Address("ssh", "a.b", "10.0.0.7")),
        ("ssh://u@[fe80::1%eth0]:22", Address("ssh", "u", "fe80::1%eth0")),
        ("stand-in:///srv/x.json", Address("stand-in", "", "/srv/x.json")),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse(url) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("board", "scheme"),
        ("http://board", "scheme"),
        ("ssh://", "no host name"),
        ("ssh://-oProxyCommand=id", "no host name"),
        ("ssh://u@-lroot", "no host name"),
        ("ssh://-x@host", "no user name"),
        ("ssh://a b@host", "no user name"),
        ("ssh://u:secret@host", "holds a password"),
        ("ssh://u@host/path", "behind the host"),
        ("ssh://u@host?x", "behind the host"),
        ("ssh://u@host:0", "port 0"),
        ("ssh://u@host:99999", "ort"),
        ("ssh://u@ho$(id)st", "no host name"),
        ("ssh://u@host;id", "no host name"),
    ],
)
def test_other_addresses_are_refused(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        parse(url)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=60))
def test_whatever_is_taken_is_safe_on_a_command_line(text: str) -> None:
    try:
        address = parse(f"ssh://{text}")
    except UsageError:
        return
    for word in (address.host, address.user):
        assert not word.startswith("-")
        assert not set(word) & set(" \t\n;|&$`'\"\\<>()*?~#!{}")
    assert 0 < address.port < 65536


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "..", "a" * 64, "a\nb"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name"):
        check_name(name)


def test_keys_are_read_and_ordered() -> None:
    rsa = base64.b64encode(b"\0\0\0\x07ssh-rsa\0\0\0\x03\1\0\1").decode()
    text = (
        f"# a comment\nhost ssh-rsa {rsa}\n[host]:22 ssh-ed25519 {BLOB}\nhost ssh-ed25519 {BLOB}\nhost ssh-dss AAAA\n"
    )
    assert host_keys(text) == (HostKey("ssh-ed25519", BLOB), HostKey("ssh-rsa", rsa))


@pytest.mark.parametrize("line", ["h ssh-ed25519", "h ssh-rsa " + BLOB, "h ssh-ed25519 !!", "h ssh-ed25519 QUJD", ""])
def test_what_is_no_key_is_passed_over(line: str) -> None:
    assert host_keys(line) == ()


@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    for key in host_keys(text):
        assert key.fingerprint.startswith("SHA256:")


@pytest.mark.needs("ssh-keygen")
def test_the_fingerprint_is_ssh_keygens(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    done = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "k.pub")], capture_output=True, text=True, check=True)
    (key,) = host_keys("host " + (tmp_path / "k.pub").read_text())
    assert key.fingerprint == done.stdout.split()[1]
    assert check_fingerprint(key.fingerprint) == key.fingerprint


@pytest.mark.parametrize("text", ["", "SHA256:", "MD5:00:11", "SHA256:" + "a" * 42, "SHA256:" + "a" * 43 + "="])
def test_other_fingerprints_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="fingerprint cannot be read"):
        check_fingerprint(text)
