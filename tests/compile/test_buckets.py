"""The plan of buckets: least padding, lengths from files, dimensions of a model."""

from __future__ import annotations

import json
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neoc.compile.buckets import BucketPlan, DimPlan, bound, choose_sizes, label, padding, plan, read_lengths
from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.errors import InvalidInput, UsageError
from neoc.compile.options import Bucketing, InputBinding


def best_by_trying(lengths: dict[int, float], count: int, candidates: list[int] | None = None) -> float:
    """The least padding over every choice of at most `count` sizes."""
    sizes = sorted(candidates or lengths)
    chosen = (c for k in range(1, count + 1) for c in combinations(sizes, k) if c[-1] >= max(lengths))
    return min(padding(lengths, c) for c in chosen)


# ---- the optimum ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(50))
def test_the_plan_wastes_no_more_than_the_best_of_all_plans(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.choice(np.arange(1, 200), size=int(random.integers(1, 12)), replace=False)
    lengths = {int(v): float(random.integers(1, 1000)) for v in values}
    for count in range(1, 6):
        sizes = choose_sizes(lengths, count)
        assert len(sizes) <= count
        assert list(sizes) == sorted(set(sizes))
        assert sizes[-1] == max(lengths)
        assert padding(lengths, sizes) == best_by_trying(lengths, count)


@given(
    st.dictionaries(st.integers(1, 60), st.floats(0.001, 100), min_size=1, max_size=9),
    st.integers(1, 5),
    st.lists(st.integers(1, 80), min_size=1, max_size=7),
)
@settings(deadline=None)
def test_the_best_of_given_sizes_is_chosen(lengths: dict[int, float], count: int, extra: list[int]) -> None:
    candidates = sorted({*extra, max(lengths) + 3})
    sizes = choose_sizes(lengths, count, candidates)
    assert set(sizes) <= set(candidates)
    assert len(sizes) <= count
    best = best_by_trying(lengths, count, candidates)
    assert padding(lengths, sizes) == pytest.approx(best, rel=1e-9, abs=1e-9)


@given(st.dictionaries(st.integers(1, 500), st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 8))
@settings(deadline=None)
def test_one_more_bucket_never_wastes_more(lengths: dict[int, float], count: int) -> None:
    assert padding(lengths, choose_sizes(lengths, count + 1)) <= padding(lengths, choose_sizes(lengths, count))


def test_a_bucket_for_each_length_wastes_nothing() -> None:
    lengths = {3: 5.0, 9: 1.0, 70: 2.0}
    assert choose_sizes(lengths, 3) == (3, 9, 70)
    assert choose_sizes(lengths, 99) == (3, 9, 70)
    assert padding(lengths, (3, 9, 70)) == 0
    assert choose_sizes(lengths, 2) == (9, 70)  # 5 * 6 = 30 wasted; (3, 70) would waste 61


def test_thousands_of_lengths_are_planned_within_seconds() -> None:
    lengths = {length: float(1 + length * 7919 % 101) for length in range(1, 4001)}
    start = time.perf_counter()
    assert len(choose_sizes(lengths, 8)) == 8
    assert time.perf_counter() - start < 20


def test_what_cannot_be_planned_is_an_error() -> None:
    for lengths, count, candidates in (({}, 1, None), ({4: 1.0}, 0, None), ({4: 1.0}, 1, [3])):
        with pytest.raises(ValueError, match=r"needs lengths|holds no length"):
            choose_sizes(lengths, count, candidates)
    with pytest.raises(ValueError, match="no size holds a length of 9"):
        padding({9: 1.0}, [8])


# ---- files of lengths -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "3\n3\n70\n",
        "3 2\n70 1\n",
        "length,count\n3,2\n70,1\n",
        "# a comment\n\n3;2  # another\n70\n",
        "[3, 3, 70]",
        '{"3": 2, "70": 1}',
    ],
)
def test_lengths_are_read_from_text_and_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lengths"
    path.write_text(text)
    assert read_lengths(path) == {3: 2.0, 70: 1.0}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3 x\n", "line 1"),
        ("3\n4 5 6\n", "line 2.*more than"),
        ("3\n-4\n", "line 2.*-4 is no length"),
        ("3 -1\n", "no number of times"),
        ("3 nan\n", "no number of times"),
        ("", "no length in it"),
        ("3 0\n", "no length in it"),
        ('[3, "many"]', "cannot be read"),
        ("[3.5]", "entry 0"),
        ('{"3": null}', "entry 0"),
        ('{"3": [1]}', "entry 0"),
        ("[1", "cannot be read"),
        ("[[1]]", "cannot be read"),
        ("[true]", "entry 0"),
        ("0\n", "0 is no length"),
    ],
)
def test_a_bad_file_of_lengths_is_refused_with_the_place(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "lengths"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=f"(?s)lengths cannot be read.*{why}" if "cannot" not in why else why):
        read_lengths(path)


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_a_histogram_or_a_refusal(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            lengths = read_lengths(Path(file.name))
        except InvalidInput:
            return
    assert all(length >= 1 and count > 0 for length, count in lengths.items())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        read_lengths(tmp_path / "nowhere")


# ---- dimensions -----------------------------------------------------------------------------------

TEXT = Signature(
    (TensorSpec("ids", "int64", ("batch", "seq")), TensorSpec("mask", "int64", ("batch", "seq"))),
    (TensorSpec("y", "float32", ("batch", 8)),),
)


def test_named_sizes_are_the_buckets() -> None:
    made = plan(Bucketing({"seq": (32, 64, 128)}), TEXT, "m")
    assert made.binds() == [{"seq": 32}, {"seq": 64}, {"seq": 128}]
    assert [made.floor(bind)["seq"] for bind in made.binds()] == [1, 33, 65]


def test_fewer_buckets_are_chosen_from_named_sizes_as_if_each_were_a_length() -> None:
    made = plan(Bucketing({"seq": (32, 64, 128, 1024)}, count=2), TEXT, "m")
    assert made.binds() == [{"seq": 128}, {"seq": 1024}]


def test_a_histogram_names_its_dimension_or_means_the_only_one(tmp_path: Path) -> None:
    file = tmp_path / "lengths.json"
    file.write_text(json.dumps([10, 10, 11, 50, 51, 300]))
    made = plan(Bucketing(lengths={"seq": file}, count=3), TEXT, "m")
    assert made.dims[0].sizes == (11, 51, 300)
    assert made.dims[0].as_dict()["padding_share"] == round(3 / (3 + 432), 4)
    only = Signature((TensorSpec("x", "float32", (1, "t")),), ())
    assert plan(Bucketing(lengths={"": file}), only, "m").dims[0].dim == "t"
    with pytest.raises(UsageError, match=r"of which dimension.*batch, seq"):
        plan(Bucketing(lengths={"": file}), TEXT, "m")


def test_a_histogram_chooses_among_named_sizes(tmp_path: Path) -> None:
    file = tmp_path / "lengths"
    file.write_text("10 100\n40 1\n100 3\n")
    made = plan(Bucketing({"seq": (16, 64, 128)}, {"seq": file}, count=2), TEXT, "m")
    assert made.dims[0].sizes == (16, 128)
    with pytest.raises(UsageError, match="go up to 100, the buckets to 64"):
        plan(Bucketing({"seq": (16, 64)}, {"seq": file}), TEXT, "m")


def test_several_dimensions_make_a_grid() -> None:
    made = plan(Bucketing({"seq": (8, 32), "batch": (1, 4)}), TEXT, "m")
    sizes = [(b["batch"], b["seq"]) for b in made.binds()]
    assert sizes == [(1, 8), (1, 32), (4, 8), (4, 32)]
    assert made.floor({"batch": 4, "seq": 8}) == {"batch": 2, "seq": 1}
    assert label({"seq": 8, "batch": 4}) == "batch=4,seq=8"


def test_too_many_variants_are_refused() -> None:
    many = tuple(range(1, 10))
    with pytest.raises(UsageError, match="9 of batch x 9 of seq are 81 variants, and 64"):
        plan(Bucketing({"seq": many, "batch": many}), TEXT, "m")


def test_an_unknown_dimension_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"no open dimension 'time'.*batch, seq"):
        plan(Bucketing({"time": (8,)}), TEXT, "m")
    nameless = Signature((TensorSpec("x", "float32", (1, None)),), ())
    with pytest.raises(InvalidInput, match=r"are: none.*--input NAME=1,seq"):
        plan(Bucketing({"seq": (8,)}), nameless, "m")


def test_an_axis_reckoned_from_a_bucketed_dimension_is_refused() -> None:
    grown = Signature((TensorSpec("x", "float32", (1, "seq")), TensorSpec("m", "float32", (1, "past + seq"))), ())
    with pytest.raises(UsageError, match=r"past \+ seq.*cannot be padded"):
        plan(Bucketing({"seq": (8,)}), grown, "m")


def test_bindings_keep_what_the_user_bound() -> None:
    user = {"mask": InputBinding(("batch", "seq"), "int64")}
    made = bound(user, TEXT, {"seq": 16})
    assert made == {"ids": InputBinding(("batch", 16)), "mask": InputBinding(("batch", 16), "int64")}


def test_a_plan_of_one_bucket_has_the_share_of_one_bucket() -> None:
    one = DimPlan("seq", (10,), {5: 1.0, 10: 1.0}).as_dict()
    assert one["padding_share"] == one["padding_share_with_one_bucket"] == 0.25
    assert BucketPlan((DimPlan("seq", (10,)),)).dims[0].as_dict()["padding_share"] is None
