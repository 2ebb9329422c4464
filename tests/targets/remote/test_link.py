"""A connection, over the stand-in of ssh: what travels, what is refused, what every failure is called."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from artifact_samples import EVIDENCE, FACTOR, MEMBERS, draft, step, variant
from remote_devices import DENSE, FEEDS, KEY, OTHER, FakeDevice, until
from sshd import wrapped_python

from neoc.compile.artifact import pack
from neoc.compile.errors import (
    DeviceFull,
    DeviceLost,
    DeviceUnreachable,
    HostKeyMismatch,
    InvalidArtifact,
    NeocError,
    Unavailable,
    UsageError,
    WrongDevice,
)
from neoc.compile.wire import Message
from neoc.targets import open_artifact
from neoc.targets.host import HostFacts, detect, machine
from neoc.targets.remote import ssh
from neoc.targets.remote.link import DeviceWorker, open_on

pytestmark = pytest.mark.skipif(machine() != "x86_64", reason="the sample artifact is for x86-64")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    monkeypatch.setenv("NEOC_ALLOW_STANDIN", "1")
    monkeypatch.setenv("NEOC_CONFIG_DIR", str(tmp_path / "config"))
    return FakeDevice(tmp_path)


def connection(fake: FakeDevice, python: str = sys.executable) -> DeviceWorker:
    book = fake.in_book(python)
    return DeviceWorker(book.get("fake"), book.known_hosts)


# ---- what a connection does --------------------------------------------------------------------------


def test_an_artifact_computes_there_what_it_computes_here(fake: FakeDevice) -> None:
    fake.in_book()
    with open_on("fake", DENSE, threads=1) as session:
        assert len(fake.sessions) == 1
        there = session.run(FEEDS)
        moved = session.run({"x": FEEDS["x"] * 3})
        assert session.stamp.startswith("stand-in device fake")
    with open_artifact(DENSE) as here:
        np.testing.assert_array_equal(there["y"], here.run(FEEDS)["y"])
    assert not np.array_equal(there["y"], moved["y"])
    assert fake.sessions == []


def test_the_device_says_what_it_is(fake: FakeDevice) -> None:
    with connection(fake) as worker:
        assert worker.host == HostFacts.from_dict(detect().as_dict())
        assert worker.facts["standin"]
        assert worker.facts["fingerprint"]["digest"]
        assert worker.memory()["rss"] > 0


def test_two_files_of_one_name_are_two_files(fake: FakeDevice, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.bin").write_text(place * 10)
    with connection(fake) as worker:
        numbers = [worker.send(tmp_path / place / "x.bin") for place in ("a", "b")]
        (folder,) = (fake.cache / "device").glob("session-*")
        assert [(folder / "files" / str(n) / "x.bin").read_text() for n in numbers] == ["a" * 10, "b" * 10]
    assert fake.sessions == []


# ---- what is not done --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["build", "open", "open_source", "open_plain", "open_artifact", "drive", "unpickle"])
def test_a_device_knows_no_other_work(fake: FakeDevice, kind: str) -> None:
    from neoc.targets.remote.device_serve import DeviceOperations

    answer = DeviceOperations().answer(Message(kind, {}))
    assert answer.kind == "error"
    assert "does not know" in answer.body["text"]


def test_an_artifact_that_is_not_the_named_one_is_not_opened(
    fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte changes on the way, or the file between naming and sending."""
    damaged = tmp_path / "m.neoc"
    data = bytearray(DENSE.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    from neoc.targets.remote import link

    with connection(fake) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(
                link.Artifact, "open", lambda path: type("Named", (), {"content_digest": "sha256:" + "0" * 64})
            )
            with pytest.raises(InvalidArtifact, match="not the one that was named"):
                worker.send(DENSE)
        with pytest.raises(InvalidArtifact):
            worker.send(damaged)
        number = worker._call(Message("receive", {"name": "m.neoc", "size": 3, "content_digest": "x"}), "").body["file"]
        chunk = Message("chunk", {"file": number, "last": "0" * 64}, {"bytes": np.zeros(3, np.uint8)})
        with pytest.raises(InvalidArtifact, match="changed on its way"):
            worker._call(chunk, "")
        with pytest.raises(UsageError, match="was not sent"):
            worker.open_sent(number, "m.neoc", None, None, {})
        data_number = worker.send(fake.file)
        with pytest.raises(UsageError, match="was not sent"):
            worker.open_sent(data_number, "m.neoc", None, None, {})


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "-x", "a" * 200, "x\n"])
def test_names_that_would_leave_the_folder_are_refused(fake: FakeDevice, name: str) -> None:
    from neoc.targets.remote.device_serve import DeviceOperations

    answer = DeviceOperations().answer(Message("receive", {"name": name, "size": 1, "content_digest": None}))
    assert "cannot be taken" in answer.body["text"]


