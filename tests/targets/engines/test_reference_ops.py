"""The mended operators of the reference evaluator: onnxruntime, an independent implementation, says the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from neoc.targets.engines.reference_ops import OPERATORS


def _model(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 16]>\n{text}')
    onnx.checker.check_model(model)
    return model


def _both(model: onnx.ModelProto, **feeds: Any) -> tuple[list[Any], list[Any]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model, new_ops=OPERATORS).run(None, feeds), session.run(None, feeds)


LOOP = """
agraph (int64 trips, float[2,3] x) => (float[2,3] last, float[n] scalars, float[m,2,3] matrices) {
  yes = Constant <value = bool {1}> ()
  last, scalars, matrices = Loop (trips, yes, x) <body = body (int64 i, bool c, float[2,3] before)
      => (bool again, float[2,3] after, float scalar, float[2,3] matrix) {
    again = Identity (c)
    after = Add (before, before)
    scalar = ReduceSum <keepdims = 0> (after)
    matrix = Neg (after)
  }>
}
"""


@pytest.mark.parametrize("trips", [0, 1, 3])
def test_scan_outputs_of_loop_get_a_new_axis(trips: int) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    ours, theirs = _both(_model(LOOP), trips=np.array(trips, np.int64), x=x)
    assert [a.shape for a in ours] == [(2, 3), (trips,), (trips, 2, 3)]
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("out", ["", ", scan_output_directions = [1, 0], scan_output_axes = [1, 0]"])
@pytest.mark.parametrize("into", ["", ", scan_input_directions = [1, 0], scan_input_axes = [1, 0]"])
def test_scans_run_along_any_axis_and_backwards(into: str, out: str) -> None:
    first = "float[4,3] a" if into else "float[3,4] a"
    model = _model(f"""
agraph (float[4] s, {first}, float[3,4] b) => (float[4] last, float[m,k] sums, float[i,j] products) {{
  last, sums, products = Scan <num_scan_inputs = 2{into}{out}, body = body (float[4] s0, float[4] x, float[4] y)
      => (float[4] s1, float[4] sum, float[4] product) {{
    s1 = Add (s0, x)
    sum = Add (s1, y)
    product = Mul (s1, y)
  }}> (s, a, b)
}}
""")
    a = np.arange(12, dtype=np.float32).reshape(4, 3) if into else np.arange(12, dtype=np.float32).reshape(3, 4)
    b = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    ours, theirs = _both(model, s=np.ones(4, np.float32), a=a, b=b)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("axis", "p"), [(0, 1), (1, 1), (-1, 2)])
def test_lp_normalization_takes_magnitudes(axis: int, p: int) -> None:
    model = _model(f"agraph (float[2,3] x) => (float[2,3] y) {{ y = LpNormalization <axis = {axis}, p = {p}> (x) }}")
    x = np.array([[1.0, -2.0, 0.0], [-3.0, 0.5, 0.0]], np.float32)
    (ours,), (theirs,) = _both(model, x=x)
    np.testing.assert_allclose(ours, np.nan_to_num(theirs), rtol=1e-6)


def test_string_normalizer_keeps_accents_and_stops_whole_items() -> None:
    attributes = 'is_case_sensitive = 1, stopwords = ["the"]'
    model = _model(f"agraph (string[4] x) => (string[n] y) {{ y = StringNormalizer <{attributes}> (x) }}")
    x = np.array(["café", "the", "the end", "The"], object)
    (ours,), (theirs,) = _both(model, x=x)
    assert ours.tolist() == theirs.tolist() == ["café", "the end", "The"]


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 2, 5, 4)])
def test_the_largest_is_taken_over_every_axis_of_space(shape: tuple[int, ...]) -> None:
    dims = ",".join(map(str, shape))
    model = _model(f"agraph (float[{dims}] x) => (float y) {{ y = GlobalMaxPool (x) }}")
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (ours,), (theirs,) = _both(model, x=x)
    assert ours.shape == theirs.shape == (*shape[:2], *[1] * (len(shape) - 2))
    np.testing.assert_array_equal(ours, theirs)
