"""The contracts: what a target, an engine and a session are. `compile` defines them, `targets` implements them.

This module imports numpy and the standard library only: a device that opens an artifact needs no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from neoc.compile.errors import FeedError

if TYPE_CHECKING:
    from neoc.compile.binding import Binding
    from neoc.compile.program import Program
    from neoc.compile.raw import RawSteps

Scalar = str | int | float | bool
Dim = int | str | None
"""A dimension: a size, the name of a symbolic size, or None for an unnamed unknown one."""


# ---- tensors ---------------------------------------------------------------------------------


def dtype_of(name: str) -> np.dtype[Any]:
    """The numpy dtype of a name such as 'float32', 'bfloat16', 'int4' or 'string' (object arrays of str)."""
    if name == "string":
        return np.dtype(object)
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The inverse of `dtype_of`; every string or object dtype is 'string'."""
    return "string" if dtype.kind in "OUS" else dtype.name


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype name and shape of one input or output. `shape` None: even the rank is unknown."""

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None

    @property
    def is_static(self) -> bool:
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ",".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.name}: {self.dtype}[{dims}]"

    def as_dict(self) -> dict[str, Any]:
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "dtype": self.dtype, "shape": shape}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TensorSpec:
        shape = None if data["shape"] is None else tuple(data["shape"])
        return cls(data["name"], data["dtype"], shape)


@dataclass(frozen=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "inputs": [spec.as_dict() for spec in self.inputs],
            "outputs": [spec.as_dict() for spec in self.outputs],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Signature:
        return cls(
            tuple(TensorSpec.from_dict(d) for d in data["inputs"]),
            tuple(TensorSpec.from_dict(d) for d in data["outputs"]),
        )


# ---- verification: two facts, one derived word ---------------------------------------------


class Numerics(StrEnum):
    EXECUTED = "executed"
    """run on that kind of chip"""
    EMULATED = "emulated"
    """the real machine code, run under an emulator"""
    SIMULATED = "simulated"
    """the lowered program, run on another executor"""
    UNCHECKED = "unchecked"


class Toolchain(StrEnum):
    REAL = "real"
    NONE = "none"
    STANDIN = "stand-in"


class Level(StrEnum):
    EXECUTED = "executed"
    EMULATED = "emulated"
    SIMULATED = "simulated"
    COMPILED = "compiled"
    """the real compiler accepted it; never run"""
    EMITTED = "emitted"
    """compiler input produced and checked by neoc's rules"""
    STANDIN = "stand-in"


def level_of(numerics: Numerics, toolchain: Toolchain) -> Level:
    """The one word for the two facts, never inflated: a stand-in stays a stand-in."""
    if toolchain is Toolchain.STANDIN:
        return Level.STANDIN
    if numerics is not Numerics.UNCHECKED:
        return Level(numerics.value)
    return Level.COMPILED if toolchain is Toolchain.REAL else Level.EMITTED


# ---- gaps, plans, builds -------------------------------------------------------------------


@dataclass(frozen=True)
class Gap:
    """One reason why an engine cannot take a program, as the user should read it."""

    engine: str
    node: str
    operator: str
    reason: str
    where: str = ""
    """source line or layer, where the front end knows it"""
    suggestion: str = ""
    code: str = ""
    """the vendor's documented error code, where there is one"""
    lowered: str = ""
    """what the engine makes of the operator, where its tool chain refuses that: the opcodes of its own IR"""

    def as_dict(self) -> dict[str, str]:
        return {
            "engine": self.engine,
            "node": self.node,
            "operator": self.operator,
            "reason": self.reason,
            "where": self.where,
            "suggestion": self.suggestion,
            "code": self.code,
            "lowered": self.lowered,
        }


@dataclass(frozen=True)
class Variant:
    """One way in which an engine can build and run a program. `options` are sorted pairs: hashable, repeatable."""

    id: str
    options: tuple[tuple[str, Scalar], ...] = ()
    threads: int = 1
    precision: str = "fp32"

    @classmethod
    def of(cls, id: str, *, threads: int = 1, precision: str = "fp32", **options: Scalar) -> Variant:
        return cls(id, tuple(sorted(options.items())), threads, precision)

    def get(self, key: str, default: Any = None) -> Any:
        return dict(self.options).get(key, default)

    def build_key(self) -> tuple[tuple[str, Scalar], ...]:
        """What the *build* depends on. Engines prefix options that only matter at open with 'open.'."""
        pairs = tuple((k, v) for k, v in self.options if not k.startswith("open."))
        return (*pairs, ("precision", self.precision))

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "options": dict(self.options),
            "threads": self.threads,
            "precision": self.precision,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Variant:
        return cls(data["id"], tuple(sorted(data["options"].items())), data["threads"], data["precision"])


