"""Exact rewrites of whole graphs that no engine makes: a table of rules, and the race that says which of them stay.

    rewritten = run(program, rewrite_passes("token-table;winograd-1d"))

docs/exact-speed.md says the shape. Rules are rows of `table.RULES`; `apply.Rewrite` is the pass that applies them,
`search.search` the race. The names below load on first use: to read the spec of an artifact costs none of the passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neoc.compile.rewrites.apply import Rewrite, rewrite_passes
    from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site, sites
    from neoc.compile.rewrites.spec import Spec
    from neoc.compile.rewrites.table import RULES, by_name

__all__ = ["RULES", "Editor", "Guard", "Rewrite", "Rule", "Site", "Spec", "by_name", "rewrite_passes", "sites"]

_HOMES = {
    "RULES": "table",
    "Editor": "rule",
    "Guard": "rule",
    "Rewrite": "apply",
    "Rule": "rule",
    "Site": "rule",
    "Spec": "spec",
    "by_name": "table",
    "rewrite_passes": "apply",
    "sites": "rule",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'neoc.compile.rewrites' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"neoc.compile.rewrites.{_HOMES[name]}"), name)
