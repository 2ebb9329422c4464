"""What is declared is what the entry points say."""

from __future__ import annotations

from importlib.metadata import entry_points

from neoc.compile import registry
from neoc.targets.engines import ENGINES


def test_the_declared_engines_are_the_entry_points() -> None:
    assert {entry.name: entry.value for entry in entry_points(group=registry.ENGINES)} == ENGINES


def test_a_declared_engine_loads_as_its_entry_point_does() -> None:
    registry.declare(registry.ENGINES, ENGINES)
    assert type(registry.load_engine("reference")).__name__ == "Reference"