@dataclass(frozen=True)
class Requirement:
    """One thing the opening machine must have. Decided before any weight is read.

    kind 'arch' (name x86_64, aarch64 ...), 'cpu' (name: `HostFacts.cpu_key` of the very CPU that a form was made for),
    'isa' (name: a feature of the target's arch, as in /proc/cpuinfo),
    'package' (name: a distribution, `version` what it was built with, `match` 'exact' | 'minor' | 'any'),
    'device' (name: 'cuda:sm_90', 'neuron:inf2'), 'runtime' (a native library that must be loadable).
    """

    kind: str
    name: str
    version: str = ""
    match: str = "any"

    def as_dict(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "version": self.version, "match": self.match}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> Requirement:
        return cls(data["kind"], data["name"], data.get("version", ""), data.get("match", "any"))


@dataclass(frozen=True)
class Placement:
    """Who runs what: engine or device name -> number of nodes, and the operators that fell back, by name."""

    nodes: tuple[tuple[str, int], ...]
    fallback: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"nodes": dict(self.nodes), "fallback": list(self.fallback)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Placement:
        return cls(tuple(sorted(data["nodes"].items())), tuple(data["fallback"]))


@dataclass(frozen=True)
class Built:
    """What a build left in its folder: member name -> file, and what opening it takes."""

    members: Mapping[str, Path]
    requirements: tuple[Requirement, ...]
    tools: Mapping[str, str]
    """name -> version of everything that had a hand in the bytes"""
    placement: Placement
    toolchain: Toolchain = Toolchain.REAL
    reproducible: bool = True
    """False where the engine's own output differs from build to build"""
    notes: tuple[str, ...] = ()
    device_code: Mapping[str, Any] | None = None
    """of code for a GPU: what each kernel takes of the chip, as the manifest's schema has it; JSON-able"""
    mapped: tuple[str, ...] = ()
    """members that `open_mapped` does not read but maps where they lie"""

    @property
    def bound(self) -> bool:
        """Whether it opens only on this very CPU, or with this very version of the engine."""
        return any(r.kind == "cpu" or r.match == "exact" for r in self.requirements)

    def as_dict(self, folder: Path) -> dict[str, Any]:
        """JSON-able; member files are named relative to `folder`, which may move."""
        return {
            "members": {n: p.relative_to(folder).as_posix() for n, p in self.members.items()},
            "requirements": [r.as_dict() for r in self.requirements],
            "tools": dict(self.tools),
            "placement": self.placement.as_dict(),
            "toolchain": self.toolchain.value,
            "reproducible": self.reproducible,
            "notes": list(self.notes),
            "device_code": None if self.device_code is None else dict(self.device_code),
            "mapped": list(self.mapped),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], folder: Path) -> Built:
        return cls(
            {n: folder / p for n, p in data["members"].items()},
            tuple(Requirement.from_dict(r) for r in data["requirements"]),
            dict(data["tools"]),
            Placement.from_dict(data["placement"]),
            Toolchain(data["toolchain"]),
            data["reproducible"],
            tuple(data["notes"]),
            data.get("device_code"),
            tuple(data.get("mapped", ())),
        )


