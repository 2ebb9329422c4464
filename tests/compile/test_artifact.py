"""Artifacts: written whole or not at all, the same bytes for the same content, and never believed."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from artifact_samples import (
    EVIDENCE,
    FACTOR,
    MEMBERS,
    SIGNATURE,
    draft,
    factor,
    forge,
    redigest,
    reforge,
    step,
    variant,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neoc.compile import artifact as module
from neoc.compile import digests, files, manifest
from neoc.compile.artifact import Artifact, is_artifact, pack
from neoc.compile.contracts import Level
from neoc.compile.errors import InternalError, InvalidArtifact, NeocError, OutputError, UsageError

CHUNK = 1 << 16


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return pack(tmp_path / "sample.neoc", draft(), MEMBERS, EVIDENCE).path


# ---- writing ---------------------------------------------------------------------------------


def test_what_was_packed_comes_back(sample: Path) -> None:
    artifact = Artifact.open(sample)
    assert artifact.signature == SIGNATURE
    assert artifact.level is Level.EXECUTED
    assert artifact.evidence == EVIDENCE
    (path,) = MEMBERS
    assert {name: bytes(view) for name, view in artifact.read([path]).items()} == MEMBERS
    assert artifact.members("multiplier/default")[path].sha256 == hashlib.sha256(MEMBERS[path]).hexdigest()
    assert artifact.manifest["variants"][0]["members"] == [path]
    artifact.verify()


def test_standard_tools_read_it_and_the_digest_can_be_recomputed_by_hand(sample: Path) -> None:
    with zipfile.ZipFile(sample) as archive:
        assert archive.namelist() == ["manifest.json", *MEMBERS, "evidence.json"]
        facts = json.loads(archive.read("manifest.json"))
        assert hashlib.sha256(archive.read("evidence.json")).hexdigest() == facts["evidence"]["sha256"]
    digest = facts.pop("content_digest")
    del facts["evidence"]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    assert digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_the_manifest_fits_its_schema(sample: Path) -> None:
    schema = json.loads(Path(module.__file__).with_name("manifest.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(Artifact.open(sample).manifest, schema)


def test_same_content_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    members = {"b": b"two", "a": b"one", "c": b"three"}
    names = {"x": "a", "y": "b", "z": "c"}
    backwards = dict(reversed(members.items()))
    for name in members:
        (tmp_path / name).write_bytes(members[name])
    facts = draft(variant(step(names)))
    shuffled = dict(reversed(draft(variant(step(dict(reversed(names.items()))))).items()))
    first = pack(tmp_path / "1.neoc", facts, members, EVIDENCE)
    pack(tmp_path / "2.neoc", shuffled, backwards, dict(reversed(EVIDENCE.items())))
    pack(tmp_path / "3.neoc", facts, {name: tmp_path / name for name in members}, EVIDENCE)
    assert (tmp_path / "1.neoc").read_bytes() == (tmp_path / "2.neoc").read_bytes()
    assert (tmp_path / "1.neoc").read_bytes() == (tmp_path / "3.neoc").read_bytes()
    measured = pack(tmp_path / "4.neoc", facts, members, EVIDENCE | {"when": "2031-01-01"})
    assert measured.content_digest == first.content_digest
    other = pack(tmp_path / "5.neoc", facts, members | {"a": b"One"}, EVIDENCE)
    assert other.content_digest != first.content_digest
    assert pack(tmp_path / "6.neoc", facts | {"chosen_by": "preference"}, members, EVIDENCE).content_digest not in (
        first.content_digest,
        other.content_digest,
    )


def test_equal_members_are_stored_once(tmp_path: Path) -> None:
    shared = factor(2.0, 64)
    facts = draft(
        variant(step({FACTOR: "native/b/factor.bin"})),
        variant(step({FACTOR: "native/a/factor.bin"}), id="other"),
        program={"program.onnx": "program/program.onnx"},
    )
    members = {"native/b/factor.bin": shared, "native/a/factor.bin": shared, "program/program.onnx": shared}
    artifact = pack(tmp_path / "m.neoc", facts, members, EVIDENCE)
    assert list(artifact.members()) == ["native/a/factor.bin"]
    for chosen in artifact.manifest["variants"]:
        assert chosen["steps"][0]["members"] == {FACTOR: "native/a/factor.bin"}
    assert artifact.manifest["program"] == {"program.onnx": "native/a/factor.bin"}


def test_export_gives_every_file_its_own_name(tmp_path: Path) -> None:
    shared = factor(2.0, 64)
    facts = draft(
        variant(step({FACTOR: "f"}, "a"), step({"g.bin": "g"}, "b", SIGNATURE), id="x/1"),
        variant(step({FACTOR: "f"}), id="x-1"),
        program={"program.onnx": "p"},
    )
    facts["variants"][0]["steps"][0]["signature"] = SIGNATURE.as_dict()
    artifact = pack(tmp_path / "m.neoc", facts, {"f": shared, "g": b"g", "p": shared}, EVIDENCE)
    written = artifact.export(tmp_path / "new" / "out")
    relative = sorted(str(p.relative_to(tmp_path / "new" / "out")) for p in written)
    assert relative == [
        "evidence.json",
        "manifest.json",
        "native/0-x-1/0-a/factor.bin",
        "native/0-x-1/1-b/g.bin",
        "native/1-x-1/multiplier/factor.bin",
        "program/program.onnx",
    ]
    assert (tmp_path / "new/out/program/program.onnx").read_bytes() == shared
    assert (tmp_path / "new/out/native/0-x-1/1-b/g.bin").read_bytes() == b"g"
    assert json.loads((tmp_path / "new/out/evidence.json").read_text()) == EVIDENCE
    with pytest.raises(OutputError):
        artifact.export(tmp_path / "new" / "out")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]


def test_export_of_a_damaged_artifact_leaves_nothing(sample: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(sample)
    (member,) = artifact.members().values()
    flip(sample, member.start)
    with pytest.raises(InvalidArtifact):
        Artifact.open(sample).export(tmp_path / "out" / "x")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("provenance"), "provenance"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d["variants"][0].update(level="proven"), "proven"),
        (
            lambda d: d["variants"][0]["requirements"].append(
                {"kind": "moon", "name": "x", "version": "", "match": "any"}
            ),
            "moon",
        ),
        (lambda d: d["variants"][0]["steps"].clear(), "steps"),
        (lambda d: d.update(notes=[float("nan")]), "not JSON"),
        (lambda d: d.update(notes={1, 2}), "not JSON"),
        (lambda d: d["variants"][0]["steps"][0]["members"].update(b="nowhere"), "nowhere"),
    ],
)
def test_a_manifest_outside_the_schema_is_a_bug_and_writes_nothing(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    facts = draft()
    change(facts)
    with pytest.raises(InternalError, match=words):
        pack(tmp_path / "m.neoc", facts, MEMBERS, EVIDENCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a\\b", "a//b", "", "a/./b", "C:x", "ü", "manifest.json"])
def test_a_member_cannot_be_packed_under_a_bad_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InternalError, match="laid out"):
        pack(tmp_path / "m.neoc", draft(variant(step({FACTOR: name}))), {name: b"1234"}, EVIDENCE)
    assert list(tmp_path.iterdir()) == []


# ---- nothing half written ------------------------------------------------------------------------


class FullDisk:
    """A file on a disk with room for `room` more bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()


