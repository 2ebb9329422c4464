"""Front ends: any format -> Program. A table; a format is recognised by what the file holds, its suffix is a hint."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends import recognise

if TYPE_CHECKING:
    from neoc.compile.options import InputBinding
    from neoc.compile.program import Program

Load = Callable[[Path, "Mapping[str, InputBinding]"], "Program"]


@dataclass(frozen=True)
class FrontEnd:
    """How one format is read. `recognise` looks at the bytes alone; `load` raises InvalidModel, InvalidInput."""

    name: str
    title: str
    recognise: Callable[[Path], bool]
    load: Load


def _load_onnx(path: Path, inputs: Mapping[str, InputBinding]) -> Program:
    from neoc.compile.frontends.onnx import load as load_onnx

    return load_onnx(path, inputs)


FRONT_ENDS = (FrontEnd("onnx", "ONNX (.onnx)", recognise.is_onnx, _load_onnx),)


def load(source: str | Path, inputs: Mapping[str, InputBinding]) -> Program:
    """The model in `source` as a Program, its open dimensions bound as `inputs` says.

    Raises InvalidModel where the file is no model that a front end reads, or a broken one; InvalidInput where a binding
    does not fit the model.
    """
    path, front_end = _find(source)
    return front_end.load(path, inputs)


def _find(source: str | Path) -> tuple[Path, FrontEnd]:
    """The absolute path of a regular, readable file, and who reads it. Raises InvalidModel."""
    try:
        path = Path(os.path.abspath(source))
        if path.is_dir():
            raise _unusable(source, f"it is {recognise.describe_folder(path)}", _models_in(path))
        if not path.exists():
            raise _unusable(source, "there is no such file", _models_in(path.parent))
        if not path.is_file():
            raise _unusable(source, "it is a device, pipe or socket, not a file", "give a file")
        for front_end in FRONT_ENDS:
            if front_end.recognise(path):
                return path, front_end
        kind = recognise.describe(path)
    except OSError as error:
        raise _unusable(source, error.strerror or str(error), "check the path and its permissions") from error
    except ValueError as error:  # a path with a NUL in it
        raise _unusable(source, str(error), "check the path") from error
    raise InvalidModel(
        "the model's format is not one that neoc reads",
        where=str(source),
        why=f"the file is {kind}",
        fix=f"neoc reads today: {', '.join(f.title for f in FRONT_ENDS)}; export the model to one of these",
    )


def _models_in(folder: Path) -> str:
    names = sorted(p.name for p in folder.glob("*.onnx"))[:5] if folder.is_dir() else []
    return f"there {'are' if names[1:] else 'is'}: {', '.join(names)}" if names else "give the path of a model file"


def _unusable(source: str | Path, why: str, fix: str) -> InvalidModel:
    shown = repr(str(source))[1:-1]
    return InvalidModel(
        "the model cannot be read", where=shown if len(shown) < 300 else f"{shown[:300]}...", why=why, fix=fix
    )
