"""model -> Program -> passes -> verified candidates -> Artifact. Imports no target.

The names below load on first use, so that a device which only opens artifacts imports numpy and the contracts alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neoc.compile.artifact import Artifact
    from neoc.compile.options import CompileOptions
    from neoc.compile.pipeline import check_model, compile_model

__all__ = ["Artifact", "CompileOptions", "check_model", "compile_model"]

_HOMES = {
    "Artifact": "artifact",
    "CompileOptions": "options",
    "check_model": "pipeline",
    "compile_model": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'neoc.compile' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"neoc.compile.{_HOMES[name]}"), name)
