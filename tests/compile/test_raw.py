"""Raw items through steps and a model: batches, padding, each failure alone, tables, items of several parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from neoc.compile.contracts import FeedCheck, Session, Signature, TensorSpec
from neoc.compile.errors import FeedError, UsageError, WorkerCrashed
from neoc.compile.raw import RawPipeline, Unusable, around
from neoc.kernels.image import ImagePreprocess
from neoc.kernels.tabular import Category, Numeric, TabularPreprocess

RNG = np.random.default_rng(5)


class Fake(Session):
    """Runs a Python function of the feeds; remembers the sizes of its batches."""

    def __init__(self, signature: Signature, function: Any) -> None:
        self.inputs, self.outputs = signature.inputs, signature.outputs
        self._check, self._function = FeedCheck(self.inputs), function
        self.sizes: list[int] = []
        self.asked: list[list[str]] = []

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        self._check.check(feeds)
        self.sizes.append(len(next(iter(feeds.values()))))
        self.asked.append(list(outputs or []))
        made = self._function(feeds)
        return {name: made[name] for name in (outputs or made)}

    def close(self) -> None:
        pass


def spec(name: str, dtype: str, *shape: Any) -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def colours(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"y": feeds["x"].mean(axis=(2, 3))}


def photo(batch: Any, post: list[Any] | None = None) -> Fake:
    signature = Signature((spec("x", "float32", batch, 3, 4, 4),), (spec("y", "float32", batch, 3),))
    made = Fake(signature, colours)
    made.raw = RawPipeline(
        [{"name": "image", "options": {"size": [4, 4], "resize": "pillow-bilinear", "input": ["x"]}}],
        post or [],
        signature,
    )
    return made


def pictures(count: int) -> list[np.ndarray]:
    return [RNG.integers(0, 256, (6 + i % 3, 9, 3), dtype=np.uint8) for i in range(count)]


def wanted(images: Sequence[np.ndarray]) -> np.ndarray:
    tensor = ImagePreprocess((4, 4), "pillow-bilinear").reference(list(images))
    return tensor.mean(axis=(2, 3))


TOP = {"name": "top_k", "options": {"k": 1, "names": ["r", "g", "b"], "input": ["y"], "output": "best"}}


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 7), (3, [3, 3, 3]), ("n", [7]), (None, [7]), (7, [7])])
def test_items_are_cut_into_batches_and_the_last_is_filled_up(batch: Any, sizes: list[int]) -> None:
    session, items = photo(batch), pictures(7)
    answers = session.run_raw(items)
    assert session.sizes == sizes
    np.testing.assert_array_equal([a["y"] for a in answers], wanted(items))  # type: ignore[index]


def test_an_open_batch_is_bounded() -> None:
    session = photo("n")
    assert len(session.run_raw(pictures(70))) == 70
    assert session.sizes == [32, 32, 6]
    assert session.run_raw([]) == []


def test_post_steps_make_the_answers_and_only_what_is_read_is_asked_for() -> None:
    session, items = photo(2, [TOP]), pictures(5)
    answers = session.run_raw(items)
    best = wanted(items).argmax(axis=1)
    assert [a["best"]["labels"] for a in answers] == [["rgb"[i]] for i in best]  # type: ignore[index]
    assert [set(a) for a in answers] == [{"best"}] * 5  # type: ignore[call-overload]
    assert session.asked == [["y"]] * 3


def test_each_item_fails_alone_in_its_place() -> None:
    items: list[Any] = pictures(9)
    items[0], items[4], items[8] = np.zeros((3, 3), np.uint8), "photo.png", np.zeros((0, 2, 3), np.uint8)
    for batch in (1, 4, "n"):
        answers = photo(batch).run_raw(items)
        for i, answer in enumerate(answers):
            if i in (0, 4, 8):
                assert isinstance(answer, FeedError)
                assert answer.where == f"item {i}"
            else:
                np.testing.assert_array_equal(answer["y"], wanted([items[i]])[0])  # type: ignore[index]


def test_an_item_that_the_model_refuses_fails_alone() -> None:
    session = photo("n")

    def refuse(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if (feeds["x"].max(axis=(1, 2, 3)) == 0).any():
            raise FeedError("the model rejects these values")
        return colours(feeds)

    session._function = refuse
    items = pictures(16)
    items[11] = np.zeros((5, 5, 3), np.uint8)
    answers = session.run_raw(items)
    assert [i for i, a in enumerate(answers) if isinstance(a, FeedError)] == [11]
    assert len(session.sizes) == 9  # halving: 1 + 2 * log2(16)


def test_a_lost_engine_is_no_items_fault() -> None:
    session = photo(2)

    def crash(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise WorkerCrashed("the engine is gone")

    session._function = crash
    with pytest.raises(WorkerCrashed):
        session.run_raw(pictures(3))


def tabular() -> Fake:
    step = TabularPreprocess(
        [Numeric(0, (("impute", 2.0), ("subtract", 1.0))), Category(1, ("a", "b"))], 2, ("size", "kind")
    )
    signature = Signature((spec("x", "float32", "n", 3),), (spec("y", "float32", "n"),))
    made = Fake(signature, lambda feeds: {"y": feeds["x"] @ np.array([1, 10, 100], np.float32)})
    made.raw = RawPipeline([{"name": "table", "options": step.to_spec() | {"input": ["x"]}}], [], signature)
    return made


FRAME = pd.DataFrame({"kind": ["a", "b", "a"], "size": [3.0, None, 5.0]})


@pytest.mark.parametrize(
    "items",
    [
        FRAME,
        pa.Table.from_pandas(FRAME),
        pa.Table.from_pandas(FRAME).to_batches()[0],
        {"kind": np.array(["a", "b", "a"], object), "size": np.array([3, np.nan, 5])},
        [{"size": 3, "kind": "a"}, {"size": None, "kind": "b"}, {"kind": "a", "size": 5.0}],
        [(3, "a"), [None, "b"], [5, "a"]],
    ],
)
def test_rows_and_whole_tables(items: Any) -> None:
    session = tabular()
    assert [a["y"] for a in session.run_raw(items)] == [12.0, 101.0, 14.0]  # type: ignore[index]
    assert session.sizes == [3]


@pytest.mark.parametrize("as_frame", [True, False])
def test_a_row_with_an_unseen_category_fails_alone(as_frame: bool) -> None:
    kinds = ["a"] * 40
    kinds[17] = "never"
    frame = pd.DataFrame({"size": [1.0] * 40, "kind": kinds})
    answers = tabular().run_raw(frame if as_frame else pa.Table.from_pandas(frame))  # type: ignore[arg-type]
    failed = [i for i, a in enumerate(answers) if isinstance(a, FeedError)]
    assert failed == [17]
    assert "item 17, kind" in str(answers[17])


def several(batch: Any) -> Fake:
    signature = Signature(
        (
            spec("ids", "int64", batch, "t"),
            spec("mask", "int64", batch, "t"),
            spec("bias", "float32", batch, 2),
            spec("rate", "int64"),
        ),
        (spec("y", "float32", batch, 2),),
    )
    made = Fake(
        signature,
        lambda f: {"y": (f["ids"] * f["mask"]).sum(axis=1, keepdims=True) * f["rate"] + f["bias"].astype(np.float32)},
    )
    made.raw = RawPipeline([{"name": "collate", "options": {"pad_value": 7, "input": ["ids", "mask"]}}], [], signature)
    return made


def test_items_of_several_parts_and_parts_that_no_step_makes() -> None:
    session = several("n")
    assert [s.as_dict()["kind"] for s in session.raw.slots] == ["tokens", "tensor", "tensor"]  # type: ignore[union-attr]
    items = [
        {"ids": [1, 2, 3], "bias": np.array([1, 2], np.float32), "rate": np.array(2)},
        {"ids": [5], "bias": np.array([0, 0], np.float32), "rate": np.array(3)},
        {"ids": [5], "rate": np.array(3)},
        [5],
    ]
    answers = session.run_raw(items)
    assert [a["y"].tolist() for a in answers[:2]] == [[13, 14], [15, 15]]  # type: ignore[index]
    assert session.sizes == [1, 1], "a rate that is shared by a batch keeps items apart"
    assert all(isinstance(a, FeedError) and "lacks a part" in str(a) for a in answers[2:])
    with pytest.raises(UsageError, match="told apart"):
        several(4)


def test_items_whose_tensors_do_not_go_together_are_run_one_by_one() -> None:
    signature = Signature(
        (spec("x", "float32", "n", 3, 4, 4), spec("z", "float32", "n", "m")), (spec("y", "float32", "n", 3),)
    )
    session = Fake(signature, lambda f: {"y": f["x"].mean(axis=(2, 3)) + f["z"].sum(axis=1, keepdims=True)})
    session.raw = RawPipeline([{"name": "image", "options": {"size": [4, 4], "input": ["x"]}}], [], signature)
    items = [{"x": p, "z": np.ones(i + 1, np.float32)} for i, p in enumerate(pictures(3))]
    answers = session.run_raw(items)
    assert session.sizes == [1, 1, 1]
    assert [round(float((a["y"] - i - 1).mean()), 3) > 0 for i, a in enumerate(answers)] == [True] * 3  # type: ignore[index]


def test_answers_that_cannot_be_told_apart() -> None:
    outputs = (spec("y", "float32", 5),)
    signature = Signature((spec("x", "float32", 4, 3, 4, 4),), outputs)
    pre = [{"name": "image", "options": {"size": [4, 4], "input": ["x"]}}]
    with pytest.raises(UsageError, match="told apart"):
        RawPipeline(pre, [], signature)
    signature = Signature((spec("x", "float32", "n", 3, 4, 4),), (spec("y", "float32", None),))
    session = Fake(signature, lambda feeds: {"y": np.zeros(5, np.float32)})
    session.raw = RawPipeline(pre, [], signature)
    with pytest.raises(UsageError, match="told apart"):
        session.run_raw(pictures(2))
    assert session.run_raw(pictures(1))[0]["y"].shape == (5,)  # type: ignore[index]


def test_a_model_with_post_steps_alone_takes_its_tensors_item_by_item() -> None:
    signature = Signature((spec("x", "float32", "n", 3),), (spec("y", "float32", "n", 3),))
    session = Fake(signature, lambda feeds: {"y": feeds["x"] * 2})
    session.raw = RawPipeline([], [TOP], signature)
    rows = [np.array(r, np.float32) for r in ([0, 5, 1], [9, 0, 0])]
    assert [a["best"]["labels"] for a in session.run_raw(rows)] == [["g"], ["r"]]  # type: ignore[index]


def test_the_raw_signature_says_what_it_takes_and_gives() -> None:
    assert photo(2, [TOP]).raw.as_dict() == {  # type: ignore[union-attr]
        "items": [{"name": "x", "kind": "image", "takes": "uint8 [h, w, 3]"}],
        "answers": [{"name": "best", "gives": "the 1 best: values, indices, labels"}],
        "batch": 2,
    }


def test_without_steps_and_with_unknown_ones() -> None:
    signature = photo(1).raw.signature  # type: ignore[union-attr]
    assert around([], [], signature) is None
    plain = Fake(signature, colours)
    with pytest.raises(FeedError, match="takes tensors, not raw items"):
        plain.run_raw([1])
    for pre in ([{"name": "warp", "options": {}}], [{"name": "image", "options": {"size": [4, 4], "input": 5}}]):
        made = around(pre, [], signature)
        assert isinstance(made, Unusable)
        with pytest.raises(UsageError, match="cannot run the artifact's steps"):
            made.run(plain, [])


@pytest.mark.parametrize("items", [None, 5, "abc", {1, 2}])
def test_what_is_no_list_of_items(items: Any) -> None:
    with pytest.raises(FeedError, match="items come as"):
        photo(1).run_raw(items)
    if items is None or isinstance(items, int):
        with pytest.raises(FeedError, match="items come as"):
            tabular().run_raw(items)  # type: ignore[arg-type]
