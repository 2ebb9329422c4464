"""The ARM images, run by qemu's user emulators, against the plain evaluation, to the bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from tree_models import ALL_MODES, drawn, rows_for, same_bits

from neoc.kernels.trees.code import kernel_image
from neoc.kernels.trees.ensemble import LEQ, LT, evaluate
from neoc.kernels.trees.isa import isa_of
from neoc.kernels.trees.layout import HEADER, layout_of

CASES = {
    "lines": {"trees": 20, "height": 6, "full": 0.95},
    "ragged": {"trees": 12, "height": 11, "full": 0.85, "modes": ALL_MODES, "targets": 3},
    "many values": {"trees": 20, "height": 7, "full": 1.0, "splits": 2000, "features": 2},
    "walked": {"trees": 2, "height": 18, "full": 0.88, "modes": (LT,)},
    "f64": {"trees": 12, "height": 6, "full": 0.9, "compare": "f64", "total": "f64", "modes": (LEQ,)},
}


@pytest.mark.parametrize(
    ("arch", "emulator"),
    [
        pytest.param(
            "aarch64", "aarch64-linux-gnu", marks=pytest.mark.needs("llvmlite", "qemu-aarch64", "aarch64-linux-gnu-gcc")
        ),
        pytest.param(
            "armv7", "arm-linux-gnueabihf", marks=pytest.mark.needs("llvmlite", "qemu-arm", "arm-linux-gnueabihf-gcc")
        ),
    ],
)
def test_emulated_margins_have_the_bits_of_the_plain_evaluation(arch: str, emulator: str, tmp_path: Path) -> None:
    isa = isa_of(arch, frozenset({"asimd"}))
    harness = tmp_path / "call"
    source = Path(__file__).with_name("call_image.c")
    subprocess.run([f"{emulator}-gcc", "-O1", "-static", "-o", str(harness), str(source)], check=True)
    qemu = f"qemu-{emulator.split('-')[0]}"
    for name, options in CASES.items():
        ensemble = drawn(len(name), **options)  # type: ignore[arg-type]
        layout = layout_of(ensemble, isa)
        (tmp_path / "kernel").write_bytes(kernel_image(layout.shape, isa))
        (tmp_path / "tables").write_bytes(layout.tables.tobytes())
        head = dict(zip(HEADER, layout.tables[: 8 * len(HEADER)].view(np.int64).tolist(), strict=True))
        for count in (5, 300):
            rows = rows_for(ensemble, count)
            want = evaluate(ensemble, rows)
            (tmp_path / "rows").write_bytes(rows.tobytes())
            files = [str(tmp_path / n) for n in ("kernel", "tables", "rows")]
            numbers = [str(v) for v in (count, want.nbytes, head["scratch_bytes"])]
            subprocess.run([qemu, str(harness), *files, *numbers, str(tmp_path / "out")], check=True, timeout=120)
            got = np.fromfile(tmp_path / "out", want.dtype).reshape(want.shape)
            assert same_bits(got, want), (name, count)
