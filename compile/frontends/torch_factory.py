"""`module.py:factory`: the user's own code builds the module. It runs in a worker, twice: to convert, and as oracle."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neoc.compile.contracts import Session, Signature
from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.contract import Converted, Request
from neoc.compile.frontends.torch_examples import evaluating, export
from neoc.compile.frontends.torch_export import Arguments
from neoc.compile.frontends.torch_onnx import output_names, write_onnx
from neoc.compile.frontends.torch_session import TorchSession

FRAMEWORK = "PyTorch"
_SEED = 0
"""a factory that draws its weights at random must draw the same ones for the conversion and for the oracle"""


def convert(request: Request, folder: Path) -> Converted:
    import torch

    module, examples = _make(request)
    where = f"{request.path.name}:{request.factory}"
    write_onnx(export(module, examples, request.inputs, where), folder, where)
    return Converted(FRAMEWORK, str(torch.__version__))


def open_source(request: Request, signature: Signature) -> Session:
    """The module itself, eager: only the order of its arguments is taken from the export."""
    module, examples = _make(request)
    exported = export(module, examples, request.inputs, f"{request.path.name}:{request.factory}")
    arguments = Arguments(exported)
    module.eval()

    def call(feeds: Mapping[str, Any]) -> Sequence[Any]:
        args, kwargs = arguments.of(feeds)
        with evaluating(module):
            return arguments.results(module(*args, **kwargs))

    return TorchSession(call, output_names(exported), signature)


def _make(request: Request) -> tuple[Any, object]:
    """(module, example inputs or None). Raises InvalidModel with the user's own line."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    factory = _function(request.path, request.factory)
    try:
        made = factory()
    except Exception as error:  # the user's code raises whatever it likes
        raise _failed(f"the factory {request.factory!r} raised", request.path, error) from error
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], torch.nn.Module):
        return made
    if isinstance(made, torch.nn.Module):
        return made, None
    raise InvalidModel(
        f"the factory {request.factory!r} gives no torch module",
        where=request.path.name,
        why=f"it gives a {type(made).__name__}",
        fix="return a torch.nn.Module, or a tuple (module, example_inputs)",
    )


def _function(path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickles look their module up there
    sys.path.insert(0, str(path.parent))  # as for a script: its neighbours can be imported
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code raises whatever it likes
        raise _failed("the Python file cannot be run", path, error) from error
    found = getattr(module, name, None)
    if not callable(found):
        functions = sorted(
            n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == path.stem
        )
        raise InvalidModel(
            f"the file has no function {name!r}",
            where=path.name,
            why=f"it defines {', '.join(functions[:8]) or 'no function'}",
            fix="name a function that takes no arguments and returns the module",
        )
    return found


def _failed(what: str, path: Path, error: Exception) -> InvalidModel:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path]
    line = f", line {own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and error.lineno and not own:
        line = f", line {error.lineno}"
    return InvalidModel(
        what,
        where=f"{path.name}{line}",
        why=f"{type(error).__name__}: {' '.join(str(error).split())[:400]}",
        fix="run the file with Python alone first; what it imports must be installed here",
    )
