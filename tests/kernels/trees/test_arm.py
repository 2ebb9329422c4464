"""The ARM images, run by qemu's user emulators, against the plain evaluation, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree_models import ALL_MODES, drawn, rows_for, same_bits

from neoc.bench.trees_emulated import Emulated
from neoc.kernels.trees.ensemble import LEQ, LT, evaluate

CASES = {
    "lines": {"trees": 20, "height": 6, "full": 0.95},
    "ragged": {"trees": 12, "height": 11, "full": 0.85, "modes": ALL_MODES, "targets": 3},
    "many values": {"trees": 20, "height": 7, "full": 1.0, "splits": 2000, "features": 2},
    "walked": {"trees": 2, "height": 18, "full": 0.88, "modes": (LT,)},
    "f64": {"trees": 12, "height": 6, "full": 0.9, "compare": "f64", "total": "f64", "modes": (LEQ,)},
}


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param("aarch64", marks=pytest.mark.needs("llvmlite", "qemu-aarch64", "aarch64-linux-gnu-gcc")),
        pytest.param("armv7", marks=pytest.mark.needs("llvmlite", "qemu-arm", "arm-linux-gnueabihf-gcc")),
    ],
)
def test_emulated_margins_have_the_bits_of_the_plain_evaluation(arch: str, tmp_path: Path) -> None:
    for name, options in CASES.items():
        ensemble = drawn(len(name), **options)  # type: ignore[arg-type]
        emulated = Emulated.of(ensemble, arch, tmp_path)
        for count in (5, 300):
            rows = rows_for(ensemble, count)
            assert same_bits(emulated(rows), evaluate(ensemble, rows)), (name, count)
