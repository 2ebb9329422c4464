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

FAMILIES: dict[str, tuple[Op, ...]] = {
    "activations": activations.OPS,
    "attention": attention.OPS,
    "control": control.OPS,
    "convolve": convolve.OPS,
    "elementwise": elementwise.OPS,
    "indexing": indexing.OPS,
    "loss": loss.OPS,
    "movement": movement.OPS,
    "normalise": normalise.OPS,
    "pool": pool.OPS,
    "product": product.OPS,
    "quantise": quantise.OPS,
    "recurrent": recurrent.OPS,
    "reduce": reduce.OPS,
    "resize": resize.OPS,
    "sampling": sampling.OPS,
    "signal": signal.OPS,
    "tabular": tabular.OPS,
    "trees": trees.OPS,
}

TABLE: dict[str, Op] = {row.key: row for rows in FAMILIES.values() for row in rows}

UNBOUNDED = frozenset({"NonMaxSuppression", "NonZero", "Unique"})
"""operators whose results have as many elements as the data decides: no static shape, no lowering"""

CONTROL = frozenset({"Loop", "Scan"})
"""written out where their trip count is known (calls.prepared); what is left of them cannot be lowered"""