@dataclass(frozen=True)
class Place:
    """Where a member lies: a stretch of a file that stays as it is while anything maps it."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Step:
    """One step of a plan: this engine, this variant, this program (its index in `Plan.programs`)."""

    engine: str
    variant: Variant
    program: int = 0


@dataclass(frozen=True)
class Plan:
    """One way to serve a program: usually one step; several after a split."""

    programs: tuple[Program, ...] = field(repr=False)
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        return "+".join(f"{step.engine}/{step.variant.id}" for step in self.steps)


# ---- session -------------------------------------------------------------------------------

Feeds = Mapping[str, np.ndarray]


class Session(ABC):
    """A model opened on a device, local or remote.

    `run` gives fresh C-contiguous arrays. A wrong dtype, rank, fixed size or name raises FeedError: nothing is cast.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    concurrency: int = 1
    """how many threads may call `run` at once"""
    limits: Mapping[str, int] = MappingProxyType({})
    """the largest size that it takes of an open dimension, where there is one"""
    stamp: str = ""
    """what about its results is not of the chip: 'simulated: ...', 'stand-in: ...'; empty where nothing is"""
    raw: RawSteps | None = None
    """the steps around the model, where its program declares any: `open_artifact` sets them"""

    @abstractmethod
    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name; those not asked for are not paid for. Raises FeedError."""

    def run_raw(self, items: Any) -> list[Any]:
        """Raw items through the program's `pre`, the model and its `post`: one answer an item, {name: value}.

        Batches are made here, to the model's own size. Each item fails alone: a FeedError takes its answer's place. A
        table (2-D array, DataFrame, Arrow table, mapping of columns) stands for its rows. Raises FeedError where the
        program declares no steps, UsageError where answers cannot be told apart, MissingTool without llvmlite.
        """
        if self.raw is None:
            raise FeedError(
                "this artifact takes tensors, not raw items",
                why="its program declares no pre-processing",
                fix="call run() with the arrays named in session.inputs, or compile the model with --process",
            )
        return self.raw.run(self, items)

    def bind(self, inputs: Feeds, outputs: Mapping[str, np.ndarray] | Sequence[str] | None = None) -> Binding:
        """Bind the caller's buffers once; each `run()` of the binding then reads and overwrites them, with no check.

        inputs: a C-contiguous array for every input. outputs: buffers to write into (C-contiguous, writeable, of the
        output's dtype and shape, overlapping neither an input nor each other), or the names of the outputs that are
        wanted, None for all: their buffers are made here. An output that is not bound is not paid for.

        Raises FeedError for a buffer that does not fit: name, dtype, rank, size, layout, overlap; and for strings and
        sequences, which have no buffer. Results of `run` never share memory with a binding's buffers.
        """
        from neoc.compile.binding import bind

        return bind(self, inputs, outputs)

    def _bind(self, inputs: Feeds, outputs: Feeds) -> Binding:
        """The engine's own binding of buffers that were checked. This one copies results over; engines need not."""
        from neoc.compile.binding import CopyingBinding

        return CopyingBinding(self, inputs, outputs)

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class FeedCheck:
    """The check that every session makes of its feeds, made once per session to cost little per call.

    dtype, rank, every fixed dimension, and symbolic dimensions of one name against each other; C-contiguity is not
    asked for. `check(feeds)` returns nothing and raises FeedError.
    """

    def __init__(self, inputs: Sequence[TensorSpec]) -> None:
        self._specs = {spec.name: spec for spec in inputs}
        self._rows = [
            (
                spec.name,
                dtype_of(spec.dtype),
                None if spec.shape is None else len(spec.shape),
                spec.shape if spec.is_static else None,
                ()
                if spec.shape is None or spec.is_static
                else tuple((i, d) for i, d in enumerate(spec.shape) if d is not None),
            )
            for spec in inputs
        ]

    def check(self, feeds: Feeds) -> None:
        if len(feeds) != len(self._rows):
            self._explain_names(feeds)
        symbols: dict[str, int] | None = None
        for name, dtype, rank, static, dims in self._rows:
            try:
                array = feeds[name]
                found, shape = array.dtype, array.shape
            except (KeyError, AttributeError):
                self._explain_names(feeds)
                raise  # an object that is no array; _explain_names has raised for all else
            if found != dtype and not (dtype.kind == "O" and found.kind in "US"):
                raise self._error(name, f"dtype is {found}, not {self._specs[name].dtype}")
            if static is not None:
                if shape != static:
                    raise self._error(name, f"shape is {shape}, not {static}")
                continue
            if rank is not None and len(shape) != rank:
                raise self._error(name, f"rank is {len(shape)}, not {rank}")
            for axis, dim in dims:
                size = shape[axis]
                if isinstance(dim, int):
                    if size != dim:
                        raise self._error(name, f"axis {axis} has size {size}, not {dim}")
                    continue
                if symbols is None:
                    symbols = {}
                if symbols.setdefault(dim, size) != size:
                    why = f"axis {axis} ({dim}) has size {size}, elsewhere {symbols[dim]}"
                    raise self._error(name, why)

    def _explain_names(self, feeds: Feeds) -> None:
        missing = [str(s) for n, s in self._specs.items() if n not in feeds]
        extra = [repr(n) for n in feeds if n not in self._specs]
        if missing or extra:
            parts = [f"missing {', '.join(missing)}"] * bool(missing)
            parts += [f"unknown {', '.join(extra)}"] * bool(extra)
            raise FeedError(
                "feeds do not fit the inputs",
                why="; ".join(parts),
                fix="feed exactly the names in session.inputs",
            )
        for name, value in feeds.items():
            if not isinstance(value, np.ndarray):
                raise self._error(name, f"a numpy array is needed, not {type(value).__name__}")

    def _error(self, name: str, why: str) -> FeedError:
        return FeedError(
            "feeds do not fit the inputs",
            where=f"input {name!r}",
            why=why,
            fix=f"the model takes {self._specs[name]}; neoc never casts",
        )


# ---- engine --------------------------------------------------------------------------------


@dataclass(frozen=True)
class EngineOptions:
    """What a user may say to the engines: the budget of threads, precision, and --option pairs."""

    threads: int = 1
    precision: str = "fp32"
    pairs: tuple[tuple[str, str], ...] = ()
    optimize: str = "latency"
    """what the candidates compete in: 'latency', 'cold-start' or 'size' (compile/options.py)"""


class Engine(ABC):
    """A compiler and its runtime. Build needs tools, never the device; open needs the device.

    Instances are cheap: constructing one imports no framework.
    """

    name: str
    fallback: bool = False
    whole_graph: bool = False
    """whether it compiles what it is given as it stands, so that less to compute is less to do: rewrites are then
    reckoned for its chips where they cannot be timed"""
    """True for an engine of last resort: never raced, used only where no other takes the model"""
    opt_in: bool = False
    """True for an engine that serves a target only where the target or the user names it"""
    dispatches: bool = True
    """False for an engine whose code uses what the target names and nothing else; True where the engine picks kernels
    by the CPU that it finds, so that a run here says nothing about a lesser CPU"""
    oracle: bool = False
    """True for an engine that runs untouched sources (`open_source`) and so can be the reference of parity"""
    interpreter: str | None = None
    """the Python that builds and opens, where it is not this one"""
    options: Mapping[str, str] = {}
    """--option keys that it reads from `EngineOptions.pairs` -> what they do; any other key is refused"""
    decisive: frozenset[str] = frozenset()
    """those of `options` that ask for something that other engines do not make: given one, no other engine is asked"""
    runtime_interpreter: str | None = None
    """the Python that opens on the chip, where that is not the one that builds: vendors' packages exclude each other"""
    executor: str = ""
    """name under which `open_artifact(..., options={"executor": NAME})` runs what `rehearse` gives; empty: none"""

    @abstractmethod
    def missing(self) -> str | None:
        """Why this engine cannot build here, with the one command that mends it; None when it can."""

    @abstractmethod
    def serves(self, target: Target) -> bool:
        """Whether this engine makes code for the target at all."""

    @abstractmethod
    def gaps(self, program: Program, target: Target) -> tuple[Gap, ...]:
        """Everything in the program that this engine cannot take. Needs no device and no vendor tool."""

    @abstractmethod
    def variants(self, program: Program, target: Target, options: EngineOptions) -> tuple[Variant, ...]:
        """The variants worth racing, the default first. Empty when options (a precision, say) rule it out."""

    def why_no_variant(self, program: Program, target: Target, options: EngineOptions) -> str:
        """Why `variants` is empty although nothing is missing and nothing gapes."""
        return f"offers nothing at precision {options.precision} on {target.name}"

    def analysis(self, program: Program, target: Target) -> Mapping[str, Any] | None:
        """What the engine's own vendor would say of the program, in the vendor's form; JSON-able. None: nothing."""
        return None

    @abstractmethod
    def build(self, program: Program, target: Target, variant: Variant, folder: Path) -> Built:
        """Compile into `folder`. Runs in a worker process. Raises NeocError or whatever the tool raises."""

    @abstractmethod
    def open(
        self,
        members: Mapping[str, memoryview],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        """A session over verified bytes. Raises WrongDevice, MissingTool.

        The views own their memory: it lives for as long as the session keeps them, and is given back with the last one.
        """

    def open_mapped(
        self,
        members: Mapping[str, memoryview],
        places: Mapping[str, Place],
        signature: Signature,
        variant: Variant,
        threads: int,
        device: str | None,
    ) -> Session:
        """`open`, for members some of which lie in a file that may be mapped: `places` says where.

        All members are in `members` too; the views of those in `places` are themselves a mapping of the file. Only
        called where the build named members as `mapped`. Raises what `open` raises.
        """
        return self.open(members, signature, variant, threads, device)

    def rehearsal(self, target: Target) -> tuple[Numerics, str]:
        """How far what it builds for `target` can be checked without the chip, and by what (or why not at all).

        SIMULATED: the lowered program runs on another executor. EMULATED: the real machine code runs under an emulator.
        """
        return Numerics.UNCHECKED, ""

    def rehearse(
        self, members: Mapping[str, memoryview], signature: Signature, variant: Variant, target: Target
    ) -> Session:
        """A session over built members that needs no chip: as far as `rehearsal` says. Its times mean nothing."""
        raise NotImplementedError(f"{self.name} cannot be rehearsed")

    def open_source(self, source: Path, signature: Signature) -> Session:
        """The untouched ONNX file, one thread, every optimisation off. Only where `oracle` is true."""
        raise NotImplementedError(f"{self.name} is no oracle")

    def plain_call(self, source: Path, threads: int) -> Callable[[Feeds], object]:
        """The engine on the untouched source as its own documentation has it: the baseline of comparisons.

        The call takes prepared feeds and gives whatever the engine gives, where `[i]` is the i-th output of the model;
        nothing of neoc stands in between.
        """
        raise NotImplementedError(f"{self.name} has no use of its own")

    def tools(self) -> Mapping[str, str]:
        """name -> version of what a build here would use: part of the cache key."""
        return {}


def rehearsed(engine: Engine, target: Target, absent: str, remedy: str = "") -> tuple[Numerics, str]:
    """How far `engine` gets without the chip, with why not further: `absent` is why the chip cannot be used here."""
    numerics, by = engine.rehearsal(target)
    return numerics, "; ".join(filter(None, (absent, by, remedy)))


# ---- target --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A number and where it is from: a document, or 'measured'."""

    value: float
    source: str


@dataclass(frozen=True)
class Target:
    """Hardware: a frozen description. Subclass only to say how far an artifact can be verified here."""

    name: str
    title: str
    arch: str
    """x86_64, aarch64, armv7, nvidia, neuron"""
    level: str = ""
    """micro-architecture level or chip generation: x86-64-v3, cortex-a72, sm_90, inf2"""
    features: frozenset[str] = frozenset()
    """ISA features that code for this target may use, spelled as in /proc/cpuinfo"""
    cores: int | None = None
    memory_bytes: int | None = None
    peak_flops: Mapping[str, Figure] = field(default_factory=dict)
    """dtype -> FLOP/s of the whole chip (multiply-add counted as two)"""
    bandwidth: Figure | None = None
    """bytes/s between memory and chip"""
    engines: tuple[str, ...] = ()
    """order of preference, best first; registered engines that also serve it follow"""
    aliases: tuple[str, ...] = ()
    """other names, Neo's among them"""
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, Scalar], ...] = ()
    """target-specific facts for its engines (mcpu, triple, sm ...), sorted pairs"""

    def fact(self, key: str, default: Any = None) -> Any:
        return dict(self.facts).get(key, default)

    def verifiable(self, engine: Engine) -> tuple[Numerics, str]:
        """How far this machine can check an artifact of `engine` for this target, and why not further."""
        return rehearsed(engine, self, f"this machine is not a {self.title}")

    def requirements(self) -> tuple[Requirement, ...]:
        """What the chip itself asks of the opening machine, beside what the engine asks."""
        isa = tuple(Requirement("isa", name) for name in sorted(self.features))
        return (Requirement("arch", self.arch), *isa)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "arch": self.arch,
            "level": self.level,
            "features": sorted(self.features),
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "peak_flops": {k: {"value": f.value, "source": f.source} for k, f in self.peak_flops.items()},
            "bandwidth": None
            if self.bandwidth is None
            else {"value": self.bandwidth.value, "source": self.bandwidth.source},
            "engines": list(self.engines),
            "aliases": list(self.aliases),
            "notes": list(self.notes),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Target:
        """A plain Target with the same description; what a subclass adds (`verifiable`) stays behind."""
        band = data["bandwidth"]
        return cls(
            name=data["name"],
            title=data["title"],
            arch=data["arch"],
            level=data["level"],
            features=frozenset(data["features"]),
            cores=data["cores"],
            memory_bytes=data["memory_bytes"],
            peak_flops={k: Figure(f["value"], f["source"]) for k, f in data["peak_flops"].items()},
            bandwidth=None if band is None else Figure(band["value"], band["source"]),
            engines=tuple(data["engines"]),
            aliases=tuple(data["aliases"]),
            notes=tuple(data["notes"]),
            facts=tuple(sorted(data["facts"].items())),
        )
