"""Buckets from end to end on this machine: planned, proven, compiled, stored once, opened, run at every length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bucket_models import POSITIONS, WORDS, doubler, encoder, feeds, pointwise
from small_models import reference

from neoc.compile import compile_model
from neoc.compile.artifact import Artifact
from neoc.compile.errors import FeedError, InvalidInput, PaddingChanges, UsageError
from neoc.compile.options import Bucketing, CompileOptions
from neoc.targets import open_artifact

pytestmark = pytest.mark.usefixtures("_cache")


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def compiled(
    folder: Path, model: onnx.ModelProto, bucketing: Bucketing, engine: str = "onnxruntime", **more: Any
) -> Artifact:
    onnx.save(model, folder / "model.onnx")
    options = CompileOptions(bucketing=bucketing, engines=(engine,), race_seconds=0.5, **more)
    return compile_model(folder / "model.onnx", "host", options, output=folder / "m.neoc")


OPENVINO = pytest.param("openvino", marks=[pytest.mark.needs("openvino"), pytest.mark.slow])


@pytest.fixture(scope="module", params=["onnxruntime", OPENVINO])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The masked encoder for two lengths and two batches."""
    folder = tmp_path_factory.mktemp(request.param)
    sizes = {"seq": (8, 40), "batch": (1, 3)}
    return compiled(folder, encoder(), Bucketing(sizes), request.param)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 39, 40])
def test_padded_outputs_equal_unpadded_ones(artifact: Artifact, length: int, batch: int) -> None:
    x = feeds(length, batch)
    with open_artifact(artifact.path) as session:
        found = session.run(x)
        hidden, pooled = reference(encoder(), x)
        assert found["hidden"].shape == (batch, length, 64)
        assert found["pooled"].shape == (batch, 64)
        np.testing.assert_allclose(found["hidden"], hidden, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["pooled"], pooled, rtol=1e-4, atol=1e-5)
        assert list(session.run(x, ["pooled"])) == ["pooled"]
        other = session.run(feeds(length, batch, seed=1))
        assert not np.allclose(other["pooled"], pooled, rtol=1e-4), "outputs depend on inputs"


def test_each_bucket_is_a_variant_with_its_own_shapes(artifact: Artifact) -> None:
    variants = artifact.manifest["variants"]
    assert [v["bind"] for v in variants] == [{"batch": b, "seq": s} for b, s in ((1, 8), (3, 8), (1, 40), (3, 40))]
    assert len({v["id"] for v in variants}) == 4
    shapes = [v["steps"][0]["signature"]["inputs"][0]["shape"] for v in variants]
    assert shapes == [[v["bind"]["batch"], v["bind"]["seq"]] for v in variants]
    assert artifact.manifest["signature"]["inputs"][0]["shape"] == ["batch", "seq"]
    assert artifact.manifest["padding"]["least"] == {"batch": 1, "seq": 1}
    assert artifact.manifest["padding"]["cuts"]["hidden"] == {"0": "batch", "1": "seq"}


def test_weights_are_stored_once(artifact: Artifact) -> None:
    weights = 4 * 64 * (WORDS + POSITIONS + 3 * 64)
    assert artifact.path.stat().st_size < 1.8 * weights, "four variants and the plain program"
    total = sum(m.size for v in artifact.manifest["variants"] for m in artifact.members(v["id"]).values())
    assert total > 2.2 * weights, "the positions are cut to each bucket's own length"


def test_the_evidence_names_the_lengths_that_were_tested(artifact: Artifact) -> None:
    tested = artifact.evidence["buckets"]["padding"]
    assert len(tested) == 4
    for row in tested:
        lengths = [one["seq"] for one in row["lengths"]]
        assert len({tuple(one.values()) for one in row["lengths"]}) >= 4
        assert row["bind"]["seq"] in lengths
        assert min(lengths) < row["bind"]["seq"]
        assert row["largest_relative_error"] < 1e-4
    assert artifact.manifest["verification"]["numerics"] == "executed"


