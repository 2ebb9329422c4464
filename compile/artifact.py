"""The artifact: one `.neoc` file, written whole or not at all, read as if an enemy had made it (docs/artifact.md)."""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from neoc.compile import container, digests
from neoc.compile.container import Entry
from neoc.compile.contracts import Level, Place, Signature
from neoc.compile.digests import Digest, Member, Source
from neoc.compile.errors import InternalError, InvalidArtifact, OutputError, UsageError
from neoc.compile.files import atomic_file
from neoc.compile.manifest import (
    EVIDENCE,
    FORMAT,
    MANIFEST,
    canonical,
    check,
    content_digest,
    invalid,
    parse,
    renamed,
    validate,
)
from neoc.compile.sharing import share

if TYPE_CHECKING:
    from neoc.compile.program import Program

MAX_JSON_BYTES = 64 << 20
"""of manifest.json and of evidence.json: a larger one is no manifest but an attempt to fill the memory"""

# ---- writing -------------------------------------------------------------------------------


def pack(
    path: str | Path, manifest: Mapping[str, Any], members: Mapping[str, Source], evidence: Mapping[str, Any]
) -> Artifact:
    """Write the artifact `path` and open it.

    manifest: as in manifest.schema.json without what is reckoned here: format, neoc, members (the digests), each
    variant's members, evidence (its digest), content_digest. members: path inside the artifact -> file or bytes; equal
    contents are stored once, and references in `program` and `steps` follow; of several variants, long runs that
    members have in common too (neoc.compile.sharing). Raises OutputError; nothing half written is left.
    """
    made = {name: _digest(name, source) for name, source in sorted(members.items())}
    first: dict[str, str] = {}
    stored = {name: first.setdefault(found.sha256, name) for name, found in made.items()}
    kept = {name: made[name] for name in sorted(set(stored.values()))}
    records = {name: _record(found) for name, found in kept.items()}
    if len(manifest["variants"]) > 1:
        alone = {stored[path] for path in _mapped(manifest)}  # a mapping wants them in one piece
        alike = {name: records[name] for name in kept if name not in alone}
        shared, digests_of, found = _shared({name: members[name] for name in alike}, alike)
        members = shared | {name: members[name] for name in alone}
        kept = dict(sorted((digests_of | {name: kept[name] for name in alone}).items()))
        records = dict(sorted((found | {name: records[name] for name in alone}).items()))
    proof = canonical(evidence, EVIDENCE)
    facts = renamed(manifest, stored) | {
        "format": FORMAT,
        "neoc": version("neoc"),
        "members": records,
    }
    facts["content_digest"] = content_digest(facts)
    facts["evidence"] = {key: _record(digests.digest(proof))[key] for key in ("sha256", "size")}
    validate(facts)
    text = canonical(facts, MANIFEST)
    layout = _lay_out([(MANIFEST, len(text), zlib.crc32(text)), *((n, d.size, d.crc) for n, d in kept.items())], proof)
    sources: dict[str, Source] = {MANIFEST: text, **{name: members[name] for name in kept}, EVIDENCE: proof}
    with atomic_file(Path(path)) as file:
        for entry in layout:
            file.write(entry.header())
            _copy(file, entry, sources[entry.name])
        file.write(container.directory(layout))
    return Artifact.open(path)


def _mapped(manifest: Mapping[str, Any]) -> set[str]:
    """The members that some step maps."""
    steps = [step for variant in manifest["variants"] for step in variant["steps"]]
    return {step["members"][name] for step in steps for name in step.get("mapped", ())}


def _shared(
    members: Mapping[str, Source], records: Mapping[str, dict[str, Any]]
) -> tuple[dict[str, Source], dict[str, Digest], dict[str, dict[str, Any]]]:
    """(what is stored, its digests, the manifest's records): members with long runs in common are cut into parts."""
    try:
        shared = share(members)
    except OSError as error:
        raise OutputError("a member cannot be read", where=", ".join(members), why=str(error.strerror)) from error
    made = {name: _digest(name, source) for name, source in sorted(shared.sources.items())}
    first: dict[str, str] = {}
    stored = {name: first.setdefault(found.sha256, name) for name, found in made.items()}
    kept = {name: made[name] for name in sorted(set(stored.values()))}
    found = {name: _record(digest) for name, digest in kept.items()}
    for name, parts in shared.parts.items():
        whole = {key: records[name][key] for key in ("sha256", "size")}
        found[name] = whole | {"parts": [stored[part] for part in parts]}
    return {name: shared.sources[name] for name in kept}, kept, dict(sorted(found.items()))


