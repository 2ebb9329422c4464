"""The Page, end to end: what is compiled is proven, what fails says where, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import written_models

from neoc.compile import check_model, compile_model
from neoc.compile.contracts import Figure
from neoc.compile.errors import (
    InvalidInput,
    MissingTool,
    NoCandidate,
    ParityFailure,
    UnsupportedModel,
    UsageError,
    VacuousCheck,
)
from neoc.compile.options import CompileOptions, InputBinding
from neoc.targets import get_target, open_artifact

HELPERS = Path(__file__).parents[1] / "helpers"
QUICK = {"race_seconds": 0.5}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(autouse=True)
def _no_orphans():  # type: ignore[no-untyped-def]
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    after = [c for c in psutil.Process().children(recursive=True) if c.pid not in before and c.status() != "zombie"]
    assert not after, f"left behind: {after}"


def _expected(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True))


def test_a_small_network_is_compiled_proven_and_right(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    artifact = compile_model(model, "host", CompileOptions(**QUICK), output=tmp_path / "m.neoc")
    proof = artifact.manifest["verification"]
    assert artifact.level == "executed"
    assert proof["independent"] is True
    assert all(o["ok"] and not o["vacuous"] for o in proof["outputs"])
    assert proof["samples"] >= 2
    x = np.random.default_rng(3).standard_normal((1, 3, 16, 16)).astype(np.float32)
    with open_artifact(artifact.path) as session:
        got = session.run({"x": x})["y"]
        other = session.run({"x": -x})["y"]
    np.testing.assert_allclose(got, _expected(model, {"x": x})["y"], rtol=1e-4, atol=1e-6)
    assert np.max(np.abs(got - other)) > 1e-3


def test_the_users_data_is_checked_beside_generated_data(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    data = tmp_path / "d.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((3, 1, 3, 16, 16)).astype(np.float32))
    artifact = compile_model(model, "host", CompileOptions(data=data, **QUICK), output=tmp_path / "m.neoc")
    proof = artifact.manifest["verification"]
    assert proof["given_samples"] == 3
    assert proof["samples"] == 5


def test_an_open_dimension_stays_open_and_a_bound_one_is_bound(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx", batch="n")
    open_ = compile_model(model, "host", CompileOptions(**QUICK), output=tmp_path / "a.neoc")
    assert open_.signature.inputs[0].shape == ("n", 3, 16, 16)
    with open_artifact(open_.path) as session:
        for n in (1, 4):
            x = np.random.default_rng(n).standard_normal((n, 3, 16, 16)).astype(np.float32)
            np.testing.assert_allclose(
                session.run({"x": x})["y"], _expected(model, {"x": x})["y"], rtol=1e-4, atol=1e-6
            )
    bound = CompileOptions(inputs={"x": InputBinding((2, 3, 16, 16))}, **QUICK)
    assert compile_model(model, "host", bound, output=tmp_path / "b.neoc").signature.inputs[0].shape == (2, 3, 16, 16)


def test_the_same_decision_gives_the_same_digest(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    first = compile_model(model, "host", CompileOptions(**QUICK), output=tmp_path / "a.neoc")
    replay = CompileOptions(decision=first.path, **QUICK)
    # What was measured on this machine between the two must not matter.
    get_peaks = get_target("host").peak_flops
    chip = dataclasses.replace(get_target("host"), peak_flops={**get_peaks, "float32": Figure(1.0, "measured: a test")})
    second = compile_model(model, chip, replay, output=tmp_path / "b.neoc")
    assert first.manifest["content_digest"] == second.manifest["content_digest"]


def test_the_second_compilation_builds_nothing(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    first = compile_model(model, "host", CompileOptions(**QUICK), output=tmp_path / "a.neoc")
    second = compile_model(model, "host", CompileOptions(decision=first.path, **QUICK), output=tmp_path / "b.neoc")
    assert first.evidence["cache"] != "hit"
    assert second.evidence["cache"] == "hit"


def test_wrong_numbers_are_a_failure_that_names_the_first_node(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    with pytest.raises(ParityFailure) as caught:
        compile_model(
            model,
            "host",
            CompileOptions(engines=("faulty_engines:WrongSigmoid",), **QUICK),
            output=tmp_path / "m.neoc",
        )
    assert caught.value.exit_status == 1
    assert "'squash'" in str(caught.value)
    assert "Sigmoid" in str(caught.value)
    assert not (tmp_path / "m.neoc").exists()


@pytest.mark.parametrize(
    ("engine", "word"),
    [("Crashes", "SIGSEGV"), ("Hangs", "time"), ("Devours", "memory"), ("Empty", "without its output")],
)
def test_an_engine_that_fails_loses_only_itself(
    tmp_path: Path, engine: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEOC_WORKER_MEMORY_BYTES", str(1 << 30))
    model = written_models.cnn(tmp_path / "m.onnx")
    options = CompileOptions(
        engines=(f"faulty_engines:{engine}", "onnxruntime"), timeout_s=6 if engine == "Hangs" else 60, **QUICK
    )
    artifact = compile_model(model, "host", options, output=tmp_path / "m.neoc")
    assert artifact.manifest["variants"][0]["steps"][0]["engine"] == "onnxruntime"
    reasons = [loss["reason"] for loss in artifact.evidence["losses"] if engine in loss["candidate"]]
    assert reasons
    assert word in reasons[0]


def test_when_all_are_lost_all_are_named(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    options = CompileOptions(engines=("faulty_engines:Crashes", "faulty_engines:Empty"), **QUICK)
    with pytest.raises(NoCandidate) as caught:
        compile_model(model, "host", options, output=tmp_path / "m.neoc")
    assert set(caught.value.losses) == {plan for plan in caught.value.losses if "Crashes" in plan or "Empty" in plan}
    assert any("Crashes" in plan for plan in caught.value.losses)
    assert any("Empty" in plan for plan in caught.value.losses)


def test_a_dead_output_proves_nothing(tmp_path: Path) -> None:
    model = written_models.dead(tmp_path / "m.onnx")
    with pytest.raises(VacuousCheck, match="--data"):
        compile_model(model, "host", CompileOptions(**QUICK), output=tmp_path / "m.neoc")
    accepted = compile_model(model, "host", CompileOptions(allow_vacuous=True, **QUICK), output=tmp_path / "m.neoc")
    assert all(o["vacuous"] for o in accepted.manifest["verification"]["outputs"])


def test_every_gap_is_told_at_once(tmp_path: Path) -> None:
    model = written_models.unknown_operator(tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModel) as caught:
        compile_model(model, "host", CompileOptions(**QUICK), output=tmp_path / "m.neoc")
    operators = {gap.operator.rpartition(".")[2] for gap in caught.value.gaps}
    assert operators >= {"Frobnicate", "Twiddle"}
    (report,) = check_model(model, ["host"])
    assert not report.served
    per_engine = {view.name: {gap.node for gap in view.gaps} for view in report.views}
    assert {"one", "three"} <= per_engine["onnxruntime"]


def test_an_engine_that_does_not_serve_the_target_is_a_usage_error(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="does not serve"):
        compile_model(model, "inf2", CompileOptions(engines=("openvino",)), output=tmp_path / "m.neoc")


def test_data_that_does_not_fit_is_an_input_error(tmp_path: Path) -> None:
    model = written_models.cnn(tmp_path / "m.onnx")
    data = tmp_path / "d.npz"
    np.savez(data, x=np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(InvalidInput):
        compile_model(model, "host", CompileOptions(data=data, **QUICK), output=tmp_path / "m.neoc")


def test_missing_tools_are_said_with_what_would_mend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from neoc.compile.registry import load_engine

    monkeypatch.setattr(
        load_engine("openvino"), "missing", lambda: "openvino is not installed: pip install neoc[openvino]"
    )
    with pytest.raises(MissingTool, match=r"pip install neoc\[openvino\]"):
        compile_model(
            written_models.cnn(tmp_path / "m.onnx"),
            "host",
            CompileOptions(engines=("openvino",)),
            output=tmp_path / "m.neoc",
        )


def test_three_unlike_targets_from_one_model(tmp_path: Path) -> None:
    """The walking skeleton: executed, compiled, simulated."""
    model = written_models.cnn(tmp_path / "m.onnx")
    levels = {
        name: compile_model(model, get_target(name), CompileOptions(**QUICK), output=tmp_path / f"{name}.neoc").level
        for name in ("host", "aarch64", "inf2")
    }
    assert levels == {"host": "executed", "aarch64": "compiled", "inf2": "simulated"}


@pytest.mark.parametrize("name", ["silero_vad_openvino_16k", "ppocr_cls", "magika"])
def test_real_models(zoo, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    options = CompileOptions(data=zoo.data(name), race_seconds=2.0)
    artifact = compile_model(zoo(name), "host", options, output=tmp_path / "m.neoc")
    assert artifact.level == "executed"
    import onnxruntime

    plain = onnxruntime.InferenceSession(str(zoo(name)))
    with open_artifact(artifact.path, threads=1) as session:
        seen = []
        for sample in zoo.samples(name):
            got = session.run(sample)
            want = dict(zip([o.name for o in plain.get_outputs()], plain.run(None, sample), strict=True))
            for key, value in want.items():
                assert np.max(np.abs(got[key] - value)) <= 1e-4 * np.max(np.abs(value)) + 1e-6
            seen.append(next(iter(got.values())).tobytes())
    assert len(set(seen)) > 1