def test_a_full_disk_leaves_the_old_artifact_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full at any point of the file: in a header, in a member, in the directory."""
    old = pack(tmp_path / "m.neoc", draft(), MEMBERS, EVIDENCE).path.read_bytes()
    beside = files._beside
    for room in range(0, len(old), 97):

        def full(path: Path, room: int = room) -> tuple[Any, Path]:
            file, name = beside(path)
            return FullDisk(file, room), name

        monkeypatch.setattr(files, "_beside", full)
        with pytest.raises(OutputError, match="no space is left") as caught:
            pack(tmp_path / "m.neoc", draft(chosen_by="preference"), MEMBERS, EVIDENCE)
        assert caught.value.exit_status == 2
        assert "m.neoc" in str(caught.value)
        assert [p.name for p in tmp_path.iterdir()] == ["m.neoc"]
    assert (tmp_path / "m.neoc").read_bytes() == old


def test_a_limited_file_size_is_reported_like_a_full_disk(tmp_path: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from artifact_samples import draft, EVIDENCE, factor\n"
        "from neoc.compile.artifact import pack\n"
        "from neoc.compile.errors import OutputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))\n"
        "try:\n"
        "    pack(sys.argv[1], draft(), {'native/multiplier/factor.bin': factor(1.0, 1 << 20)}, EVIDENCE)\n"
        "except OutputError as error:\n"
        "    print(error); raise SystemExit(error.exit_status)\n"
    )
    done = python(script, str(tmp_path / "m.neoc"))
    assert done.returncode == 2, done.stderr
    assert "the file would grow past its limit" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["missing/m.neoc", "file/m.neoc", "folder"])
def test_an_unusable_place_is_an_output_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot be written"):
        pack(tmp_path / where, draft(), MEMBERS, EVIDENCE)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder", "inner"]


def test_ctrl_c_while_packing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(source: object) -> Any:
        yield b"12"
        raise KeyboardInterrupt

    monkeypatch.setattr(module.digests, "digest", lambda source: digests.Digest(4, "0" * 64, 0, ()))
    monkeypatch.setattr(module.digests, "blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "m.neoc", draft(), MEMBERS, EVIDENCE)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from neoc.compile.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('writing', flush=True); time.sleep(60)\n"
    )
    target = tmp_path / "m.neoc"
    writers = [subprocess.Popen([sys.executable, "-c", script, target], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.iterdir())) == 2
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        pack(target, draft(), MEMBERS, EVIDENCE)
        left = sorted(p.name for p in tmp_path.iterdir() if p != target)
        assert len(left) == 1, "one stale file is swept, the living writer's is kept"
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            if writer.stdout:
                writer.stdout.close()
    pack(target, draft(), MEMBERS, EVIDENCE)
    assert [p.name for p in tmp_path.iterdir()] == ["m.neoc"]


def test_two_writers_at_once_both_succeed(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from artifact_samples import draft, EVIDENCE, MEMBERS\n"
        "from neoc.compile.artifact import pack\n"
        "for _ in range(30): pack(sys.argv[1], draft(), MEMBERS, EVIDENCE).verify()\n"
    )
    target = tmp_path / "m.neoc"
    command = [sys.executable, "-c", script, str(target)]
    others = [subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) for _ in range(2)]
    results = [(other.communicate()[1], other.returncode) for other in others]
    # A writer may find the other's newer file between its own write and its own check; it must find a whole one.
    for errors, code in results:
        assert code == 0 or b"changed after it was opened" in errors, errors
    Artifact.open(target).verify()
    assert [p.name for p in tmp_path.iterdir()] == ["m.neoc"]


def test_a_source_that_changes_while_it_is_packed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "factor"
    source.write_bytes(factor(1.0, 64))
    validate = module.validate

    def meddle(facts: dict[str, Any]) -> None:
        validate(facts)
        source.write_bytes(factor(2.0, 64))

    monkeypatch.setattr(module, "validate", meddle)
    with pytest.raises(OutputError, match="changed while it was packed"):
        pack(tmp_path / "m.neoc", draft(), {"native/multiplier/factor.bin": source}, EVIDENCE)
    assert [p.name for p in tmp_path.iterdir()] == ["factor"]


# ---- never believed --------------------------------------------------------------------------------


def flip(path: Path, at: int, mask: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def everything(path: Path) -> None:
    Artifact.open(path).verify()


def test_every_flipped_byte_is_noticed_and_its_member_named(tmp_path: Path) -> None:
    members = {"native/multiplier/factor.bin": factor(3.0, 40), "program/program.onnx": b"plain"}
    path = pack(tmp_path / "m.neoc", draft(program={"program.onnx": "program/program.onnx"}), members, EVIDENCE).path
    entries = list(Artifact.open(path)._entries.values())
    spans = {e.name: range(e.offset, e.end) for e in entries}
    size = path.stat().st_size
    for at in range(size):
        mask = 1 << at % 8
        flip(path, at, mask)
        with pytest.raises(InvalidArtifact) as caught:
            everything(path)
        owner = next((name for name, span in spans.items() if at in span), None)
        expected = f"member {owner}" if owner else "m.neoc"
        assert expected in str(caught.value), f"byte {at} of {size}: {caught.value}"
        flip(path, at, mask)
    everything(path)


def test_a_flipped_byte_in_each_chunk_of_a_large_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(digests, "_PARALLEL_ABOVE_BYTES", 0)
    content = os.urandom(5 * CHUNK + 123)
    path = pack(tmp_path / "m.neoc", draft(), {"native/multiplier/factor.bin": content}, EVIDENCE).path
    (member,) = Artifact.open(path).members().values()
    assert len(member.chunks) == 6
    assert bytes(Artifact.open(path).read([member.path], threads=3)[member.path]) == content
    for at in [*(i * CHUNK for i in range(6)), CHUNK - 1, len(content) - 1]:
        flip(path, member.start + at)
        with pytest.raises(InvalidArtifact, match=r"member native/multiplier/factor\.bin.*sha256"):
            Artifact.open(path).read([member.path], threads=3)
        flip(path, member.start + at)
    assert bytes(Artifact.open(path).read([member.path])[member.path]) == content


def test_chunks_that_fit_do_not_excuse_a_false_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "CHUNK_BYTES", CHUNK)
    content = os.urandom(3 * CHUNK)
    path = pack(tmp_path / "m.neoc", draft(), {"native/multiplier/factor.bin": content}, EVIDENCE).path

    def lie(facts: dict[str, Any]) -> dict[str, Any]:
        facts["members"]["native/multiplier/factor.bin"]["sha256"] = "0" * 64
        return facts

    lying = Artifact.open(reforge(path, tmp_path / "lie.neoc", lie))
    with pytest.raises(InvalidArtifact, match="sha256"):
        lying.verify()
    with pytest.raises(InvalidArtifact, match="sha256"):
        lying.export(tmp_path / "out")


def test_a_shrunken_file_is_noticed_after_opening(sample: Path) -> None:
    artifact = Artifact.open(sample)
    os.truncate(sample, 300)
    with pytest.raises(InvalidArtifact, match="changed after it was opened"):
        artifact.verify()


def test_another_file_in_its_place_is_noticed(sample: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(sample)
    pack(sample, draft(), {"native/multiplier/factor.bin": factor(9.0, 200)}, EVIDENCE)
    with pytest.raises(InvalidArtifact, match="changed after it was opened"):
        artifact.read(list(artifact.members()))


def test_bytes_handed_over_are_not_the_file(sample: Path) -> None:
    """The check and the use see the same memory: a file that changes later changes nothing."""
    artifact = Artifact.open(sample)
    (path,) = artifact.members()
    view = artifact.read([path])[path]
    flip(sample, artifact.members()[path].start)
    assert bytes(view) == MEMBERS[path]
    assert view.readonly


@pytest.mark.parametrize("make", ["folder", "missing", "pipe", "unreadable"])
def test_what_cannot_be_read_says_why(tmp_path: Path, make: str) -> None:
    path = tmp_path / "m.neoc"
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    elif make == "unreadable":
        path.write_bytes(b"x")
        path.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)  # permissions do not bind root
        with pytest.raises(InvalidArtifact, match=r"m\.neoc") as caught:
            Artifact.open(path)
    finally:
        if root:
            os.seteuid(0)
    assert caught.value.exit_status == 2
    assert caught.value.fix


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def apply(facts: dict[str, Any]) -> dict[str, Any]:
        change(facts)
        return facts

    return apply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda d: d.update(format="2.0", neoc="7.1.0"),
            r"format 2\.0.*reads formats 1\.x.*pip install 'neoc>=7\.1\.0'",
        ),
        (lambda d: d.update(format="17.3", neoc="$(reboot)"), r"format 17\.3.*compile the model anew"),
        (lambda d: d.update(format="1"), "not major.minor"),
        (lambda d: d.update(format=1), "not major.minor"),
        (lambda d: d.pop("format"), "not major.minor"),
        (lambda d: d.pop("signature"), "signature is missing"),
        (lambda d: d["signature"]["inputs"][0].update(dtype="O"), "dtype"),
        (lambda d: d["signature"]["inputs"][0].update(dtype="float33"), "float33"),
        (lambda d: d["signature"]["inputs"][0].update(shape=[-1]), "shape"),
        (lambda d: d["signature"]["inputs"][0].update(shape=[True]), "shape"),
        (lambda d: d.update(variants=[]), "no variant"),
        (lambda d: d["variants"].append(copy.deepcopy(d["variants"][0])), "two of one id"),
        (lambda d: d["variants"][0].update(level="executed", numerics="unchecked"), "its facts make it 'compiled'"),
        (lambda d: d["variants"][0].update(toolchain="stand-in"), "its facts make it 'stand-in'"),
        (lambda d: d["variants"][0].update(numerics="checked"), "checked"),
        (lambda d: d["variants"][0].update(threads=True), "threads"),
        (lambda d: d["variants"][0].update(threads=-2), "negative"),
        (lambda d: d["variants"][0].update(steps=[]), "no step"),
        (lambda d: d["variants"][0]["steps"].append(d["variants"][0]["steps"][0]), "signature of its own"),
        (lambda d: d["variants"][0]["steps"][0]["members"].update(b="gone"), "'gone', which is not there"),
        (lambda d: d["variants"][0]["steps"][0].update(members={"../x": next(iter(MEMBERS))}), "unusable key"),
        (lambda d: d.update(program={"a": "gone"}), "'gone', which is not there"),
        (lambda d: d.update(program={"/etc/cron.d/x": next(iter(MEMBERS))}), "unusable key"),
        (lambda d: d["members"].update(ghost={"sha256": "0" * 64, "size": 1}), "differ: 'ghost'"),
        (lambda d: d.update(members={}), "differ"),
        (lambda d: d["members"][next(iter(MEMBERS))].update(size=199), "has 200 bytes, not 199"),
        (lambda d: d["members"][next(iter(MEMBERS))].update(sha256="xyz"), "sha256 is 'xyz'"),
        (
            lambda d: d["members"][next(iter(MEMBERS))].update(chunks=["0" * 64] * 2, chunk_bytes=1 << 16),
            "do not cover",
        ),
        (lambda d: d["members"][next(iter(MEMBERS))].update(chunks=["0" * 64], chunk_bytes=0), "do not cover"),
    ],
)
def test_a_forged_manifest_is_refused(
    sample: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    path = reforge(sample, tmp_path / "forged.neoc", changed(change))
    with pytest.raises(InvalidArtifact, match=words) as caught:
        Artifact.open(path)
    assert "manifest.json" in str(caught.value)


@pytest.mark.parametrize("form", ["1.1", "1.37"])
def test_a_later_minor_version_is_read_and_what_it_adds_ignored(sample: Path, tmp_path: Path, form: str) -> None:
    path = reforge(sample, tmp_path / "m.neoc", changed(lambda d: d.update(format=form, colour="green")))
    assert Artifact.open(path).signature == SIGNATURE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no JSON"),
        (b"[]", "not in the form"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a":NaN}', "no JSON"),
        (b'{"a":1e999}', "no JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "no JSON"),
        (b'{"a":1,"a":1}', "not in the form"),
        (b'{ "a":1}', "not in the form"),
        (b'{"format":"1.0"}', "content_digest"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: bytes, words: str) -> None:
    path = forge(tmp_path / "m.neoc", [("manifest.json", text), ("evidence.json", b"{}")])
    with pytest.raises(InvalidArtifact, match=words):
        Artifact.open(path)


def test_a_huge_manifest_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_JSON_BYTES", 1000)
    path = forge(tmp_path / "m.neoc", [("manifest.json", b" " * 1001), ("evidence.json", b"{}")])
    with pytest.raises(InvalidArtifact, match="1001 bytes, more than the 1000"):
        Artifact.open(path)


@pytest.mark.parametrize(
    "parts", [[("manifest.json", b"{}")], [("a", b""), ("manifest.json", b"{}"), ("evidence.json", b"{}")]]
)
def test_manifest_first_evidence_last(tmp_path: Path, parts: list[tuple[str, bytes]]) -> None:
    with pytest.raises(InvalidArtifact, match=r"begin with manifest\.json"):
        Artifact.open(forge(tmp_path / "m.neoc", parts))


def test_forged_evidence_does_not_fit_its_digest(sample: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(sample)
    members = [(name, bytes(view)) for name, view in artifact.read(list(MEMBERS)).items()]
    text = manifest.canonical(artifact.manifest, "manifest.json")
    path = forge(tmp_path / "m.neoc", [("manifest.json", text), *members, ("evidence.json", b'{"race":"won"}')])
    with pytest.raises(InvalidArtifact, match=r"evidence\.json"):
        _ = Artifact.open(path).evidence


values = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
)
replacements = st.recursive(
    values, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3)
)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_in_the_manifest_ends_in_a_typed_error_or_a_usable_artifact(
    sample: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Someone who knows the format makes every digest fit again. All that is read must still be what it says."""
    places = list(_places(Artifact.open(sample).manifest))
    place = data.draw(st.sampled_from(places))
    value = data.draw(replacements)

    def change(facts: dict[str, Any]) -> dict[str, Any]:
        *parents, last = place
        inner: Any = facts
        for key in parents:
            inner = inner[key]
        inner[last] = value
        return facts

    path = reforge(sample, tmp_path / "m.neoc", change)
    status = 2
    try:
        artifact = Artifact.open(path)
        assert artifact.signature.inputs is not None
        assert artifact.level in Level
        assert artifact.variant()["steps"]
        artifact.verify()
    except NeocError as error:
        status = error.exit_status
    assert status == 2


