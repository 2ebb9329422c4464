"""The peaks of this machine: figures that could be, cached by what measured them, labelled by how."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from neoc.compile.contracts import Figure
from neoc.targets import peaks, x86
from neoc.targets.host import HostFacts, detect


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, and measurements of a tenth of the time."""
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(peaks, "REPEATS", 2)
    monkeypatch.setattr(peaks, "TRIAD_BYTES", 8 << 20)
    return tmp_path


@pytest.mark.needs("llvmlite", "fma")
def test_measured_figures_could_be(quick: Path) -> None:
    assert peaks.cached() is None
    steps: list[str] = []
    found = peaks.measure(lambda stage, detail: steps.append(detail))
    assert {"float32", "float64"} <= set(found.peak_flops)
    assert steps[-1] == "memory"
    for dtype, figure in found.peak_flops.items():
        # One multiply-add of 8 lanes every 4 ns is slower than any such CPU, 64 TFLOP/s a core faster than all.
        assert 4e9 < figure.value < 64e12 * found.threads, dtype
        assert figure.source.startswith("measured: 24 independent" if "512" in figure.source else "measured: ")
        assert f"{found.threads} thread" in figure.source
    assert set(found.core_flops) == set(found.peak_flops)
    assert 5e8 < found.bandwidth.value < 2e12
    assert peaks.cached() == found


@pytest.mark.needs("llvmlite", "avx512f")
def test_operations_are_counted_as_the_manual_counts_them() -> None:
    """24 accumulators: 16 floats or 8 doubles of two operations, 16 lanes of four byte pairs or two bfloat16 pairs."""
    ops = {kernel.dtype: kernel.ops for kernel in peaks._kernels(detect())}
    want = {"float32": 24 * 16 * 2, "float64": 24 * 8 * 2, "int8": 24 * 16 * 8, "bfloat16": 24 * 16 * 4}
    assert ops == {dtype: want[dtype] for dtype in ops}


def test_the_arithmetic_is_done(quick: Path) -> None:
    """The loop's result is what its accumulators must hold: nothing was folded away."""
    pytest.importorskip("llvmlite")
    host = detect()
    kernel = next(k for k in peaks._kernels(host) if k.dtype == "float32")
    spare = np.full(16, 0.5, np.float32).view(np.uint8)
    lanes = 16 if "avx512f" in host.features else 8
    kernel.call(3, spare)
    steps = 24 if lanes == 16 else 12
    # Accumulator k starts at 0.5 * (k + 2); a turn makes it v * 0.5 + 0.5.
    want = 0.0
    for k in range(steps):
        value = 0.5 * (k + 2)
        for _ in range(3):
            value = value * 0.5 + 0.5
        want += value
    np.testing.assert_allclose(spare.view(np.float32)[:lanes], want, rtol=1e-5)


def test_without_llvmlite_a_lower_bound_is_called_one(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setattr("neoc.kernels.jit._STATE", {})
    peaks._compile.cache_clear()
    try:
        found = peaks.measure()
    finally:
        peaks._compile.cache_clear()
    assert set(found.peak_flops) == {"float32"}
    assert "lower bound" in found.peak_flops["float32"].source
    assert found.peak_flops["float32"].value > 1e9
    assert found.core_flops == {}


def test_host_carries_what_was_measured(quick: Path) -> None:
    assert x86.host().peak_flops == {}
    made = peaks.Peaks(
        {"float32": Figure(1e12, "measured: by hand")}, Figure(2e10, "measured: by hand"), 2, {}, Figure(1e10, "m")
    )
    place = peaks._place()
    place.parent.mkdir(parents=True)
    import json

    place.write_text(json.dumps(made.as_dict()))
    host = x86.host()
    assert host.peak_flops == {"float32": Figure(1e12, "measured: by hand")}
    assert host.bandwidth == Figure(2e10, "measured: by hand")
    place.write_text("{")  # a damaged cache is none
    assert peaks.cached() is None
    assert x86.host().peak_flops == {}


def test_the_cache_is_keyed_by_machine_and_method(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = peaks._place()
    monkeypatch.setattr(peaks, "METHOD", peaks.METHOD + 1)
    assert peaks._place() != first
    other = HostFacts("x86_64", "Other / CPU", detect().features, 4, 4, 1 << 30)
    monkeypatch.setattr(peaks, "detect", lambda: other)
    assert peaks._place().parent == first.parent  # a slash in a name makes no folder
    assert peaks._place().name.startswith("Other_CPU")
