"""Through the real sshd, on the loopback interface: what the stand-in cannot show."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from remote_devices import DENSE, FEEDS, until, write_peaks
from sshd import SSHD, Sshd, command, serving

from neoc.cli.app import run
from neoc.compile.errors import DeviceLost, DeviceUnreachable, HostKeyMismatch
from neoc.targets import open_artifact
from neoc.targets.host import machine
from neoc.targets.remote import address, ssh
from neoc.targets.remote.book import Book, Device
from neoc.targets.remote.link import DeviceWorker, open_on

pytestmark = [
    pytest.mark.needs("ssh", "ssh-keyscan"),
    pytest.mark.skipif(not Path(SSHD).exists(), reason="needs sshd: openssh-server is not installed"),
    pytest.mark.skipif(machine() != "x86_64", reason="the sample artifact is for x86-64"),
]
SHORT = ("--seconds", "0.5", "--blocks", "1", "--sets", "1", "--max-load", "100")


@pytest.fixture(scope="module", autouse=True)
def _sshd_works(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where this machine lets no sshd of a test's own serve its user: a sandbox, a locked account."""
    import subprocess

    folder = tmp_path_factory.mktemp("probe")
    try:
        with serving(folder) as server:
            where = address.parse(server.url)
            known = folder / "known_hosts"
            known.write_text("".join(f"neoc-device-x {key.type} {key.blob}\n" for key in ssh.scan(where)))
            device = Device("x", where, ssh.scan(where)[0], "true", str(server.identity))
            done = subprocess.run(
                ssh.command(device, known, ["true"]), capture_output=True, text=True, timeout=60, check=False
            )
            why = done.stderr.strip() if done.returncode else ""
    except (RuntimeError, OSError) as error:
        why = str(error)
    if why:
        pytest.skip(f"no sshd can serve its own user here: {why[-200:]}")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEOC_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def box(tmp_path: Path, config: Path) -> Iterator[Sshd]:
    """This machine as a device named 'box', in the user's book."""
    with serving(tmp_path / "sshd") as server:
        (key,) = [k for k in ssh.scan(address.parse(server.url)) if k.fingerprint == server.fingerprint()]
        where = address.parse(server.url)
        Book.of_user().add(Device("box", where, key, sys.executable, str(server.identity)))
        yield server


