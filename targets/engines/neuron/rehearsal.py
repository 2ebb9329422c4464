"""An artifact's members run without a Neuron device: the module's bytes, read again and compiled by XLA for the CPU.

It shows what the emitted program computes. What the device would round otherwise, it cannot show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature
from neoc.compile.errors import WorkerRefused
from neoc.targets.engines.neuron.executor import Executor
from neoc.targets.engines.neuron.members import IO, MODULE, WEIGHTS, read_weights


class Rehearsal(Session):
    """A session over module.hlo.pb, weights.raw and io.json. Closing it frees the executable and the weights."""

    def __init__(self, members: Mapping[str, memoryview], signature: Signature) -> None:
        io = json.loads(bytes(members[IO]))
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check = FeedCheck(signature.inputs)
        self._weights: dict[str, np.ndarray] = read_weights(io, members[WEIGHTS]) if WEIGHTS in members else {}
        self._parameters: Sequence[Mapping[str, Any]] = io["parameters"]
        self._results = [row["name"] for row in io["results"]]
        self._executor: Executor | None = Executor(bytes(members[MODULE]))

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        if self._executor is None:
            raise WorkerRefused("running was not tried", why="the session was closed")
        arguments = [self._weights[p["name"]] if p["kind"] == "weight" else feeds[p["name"]] for p in self._parameters]
        named = dict(zip(self._results, self._executor(arguments), strict=True))
        return named if outputs is None else {name: named[name] for name in outputs}

    def close(self) -> None:
        self._executor, self._weights = None, {}
