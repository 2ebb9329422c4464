"""Post-processing against numpy twins, torch where it has the function, and hand-made cases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.kernels import post, post_twin
from neoc.kernels.errors import KernelInputError, KernelOptionError


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(1, 300), st.floats(0, 100), st.integers(0, 999))
def test_softmax_within_its_bound(rows: int, width: int, spread: float, seed: int) -> None:
    x = (np.random.default_rng(seed).normal(size=(rows, width)) * spread).astype(np.float32)
    got = post.softmax(x)
    assert np.abs(got - post_twin.softmax(x)).max() <= 4e-7
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-5)


def test_softmax_of_odd_rows() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[1e38, -1e38, 0], [-inf, 0, 0], [nan, 0, 0], [inf, 0, 0], [-inf, -inf, -inf]], np.float32)
    got = post.softmax(x)
    assert got[:2].tolist() == [[1, 0, 0], [0, 0.5, 0.5]]
    assert np.isnan(got[2:]).all()
    assert post.softmax(np.zeros((0, 4), np.float32)).shape == (0, 4)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.data())
def test_top_k_with_ties_keeps_the_lower_index_first(width: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, width))
    x = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 9, (3, width)).astype(np.float32)
    values, indices = post.top_k(x, k)
    want = post_twin.top_k(x, k)
    np.testing.assert_array_equal(values, want[0])
    np.testing.assert_array_equal(indices, want[1])


def test_top_k_never_chooses_nan() -> None:
    values, indices = post.top_k(np.array([np.nan, 2, np.nan, 5, -np.inf], np.float32), 4)
    assert indices.tolist() == [3, 1, 4, -1]
    assert values[:3].tolist() == [5, 2, -np.inf]
    assert np.isnan(values[3])


def test_labels() -> None:
    scores = np.array([[0.1, 0.9, 0.5], [0.2, 0.1, 0.0]], np.float32)
    assert post.labels(scores, 0.5) == [[1, 2], []]
    assert post.labels(scores, 0.2, ["a", "b", "c"]) == [["b", "c"], ["a"]]


def boxes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 80, (n, 2))
    made = np.concatenate([corner, corner + rng.uniform(1, 40, (n, 2))], axis=1).astype(np.float32)
    return made, rng.uniform(0, 1, n).astype(np.float32), rng.integers(0, 3, n)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.floats(0, 1, width=32), st.integers(0, 999))
def test_nms_equals_its_twin(n: int, iou: float, seed: int) -> None:
    b, s, c = boxes(n, seed)
    assert post.nms(b, s, iou, c).tolist() == post_twin.nms(b, s, iou, c)
    kept = post.nms(b, s, iou, c, score=0.5, most=3).tolist()
    assert kept == [i for i in post_twin.nms(b, s, iou, c) if s[i] >= 0.5][:3]


def test_nms_by_hand() -> None:
    b = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10]], np.float32)
    s = np.array([0.8, 0.9, 0.1, np.nan], np.float32)
    assert post.nms(b, s, 0.5).tolist() == [1, 2]
    assert post.nms(b, s, 0.7).tolist() == [1, 0, 2]
    assert post.nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).shape == (0,)


def test_box_decoding_inverts_the_encoding() -> None:
    anchors, _, _ = boxes(200, 1)
    deltas = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    deltas[0, 2:] = 50
    variances = (0.1, 0.1, 0.2, 0.2)
    got = post.decode_boxes(deltas, anchors, variances)
    np.testing.assert_allclose(
        got, post_twin.decode_boxes(deltas, anchors, variances, np.log(1000 / 16)), rtol=2e-5, atol=2e-4
    )
    np.testing.assert_allclose(post.decode_boxes(np.zeros((200, 4), np.float32), anchors), anchors, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 5), st.integers(0, 999))
def test_ctc_equals_its_twin(batch: int, steps: int, classes: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(batch, steps, classes)).astype(np.float32)
    blank = seed % classes
    assert [r.tolist() for r in post.ctc_greedy(x, blank=blank)] == post_twin.ctc_greedy(x, blank)


def test_ctc_merges_repeats_but_not_across_a_blank() -> None:
    path = [0, 1, 1, 0, 1, 2, 2, 0]
    x = np.eye(3, dtype=np.float32)[path][None]
    assert post.ctc_greedy(x)[0].tolist() == [1, 1, 2]
    assert post.ctc_greedy(x, lengths=[3])[0].tolist() == [1]


def test_bad_input_and_specs() -> None:
    x = np.zeros((2, 3), np.float32)
    for call in (
        lambda: post.softmax(x.astype(np.float64)),
        lambda: post.softmax(x, out=x),
        lambda: post.softmax(np.float32(3)),  # type: ignore[arg-type]
        lambda: post.nms(x, x[0], 0.5),
        lambda: post.ctc_greedy(x),
        lambda: post.ctc_greedy(x[None], lengths=[5]),
        lambda: post.decode_boxes(x, x),
        lambda: post.labels(x[0], 0.5),
    ):
        with pytest.raises(KernelInputError):
            call()
    for call in (
        lambda: post.top_k(x, 4),
        lambda: post.PostProcess("argmin"),
        lambda: post.ctc_greedy(x[None], blank=3),
    ):
        with pytest.raises(KernelOptionError):
            call()
    step = post.PostProcess.from_spec(json.loads(json.dumps(post.PostProcess("top_k", k=2).to_spec())))
    assert step(np.array([[1, 3, 2]], np.float32))[1].tolist() == [[1, 2]]
