"""What a Keras file says of itself: `.keras` archives and HDF5, looked at before anything in them is built.

Both describe layers by class name and configuration. A file can also carry Python code (a Lambda layer is pickled byte
code) or name classes that only its author has.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neoc.compile.errors import InvalidModel

_HDF5 = b"\x89HDF\r\n\x1a\n"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MOST_CONFIG_BYTES = 64 << 20
_MOST_BYTES = 32 << 30

FIX = "save the model again with model.save('model.keras'), or export its graph with model.export(FOLDER)"


@dataclass(frozen=True)
class Described:
    """What a file says of itself before any of it is built."""

    config: Mapping[str, Any]
    version: str
    """of the Keras that wrote it"""
    archive: bool

    @property
    def legacy(self) -> bool:
        return not self.version.startswith("3")


# ---- recognition -------------------------------------------------------------------------------------------


def is_keras_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return path.suffix.lower() == ".keras" and path.is_file() and not is_hdf5(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix.lower() == ".keras"
    return {_CONFIG, _WEIGHTS} <= names or ({_CONFIG, _METADATA} <= names and path.suffix.lower() == ".keras")


def is_hdf5(path: Path) -> bool:
    """HDF5's signature is at 0, or after a user block of 512, 1024, 2048 ... bytes (HDF5 format, section II.A)."""
    with path.open("rb") as file:
        return any(file.seek(at) == at and file.read(8) == _HDF5 for at in (0, 512, 1024, 2048, 4096))


def is_keras(path: Path) -> bool:
    return path.is_file() and (is_keras_archive(path) or is_hdf5(path))


# ---- reading the description -------------------------------------------------------------------------------


def describe(path: Path) -> Described:
    """The configuration in the file. Nothing of it is built. Raises InvalidModel."""
    return _describe_hdf5(path) if is_hdf5(path) else _describe_archive(path)


def _describe_archive(path: Path) -> Described:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if _CONFIG not in sizes or _WEIGHTS not in sizes:
                raise _invalid(path, f"the archive lacks {_CONFIG if _CONFIG not in sizes else _WEIGHTS}")
            if sizes[_CONFIG] > _MOST_CONFIG_BYTES or sum(sizes.values()) > _MOST_BYTES:
                raise _invalid(path, "the archive says that it unpacks to an absurd size")
            damaged = archive.testzip()
            if damaged is not None:
                raise _invalid(path, f"{damaged} is damaged: its checksum does not hold")
            config = _json(archive.read(_CONFIG), path, _CONFIG)
            metadata = _json(archive.read(_METADATA), path, _METADATA) if _METADATA in sizes else {}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _invalid(path, f"it is no whole zip archive ({error})") from error
    return Described(config, str(metadata.get("keras_version", "3")), archive=True)


def _describe_hdf5(path: Path) -> Described:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = {name: file.attrs[name] for name in ("model_config", "keras_version") if name in file.attrs}
            holds_weights = bool(set(file) & {"layers", "_layer_checkpoint_dependencies", "vars", "model_weights"}) or (
                "layer_names" in file.attrs
            )
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise _invalid(path, f"it is no whole HDF5 file ({error})") from error
    if "model_config" not in attributes:
        kind = "Keras weights without the model's layers" if holds_weights else "HDF5 data that Keras did not write"
        raise InvalidModel(
            "the file holds no model",
            where=path.name,
            why=f"it is {kind}",
            fix="rebuild the model in Python, load the weights into it, and save it with model.save('model.keras')",
        )
    text = attributes["model_config"]
    config = _json(
        text if isinstance(text, bytes) else str(text).encode(errors="surrogateescape"), path, "model_config"
    )
    version = attributes.get("keras_version", b"2")
    return Described(
        config, version.decode(errors="replace") if isinstance(version, bytes) else str(version), archive=False
    )


def _json(data: bytes, path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"{what} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise _invalid(path, f"{what} is no JSON object")
    return found


def _invalid(path: Path, why: str) -> InvalidModel:
    return InvalidModel("the Keras model cannot be read", where=path.name, why=why, fix=FIX)


# ---- what must not or cannot be built ------------------------------------------------------------------------


def _objects(config: Any, layer: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name of the layer around it, object) for everything in a configuration that names a class. No recursion."""
    waiting: list[tuple[str, Any]] = [(layer, config)]
    while waiting:
        around, item = waiting.pop()
        if isinstance(item, Mapping):
            if "class_name" in item and not str(item["class_name"]).startswith("__keras_tensor"):
                inner = item.get("config")
                named = inner.get("name") if isinstance(inner, Mapping) else None
                around = named if isinstance(named, str) else around
                yield around, item
            waiting += [(around, value) for value in reversed(list(item.values()))]
        elif isinstance(item, list):
            waiting += [(around, value) for value in reversed(item)]


def unsafe(described: Described) -> list[tuple[str, str]]:
    """(layer, class) of everything that carries Python byte code."""
    found = [(layer, str(item["class_name"])) for layer, item in _objects(described.config)]
    return list(dict.fromkeys((layer, name) for layer, name in found if name in ("Lambda", "__lambda__")))


def custom(described: Described, known: Callable[[str], bool] | None = None) -> list[tuple[str, str]]:
    """(layer, class) of everything whose class Keras does not have. `known`: for Keras 2, which names no modules."""
    found: list[tuple[str, str]] = []
    for layer, item in _objects(described.config):
        name = str(item["class_name"])
        if name.startswith("__") and name.endswith("__"):
            continue  # '__tensor__', '__tuple__', '__lambda__' are syntax of the configuration, not classes
        if "module" in item:
            module = item["module"] or ""
            package = str(item.get("registered_name") or "").partition(">")
            foreign = str(module).split(".")[0] not in ("keras", "tf_keras", "builtins")
            if foreign or (package[1] and package[0] != "keras"):
                found.append((layer, name))
        elif known is not None and not known(name) and "registered_name" not in item:
            found += [(layer, name)] if isinstance(item.get("config"), Mapping) else []
    return list(dict.fromkeys(found))
