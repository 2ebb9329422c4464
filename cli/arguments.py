"""Arguments that several commands share, parsed once: --input, --option, subjects, places to write to."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path

from neoc.compile.contracts import Dim, dtype_of
from neoc.compile.errors import InvalidInput, OutputError, UsageError
from neoc.compile.options import OF_DATA, OPTIMIZE, PRECISIONS, Bucketing, InputBinding


def bindings(texts: Sequence[str]) -> dict[str, InputBinding]:
    """`NAME=1,3,224,224[:float32]`, split at the last '='. Raises InvalidInput."""
    found: dict[str, InputBinding] = {}
    for text in texts:
        name, equals, rest = text.rpartition("=")
        if not equals or not name:
            raise InvalidInput(
                "--input cannot be read", where=text, fix="write NAME=1,3,224,224 or NAME=1,3,224,224:float32"
            )
        if name in found:
            raise InvalidInput("--input names one input twice", where=name, fix="give each input once")
        dims, _, dtype = rest.partition(":")
        if dtype:
            try:
                dtype_of(dtype)
            except (AttributeError, TypeError) as error:
                raise InvalidInput(
                    f"--input has an unknown dtype {dtype!r}",
                    where=text,
                    fix="use float32, int64, bfloat16 ...",
                ) from error
        found[name] = InputBinding(tuple(_dim(d, text) for d in dims.split(",") if d.strip()), dtype or None)
    return found


def _dim(text: str, where: str) -> Dim:
    word = text.strip()
    if word in ("?", "-1"):
        return None
    if word.isidentifier():
        return word
    if word.isdecimal():
        return int(word)
    raise InvalidInput(
        f"--input has a dimension {word!r} that is neither a size, a name nor '?'",
        where=where,
        fix="write NAME=1,3,224,224; leave a dimension open with '?' or a name",
    )


def bucketing(sizes: Sequence[str], lengths: Sequence[str], count: int | None, pads: Sequence[str]) -> Bucketing | None:
    """--bucket DIM=32,64, --lengths [DIM=]FILE, --buckets N and --pad NAME=VALUE; None where none is given.

    Raises UsageError.
    """
    if not sizes and not lengths:
        if count is not None or pads:
            raise UsageError(
                "there are no buckets",
                why="--buckets and --pad say how",
                fix="add --bucket DIM=32,64 or --lengths FILE",
            )
        return None
    if count is not None and count < 1:
        raise UsageError(f"--buckets must be at least 1, not {count}", fix="--buckets 4")
    named = [_sized(text) for text in sizes]
    files = [_file(text) for text in lengths]
    values = [_pad(text) for text in pads]
    for flag, rows in (("--bucket", named), ("--lengths", files), ("--pad", values)):
        if twice := [name for i, (name, _) in enumerate(rows) if name in [n for n, _ in rows[:i]]]:
            raise UsageError(f"{flag} names {twice[0] or 'the dimension'!r} twice", fix="give each once")
    return Bucketing(dict(named), dict(files), count, dict(values))


def _sized(text: str) -> tuple[str, tuple[int, ...]]:
    name, equals, rest = text.rpartition("=")
    words = [word.strip() for word in rest.split(",")]
    if not equals or not name or not all(w.isdecimal() and 0 < int(w) < 2**31 for w in words):
        raise UsageError("--bucket cannot be read", where=text, fix="write --bucket DIM=32,64,128")
    return name, tuple(sorted({int(word) for word in words}))


def statics(texts: Sequence[str]) -> tuple[Mapping[str, int], ...]:
    """--static DIM=80,OTHER=3, or `data`: the sizes that --data has. Raises UsageError."""
    return tuple(OF_DATA if text.strip() == "data" else _static(text) for text in texts)


def _static(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, size = (word.strip() for word in part.rpartition("="))
        if not equals or not name or name in found or not size.isdecimal() or not 0 < int(size) < 2**31:
            raise UsageError(
                "--static cannot be read", where=text, fix="write --static DIM=80,OTHER=3 or --static data"
            )
        found[name] = int(size)
    return found


def _file(text: str) -> tuple[str, Path]:
    name, equals, rest = text.partition("=")
    return (name, Path(rest)) if equals and not Path(text).exists() else ("", Path(text))


def _pad(text: str) -> tuple[str, float]:
    name, equals, rest = text.rpartition("=")
    try:
        value = float(rest)
    except ValueError:
        equals = ""
    if not equals or not name or not isfinite(value):
        raise UsageError("--pad cannot be read", where=text, fix="write --pad NAME=VALUE with a number")
    return name, value


def pairs(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`KEY=VALUE` options for the engines. Raises UsageError."""
    out = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError("--option cannot be read", where=text, fix="write KEY=VALUE")
        out.append((key, value))
    return tuple(out)


