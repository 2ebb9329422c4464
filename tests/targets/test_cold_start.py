"""--optimize cold-start and size, from a model to a session: what is chosen, mapped, believed, and refused."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small_models

from neoc.compile import compile_model, contests, digests, trust
from neoc.compile.artifact import Artifact
from neoc.compile.errors import InvalidArtifact, MissingTool, PortableForm, UsageError, WrongDevice
from neoc.compile.options import CompileOptions
from neoc.targets import open_artifact, opening, requirements
from neoc.targets.host import detect

X = np.random.default_rng(5).standard_normal((2, 3, 16, 16)).astype(np.float32)
pytestmark = pytest.mark.needs("onnxruntime", "sse2")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "cnn.onnx"
    onnx.save(small_models.cnn(2), path)
    return path


def compiled(model: Path, place: Path, optimize: str, plan: str = "") -> Artifact:
    """`plan`: the decision that is replayed; without one, candidates compete."""
    decision = place.parent / "evidence.json"
    decision.write_text(json.dumps({"decision": {"plan": plan, "chosen_by": optimize}}))
    options = CompileOptions(
        optimize=optimize, race_seconds=0.2, engines=("onnxruntime",), rewrites=(), decision=decision if plan else None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(place.parent / "cache"))
        patch.setattr(contests, "LEAST_ROUNDS", 2)
        return compile_model(model, "host", options, output=place)


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The form with weights in the layout of this CPU, whatever starts fastest here."""
    return compiled(model, tmp_path_factory.mktemp("cold") / "m.neoc", "cold-start", "onnxruntime/mapped-packed")