def test_a_single_variant_is_opened_by_its_id(artifact: Artifact) -> None:
    name = artifact.manifest["variants"][1]["id"]
    assert name.endswith("@batch=3,seq=8")
    with open_artifact(artifact.path, variant=name) as session:
        session.run(feeds(8, 3))
        with pytest.raises(FeedError):
            session.run(feeds(7, 3))


def test_what_no_bucket_holds_is_refused(artifact: Artifact) -> None:
    with open_artifact(artifact.path) as session:
        with pytest.raises(FeedError, match=r"batch 1, seq 41; the largest bucket has batch 3, seq 40"):
            session.run(feeds(41))
        with pytest.raises(FeedError, match="elsewhere"):
            session.run({"ids": feeds(4)["ids"], "mask": feeds(5)["mask"]})
        with pytest.raises(FeedError, match="too short"):
            session.run({name: array[:, :0] for name, array in feeds(4).items()})


def test_a_decision_is_replayed_bucket_by_bucket(artifact: Artifact, tmp_path: Path) -> None:
    engine = artifact.manifest["variants"][0]["steps"][0]["engine"]
    again = compiled(tmp_path, encoder(), Bucketing({"seq": (8, 40), "batch": (1, 3)}), engine, decision=artifact.path)
    assert again.content_digest == artifact.content_digest
    with pytest.raises(UsageError, match="does not speak of seq=9"):
        compiled(tmp_path, encoder(batch=1), Bucketing({"seq": (9,)}), engine, decision=artifact.path)


# ---- refusals -------------------------------------------------------------------------------------


def test_a_model_that_padding_changes_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(PaddingChanges, match=r"output 'hidden', .*in a bucket of seq=16.*it takes no mask") as caught:
        compiled(tmp_path, encoder(masked=False, batch=1), Bucketing({"seq": (16,)}))
    assert caught.value.exit_status == 1
    assert "--pad" in caught.value.fix
    assert [f.name for f in tmp_path.iterdir()] == ["model.onnx"], "nothing is left behind"


def test_a_mask_that_only_attention_heeds_does_not_excuse_the_mean(tmp_path: Path) -> None:
    model = encoder(batch=1)
    for node in model.graph.node:
        if node.output[0] == "kept":
            node.op_type = "Identity"
            del node.input[1]
    with pytest.raises(PaddingChanges, match=r"output 'pooled'.*it masks with mask, and that does not keep"):
        compiled(tmp_path, model, Bucketing({"seq": (16,)}))


def test_every_size_by_itself_needs_no_padding(tmp_path: Path) -> None:
    made = compiled(tmp_path, encoder(masked=False, batch=1), Bucketing({"seq": (1, 2, 3)}))
    with open_artifact(made.path) as session:
        for length in (1, 2, 3):
            x = feeds(length, masked=False)
            np.testing.assert_allclose(session.run(x)["pooled"], reference(encoder(masked=False), x)[1], rtol=1e-4)


def test_a_mask_of_the_other_sense_is_found_out(tmp_path: Path) -> None:
    made = compiled(tmp_path, encoder(inverted=True, batch=1), Bucketing({"seq": (16,)}))
    assert made.manifest["padding"]["values"] == {"mask": 1.0}
    x = feeds(5) | {"mask": np.zeros((1, 5), np.int64)}
    with open_artifact(made.path) as session:
        np.testing.assert_allclose(session.run(x)["pooled"], reference(encoder(inverted=True), x)[1], rtol=1e-4)


def test_the_users_pad_value_is_taken_and_checked(tmp_path: Path) -> None:
    with pytest.raises(PaddingChanges, match="mask with 1"):
        compiled(tmp_path, encoder(batch=1), Bucketing({"seq": (16,)}, pad={"mask": 1.0}))
    with pytest.raises(PaddingChanges, match="rejects padded inputs"):
        compiled(tmp_path, encoder(batch=1), Bucketing({"seq": (16,)}, pad={"ids": 100000.0}))
    with pytest.raises(InvalidInput, match=r"--pad names 'masc'.*ids, mask"):
        compiled(tmp_path, encoder(batch=1), Bucketing({"seq": (16,)}, pad={"masc": 1.0}))


