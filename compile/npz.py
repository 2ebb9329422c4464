"""Arrays in .npz files, read without trust: nothing is unpickled, nothing allocated that the file does not hold.

dtypes that numpy does not know (bfloat16 and smaller) are stored as raw bytes, as numpy does; strings as unicode.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from neoc.compile.contracts import FeedCheck, Signature, TensorSpec, dtype_of
from neoc.compile.errors import FeedError, InvalidInput
from neoc.compile.files import atomic_file

_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, RuntimeError)
"""what zipfile and numpy raise on damaged, encrypted or unusually packed archives"""


def load_data(path: Path, signature: Signature) -> list[dict[str, np.ndarray]]:
    """The samples in an .npz whose arrays are named like the inputs: one, or one a row of an extra leading axis.

    Arrays of other names are left alone. Raises InvalidInput where the file or an array does not fit.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    arrays = {name: _as_declared(array, specs[name], path) for name, array in _read(path, specs).items()}
    count = _samples(arrays, specs, path)
    feeds = [arrays] if count is None else [{n: np.asarray(a[i]) for n, a in arrays.items()} for i in range(count)]
    check = FeedCheck(signature.inputs)
    for index, feed in enumerate(feeds):
        try:
            check.check(feed)
        except FeedError as error:
            place = error.where if count is None else f"{error.where}, sample {index}"
            raise _misfit(path, f"{place}: {error.why}", signature.inputs) from error
    return feeds


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays`, whole or not at all, any names allowed. Raises OutputError."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            # The fixed time stamp makes equal arrays equal files.
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(np.asarray(array)), allow_pickle=False)


def _storable(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "O":
        return array.astype(str) if array.size else array.astype("U1")
    # numpy would refuse the extension dtypes of ml_dtypes, or store them as bytes with a name that it cannot read.
    if array.dtype.kind == "V" or array.dtype.isbuiltin == 2:
        return np.ascontiguousarray(array).reshape(array.shape).view(f"V{array.dtype.itemsize}")
    return array


# ---- reading ---------------------------------------------------------------------------------------


def _read(path: Path, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            missing = [name for name in specs if name not in entries]
            if missing:
                held = ", ".join(map(repr, entries)) or "nothing"
                why = f"it holds {held}, and not {', '.join(map(repr, missing))}"
                raise _misfit(path, why, tuple(specs.values()))
            for name in specs:
                with archive.open(entries[name]) as member:
                    arrays[name] = _read_array(member, entries[name].file_size, name, path)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except _DAMAGE as error:
        raise _unreadable(path, f"it is damaged, or no .npz: {error}") from error
    return arrays


def _read_array(member: IO[bytes], held: int, name: str, path: Path) -> np.ndarray:
    """One .npy, its claimed size checked against what the member holds and what memory is free."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
    else:  # 3.0 differs in the encoding of field names alone, and later ones do not exist
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
    if dtype.hasobject:
        raise _unreadable(path, f"array {name!r} is pickled, and pickles are never loaded")
    needed = prod(shape) * dtype.itemsize
    if needed > held:
        raise _unreadable(path, f"array {name!r} claims {needed} bytes and holds fewer than {held}")
    if needed > _free_memory():
        raise _unreadable(path, f"array {name!r} needs {needed} bytes, and less memory is free")
    data = bytearray(needed)
    view, filled = memoryview(data), 0
    while filled < needed:
        block = member.read(min(1 << 20, needed - filled))
        if not block:
            raise _unreadable(path, f"array {name!r} is cut short")
        view[filled : filled + len(block)] = block
        filled += len(block)
    array = np.frombuffer(data, dtype) if needed else np.zeros(prod(shape), dtype)
    return np.ascontiguousarray(array.reshape(shape, order="F" if fortran else "C")).reshape(shape)


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _as_declared(array: np.ndarray, spec: TensorSpec, path: Path) -> np.ndarray:
    """Text as str objects, raw bytes as the dtype that the input declares; all else as it is."""
    if spec.dtype == "string":
        if array.dtype.kind not in "US":
            return array
        try:
            text = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        except UnicodeDecodeError as error:
            raise _unreadable(path, f"array {spec.name!r} holds bytes that are not UTF-8 text") from error
        return text.astype(object)
    if spec.dtype in ("sequence", "optional", "undefined"):
        raise _misfit(path, f"input {spec.name!r} is a {spec.dtype}, which no array can be", (spec,))
    declared = dtype_of(spec.dtype)
    raw = array.dtype.kind == "V" and array.dtype.names is None and array.dtype.itemsize == declared.itemsize
    native = array.dtype.newbyteorder("=")
    return array.view(declared) if raw else array.astype(native) if native != array.dtype else array


def _samples(arrays: Mapping[str, np.ndarray], specs: Mapping[str, TensorSpec], path: Path) -> int | None:
    """How many samples the arrays hold on an extra leading axis; None where they are one sample without that axis."""
    extra = {name: a.ndim - len(shape) for name, a in arrays.items() if (shape := specs[name].shape) is not None}
    if not extra or all(more == 0 for more in extra.values()):
        return None
    if any(more != 1 for more in extra.values()):
        found = ", ".join(f"{name!r} has rank {a.ndim}" for name, a in arrays.items())
        raise _misfit(path, f"{found}: neither one sample nor all with one extra leading axis", tuple(specs.values()))
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        found = ", ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise _misfit(path, f"the inputs have different numbers of samples, or none: {found}", tuple(specs.values()))
    return next(iter(counts.values()))


def _misfit(path: Path, why: str, inputs: tuple[TensorSpec, ...]) -> InvalidInput:
    return InvalidInput(
        "the data does not fit the model",
        where=path.name,
        why=why,
        fix=f"the model's inputs are {'; '.join(map(str, inputs)) or 'none'}; neoc never casts",
    )


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        "the data cannot be read", where=str(path), why=why, fix="write it with numpy.savez(FILE, NAME=array, ...)"
    )
