"""The framework as the yardstick: sessions over TensorFlow, Keras and the TFLite interpreter. Worker side only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature
from neoc.compile.errors import FeedError, NeocError
from neoc.compile.frontends.tf_runtime import first_words


class FrameworkSession(Session):
    """What the three have in common. `compute(feeds, names)` gives an array for each name that was asked for."""

    def __init__(self, signature: Signature, compute: Callable[[Feeds, Sequence[str]], Mapping[str, Any]]) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check = FeedCheck(self.inputs).check
        self._compute = compute

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check(feeds)
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        try:
            results = self._compute(feeds, names)
        except (NeocError, MemoryError):
            raise
        except Exception as error:  # whatever a framework raises: the data did not suit it
            raise FeedError("the framework rejects the input", why=first_words(error)) from error
        return {name: _array(results[name]) for name in names}

    def close(self) -> None:
        pass


class GraphSession(FrameworkSession):
    """A graph-mode session of TensorFlow. `inputs`, `outputs`: users' names -> tensor names."""

    def __init__(
        self,
        signature: Signature,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        session: AbstractContextManager[Any],
    ) -> None:
        self._manager = session
        opened = session.__enter__()
        self._open = True

        def compute(feeds: Feeds, names: Sequence[str]) -> Mapping[str, Any]:
            fed = {inputs[name]: array for name, array in feeds.items()}
            found: Mapping[str, Any] = opened.run({name: outputs[name] for name in names}, fed)
            return found

        super().__init__(signature, compute)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._manager.__exit__(None, None, None)


def _array(value: Any) -> np.ndarray:
    """A fresh C-contiguous array; TensorFlow's byte strings become text."""
    array = np.array(value)
    if array.dtype.kind in "OS":
        flat = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.reshape(-1)]
        return np.array(flat, object).reshape(array.shape)
    return np.ascontiguousarray(array).reshape(array.shape)