def test_added_run_and_removed(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user does it: the fingerprint is not confirmed by default, then it is; outputs equal those of here."""
    data, there, here = tmp_path / "in.npz", tmp_path / "there.npz", tmp_path / "here.npz"
    np.savez(data, x=FEEDS["x"][None])
    with serving(tmp_path / "sshd") as server:
        add = ["device", "add", "box", server.url, "--python", sys.executable, "--identity", str(server.identity)]
        assert run(add) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert f"add --accept-host-key {server.fingerprint()}" in told
        assert Book.of_user().devices() == {}
        assert run([*add, "--accept-host-key", "SHA256:" + "A" * 43]) == 3
        assert "does not hold that host key" in capsys.readouterr().err
        assert run([*add, "--accept-host-key", server.fingerprint()]) == 0
        assert run(["run", str(DENSE), "--data", str(data), "-o", str(there), "--on", "box"]) == 0
        assert (server.sessions, server.alive()) == ([], [])
        assert run(["device", "remove", "box"]) == 0
        assert run(["run", str(DENSE), "--data", str(data), "-o", str(there), "--on", "box"]) == 2
    assert run(["run", str(DENSE), "--data", str(data), "-o", str(here)]) == 0
    with np.load(there) as a, np.load(here) as b:
        np.testing.assert_array_equal(a["y"], b["y"])
        assert np.ptp(a["y"]) > 0


def test_a_connection_that_is_killed_in_a_run(box: Sshd) -> None:
    with open_on("box", DENSE) as session:
        assert len(box.sessions) == 1
        timer = threading.Timer(0.5, box.cut)
        timer.start()
        try:
            with pytest.raises(DeviceLost, match=r"timing .* the device was lost"):
                session.worker.time(FEEDS, 1 << 28)
        finally:
            timer.join()
        with pytest.raises(Exception, match="is gone"):
            session.run(FEEDS)
    assert until(lambda: box.sessions == [] and box.alive() == []), "the guardian on the device cleans up"
    with open_on("box", DENSE) as session:  # and it is of use again
        assert session.run(FEEDS)["y"].shape == (2, 3)


def test_a_client_that_is_killed_leaves_nothing_there(box: Sshd) -> None:
    worker = DeviceWorker(Book.of_user().get("box"))
    worker.send(DENSE)
    assert len(box.sessions) == 1
    child = worker._child
    assert child is not None
    child.kill()
    worker.close()
    assert until(lambda: box.sessions == [] and box.alive() == [])


def test_a_changed_host_key(box: Sshd) -> None:
    box.stop()
    box.new_host_key()
    box.start()
    with pytest.raises(HostKeyMismatch, match="nothing was sent to it"):
        open_on("box", DENSE)
    assert not box.cache.exists()
    assert "Accepted" not in (box.folder / "sshd.log").read_text(), "the client left before it showed who it is"


def test_a_device_that_is_off(box: Sshd) -> None:
    box.stop()
    with pytest.raises(DeviceUnreachable, match="Connection refused"):
        open_on("box", DENSE)


def test_a_key_that_opens_nothing(box: Sshd, tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    book = Book.of_user()
    device = book.remove("box")
    book.add(Device("box", device.address, device.key, device.python, str(tmp_path / "other")))
    with pytest.raises(DeviceUnreachable, match=r"Permission denied.*ssh-copy-id"):
        open_on("box", DENSE)


def test_a_benchmark_runs_there_and_its_record_comes_back(box: Sshd, tmp_path: Path) -> None:
    from neoc.bench import record
    from neoc.compile.machine import fingerprint

    out = tmp_path / "bench.json"
    write_peaks(box.cache)
    assert run(["bench", str(DENSE), "--on", "box", "-o", str(out), *SHORT]) == 0
    found = record.read(out)
    assert found["device"]["name"] == "box"
    assert found["machine"]["digest"] == fingerprint()["digest"], "here the device is this machine"
    (result,) = found["results"]
    assert result["n"] > 100
    assert result["subject"] == str(DENSE)
    assert (box.cache / "device").is_dir()
    assert (box.sessions, box.alive()) == ([], [])
    assert os.listdir(box.cache / "device") == [".lock"]


def test_a_device_that_reboots_in_the_middle_of_a_benchmark(
    box: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything over there is killed at once, the guardian too: the next connection finds what is left and ends it."""
    write_peaks(box.cache)
    out, seen = tmp_path / "bench.json", threading.Event()

    def reboot() -> None:
        if until(lambda: any("neoc.compile.worker_main" in command(pid) for pid in box.running()), 60):
            time.sleep(0.2)
            box.reboot()
            seen.set()

    rebooting = threading.Thread(target=reboot)
    rebooting.start()
    try:
        status = run(["bench", str(DENSE), "--on", "box", "-o", str(out), "--seconds", "60", "--max-load", "100"])
    finally:
        rebooting.join()
    assert seen.is_set()
    assert status == 3
    assert "measuring: the device was lost" in capsys.readouterr().err
    assert not out.exists()
    assert list(tmp_path.glob(".bench*")) == []
    assert len(box.sessions) == 1, "nobody was left to clean up"
    assert run(["device", "check", "box"]) == 0
    assert "1 folders of broken connections" in " ".join(capsys.readouterr().out.split())
    assert until(lambda: box.sessions == [] and box.alive() == [])


@pytest.mark.slow
def test_a_connection_that_breaks_in_a_benchmark(box: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The subjects' own workers, which have sessions of their own, go too."""
    write_peaks(box.cache)
    seen = []

    def cut() -> None:
        if until(lambda: any("neoc.compile.worker_main" in command(pid) for pid in box.alive()), 60):
            seen.extend(box.alive())
            box.cut()

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        status = run(["bench", str(DENSE), "--on", "box", "--seconds", "60", "--max-load", "100"])
    finally:
        cutting.join()
    assert len(seen) >= 3
    assert status == 3
    assert "the device was lost" in capsys.readouterr().err
    assert until(lambda: box.sessions == [] and box.alive() == [])


@pytest.mark.slow
def test_a_session_there_is_a_session(box: Sshd) -> None:
    from neoc.compile.errors import FeedError

    with open_on("box", DENSE, threads=1) as there, open_artifact(DENSE, threads=1) as here:
        assert (there.inputs, there.outputs) == (here.inputs, here.outputs)
        with pytest.raises(FeedError):
            there.run({"x": np.zeros((1, 4), np.float64)})
        for rows in (1, 5, 2):
            x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
            np.testing.assert_array_equal(there.run({"x": x})["y"], here.run({"x": x})["y"])
