"""Raw items from files: what is read, and what is refused in one paragraph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from PIL import Image

from neoc.compile.errors import InvalidInput
from neoc.compile.raw import Slot
from neoc.compile.raw_files import load

RNG = np.random.default_rng(3)
PHOTO = (Slot("x", "image", "uint8 [h, w, 3]"),)
ROW = (Slot("x", "row", ""),)
TOKENS = (Slot("ids", "tokens", ""),)


def test_a_folder_of_images_in_the_order_of_their_names(tmp_path: Path) -> None:
    arrays = {name: RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8) for name in ("c.png", "a.bmp", "b.npy")}
    for name, array in arrays.items():
        np.save(tmp_path / name, array) if name.endswith("npy") else Image.fromarray(array).save(tmp_path / name)
    Image.fromarray(arrays["c.png"]).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(arrays["c.png"]).save(tmp_path / "d.jpg")
    (tmp_path / "notes.txt").write_text("no image")
    data = load(tmp_path, PHOTO)
    assert data.names == ("a.bmp", "b.npy", "c.png", "d.jpg", "grey.png")
    for name, item in zip(data.names[:3], data.items, strict=False):
        np.testing.assert_array_equal(item, arrays[name])
    assert data.items[4].shape == (7, 5, 3)
    single = load(tmp_path / "c.png", PHOTO)
    np.testing.assert_array_equal(single.items[0], arrays["c.png"])


def test_arrays_and_batches_in_an_npz(tmp_path: Path) -> None:
    one, many = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8), RNG.integers(0, 256, (2, 6, 3, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", one=one, many=many)
    data = load(tmp_path / "a.npz", PHOTO)
    assert data.names == ("one", "many[0]", "many[1]")
    np.testing.assert_array_equal(data.items[2], many[1])


def test_tables_of_every_kind_are_the_same_rows(tmp_path: Path) -> None:
    table = pa.table({"size": [1.5, None, 3.0], "kind": ["a", "b", None]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    pa.feather.write_feather(table, tmp_path / "t.feather")
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("t.parquet", "t.feather", "t.arrow"):
        data = load(tmp_path / name, ROW)
        assert data.names == ("0", "1", "2")
        assert data.items.to_pydict() == table.to_pydict()
    (tmp_path / "t.csv").write_text("size,kind\n1.5,a\n,b\n3,c\n")
    assert load(tmp_path / "t.csv", ROW).items.to_pydict() == {"size": [1.5, None, 3.0], "kind": ["a", "b", "c"]}
    np.savez(tmp_path / "t.npz", size=np.array([1.5, 2]), kind=np.array(["a", "b"]))
    columns = load(tmp_path / "t.npz", ROW)
    assert columns.names == ("0", "1")
    assert columns.items["kind"].tolist() == ["a", "b"]
    np.savez(tmp_path / "m.npz", np.ones((4, 2)))
    assert len(load(tmp_path / "m.npz", ROW).names) == 4
    (tmp_path / "rows.jsonl").write_text('{"size": 1, "kind": "a"}\n\n{"size": null, "kind": "b"}\n')
    assert load(tmp_path / "rows.jsonl", ROW).items[1] == {"size": None, "kind": "b"}


def test_token_sequences(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("[1, 2]\n[3]\n")
    (tmp_path / "t.json").write_text(json.dumps([[1, 2], [3]]))
    for name in ("t.jsonl", "t.json"):
        assert load(tmp_path / name, TOKENS).items == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("name", "content", "slots", "words"),
    [
        ("a.png", b"no image", PHOTO, "cannot identify"),
        ("a.png", b"\x89PNG\r\n\x1a\n", PHOTO, "raw items cannot be read"),
        ("a.npy", b"\x93NUMPY\x01", PHOTO, "damaged"),
        ("a.npz", b"PK\x03\x04", PHOTO, "damaged"),
        ("a.csv", b"a,b\n1\n", ROW, "raw items cannot be read"),
        ("a.parquet", b"PAR1", ROW, "raw items cannot be read"),
        ("a.csv", b"a\n1\n", PHOTO, "of kind 'image' are read from"),
        ("a.jsonl", b"{", TOKENS, "raw items cannot be read"),
        ("a.json", b"[]", TOKENS, "no list of items"),
        ("a.json", b"[" * 100_000, TOKENS, "raw items cannot be read"),
        ("a.txt", b"", TOKENS, "are read from .jsonl"),
        ("a.png", b"", (*PHOTO, *ROW), "several parts"),
    ],
)
def test_what_cannot_be_read(name: str, content: bytes, slots: tuple[Slot, ...], words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=words):
        load(tmp_path / name, slots)


def test_pickles_are_never_loaded_and_absent_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", a=np.array([{"x": 1}], object))
    with pytest.raises(InvalidInput, match="pickled"):
        load(tmp_path / "p.npz", PHOTO)
    with pytest.raises(InvalidInput, match="No such file"):
        load(tmp_path / "absent.png", PHOTO)
    with pytest.raises(InvalidInput, match="holds no image"):
        load(_empty(tmp_path), PHOTO)


def _empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder
