"""Quantise, dequantise, int4, bf16 and fp16 against numpy, by property and on the edges."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neoc.kernels import quantize as q
from neoc.kernels.calibrate import Histogram
from neoc.kernels.errors import KernelInputError, KernelOptionError

floats = st.floats(width=32, allow_nan=True, allow_infinity=True)
arrays = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=40, min_side=0), elements=floats)
scales = st.floats(2.0**-20, 2.0**20, width=32)
RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def expected(x: np.ndarray, scale: np.ndarray, zero: np.ndarray, dtype: str) -> np.ndarray:
    """ONNX QuantizeLinear in float64 after the float32 division; NaN is the zero point."""
    with np.errstate(all="ignore"):
        ratio = (x / np.float32(scale)).astype(np.float64)
    low, high = RANGES[dtype]
    value = np.clip(np.rint(np.where(np.isnan(ratio), 0, ratio)) + zero, low, high)
    return value.astype(dtype)


@settings(max_examples=150, deadline=None)
@given(arrays, scales, st.sampled_from(["int8", "uint8"]), st.integers(0, 100))
def test_quantize_is_onnx_quantizelinear(x: np.ndarray, scale: float, dtype: str, zero: int) -> None:
    got = q.quantize(x, scale, zero, dtype=dtype)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected(x, np.float32(scale), np.int32(zero), dtype))


def test_halves_go_to_the_even_neighbour() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -128.5], np.float32)
    assert q.quantize(x, 1.0).tolist() == [0, 2, 2, 0, -2, -2, 126, -128]


def test_overflow_infinity_and_nan_have_the_documented_result() -> None:
    x = np.array([1e38, -1e38, np.inf, -np.inf, np.nan, 3.4e38], np.float32)
    assert q.quantize(x, 1e-3, 7).tolist() == [127, -128, 127, -128, 7, 127]
    assert q.quantize(x, 1e-3, np.uint8(7)).tolist() == [255, 0, 255, 0, 7, 255]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 5), st.integers(1, 70), st.integers(1, 9), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_channels_along_every_axis(a: int, b: int, c: int, axis: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(a, b, c)).astype(np.float32)
    n = x.shape[axis]
    scale, zero = rng.uniform(0.01, 0.1, n).astype(np.float32), rng.integers(-20, 20, n).astype(np.int8)
    shape = [1, 1, 1]
    shape[axis] = n
    s, z = scale.reshape(shape), zero.astype(np.int32).reshape(shape)
    quantized = q.quantize(x, scale, zero, axis=axis)
    np.testing.assert_array_equal(quantized, expected(x, s, z, "int8"))
    back = q.dequantize(quantized, scale, zero, axis=axis - 3)
    np.testing.assert_array_equal(back, (quantized.astype(np.int32) - z).astype(np.float32) * s)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_round_trip_of_every_level(dtype: str) -> None:
    levels = np.arange(RANGES[dtype][0], RANGES[dtype][1] + 1).astype(dtype)
    assert np.array_equal(q.quantize(q.dequantize(levels, 0.37, 3), 0.37, levels.dtype.type(3)), levels)


def test_out_is_used_and_strides_are_followed() -> None:
    x = np.arange(120, dtype=np.float32).reshape(10, 12)[::-2, 1::3]
    out = np.full(x.shape, 99, np.int8)
    assert q.quantize(x, 2.0, out=out) is out
    np.testing.assert_array_equal(out, expected(x, np.float32(2), np.int32(0), "int8"))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: q.quantize(x.astype(np.float64), 1.0),
        lambda x: q.quantize(x, 0.0),
        lambda x: q.quantize(x, np.nan),
        lambda x: q.quantize(x, 1.0, 200),
        lambda x: q.quantize(x, 1.0, 0.5),
        lambda x: q.quantize(x, [1.0, 2.0]),
        lambda x: q.quantize(x, [1.0, 2.0], axis=1),
        lambda x: q.quantize(x, 1.0, axis=7),
        lambda x: q.quantize(x, 1.0, out=np.empty((3, 4), np.int8)),
        lambda x: q.quantize(x, 1.0, out=np.empty((5, 4), np.int8).T),
        lambda x: q.dequantize(x, 1.0),
        lambda x: q.pack_int4(np.array([8], np.int8)),
        lambda x: q.unpack_int4(np.zeros(3, np.uint8), 9),
    ],
)
def test_bad_input_is_a_typed_error(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KernelInputError):
        call(np.zeros((4, 5), np.float32))


def test_unknown_dtype_is_an_option_error() -> None:
    with pytest.raises(KernelOptionError, match="int16"):
        q.quantize(np.zeros(3, np.float32), 1.0, dtype="int16")


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int8, hnp.array_shapes(max_dims=2, min_side=1, max_side=33), elements=st.integers(-8, 7)))
def test_int4_packs_and_unpacks(values: np.ndarray) -> None:
    packed = q.pack_int4(values)
    assert packed.shape == (*values.shape[:-1], (values.shape[-1] + 1) // 2)
    np.testing.assert_array_equal(q.unpack_int4(packed, values.shape[-1]), values)
    low = values[..., 0] & 15
    np.testing.assert_array_equal(packed[..., 0] & 15, low.astype(np.uint8))
    unsigned = (values & 15).astype(np.uint8)
    np.testing.assert_array_equal(q.unpack_int4(q.pack_int4(unsigned), values.shape[-1], signed=False), unsigned)


def test_bfloat16_of_every_kind_of_number() -> None:
    rng = np.random.default_rng(3)
    bits = np.concatenate(
        [rng.integers(0, 2**32, 100_000, dtype=np.uint32), np.arange(0x3F800000, 0x3F820000, dtype=np.uint32)]
    )
    x = bits.view(np.float32)
    with np.errstate(all="ignore"):
        want = x.astype(ml_dtypes.bfloat16)
    got = q.to_bfloat16(x).view(ml_dtypes.bfloat16)
    nan = np.isnan(x)
    np.testing.assert_array_equal(got[~nan].view(np.uint16), want[~nan].view(np.uint16))
    assert np.isnan(got[nan].astype(np.float32)).all()
    np.testing.assert_array_equal(q.from_bfloat16(got.view(np.uint16))[~nan], want[~nan].astype(np.float32))


def test_float16_is_numpys() -> None:
    x = np.random.default_rng(4).integers(0, 2**32, 50_003, dtype=np.uint32).view(np.float32)
    x = x[~np.isnan(x)]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(q.to_float16(x).view(np.uint16), x.astype(np.float16).view(np.uint16))
    half = np.arange(65536, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(q.from_float16(half), half.astype(np.float32))


# --- calibration ---


def test_histogram_counts_all_batches_and_grows_without_losing_any() -> None:
    rng = np.random.default_rng(5)
    made = Histogram(512)
    batches = [rng.normal(size=1000).astype(np.float32) * s for s in (0.1, 3, 0.5, 40)]
    for batch in batches:
        made.observe(batch)
    made.observe(np.array([np.nan, np.inf, -np.inf], np.float32))
    together = np.concatenate(batches)
    assert made.counts.sum() == together.size
    assert made.ignored == 3
    assert made.range() == (together.min(), together.max())
    np.testing.assert_array_equal(made.counts, np.histogram(together, 512, (-made.edge, made.edge))[0])


def test_methods_cut_an_outlier_and_keep_a_uniform_range() -> None:
    rng = np.random.default_rng(6)
    spiky = np.concatenate([rng.normal(size=200_000), [60.0]]).astype(np.float32)
    made = Histogram()
    made.observe(spiky)
    assert made.range()[1] == 60
    assert 3.0 < made.range("percentile", 99.9)[1] < 4.0
    assert 3.0 < made.range("entropy")[1] < 15
    flat = Histogram()
    flat.observe(rng.uniform(-1, 1, 200_000).astype(np.float32))
    assert flat.range("entropy")[1] > 0.95


def test_parameters_make_zero_exact_and_the_range_fit() -> None:
    made = Histogram()
    made.observe(np.linspace(0.5, 6, 1000, dtype=np.float32))
    scale, zero = made.parameters("uint8", symmetric=False)
    assert zero == 0
    assert scale == pytest.approx(6 / 255)
    assert made.parameters() == (pytest.approx(6 / 127), 0)
    with pytest.raises(KernelInputError):
        Histogram().parameters()


@pytest.fixture
def _streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array counts as large: what is stored past the caches is tested without large arrays."""
    monkeypatch.setattr(q, "_LARGE", 1)


@pytest.mark.usefixtures("_streamed")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(0, 400),
    offset=st.integers(0, 70),
    scale=scales,
    dtype=st.sampled_from(["int8", "uint8"]),
    zero=st.integers(0, 100),
    seed=st.integers(0, 1 << 30),
)
def test_large_arrays_have_the_same_bits_wherever_they_begin(
    size: int, offset: int, scale: float, dtype: str, zero: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    ties = (rng.integers(-300, 300, size) + 0.5) * np.float64(scale)
    x = np.where(rng.random(size) < 0.5, ties, rng.normal(0, 100 * scale, size)).astype(np.float32)
    x[rng.random(size) < 0.05] = np.nan
    x[rng.random(size) < 0.05] = rng.choice([np.inf, -np.inf, 3e38, 1e-45])
    out, back = np.full(size + 200, 99, dtype), np.full(size + 200, 99, np.float32)
    window = slice(offset, offset + size)
    q.quantize(x, scale, zero, out=out[window])
    np.testing.assert_array_equal(out[window], expected(x, np.float32(scale), np.int32(zero), dtype))
    q.dequantize(out[window], scale, zero, out=back[window])
    want = (out[window].astype(np.int32) - zero).astype(np.float32) * np.float32(scale)
    np.testing.assert_array_equal(back[window], want)
    for array in (out, back):
        assert (array[:offset] == 99).all()
        assert (array[offset + size :] == 99).all()


def test_an_array_that_no_cache_holds() -> None:
    x = np.random.default_rng(0).normal(size=(1 << 23) + 777).astype(np.float32)
    levels = q.quantize(x, 0.02, 3)
    np.testing.assert_array_equal(levels, expected(x, np.float32(0.02), np.int32(3), "int8"))
    np.testing.assert_array_equal(q.dequantize(levels, 0.02, 3), (levels.astype(np.float32) - 3) * np.float32(0.02))
