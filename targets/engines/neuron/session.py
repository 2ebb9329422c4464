"""A session on Neuron cores: the program once on every core that was asked for, each serving one call at a time."""

from __future__ import annotations

import json
import queue
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature
from neoc.compile.errors import FeedError, UsageError, WorkerRefused
from neoc.targets.engines.neuron import runtime
from neoc.targets.engines.neuron.members import IO, WEIGHTS, read_weights


class NeuronSession(Session):
    """`concurrency` is the number of replicas. All cores see the same weights; each holds its own copy.

    members: as in members.py; `neff`: the member that is the program. Raises MissingTool without a runtime.
    """

    def __init__(
        self, members: Mapping[str, memoryview], neff: str, signature: Signature, cores: Sequence[int], marked: bool
    ) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self.concurrency = len(cores)
        self._check = FeedCheck(self.inputs)
        self._names = [spec.name for spec in self.outputs]
        name, _ = runtime.find_runtime(marked)
        io = json.loads(bytes(members[IO]))
        weights = read_weights(io, members[WEIGHTS]) if WEIGHTS in members else {}
        self.stamp = "stand-in: no Neuron device was used" if marked else ""
        self._idle: queue.SimpleQueue[runtime.Loaded] = queue.SimpleQueue()
        self._closed = False
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neoc-neuron-")))
            path = folder / neff
            path.write_bytes(members[neff])
            for core in cores:
                loaded = runtime.load(name, path, io, weights, core)
                stack.callback(loaded.close)
                self._idle.put(loaded)
            self._stack = stack.pop_all()

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        wanted = self._names if outputs is None else list(outputs)
        if unknown := sorted(set(wanted) - set(self._names)):
            raise FeedError(f"there is no output named {unknown[0]!r}", fix=f"the model gives {', '.join(self._names)}")
        if self._closed:
            raise WorkerRefused("running was not tried", why="the session was closed")
        loaded = self._idle.get()
        try:
            return loaded.run(feeds, wanted)
        finally:
            self._idle.put(loaded)

    def close(self) -> None:
        self._closed = True
        self._stack.close()


def cores_of(device: str | None, available: int) -> list[int]:
    """The cores that `device` names: None the first one, 'neuron:all' all of them, 'neuron:0,2' these.

    Raises UsageError for any other text and for a core that is not there.
    """
    if device is None:
        return [0]
    if device == "neuron:all":
        return list(range(max(available, 1)))
    found = re.fullmatch(r"neuron:(\d{1,4}(?:,\d{1,4})*)", device)
    cores = list(dict.fromkeys(int(core) for core in found[1].split(","))) if found else []
    if not cores or (available and max(cores) >= available):
        raise UsageError(
            f"{device!r} names no Neuron cores of this machine",
            why=f"there are {available}" if found else "it is not of the form neuron:0,1",
            fix="leave it out for the first core, or write neuron:0,1 or neuron:all",
        )
    return cores
