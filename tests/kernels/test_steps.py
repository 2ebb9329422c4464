"""Steps as models declare them: specs, twins, the kernels that they name, and what they refuse."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.kernels import answers, jit, steps
from neoc.kernels.errors import KernelError, KernelInputError, KernelOptionError
from neoc.kernels.image import MODES, ImagePreprocess
from neoc.kernels.post import PostProcess
from neoc.kernels.tabular import Category, Hashed, Numeric, TabularPreprocess

RNG = np.random.default_rng(11)


def image(h: int, w: int) -> np.ndarray:
    return RNG.integers(0, 256, (h, w, 3), dtype=np.uint8)


def table() -> TabularPreprocess:
    blocks = [
        Numeric(0, (("impute", 1.5), ("subtract", 1.0), ("divide", 2.0))),
        Category(1, ("a", "b", None), unknown=0.0),
        Hashed(2, 5),
        Category(1, ("a", "b"), values=(0.25, 4.0), unknown=-1.0),
    ]
    return TabularPreprocess(blocks, 3, ("x", "kind", "word"))


ROWS = [
    {"x": 1.0, "kind": "a", "word": "u"},
    {"x": None, "kind": "never", "word": None},
    {"x": 7, "kind": None, "word": "v"},
]
PRE: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("image", {"size": [9, 13], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}, [image(30, 20), image(8, 40)]),
    ("image", {"size": [8, 8], "letterbox": 114, "dtype": "bfloat16", "resize": "pillow-bicubic"}, [image(30, 20)]),
    ("table", table().to_spec(), ROWS),
    ("collate", {"length": 6, "pad_value": 9, "side": "left", "dtype": "int32"}, [[1, 2], list(range(9)), []]),
    ("collate", {"multiple_of": 4, "max_length": 6, "mask_dtype": "bool"}, [np.arange(3), np.arange(8)]),
    ("collate", {"mask": False, "dtype": "float32", "pad_value": -1}, [[0.5], [1, 2, 3]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "items"), PRE)
def test_a_step_gives_what_its_twin_and_its_spec_give(name: str, options: dict[str, Any], items: list[Any]) -> None:
    step = steps.make(name, options)
    again = steps.make(name, json.loads(json.dumps(step.to_spec())))
    assert again.to_spec() == step.to_spec()
    for got, want, same in zip(step(items), step.reference(items), again(items), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(got, same)
        assert len(got) == len(items)
    for (dtype, shape), made in zip(step.gives(), step(items), strict=True):
        assert str(made.dtype) == ("uint16" if dtype == "bfloat16" else dtype)
        assert all(d in (None, n) for d, n in zip(shape, made.shape[1:], strict=True))
    assert step.takes()


@given(
    axis=st.sampled_from([None, 0, 1]),
    dtype=st.sampled_from(["int8", "uint8"]),
    values=st.lists(st.floats(width=32), min_size=6, max_size=6),
    scale=st.floats(1e-3, 1e3),
)
@settings(max_examples=80, deadline=None)
def test_quantise_steps_are_their_twins(axis: int | None, dtype: str, values: list[float], scale: float) -> None:
    count = {None: 1, 0: 2, 1: 3}[axis]
    options = {"scale": [scale * (k + 1) for k in range(count)], "zero_point": list(range(count))}
    forth = steps.make("quantize", options | {"axis": axis, "dtype": dtype})
    back = steps.make("dequantize", options | {"axis": axis, "dtype": dtype})
    x = np.array(values, np.float32).reshape(2, 3)
    (levels,) = forth(x)
    np.testing.assert_array_equal(levels, forth.reference(x)[0])
    np.testing.assert_array_equal(back(levels)[0], back.reference(levels)[0])


def scores(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def boxes(*shape: int) -> np.ndarray:
    corners = np.sort(RNG.uniform(0, 50, (*shape, 2, 2)), axis=-2)
    return corners.reshape(*shape, 4).astype(np.float32)


WITH_NAN = scores(3, 7)
WITH_NAN[1, :6] = np.nan
POST: list[tuple[str, dict[str, Any], list[np.ndarray]]] = [
    ("softmax", {}, [scores(4, 9)]),
    ("top_k", {"k": 3, "names": [*"abcdefg"]}, [WITH_NAN]),
    ("top_k", {"k": 1}, [scores(4, 9)]),
    ("labels", {"threshold": 0.3, "names": [*"abcdefg"]}, [scores(3, 7)]),
    ("decode_boxes", {"anchors": boxes(20).tolist()}, [scores(2, 20, 4)]),
    ("decode_boxes", {"variances": [0.1, 0.1, 0.2, 0.2]}, [scores(2, 20, 4), boxes(2, 20)]),
    ("nms", {"iou": 0.3, "score": 0.1, "most": 7}, [boxes(2, 40), scores(2, 40)]),
    ("nms", {"iou": 0.5, "names": ["x", "y", "z"]}, [boxes(2, 30), scores(2, 30, 3)]),
    ("nms", {"iou": 0.5}, [boxes(2, 30), scores(2, 30), RNG.integers(0, 3, (2, 30))]),
    ("ctc_greedy", {"alphabet": "-abcd"}, [scores(3, 12, 5)]),
    ("ctc_greedy", {"blank": 4}, [scores(3, 12, 5)]),
    ("dequantize", {"scale": 0.1, "zero_point": 3}, [RNG.integers(-128, 127, (3, 5), dtype=np.int8)]),
    ("quantize", {"scale": 0.1, "dtype": "uint8"}, [scores(3, 5)]),
]


def same(a: Any, b: Any, bound: float) -> bool:
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], bound) for k in b)
    if isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, bound) for x, y in zip(a, b, strict=True))
    if isinstance(b, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, rtol=bound, atol=bound, equal_nan=True)
    return bool(a == b)


@pytest.mark.parametrize(("name", "options", "arrays"), POST)
def test_an_answer_is_its_twins_and_follows_its_input(
    name: str, options: dict[str, Any], arrays: list[np.ndarray]
) -> None:
    step = answers.make(name, options)
    assert answers.make(name, json.loads(json.dumps(step.to_spec()))).to_spec() == step.to_spec()
    got = step(*arrays)
    assert len(got) == len(arrays[0])
    assert same(got, step.reference(*arrays), 2 * step.bound())
    turned = step(*(np.ascontiguousarray(a[::-1]) for a in arrays))
    assert same(list(turned), list(got)[::-1], 0.0), "each item has its own answer"
    assert not same(list(turned), list(got), 0.0)
    assert step.gives()


BAD: list[tuple[Any, str, dict[str, Any]]] = [
    (steps, "nope", {}),
    (steps, "image", {}),
    (steps, "image", {"size": "ab"}),
    (steps, "image", {"size": [2, 2], "mean": 1}),
    (steps, "image", {"size": [2, 2], "colour": "RGB"}),
    (steps, "image", {"size": [2, 2], "shorter_side": "256"}),
    (steps, "table", {"columns": 1}),
    (steps, "table", {"columns": 1, "blocks": [{"kind": "numeric", "column": 4}]}),
    (steps, "collate", {"length": 0}),
    (steps, "collate", {"length": 3, "multiple_of": 2}),
    (steps, "collate", {"side": "top"}),
    (steps, "collate", {"dtype": "float64"}),
    (steps, "collate", {"pad_value": 0.5}),
    (steps, "quantize", {}),
    (steps, "quantize", {"scale": -1}),
    (steps, "quantize", {"scale": 1, "zero_point": 300}),
    (steps, "quantize", {"scale": [1, 2]}),
    (steps, "quantize", {"scale": 1, "dtype": "int16"}),
    (answers, "nope", {}),
    (answers, "top_k", {}),
    (answers, "top_k", {"k": 0}),
    (answers, "top_k", {"k": True}),
    (answers, "top_k", {"k": 1, "names": "ab"}),
    (answers, "labels", {"threshold": "high"}),
    (answers, "nms", {"iou": 2}),
    (answers, "nms", {"iou": 0.5, "most": 0}),
    (answers, "decode_boxes", {"anchors": [1, 2]}),
    (answers, "ctc_greedy", {"blank": -1}),
]


@pytest.mark.parametrize(("module", "name", "options"), BAD)
def test_what_cannot_be_is_an_option_error(module: Any, name: str, options: dict[str, Any]) -> None:
    with pytest.raises(KernelOptionError):
        module.make(name, options)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)


@given(
    name=st.sampled_from([*steps.STEPS, *answers.KINDS]),
    key=st.sampled_from(["size", "scale", "k", "iou", "threshold", "length", "blocks", "mean", "names", "zero_point"]),
    value=JSONISH,
)
@settings(max_examples=300, deadline=None)
def test_any_option_is_taken_or_refused_as_such(name: str, key: str, value: Any) -> None:
    needed = {"image": {"size": [4, 4]}, "top_k": {"k": 1}, "labels": {"threshold": 0}, "nms": {"iou": 0.5}}
    options = needed.get(name, {}) | ({"scale": 1.0} if name.endswith("quantize") else {}) | {key: value}
    for module in (steps, answers):
        with contextlib.suppress(KernelOptionError):
            module.make(name, options)


@pytest.mark.parametrize("items", [[image(4, 4)[..., :2]], ["text"], [np.zeros((0, 3, 3), np.uint8)]])
def test_items_that_do_not_fit_are_input_errors(items: list[Any]) -> None:
    with pytest.raises(KernelInputError):
        steps.make("image", {"size": [4, 4]})(items)


@pytest.mark.parametrize("rows", [[{"x": 1}], [[1, 2]], ["abc"], [3], [[1, "a", "b", "c"]]])
def test_rows_that_do_not_fit_are_input_errors(rows: list[Any]) -> None:
    with pytest.raises(KernelInputError):
        steps.make("table", table().to_spec())(rows)


@pytest.mark.parametrize("row", [[[1, 2], [3, 4]], ["a"], [1.5], [None], "word", [2**70]])
def test_sequences_that_do_not_fit_are_input_errors(row: Any) -> None:
    with pytest.raises(KernelInputError):
        steps.make("collate", {})([row])


def test_rows_are_read_by_position_and_by_name() -> None:
    step = steps.make("table", table().to_spec())
    by_position = [[r["x"], r["kind"], r["word"]] for r in ROWS]
    np.testing.assert_array_equal(step(ROWS)[0], step(by_position)[0])
    numbers = steps.make("table", TabularPreprocess([Numeric(0), Numeric(1)], 2).to_spec())
    rows = [np.array([1, 2], np.float32), np.array([3, 4], np.float32)]
    np.testing.assert_array_equal(numbers(rows)[0], np.stack(rows))


def test_kernel_objects_are_steps() -> None:
    made = ImagePreprocess((4, 4))
    assert steps.step_of(made) == ("image", made.to_spec())
    assert steps.step_of(table()) == ("table", table().to_spec())
    assert steps.step_of(print) is None
    assert answers.step_of(PostProcess("top_k", k=2)) == ("top_k", {"k": 2})
    assert answers.step_of(made) is None


class Spy:
    """The names of the kernels that are loaded or put into templates while it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: set[str] = set()
        before = jit.Kernel.slots

        def slots(kernel: jit.Kernel, *arguments: Any) -> bytes:
            self.used.add(kernel.name)
            return before(kernel, *arguments)

        monkeypatch.setattr(jit.Kernel, "slots", slots)