def test_an_artifact_for_another_chip_is_refused_before_anything_is_sent(fake: FakeDevice, tmp_path: Path) -> None:
    needs = [{"kind": "arch", "name": "vax", "version": "", "match": "any"}]
    path = pack(
        tmp_path / "m.neoc",
        draft(variant(step({FACTOR: next(iter(MEMBERS))})) | {"requirements": needs}),
        MEMBERS,
        EVIDENCE,
    ).path
    fake.in_book()
    sent: list[str] = []
    with pytest.raises(WrongDevice, match="holds code for vax"):
        open_on("fake", path, progress=lambda stage, detail: sent.append(detail))
    assert sent == []
    assert fake.sessions == []


def test_a_stand_in_needs_leave(fake: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = connection(fake)
    monkeypatch.delenv("NEOC_ALLOW_STANDIN")
    with pytest.raises(Unavailable, match="for tests alone"), worker:
        _ = worker.facts


# ---- failures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("ssh: connect to host b port 22: Connection refused", DeviceUnreachable, "Connection refused"),
        ("ssh: connect to host b port 22: Connection timed out", DeviceUnreachable, "timed out"),
        ("ssh: Could not resolve hostname b: Name or service not known", DeviceUnreachable, "resolve"),
        ("pi@b: Permission denied (publickey).", DeviceUnreachable, "ssh-copy-id"),
        ("sh: 1: exec: /opt/py: not found", DeviceUnreachable, "cannot be run there"),
        ("/usr/bin/python3: No module named neoc", DeviceUnreachable, "has no neoc"),
        ("Host key verification failed.", HostKeyMismatch, "nothing was sent"),
        ("something new", DeviceUnreachable, "something new"),
    ],
)
def test_what_ssh_complains_of_has_a_name(fake: FakeDevice, text: str, error: type[NeocError], word: str) -> None:
    fake.write(fault={"refuse": text})
    with connection(fake) as worker, pytest.raises(error, match="device 'fake'") as caught:
        _ = worker.facts
    assert type(caught.value) is error
    assert word in str(caught.value)
    assert caught.value.exit_status == 3


def test_a_changed_host_key_ends_it_before_anything_is_sent(fake: FakeDevice) -> None:
    worker = connection(fake)
    fake.write(key=OTHER)
    with worker, pytest.raises(HostKeyMismatch, match=f"does not hold the host key {KEY.fingerprint}"):
        _ = worker.facts
    assert not fake.cache.exists()


def test_a_key_that_is_gone_from_the_list_is_no_key(fake: FakeDevice) -> None:
    worker = connection(fake)
    worker._known_hosts.write_text("")
    with worker, pytest.raises(HostKeyMismatch):
        _ = worker.facts
    assert not fake.cache.exists()


def test_a_shell_that_talks_is_told_of(fake: FakeDevice) -> None:
    fake.write(fault={"banner": "Welcome to the board! Last login: never.\n"})
    with connection(fake) as worker, pytest.raises(DeviceUnreachable, match=r"Welcome.*\.bashrc"):
        _ = worker.facts


@pytest.mark.parametrize("bytes_sent", [100, 3000])
def test_a_connection_that_breaks_while_something_is_sent(fake: FakeDevice, bytes_sent: int) -> None:
    worker = connection(fake)
    fake.write(fault={"cut_after": bytes_sent})
    with worker, pytest.raises(DeviceLost, match=r"sending dense-1\.1\.neoc: the device was lost.*Broken pipe"):
        worker.send(DENSE)
    assert until(lambda: fake.sessions == []), "the guardian clears the folder away"


def test_an_engine_that_crashes_there(fake: FakeDevice) -> None:
    import os
    import signal

    fake.in_book()
    with open_on("fake", DENSE) as session:
        os.kill(session.worker.facts["pid"], signal.SIGSEGV)
        with pytest.raises(DeviceLost, match=r"running with dense.*Segmentation fault"):
            session.run(FEEDS)
    assert until(lambda: fake.sessions == [])


