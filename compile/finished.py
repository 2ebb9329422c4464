"""Finished compilations: an artifact that was compiled, proven and raced before is given back where nothing changed.

What the result hangs on is the key: the source by content, every option, the target's description, neoc's own code,
every installed package by version, the tools on PATH, what can be checked here, the settings and the machine. Whatever
no key can hold (a live object, a factory in Python, steps that are objects) is compiled anew each time, and so is
everything with `--no-cache`. The artifact is the one that was made then, to the byte: its evidence says when.

Only light modules are imported here: a compilation that is remembered costs no framework's import.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from neoc.compile import registry
from neoc.compile.artifact import Artifact
from neoc.compile.cache import BuildCache
from neoc.compile.contracts import Target
from neoc.compile.errors import OutputError
from neoc.compile.files import atomic_file
from neoc.compile.machine import fingerprint
from neoc.compile.options import CompileOptions
from neoc.compile.own_code import code_digest
from neoc.compile.settings import Settings

ENGINE = "finished artifact"
"""what `neoc cache ls` shows of such an entry"""
_ARTIFACT, _FACTS = "artifact.neoc", "finished.json"
_BESIDE = "/standalone/"
"""in the name of a member that is also written beside the artifact: such compilations are not kept"""


class Unkeyed(Exception):
    """What it hangs on cannot be written down."""


class Finished:
    """The finished compilations of one cache folder."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings.read()
        self._cache = BuildCache(self._settings.cache_dir / "builds", self._settings.cache_limit_bytes)

    def recall(self, source: str, target: Target, options: CompileOptions, place: Path) -> tuple[Artifact, str] | None:
        """The artifact, written to `place`, and when it was made (UTC, ISO 8601); None where it must be compiled.

        Raises OutputError where `place` cannot be written; what was there before stays then.
        """
        try:
            key = self._key(source, target, options)
        except (Unkeyed, OSError):
            return None
        folder = self._cache.get(key)
        if folder is None:
            return None
        try:
            facts = json.loads((folder / _FACTS).read_text())
            beside, created = dict(facts["companions"]), str(facts["created"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if any(_file_digest(Path(source).parent / name) != digest for name, digest in beside.items()):
            return None
        with atomic_file(place) as written, (folder / _ARTIFACT).open("rb") as kept:
            shutil.copyfileobj(kept, written, 1 << 20)
        return Artifact.open(place), created

    def keep(self, source: str, target: Target, options: CompileOptions, made: Artifact) -> None:
        """Remember a compilation that was just made. A cache that cannot be written costs the next one its time."""
        if any(_BESIDE in f"/{name}" for name in made.members()):
            return
        try:
            facts = {"created": made.evidence["when"], "companions": _companions(Path(source))}
            key = self._key(source, target, options)
            self._settings.cache_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="finished-", dir=self._settings.cache_dir) as scratch:
                folder = Path(scratch)
                shutil.copyfile(made.path, folder / _ARTIFACT)
                (folder / _FACTS).write_text(json.dumps(facts, sort_keys=True))
                self._cache.put(key, folder)
        except (Unkeyed, OSError, OutputError):
            return

    def _key(self, source: str, target: Target, options: CompileOptions) -> dict[str, str]:
        place = Path(source)
        if options.dump is not None or options.example_inputs is not None or place.suffix == ".py":
            raise Unkeyed
        if not place.exists():
            raise Unkeyed  # module.py:factory, or nothing at all
        asked = {f.name: _plain(getattr(options, f.name)) for f in fields(options) if f.name not in _APART}
        return {
            "engine": ENGINE,
            "source": _tree_digest(place),
            "name": place.name,
            "options": json.dumps(asked, sort_keys=True),
            "target": json.dumps(target.as_dict(), sort_keys=True, default=str),
            "code": code_digest(),
            "packages": _packages(),
            "tools": _tools(),
            "reach": _reach(target),
            "settings": _hash(repr(self._settings)),
            "machine": str(fingerprint()["digest"]),
            "python": sys.version,
        }


_APART = ("dump", "example_inputs", "use_cache")


# ---- what a result hangs on ------------------------------------------------------------------------


def _plain(value: object) -> object:
    """An option as JSON; a file by its content. Raises Unkeyed for objects that no text stands for."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return {"file": _tree_digest(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, Sequence | frozenset | set) and not isinstance(value, bytes):
        return [_plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    raise Unkeyed


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _tree_digest(path: Path) -> str:
    """Of a file, or of every file below a folder by name and content. Raises Unkeyed where it cannot be read."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    parts = [(p.relative_to(path).as_posix(), _file_digest(p)) for p in files]
    if not parts or not all(digest for _, digest in parts):
        raise Unkeyed
    return _hash(json.dumps(parts))


def _companions(source: Path) -> dict[str, str]:
    """Files beside an ONNX model that hold its tensors, by name, and their digests."""
    if not source.is_file() or source.suffix != ".onnx":
        return {}
    from neoc.compile.onnx_data import locations  # imports onnx, which was needed to compile

    return {name: _file_digest(source.parent / name) for name in locations(source)}


def _packages() -> str:
    """Every installed distribution by name and version, as the names of their metadata folders say."""
    found = set()
    for entry in sys.path:
        try:
            with os.scandir(entry or ".") as listed:
                found |= {e.name for e in listed if e.name.endswith((".dist-info", ".egg-info", ".egg-link"))}
        except OSError:
            continue
    return _hash("\n".join(sorted(found)))


def _reach(target: Target) -> str:
    """How far each engine's code for the target can be checked here: with a device attached or an emulator prepared
    since, the same compilation proves more."""
    serving = [engine for engine in registry.engines() if engine.serves(target)]
    return json.dumps({e.name: [e.missing(), *map(str, target.verifiable(e))] for e in serving}, sort_keys=True)


def _tools() -> str:
    """The folders of PATH as they are: a tool that comes, goes or is replaced changes its folder."""
    return _hash("\n".join(_stamps()))


def _stamps() -> Iterator[str]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        try:
            yield f"{entry} {os.stat(entry).st_mtime_ns}"
        except OSError:
            yield f"{entry} -"
