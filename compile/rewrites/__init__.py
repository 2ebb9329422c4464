"""Exact rewrites of whole graphs that no engine makes: a table of rules, and the race that says which of them stay.

    rewritten = run(program, rewrite_passes("token-table;winograd-1d"))

docs/exact-speed.md says the shape. Rules are rows of `table.RULES`; `apply.Rewrite` is the pass that applies them,
`search.search` the race.
"""

from __future__ import annotations

from neoc.compile.rewrites.apply import Rewrite, rewrite_passes
from neoc.compile.rewrites.rule import Editor, Guard, Rule, Site, sites
from neoc.compile.rewrites.spec import Spec
from neoc.compile.rewrites.table import RULES, by_name

__all__ = ["RULES", "Editor", "Guard", "Rewrite", "Rule", "Site", "Spec", "by_name", "rewrite_passes", "sites"]
