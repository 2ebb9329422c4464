"""A tree library as a Session: its own predict, the oracle of its models."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from neoc.compile.contracts import FeedCheck, Feeds, Session, Signature, dtype_of
from neoc.compile.errors import FeedError

Array = np.ndarray
Predict = Callable[[Mapping[str, Array], frozenset[str]], dict[str, Array]]
"""(feeds, names of the outputs that are wanted) -> at least those"""


class LibrarySession(Session):
    """`predict` may raise what the library raises for values that it refuses: it becomes a FeedError."""

    def __init__(self, library: str, signature: Signature, predict: Predict) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._library = library
        self._dtypes = {spec.name: dtype_of(spec.dtype) for spec in self.outputs}
        self._check = FeedCheck(signature.inputs)
        self._predict: Predict | None = predict

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        if self._predict is None:
            raise FeedError("the session was closed", fix="open another one")
        names = list(self._dtypes) if outputs is None else list(outputs)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of feature names that a matrix does not have
                found = self._predict(feeds, frozenset(names))
        except Exception as error:  # each library raises its own kinds, which only its own module could name
            raise FeedError(
                f"{self._library} rejects these feeds",
                why=f"{type(error).__name__}: {' '.join(str(error).split())[:400]}",
                fix="feed values that the library takes",
            ) from error
        return {name: np.ascontiguousarray(found[name], self._dtypes[name]) for name in names}

    def close(self) -> None:
        self._predict = None


def label_and_probability(prediction: Array, names: frozenset[str], label_rank: int) -> dict[str, Array]:
    """`label` and `probability` of a booster, as its scikit-learn wrapper makes them of what predict gives."""
    if "label" not in names and "probability" not in names:
        return {}
    if label_rank == 2:  # several yes-or-no questions
        return {"label": prediction > 0.5, "probability": prediction}
    if prediction.ndim == 2:
        return {"label": np.argmax(prediction, axis=1), "probability": prediction}
    both = np.stack([1 - prediction, prediction], axis=1)
    return {"label": prediction > 0.5, "probability": both}


def label_rank(signature: Signature) -> int:
    return next((len(spec.shape or ()) for spec in signature.outputs if spec.name == "label"), 0)
