"""C programs around standalone models: tests/kernels/trees/call_model.c."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parents[1] / "kernels" / "trees" / "call_model.c"
TYPES = {"float32": "float", "float64": "double", "int64": "int64_t"}
STRICT = ("-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread")


@cache
def lacking(gcc: str) -> str:
    """Why this compiler makes no programs here, without the headers of a C library, say; empty where it does."""
    with tempfile.TemporaryDirectory() as folder:
        command = [gcc, *STRICT, "-static", "-x", "c", "-", "-o", f"{folder}/a"]
        text = '#include <pthread.h>\n#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{gcc} makes no programs here: {done.stderr.strip()[:200]}"


def program(
    folder: Path, header: Path, library: Path, dtypes: Sequence[str], gcc: str = "gcc", *flags: str, name: str = "call"
) -> Path:
    """Linked with the object (statically) or the shared object. dtypes: of rows, predictions, margins."""
    if why := lacking(gcc):
        pytest.skip(why)
    made = folder / name
    types = [f"-D{macro}={TYPES[d]}" for macro, d in zip(("ROW", "PREDICTION", "MARGIN"), dtypes, strict=True)]
    include = folder / "include"
    include.mkdir(exist_ok=True)
    (include / "model.h").write_text(header.read_text())
    static = ["-static"] if library.suffix == ".o" else [f"-Wl,-rpath,{library.parent}"]
    command = [gcc, *STRICT, *types, *flags, f"-I{include}", "-o", str(made), str(SOURCE), str(library), *static]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


def called(
    made: Path,
    rows: np.ndarray,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    before: Sequence[str] = (),
    threads: int = 1,
) -> list[np.ndarray]:
    """[predictions, margins] of the rows; shapes: (dtype, shape) of each. before: an emulator and its options."""
    files = made.with_suffix(".rows"), made.with_suffix(".out")
    files[0].write_bytes(np.ascontiguousarray(rows).tobytes())
    command = [*before, str(made), str(files[0]), str(len(rows)), str(files[1]), str(threads)]
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "LD_LIBRARY_PATH")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=200)
    assert done.returncode == 0, (done.returncode, done.stderr)
    data, found, at = files[1].read_bytes(), [], 0
    for dtype, shape in shapes:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        found.append(np.frombuffer(data[at : at + size], dtype).reshape(shape))
        at += size
    assert at == len(data)
    return found
