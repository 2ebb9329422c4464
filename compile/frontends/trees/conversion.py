"""What the three adapters share: reading the file, the --option `iterations`, writing the graph, naming errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from neoc.compile import onnx_io
from neoc.compile.errors import InvalidInput, InvalidModel, NeocError, UnsupportedModel
from neoc.compile.frontends.contract import GRAPH, Converted, Request
from neoc.compile.frontends.trees import graph
from neoc.compile.frontends.trees.model import TreeModel
from neoc.compile.frontends.trees.samples import HINTS, Hints

ITERATIONS = "boosting rounds to keep: 'best' (the best iteration where the file names one), 'all', or how many"
"""what the option does, for the table of front ends"""

_NAMES = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "scikit-learn": "scikit-learn"}


def iterations_of(options: Mapping[str, str]) -> int | str | None:
    """None for the best iteration, 'all', or a count. Raises InvalidInput."""
    written = options.get("iterations", "best")
    if written in ("best", "all"):
        return None if written == "best" else "all"
    if written.isascii() and written.isdigit() and 0 < int(written[:12]) < 2**31:
        return int(written)
    raise InvalidInput(
        "the number of boosting rounds cannot be used",
        where=f"--option iterations={written[:40]}",
        why="it is neither 'best' nor 'all' nor a positive whole number",
        fix="give --option iterations=all, or leave it out for the best iteration",
    )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the readers name the file."""
    try:
        yield
    except (InvalidModel, UnsupportedModel) as error:
        if path.name not in error.where:
            error.where = f"{path.name}, {error.where}" if error.where else path.name
        raise


def convert(request: Request, folder: Path, read: Callable[[bytes, int | str | None], TreeModel]) -> Converted:
    """Read the file, write GRAPH. Raises InvalidModel, UnsupportedModel, InvalidInput."""
    kept = iterations_of(request.options)
    with naming(request.path):
        model = read(onnx_io.read_bytes(request.path), kept)
    made = graph.build(model)
    # XGBoost's DMatrix refuses infinities; LightGBM takes everything.
    hints = Hints(infinity=model.framework == "lightgbm")
    made.metadata_props.add(key=HINTS, value=hints.to_json())
    write(made, folder, request.path)
    return Converted(_NAMES[model.framework], model.version, model.notes)


def write(made: onnx.ModelProto, folder: Path, source: Path) -> None:
    try:
        data = made.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise UnsupportedModel(
            "the trees do not fit into one ONNX file",
            where=source.name,
            why="they would take more than 2 GB",
            fix="train fewer or smaller trees",
        ) from error
    (folder / GRAPH).write_bytes(data)


def not_fitted(error: Exception) -> NeocError:
    return InvalidModel("the model cannot be saved", why=str(error)[:300], fix="fit it first")
