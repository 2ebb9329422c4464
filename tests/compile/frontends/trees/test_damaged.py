"""Damaged and hostile tree files: a typed error each, or a model that passed every check."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neoc.bench import tree_recipes as trained_trees
from neoc.compile import CompileOptions, frontends
from neoc.compile.errors import InvalidModel, NeocError, UnsupportedModel

pytestmark = pytest.mark.needs("xgboost", "lightgbm", "skops")
LOAD = CompileOptions(use_cache=False)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    booster, _, _ = trained_trees.xgboost(trained_trees.Recipe(rounds=3))
    found: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    import skops.io

    booster, _, _ = trained_trees.xgboost(trained_trees.Recipe(rounds=3))
    light, _ = trained_trees.lightgbm(trained_trees.Recipe(rounds=3))
    path = tmp_path_factory.mktemp("skops") / "m.skops"
    skops.io.dump(trained_trees.fitted("forest")[0], path)
    return {
        "m.json": bytes(booster.save_raw("json")),
        "m.ubj": bytes(booster.save_raw("ubj")),
        "m.txt": light.model_to_string().encode(),
        "m.skops": path.read_bytes(),
    }


def _tree(document: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = document["learner"]["gradient_booster"]["model"]["trees"][index]
    return found


def _cycle(d: dict[str, Any]) -> None:
    _tree(d)["left_children"][1] = 0


def _shared_child(d: dict[str, Any]) -> None:
    _tree(d)["left_children"][0] = _tree(d)["right_children"][0]


def _outside(d: dict[str, Any]) -> None:
    _tree(d)["right_children"][0] = 10_000


def _short(d: dict[str, Any]) -> None:
    _tree(d)["split_conditions"].pop()


def _wild_feature(d: dict[str, Any]) -> None:
    _tree(d)["split_indices"][0] = 99


def _nan(d: dict[str, Any]) -> None:
    _tree(d)["split_conditions"][0] = float("nan")


def _no_trees(d: dict[str, Any]) -> None:
    model = d["learner"]["gradient_booster"]["model"]
    model["trees"], model["tree_info"] = [], []
    model["gbtree_model_param"]["num_trees"] = "0"
    model["iteration_indptr"] = [0]


def _no_conditions(d: dict[str, Any]) -> None:
    del _tree(d)["split_conditions"]


def _text_for_number(d: dict[str, Any]) -> None:
    _tree(d)["split_indices"][0] = "one"


def _fewer_features(d: dict[str, Any]) -> None:
    d["learner"]["learner_model_param"]["num_feature"] = "1"


def _odd_objective(d: dict[str, Any]) -> None:
    d["learner"]["objective"]["name"] = "reg:tomorrow"


def _odd_booster(d: dict[str, Any]) -> None:
    d["learner"]["gradient_booster"]["name"] = "gbforest"


@pytest.mark.parametrize(
    "damage",
    [
        _cycle,
        _shared_child,
        _outside,
        _short,
        _wild_feature,
        _nan,
        _no_trees,
        _no_conditions,
        _text_for_number,
        _fewer_features,
        _odd_objective,
        _odd_booster,
    ],
)
def test_each_damage_is_an_error_that_names_the_file(
    document: dict[str, Any], tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    broken = copy.deepcopy(document)
    damage(broken)
    path = tmp_path / "m.json"
    path.write_text(json.dumps(broken))
    with pytest.raises((InvalidModel, UnsupportedModel)) as caught:
        frontends.load(path, {}, LOAD)
    assert "m.json" in str(caught.value)
    assert caught.value.exit_status in (1, 2)


def test_an_absurd_depth_is_refused_or_read(document: dict[str, Any], tmp_path: Path) -> None:
    """A chain of 20,000 nodes: no recursion may be needed to say so."""
    deep = copy.deepcopy(document)
    count = 20_001
    inner = count // 2
    tree = _tree(deep)
    left = np.full(count, -1)
    right = np.full(count, -1)
    left[: 2 * inner : 2] = np.arange(1, 2 * inner, 2)
    right[: 2 * inner : 2] = np.arange(2, 2 * inner + 1, 2)
    parents = np.full(count, 2147483647)
    parents[left[left >= 0]] = np.flatnonzero(left >= 0)
    parents[right[right >= 0]] = np.flatnonzero(right >= 0)
    tree["left_children"], tree["right_children"], tree["parents"] = left.tolist(), right.tolist(), parents.tolist()
    for key, value in (
        ("split_conditions", 0.5),
        ("split_indices", 0),
        ("default_left", 0),
        ("base_weights", 0.0),
        ("loss_changes", 0.0),
        ("sum_hessian", 1.0),
        ("split_type", 0),
    ):
        tree[key] = [value] * count
    tree["tree_param"]["num_nodes"] = str(count)
    path = tmp_path / "deep.json"
    path.write_text(json.dumps(deep))
    with pytest.raises((InvalidModel, UnsupportedModel), match="deep"):
        frontends.load(path, {}, LOAD)


@pytest.mark.parametrize("name", ["m.json", "m.ubj", "m.txt", "m.skops"])
@pytest.mark.parametrize("keep", [0.01, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(files: dict[str, bytes], tmp_path: Path, name: str, keep: float) -> None:
    data = files[name]
    if name == "m.txt":  # what stands behind the trees is only told to people
        data = data[: data.index(b"end of trees")]
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(NeocError):
        frontends.load(path, {}, LOAD)


@pytest.mark.parametrize("name", ["m.json", "m.ubj", "m.txt"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_fuzzed_files_end_in_a_program_or_a_typed_error(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.sampled_from(["flip", "insert", "delete", "digit"]))
        if what == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif what == "delete":
            del content[at : at + data.draw(st.integers(1, 16))]
        else:
            content[at : at + 1] = data.draw(st.sampled_from([b"-", b"9", b"1e400", b"nan", b"{", b"]"]))
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(bytes(content))
    statuses = {0}
    try:
        frontends.load(path, {}, LOAD)
    except NeocError as error:
        statuses.add(error.exit_status)
    assert statuses <= {0, 1, 2}
