"""The search on a real model: rules are proposed, proven and decided; decisions are remembered, replayed and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pass_programs import graph, operators

from neoc.cli import summary
from neoc.compile.artifact import Artifact
from neoc.compile.errors import UsageError
from neoc.compile.options import CompileOptions
from neoc.compile.pipeline import compile_model
from neoc.compile.rewrites import Spec, by_name, rewrite_passes, sites
from neoc.compile.rewrites.spec import spec_of
from neoc.compile.rewrites.tune import concrete, extract
from neoc.targets import open_artifact


@pytest.mark.parametrize(
    "text",
    ["", "token-table", "token-table;winograd-1d[512x256x5x1/1.1=4]", "a[k=1,l=0];b", "phase-expansion[1x2/1.2=16]"],
)
def test_a_spec_says_itself(text: str) -> None:
    assert str(Spec.parse(text)) == text
    assert Spec.parse(text).plus("more", {"z": 2, "k": 0}).names == (*Spec.parse(text).names, "more")


@pytest.mark.parametrize("text", ["a[", "A", "a b", "a[k=1]]"])
def test_a_broken_spec_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME"):
        Spec.parse(text)


def _options(zoo: Any, **more: Any) -> CompileOptions:
    asked = {"race_seconds": 0.5, "rewrite_seconds": 30.0, "engines": ("onnxruntime",), "rewrites": ("token-table",)}
    return CompileOptions(data=zoo.data("magika"), **(asked | more))


@pytest.fixture(scope="module")
def compiled(zoo: Any, tmp_path_factory: Any) -> Any:
    """magika with the token table, its cache in a folder of its own."""
    place = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(place / "cache"))
        artifact = compile_model(zoo("magika"), "host", _options(zoo), output=place / "first.neoc")
        again = compile_model(zoo("magika"), "host", _options(zoo), output=place / "second.neoc")
        yield place, artifact, again


def test_a_rule_is_tried_and_what_it_gained_is_kept(compiled: Any) -> None:
    _, artifact, _ = compiled
    (trial,) = artifact.evidence["rewrites"]["trials"]
    assert (trial["engine"], trial["rule"], trial["sites"]) == ("onnxruntime", "token-table", 1)
    assert trial["outcome"] in ("kept", "no gain")  # which of them is the machine's affair
    assert trial["ratio"]["ratio"] > 0
    entrants = {entrant["name"] for entrant in artifact.evidence["race"]["entrants"]}
    assert ("onnxruntime/default~token-table" in entrants) is (trial["outcome"] == "kept")


def test_a_decision_is_remembered(compiled: Any) -> None:
    _, first, again = compiled
    assert not first.evidence["rewrites"]["remembered"]
    assert again.evidence["rewrites"]["remembered"]
    assert again.evidence["rewrites"]["trials"] == first.evidence["rewrites"]["trials"]


@pytest.fixture(scope="module")
def squared(tmp_path_factory: Any) -> Any:
    """A square of its own cache, compiled once; told: compiled again, after something was done to its files."""
    place = tmp_path_factory.mktemp("squared")
    text = "(float[1,2,3] x) => (float y) { c = Pow(x, two) y = Tanh(c) }"
    graph(text, two=np.array(2, np.float32)).save(place)
    (model,) = place.glob("*.onnx")
    np.savez(place / "in.npz", x=np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3))
    asked = {"race_seconds": 0.2, "rewrite_seconds": 30.0, "engines": ("onnxruntime",), "rewrites": ("powers",)}

    def again(**more: Any) -> Any:
        options = CompileOptions(data=place / "in.npz", **(asked | more))
        return compile_model(model, "host", options, output=place / "made.neoc")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(place / "cache"))
        again()
        yield place, again


@pytest.mark.parametrize("damage", ["spec", "rule", "trials"])
def test_a_damaged_memory_is_forgotten_and_decided_anew(squared: Any, damage: str) -> None:
    """A note that names what is no rule, or is no note: the search runs as if there were none, and mends it."""
    place, again = squared
    (note,) = (place / "cache" / "rewrites").glob("*.json")
    known = json.loads(note.read_text())
    harm: dict[str, Any] = {"spec": {"spec": "a[[;", "trials": []}, "rule": {"spec": "magic", "trials": []}}
    harm |= {"trials": known | {"trials": [{"engine": "onnxruntime"}]}}
    note.write_text(json.dumps(harm[damage]))
    found = again().evidence["rewrites"]
    assert not found["remembered"]
    assert [told["rule"] for told in found["trials"]] == ["powers"]
    assert [told["rule"] for told in json.loads(note.read_text())["trials"]] == ["powers"]


def test_a_decision_with_unreadable_rewrites_is_refused(squared: Any) -> None:
    place, again = squared
    told = {"plan": "onnxruntime/default~magic", "chosen_by": "race", "rewrites": "a[[;"}
    (place / "evidence.json").write_text(json.dumps({"decision": told}))
    with pytest.raises(UsageError, match="rewrites cannot be read"):
        again(decision=place / "evidence.json")


def test_what_was_tried_is_told(compiled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, artifact, _ = compiled
    summary.show_rewrites(artifact)
    shown = capsys.readouterr().out
    assert "token-table" in shown
    assert "time with / without" in shown


def test_a_decision_with_rewrites_is_replayed(zoo: Any, compiled: Any, tmp_path: Path) -> None:
    """Whatever the race said: a decision that names the rules gives the rewritten graph, proven by float64."""
    place, _, _ = compiled
    told = {"plan": "onnxruntime/default~token-table", "chosen_by": "race", "rewrites": "token-table"}
    decision = tmp_path / "evidence.json"
    decision.write_text(json.dumps({"decision": told}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(place / "cache"))
        options = _options(zoo, decision=decision)
        made = [compile_model(zoo("magika"), "host", options, output=tmp_path / f"{k}.neoc") for k in (0, 1)]
    assert len({artifact.manifest["content_digest"] for artifact in made}) == 1
    (variant,) = made[0].manifest["variants"]
    assert variant["id"] == "onnxruntime/default~token-table"
    assert spec_of(variant["steps"][0]["variant"]).names == ("token-table",)
    assert made[0].manifest["verification"]["judged_by"] == "float64"
    assert list(summary.rewrote(made[0])) == ["token-table"]
    samples = np.load(zoo.data("magika"))["bytes"]
    with open_artifact(tmp_path / "0.neoc", threads=1) as session:
        answers = [session.run({"bytes": sample})["target_label"] for sample in samples]
    assert not np.allclose(answers[0], answers[1])


def test_a_short_race_means_no_search(zoo: Any, tmp_path: Path) -> None:
    options = _options(zoo, rewrite_seconds=None, rewrites=None)
    artifact = Artifact.open(compile_model(zoo("magika"), "host", options, output=tmp_path / "m.neoc").path)
    assert artifact.evidence["rewrites"]["trials"] == []
    assert "~" not in artifact.manifest["variants"][0]["id"]


def test_an_unknown_rule_is_named() -> None:
    from neoc.cli import arguments

    assert arguments.rewrites("all") is None
    assert arguments.rewrites("off") == ()
    assert arguments.rewrites("framing, token-table") == ("framing", "token-table")
    with pytest.raises(UsageError, match="no rewrite named 'magic'"):
        arguments.rewrites("magic")


def test_a_site_is_cut_out_with_its_constants_and_sizes() -> None:
    before = graph(
        '(float["n",2,8,40] x) => (float y) { a = Relu(x) c = Conv <pads = [0, 3, 0, 3]> (a, w) y = Tanh(c) }',
        17,
        w=np.ones((4, 2, 1, 7), np.float32),
    )
    fixed = concrete(before, {"x": np.zeros((3, 2, 8, 40), np.float32)})
    (site,) = sites(fixed.model, by_name("phase-expansion"), fixed.opset)
    alone = extract(fixed, site)
    assert operators(alone) == ["Conv"]
    assert [str(s) for s in alone.signature.inputs] == ["a: float32[3,2,8,40]"]
    assert [str(s) for s in alone.signature.outputs] == ["c: float32[3,4,8,40]"]
    assert len(rewrite_passes("phase-expansion")) == 2


def test_sites_of_a_size_that_only_a_run_tells_stay_as_they_are(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64, 5)).astype(np.float32)
    text = "(float[8,64,32] x, bool[8] c) => (float[n,64,28] y) { s = Compress<axis=0>(x, c) y = Conv(s, w) }"
    graph(text, w=weight).save(tmp_path)
    (model,) = tmp_path.glob("*.onnx")
    np.savez(tmp_path / "in.npz", x=np.ones((1, 8, 64, 32), np.float32), c=np.ones((1, 8), bool))
    asked = {"race_seconds": 0.5, "rewrite_seconds": 20.0, "engines": ("onnxruntime",), "rewrites": ("winograd-1d",)}
    artifact = compile_model(
        model, "host", CompileOptions(data=tmp_path / "in.npz", **asked), output=tmp_path / "o.neoc"
    )
    (variant,) = artifact.manifest["variants"]
    assert "~" not in variant["id"]  # which of the plain ones won is the machine's affair
