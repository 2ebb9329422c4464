"""Raw items from files, for `neoc run --raw`, `neoc compile --raw` and CompileOptions.raw_data.

image     a folder of images, or one image (whatever Pillow opens, as RGB, EXIF rotation not applied; .npy as it is)
row       .csv, .parquet, .arrow or .feather: one item a row
tokens    .jsonl: one list of ids a line; .json: a list of them
any       .npz: every array is one item; one that has an axis more is a batch of items (of 'row': a 2-D array, or a
          1-D array for each column)
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neoc.compile.errors import InvalidInput, MissingTool
from neoc.compile.raw import Items, Slot

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".npy")
TABLES = (".csv", ".parquet", ".arrow", ".feather")
_RANK = {"image": 3, "tokens": 1, "row": 1}


@dataclass(frozen=True)
class RawData:
    """items: as `Session.run_raw` takes them. names: one an item, for messages and results."""

    items: Any
    names: tuple[str, ...]


def load(path: Path, slots: Sequence[Slot]) -> RawData:
    """The items in `path` for an artifact whose items have these slots. Raises InvalidInput, MissingTool."""
    if len(slots) != 1:
        raise InvalidInput(
            "items of several parts do not come from files",
            where=", ".join(slot.name for slot in slots),
            fix="call Session.run_raw with mappings of these names",
        )
    kind, suffix = slots[0].kind, path.suffix.lower()
    try:
        if suffix == ".npz":
            return _npz(path, kind)
        if kind == "image" and (path.is_dir() or suffix in IMAGES):
            return _images(path)
        if kind == "row" and suffix in TABLES:
            return _counted(_table(path), kind)
        if kind in ("tokens", "row") and suffix in (".json", ".jsonl"):
            return _counted(_json(path), kind)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    tables = f"{', '.join(TABLES)}, .jsonl"
    readable = {"image": "a folder of images, an image, .npz", "row": f"{tables}, .npz", "tokens": ".jsonl, .npz"}
    raise _unreadable(path, f"items of kind {kind!r} are read from {readable.get(kind, '.npz')}")


def _counted(items: Any, kind: str) -> RawData:
    return RawData(items, tuple(str(i) for i in range(len(Items(items, [kind])))))


def _images(path: Path) -> RawData:
    found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES) if path.is_dir() else [path]
    if not found:
        raise _unreadable(path, f"the folder holds no image ({', '.join(IMAGES)})")
    return RawData([_image(p) for p in found], tuple(p.name for p in found))


def _image(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return np.asarray(_sheltered(path, lambda: np.load(path, allow_pickle=False)))
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingTool(
            "images cannot be decoded here", where=str(path), why="Pillow is not installed", fix="pip install pillow"
        ) from error
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError, OSError) as error:
        raise _unreadable(path, str(error)) from error


def _table(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError as error:
        raise MissingTool(
            "tables cannot be read here", where=str(path), why="pyarrow is not installed", fix="pip install pyarrow"
        ) from error
    readers: dict[str, Callable[[], Any]] = {
        ".csv": lambda: pyarrow.csv.read_csv(path),
        ".parquet": lambda: pyarrow.parquet.read_table(path),
        ".feather": lambda: pyarrow.feather.read_table(path),
        ".arrow": lambda: pyarrow.feather.read_table(path),
    }
    try:
        return readers[path.suffix.lower()]()
    except pa.ArrowException as error:
        raise _unreadable(path, str(error)) from error


def _json(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        items = (
            json.loads(text)
            if path.suffix.lower() == ".json"
            else [json.loads(line) for line in text.splitlines() if line.strip()]
        )
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(items, list) or not items:
        raise _unreadable(path, "it is no list of items")
    return items


def _npz(path: Path, kind: str) -> RawData:
    def read() -> dict[str, np.ndarray]:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    arrays = _sheltered(path, read)
    if not arrays:
        raise _unreadable(path, "it holds no array")
    if kind == "row":
        if len(arrays) == 1 and next(iter(arrays.values())).ndim == 2:
            return _counted(next(iter(arrays.values())), kind)
        if {a.ndim for a in arrays.values()} != {1} or len({len(a) for a in arrays.values()}) > 1:
            raise _unreadable(path, "a table is one 2-D array, or 1-D arrays of one length, named like the columns")
        return _counted({n: a.astype(object) if a.dtype.kind in "US" else a for n, a in arrays.items()}, kind)
    items: list[np.ndarray] = []
    names: list[str] = []
    for name, array in arrays.items():
        batch = array.ndim == _RANK.get(kind, array.ndim) + 1
        items += list(array) if batch else [array]
        names += [f"{name}[{i}]" for i in range(len(array))] if batch else [name]
    return RawData(items, tuple(names))


def _sheltered(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError) as error:
        raise _unreadable(path, f"it is damaged, or pickled, or no numpy file: {error}") from error


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        "the raw items cannot be read", where=str(path), why=why, fix="docs/kernels.md says what --raw reads"
    )
