"""An SSH server of a test's own on the loopback interface: a device that is this machine.

Unprivileged where the tests are; run by root it takes root's place, as sshd demands then. What it is asked to start
runs in an environment of its own: NEOC_CACHE_DIR is a folder of the test.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@dataclass
class Sshd:
    """`cache`: the device's NEOC_CACHE_DIR. `port`: on 127.0.0.1."""

    folder: Path
    port: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def cache(self) -> Path:
        return self.folder / "device-cache"

    @property
    def identity(self) -> Path:
        return self.folder / "id"

    @property
    def sessions(self) -> list[str]:
        """What connections have left on the device."""
        return sorted(path.name for path in (self.cache / "device").glob("session-*"))

    def fingerprint(self) -> str:
        done = subprocess.run(
            ["ssh-keygen", "-lf", str(self.folder / "host.pub")], capture_output=True, text=True, check=True
        )
        return done.stdout.split()[1]

    def new_host_key(self) -> None:
        for name in ("host", "host.pub"):
            (self.folder / name).unlink(missing_ok=True)
        _keygen(self.folder / "host")

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # what the package's service file makes
        self.port = self.port or _free_port()
        config = self.folder / "sshd_config"
        settings = {"NEOC_CACHE_DIR": str(self.cache), **self.variables}
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/id.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\n"
            "SetEnv " + " ".join(f'{name}="{value}"' for name, value in settings.items()) + "\n"
        )
        log = (self.folder / "sshd.log").open("ab")
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
        )
        log.close()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"sshd does not answer: {(self.folder / 'sshd.log').read_text()}")

    def stop(self) -> None:
        """The server and every connection of it."""
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def cut(self) -> None:
        """Kill the processes that carry connections, as a network that breaks does."""
        for pid in self.carriers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def carriers(self) -> list[int]:
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if _name(pid).startswith("sshd")]

    def reboot(self) -> None:
        """Kill all that runs on the device for a connection, the guardian too: nothing there gets to clean up."""
        assert self.process is not None
        for pid in reversed(descendants(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def alive(self) -> list[int]:
        """Processes that were started for a connection, orphans among them; the server itself is none."""
        return environed("NEOC_CACHE_DIR", str(self.cache))

    def running(self) -> list[int]:
        """Processes of connections that are not sshd's own."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if not _name(pid).startswith("sshd")]


def environed(name: str, value: str) -> list[int]:
    """Every process of this machine that has that variable: what a device runs, wherever it was reparented."""
    word, found = f"{name}={value}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def descendants(pid: int) -> list[int]:
    """Children, and theirs, parents first; found by /proc, so no psutil handle is kept."""
    found: list[int] = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    return []


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def command(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def serving(folder: Path, **variables: str) -> Iterator[Sshd]:
    """An SSH server that lives as long as the block. variables: environment of what it starts."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Sshd(folder, variables=variables)
    for name in ("host", "id"):
        _keygen(folder / name)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def wrapped_python(folder: Path, *lines: str) -> Path:
    """A program that does `lines` of shell and then is this interpreter."""
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + f'\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path