def _places(value: Any, at: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from _places(inner, (*at, key))


# ---- the rest ----------------------------------------------------------------------------------------


def test_variants_are_found_by_id(tmp_path: Path) -> None:
    one, two = step({FACTOR: "one"}), step({FACTOR: "two"})
    members = {"one": factor(1.0), "two": factor(2.0)}
    artifact = pack(tmp_path / "m.neoc", draft(variant(one, id="a"), variant(two, id="b")), members, EVIDENCE)
    assert artifact.variant()["id"] == "a"
    assert list(artifact.members("b")) == ["two"]
    assert sorted(artifact.members()) == ["one", "two"]
    with pytest.raises(UsageError, match=r"no variant 'c'.*it has: a, b"):
        artifact.variant("c")


def test_is_artifact_goes_by_name_or_by_beginning(sample: Path, tmp_path: Path) -> None:
    assert is_artifact(sample)
    sample.rename(tmp_path / "renamed")
    assert is_artifact(tmp_path / "renamed")
    (tmp_path / "broken.neoc").write_bytes(b"not at all")
    assert is_artifact(tmp_path / "broken.neoc")
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07")
    assert not is_artifact(tmp_path / "m.onnx")
    assert not is_artifact(tmp_path / "nothing")


def test_a_member_of_256_mb_is_checked_at_a_gigabyte_per_second(tmp_path: Path) -> None:
    """Reading is part of it. The best of several tries counts.

    Of each try, the CPU time of all threads together where that is less than the time on the clock: the process then
    waited for others.
    """
    size = 256 << 20
    with (tmp_path / "weights").open("wb") as file:
        block = os.urandom(1 << 20)
        for index in range(size >> 20):
            file.write(index.to_bytes(8, "little") + block[8:])
    source = {"native/multiplier/factor.bin": tmp_path / "weights"}
    artifact = pack(tmp_path / "m.neoc", draft(), source, EVIDENCE)
    rates: list[float] = []
    while len(rates) < 5 or (max(rates) < 1e9 and len(rates) < 20):
        clock, processor = time.perf_counter(), time.process_time()
        view = artifact.read(list(source))["native/multiplier/factor.bin"]
        rates.append(size / min(time.perf_counter() - clock, time.process_time() - processor))
        assert view.nbytes == size
        del view
    assert max(rates) >= 1e9, f"{max(rates) / 1e9:.2f} GB/s"


@pytest.mark.slow
def test_a_member_beyond_four_gigabytes_goes_round(tmp_path: Path) -> None:
    size = (4 << 30) + 5
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(size - 4)
        file.seek(size - 4)
        file.write(b"last")
    source = {"native/multiplier/factor.bin": tmp_path / "weights"}
    artifact = pack(tmp_path / "m.neoc", draft(), source, EVIDENCE)
    view = artifact.read(list(source))["native/multiplier/factor.bin"]
    assert view.nbytes == size
    assert bytes(view[-5:]) == b"\0last"


def environment() -> dict[str, str]:
    helpers = str(Path(__file__).parents[1] / "helpers")
    return dict(os.environ) | {"PYTHONPATH": helpers}


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def test_redigest_is_what_the_forgeries_need(sample: Path) -> None:
    facts = Artifact.open(sample).manifest
    assert redigest(facts) == facts
