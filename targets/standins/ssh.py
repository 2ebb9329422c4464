"""A stand-in for OpenSSH's client and a device behind it: neoc's own words to ssh, checked, on a machine without sshd.

    python -I ssh.py -T -o NAME=VALUE ... -p PORT -- DEVICE.json 'exec ...'       as ssh
    python -I ssh.py -T SECONDS -p PORT DEVICE.json                               as ssh-keyscan

DEVICE.json: {"host_key": "ssh-ed25519 AAAA...", "env": {...}, "fault": {...}}. What is started gets `env`, and of the
caller's environment PATH and HOME alone. Faults: {"refuse": TEXT} says it and is no connection, {"banner": TEXT} writes
it before the device speaks, {"cut_after": BYTES} ends the connection once the device was sent so much.

Options that neoc never gives are refused, and so is a call without those that its safety rests on. Messages are those
of OpenSSH 9.2. Imports the standard library alone; does nothing without NEOC_ALLOW_STANDIN=1.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

MARK = "NEOC_STANDIN"
VERSION = "9.2+neoc.stand-in"
DEMANDED = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "KnownHostsCommand": "none",
    "UpdateHostKeys": "no",
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
}
"""without these a configuration file could let another machine, or another user, in"""
KNOWN = {
    *DEMANDED,
    *("IgnoreUnknown", "VerifyHostKeyDNS", "CheckHostIP", "LogLevel", "ConnectTimeout", "ServerAliveInterval"),
    *("ServerAliveCountMax", "UserKnownHostsFile", "HostKeyAlias", "IdentitiesOnly", "IdentityFile"),
}
BLOCK = 1 << 16


def fail(text: str, status: int = 255) -> NoReturn:
    sys.stderr.write(text + "\n")
    sys.exit(status)


def main(words: list[str]) -> None:
    if os.environ.get("NEOC_ALLOW_STANDIN") != "1":
        fail(f"{MARK}: a stand-in for ssh runs only where NEOC_ALLOW_STANDIN=1", 2)
    if words == ["-V"]:
        fail(f"OpenSSH_{VERSION}", 0)
    if len(words) == 5 and words[0] == "-T" and words[2] == "-p":
        keyscan(words[4])
        return
    options, place, command = parse(words)
    for name, value in DEMANDED.items():
        if options.get(name) != value:
            fail(f"{MARK}: neoc must say {name}={value}, and said {options.get(name)!r}")
    connect(options, device(place), command)


def parse(words: list[str]) -> tuple[dict[str, str], str, str]:
    """(options, the device's file, the command) of an ssh command line."""
    options: dict[str, str] = {}
    if not words or words.pop(0) != "-T":
        fail(f"{MARK}: neoc must ask for no terminal (-T)")
    while words and words[0] != "--":
        flag = words.pop(0)
        if flag not in ("-o", "-p", "-l") or not words:
            fail(f"unknown option -- {flag}")
        value = words.pop(0)
        if flag == "-o":
            name, _, text = value.partition("=")
            if name not in KNOWN:
                fail(f"command-line: line 0: Bad configuration option: {name.lower()}")
            options.setdefault(name, text)  # the first value counts: ssh_config(5)
    if len(words) != 3 or not words[2].startswith("exec "):
        fail(f"{MARK}: a host and one command that starts with exec are wanted, not {words}")
    return options, words[1], words[2]


def device(place: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(Path(place).read_text())
    except OSError:
        fail(f"ssh: Could not resolve hostname {place}: Name or service not known")
    return found


def keyscan(place: str) -> None:
    facts = device(place)
    if "refuse" not in facts.get("fault", {}):
        print(place, facts["host_key"])


def connect(options: dict[str, str], facts: dict[str, Any], command: str) -> None:
    fault = facts.get("fault", {})
    if "refuse" in fault:
        fail(fault["refuse"])
    check_host_key(options, facts["host_key"])
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= facts.get("env", {}) | {"NEOC_ALLOW_STANDIN": "1", "NEOC_STANDIN_DEVICE": "1"}
    if "banner" in fault:
        sys.stdout.write(fault["banner"])
        sys.stdout.flush()
    carry(["/bin/sh", "-c", command], env, int(fault.get("cut_after", sys.maxsize)))


def check_host_key(options: dict[str, str], key: str) -> None:
    path = shlex.split(options["UserKnownHostsFile"])[0].replace("%%", "%")
    lines = [line.split(maxsplit=1) for line in Path(path).read_text().splitlines()]
    known = [rest.strip() for alias, rest in lines if alias == options["HostKeyAlias"]]
    if not known:
        fail(f"No ED25519 host key is known for {options['HostKeyAlias']} and you have requested strict checking.\n"
             "Host key verification failed.")  # fmt: skip
    if key.strip() not in known:
        fail("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.")


def carry(shell: list[str], env: dict[str, str], cut_after: int) -> None:
    """Between the caller and the device, until so many bytes were sent there: then both sides see the end."""
    to_device, from_device = start(shell, env)
    sent = 0
    while True:
        ready, _, _ = select.select([0, from_device], [], [])
        if from_device in ready:
            data = os.read(from_device, BLOCK)
            if not data:
                sys.exit(255)  # as ssh for a process that was killed
            write(1, data)
        if 0 in ready:
            data = os.read(0, min(BLOCK, cut_after - sent))
            write(to_device, data)
            sent += len(data)
            if sent == cut_after or not data:
                break
    os.close(to_device)
    os.close(from_device)
    fail("client_loop: send disconnect: Broken pipe" if sent == cut_after else "Connection closed")


def start(shell: list[str], env: dict[str, str]) -> tuple[int, int]:
    """(its standard input, its standard output). No child of ours: a device does not die with what reaches it."""
    (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            os.dup2(read_in, 0)
            os.dup2(write_out, 1)
            os.execve(shell[0], shell, env)
        os._exit(0)
    os.waitpid(between, 0)
    os.close(read_in)
    os.close(write_out)
    return write_in, read_out


def write(pipe: int, data: bytes) -> None:
    sent = 0
    while sent < len(data):
        sent += os.write(pipe, data[sent:])


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main(sys.argv[1:])