@pytest.fixture
def path(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its own, and a cache that knows nothing of it."""
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "SETTLED_NS", 0)
    place = tmp_path / "m.neoc"
    place.write_bytes(artifact.path.read_bytes())
    return place


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The members that were hashed, whatever for."""
    seen: list[str] = []
    real = digests.load

    def load(handle: int, members: Any, where: str, threads: Any = None, beside: Any = ()) -> Any:
        seen.extend(member.path for member in (*members, *beside))
        return real(handle, members, where, threads, beside)

    monkeypatch.setattr(digests, "load", load)
    return seen


def weights(artifact: Artifact) -> str:
    (step,) = artifact.manifest["variants"][0]["steps"]
    (name,) = step["mapped"]
    return str(step["members"][name])


# ---- what is chosen --------------------------------------------------------------------------------


def test_the_fastest_start_is_chosen_and_every_candidate_is_told(model: Path, tmp_path: Path) -> None:
    found = compiled(model, tmp_path / "m.neoc", "cold-start")
    contest = found.evidence["contest"]
    taken = {e["id"]: e["open_ms"] + e["first_ms"] for e in contest["entrants"]}
    assert set(taken) == {f"onnxruntime/{v}" for v in ("mapped", "mapped-packed", "mapped-extended", "default")}
    assert all(ms > 0 for ms in taken.values())
    assert all(e["starts"] >= 2 and e["private_bytes"] > 1 << 20 for e in contest["entrants"])
    assert found.manifest["variants"][0]["id"] == contest["winner"]
    assert found.manifest["chosen_by"] == "cold-start"


def test_a_form_for_this_cpu_has_a_portable_one_beside_it(artifact: Artifact) -> None:
    first, second = artifact.manifest["variants"]
    assert first["portable"] == second["id"] == "onnxruntime/default"
    assert "portable" not in second
    assert {r["kind"] for r in first["requirements"]} - {r["kind"] for r in second["requirements"]} == {"cpu"}


def test_size_takes_what_adds_least(model: Path, tmp_path: Path) -> None:
    small = compiled(model, tmp_path / "s.neoc", "size")
    contest = small.evidence["contest"]
    assert small.manifest["chosen_by"] == "size"
    added = {e["id"]: e["added_bytes"] for e in contest["entrants"]}
    assert contest["winner"] == small.manifest["variants"][0]["id"]
    assert added[contest["winner"]] == min(added.values())
    assert len(small.manifest["variants"]) == 1


def test_an_unknown_goal_is_refused(model: Path) -> None:
    with pytest.raises(UsageError, match="does not optimise for 'speed'"):
        compile_model(model, "host", CompileOptions(optimize="speed"))


# ---- what is mapped --------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")
def test_weights_are_pages_of_the_artifact_itself(path: Path) -> None:
    with open_artifact(path) as session:
        lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
        assert lines
        want = compiled_plain(path, X)
        np.testing.assert_allclose(session.run({"x": X})["y"], want, rtol=1e-5, atol=1e-6)
    other = np.abs(want - compiled_plain(path, -X)).max()
    assert other > 1e-3


def compiled_plain(path: Path, x: np.ndarray) -> np.ndarray:
    with open_artifact(path, variant="onnxruntime/default") as session:
        return session.run({"x": x})["y"]


def test_a_mapped_member_is_one_piece(artifact: Artifact) -> None:
    assert "parts" not in artifact.manifest["members"][weights(artifact)]
    place = artifact.places([weights(artifact)])[weights(artifact)]
    assert place.offset % 64 == 0
    with artifact.path.open("rb") as file:
        file.seek(place.offset)
        assert file.read(place.size) == bytes(artifact.map([weights(artifact)])[weights(artifact)])


# ---- what is believed ------------------------------------------------------------------------------


def test_a_file_is_hashed_once_and_again_when_it_changed(path: Path, artifact: Artifact, hashed: list[str]) -> None:
    open_artifact(path).close()
    assert weights(artifact) in hashed
    assert "evidence.json" in hashed
    hashed.clear()
    open_artifact(path).close()
    assert weights(artifact) not in hashed
    assert hashed, "the graph itself is checked at every start"
    os.utime(path)
    hashed.clear()
    open_artifact(path).close()
    assert weights(artifact) in hashed


def test_damage_after_the_first_start_is_found(path: Path, artifact: Artifact) -> None:
    open_artifact(path).close()
    facts = path.stat()
    place = artifact.places([weights(artifact)])[weights(artifact)]
    with path.open("r+b") as file:
        file.seek(place.offset)
        byte = file.read(1)[0]
        file.seek(place.offset)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # whoever hides it cannot set ctime back
    with pytest.raises(InvalidArtifact, match=r"member .*weights\.bin.*sha256"):
        open_artifact(path)


def test_a_note_that_others_may_write_is_not_believed(path: Path, artifact: Artifact, hashed: list[str]) -> None:
    open_artifact(path).close()
    (note,) = (path.parent / "cache" / trust.FOLDER).iterdir()
    assert note.stat().st_mode & 0o077 == 0
    note.chmod(0o666)
    hashed.clear()
    open_artifact(path).close()
    assert weights(artifact) in hashed
    note.write_text("{}")
    hashed.clear()
    open_artifact(path).close()
    assert weights(artifact) in hashed


def test_a_file_that_has_just_changed_is_not_noted(
    path: Path, artifact: Artifact, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        hashed.clear()
        open_artifact(path).close()
        assert weights(artifact) in hashed


def test_a_cache_that_cannot_be_written_costs_time_alone(
    path: Path, artifact: Artifact, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = path.parent / "file"
    blocked.write_text("")
    monkeypatch.setenv("NEOC_CACHE_DIR", str(blocked))
    for _ in range(2):
        hashed.clear()
        open_artifact(path).close()
        assert weights(artifact) in hashed


def test_only_the_newest_notes_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "MOST_NOTES", 2)
    for _ in range(4):
        os.utime(path)
        twin = path.with_name(f"{os.urandom(4).hex()}.neoc")
        twin.write_bytes(path.read_bytes())
        open_artifact(twin).close()
    assert len(list((path.parent / "cache" / trust.FOLDER).iterdir())) == 2


# ---- another machine, another version --------------------------------------------------------------


def test_another_cpu_opens_the_portable_form_and_says_why(
    path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = compiled_plain(path, X)
    other = replace(detect(), stepping="Elsewhere-1-2", cpu="Another CPU")
    monkeypatch.setattr(opening, "detect", lambda: other)
    with (
        pytest.warns(PortableForm, match=r"portable form onnxruntime/default.*one kind of CPU.*Another CPU"),
        open_artifact(path) as session,
    ):
        np.testing.assert_array_equal(session.run({"x": X})["y"], want)
    with pytest.raises(WrongDevice, match=r"prepared for one kind of CPU.*--optimize cold-start"):
        open_artifact(path, variant=artifact.manifest["variants"][0]["id"])


def test_another_version_of_the_engine_opens_the_portable_form(
    path: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requirements.installed("onnxruntime") or ""
    major, minor, *_ = found.split(".")
    newer = f"{major}.{minor}.999"
    monkeypatch.setattr(requirements, "installed", lambda name, packages=None: newer)
    with pytest.warns(PortableForm, match=rf"onnxruntime=={found}.*{newer} is installed"), open_artifact(path):
        pass
    with pytest.raises(MissingTool, match=f"onnxruntime=={found}"):
        open_artifact(path, variant=artifact.manifest["variants"][0]["id"])
    monkeypatch.setattr(requirements, "installed", lambda name, packages=None: None)
    with pytest.raises(MissingTool, match="not installed"):
        open_artifact(path)


def test_here_nothing_is_warned_of(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_artifact(path).close()


def test_the_key_of_a_cpu_follows_model_and_vector_features_alone() -> None:
    own = detect()
    assert own.cpu_key.startswith(own.arch)
    assert replace(own, features=own.features | {"avx99"}).cpu_key != own.cpu_key
    assert replace(own, features=own.features | {"md_clear", "hypervisor"}).cpu_key == own.cpu_key
    assert replace(own, stepping="Other-1-1").cpu_key != own.cpu_key
