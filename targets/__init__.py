"""What hardware is, which engines serve it, how an artifact is opened on it.

`open_artifact` loads on first use and brings numpy, the contracts and one engine: a device needs little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neoc.compile.contracts import Target
    from neoc.targets.neo import NeoName
    from neoc.targets.opening import open_artifact
    from neoc.targets.remote.link import open_on

__all__ = ["all_targets", "get_target", "neo_names", "open_artifact", "open_on"]


def get_target(name: str) -> Target:
    """The target of that name: registered, an alias, or one of SageMaker Neo's device names (ml_c5 or ml-c5).

    Raises UsageError for a name that nothing serves, with what is nearest.
    """
    from neoc.compile import registry
    from neoc.compile.errors import UsageError
    from neoc.targets.neo import NEO_NAMES, SERVED

    if name in registry.target_names():
        return registry.load_target(name)
    spelled = name.replace("-", "_").lower()
    neo = NEO_NAMES.get(spelled)
    if neo is not None and neo.status != SERVED:
        nearest = f"nearest is --target {neo.target}" if neo.target else "there is nothing near; see `neoc targets`"
        word = "retired" if neo.status == "retired" else "not served yet"
        raise UsageError(f"SageMaker Neo's device {neo.name} is {word}", why=neo.why, fix=nearest)
    return registry.resolve_target(name) if neo is None else registry.load_target(neo.target)


def all_targets() -> tuple[Target, ...]:
    """Every registered target that can be loaded here, by name ('host' cannot where nothing serves this machine)."""
    from neoc.compile import registry

    lost = registry.broken(registry.TARGETS)
    return tuple(registry.load_target(name) for name in registry.target_names() if name not in lost)


def neo_names() -> tuple[NeoName, ...]:
    """Every one of Neo's device names, with what becomes of it."""
    from neoc.targets.neo import NEO_NAMES

    return tuple(NEO_NAMES.values())


def __getattr__(name: str) -> Any:
    if name == "open_artifact":
        from neoc.targets.opening import open_artifact

        return open_artifact
    if name == "open_on":
        from neoc.targets.remote.link import open_on

        return open_on
    raise AttributeError(f"module 'neoc.targets' has no attribute {name!r}")