def _digest(name: str, source: Source) -> Digest:
    try:
        return digests.digest(source)
    except OSError as error:
        raise OutputError("a member cannot be read", where=f"{name}: {source!r}", why=str(error.strerror)) from error


def _record(found: Digest) -> dict[str, Any]:
    record: dict[str, Any] = {"sha256": found.sha256, "size": found.size}
    return record | {"chunk_bytes": digests.CHUNK_BYTES, "chunks": list(found.chunks)} if found.chunks else record


def _lay_out(members: list[tuple[str, int, int]], proof: bytes) -> tuple[Entry, ...]:
    try:
        return container.lay_out([*members, (EVIDENCE, len(proof), zlib.crc32(proof))])
    except ValueError as error:
        raise InternalError("the artifact cannot be laid out", why=str(error)) from error


def _copy(file: IO[bytes], entry: Entry, source: Source) -> None:
    crc, size = 0, 0
    for block in digests.blocks(source):
        crc = zlib.crc32(block, crc)
        size += len(block)
        file.write(block)
    if (size, crc) != (entry.size, entry.crc):
        raise OutputError(
            "a member changed while it was packed", where=entry.name, fix="let nothing write to it, and try again"
        )


# ---- reading -------------------------------------------------------------------------------


class Artifact:
    """An artifact whose container and manifest were checked. Members are read, and checked, when asked for."""

    def __init__(
        self, path: Path, manifest: dict[str, Any], entries: Mapping[str, Entry], identity: tuple[int, ...]
    ) -> None:
        self.path, self.manifest = path, manifest
        self._entries, self._identity = entries, identity
        records = manifest["members"]
        self._all = {name: _member(entries[name], record) for name, record in records.items() if "parts" not in record}
        self._all |= {name: _made_of(name, record, self._all) for name, record in records.items() if "parts" in record}

    @classmethod
    def open(cls, path: str | Path) -> Artifact:
        """Checks everything beside the members' own bytes and the evidence. Raises InvalidArtifact."""
        path = Path(path)
        with _readable(path) as handle:
            where = path.name
            entries = {entry.name: entry for entry in container.read_directory(handle, where)}
            if next(iter(entries), None) != MANIFEST or next(reversed(entries)) != EVIDENCE:
                raise InvalidArtifact(
                    "this is no neoc artifact",
                    where=where,
                    why=f"it does not begin with {MANIFEST} and end with {EVIDENCE}",
                    fix="give a file that `neoc compile` wrote",
                )
            manifest = parse(_small(handle, entries[MANIFEST], where), where, MANIFEST)
            sizes = {name: entry.size for name, entry in entries.items() if name not in (MANIFEST, EVIDENCE)}
            check(manifest, sizes, where)
            return cls(path, manifest, entries, _identity(handle))

    @property
    def signature(self) -> Signature:
        """Names, dtypes and shapes of the tensors that `run` takes and gives."""
        return Signature.from_dict(self.manifest["signature"])

    @property
    def level(self) -> Level:
        """The one word for how far the first variant was verified."""
        return Level(self.manifest["variants"][0]["level"])

    @property
    def content_digest(self) -> str:
        """'sha256:' and 64 digits over all but the evidence."""
        return str(self.manifest["content_digest"])

    @cached_property
    def evidence(self) -> dict[str, Any]:
        """What was measured. Raises InvalidArtifact."""
        with self._file() as handle:
            raw = _small(handle, self._entries[EVIDENCE], self.path.name)
            digests.check(handle, self._evidence_member(), self.path.name)
        return parse(raw, self.path.name, EVIDENCE)

    def variant(self, id: str | None = None) -> Mapping[str, Any]:
        """The variant's part of the manifest; the first one where none is named. Raises UsageError."""
        variants: list[dict[str, Any]] = self.manifest["variants"]
        for variant in variants:
            if id is None or variant["id"] == id:
                return variant
        raise UsageError(
            f"the artifact has no variant {id!r}",
            where=str(self.path),
            fix=f"it has: {', '.join(variant['id'] for variant in variants)}",
        )

    def together(self) -> list[Mapping[str, Any]]:
        """The variants that serve requests between them: all buckets; or the first one, and those of fixed sizes."""
        first, *others = self.manifest["variants"]
        return [first, *(one for one in others if one["bind"])]

    def members(self, variant: str | None = None) -> dict[str, Member]:
        """Path -> member of what this variant runs on; without a variant, of all there is."""
        if variant is None:
            return dict(self._all)
        return {path: self._all[path] for step in self.variant(variant)["steps"] for path in step["members"].values()}

    def read(self, paths: Iterable[str], threads: int | None = None, whole: bool = False) -> dict[str, memoryview]:
        """Path -> verified bytes in memory of this process alone.

        `whole`: every other byte of the file is checked as well, without being kept. Raises InvalidArtifact.
        """
        wanted = [self._all[path] for path in dict.fromkeys(paths)]
        known = {part.path for member in wanted for part in (member, *member.parts)}
        others = (m for m in self._all.values() if not m.parts and m.path not in known)
        beside = [*others, self._evidence_member()] if whole else []
        with self._file() as handle:
            return digests.load(handle, wanted, self.path.name, threads, beside)

    def places(self, paths: Iterable[str]) -> dict[str, Place]:
        """Path -> where the member's bytes lie in this file. Raises InvalidArtifact for one that is made of parts."""
        found = {}
        for path in dict.fromkeys(paths):
            member = self._all[path]
            if member.parts:
                raise invalid(f"{self.path.name}, member {path}", "it is to be mapped, and is made of parts")
            found[path] = Place(self.path, member.start, member.size)
        return found

    def map(self, paths: Iterable[str]) -> dict[str, memoryview]:
        """Path -> the member's bytes, mapped read-only: unchecked, and pages of the file for as long as a view lives.

        Raises InvalidArtifact.
        """
        places = self.places(paths)
        if not places:
            return {}
        with self._file() as handle:
            whole = memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ))
        return {path: whole[place.offset : place.offset + place.size] for path, place in places.items()}

    @property
    def identity(self) -> tuple[int, ...]:
        """Device, inode, size, and when content and inode last changed (ns), as of when it was opened."""
        return self._identity

    def unchanged(self) -> None:
        """Raises InvalidArtifact where the path no longer leads to the file that was opened, as it was."""
        with self._file():
            pass

    def verify(self) -> None:
        """Check every byte of the file. Raises InvalidArtifact, which names the member."""
        with self._file() as handle:
            for member in self._all.values():
                digests.check(handle, member, self.path.name)
        _ = self.evidence

    def extract(self, files: Mapping[str, str], folder: Path, durable: bool = True) -> list[Path]:
        """Write members to files in `folder`: file name -> member's path. Raises InvalidArtifact, OutputError.

        `durable` False: the files are scratch and need not outlive a power cut.
        """
        targets = {folder / name: self._all[path] for name, path in files.items()}
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        with self._file() as handle:
            for target, member in targets.items():
                with atomic_file(target, durable) as file:
                    digests.copy(handle, member, file, self.path.name)
        return list(targets)

    def export(self, folder: str | Path) -> list[Path]:
        """The plain program, each engine's native files, manifest and evidence, into a new folder; the files written.

        Raises OutputError where the folder holds anything, and leaves it as it was where anything else fails.
        """
        folder = Path(folder)
        files = {f"program/{name}": path for name, path in self.manifest["program"].items()}
        variants = self.manifest["variants"]
        for i, variant in enumerate(variants):
            for j, step in enumerate(variant["steps"]):
                place = "native" if len(variants) == 1 else f"native/{i}-{_plain(variant['id'])}"
                place += f"/{j}-" if len(variant["steps"]) > 1 else "/"
                place += _plain(step["engine"])
                files |= {f"{place}/{name}": path for name, path in step["members"].items()}
        texts = {MANIFEST: canonical(self.manifest, MANIFEST), EVIDENCE: canonical(self.evidence, EVIDENCE)}
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
                whole = Path(scratch, "export")
                whole.mkdir()
                written = self.extract(files, whole)
                for name, text in texts.items():
                    (whole / name).write_bytes(text)
                    written.append(whole / name)
                os.rename(whole, folder)  # refused by the system where the folder holds anything
        except OSError as error:
            raise OutputError(
                "the export cannot be written",
                where=str(folder),
                why=error.strerror or str(error),
                fix="name a new folder, or an empty one, in a place with room",
            ) from error
        return [folder / path.relative_to(whole) for path in written]

    def program(self) -> Program:
        """The program that the artifact was compiled from, in normal form. Raises InvalidArtifact, InvalidModel."""
        from neoc.compile import onnx_io
        from neoc.compile.program import ProcessStep, Program, Provenance

        if "program.onnx" not in self.manifest["program"]:
            raise InvalidArtifact("the artifact carries no plain program", where=str(self.path))
        with tempfile.TemporaryDirectory(prefix="neoc-") as scratch:
            self.extract(self.manifest["program"], Path(scratch), durable=False)
            # Tensors in program.data are mapped while the model is read, and so outlive their file.
            model = onnx_io.read(Path(scratch, "program.onnx"))
        return Program(
            model=model,
            provenance=Provenance(**{key: self.manifest["provenance"][key] for key in Provenance.__dataclass_fields__}),
            pre=tuple(ProcessStep.from_dict(step) for step in self.manifest["pre"]),
            post=tuple(ProcessStep.from_dict(step) for step in self.manifest["post"]),
            notes=tuple(self.manifest["notes"]),
        )

    def _evidence_member(self) -> Member:
        return _member(self._entries[EVIDENCE], self.manifest["evidence"])

    @contextmanager
    def _file(self) -> Iterator[int]:
        with _readable(self.path) as handle:
            if _identity(handle) != self._identity:
                raise InvalidArtifact(
                    "the artifact changed after it was opened", where=str(self.path), fix="open it again"
                )
            yield handle


