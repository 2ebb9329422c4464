"""Every environment variable that neoc reads: typed, in one place. docs/settings.md is written from here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path


def _cache_home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "neoc" if base else Path.home() / ".cache" / "neoc"


def _config_home() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return Path(base) / "neoc" if base else Path.home() / ".config" / "neoc"


def _variable(name: str, doc: str) -> dict[str, str]:
    return {"variable": name, "doc": doc}


@dataclass(frozen=True)
class Settings:
    """One field a variable; `Settings.read()` takes them from the environment."""

    cache_dir: Path = field(
        default_factory=_cache_home,
        metadata=_variable("NEOC_CACHE_DIR", "build cache, measured peaks, fetched models"),
    )
    config_dir: Path = field(
        default_factory=_config_home,
        metadata=_variable("NEOC_CONFIG_DIR", "remote devices and their host keys"),
    )
    cache_limit_bytes: int = field(
        default=10 * 2**30,
        metadata=_variable("NEOC_CACHE_LIMIT_BYTES", "size at which the build cache evicts"),
    )
    worker_memory_bytes: int = field(
        default=8 * 2**30,
        metadata=_variable("NEOC_WORKER_MEMORY_BYTES", "resident memory bound of one worker"),
    )
    worker_timeout_s: float = field(
        default=600.0,
        metadata=_variable("NEOC_WORKER_TIMEOUT_S", "time bound of one build or one check, seconds"),
    )
    allow_standin: bool = field(
        default=False,
        metadata=_variable("NEOC_ALLOW_STANDIN", "1 lets the tests' stand-in tool chains run"),
    )
    emulation: bool = field(
        default=True,
        metadata=_variable("NEOC_EMULATION", "0 leaves ARM code compiled where qemu could run it"),
    )
    neuron_python: str = field(
        default="",
        metadata=_variable("NEOC_NEURON_PYTHON", "interpreter that has AWS's Neuron runtime: opens Neuron programs"),
    )
    python: str = field(
        default=sys.executable,
        metadata=_variable("NEOC_PYTHON", "interpreter of worker processes"),
    )

    @classmethod
    def read(cls) -> Settings:
        """The settings in force. Raises UsageError for a value that does not parse."""
        # Imported here so that reading one variable costs no other module.
        from neoc.compile.errors import UsageError

        values: dict[str, object] = {}
        for f in fields(cls):
            name = f.metadata["variable"]
            text = os.environ.get(name)
            if text is None or text == "":
                continue
            try:
                values[f.name] = _PARSERS[str(f.type)](text)
            except ValueError as error:
                raise UsageError(
                    f"environment variable {name} cannot be read",
                    why=f"{text!r} is not a {f.type}",
                    fix=f"set it to a valid value ({f.metadata['doc']}) or unset it",
                ) from error
        return cls(**values)  # type: ignore[arg-type]


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


_PARSERS: dict[str, Callable[[str], object]] = {"Path": Path, "int": int, "float": float, "bool": _flag, "str": str}
