"""Arguments that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neoc.cli import arguments
from neoc.compile.errors import InvalidInput, OutputError, UsageError
from neoc.compile.options import InputBinding


def test_input_splits_at_the_last_equals_sign() -> None:
    found = arguments.bindings(["serving=default:0=1,43844,1", "ids=batch,?,3:int64", "scalar="])
    assert found == {
        "serving=default:0": InputBinding((1, 43844, 1)),
        "ids": InputBinding(("batch", None, 3), "int64"),
        "scalar": InputBinding(()),
    }


@pytest.mark.parametrize("text", ["x", "=1,2", "x=1,-2", "x=1,2.5", "x=1:float33", "x=1,2:float32:int8"])
def test_input_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidInput):
        arguments.bindings([text])


def test_one_input_twice() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        arguments.bindings(["x=1", "x=2"])


def test_options_are_pairs() -> None:
    assert arguments.pairs(["a=b=c"]) == (("a", "b=c"),)
    with pytest.raises(UsageError):
        arguments.pairs(["a"])


def test_goals_are_the_three_that_are_documented() -> None:
    assert [arguments.check_optimize(goal) for goal in ("latency", "cold-start", "size")]
    with pytest.raises(UsageError, match=r"'coldstart'.*latency, cold-start, size"):
        arguments.check_optimize("coldstart")


def test_precisions_that_are_not_there_yet_say_so() -> None:
    assert arguments.check_precision("bf16") == "bf16"
    for precision in ("int8", "auto"):
        with pytest.raises(UsageError, match="not there yet"):
            arguments.check_precision(precision)
    with pytest.raises(UsageError, match="unknown"):
        arguments.check_precision("fp8")


def test_output_as_file_and_as_folder(tmp_path: Path) -> None:
    assert arguments.output_file(tmp_path / "m.neoc", "d.neoc", several=False) == tmp_path / "m.neoc"
    assert arguments.output_file(tmp_path, "d.neoc", several=False) == tmp_path / "d.neoc"
    assert arguments.output_file(tmp_path / "new", "d.neoc", several=True) == tmp_path / "new" / "d.neoc"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"):
        arguments.output_file(tmp_path / "m.neoc", "d.neoc", several=False)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        arguments.output_file(tmp_path / "file" / "m.neoc", "d.neoc", several=False)
