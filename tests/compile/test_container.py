"""The zip layer: other tools read it, and nothing but what neoc writes is accepted."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from artifact_samples import forge
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.compile import container
from neoc.compile.container import ALIGNMENT, Entry
from neoc.compile.errors import InvalidArtifact

PARTS = [("manifest.json", b"{}"), ("weights/a.bin", bytes(range(256)) * 5), ("empty", b""), ("evidence.json", b"[1]")]


def read(path: Path) -> tuple[Entry, ...]:
    handle = os.open(path, os.O_RDONLY)
    try:
        return container.read_directory(handle, path.name)
    finally:
        os.close(handle)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return forge(tmp_path / "sample.zip", PARTS)


def test_zipfile_reads_it_and_data_are_aligned_stored_and_undated(sample: Path) -> None:
    with zipfile.ZipFile(sample) as archive:
        assert archive.testzip() is None
        assert [(i.filename, archive.read(i)) for i in archive.infolist()] == PARTS
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
    for entry, (name, data) in zip(read(sample), PARTS, strict=True):
        assert (entry.name, entry.size, entry.crc) == (name, len(data), zlib.crc32(data))
        assert entry.start % ALIGNMENT == 0
        assert sample.read_bytes()[entry.start : entry.end] == data


def test_unzip_reads_it(sample: Path, tmp_path: Path) -> None:
    if shutil.which("unzip") is None:
        pytest.skip("needs unzip: no program of that name")
    done = subprocess.run(["unzip", "-q", sample, "-d", tmp_path / "out"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name, data in PARTS:
        assert (tmp_path / "out" / name).read_bytes() == data


names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=90).filter(
    lambda name: not container.name_fault(name)
)


@given(st.dictionaries(names, st.binary(max_size=300), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_members_come_back(tmp_path_factory: pytest.TempPathFactory, parts: dict[str, bytes]) -> None:
    path = forge(tmp_path_factory.mktemp("zip") / "a.zip", list(parts.items()))
    with zipfile.ZipFile(path) as archive:
        assert {i.filename: archive.read(i) for i in archive.infolist()} == parts
    assert [e.name for e in read(path)] == list(parts)
    assert all(e.start % ALIGNMENT == 0 for e in read(path))


def test_members_beyond_four_gigabytes(tmp_path: Path) -> None:
    """A sparse file of 13 GB: holes take no disk. Sizes and offsets pass 32 bits in two members."""
    entries = container.lay_out([("a", 5 << 30, 1), ("b", 8 << 30, 2), ("c", 3, zlib.crc32(b"end"))])
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        for entry in entries:
            file.seek(entry.offset)
            file.write(entry.header())
        file.write(b"end")
        file.write(container.directory(entries))
    assert read(path) == entries
    assert [e.offset for e in entries] == [0, (5 << 30) + 64, (13 << 30) + 128]
    with zipfile.ZipFile(path) as archive:
        assert [(i.filename, i.file_size, i.header_offset) for i in archive.infolist()] == [
            (e.name, e.size, e.offset) for e in entries
        ]
        assert archive.read("c") == b"end"


@pytest.mark.parametrize("size", [0, 1, 21, 22, 97, 98, 99])
def test_a_stump_is_no_artifact(tmp_path: Path, size: int, sample: Path) -> None:
    (tmp_path / "stump").write_bytes(sample.read_bytes()[:size])
    with pytest.raises(InvalidArtifact):
        read(tmp_path / "stump")


def test_every_truncation_and_every_appended_byte_is_noticed(sample: Path, tmp_path: Path) -> None:
    whole = sample.read_bytes()
    cut = tmp_path / "cut"
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(InvalidArtifact):
            read(cut)
    for extra in (b"\0", b"PK", whole):
        cut.write_bytes(whole + extra)
        with pytest.raises(InvalidArtifact):
            read(cut)
        cut.write_bytes(extra + whole)
        with pytest.raises(InvalidArtifact):
            read(cut)


def test_every_flipped_byte_outside_the_data_is_noticed(sample: Path, tmp_path: Path) -> None:
    whole = bytearray(sample.read_bytes())
    data = {i for e in read(sample) for i in range(e.start, e.end)}
    target = tmp_path / "flipped"
    for index in range(len(whole)):
        if index in data:
            continue
        for mask in (0x01, 0x80):
            target.write_bytes(bytes([*whole[:index], whole[index] ^ mask, *whole[index + 1 :]]))
            with pytest.raises(InvalidArtifact):
                read(target)


def rewritten(change: Callable[[bytearray, int, int], None]) -> Callable[[Path], Path]:
    """Change the second member's two headers: change(bytes, offset of its local header, offset of its record)."""

    def apply(path: Path) -> Path:
        whole = bytearray(path.read_bytes())
        entry = read(path)[1]
        record = whole.rindex(b"PK\1\2", 0, whole.rindex(entry.name.encode()))
        change(whole, entry.offset, record)
        path.write_bytes(whole)
        return path

    return apply


def both(local: int, central: int, value: bytes) -> Callable[[Path], Path]:
    def change(whole: bytearray, at: int, record: int) -> None:
        whole[at + local : at + local + len(value)] = value
        whole[record + central : record + central + len(value)] = value

    return rewritten(change)


