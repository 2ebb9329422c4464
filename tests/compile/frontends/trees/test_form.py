"""One ensemble in its three forms: the front ends', the attributes of a TreeEnsemble, and the tree compiler's."""

from __future__ import annotations

import numpy as np
import pytest
from tree_models import ALL_MODES, drawn, rows_for, same_bits, uncompiled

from neoc.compile.errors import InvalidModel
from neoc.compile.frontends.trees import form, walk
from neoc.compile.frontends.trees.ensemble import Ensemble
from neoc.compile.frontends.trees.kernel import compiled
from neoc.kernels.trees.ensemble import LT, evaluate

CASES = {
    "every mode": {"trees": 15, "height": 5, "full": 0.8, "modes": ALL_MODES, "targets": 2},
    "single leaves among them": {"trees": 40, "height": 2, "full": 0.2},
    "f64": {"trees": 9, "height": 6, "compare": "f64", "total": "f64"},
    "f32 compared, f64 added": {"trees": 9, "height": 6, "total": "f64"},
}


def _again(e: Ensemble) -> Ensemble:
    return form.from_attributes(form.attributes(e), e.features, form.metadata(e))


@pytest.mark.parametrize("case", CASES)
def test_each_form_computes_the_same(case: str) -> None:
    e = drawn(3, **CASES[case])  # type: ignore[arg-type]
    rows = rows_for(e, 500)
    want = evaluate(e, rows)
    front = _again(uncompiled(e))
    assert same_bits(walk.evaluate(front, rows), want)
    back = compiled(front, np.dtype(e.row_dtype).name)
    assert same_bits(evaluate(back, rows), want)
    assert len(np.unique(want)) > 1


def test_leaves_that_nodes_share_get_copies() -> None:
    """The standard lets two branches name one leaf; what is computed stays."""
    e = uncompiled(drawn(7, trees=12, height=4, full=0.9))
    plain = form.attributes(e)
    kinds, shared = np.unique(np.round(e.leaf_value, 1), return_inverse=True)
    values = dict(plain)
    for side in ("true", "false"):
        ids, ends = plain[f"nodes_{side}nodeids"], plain[f"nodes_{side}leafs"] != 0
        values[f"nodes_{side}nodeids"] = np.where(ends, shared[np.where(ends, ids, 0)], ids)
    values["leaf_weights"] = kinds
    values["leaf_targetids"] = np.zeros(len(kinds), np.int64)
    found = form.from_attributes(values, e.features, form.metadata(e))
    assert len(kinds) < found.leaves == e.leaves
    rows = rows_for(drawn(7, trees=12, height=4, full=0.9), 300)
    rounded = form.from_attributes(plain | {"leaf_weights": np.round(e.leaf_value, 1)}, e.features, form.metadata(e))
    assert same_bits(walk.evaluate(found, rows), walk.evaluate(rounded, rows))


def test_a_leaf_that_does_not_exist_is_refused() -> None:
    values = form.attributes(uncompiled(drawn(7, trees=2, height=2, full=1.0)))
    values["nodes_truenodeids"] = np.where(values["nodes_trueleafs"] != 0, 99, values["nodes_truenodeids"])
    with pytest.raises(InvalidModel, match="leaves that branches name"):
        form.from_attributes(values, 7, {})


def test_a_comparison_that_rows_of_float32_cannot_make_is_no_kernel() -> None:
    e = uncompiled(drawn(1, compare="f64", total="f64", modes=(LT,)))
    with pytest.raises(ValueError, match="no float32 number"):
        compiled(e, "float32")
    narrow = uncompiled(drawn(1))
    with pytest.raises(ValueError, match="compare float32"):
        compiled(narrow, "float64")
