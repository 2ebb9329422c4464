"""What tests of remote devices share: artifacts that any machine opens, devices that are stand-ins, patience."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neoc.compile.contracts import Figure
from neoc.targets import peaks
from neoc.targets.remote.address import HostKey, parse
from neoc.targets.remote.book import Book, Device

DENSE = Path(__file__).parents[1] / "data" / "artifacts" / "dense-1.1.neoc"
"""for any x86-64 machine with onnxruntime"""
FEEDS = {"x": np.float32([[1, -2, 3, 0.5], [0, 1, 0, 4]])}
KEY = HostKey(
    "ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))).decode()
)  # nobody's: its private half does not exist
OTHER = HostKey("ssh-ed25519", base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode())


def until(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it came to hold within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def write_peaks(cache: Path) -> None:
    """Peaks of this machine, made up, where its cache is `cache`: measuring them takes seconds."""
    figure = Figure(1e12, "made up by a test")
    found = peaks.Peaks({"float32": figure}, figure, 1, {"float32": figure}, figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(cache))
        path = peaks._place()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.as_dict()))


class FakeDevice:
    """A device behind the stand-in of ssh. NEOC_ALLOW_STANDIN=1 must be set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "fake-cache"
        self.file = folder / "device.json"
        self.write()

    def write(self, key: HostKey = KEY, fault: dict[str, object] | None = None, **env: str) -> None:
        facts = {
            "host_key": f"{key.type} {key.blob}",
            "env": {"NEOC_CACHE_DIR": str(self.cache), **env},
            "fault": fault or {},
        }
        self.file.write_text(json.dumps(facts))

    @property
    def url(self) -> str:
        return f"stand-in://{self.file}"

    @property
    def sessions(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "device").glob("session-*"))

    def device(self, python: str = sys.executable, name: str = "fake") -> Device:
        return Device(name, parse(self.url), KEY, python)

    def in_book(self, python: str = sys.executable) -> Book:
        book = Book.of_user()
        book.add(self.device(python))
        return book
