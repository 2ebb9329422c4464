"""The op table: what of ONNX can be lowered to HLO, and how. One module a family; each holds its rows in `OPS`."""

from __future__ import annotations

from neoc.targets.engines.neuron.ops import (
    activations,
    convolve,
    elementwise,
    indexing,
    movement,
    normalise,
    product,
    quantise,
    recurrent,
    reduce,
    resize,
)
from neoc.targets.engines.neuron.table import Op

_FAMILIES = (
    activations,
    convolve,
    elementwise,
    indexing,
    movement,
    normalise,
    product,
    quantise,
    recurrent,
    reduce,
    resize,
)

TABLE: dict[str, Op] = {row.name: row for family in _FAMILIES for row in family.OPS}

UNBOUNDED = frozenset({"Compress", "NonMaxSuppression", "NonZero", "Unique"})
"""operators whose results have as many elements as the data decides: no static shape, no lowering"""

CONTROL = frozenset({"If", "Loop", "Scan"})
