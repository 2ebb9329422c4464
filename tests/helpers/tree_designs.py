"""One ensemble for each design of the tree compiler, and ensembles drawn by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from tree_models import ALL_MODES, drawn

from neoc.kernels.trees.ensemble import LEQ, LT, MEMBER, Ensemble
from neoc.kernels.trees.isa import Isa, isa_of
from neoc.targets.host import X86_LEVELS, detect

CASES: dict[str, dict[str, Any]] = {
    "one small tree": {"trees": 1, "height": 2, "full": 1.0},
    "full, height 6": {"trees": 40, "height": 6, "full": 1.0},
    "height 8": {"trees": 12, "height": 8, "full": 0.95},
    "ragged": {"trees": 30, "height": 12, "full": 0.8},
    "deep and large": {"trees": 3, "height": 20, "full": 0.86},
    "stumps": {"trees": 50, "height": 1, "full": 1.0},
    "many values": {"trees": 40, "height": 7, "full": 1.0, "splits": 3000, "features": 2},
    "classes": {"trees": 33, "height": 5, "full": 0.9, "targets": 5},
    "f64": {"trees": 20, "height": 7, "full": 0.9, "compare": "f64", "total": "f64", "modes": (LEQ,)},
    "f32 compared, f64 added": {"trees": 20, "height": 6, "full": 0.9, "total": "f64", "modes": (LEQ,)},
    "every mode": {"trees": 25, "height": 6, "full": 0.9, "modes": ALL_MODES},
    "sets, walked": {"trees": 4, "height": 14, "full": 0.9, "modes": (LT, MEMBER)},
    "many columns": {"trees": 20, "height": 6, "full": 1.0, "features": 400},
}


def case(name: str) -> Ensemble:
    return drawn(len(name), **CASES[name])


def isas() -> list[tuple[str, Isa]]:
    """(name, ISA) of every level that this machine can run, the lowest first, and its own."""
    here = detect()
    if here.arch != "x86_64":
        return []
    found = [(level, isa_of("x86_64", needed)) for level, needed in X86_LEVELS.items() if needed <= here.features]
    return [*found, ("host", isa_of("x86_64", here.features))]


@st.composite
def ensembles(draw: st.DrawFn) -> Ensemble:
    """Sound ensembles of every design; small enough that most take a second to compile."""
    wide = draw(st.booleans())
    return drawn(
        draw(st.integers(0, 2**16)),
        trees=draw(st.integers(1, 24)),
        features=draw(st.integers(1, 70)),
        height=draw(st.integers(1, 13)),
        full=draw(st.sampled_from([0.3, 0.7, 0.85, 1.0])) if draw(st.booleans()) else 0.6,
        targets=draw(st.integers(1, 4)),
        compare="f64" if wide else "f32",
        total="f64" if wide or draw(st.booleans()) else "f32-sequential",
        splits=draw(st.sampled_from([2, 15, 40, 260, 700])),
        modes=draw(st.sampled_from([(LT,), (LEQ,), ALL_MODES])),
    )