def check_precision(precision: str) -> str:
    """Raises UsageError for a precision that neoc does not know or does not build yet."""
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}", fix=f"one of: {', '.join(PRECISIONS)}")
    if precision in ("int8", "auto"):
        raise UsageError(
            f"precision {precision} is not there yet",
            why="quantisation with an accuracy gate is future work; a model that is already int8 compiles as it is",
            fix="use fp32 (exact), or bf16 where an engine offers it",
        )
    return precision


def check_optimize(goal: str) -> str:
    if goal not in OPTIMIZE:
        raise UsageError(f"--optimize does not know {goal!r}", fix=f"one of: {', '.join(OPTIMIZE)}")
    return goal


def check_threads(threads: int) -> int:
    if threads < 1:
        raise UsageError(f"--threads must be at least 1, not {threads}", fix="--threads 1")
    return threads


def check_positive(name: str, value: float | None) -> float | None:
    """Raises UsageError for a figure that is not above zero."""
    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"{name} must be above zero, not {value}", fix=f"{name} 10")
    return value


def batches(text: str) -> tuple[int, ...]:
    """`1,8,32`. Raises UsageError."""
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1 or len(set(found)) < len(found):
        raise UsageError("--batch cannot be read", where=text, fix="write --batch 8 or --batch 1,8,32")
    return found


UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def slo(text: str | None) -> tuple[float, float | None]:
    """`p99=20ms` -> (0.99, 0.02); None -> (0.99, None). Raises UsageError."""
    if text is None:
        return 0.99, None
    found = re.fullmatch(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)", text.strip())
    if not found or not 50 <= float(found[1]) < 100 or float(found[2]) <= 0:
        raise UsageError("the objective cannot be read", where=text, fix="write p99=20ms (units: us, ms, s)")
    return float(found[1]) / 100, float(found[2]) * UNITS[found[3]]


def output_file(
    output: Path | None, default_name: str, several: bool, sources: Sequence[str | Path | None] = ()
) -> Path:
    """Where to write: `-o` as a file, or as a folder (existing, trailing slash, or several results).

    Raises OutputError before any work is done where nothing can be written there, and where it would replace one of
    the `sources` that the command reads.
    """
    place = Path() if output is None else output
    is_folder = output is None or several or place.is_dir() or str(output).endswith(os.sep)
    path = place / default_name if is_folder else place
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # root may write everywhere, but not into every file system
            pass
    except OSError as error:
        raise OutputError(
            "the output folder cannot be made or written",
            where=str(folder),
            why=error.strerror or str(error),
            fix="name another with -o",
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            "the output folder cannot be written",
            where=str(folder),
            why="permission is denied",
            fix="name another with -o",
        )
    for source in sources:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise OutputError("the output would replace what is read", where=str(path), fix="name another file with -o")
    if path.is_dir():
        raise OutputError("the output file is a folder", where=str(path), fix="name a file with -o")
    return path


def rewrites(text: str) -> tuple[str, ...] | None:
    """--rewrites: None for all, empty for none. Raises UsageError for a name that is no rule's."""
    if text in ("all", "off"):
        return None if text == "all" else ()
    from neoc.compile.rewrites import by_name

    return tuple(by_name(name.strip()).name for name in text.split(","))