def test_an_output_longer_than_its_input_is_cut_by_its_own_rule(tmp_path: Path) -> None:
    """x behind itself: the second half of a padded run begins at the bucket's size, so that padding changes it."""
    with pytest.raises(PaddingChanges, match="output 'y'"):
        compiled(tmp_path, doubler(), Bucketing({"seq": (8,)}))


@pytest.mark.needs("openvino")
def test_an_undeclared_size_is_learned(tmp_path: Path) -> None:
    model = pointwise()
    model.graph.output[0].type.tensor_type.shape.dim[1].Clear()
    made = compiled(tmp_path, model, Bucketing({"seq": (4, 9)}), "openvino")
    assert made.manifest["padding"]["cuts"] == {"y": {"1": "seq"}}
    x = np.random.default_rng(0).standard_normal((1, 6, 8)).astype(np.float32)
    with open_artifact(made.path) as session:
        np.testing.assert_allclose(
            session.run({"x": x})["y"], reference(pointwise(), {"x": x})[0], rtol=1e-4, atol=1e-6
        )


# ---- what the user gives --------------------------------------------------------------------------


def test_a_histogram_decides_and_the_data_are_tested(tmp_path: Path) -> None:
    (tmp_path / "lengths.json").write_text(json.dumps({"3": 50, "4": 50, "12": 9, "13": 1, "30": 2}))
    np.savez(tmp_path / "data.npz", ids=feeds(11)["ids"], mask=feeds(11)["mask"])
    bucketing = Bucketing(lengths={"seq": tmp_path / "lengths.json"}, count=3)
    made = compiled(tmp_path, encoder(batch=1), bucketing, data=tmp_path / "data.npz")
    assert [v["bind"]["seq"] for v in made.manifest["variants"]] == [4, 13, 30]
    (row,) = made.evidence["buckets"]["dims"]
    assert row["padding_share"] == round(59 / (59 + 531), 4)
    assert row["padding_share_with_one_bucket"] > 0.8
    assert made.manifest["verification"]["given_samples"] == 1
    assert made.evidence["buckets"]["padding"][1]["lengths"][0] == {"seq": 11}
    np.savez(tmp_path / "data.npz", ids=feeds(31)["ids"], mask=feeds(31)["mask"])
    with pytest.raises(InvalidInput, match=r"sample 0.*it has seq=31, and the largest bucket is seq=30"):
        compiled(tmp_path, encoder(batch=1), bucketing, data=tmp_path / "data.npz")


def test_steps_around_buckets_serve_raw_sequences(tmp_path: Path) -> None:
    """Ids of any length are padded by the steps to a batch's longest, by the session to the bucket."""
    steps: dict[str, Any] = {
        "preprocess": [{"collate": {"input": ["ids", "mask"]}}],
        "postprocess": [{"softmax": {"input": "pooled", "output": "chance"}}, {"top_k": {"k": 2}}],
    }
    found = compiled(tmp_path, encoder(), Bucketing({"seq": (8, 40), "batch": (1, 3)}), **steps)
    assert found.manifest["verification"]["raw"]["items"] > 0
    assert found.manifest["raw"]["batch"] is None
    rows = [feeds(length)["ids"][0] for length in (1, 7, 8, 9, 39, 40, 12)]
    wanted = [reference(encoder(), {"ids": row[None], "mask": np.ones((1, len(row)), np.int64)})[1][0] for row in rows]
    with open_artifact(found.path) as session:
        answers: list[Any] = session.run_raw([*rows, np.arange(1, 42), "text"])
    for answer, pooled in zip(answers, wanted, strict=False):
        assert answer["top_k"]["indices"].tolist() == np.argsort(-pooled)[:2].tolist()
        assert sorted(answer) == ["hidden", "top_k"]
    assert len({tuple(a["top_k"]["indices"].tolist()) for a in answers[:7]}) > 1
    assert [isinstance(a, FeedError) for a in answers[7:]] == [True, True]