@pytest.mark.parametrize(
    ("forgery", "words"),
    [
        (both(6, 8, b"\1\0"), "encrypted"),
        (both(6, 8, b"\0\x20"), "encrypted"),
        (both(8, 10, b"\x08\0"), r"compressed \(method 8\)"),
        (both(30, 46, b"../../x/a.bin"), r"'\.\.' part"),
        (both(30, 46, b"/eights/a.bin"), "absolute"),
        (both(30, 46, b"weights\\a.bin"), "backslash"),
        (both(30, 46, b"C:ights/a.bin"), "colon"),
        (both(30, 46, b"weights//.bin"), "empty"),
        (both(30, 46, b"manifest.json"), "two members"),
        (both(30, 46, b"weights/\xff.bin"), "member weights"),
        (both(30, 46, b"weights/\0.bin"), "printable"),
        (
            rewritten(lambda w, at, rec: w.__setitem__(slice(rec + 46, rec + 51), b"other")),
            "local header names 'weights",
        ),
        (rewritten(lambda w, at, rec: w.__setitem__(slice(at + 8, at + 10), b"\x08\0")), "compressed, the directory"),
        (rewritten(lambda w, at, rec: w.__setitem__(slice(at + 14, at + 18), b"\0\0\0\0")), "disagree"),
    ],
)
def test_forged_headers_are_named(sample: Path, forgery: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(InvalidArtifact, match=words) as caught:
        read(forgery(sample))
    assert "member" in caught.value.where


def sizes(stored: int, size: int, offset: int | None = None) -> Callable[[Path], Path]:
    def change(whole: bytearray, at: int, record: int) -> None:
        place = record + 46 + len("weights/a.bin") + 4
        struct.pack_into("<QQ", whole, place, stored, size)
        if offset is not None:
            struct.pack_into("<Q", whole, place + 16, offset)

    return rewritten(change)


@pytest.mark.parametrize(
    ("forgery", "words"),
    [
        (sizes(10**9, 10**9), "1000000000 bytes lie outside the file"),
        (sizes(2**64 - 1, 2**64 - 1), "lie outside the file"),
        (sizes(1280, 10**12), "1280 bytes stored, 1000000000000"),  # a bomb says that it grows
        (sizes(1280, 1280, 2**64 - 1), "lie outside the file"),
        (sizes(1280, 1280, 0), "local header names 'manifest.json'"),
        (sizes(1280, 1280, 1), "not where the directory says"),
    ],
)
def test_forged_sizes_are_named(sample: Path, forgery: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(InvalidArtifact, match=words):
        read(forgery(sample))


def test_a_member_within_another_overlaps(tmp_path: Path) -> None:
    """The second member, header and all, lies in the data of the first: each header agrees with the directory."""
    inner = Entry("inner", 4, zlib.crc32(b"abcd"), 128)
    outer = Entry("outer", 256, 0, 0)
    data = bytearray(256)
    data[inner.offset - outer.start : inner.end - outer.start] = inner.header() + b"abcd"
    tail = container.directory([inner, outer])  # outer last: the directory begins where outer ends
    (tmp_path / "overlap").write_bytes(outer.header() + bytes(data) + tail)
    with pytest.raises(InvalidArtifact, match="does not follow"):
        read(tmp_path / "overlap")
    records = outer.record() + inner.record()
    (tmp_path / "overlap").write_bytes(outer.header() + bytes(data) + records + tail[len(records) :])
    with pytest.raises(InvalidArtifact, match="overlaps"):
        read(tmp_path / "overlap")


def test_a_gap_between_members_hides_nothing(tmp_path: Path) -> None:
    first, second = Entry("a", 4, 1, 0), Entry("b", 4, 2, 192)
    body = (first.header() + b"aaaa").ljust(192, b"?") + second.header() + b"bbbb"
    (tmp_path / "gap").write_bytes(body + container.directory([first, second]))
    with pytest.raises(InvalidArtifact, match=r"member b.*does not follow"):
        read(tmp_path / "gap")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\x08\x07\x12\x0epytorch\n", "not a zip file"),
        (b"hello " * 100, "not a zip file"),
    ],
)
def test_what_is_no_zip_says_so(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.neoc").write_bytes(content)
    with pytest.raises(InvalidArtifact, match=words):
        read(tmp_path / "m.neoc")


def test_a_plain_zip_is_no_artifact(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.neoc", "w") as archive:
        archive.writestr("manifest.json", "{}")
    with pytest.raises(InvalidArtifact, match="zip of another make"):
        read(tmp_path / "m.neoc")
    with zipfile.ZipFile(tmp_path / "m.neoc", "a") as archive:
        archive.comment = b"x" * 200
    with pytest.raises(InvalidArtifact, match="appended"):
        read(tmp_path / "m.neoc")


@given(st.binary(max_size=400), st.integers(0, 2000), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_mutations_end_in_invalid_artifact_or_in_nothing_changed(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, removed: int
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    whole = forge(folder / "a.zip", PARTS).read_bytes()
    entries = read(folder / "a.zip")
    mutated = whole[:at] + noise + whole[at + removed :]
    (folder / "b.zip").write_bytes(mutated)
    try:
        found = read(folder / "b.zip")
    except InvalidArtifact:
        return
    assert found == entries
    assert len(mutated) == len(whole)
