"""`module.py:factory`: what it gives is compiled; what goes wrong in the user's code is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from neoc.compile import frontends
from neoc.compile.errors import InvalidInput, InvalidModel
from neoc.compile.options import InputBinding

pytestmark = pytest.mark.needs("torch", "onnxscript")

CODE = """
import torch

def good():
    return torch.nn.Linear(3, 2), (torch.randn(4, 3),)

def bare():
    return torch.nn.Linear(3, 2)

def nothing():
    return {"weights": 1}

def broken():
    raise RuntimeError("no such weights")

def picky():
    class Net(torch.nn.Module):
        def forward(self, x):
            return x @ torch.ones(5, 2)
    return Net()

number = 3
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "model.py"
    path.write_text(CODE)
    return path


def test_a_size_other_than_the_examples_is_bound(code: Path) -> None:
    program = frontends.load(f"{code}:good", {"input": InputBinding((7, 3))})
    assert [spec.shape for spec in (*program.signature.inputs, *program.signature.outputs)] == [(7, 3), (7, 2)]
    with pytest.raises(InvalidInput, match=r"fixed by the model's code"):  # the weights say 3
        frontends.load(f"{code}:good", {"input": InputBinding((4, 5))})
    with pytest.raises(InvalidInput, match=r"the example has shape \[4, 3\]"):
        frontends.load(f"{code}:good", {"input": InputBinding((4, 3, 1))})


def test_example_inputs_give_the_shapes(code: Path) -> None:
    program = frontends.load(f"{code}:good", {})
    assert [spec.shape for spec in program.signature.inputs] == [(4, 3)]
    assert program.provenance.framework == "PyTorch"
    assert program.provenance.name == "model.py"


@pytest.mark.parametrize(
    ("factory", "inputs", "kind", "words"),
    [
        ("bare", {}, InvalidInput, "--input"),
        ("bare", {"nose": InputBinding((2, 3))}, InvalidInput, "no argument 'nose'"),
        ("nothing", {}, InvalidModel, "no torch module"),
        ("broken", {}, InvalidModel, r"raised \(model.py, line 14\).*no such weights"),
        ("picky", {"x": InputBinding((2, 3))}, InvalidModel, "cannot trace"),
        ("missing", {}, InvalidModel, "no function 'missing'.*bare"),
        ("number", {}, InvalidModel, "no function 'number'"),
    ],
)
def test_faults_are_the_users_words(
    code: Path, factory: str, inputs: dict[str, InputBinding], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        frontends.load(f"{code}:{factory}", inputs)


def test_a_file_that_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import nothing_of_that_name\n")
    with pytest.raises(InvalidModel, match=r"bad.py, line 1\).*nothing_of_that_name"):
        frontends.load(f"{path}:make", {})
    path.write_text("def make(:\n")
    with pytest.raises(InvalidModel, match=r"cannot be run.*SyntaxError"):
        frontends.load(f"{path}:make", {})
    with pytest.raises(InvalidModel, match="no such file"):
        frontends.load(f"{tmp_path}/gone.py:make", {})
