"""The op table: what of ONNX can be lowered to HLO, and how. One module a family; each holds its rows in `OPS`."""

from __future__ import annotations

from neoc.targets.engines.neuron.ops import (
    activations,
    attention,
    control,
    convolve,
    elementwise,
    indexing,
    loss,
    movement,
    normalise,
    pool,
    product,
    quantise,
    recurrent,
    reduce,
    resize,
    sampling,
    signal,
    tabular,
    trees,
)
from neoc.targets.engines.neuron.table import Op

_FAMILIES = (
    activations,
    attention,
    control,
    convolve,
    elementwise,
    indexing,
    loss,
    movement,
    normalise,
    pool,
    product,
    quantise,
    recurrent,
    reduce,
    resize,
    sampling,
    signal,
    tabular,
    trees,
)

TABLE: dict[str, Op] = {row.key: row for family in _FAMILIES for row in family.OPS}

UNBOUNDED = frozenset({"NonMaxSuppression", "NonZero", "Unique"})
"""operators whose results have as many elements as the data decides: no static shape, no lowering"""

CONTROL = frozenset({"Loop", "Scan"})
"""written out where their trip count is known (calls.prepared); what is left of them cannot be lowered"""
