"""The devices that a user has added, and the one host key of each: NEOC_CONFIG_DIR/devices.json and known_hosts.

The host key lies in known_hosts under the device's own name (ssh's HostKeyAlias), so that ssh itself checks it and two
devices behind one address never share a key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neoc.compile.errors import InvalidInput, OutputError, UsageError
from neoc.compile.files import write_atomically
from neoc.compile.settings import Settings
from neoc.targets.remote import address
from neoc.targets.remote.address import Address, HostKey

FORMAT = "neoc.devices/1"
ALIAS = "neoc-device-"
"""what stands before a device's name in known_hosts"""


@dataclass(frozen=True)
class Device:
    """How a device is reached. `seen`: what it said of itself when it was added."""

    name: str
    address: Address
    key: HostKey
    python: str = "python3"
    """the interpreter there that has neoc"""
    identity: str = ""
    """private key file; empty: what ssh itself offers"""
    seen: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)

    @property
    def alias(self) -> str:
        return ALIAS + self.name

    @property
    def standin(self) -> bool:
        return self.address.scheme == "stand-in"

    def as_dict(self) -> dict[str, Any]:
        return {
            "url": str(self.address),
            "python": self.python,
            "identity": self.identity,
            "host_key": {"type": self.key.type, "key": self.key.blob, "fingerprint": self.key.fingerprint},
            "seen": self.seen,
        }

    @classmethod
    def from_dict(cls, name: str, data: dict[str, Any]) -> Device:
        """Raises KeyError, TypeError, ValueError, UsageError for what was damaged or written in by hand."""
        key = HostKey(data["host_key"]["type"], data["host_key"]["key"])
        words = (key.type, key.blob, data["url"], data["python"], data["identity"])
        if not all(isinstance(word, str) for word in words) or not isinstance(data["seen"], dict):
            raise TypeError(f"the facts of {name} are of other types")
        if key.type not in address.KEY_TYPES or not address.is_key(key.type, key.blob):
            raise ValueError(f"the host key of {name} is none")
        return cls(name, address.parse(data["url"]), key, data["python"], data["identity"], dict(data["seen"]))


@dataclass(frozen=True)
class Book:
    """`folder`: where devices.json and known_hosts lie."""

    folder: Path

    @classmethod
    def of_user(cls) -> Book:
        return cls(Settings.read().config_dir)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def _file(self) -> Path:
        return self.folder / "devices.json"

    def devices(self) -> dict[str, Device]:
        """By name. Raises InvalidInput for a damaged file."""
        try:
            text = self._file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._damaged(str(error)) from error
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise self._damaged(f"its format is {data['format']!r}, not {FORMAT!r}")
            return {address.check_name(name): Device.from_dict(name, facts) for name, facts in data["devices"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def get(self, name: str) -> Device:
        """Raises UsageError for a name that is not in the book."""
        known = self.devices()
        if name not in known:
            raise UsageError(
                f"there is no device named {name!r}",
                why=f"known are: {', '.join(known)}" if known else "none was added",
                fix=f"neoc device add {name if name.isidentifier() else 'NAME'} ssh://user@host",
            )
        return known[name]

    def add(self, device: Device) -> None:
        """Raises UsageError where the name is taken, OutputError."""
        with self._locked():
            known = self.devices()
            if device.name in known:
                raise self.taken(known[device.name])
            self._write(known | {device.name: device})

    def taken(self, device: Device) -> UsageError:
        return UsageError(
            f"there is a device named {device.name!r} already",
            where=str(device.address),
            fix=f"take another name, or `neoc device remove {device.name}` first",
        )

    def remove(self, name: str) -> Device:
        """The device that was removed, its host key with it. Raises UsageError, OutputError."""
        with self._locked():
            device = self.get(name)
            self._write({key: one for key, one in self.devices().items() if key != name})
        return device

    def _write(self, devices: dict[str, Device]) -> None:
        # The keys first: a device without its key is refused, a key without its device hurts nobody.
        lines = [f"{one.alias} {one.key.type} {one.key.blob}\n" for one in devices.values()]
        write_atomically(self.known_hosts, "".join(lines).encode())
        data = {"format": FORMAT, "devices": {name: one.as_dict() for name, one in sorted(devices.items())}}
        write_atomically(self._file, json.dumps(data, indent=1).encode() + b"\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock

        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not os.access(self.folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "permission is denied")
            with FileLock(self.folder / ".lock"):
                yield
        except OSError as error:
            raise OutputError(
                "the list of devices cannot be written",
                where=str(self.folder),
                why=error.strerror or str(error),
                fix="make room, or name another place with NEOC_CONFIG_DIR",
            ) from error

    def _damaged(self, why: str) -> InvalidInput:
        return InvalidInput(
            "the list of devices is damaged",
            where=str(self._file),
            why=why,
            fix="mend it, or remove it and add the devices again",
        )
