"""XGBoost files (JSON, UBJ) and Boosters; the only module here that imports xgboost, and only to ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.trees import conversion, fields, ubj, xgboost
from neoc.compile.frontends.trees.model import TreeModel
from neoc.compile.frontends.trees.session import LibrarySession, label_and_probability, label_rank

if TYPE_CHECKING:
    from neoc.compile.contracts import Session, Signature
    from neoc.compile.frontends.contract import Converted, Request
    from neoc.compile.options import InputBinding
    from neoc.compile.program import Program


def convert(request: Request, folder: Path) -> Converted:
    return conversion.convert(request, folder, read)


def read(data: bytes, iterations: int | str | None) -> TreeModel:
    """A file's content. JSON is text, so that its second byte is no UBJSON marker of a length."""
    data = _from_its_brace(data)
    is_json = data[1:2].isspace() or data[1:2] in (b'"', b"}")
    return xgboost.read(fields.parse_json(data) if is_json else ubj.loads(data), iterations)


def _from_its_brace(data: bytes) -> bytes:
    """Without the mark of an encoding and the white space that JSON may begin with."""
    return data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")


def open_source(request: Request, signature: Signature) -> Session:
    """Booster.predict over the rounds that the conversion kept, one thread. Raises InvalidModel."""
    import xgboost as library

    kept = conversion.iterations_of(request.options)
    try:
        # xgboost wants the brace at the very start of a file.
        data = request.path.read_bytes()
        content = _from_its_brace(data)
        file = str(request.path) if len(content) == len(data) else bytearray(content)
        booster = library.Booster({"nthread": 1}, model_file=file)
    except library.core.XGBoostError as error:
        raise InvalidModel("xgboost cannot load the model", where=request.path.name, why=str(error)[:400]) from error
    best = booster.attr("best_iteration")
    end = kept if isinstance(kept, int) else int(best) + 1 if kept is None and best is not None else 0
    rank = label_rank(signature)
    options: dict[str, Any] = {"feature_names": booster.feature_names, "feature_types": booster.feature_types}

    def predict(feeds: Mapping[str, np.ndarray], names: frozenset[str]) -> dict[str, np.ndarray]:
        # A DMatrix that was predicted before answers from a cache: each call makes its own.
        matrix = library.DMatrix(feeds["features"], nthread=1, enable_categorical=True, **options)
        found = {"prediction": booster.predict(matrix, iteration_range=(0, end))}
        if "margin" in names:
            found["margin"] = booster.predict(matrix, output_margin=True, iteration_range=(0, end))
        if "probability" not in names and "label" in names and rank < 2 and found["prediction"].ndim == 1:
            found["label"] = found["prediction"] > 0.5 if _is_probability(signature) else found["prediction"]
            return found
        return found | label_and_probability(found["prediction"], names, rank)

    return LibrarySession("xgboost", signature, predict)


def _is_probability(signature: Signature) -> bool:
    """Whether a prediction of one number a row is a probability, and no class as of multi:softmax or binary:hinge."""
    return any(spec.name == "probability" for spec in signature.outputs)


def samples(program: Program, request: Request, seed: int) -> Iterator[Sequence[Mapping[str, np.ndarray]]]:
    from neoc.compile.frontends.trees.samples import groups

    return groups(program, seed)


def save(model: object, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
    """A Booster or an XGBModel as a file. Raises InvalidModel where it is not trained."""
    path = folder / "model.ubj"
    try:
        model.save_model(path)  # type: ignore[attr-defined]
    except Exception as error:  # XGBoostError and NotFittedError, which only the library could name
        raise conversion.not_fitted(error) from error
    return path
