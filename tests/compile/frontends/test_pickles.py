"""Pickles are named, never loaded without the user's word; weights without a graph say what to do."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neoc.compile import CompileOptions, frontends
from neoc.compile.errors import InvalidModel, NeocError, UsageError
from neoc.compile.frontends import pickles
from neoc.compile.options import InputBinding


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_refused_and_what_it_calls_is_named(tmp_path: Path, protocol: int) -> None:
    path, marker = tmp_path / "m.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps(_Evil(marker), protocol))
    with pytest.raises(InvalidModel, match=r"pickle.*pathlib.*--trust-pickle"):
        frontends.load(path, {})
    assert not marker.exists()


def test_a_trusted_pickle_of_something_else_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"a": 1, "when": struct.Struct}))
    with pytest.raises(UsageError, match="nothing that neoc compiles"):
        frontends.load(path, {}, CompileOptions(trust_pickle=True))


def test_safetensors_have_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(InvalidModel, match=r"no graph to compile.*safetensors.*FILE.py:FUNCTION"):
        frontends.load(path, {})


@pytest.mark.needs("torch")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_has_no_graph(tmp_path: Path, zipped: bool) -> None:
    import torch

    path = tmp_path / "w.pt"
    weights = torch.nn.Linear(2, 2).half().state_dict()
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InvalidModel, match=r"no graph to compile.*state dict"):
        frontends.load(path, {})


@pytest.mark.needs("torch", "onnxscript")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_trusted_module_is_exported(tmp_path: Path, zipped: bool) -> None:
    import torch

    path = tmp_path / "whole.pt"
    torch.save(torch.nn.Linear(3, 2), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InvalidModel, match=r"Python pickle.*torch.nn.modules.linear.Linear"):
        frontends.load(path, {})
    options = CompileOptions(trust_pickle=True)
    program = frontends.load(path, {"input": InputBinding(("N", 3))}, options)
    assert program.signature.inputs[0].shape == ("N", 3)
    assert program.provenance.name.startswith("whole.pt/")


@given(st.binary(max_size=200), st.sampled_from([2, 3, 4, 5]))
def test_whatever_looks_like_a_pickle_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, p: int) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "m.pkl"
    path.write_bytes(bytes([0x80, p]) + data)
    with pytest.raises(NeocError):
        frontends.load(path, {})


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_what_is_called_is_told_without_loading(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("plain") / "m.pkl"
    path.write_bytes(pickle.dumps(value, 4))
    assert pickles._strangers(path) == []
