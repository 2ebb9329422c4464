"""What a user may ask of a compilation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from neoc.compile.contracts import Dim, EngineOptions

FOLDS = ("off", "exact", "near")
OPTIMIZE = ("latency", "cold-start", "size")
"""what candidates compete in: time of a request in steady state; time from a new process to the first result; bytes
that the candidate adds to the artifact, beside the plain program"""
OF_DATA: Mapping[str, int] = MappingProxyType({})
"""of CompileOptions.static: the sizes that --data has"""
PRECISIONS = ("fp32", "bf16", "int8", "auto")


@dataclass(frozen=True)
class InputBinding:
    """One --input: the shape to bind (None: an unknown dimension stays so) and, where given, the dtype's name."""

    shape: tuple[Dim, ...]
    dtype: str | None = None


@dataclass(frozen=True)
class Bucketing:
    """Open dimensions that are compiled for several sizes: a request runs padded in the smallest that holds it."""

    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """dimension -> the sizes to choose from"""
    lengths: Mapping[str, Path] = field(default_factory=dict)
    """dimension -> a file with a histogram of lengths; '' is the model's only open dimension"""
    count: int | None = None
    """how many buckets each dimension may have; None: all the sizes that were named, else 4"""
    pad: Mapping[str, float] = field(default_factory=dict)
    """input -> the value that it is padded with; 0 where it is not named"""


@dataclass(frozen=True)
class CompileOptions:
    inputs: Mapping[str, InputBinding] = field(default_factory=dict)
    data: Path | None = None
    """an .npz whose arrays are named like the inputs: checked and raced on, beside generated data"""
    precision: str = "fp32"
    optimize: str = "latency"
    """one of OPTIMIZE"""
    tolerance: float | None = None
    """relative, per output; None: 1e-4 in fp32"""
    engines: tuple[str, ...] = ()
    """only these, in this order of preference; empty: the target's own order"""
    pairs: tuple[tuple[str, str], ...] = ()
    """--option KEY=VALUE, for the front end and the engines; a key that none of them knows is an error"""
    threads: int = 1
    """the budget of threads that the race may spend per request"""
    timeout_s: float | None = None
    """bound on one build or check; None: Settings.worker_timeout_s"""
    race_seconds: float = 10.0
    """budget of the interleaved race"""
    rewrites: tuple[str, ...] | None = None
    """the rules of exact rewriting (docs/exact-speed.md) that may be tried; None: all, empty: none"""
    rewrite_seconds: float | None = None
    """budget of the search for rewrites that pay, all engines together; None: six times `race_seconds`, or none where
    that is below 20 s"""
    dump: Path | None = None
    reference_engine: bool = True
    """whether the ONNX reference evaluator may serve as the last resort"""
    allow_vacuous: bool = False
    """accept a model whose outputs did not move with any input"""
    decision: Path | None = None
    """an evidence.json or artifact whose decision is replayed instead of racing"""
    bucketing: Bucketing | None = None
    """compile for several sizes of open dimensions, as variants of one artifact"""
    static: tuple[Mapping[str, int], ...] = ()
    """sizes of all open dimensions (INPUT[AXIS] where one has no name) that get a variant of their own beside the open
    program: requests of exactly these sizes run in it"""
    preprocess: Sequence[Any] = ()
    """steps before the model: {name: options} or kernel objects (compile/process.py)"""
    postprocess: Sequence[Any] = ()
    """steps behind it"""
    raw_data: Path | None = None
    """raw items (compile/raw_files.py) that the model with its steps is checked on, beside made-up ones"""
    fold: str = "exact"
    """what of `preprocess` moves into the graph: 'off'; 'exact': what changes no bit; 'near': float32 rounding too"""
    trust_pickle: bool = False
    """accept a source that is a Python pickle, which may run any code: it is unpickled in a worker"""
    framework: str | None = None
    """that the source must be of, as front ends name it ('' is ONNX); None: any"""
    example_inputs: object = field(default=None, repr=False, compare=False)
    """for a live torch module: the arguments that it is exported with (a tuple, or a dict of keyword arguments)"""
    seed: int = 0
    use_cache: bool = True

    def for_engines(self) -> EngineOptions:
        return EngineOptions(self.threads, self.precision, self.pairs, self.optimize)
