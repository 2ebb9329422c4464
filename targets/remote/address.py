"""Names, addresses and host keys, as users and ssh-keyscan write them. Everything here ends up on a command line."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from neoc.compile.errors import UsageError

SCHEMES = ("ssh", "stand-in")
KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""that neoc pins, the one it prefers first"""

# Nothing that a shell, ssh's option parser or known_hosts could read as something else; a leading '-' is an option.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,45}(%[A-Za-z0-9]+)?")
_EXAMPLE = "write ssh://user@host or ssh://user@host:port"


@dataclass(frozen=True)
class Address:
    """Where a device is. `scheme` 'stand-in': `host` is the file that describes it (tests alone)."""

    scheme: str
    user: str
    host: str
    port: int = 22

    def __str__(self) -> str:
        if self.scheme == "stand-in":
            return f"stand-in://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == 22 else f":{self.port}"
        return f"ssh://{self.user + '@' if self.user else ''}{host}{port}"


@dataclass(frozen=True)
class HostKey:
    """One public key of a host: its type and the key itself, base64 (RFC 4253, section 6.6)."""

    type: str
    blob: str

    @property
    def fingerprint(self) -> str:
        """'SHA256:' and base64 without padding, as ssh-keygen -l prints it."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def check_name(name: str) -> str:
    """A device's name. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a device",
            fix="take letters, digits, '.', '_' and '-', at most 63, the first one a letter or digit",
        )
    return name


def parse(url: str) -> Address:
    """ssh://[user@]host[:port]. Raises UsageError, for a password in it too."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _unreadable(url, str(error)) from error
    if parts.scheme == "stand-in" and parts.path.startswith("/") and not parts.netloc:
        return Address("stand-in", "", parts.path)
    if parts.scheme != "ssh":
        raise _unreadable(url, f"its scheme is {parts.scheme or 'missing'!r}, and neoc speaks ssh")
    if parts.password is not None:
        raise _unreadable("ssh://...", "it holds a password, which neoc never takes: use a key or an agent")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _unreadable(url, "there is something behind the host")
    host, user = parts.hostname or "", parts.username
    if not _HOST.fullmatch(host):
        raise _unreadable(url, f"{host!r} is no host name and no address")
    if user is not None and not _USER.fullmatch(user):
        raise _unreadable(url, f"{user!r} is no user name")
    if port == 0:
        raise _unreadable(url, "port 0 is nobody's")
    return Address("ssh", user or "", host, port or 22)


def _unreadable(url: str, why: str) -> UsageError:
    return UsageError("the device's address cannot be read", where=url, why=why, fix=_EXAMPLE)


def host_keys(text: str) -> tuple[HostKey, ...]:
    """The usable keys in what ssh-keyscan wrote, each once, the preferred type first; all else is passed over."""
    found: dict[HostKey, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and not line.startswith("#") and words[1] in KEY_TYPES and is_key(words[1], words[2]):
            found[HostKey(words[1], words[2])] = None
    return tuple(sorted(found, key=lambda key: KEY_TYPES.index(key.type)))


def is_key(kind: str, blob: str) -> bool:
    """Whether base64 text begins with the name of its type, as every SSH public key does."""
    try:
        data = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    return data[:4] == len(kind).to_bytes(4, "big") and data[4 : 4 + len(kind)] == kind.encode()


def check_fingerprint(text: str) -> str:
    """A fingerprint as ssh-keygen -l prints it. Raises UsageError."""
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text):
        raise UsageError(
            "the fingerprint cannot be read",
            where=text,
            fix="copy it from the device itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub prints SHA256:...",
        )
    return text
