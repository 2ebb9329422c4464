"""The kernel of one model, which only a benchmark makes: it computes what the shape's kernel does."""

from __future__ import annotations

import pytest
from tree_models import drawn, rows_for, same_bits

from neoc.bench import trees_per_model
from neoc.kernels.trees.ensemble import evaluate
from neoc.kernels.trees.layout import layout_of
from neoc.kernels.trees.predictor import Predictor
from neoc.targets import get_target
from neoc.targets.engines.trees import isa_for

pytestmark = pytest.mark.needs("llvmlite")


def test_both_kernels_have_the_same_bits() -> None:
    ensemble = drawn(5, trees=6, height=5, full=0.9, targets=2)
    isa = isa_for(get_target("host"))
    layout = layout_of(ensemble, isa)
    image, seconds = trees_per_model.compiled(trees_per_model.model_ir(layout, isa), isa)
    rows = rows_for(ensemble, 700)
    got = Predictor(image, layout.tables, ensemble.row_dtype, ensemble.sum_dtype, isa.rows)(rows)
    assert same_bits(got, evaluate(ensemble, rows))
    assert seconds > 0


def test_a_model_that_is_walked_has_no_such_kernel() -> None:
    ensemble = drawn(5, trees=2, height=16, full=0.95)
    isa = isa_for(get_target("host"))
    with pytest.raises(SystemExit, match="walked"):
        trees_per_model.model_ir(layout_of(ensemble, isa), isa)
