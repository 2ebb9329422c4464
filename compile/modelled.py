"""A roofline on paper: the least time that a program can take on a chip, from the chip's documented figures.

`modelled`, never measured: a bound that no execution can beat, which says nothing of how near one comes. It counts the
operations of dense operators and each byte of weights, inputs and outputs once (Williams, Waterman, Patterson:
Roofline, CACM 52(4), 2009).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from neoc.compile.contracts import Target, TensorSpec, dtype_of

if TYPE_CHECKING:
    from neoc.compile.program import Program

_ENGINE_DTYPES = {"fp32": ("float32", "bfloat16"), "bf16": ("bfloat16",)}
"""precision -> dtypes of whose peak is taken, the first that the chip has"""


def bound(program: Program, target: Target, precision: str = "fp32") -> dict[str, Any] | None:
    """The modelled bounds of one program on one core of the chip, and of the chip with a program on each.

    FLOPs, bytes, FLOP/byte; seconds at least, inferences/s at most. None where the program has open dimensions, where
    operations cannot be counted, or where the target's documents state no figures for one core.
    """
    from neoc.compile.analysis import cost

    cores = target.fact("logical_cores")
    dtype = next((d for d in _ENGINE_DTYPES.get(precision, ()) if d in target.peak_flops), None)
    specs = (*program.signature.inputs, *program.signature.outputs)
    if not cores or dtype is None or target.bandwidth is None or not all(spec.is_static for spec in specs):
        return None
    reckoned = cost(program)
    if reckoned.uncounted:
        return None
    moved = reckoned.weight_bytes + sum(map(_bytes, specs))
    peak, band = target.peak_flops[dtype], target.bandwidth
    compute_s, memory_s = reckoned.flops / (peak.value / cores), moved / (band.value / cores)
    seconds = max(compute_s, memory_s)
    return {
        "kind": "modelled",
        "target": target.name,
        "flops": reckoned.flops,
        "bytes": moved,
        "flop_per_byte": round(reckoned.flops / moved, 3) if moved else 0.0,
        "bound_by": "compute" if compute_s > memory_s else "memory",
        "modelled_seconds_at_least": seconds,
        "modelled_inferences_per_second_at_most": {"core": 1 / seconds, "chip": cores / seconds} if seconds else {},
        "peak_of": dtype,
        "sources": sorted({peak.source, band.source}),
    }


def _bytes(spec: TensorSpec) -> int:
    if spec.dtype in ("string", "sequence", "optional", "undefined"):
        return 0
    return prod(d for d in spec.shape or () if isinstance(d, int)) * dtype_of(spec.dtype).itemsize


def words(found: dict[str, Any]) -> str:
    """One line, every figure called modelled."""
    rate = found["modelled_inferences_per_second_at_most"]
    return (
        f"modelled for {found['target']} ({found['peak_of']}): at least {found['modelled_seconds_at_least'] * 1e6:.3g} "
        f"us on one core, bound by {found['bound_by']} ({found['flop_per_byte']:g} FLOP/byte); at most "
        f"{rate.get('chip', 0):.3g}/s on the chip; a bound from documented figures, not a measurement"
    )
