"""Which rules were applied, and how: one line of text that says it all, in manifests, cache keys and pass names.

    token-table;phase-expansion[1x1x1x256/1,2=16,8x8x3x39/1,1=2]

Rules in the order of their application; in brackets the choice that was made for the sites of each key, 0 where they
stay as they are. A key that is not named gets the rule's default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RULE = re.compile(r"(?P<name>[a-z0-9-]+)(?:\[(?P<choices>[^\[\];]*)\])?")
LEFT = 0
"""the choice of a site that stays as it is"""

OPTION = "rewrites"
"""the variant's option that holds the spec"""
MARK = "~"
"""in a variant's id, between the engine's own part and the rules"""


@dataclass(frozen=True)
class Spec:
    rules: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Spec:
        """The inverse of `str`. Raises ValueError."""
        rules = []
        for part in filter(None, text.split(";")):
            found = _RULE.fullmatch(part)
            if found is None:
                raise ValueError(f"{part!r} is not NAME or NAME[KEY=CHOICE,...]")
            pairs = re.findall(r"([^=]+)=(\d+)(?:,|$)", found["choices"] or "")
            rules.append((found["name"], tuple((key, int(choice)) for key, choice in pairs)))
        return cls(tuple(rules))

    def __str__(self) -> str:
        return ";".join(
            name + (f"[{','.join(f'{key}={choice}' for key, choice in choices)}]" if choices else "")
            for name, choices in self.rules
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.rules)

    def plus(self, name: str, choices: Mapping[str, int]) -> Spec:
        """This and one rule more."""
        return Spec((*self.rules, (name, tuple(sorted(choices.items())))))


def spec_of(variant: Mapping[str, Any]) -> Spec:
    """The rules that a manifest's variant was rewritten by; none where it runs the graph as it is."""
    return Spec.parse(str(variant["options"].get(OPTION, "")))
