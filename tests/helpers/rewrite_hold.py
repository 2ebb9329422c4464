"""How a rule is held to drawn programs: whatever shape, axis, broadcast, dtype or opset, it is right or absent."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from pass_programs import evaluate
from rewrite_cases import bare, exact, far, feeds

from neoc.compile.passes import verify
from neoc.compile.program import Program
from neoc.compile.rewrites import sites
from neoc.compile.rewrites.apply import rewritten

EXAMPLES = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
Made = dict[str, list[bool]]
"""rule -> for each example, whether it was rewritten: a test that only ever declines proves nothing"""


def hold(made: Made, name: str, before: Program, high: int = 7) -> None:
    """Where the rule rewrites, every way of it gives the numbers of the original in double precision."""
    rule = bare(name)
    found = [*sites(before.model, rule, before.opset)]
    made.setdefault(name, []).append(bool(found))
    for way in rule.ways(found[0]) if found else ():
        key = "" if rule.key is None else rule.key(found[0])
        after = rewritten(before, rule, {key: way})
        assert verify.first_fault(after) is None
        given_now = feeds(before, way, high)
        assert not far(evaluate(after, given_now), exact(before, given_now))


def both_ways(made: Made, always: frozenset[str] = frozenset()) -> None:
    """Every rule rewrote some of the examples and declined others. `always`: rules that may fit everywhere."""
    for name, each in made.items():
        assert sum(each) >= 2, (name, each)
        assert name in always or not all(each), name
