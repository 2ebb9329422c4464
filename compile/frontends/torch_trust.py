"""Nothing is unpickled unless the user trusts it: torch's loaders fall back to pickle in several places."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from neoc.compile.errors import InvalidModel


def refusal(where: str, what: str) -> InvalidModel:
    """The error that every refused pickle ends in."""
    return InvalidModel(
        "the file holds a Python pickle, which is not unpickled: it could run any code",
        where=where,
        why=what,
        fix="if you trust whoever made it, say so with --trust-pickle; better, save the model with torch.export.save",
    )


@contextmanager
def no_pickles(trusted: bool, where: str) -> Iterator[None]:
    """In this block torch.load takes tensors and plain containers alone, and pickle.load(s) nothing, unless trusted."""
    if trusted:
        yield
        return
    import torch

    plain_load = torch.load

    def load(*args: Any, **kwargs: Any) -> Any:
        kwargs["weights_only"] = True
        try:
            return plain_load(*args, **kwargs)
        except pickle.UnpicklingError as error:
            lines = str(error).strip().splitlines()
            raise refusal(where, lines[0] if lines else "it is no plain container of tensors") from error

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise refusal(where, "an object in it is stored as a pickle")

    # weights_only=True uses an unpickler of torch's own, which these patches leave alone.
    with patch.object(torch, "load", load), patch.object(pickle, "loads", refuse), patch.object(pickle, "load", refuse):
        yield


def load_trusted(path: Path) -> object:
    """Whatever torch.save put there, classes and all: only for a file that the user trusts."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)
