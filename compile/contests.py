"""What candidates compete in beside the time of a request: a start from nothing, or the bytes that are stored.

`--optimize cold-start`: each candidate is opened and run once in processes of its own, in turns, until the race's
budget is spent or ten rounds are done; the least median of open plus first inference wins. What the engine has to
import counts, since a process that starts from nothing has to import it; neoc's own start, the same for all, does not.

`--optimize size`: the bytes that a candidate adds to the artifact beside the plain program, which every artifact holds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neoc.compile import digests
from neoc.compile.errors import NeocError

if TYPE_CHECKING:
    from neoc.compile.build import Workshop
    from neoc.compile.verify import Verified

ROUNDS, LEAST_ROUNDS = 10, 5
HOPELESS = 2.0
"""a candidate that took this many times the leader's time in each of two rounds is not started again"""


def cold_start(shop: Workshop, verified: Sequence[Verified]) -> dict[str, Any]:
    """{'winner', 'rounds', 'entrants': each with milliseconds and private bytes}.

    Raises NeocError where none starts.
    """
    shop.progress("cold-start", f"{len(verified)} candidates, each in fresh processes")
    taken: dict[str, list[tuple[float, float, int]]] = {v.id: [] for v in verified}
    lost: dict[str, str] = {}
    running = list(verified)
    end = time.monotonic() + shop.options.race_seconds
    rounds = 0
    while running and rounds < ROUNDS and (rounds < LEAST_ROUNDS or time.monotonic() < end):
        for v in running if rounds % 2 == 0 else running[::-1]:
            try:
                taken[v.id].append(_start(shop, v))
            except NeocError as error:
                lost[v.id] = str(error)
                if len(lost) == len(verified):
                    raise
        rounds += 1
        running = [v for v in running if v.id not in lost]
        if rounds >= 2 and running:
            best = min(_median(taken[v.id]) for v in running)
            running = [v for v in running if min(a + b for a, b, _ in taken[v.id]) < HOPELESS * best]
    alive = {name: rows for name, rows in taken.items() if name not in lost}
    winner = min(alive, key=lambda name: _median(alive[name]))
    entrants = [
        {"id": name, "lost": lost[name]}
        if name in lost
        else {
            "id": name,
            "open_ms": round(1e3 * statistics.median(a for a, _, _ in rows), 3),
            "first_ms": round(1e3 * statistics.median(b for _, b, _ in rows), 3),
            "private_bytes": round(statistics.median(m for _, _, m in rows)),
            "starts": len(rows),
        }
        for name, rows in taken.items()
    ]
    return {"winner": winner, "what": "open + first inference, fresh processes", "rounds": rounds, "entrants": entrants}


def size(shop: Workshop, verified: Sequence[Verified]) -> dict[str, Any]:
    """{'winner', 'entrants': each with the bytes it adds}; among equals the first in the order of preference."""
    plain = shop.folder("plain")
    verified[0].candidate.plan.programs[0].save(plain)
    known = {digests.digest(path).sha256 for path in plain.iterdir()}
    added = {v.id: _added(v.candidate.built.members.values(), known) for v in verified}
    winner = min(added, key=lambda name: added[name])
    entrants = [{"id": name, "added_bytes": count} for name, count in added.items()]
    return {"winner": winner, "what": "bytes added to the artifact beside the plain program", "entrants": entrants}


CONTESTS: dict[str, Callable[[Workshop, Sequence[Verified]], dict[str, Any]]] = {"cold-start": cold_start, "size": size}


def _added(paths: Any, known: set[str]) -> int:
    sizes = {(found := digests.digest(Path(path))).sha256: found.size for path in paths}
    return sum(size for sha256, size in sizes.items() if sha256 not in known)


def _median(rows: Sequence[tuple[float, float, int]]) -> float:
    return statistics.median(a + b for a, b, _ in rows)


def _start(shop: Workshop, verified: Verified) -> tuple[float, float, int]:
    """Seconds to open and of the first run, in a new process, and the bytes that it then holds alone."""
    step, built = verified.candidate.step, verified.candidate.built
    signature = verified.candidate.plan.programs[step.program].signature
    with shop.worker(f"cold {verified.id}", step.engine, on_chip=True) as worker:
        session = worker.open(
            step.engine, built.members, signature, step.variant, step.variant.threads, None, mapped=built.mapped
        )
        session.run(verified.sample)
        return session.open_seconds, session.first_run_seconds or 0.0, worker.memory()["uss"]
