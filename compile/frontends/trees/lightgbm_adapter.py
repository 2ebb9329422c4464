"""LightGBM model files (text) and Boosters; the only module here that imports lightgbm, and only to ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.trees import conversion, lightgbm
from neoc.compile.frontends.trees.session import LibrarySession, label_and_probability, label_rank

if TYPE_CHECKING:
    from neoc.compile.contracts import Session, Signature
    from neoc.compile.frontends.contract import Converted, Request
    from neoc.compile.options import InputBinding
    from neoc.compile.program import Program


def convert(request: Request, folder: Path) -> Converted:
    return conversion.convert(request, folder, lightgbm.read)


def open_source(request: Request, signature: Signature) -> Session:
    """Booster.predict over the rounds that the conversion kept, one thread. Raises InvalidModel."""
    import lightgbm as library

    kept = conversion.iterations_of(request.options)
    try:
        booster = library.Booster(model_file=str(request.path))
    except library.basic.LightGBMError as error:
        raise InvalidModel("lightgbm cannot load the model", where=request.path.name, why=str(error)[:400]) from error
    rounds = kept if isinstance(kept, int) else -1
    rank = label_rank(signature)

    def predict(feeds: Mapping[str, np.ndarray], names: frozenset[str]) -> dict[str, np.ndarray]:
        x = feeds["features"]
        found = {"prediction": np.asarray(booster.predict(x, num_iteration=rounds, num_threads=1))}
        if "margin" in names:
            raw = booster.predict(x, raw_score=True, num_iteration=rounds, num_threads=1)
            found["margin"] = np.asarray(raw)
        return found | label_and_probability(found["prediction"], names, rank)

    return LibrarySession("lightgbm", signature, predict)


def samples(program: Program, request: Request, seed: int) -> Iterator[Sequence[Mapping[str, np.ndarray]]]:
    from neoc.compile.frontends.trees.samples import groups

    return groups(program, seed)


def save(model: Any, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
    """A Booster or an LGBMModel as a file. Raises InvalidModel where it is not trained."""
    path = folder / "model.txt"
    try:
        booster = model.booster_ if hasattr(type(model), "booster_") else model
        booster.save_model(str(path))
    except Exception as error:  # LightGBMError and NotFittedError, which only the library could name
        raise conversion.not_fitted(error) from error
    return path
