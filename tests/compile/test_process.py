"""Declared steps: read from files, bound to a model's inputs and outputs, refused in one clear paragraph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pass_programs import graph

from neoc.compile import process
from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.errors import UsageError
from neoc.compile.program import ProcessStep, Program
from neoc.kernels.image import ImagePreprocess
from neoc.kernels.post import PostProcess


def signature(*inputs: str, outputs: tuple[str, ...] = ("y: float32 n 9",)) -> Signature:
    def spec(text: str) -> TensorSpec:
        name, rest = text.split(": ")
        dtype, *dims = rest.split()
        return TensorSpec(name, dtype, tuple(int(d) if d.isdigit() else d for d in dims))

    return Signature(tuple(map(spec, inputs)), tuple(map(spec, outputs)))


PHOTO = signature("x: float32 n 3 8 8")
IMAGE = {"image": {"size": [8, 8]}}
TEXT = signature("input_ids: int64 n 16", "attention_mask: int64 n 16", "token_type_ids: int64 n 16")
PAGE = signature(
    "x: float32 n 3 8 8",
    outputs=("boxes: float32 n 20 4", "scores: float32 n 20", "code: int8 n 5", "text: float32 n 4 9"),
)


def options(step: ProcessStep) -> dict[str, Any]:
    return dict(step.as_dict()["options"])


def test_one_obvious_place_may_be_left_out_and_defaults_are_written_out() -> None:
    (step,) = process.bind_pre([IMAGE], PHOTO)
    assert step.name == "image"
    assert options(step) == ImagePreprocess((8, 8)).to_spec() | {"input": ["x"]}
    one, two = process.bind_post([{"softmax": None}, {"top_k": {"k": 2}}], PHOTO)
    assert options(one) == {"input": ["y"], "output": "softmax"}
    assert options(two) == {"k": 2, "names": None, "input": ["softmax"], "output": "top_k"}


@pytest.mark.parametrize(
    "entry",
    [
        {"image": {"size": [8, 8], "input": "x"}},
        {"image": {"size": [8, 8]}, "input": ["x"]},
        {"image": ImagePreprocess((8, 8)), "input": "x"},
        ImagePreprocess((8, 8)),
        process.bind_pre([IMAGE], PHOTO)[0],
    ],
)
def test_every_way_to_say_it_is_the_same_step(entry: Any) -> None:
    assert process.bind_pre([entry], PHOTO) == process.bind_pre([IMAGE], PHOTO)


def test_kernel_objects_are_answers_too() -> None:
    assert process.bind_post([PostProcess("top_k", k=2)], PHOTO) == process.bind_post([{"top_k": {"k": 2}}], PHOTO)


def test_ids_and_mask_find_their_inputs_by_name() -> None:
    (step,) = process.bind_pre([{"collate": {"length": 16}}], TEXT)
    assert options(step)["input"] == ["input_ids", "attention_mask"]


def test_a_later_step_rewrites_what_an_earlier_one_made() -> None:
    quantised = signature("x: int8 n 3 8 8")
    image, quantize = process.bind_pre([IMAGE, {"quantize": {"scale": 0.1, "input": "x"}}], quantised)
    assert options(image)["dtype"] == "float32"
    assert options(quantize)["input"] == ["x"]
    with pytest.raises(UsageError, match="does not give what the model takes"):
        process.bind_pre([IMAGE], quantised)
    with pytest.raises(UsageError, match="cannot read what image makes"):
        process.bind_pre([{"image": {"size": [8, 8], "dtype": "uint8"}}, {"quantize": {"scale": 1}}], quantised)


def test_a_table_of_answers() -> None:
    made = process.bind_post(
        [
            {"dequantize": {"scale": 0.1, "input": "code", "output": "plain"}},
            {"nms": {"iou": 0.5, "input": ["boxes", "scores"]}},
            {"ctc_greedy": {"input": "text"}},
        ],
        PAGE,
    )
    assert [options(s)["output"] for s in made] == ["plain", "nms", "ctc_greedy"]


PRE_FAULTS: list[tuple[Any, Signature, str]] = [
    ({"blur": {}}, PHOTO, "no such pre-processing"),
    ({"image": {"size": [8, 8], "colour": 1}}, PHOTO, "options that do not fit"),
    ({"image": {"size": [8, 9]}}, PHOTO, "does not give what the model takes"),
    ({"image": {"size": [8, 8], "layout": "NHWC"}}, PHOTO, "does not give what the model takes"),
    ({"image": {"size": [8, 8], "dtype": "float16"}}, PHOTO, "gives float16"),
    ({"image": {"size": [8, 8], "input": "z"}}, PHOTO, "no such input"),
    ({"image": {"size": [8, 8], "input": 3}}, PHOTO, "name or a list"),
    ({"image": {"size": [8, 8], "input": ["x", "x"]}}, PHOTO, "different names"),
    ({"image": {"size": [8, 8], "output": "y"}}, PHOTO, "has no output"),
    ({"quantize": {"scale": 1}}, PHOTO, "not clear which inputs"),
    ({"quantize": {"scale": 1, "input": "x"}}, PHOTO, "no step before it"),
    ({"collate": {"length": 16, "mask": False}}, TEXT, "not clear which inputs"),
    ({"collate": {"length": 12}}, TEXT, "does not give what the model takes"),
    ({"collate": {"length": 16, "input": "input_ids"}}, TEXT, "makes 2 tensors and names 1"),
    ({"image": {}, "table": {}}, PHOTO, "one name with its options"),
    ("image", PHOTO, "no step that the kernels have"),
    (print, PHOTO, "no step that the kernels have"),
    ({"image": print}, PHOTO, "no step that the kernels have"),
    ({"table": {"columns": 1, "blocks": [{"kind": "category", "column": 0, "categories": [float("inf")]}]}},
     signature("x: float32 n 1"), "JSON cannot say"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "of", "words"), PRE_FAULTS)
def test_what_preprocess_cannot_say(entry: Any, of: Signature, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        process.bind_pre([entry], of)
    assert "preprocess" in str(caught.value)


POST_FAULTS: list[tuple[Any, str]] = [
    ({"blur": {}}, "no such post-processing"),
    ({"top_k": {"k": 1}}, "not clear what step top_k reads"),
    ({"nms": {"iou": 0.5, "input": "boxes"}}, "not clear what step nms reads"),
    ({"top_k": {"k": 1, "input": "z"}}, "no such output"),
    ({"softmax": {"input": "code"}}, "takes float32, and that is int8"),
    ({"dequantize": {"scale": 1, "input": "text"}}, "takes int8, and that is float32"),
    ({"softmax": {"input": "text", "output": "boxes"}}, "a name of its own"),
]


@pytest.mark.parametrize(("entry", "words"), POST_FAULTS)
def test_what_postprocess_cannot_say(entry: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        process.bind_post([entry], PAGE)


def test_an_answer_that_is_no_array_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="no array but a list"):
        process.bind_post([{"top_k": {"k": 1}}, {"softmax": {"input": "top_k"}}], PHOTO)


def test_two_steps_cannot_feed_one_input() -> None:
    with pytest.raises(UsageError, match="feeds that already"):
        process.bind_pre([IMAGE, {"image": {"size": [8, 8], "input": "x"}}], PHOTO)


def test_the_digest_of_a_program_follows_its_steps() -> None:
    plain = graph("(float[n,3,8,8] x) => (float[n,3,8,8] y) { y = Relu(x) }")
    one = process.attach(plain, [IMAGE], [])
    two = process.attach(plain, [{"image": {"size": [8, 8], "divisor": 1}}], [])
    assert len({plain.digest, one.digest, two.digest}) == 3
    assert process.attach(plain, [], []) is plain


def test_steps_survive_saving_the_program(tmp_path: Path) -> None:
    plain = graph("(float[n,3,8,8] x) => (float[n,9] y) { y = Foo(x) }")
    made = process.attach(plain, [IMAGE], [{"top_k": {"k": 1}}])
    made.save(tmp_path)
    read = Program.load(tmp_path)
    assert (read.pre, read.post) == (made.pre, made.post)


# ---- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_sections_are_read_from_yaml_and_json(suffix: str, tmp_path: Path) -> None:
    said = {"preprocess": [IMAGE], "postprocess": [{"top_k": {"k": 1}}]}
    path = tmp_path / f"steps{suffix}"
    path.write_text(json.dumps(said) if suffix == ".json" else yaml.safe_dump(said))
    assert process.read_sections(path) == said
    path.write_text("{}")
    assert process.read_sections(path) == {"preprocess": [], "postprocess": []}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "cannot be parsed"),
        ("a.yaml", "a: [", "cannot be parsed"),
        ("a.yaml", "!!python/object/apply:os.system [ls]", "cannot be parsed"),
        ("a.yaml", "- image", "holds something else"),
        ("a.yaml", "preproces: []", "preproces"),
        ("a.json", '{"preprocess": {"image": {}}}', "no list of steps"),
        ("a.json", "[" * 100_000, "cannot be parsed"),
        ("a.yaml", b"\xff\xfe\x00", "cannot be"),
    ],
)
def test_a_file_that_says_something_else(name: str, text: str | bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError, match=words):
        process.read_sections(path)
    with pytest.raises(UsageError, match="cannot be read"):
        process.read_sections(tmp_path / "absent.yaml")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
WORDS = st.sampled_from(["image", "top_k", "input", "output", "size", "k", "collate", "table", "softmax"])
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.lists(TREES, max_size=3))
def test_any_tree_is_bound_or_refused(tree: list[Any]) -> None:
    for bind in (process.bind_pre, process.bind_post):
        try:
            made = bind(tree, PHOTO)
        except UsageError as error:
            text = str(error)
            assert text
        else:
            assert all(isinstance(step, ProcessStep) for step in made)
