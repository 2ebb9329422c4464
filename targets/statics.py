"""A session over variants of fixed sizes beside one whose sizes are open: each call runs where it fits exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neoc.compile.binding import Binding
from neoc.compile.contracts import Feeds, Session


class StaticsSession(Session):
    """`statics`: sessions that take one shape of every input each; `whole` takes what none of them does.

    The sessions are closed with this one.
    """

    def __init__(self, whole: Session, statics: Sequence[Session]) -> None:
        self.inputs, self.outputs = whole.inputs, whole.outputs
        self.concurrency = min(session.concurrency for session in (whole, *statics))
        self._whole = whole
        self._names = [spec.name for spec in self.inputs]
        self._fitting = {self._key(session): session for session in statics}

    def _key(self, session: Session) -> tuple[object, ...]:
        shapes = {spec.name: spec.shape for spec in session.inputs}
        return tuple(shapes[name] for name in self._names)

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return self._session(feeds).run(feeds, outputs)

    def _bind(self, inputs: Feeds, outputs: Feeds) -> Binding:
        return self._session(inputs).bind(inputs, outputs)

    def _session(self, feeds: Feeds) -> Session:
        try:
            return self._fitting.get(tuple([feeds[name].shape for name in self._names]), self._whole)
        except (KeyError, AttributeError):
            return self._whole  # which says what is wrong with such feeds

    def close(self) -> None:
        for session in (self._whole, *self._fitting.values()):
            session.close()
