"""scikit-learn models saved by skops, and live estimators; the only module here that runs scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.frontends.contract import Converted
from neoc.compile.frontends.trees import conversion, graph, sklearn, skops_file
from neoc.compile.frontends.trees.columns import Table
from neoc.compile.frontends.trees.session import LibrarySession

if TYPE_CHECKING:
    from neoc.compile.contracts import Session, Signature
    from neoc.compile.frontends.contract import Request
    from neoc.compile.options import InputBinding
    from neoc.compile.program import Program


def convert(request: Request, folder: Path) -> Converted:
    with conversion.naming(request.path):
        found = sklearn.read(skops_file.load(request.path))
    conversion.write(graph.build_estimator(found), folder, request.path)
    return Converted("scikit-learn", found.model.version, found.model.notes)


def open_source(request: Request, signature: Signature) -> Session:
    """predict, predict_proba and the raw scores of the estimator itself, one job."""
    with conversion.naming(request.path):
        estimator = skops_file.load(request.path)
        # scikit-learn follows the indices in a file without a look at them: only what passes the checks is asked.
        found = sklearn.read(estimator)
    before, final = _parts(estimator)
    if hasattr(final, "n_jobs"):
        final.n_jobs = 1

    def predict(feeds: Mapping[str, np.ndarray], names: frozenset[str]) -> dict[str, np.ndarray]:
        x = _table(feeds, found.table, getattr(estimator, "feature_names_in_", None))
        for step in before:
            x = step.transform(x)
        made = {"prediction": final.predict(x)}
        made["label"] = made["prediction"]
        if "probability" in names:
            made["probability"] = final.predict_proba(x)
        if "margin" in names:
            made["margin"] = _margin(final)(x)
        return made

    return LibrarySession("scikit-learn", signature, predict)


def _parts(estimator: Any) -> tuple[list[Any], Any]:
    """(transformers, the final estimator)"""
    if type(estimator).__name__ != "Pipeline":
        return [], estimator
    steps = [step for _, step in estimator.steps]
    inner, final = _parts(steps[-1])
    return [step for step in [*steps[:-1], *inner] if step not in (None, "passthrough")], final


def _margin(final: Any) -> Callable[[Any], np.ndarray]:
    if hasattr(final, "decision_function"):
        return final.decision_function  # type: ignore[no-any-return]
    return lambda x: np.asarray(final._raw_predict(x)).ravel()


def _table(feeds: Mapping[str, np.ndarray], table: Table | None, names: Any) -> Any:
    """What the estimator was fitted on: a matrix, or a DataFrame where it knows names or reads texts."""
    if table is None or (names is None and not table.texts):
        return feeds["features"]
    width = len(table.numbers) + len(table.texts)
    columns: list[np.ndarray] = [np.zeros(0)] * width
    for source, places in (("features", table.numbers), ("categories", table.texts)):
        for k, place in enumerate(places):
            columns[place] = feeds[source][:, k]
    if names is None:
        mixed = np.empty((len(columns[0]), width), object)
        for place, column in enumerate(columns):
            mixed[:, place] = column
        return mixed
    import pandas

    return pandas.DataFrame(dict(zip(map(str, names), columns, strict=True)))


def samples(program: Program, request: Request, seed: int) -> Iterator[Sequence[Mapping[str, np.ndarray]]]:
    from neoc.compile.frontends.trees.samples import groups

    return groups(program, seed)


def save(model: object, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
    """A fitted estimator as a skops file. Raises InvalidModel where it is not fitted."""
    import skops.io

    path = folder / "model.skops"
    try:
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model)
    except (NotFittedError, TypeError) as error:
        raise conversion.not_fitted(error) from error
    skops.io.dump(model, path)
    return path
