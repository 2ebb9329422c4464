"""`--pipeline`: raw items through the artifact's pre-processing, the model and its post-processing, as the application
calls it; and each stage apart. Runs in the subject's process, which reads the items itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from neoc.bench.drive import Call, Driven
from neoc.compile.contracts import Feeds, Session
from neoc.compile.errors import UsageError
from neoc.compile.raw import Items, RawPipeline

STAGES = ("pre-processing", "batching", "inference", "post-processing")
MOST_ITEMS = 256
ROUNDS = 30


def raw_calls(session: Session, path: str, batch: int) -> list[Callable[[], object]]:
    """One call of `run_raw` for each `batch` items of the file or folder, the last group filled up from the first.

    Raises UsageError where the artifact has no steps, or an item fails: errors are fast, and no figure.
    """
    groups = _groups(session, path, batch)
    for answer in session.run_raw(groups[0]):
        if isinstance(answer, Exception):
            raise UsageError("an item cannot be run", where=path, why=str(answer), fix="neoc run --raw names the items")
    return [partial(session.run_raw, group) for group in groups]


def _groups(session: Session, path: str, batch: int) -> list[list[Any]]:
    steps = _steps(session)
    items = _items(path, steps)
    if not items:
        raise UsageError("there is no raw item", where=path, fix="name a folder of images, a table or a list")
    if len(items) < batch:
        items = items * -(-batch // len(items))
    return [items[at : at + batch] for at in range(0, len(items) - batch + 1, batch)]


def _steps(session: Session) -> RawPipeline:
    if not isinstance(session.raw, RawPipeline):
        raise UsageError(
            "--pipeline needs an artifact that takes raw items",
            why="this one declares no pre- or post-processing",
            fix="compile the model with its steps (docs/adr/0010-pre-and-post-processing.md)",
        )
    return session.raw


@cache
def _load(path: str, slots: tuple[Any, ...]) -> list[Any]:
    from neoc.compile import raw_files

    items = raw_files.load(Path(path), slots).items
    if isinstance(items, list | tuple | np.ndarray):
        return list(items)[:MOST_ITEMS]
    if hasattr(items, "to_pylist"):  # an Arrow table: one mapping a row
        return [_columns(items.slice(row, 1)) for row in range(min(items.num_rows, MOST_ITEMS))]
    raise UsageError("these items cannot be driven one by one", where=path, fix="give a list, a folder or a table")


def _columns(row: Any) -> dict[str, Any]:
    return {name: values[0] for name, values in row.to_pydict().items()}


def _items(path: str, steps: RawPipeline) -> list[Any]:
    return _load(path, steps.slots)


def stages(call: Call, feeds: Sequence[Feeds], options: Mapping[str, Any], session: Session) -> Driven:
    """Median ns of each stage of one call, over several rounds of all groups: what `run_raw` does, step by step."""
    steps = _steps(session)
    groups = _groups(session, options["raw"], int(options["raw_batch"]))
    rows = []
    clock = time.perf_counter_ns
    for index in range(ROUNDS):
        group = groups[index % len(groups)]
        marks = [clock()]
        made = steps.feeds(Items(group, [slot.kind for slot in steps.slots]))
        marks.append(clock())
        filled = steps.filled(made)
        marks.append(clock())
        outputs = session.run(filled)
        marks.append(clock())
        steps.answer(outputs, len(group))
        marks.append(clock())
        rows.append(np.diff(marks))
    medians = np.median(np.array(rows), axis=0)
    return {"stages": dict(zip(STAGES, map(float, medians), strict=True))}, {}
