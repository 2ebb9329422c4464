"""neoc's own code as a part of keys: what an older state of it made is not what this one would make."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOMS = ("neoc.kernels", "neoc.compile", "neoc.targets")
"""what a compilation runs"""


@cache
def code_digest(rooms: tuple[str, ...] = ROOMS) -> str:
    """sha256 over every source file of the packages `rooms`, by name and content: some 10 ms, once a process."""
    state = hashlib.sha256()
    for room in rooms:
        for folder in _folders(room):
            for path in sorted(folder.rglob("*.py")):
                state.update(f"{room}/{path.relative_to(folder).as_posix()}\0".encode())
                state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _folders(room: str) -> Iterator[Path]:
    spec = find_spec(room)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(place)
