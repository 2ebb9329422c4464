"""Static variants from end to end: made for given sizes, serving exactly these, everything else by the open program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bucket_models import encoder, feeds
from pass_programs import graph
from small_models import reference

from neoc.cli import arguments
from neoc.compile import compile_model, onnx_io
from neoc.compile.artifact import Artifact
from neoc.compile.contracts import Signature, TensorSpec
from neoc.compile.errors import FeedError, UsageError
from neoc.compile.options import OF_DATA, Bucketing, CompileOptions
from neoc.compile.statics import open_dims, shapes
from neoc.targets import open_artifact
from neoc.targets.statics import StaticsSession

pytestmark = pytest.mark.usefixtures("_cache")


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def compiled(folder: Path, engine: str = "onnxruntime", name: str = "m", **more: Any) -> Artifact:
    onnx.save(encoder(), folder / "model.onnx")
    options = CompileOptions(engines=(engine,), race_seconds=0.5, **more)
    return compile_model(folder / "model.onnx", "host", options, output=folder / f"{name}.neoc")


OPENVINO = pytest.param("openvino", marks=pytest.mark.needs("openvino"))


@pytest.fixture(scope="module", params=["onnxruntime", OPENVINO])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The encoder with open sizes, one variant for the sizes of its data and one for sizes that are named."""
    folder = tmp_path_factory.mktemp(request.param)
    data = folder / "data.npz"
    np.savez(data, **{name: array[None] for name, array in feeds(12, 2).items()})
    return compiled(folder, request.param, data=data, static=(OF_DATA, {"batch": 1, "seq": 5}))


def test_the_open_program_comes_first(artifact: Artifact) -> None:
    binds = [variant["bind"] for variant in artifact.manifest["variants"]]
    assert binds == [{}, {"batch": 2, "seq": 12}, {"batch": 1, "seq": 5}]
    own = [v["steps"][0]["signature"]["inputs"][0]["shape"] for v in artifact.manifest["variants"][1:]]
    assert own == [[2, 12], [1, 5]]
    assert artifact.signature.inputs[0].shape == ("batch", "seq")
    assert set(artifact.evidence["decisions"]) == {"batch=2,seq=12", "batch=1,seq=5"}


@pytest.mark.parametrize(("length", "batch"), [(12, 2), (5, 1), (5, 2), (13, 2), (1, 1)])
def test_every_size_is_served_by_what_was_made_for_it(artifact: Artifact, length: int, batch: int) -> None:
    x = feeds(length, batch)
    with open_artifact(artifact.path) as session:
        assert isinstance(session, StaticsSession)
        fixed = session._session(x).inputs[0].shape
        assert fixed == ((batch, length) if (length, batch) in ((12, 2), (5, 1)) else ("batch", "seq"))
        hidden, pooled = reference(encoder(), x)
        found = session.run(x)
        np.testing.assert_allclose(found["hidden"], hidden, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["pooled"], pooled, rtol=1e-4, atol=1e-5)
        other = session.run(feeds(length, batch, seed=1), ["pooled"])
        assert list(other) == ["pooled"]
        assert not np.allclose(other["pooled"], pooled, rtol=1e-4), "outputs depend on inputs"
        with session.bind(x, ["pooled"]) as binding:
            np.testing.assert_allclose(binding.run()["pooled"], pooled, rtol=1e-4, atol=1e-5)


def test_results_of_both_are_fresh(artifact: Artifact) -> None:
    with open_artifact(artifact.path) as session:
        for length in (12, 13):
            x = feeds(length, 2)
            first = session.run(x)
            kept = first["pooled"].copy()
            session.run(feeds(length, 2, seed=1))["pooled"][:] = 9
            np.testing.assert_array_equal(first["pooled"], kept)


def test_one_variant_alone_takes_its_own_size(artifact: Artifact) -> None:
    fixed = artifact.manifest["variants"][1]["id"]
    assert fixed.endswith("@batch=2,seq=12")
    with open_artifact(artifact.path, variant=fixed) as session:
        session.run(feeds(12, 2))
        with pytest.raises(FeedError, match="shape"):
            session.run(feeds(13, 2))


def test_what_does_not_fit_is_refused_as_ever(artifact: Artifact) -> None:
    x = feeds(12, 2)
    with open_artifact(artifact.path) as session:
        name = next(iter(x))
        with pytest.raises(FeedError, match="missing"):
            session.run({n: a for n, a in x.items() if n != name})
        with pytest.raises(FeedError, match="unknown"):
            session.run(x | {"more": np.zeros(1)})
        with pytest.raises(FeedError, match="dtype"):
            session.run(x | {name: x[name].astype(np.float64)})
        with pytest.raises(FeedError, match="numpy array"):
            session.run(x | {name: [1, 2]})  # type: ignore[dict-item]


@pytest.mark.parametrize("artifact", ["onnxruntime"], indirect=True)
def test_a_decision_is_replayed_for_each_variant(artifact: Artifact, tmp_path: Path) -> None:
    engine = artifact.manifest["variants"][0]["steps"][0]["engine"]
    wanted = ({"batch": 2, "seq": 12}, {"seq": 5, "batch": 1})
    again = compiled(tmp_path, engine, static=wanted, decision=artifact.path)
    assert again.manifest["chosen_by"] == artifact.manifest["chosen_by"]
    assert [v["id"] for v in again.manifest["variants"]] == [v["id"] for v in artifact.manifest["variants"]]
    evidence = tmp_path / "evidence.json"
    evidence.write_text(json.dumps(artifact.evidence))
    with pytest.raises(UsageError, match="does not speak of batch=9,seq=9"):
        compiled(tmp_path, engine, static=({"batch": 9, "seq": 9},), decision=evidence)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"static": ({"seq": 5},)}, "batch would stay open"),
        ({"static": ({"seq": 5, "batch": 1, "width": 2},)}, "no open width"),
        ({"static": (OF_DATA,)}, "needs data"),
        ({"static": ({"seq": 5, "batch": 1},), "bucketing": Bucketing({"seq": (8,)})}, "buckets are static already"),
        ({"static": ({"seq": 5, "batch": 1},), "optimize": "cold-start"}, "steady requests"),
        ({"static": tuple({"seq": k, "batch": 1} for k in range(1, 19))}, "16 is the most"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_compiled(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        compiled(tmp_path, **more)
    assert not (tmp_path / "m.neoc").exists()


def test_a_model_of_fixed_sizes_has_none(tmp_path: Path) -> None:
    onnx_io.write(graph("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }").model, tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="fixed already"):
        compile_model(tmp_path / "m.onnx", "host", CompileOptions(static=({"n": 1},)), output=tmp_path / "m.neoc")


def test_axes_without_a_name_and_sizes_reckoned_from_others() -> None:
    inputs = (TensorSpec("a", "float32", ("n", None, 4)), TensorSpec("b", "float32", ("2*n + 1", "floor(n/2)")))
    signature = Signature(inputs, ())
    assert open_dims(signature) == ["n", "a[1]"]
    assert shapes(signature, {"n": 3, "a[1]": 7}) == {"a": (3, 7, 4), "b": (7, 1)}


def test_the_command_line_says_sizes_or_data() -> None:
    assert arguments.statics(["data", "h=416, w=640", "x[2]=3"]) == (OF_DATA, {"h": 416, "w": 640}, {"x[2]": 3})
    for text in ("", "h", "h=0", "h=-1", "h=2,h=3", "=3", "h=2,"):
        with pytest.raises(UsageError, match="--static cannot be read"):
            arguments.statics([text])
