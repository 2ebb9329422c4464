"""The ARM images, run by qemu's user emulators, against the plain evaluation, to the bit."""

from __future__ import annotations

import pytest
from tree_models import ALL_MODES, drawn, rows_for, same_bits

from neoc.kernels.trees.code import kernel_image
from neoc.kernels.trees.ensemble import LEQ, LT, evaluate
from neoc.kernels.trees.isa import isa_of
from neoc.kernels.trees.layout import layout_of
from neoc.targets import tree_runner

CASES = {
    "lines": {"trees": 20, "height": 6, "full": 0.95},
    "ragged": {"trees": 12, "height": 11, "full": 0.85, "modes": ALL_MODES, "targets": 3},
    "many values": {"trees": 20, "height": 7, "full": 1.0, "splits": 2000, "features": 2},
    "walked": {"trees": 2, "height": 18, "full": 0.88, "modes": (LT,)},
    "f64": {"trees": 12, "height": 6, "full": 0.9, "compare": "f64", "total": "f64", "modes": (LEQ,)},
}


@pytest.mark.parametrize(("arch", "cpu"), [("aarch64", "cortex-a53"), ("armv7", "cortex-a15")])
@pytest.mark.needs("llvmlite")
def test_emulated_margins_have_the_bits_of_the_plain_evaluation(arch: str, cpu: str) -> None:
    if why := tree_runner.why_not(arch):
        pytest.skip(why)
    isa = isa_of(arch, frozenset({"asimd"}))
    for name, options in CASES.items():
        ensemble = drawn(len(name), **options)  # type: ignore[arg-type]
        layout = layout_of(ensemble, isa)
        image, tables = memoryview(kernel_image(layout.shape, isa)), memoryview(layout.tables.tobytes())
        types = ensemble.row_dtype, ensemble.sum_dtype
        predictor = tree_runner.EmulatedPredictor(image, tables, *types, arch=arch, cpu=cpu)
        for count in (5, 300):
            rows = rows_for(ensemble, count)
            assert same_bits(predictor(rows), evaluate(ensemble, rows)), (name, count)
        predictor.close()
