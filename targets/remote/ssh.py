"""The system's OpenSSH client as a pipe to a device: how it is called, and what its complaints mean.

neoc checks no host key and holds no secret of its own: ssh does both, with options that no configuration file can
loosen (the first value that ssh obtains for an option counts, and the command line comes first: ssh_config(5)).
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from neoc.compile.errors import (
    DeviceLost,
    DeviceUnreachable,
    HostKeyMismatch,
    MissingTool,
    NeocError,
    Unavailable,
)
from neoc.targets import standins
from neoc.targets.remote import address
from neoc.targets.remote.address import Address, HostKey
from neoc.targets.remote.book import Device

CONNECT_S = 10
ALIVE_S, ALIVE_COUNT = 5, 3
"""a device that answers nothing for their product is lost"""

OPTIONS = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "KnownHostsCommand": "none",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
    "CheckHostIP": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "Tunnel": "no",
    "ControlMaster": "no",
    "ControlPath": "none",
    "RequestTTY": "no",
    "EscapeChar": "none",
    "LogLevel": "ERROR",
    "ConnectTimeout": str(CONNECT_S),
    "ServerAliveInterval": str(ALIVE_S),
    "ServerAliveCountMax": str(ALIVE_COUNT),
}


def command(device: Device, known_hosts: Path, remote: list[str]) -> list[str]:
    """The words that start `remote` on the device. Raises MissingTool, Unavailable."""
    words = [*_program("ssh", device.address), "-T"]
    # Older clients know no KnownHostsCommand, which they then need not be told to leave alone.
    options = {"IgnoreUnknown": "KnownHostsCommand", **OPTIONS}
    options |= {"UserKnownHostsFile": _quoted(known_hosts), "HostKeyAlias": device.alias}
    if device.identity:
        options |= {"IdentitiesOnly": "yes", "IdentityFile": _quoted(Path(device.identity))}
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    # `exec` leaves no shell behind that would outlive what it started.
    return [*words, *_place(device.address), "exec " + shlex.join(remote)]


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'


def _place(where: Address) -> list[str]:
    return ["-p", str(where.port), *(["-l", where.user] if where.user else []), "--", where.host]


def _program(name: str, where: Address) -> list[str]:
    if where.scheme == "stand-in":
        found = standins.find(name)
        if found is None:
            raise Unavailable(
                "a stand-in device is for tests alone", where=str(where), fix="name a real one: ssh://user@host"
            )
        return list(found.command)
    if shutil.which(name) is None:
        raise MissingTool(
            f"there is no program {name!r}", why="devices are reached by OpenSSH", fix="install openssh-client"
        )
    return [name]


def scan(where: Address) -> tuple[HostKey, ...]:
    """The public keys that the host at an address shows, unconfirmed. Raises DeviceUnreachable, MissingTool."""
    words = [*_program("ssh-keyscan", where), "-T", str(CONNECT_S), "-p", str(where.port), where.host]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    keys = address.host_keys(done.stdout)
    if not keys:
        raise DeviceUnreachable(
            "the device shows no host key",
            where=str(where),
            why=_last_line(done.stderr) or "nothing answered there as an SSH server does",
            fix="check the address, and that sshd runs there",
        )
    return keys


_REFUSED = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key is known for", HostKeyMismatch),
    (r"Could not resolve|Name or service not known", DeviceUnreachable),
    (r"Permission denied|Too many authentication failures", DeviceUnreachable),
    (r"Connection refused|timed out|No route to host|Network is unreachable|Connection closed by|reset by peer"
     r"|Connection reset|kex_exchange_identification|Unable to negotiate", DeviceUnreachable),
)  # fmt: skip
_LOST = r"closed by remote host|not responding|Broken pipe|Connection reset|reset by peer|Connection to .* closed"


def refusal(device: Device, log: str, why: str) -> NeocError:
    """The error for a connection that brought no word from neoc over there. `log`: what ssh and the device wrote."""
    where = f"device {device.name!r}, {device.address}"
    line = _last_line(log)
    for pattern, kind in _REFUSED:
        if found := re.search(pattern, log, re.IGNORECASE):
            if kind is HostKeyMismatch:
                return mismatch(device)
            at = next(one for one in log.splitlines() if found[0] in one)
            fix = "check that it runs and is reachable: ssh " + " ".join(_place(device.address))
            if "ermission" in found[0]:
                fix = f"let ssh in without a password (ssh-copy-id), or add it again with --identity FILE: {line}"
            return DeviceUnreachable("the device cannot be reached", where=where, why=at.strip(), fix=fix)
    if re.search(r"No module named '?neoc", log) or "No module named neoc" in why:
        return lacks_neoc(device, f"its {device.python} has no neoc")
    if re.search(r"not found|No such file|cannot execute|can't open", log):
        return lacks_neoc(device, f"{device.python} cannot be run there ({line})")
    if "no message starts with" in why:
        why = "its shell writes something of its own before neoc there can speak: " + why.partition("starts with ")[2]
        fix = "let start-up files (.bashrc) print nothing in shells that are not interactive"
        return DeviceUnreachable("the device cannot be used", where=where, why=why, fix=fix)
    return DeviceUnreachable(
        "the device cannot be used", where=where, why=line or why, fix="try by hand: ssh " + device.address.host
    )


def lacks_neoc(device: Device, why: str) -> DeviceUnreachable:
    """The error for a device without a fitting neoc."""
    from importlib.metadata import version

    return DeviceUnreachable(
        "the device cannot be used",
        where=f"device {device.name!r}, {device.address}",
        why=why,
        # Not by its name: what an index has under it may be a stranger's.
        fix=f"copy the wheel or the sources of neoc {version('neoc')} there and install them: "
        f"{device.python} -m pip install FILE; or name an interpreter that has it: neoc device add --python",
    )


def mismatch(device: Device) -> HostKeyMismatch:
    return HostKeyMismatch(
        "what answers at the device's address is not the machine that was confirmed",
        where=f"device {device.name!r}, {device.address}",
        why=f"it does not hold the host key {device.key.fingerprint}: it was set up anew, or somebody stands between",
        fix=f"nothing was sent to it. If you know why: `neoc device remove {device.name}`, then add it again and "
        "compare the fingerprint with the one on the device",
    )


def loss(device: Device, doing: str, log: str, why: str) -> DeviceLost:
    """The error for a device that went away in the middle of something."""
    said = next((line.strip() for line in reversed(log.splitlines()) if re.search(_LOST, line)), "")
    if crash := re.search(r"Fatal Python error: (.+)", log):  # the fault handler's words
        said = f"the engine over there crashed: {crash[1]}"
    return DeviceLost(
        f"{doing}: the device was lost",
        where=f"device {device.name!r}, {device.address}",
        why=said or f"neoc's process there ended ({why})",
        fix="no result was written; the next connection removes what may be left there: "
        f"`neoc device check {device.name}`",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return lines[-1][:200] if lines else ""