SIZES = [(64, 64), (32, 32), (16, 24), (8, 8), (40, 90), (96, 33), (1, 1)]


@pytest.mark.parametrize("mode", [m for m in MODES if m != "none"])
def test_an_image_step_names_every_kernel_that_any_size_needs(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    for dtype, source in (("float32", "rgb"), ("bfloat16", "nv12")):
        step = steps.make("image", {"size": [16, 16], "resize": mode, "dtype": dtype, "source": source})
        spy.used.clear()
        for h, w in SIZES:
            frame = image(h, w) if source == "rgb" else image(max(2, h // 2 * 2) * 3 // 2, max(2, w // 2 * 2))[..., 0]
            step([np.ascontiguousarray(frame)])
        assert spy.used <= {k.name for k in step.kernels()}


def test_other_steps_name_their_kernels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    for name, options, items in PRE:
        spy.used.clear()
        step = steps.make(name, options)
        step(items)
        assert spy.used <= {k.name for k in step.kernels()}
    for name, options, arrays in POST:
        spy.used.clear()
        answer = answers.make(name, options)
        answer(*arrays)
        assert spy.used <= {k.name for k in answer.kernels()}


def test_errors_are_kernel_errors() -> None:
    step = answers.make("nms", {"iou": 0.5})
    for arrays in ([boxes(2, 3), scores(2, 4)], [boxes(3), scores(2, 3)]):
        with pytest.raises(KernelError):
            step(*arrays)
    with pytest.raises(KernelInputError, match="fewer names than classes"):
        answers.make("top_k", {"k": 1, "names": ["a"]})(np.array([[0, 1]], np.float32))
    with pytest.raises(KernelInputError, match="wrong rank"):
        answers.make("top_k", {"k": 1})(scores(3))
