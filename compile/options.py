"""What a user may ask of a compilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from neoc.compile.contracts import Dim, EngineOptions

PRECISIONS = ("fp32", "bf16", "int8", "auto")


@dataclass(frozen=True)
class InputBinding:
    """One --input: the shape to bind (None: an unknown dimension stays so) and, where given, the dtype's name."""

    shape: tuple[Dim, ...]
    dtype: str | None = None


@dataclass(frozen=True)
class CompileOptions:
    inputs: Mapping[str, InputBinding] = field(default_factory=dict)
    data: Path | None = None
    """an .npz whose arrays are named like the inputs: checked and raced on, beside generated data"""
    precision: str = "fp32"
    tolerance: float | None = None
    """relative, per output; None: 1e-4 in fp32"""
    engines: tuple[str, ...] = ()
    """only these, in this order of preference; empty: the target's own order"""
    pairs: tuple[tuple[str, str], ...] = ()
    """--option KEY=VALUE, handed to the engines"""
    threads: int = 1
    """the budget of threads that the race may spend per request"""
    timeout_s: float | None = None
    """bound on one build or check; None: Settings.worker_timeout_s"""
    race_seconds: float = 10.0
    """budget of the interleaved race"""
    dump: Path | None = None
    reference_engine: bool = True
    """whether the ONNX reference evaluator may serve as the last resort"""
    allow_vacuous: bool = False
    """accept a model whose outputs did not move with any input"""
    decision: Path | None = None
    """an evidence.json or artifact whose decision is replayed instead of racing"""
    seed: int = 0
    use_cache: bool = True

    def for_engines(self) -> EngineOptions:
        return EngineOptions(self.threads, self.precision, self.pairs)
