"""The plugin seam: targets and engines are entry points, the built-in ones like any other.

`compile` finds them here by name and so imports no target. An entry point of the group `neoc.targets` names a Target or
a function that returns one; one of `neoc.engines` names an Engine or a function that returns one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

from neoc.compile.contracts import Engine, Session, Target
from neoc.compile.errors import MissingTool, NeocError, UsageError

TARGETS, ENGINES = "neoc.targets", "neoc.engines"


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


@cache
def _own(group: str) -> dict[str, EntryPoint]:
    """neoc's own entry points: looking through every installed package takes ten times as long as opening a model."""
    try:
        return {entry.name: entry for entry in distribution("neoc").entry_points if entry.group == group}
    except PackageNotFoundError:
        return {}


_DECLARED: dict[str, dict[str, EntryPoint]] = {}


def declare(group: str, places: Mapping[str, str]) -> None:
    """What a package of neoc's own registers ('module:attribute' by name), known without reading any metadata.

    The entry points say the same, and a test compares them: this only saves the search for them.
    """
    _DECLARED[group] = {name: EntryPoint(name, place, group) for name, place in places.items()}


def _entry(group: str, name: str) -> EntryPoint | None:
    """By name, neoc's own first."""
    return _DECLARED.get(group, {}).get(name) or _own(group).get(name) or _entries(group).get(name)


def _load(group: str, name: str) -> Any:
    entry = _entry(group, name)
    assert entry is not None, name
    try:
        value = entry.load()
    except (ImportError, AttributeError) as error:
        raise MissingTool(
            f"{group.removeprefix('neoc.')[:-1]} {name!r} cannot be loaded",
            where=entry.value,
            why=str(error),
            fix="reinstall the package that registers it",
        ) from error
    return value() if callable(value) else value


def engine_names() -> tuple[str, ...]:
    return tuple(sorted(_entries(ENGINES)))


def target_names() -> tuple[str, ...]:
    return tuple(sorted(_entries(TARGETS)))


@cache
def load_engine(name: str) -> Engine:
    """A registered engine, or 'module:attribute' for one that nothing registers (one being written, a test's).

    Raises UsageError for a name that nothing registers.
    """
    if ":" in name:
        return _by_reference(name)
    if _entry(ENGINES, name) is None:
        raise _unknown("engine", name, engine_names())
    engine: Engine = _load(ENGINES, name)
    return engine


def engines() -> tuple[Engine, ...]:
    """Every registered engine that can be loaded; one that cannot loses only itself (`broken` says why)."""
    return tuple(load_engine(name) for name in engine_names() if name not in broken(ENGINES))


@cache
def broken(group: str) -> dict[str, str]:
    """Entry points of the group that do not load -> why: another package's fault that must not stop neoc."""
    found = {}
    for name in sorted(_entries(group)):
        try:
            _load(group, name)
        except NeocError as error:
            found[name] = str(error)
    return found


@cache
def load_target(name: str) -> Target:
    """The target that an entry point of this very name registers. Aliases: see neoc.targets.get_target."""
    if name not in _entries(TARGETS):
        raise _unknown("target", name, target_names())
    target: Target = _load(TARGETS, name)
    return target


def _by_reference(name: str) -> Engine:
    module, _, attribute = name.partition(":")
    try:
        value = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"engine {name!r} cannot be loaded", why=str(error), fix="write module:attribute, importable from here"
        ) from error
    engine: Engine = value() if callable(value) else value
    return engine


def opener() -> Callable[..., Session]:
    """What opens artifacts: the entry point 'artifact' of the group `neoc.openers`, neoc.targets.open_artifact."""
    opened: Callable[..., Session] = _entries("neoc.openers")["artifact"].load()
    return opened


def device_service(name: str) -> Callable[..., Any]:
    """What a remote device does beside opening artifacts: the entry point of that name, group `neoc.device`."""
    found: Callable[..., Any] = _entries("neoc.device")[name].load()
    return found


def resolve_target(target: Target | str) -> Target:
    """A Target as it is; a name through the entry point of that name, or through any target's aliases.

    Raises UsageError. Neo's device names, which are data of neoc.targets, resolve in neoc.targets.get_target.
    """
    if isinstance(target, Target):
        return target
    if target in _entries(TARGETS):
        return load_target(target)
    for name in target_names():
        if name not in broken(TARGETS) and target in load_target(name).aliases:
            return load_target(name)
    raise _unknown("target", target, target_names())


def _unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    from difflib import get_close_matches

    names = list(known)
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UsageError(
        f"there is no {kind} named {name!r}",
        fix=f"{hint}known: {', '.join(names)}",
    )
