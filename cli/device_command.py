"""neoc device add | list | check | remove"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neoc.cli import console
from neoc.compile.errors import HostKeyMismatch, UsageError

if TYPE_CHECKING:
    from neoc.targets.remote.address import HostKey
    from neoc.targets.remote.book import Device

app = typer.Typer(no_args_is_help=True, help="Machines reached over ssh: `neoc run|bench --on NAME`.")
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Name = Annotated[str, typer.Argument(help="The device's name.", show_default=False)]


@app.command("add")
def add(
    name: Name,
    url: Annotated[str, typer.Argument(help="ssh://user@host[:port]", show_default=False)],
    python: Annotated[str, typer.Option(help="The interpreter there that has neoc.")] = "python3",
    identity: Annotated[Path | None, typer.Option(help="Private key file; by default what ssh offers.")] = None,
    accept_host_key: Annotated[
        str | None, typer.Option(help="SHA256:...: the fingerprint that the device itself shows.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Confirm a device's host key, see that neoc is there, remember it."""
    import dataclasses

    from neoc.targets.remote import address
    from neoc.targets.remote.book import Book, Device

    book = Book.of_user()
    where = address.parse(url)
    if address.check_name(name) in (known := book.devices()):
        raise book.taken(known[name])
    identity = None if identity is None else identity.expanduser()
    if identity is not None and not identity.is_file():
        raise UsageError("there is no such key file", where=str(identity), fix="--identity ~/.ssh/id_ed25519")
    key = _confirmed(str(where), where, accept_host_key, as_json)
    place = "" if identity is None else str(identity.absolute())
    device = Device(name, where, key, python, place)
    found = _ask(device)
    book.add(dataclasses.replace(device, seen=found["device"]))
    _show(device, found, as_json)
    return 0


@app.command("list")
def list_devices(as_json: Json = False) -> int:
    """The devices that were added, and what they said of themselves then."""
    from neoc.targets.remote.book import Book

    known = Book.of_user().devices()
    if as_json:
        console.print_json({"devices": {name: device.as_dict() for name, device in known.items()}})
    elif not known:
        print("No device was added: neoc device add NAME ssh://user@host")
    else:
        rows = [
            (name, str(one.address), _chip(one.seen), one.seen.get("neoc", "-"), one.key.fingerprint)
            for name, one in known.items()
        ]
        console.table("", ("device", "address", "chip", "neoc", "host key"), rows)
    return 0


@app.command("check")
def check(name: Name, as_json: Json = False) -> int:
    """Connect, say what is there, remove what broken connections left."""
    from neoc.targets.remote.book import Book

    device = Book.of_user().get(name)
    _show(device, _ask(device), as_json)
    return 0


@app.command("remove")
def remove(name: Name, as_json: Json = False) -> int:
    """Forget a device and its host key."""
    from neoc.targets.remote.book import Book

    gone = Book.of_user().remove(name)
    if as_json:
        console.print_json({"removed": name, "url": str(gone.address)})
    else:
        print(f"{name} ({gone.address}) is forgotten, its host key with it")
    return 0


def _confirmed(url: str, where: Any, accepted: str | None, as_json: bool) -> HostKey:
    """The host key that the user vouches for: by --accept-host-key, or by answering. Raises UsageError."""
    from neoc.targets.remote import address, ssh

    if accepted is not None:
        address.check_fingerprint(accepted)
    keys = ssh.scan(where)
    if accepted is not None:
        for key in keys:
            if key.fingerprint == accepted:
                return key
        shown = ", ".join(f"{key.fingerprint} ({key.type})" for key in keys)
        raise HostKeyMismatch(
            "the device does not hold that host key",
            where=url,
            why=f"it shows {shown}",
            fix="compare with the device itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    first = keys[0]
    if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "nobody has confirmed the device's host key",
            where=url,
            why=f"it shows {first.fingerprint} ({first.type})",
            fix=f"compare it with the device itself, then add --accept-host-key {first.fingerprint}",
        )
    console.note(f"{url} shows the host key {first.fingerprint} ({first.type}).")
    console.note("On the device, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows its own.")
    if typer.prompt("Are they the same? (yes/no)", err=True).strip() not in ("yes", first.fingerprint):
        raise UsageError("the host key was not confirmed", where=url, fix="add it when it is known")
    return first


def _ask(device: Device) -> dict[str, Any]:
    """What a device says of itself. A key that was just confirmed is written for this connection alone."""
    import tempfile

    from neoc.targets.remote.link import DeviceWorker

    with tempfile.TemporaryDirectory(prefix="neoc-") as folder:
        known_hosts = Path(folder, "known_hosts")
        known_hosts.write_text(f"{device.alias} {device.key.type} {device.key.blob}\n")
        with DeviceWorker(device, known_hosts) as worker:
            facts = dict(worker.facts)
    host, machine = facts["host"], facts["fingerprint"]
    kept = {
        "cpu": machine["machine"]["cpu"] or host["cpu"],
        "core": host["cpu"],
        **{key: host[key] for key in ("arch", "logical_cores", "memory_bytes", "devices")},
        **{key: facts[key] for key in ("neoc", "python")},
        "digest": machine["digest"],
    }
    return {"device": kept, "swept": facts["swept"]}


def _chip(seen: dict[str, Any]) -> str:
    devices = ", ".join(seen.get("devices", []))
    return " ".join(str(part) for part in (seen.get("core", "-"), seen.get("arch", ""), devices) if part)


def _show(device: Device, found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.print_json({"name": device.name, **device.as_dict(), "seen": found["device"], "swept": found["swept"]})
        return
    seen = found["device"]
    rows: list[tuple[str, object]] = [
        ("address", device.address),
        ("host key", device.key.fingerprint),
        ("chip", _chip(seen)),
        ("cores", seen["logical_cores"]),
        ("memory", console.size(seen["memory_bytes"])),
        ("neoc", f"{seen['neoc']}, Python {seen['python']} ({device.python})"),
        ("machine digest", seen["digest"]),
    ]
    if found["swept"]:
        rows.append(("removed there", f"{len(found['swept'])} folders of broken connections"))
    console.table(device.name, ("fact", "value"), rows)