def is_artifact(path: str | Path) -> bool:
    """Whether a file is meant as an artifact, whole or damaged: by its name's ending, or by how it begins."""
    path = Path(path)
    if path.suffix == ".neoc":
        return True
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith(b"PK\3\4") and head[30:].startswith(MANIFEST.encode())


def _member(entry: Entry, record: Mapping[str, Any]) -> Member:
    chunks = tuple(record.get("chunks", ()))
    return Member(entry.name, entry.start, entry.size, record["sha256"], record.get("chunk_bytes", 0), chunks)


def _made_of(name: str, record: Mapping[str, Any], stored: Mapping[str, Member]) -> Member:
    """A member that is no entry of the file: the manifest was checked, so its parts are all there."""
    return Member(name, 0, record["size"], record["sha256"], parts=tuple(stored[part] for part in record["parts"]))


def _small(handle: int, entry: Entry, where: str) -> bytes:
    """The bytes of manifest or evidence, which their CRC-32 in the container must fit."""
    place = f"{where}, member {entry.name}"
    if entry.size > MAX_JSON_BYTES:
        raise invalid(place, f"it has {entry.size} bytes, more than the {MAX_JSON_BYTES} that are allowed")
    raw = os.pread(handle, entry.size, entry.start)
    if len(raw) != entry.size or zlib.crc32(raw) != entry.crc:
        raise invalid(place, "its CRC-32 is not the one in the zip directory")
    return raw


@contextmanager
def _readable(path: Path) -> Iterator[int]:
    try:
        # Non-blocking: opening a pipe that nobody writes to would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidArtifact(
            "the artifact cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="check the path and its permissions",
        ) from error
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
            raise InvalidArtifact(
                "this is no neoc artifact",
                where=str(path),
                why=f"it is {kind}",
                fix="give a file that `neoc compile` wrote",
            )
        yield handle
    except OSError as error:
        raise InvalidArtifact(
            "the artifact cannot be read", where=str(path), why=error.strerror or str(error), fix="check the disk"
        ) from error
    finally:
        os.close(handle)


def _identity(handle: int) -> tuple[int, ...]:
    facts = os.fstat(handle)
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _plain(text: str) -> str:
    """A variant's id or an engine's name as one part of a path."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text) or "-"
