"""The ledger: what was ever measured, one JSON object a line, appended and never changed.

    {"sha256": "<first 16 hex digits of the digest of the rest>", "entry": {...}}

Writers lock the file, so that two never mix; a line is one write, then fsync. A writer that was killed leaves at most a
line without its end: the next one ends it, and it stands as one bad line. Where the disk is full, what was written of
the line is cut off again and the error says so. Readers name every bad line and give all others.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench import record
from neoc.compile.errors import InvalidInput, OutputError

ENTRY_FORMAT = "neoc.ledger/1"
KEY = ("model", "target", "engine", "variant", "precision", "scenario", "threads", "load", "machine")
"""what makes two entries points of one series; versions are what changes along it"""
FLOOR_QUANTILE = 0.95
FLOOR_ENTRIES = 5


@dataclass(frozen=True)
class BadLine:
    number: int
    why: str


@dataclass
class Ledger:
    """Everything that could be read: entries in file order, and the lines that could not."""

    path: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)

    def series(self) -> dict[str, list[dict[str, Any]]]:
        """Key -> entries in time, one series for each."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in self.entries:
            found.setdefault(key_of(entry), []).append(entry)
        return {key: sorted(entries, key=lambda e: str(e["created"])) for key, entries in found.items()}

    def floor(self, machine: str, target: str, metric: str) -> float:
        """log: what A against A reached here, 95 % of the time, within runs and from run to run; 0 for too few.

        From run to run: entries next to each other in a series whose artifact and versions are the same.
        """
        alike = [e for e in self.entries if e["machine"]["digest"] == machine and e["target"] == target]
        seen = [math.log1p(e["floor"][metric]) for e in alike if e.get("floor", {}).get(metric) is not None]
        within = float(np.quantile(seen, FLOOR_QUANTILE)) if len(seen) >= FLOOR_ENTRIES else 0.0
        steps = []
        for entries in self.series().values():
            for a, b in itertools.pairwise(entries):
                same = a["machine"]["digest"] == machine and a["target"] == target and same_code(a, b)
                if same and metric in a["metrics"] and metric in b["metrics"]:
                    x, y = a["metrics"][metric]["value"], b["metrics"][metric]["value"]
                    if x and y:
                        steps.append(abs(math.log(y / x)))
        between = float(np.quantile(steps, FLOOR_QUANTILE)) if len(steps) >= FLOOR_ENTRIES else 0.0
        return max(within, between)


def same_code(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether nothing that was measured had changed between two entries."""
    return bool(a["artifact"] == b["artifact"] and a["tools"] == b["tools"] and a["versions"] == b["versions"])


def key_of(entry: Mapping[str, Any]) -> str:
    parts = {name: entry[name] for name in KEY}
    parts |= {"model": entry["model"]["sha256"], "machine": entry["machine"]["digest"]}
    # The artifact's winner may change from night to night: the series is the model's on the target, whatever serves it.
    if entry["artifact"] is not None:
        parts |= {"engine": "neoc", "variant": ""}
    return json.dumps(parts, sort_keys=True)


# ---- entries -------------------------------------------------------------------------------


KEPT = (
    "subject", "model", "target", "engine", "variant", "precision", "level", "tools", "artifact", "bytes", "runs", "n",
    "percentiles_ns", "bounds_ns", "needed", "metrics", "histogram", "phases", "memory", "spread", "floor", "agrees",
    "footprint", "roofline", "verdicts", "blocks", "facts", "stages",
)  # fmt: skip
"""of a record's result"""


def _circumstances(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of one record share."""
    machine = found["machine"]
    return {
        "format": ENTRY_FORMAT,
        **{key: found[key] for key in ("created", "scenario", "threads", "load", "max_load", "data", "noise")},
        "machine": machine["machine"] | {"digest": machine["digest"]},
        "versions": machine["versions"],
        "state": machine["state"],
    }


def entries_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry for each subject of a record that counts. Void results and stand-ins do not enter."""
    entries = []
    for result in found["results"]:
        record.refuse_stand_in(result["subject"], result["level"])
        if result["void"]:
            continue
        entries.append({**_circumstances(found), **{name: result[name] for name in KEPT}})
    return entries


# ---- writing -------------------------------------------------------------------------------


def append(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Put entries at the end of the ledger, all of them or none. Raises OutputError, UsageError for a stand-in."""
    for entry in entries:
        record.refuse_stand_in(str(entry["subject"]), entry["level"])
    if not entries:
        return
    text = b"".join(encode(entry) for entry in entries)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path) as handle:
            end = os.lseek(handle, 0, os.SEEK_END)
            torn = end > 0 and os.pread(handle, 1, end - 1) != b"\n"
            try:
                _write(handle, (b"\n" if torn else b"") + text)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise
    except OSError as error:
        raise OutputError(
            "the ledger cannot be written",
            where=str(path),
            why=error.strerror or str(error),
            fix="make room or name another place; what was in it is untouched",
        ) from error


def encode(entry: Mapping[str, Any]) -> bytes:
    """One line."""
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f'{{"sha256":"{_digest(text)}","entry":{text}}}\n'.encode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(handle: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.write(handle, data[done:])


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


# ---- reading -------------------------------------------------------------------------------


def read(path: Path) -> Ledger:
    """Every good line, and the numbers of the bad ones. Raises InvalidInput where there is no file to read."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InvalidInput(
            "the ledger cannot be read",
            where=str(path),
            why=error.strerror or str(error),
            fix="name a file that `neoc bench --ledger` wrote",
        ) from error
    found = Ledger(path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.entries.append(_decode(line))
        except ValueError as error:
            found.bad.append(BadLine(number, str(error)))
    return found


def _decode(line: bytes) -> dict[str, Any]:
    """Raises ValueError with the reason."""
    try:
        text = line.decode()
        outer = json.loads(text)
    except ValueError:
        raise ValueError("it is no JSON: cut off, or overwritten") from None
    if not isinstance(outer, dict) or not isinstance(outer.get("entry"), dict):
        raise ValueError("it is no ledger entry")
    entry: dict[str, Any] = outer["entry"]
    again = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    if outer.get("sha256") != _digest(again):
        raise ValueError("its digest does not fit its content: it was changed")
    if entry.get("format") != ENTRY_FORMAT:
        raise ValueError(f"its format is {entry.get('format')!r}, not {ENTRY_FORMAT!r}")
    try:
        record.refuse_stand_in(str(entry["subject"]), entry["level"])
    except Exception as error:  # a stand-in, or no level that neoc knows
        raise ValueError(str(error)) from None
    return entry
