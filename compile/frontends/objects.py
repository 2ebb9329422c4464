"""Live Python objects of a framework, put into a file that their front end reads. Nothing is imported to know them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from neoc.compile.errors import UsageError
from neoc.compile.frontends.contract import FrontEnd
from neoc.compile.options import CompileOptions, InputBinding


def materialise(model: object, inputs: Mapping[str, InputBinding], options: CompileOptions) -> tuple[Path, object]:
    """(file, what keeps it): the object saved in a private temporary folder. Raises UsageError and what `save` does."""
    folder = tempfile.TemporaryDirectory(prefix="neoc-object-", ignore_cleanup_errors=True)
    return save_into(model, Path(folder.name), options.example_inputs, inputs), folder


def save_into(model: object, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
    """The object as a file in `folder`. Raises UsageError for what no front end takes, and what `save` raises."""
    from neoc.compile.frontends import FRONT_ENDS

    bases = {f"{base.__module__}:{base.__name__}" for base in type(model).__mro__}
    front_end = next((f for f in FRONT_ENDS if bases & set(f.objects)), None)
    if front_end is None:
        raise UsageError(
            f"a {type(model).__module__}.{type(model).__qualname__} is nothing that neoc compiles",
            fix=f"give a path, or {_listed(FRONT_ENDS)}",
        )
    front_end.require()
    return front_end.load_adapter().save(model, folder, example_inputs, inputs)


def _listed(front_ends: tuple[FrontEnd, ...]) -> str:
    names = sorted({name.split(".")[0] + "'s " + name.partition(":")[2] for f in front_ends for name in f.objects})
    return "an object of " + ", ".join(names) if names else "a path"
