"""The contract of front ends: what one is, what it is asked, what it answers. docs/front-ends.md says it in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from neoc.compile.errors import MissingTool
from neoc.compile.options import InputBinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from neoc.compile.contracts import Session, Signature
    from neoc.compile.program import Program

GRAPH, GRAPH_DATA = "model.onnx", "model.data"
"""what a conversion leaves in its folder: an ordinary ONNX file, and its external data where there is any"""

WHERE = "neoc.where"
"""metadata of a node: the framework's layer and source line that it came from, as a gap shows it"""


@dataclass(frozen=True)
class Request:
    """One model as the user named it, and what was asked of it. Crosses the pipe to a worker as JSON."""

    path: Path
    """a file or a folder, absolute"""
    factory: str = ""
    """of `module.py:factory`: the name of the function"""
    inputs: Mapping[str, InputBinding] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    """--option pairs that this front end knows"""
    trust_pickle: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "factory": self.factory,
            "inputs": {name: [list(b.shape), b.dtype] for name, b in self.inputs.items()},
            "options": dict(self.options),
            "trust_pickle": self.trust_pickle,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Request:
        return cls(
            Path(data["path"]),
            data["factory"],
            {name: InputBinding(tuple(shape), dtype) for name, (shape, dtype) in data["inputs"].items()},
            data["options"],
            data["trust_pickle"],
        )


@dataclass(frozen=True)
class Converted:
    """What a conversion says of itself; the graph lies in the folder that it was given, under the name GRAPH."""

    framework: str
    """as users know it: 'PyTorch', 'XGBoost', 'TensorFlow' ..."""
    version: str
    """of the framework that wrote the source, as the file says; 'unknown' where it does not"""
    notes: tuple[str, ...] = ()
    """what the user should know of the conversion"""

    def as_dict(self) -> dict[str, Any]:
        return {"framework": self.framework, "version": self.version, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Converted:
        return cls(data["framework"], data["version"], tuple(data["notes"]))


class Adapter(Protocol):
    """The module behind a front end, the only one that imports its framework, and only inside functions.

    `samples` and `save` are optional: a front end whose row says so must have them.
    """

    def convert(self, request: Request, folder: Path) -> Converted:
        """Write GRAPH into `folder`. Inputs and outputs of the graph are named as the framework's users name them.

        Raises InvalidModel, InvalidInput; UnsupportedModel with every layer that has no ONNX form, all at once.
        """

    def open_source(self, request: Request, signature: Signature) -> Session:
        """The framework itself on the untouched source: outputs named as in the graph that `convert` wrote."""

    def samples(self, program: Program, request: Request, seed: int) -> Iterator[Sequence[Mapping[str, np.ndarray]]]:
        """Groups of made-up feeds, the best first: the first group that the source accepts is used."""

    def save(self, model: object, folder: Path, example_inputs: object, inputs: Mapping[str, InputBinding]) -> Path:
        """A live Python object as a file that this front end reads."""


@dataclass(frozen=True)
class FrontEnd:
    """One format. Recognition looks at bytes alone and imports nothing but the standard library."""

    name: str
    title: str
    """with the usual suffix: what error messages list"""
    recognise: Callable[[Path], bool]
    adapter: str
    """the module that reads it, imported when it is needed"""
    framework: str = ""
    """name of the oracle: 'PyTorch', 'XGBoost'; empty where there is none but the ONNX oracles"""
    distribution: str = ""
    """the package whose version is the oracle's"""
    packages: tuple[str, ...] = ()
    """distributions without which `convert` cannot work"""
    oracle_packages: tuple[str, ...] = ()
    """distributions that `open_source` needs beside"""
    extra: str = ""
    """of neoc, which installs all of them"""
    options: Mapping[str, str] = field(default_factory=dict)
    """--option keys that it knows -> what they do"""
    binds: bool = True
    """False where a conversion does not depend on --input: its result then serves every binding"""
    isolated: bool = True
    """False for a reader in pure Python, which needs no process of its own"""
    own_samples: bool = False
    """whether the adapter has `samples`"""
    objects: tuple[str, ...] = ()
    """Python objects that the adapter's `save` takes: 'module:Class' of any class among the object's bases"""
    factories: bool = False
    """whether `module.py:factory` is read by it"""

    def load_adapter(self) -> Adapter:
        return cast(Adapter, import_module(self.adapter))

    def tools(self) -> dict[str, str]:
        """name -> version of every package that may have a hand in a conversion, as far as installed."""
        return {name: _version(name) for name in self.packages if _version(name)}

    def require(self) -> None:
        """Raises MissingTool where a conversion lacks a package, with the one command that installs it."""
        lacking = _lacking(self.packages)
        if lacking:
            raise MissingTool(
                f"reading {self.title} needs {' and '.join(lacking)}",
                why="not installed here",
                fix=self.install,
            )

    def framework_version(self) -> str:
        return _version(self.distribution)

    def oracle_missing(self) -> str | None:
        """Why the framework cannot be the reference here; None where it can, or where there is none."""
        lacking = _lacking((*self.packages, *self.oracle_packages))
        return f"{' and '.join(lacking)} not installed ({self.install})" if lacking else None

    @property
    def install(self) -> str:
        return f"pip install 'neoc[{self.extra}]'"


def _version(distribution: str) -> str:
    """Of the package, or of its build without CUDA, which goes by NAME-cpu (tensorflow-cpu, xgboost-cpu)."""
    for name in (distribution, f"{distribution}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def _lacking(distributions: tuple[str, ...]) -> list[str]:
    return [name for name in distributions if not _version(name) and find_spec(name.replace("-", "_")) is None]