def test_a_device_without_room_says_so(fake: FakeDevice, tmp_path: Path) -> None:
    python = wrapped_python(tmp_path, "ulimit -f 4")  # blocks of 512 bytes
    with connection(fake, str(python)) as worker:
        with pytest.raises(DeviceFull, match=r"no room.*grow past its limit, where 4,295 bytes were sent"):
            worker.send(DENSE)
        (folder,) = (fake.cache / "device").glob("session-*")
        assert list((folder / "files").iterdir()) == [], "nothing of it was kept"
        assert worker.memory()["rss"] > 0, "the connection is still of use"
    assert fake.sessions == []


def test_room_is_asked_for_before_anything_is_sent(fake: FakeDevice) -> None:
    with connection(fake) as worker, pytest.raises(DeviceFull, match="no space is left"):
        worker._call(Message("receive", {"name": "x", "size": 1 << 60, "content_digest": None}), "sending")


def test_a_device_whose_disk_cannot_be_written_at_all(fake: FakeDevice, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    fake.write(NEOC_CACHE_DIR=str(tmp_path / "file"))
    with connection(fake) as worker, pytest.raises(DeviceFull, match="cannot be written"):
        _ = worker.facts


def test_another_neoc_there_is_refused(fake: FakeDevice, tmp_path: Path) -> None:
    info = tmp_path / "other" / "neoc-9.9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: neoc\nVersion: 9.9.0\n")
    fake.write(PYTHONPATH=str(tmp_path / "other"))
    with (
        connection(fake) as worker,
        pytest.raises(DeviceUnreachable, match=r"it has neoc 9\.9\.0 .*pip install FILE"),
    ):
        _ = worker.facts
    assert until(lambda: fake.sessions == [])


def test_a_python_without_neoc_is_named(fake: FakeDevice, tmp_path: Path) -> None:
    python = wrapped_python(tmp_path)
    python.write_text(python.read_text().replace(sys.executable, f"{sys.executable} -S"))
    with connection(fake, str(python)) as worker, pytest.raises(DeviceUnreachable, match="has no neoc"):
        _ = worker.facts


# ---- the command line of ssh ---------------------------------------------------------------------------


def test_nothing_in_a_configuration_file_can_loosen_what_is_demanded(fake: FakeDevice, tmp_path: Path) -> None:
    import json
    import subprocess

    from neoc.targets.standins import ssh as standin

    words = ssh.command(fake.device("py thon"), tmp_path / "known hosts", ["py thon", "-m", "x"])
    assert words[-1] == "exec 'py thon' -m x"
    assert words[-3] == "--"
    for name, value in standin.DEMANDED.items():
        at = words.index(f"{name}={value}")
        left_out = words[: at - 1] + words[at + 1 :]
        done = subprocess.run(left_out, capture_output=True, text=True, check=False)
        assert (done.returncode, f"neoc must say {name}={value}" in done.stderr) == (255, True), name
    assert json.loads(fake.file.read_text())["host_key"].endswith(KEY.blob)


@pytest.mark.needs("ssh")
def test_the_real_client_takes_every_option(tmp_path: Path) -> None:
    """`ssh -G` parses, and says what holds in the end; a user's own configuration comes after."""
    import subprocess

    from neoc.targets.remote.address import parse
    from neoc.targets.remote.book import Device

    device = Device("box", parse("ssh://pi@board:2222"), KEY, "python3", str(tmp_path / "id"))
    loose = tmp_path / "config"
    lax = ("StrictHostKeyChecking no", "ForwardAgent yes", "PermitLocalCommand yes", "RemoteCommand id", "Tunnel yes")
    loose.write_text("\n ".join(["Host *", *lax]) + "\n")
    words = ssh.command(device, tmp_path / "known_hosts", ["true"])
    done = subprocess.run([words[0], "-G", "-F", str(loose), *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert (found["forwardagent"], found["permitlocalcommand"], found["batchmode"]) == ("no", "no", "yes")
    assert found["tunnel"] in ("false", "no")
    assert found.get("remotecommand", "none") == "none"
    assert (found["hostname"], found["user"], found["port"]) == ("board", "pi", "2222")
    assert found["userknownhostsfile"] == str(tmp_path / "known_hosts")
    assert found["hostkeyalias"] == "neoc-device-box"
