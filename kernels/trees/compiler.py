"""From an ensemble to something callable: the three hops in one function."""

from __future__ import annotations

from neoc.kernels.trees.code import kernel_image
from neoc.kernels.trees.ensemble import Ensemble, check
from neoc.kernels.trees.isa import Isa
from neoc.kernels.trees.layout import layout_of
from neoc.kernels.trees.predictor import Predictor


def compile_ensemble(ensemble: Ensemble, isa: Isa, threads: int = 1) -> Predictor:
    """Check, lay out, generate, load. Raises KernelInputError for a malformed ensemble before anything is made."""
    check(ensemble)
    layout = layout_of(ensemble, isa)
    image = kernel_image(layout.shape, isa)
    return Predictor(image, layout.tables, ensemble.row_dtype, ensemble.sum_dtype, isa.rows, threads)
