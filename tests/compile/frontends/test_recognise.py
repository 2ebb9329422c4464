"""Files are known by what they hold, and refused with a word on what they are."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import model_files
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends import FRONT_ENDS, load, recognise


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


SAFETENSORS = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()

KINDS = [
    (b"", "empty"),
    (b"just words\n", "text"),
    (b"<?xml version='1.0'?><net name='m'></net>", "OpenVINO"),
    (b"<!DOCTYPE html><html>404</html>", "failed download"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    (b'<ir_version: 8, opset_import: ["" : 17]>\nm (float x) => (float y) { y = Relu(x) }', "text form"),
    (archive(a_dot_txt=b"x"), "a zip archive"),
    (archive(deep__model_dot_onnx=b"x"), "holds deep/model.onnx"),
    (archive(x_dot_npy=b"x"), ".npz"),
    (b"PK\x03\x04 and no more", "damaged zip"),
    (gzip.compress(b"x"), "gzip"),
    (b"\x1c\x00\x00\x00ORTM" + bytes(100), ".ort"),
    (npy(), ".npy"),
    (b"\x7fELF" + bytes(60), "ELF"),
    (bytes(range(128, 256)) * 3, "no ONNX protobuf"),
]


@pytest.mark.parametrize(("data", "word"), KINDS, ids=[word for _, word in KINDS])
@pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
def test_says_what_a_file_is(tmp_path: Path, data: bytes, word: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InvalidModel) as caught:
        load(path, {})
    if word == "no ONNX protobuf" and name == "model.onnx":
        assert "damaged" in str(caught.value)  # the name says ONNX, and nothing speaks against it
    else:
        assert word in caught.value.why
        assert "ONNX (.onnx)" in caught.value.fix
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"learner": {}}', "gradient_booster"),
        (b"tree\nversion=v4\n", "end of trees"),
        (archive(m__data_dot_pkl=b"x", m__version=b"3"), "Python pickle"),
        (pickle.dumps({"weight": 1}, protocol=2), "pickle of plain values"),
        (len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4), "safetensors"),
    ],
    ids=["xgboost", "lightgbm", "torch", "pickle", "safetensors"],
)
def test_what_is_recognised_is_told_by_who_knows_it(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(InvalidModel, match=words) as caught:
        load(path, {})
    assert caught.value.exit_status == 2


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = model_files.affine(tmp_path / "model.txt")
    assert recognise.is_onnx(path)
    assert load(str(path), {}).provenance.name == "model.txt"
    # protobufs of other makes: a TensorFlow SavedModel begins like an ONNX model, and has no graph field
    other = tmp_path / "saved_model.pb"
    other.write_bytes(b"\x08\x01\x12\x03abc")
    assert not recognise.is_onnx(other)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_model_is_called_damaged(tmp_path: Path, share: float) -> None:
    data = model_files.affine(tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidModel, match=r"damaged|IR version|no graph|cut short"):
        load(tmp_path / "cut.onnx", {})


def test_places_that_are_no_files(tmp_path: Path) -> None:
    model_files.affine(tmp_path / "right.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "loop.onnx").symlink_to(tmp_path / "loop.onnx")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    for name, word, fix in (
        ("missing.onnx", "no such file", "right.onnx"),
        (".", "it is a folder", "right.onnx"),
        ("saved", "it holds no graph", ""),
        ("pipe.onnx", "device, pipe or socket", ""),
        ("loop.onnx", "", ""),
        ("a\0b", "", ""),
        ("n" * 5000, "", ""),
    ):
        with pytest.raises(InvalidModel) as caught:
            load(tmp_path / name, {})
        assert word in caught.value.why
        assert fix in caught.value.fix
        assert len(str(caught.value)) < 1000


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model_files.affine(tmp_path / "m.onnx")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # as root every file may be read
    with pytest.raises(InvalidModel, match="Permission denied"):
        load(path, {})


def test_the_table_of_front_ends(tmp_path: Path) -> None:
    path = model_files.affine(tmp_path / "m.onnx")
    assert [front_end.name for front_end in FRONT_ENDS if front_end.recognise(path)] == ["onnx"]


@given(st.binary(max_size=600), st.sampled_from([".onnx", ".bin", ""]))
def test_any_bytes_are_described(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    assert recognise.describe(path)
    with pytest.raises(InvalidModel):
        load(path, {})
