"""Outputs in double precision, kept by everything that they hang on: the slowest part of a proof is run once a model.

They belong to the source and the samples, not to any engine, so that every trial of every compilation of one model can
be judged by the same run. Kept are arrays of numbers alone; sequences and strings are computed anew.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.errors import OutputError
from neoc.compile.own_code import code_digest
from neoc.compile.program import Program

if TYPE_CHECKING:
    from neoc.compile.build import Workshop

Outputs = Sequence[Mapping[str, Any]]
ENGINE = "outputs in float64"
"""what `neoc cache ls` shows of such an entry"""


def remembered(
    shop: Workshop, program: Program, samples: Sequence[Mapping[str, Any]], run: Callable[[Any], Outputs | None]
) -> Outputs | None:
    """run(samples), or what it gave before for the same source and samples."""
    if shop.cache is None or program.source is None:
        return run(samples)
    key = {
        "engine": ENGINE,
        "source": program.provenance.sha256,
        "program": program.digest,
        "bound": json.dumps(program.source.bound, default=str),
        "samples": _digest(samples),
        "onnx": version("onnx"),
        "numpy": version("numpy"),
        "code": code_digest(),
    }
    folder = shop.cache.get(key)
    if folder is not None:
        return [_read(folder / f"{index}.npz") for index in range(len(samples))]
    found = run(samples)
    if found is not None and all(_plain(value) for output in found for value in output.values()):
        with tempfile.TemporaryDirectory(dir=shop.scratch) as scratch:
            for index, output in enumerate(found):
                arrays: dict[str, Any] = {name: np.asarray(value) for name, value in output.items()}
                np.savez(Path(scratch) / f"{index}.npz", **arrays)
            try:
                shop.cache.put(key, Path(scratch))
            except OutputError as error:  # a full or locked cache costs the next compilation its time
                shop.progress("cache", str(error))
    return found


def _plain(value: object) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc"


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _digest(samples: Sequence[Mapping[str, Any]]) -> str:
    state = hashlib.sha256()
    for sample in samples:
        for name, value in sorted(sample.items()):
            array = np.asarray(value)
            state.update(f"{name} {array.dtype} {array.shape}\0".encode())
            state.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
    return state.hexdigest()
