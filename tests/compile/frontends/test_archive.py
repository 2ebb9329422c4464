"""model.tar.gz: one model in it is found and named; whatever is hostile, odd or cut is refused, and nothing escapes."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import model_files
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neoc.compile.errors import InvalidModel, NeocError
from neoc.compile.frontends import archive, load

Members = list[tuple[tarfile.TarInfo, bytes]]


def entry(
    name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = (len(data) if kind == tarfile.REGTYPE else 0), kind, link
    return info, data


def pack(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


@pytest.fixture
def model(tmp_path: Path) -> bytes:
    return model_files.affine(tmp_path / "m.onnx").read_bytes()


@pytest.mark.parametrize("name", ["m.onnx", "./m.onnx", "export/1/m.onnx"])
@pytest.mark.parametrize("suffix", ["tar.gz", "tar", "bin"])
def test_the_one_model_in_it_is_compiled(tmp_path: Path, model: bytes, name: str, suffix: str) -> None:
    mode = "w" if suffix == "tar" else "w:gz"
    path = tmp_path / f"model.{suffix}"
    with tarfile.open(path, mode) as file:
        for info, data in [entry(name, model), entry("code/inference.py", b"print('never run')"), entry("README")]:
            file.addfile(info, io.BytesIO(data))
    program = load(path, {})
    assert program.provenance.name == f"model.{suffix}/m.onnx"
    assert program.provenance.sha256 == archive.digest(path), "of what the user gave"
    assert program.digest == load(tmp_path / "m.onnx", {}).digest


def test_what_was_unpacked_goes_with_the_program(tmp_path: Path, model: bytes) -> None:
    program = load(pack(tmp_path / "model.tar.gz", [entry("m.onnx", model)]), {})
    assert program.source is not None
    place = program.source.path
    assert place.is_file()
    del program
    assert not place.exists()


HOSTILE: list[tuple[str, Members]] = [
    ("leads out", [entry("../m.onnx")]),
    ("leads out", [entry("a/../../m.onnx")]),
    ("leads out", [entry("/tmp/m.onnx")]),
    ("leads out", [entry("a\\..\\m.onnx")]),
    ("is a link", [entry("m.onnx", kind=tarfile.SYMTYPE, link="/etc/passwd")]),
    ("is a link", [entry("m.onnx", kind=tarfile.LNKTYPE, link="../../secret")]),
    ("is a link", [entry("d", kind=tarfile.SYMTYPE, link="/tmp"), entry("d/m.onnx")]),
    ("device or pipe", [entry("m.onnx", kind=tarfile.FIFOTYPE)]),
    ("device or pipe", [entry("m.onnx", kind=tarfile.CHRTYPE)]),
    ("twice", [entry("m.onnx"), entry("m.onnx")]),
    ("too long or too deep", [entry("/".join("d" * 40))]),
    ("too long or too deep", [entry("n" * 2000)]),
    ("holds no model", [entry("readme.txt")]),
    ("gzip data", []),
    ("cannot be read", [entry("a"), entry("a/m.onnx")]),
]


@pytest.mark.parametrize(("why", "members"), HOSTILE, ids=[f"{i}-{why}" for i, (why, _) in enumerate(HOSTILE)])
def test_hostile_members_are_refused(tmp_path: Path, why: str, members: Members) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = pack(inside / "model.tar.gz", members)
    with pytest.raises(InvalidModel, match=why):
        load(path, {})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inside", "model.tar.gz"], "nothing was written beside it"


def test_two_models_are_not_chosen_between(tmp_path: Path, model: bytes) -> None:
    path = pack(tmp_path / "model.tar.gz", [entry("a.onnx", model), entry("b.onnx", model)])
    with pytest.raises(InvalidModel, match=r"holds 2 models: a\.onnx, b\.onnx"):
        load(path, {})


def test_a_bomb_stops_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1 << 20)
    path = pack(tmp_path / "model.tar.gz", [entry(f"{i}.bin", bytes(1 << 19)) for i in range(8)])
    assert path.stat().st_size < 1 << 14
    with pytest.raises(InvalidModel, match="unfolds to more than"):
        load(path, {})


def test_a_header_that_unfolds_without_end_is_not_read(tmp_path: Path) -> None:
    """A long name is read into memory before a member is seen: here it has 64 MiB, and the file 64 kB."""
    info, _ = entry("././@LongLink", bytes(1 << 26), tarfile.REGTYPE)
    info.type = tarfile.GNUTYPE_LONGNAME
    path = tmp_path / "model.tar.gz"
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + b"n" * info.size)
    with pytest.raises(InvalidModel, match="a header of 67108864 bytes"):
        load(path, {})


def test_many_members_stop_at_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 50)
    path = pack(tmp_path / "model.tar.gz", [entry(f"{i}.bin") for i in range(60)])
    with pytest.raises(InvalidModel, match="more than 50 members"):
        load(path, {})


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_archive_is_refused(tmp_path: Path, model: bytes, keep: float) -> None:
    data = pack(tmp_path / "whole.tar.gz", [entry("m.onnx", model * 50)]).read_bytes()
    path = tmp_path / "model.tar.gz"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InvalidModel):
        load(path, {})


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_damage_gives_a_model_or_a_typed_error(tmp_path: Path, model: bytes, data: st.DataObject) -> None:
    """Bytes of the tar stream are changed under the gzip layer, and of the gzip layer itself."""
    plain = bytearray(gzip.decompress(pack(tmp_path / "whole.tar.gz", [entry("d/m.onnx", model)]).read_bytes()))
    for _ in range(data.draw(st.integers(1, 6))):
        plain[data.draw(st.integers(0, min(len(plain), 2048) - 1))] = data.draw(st.integers(0, 255))
    packed = bytearray(gzip.compress(bytes(plain), mtime=0))
    if data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "model.tar.gz"
    path.write_bytes(packed)
    with _typed():
        assert load(path, {}).signature.outputs


class _typed:
    """Only errors of neoc, of the user's making, pass silently."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, NeocError) and error.exit_status == 2
