"""The command line as scripts see it: exit statuses, one paragraph, one JSON object, nothing left behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import written_models
from onnx import TensorProto, helper

from neoc.cli.app import COMMANDS, run

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEOC_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cli-cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(model, data, artifact), compiled once."""
    folder = tmp_path_factory.mktemp("compiled")
    model = written_models.cnn(folder / "m.onnx")
    data = folder / "d.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((3, 1, 3, 16, 16)).astype(np.float32))
    words = ["compile", str(model), "--target", "host", "-o", str(folder / "m.neoc"), "--race-seconds", "0.5"]
    assert run(words) == 0
    return model, data, folder / "m.neoc"


def _paragraph(text: str) -> str:
    """The one error line of standard error, checked to be one and to carry no traceback."""
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    assert len(lines[0]) > 20
    return lines[0]


def test_help_is_fast_and_lists_every_command() -> None:
    """In processor time where that is less: what else the machine does is not the command's."""

    def now() -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.perf_counter(), used.ru_utime + used.ru_stime

    best = 9.0
    for _ in range(5):
        start = now()
        done = subprocess.run([sys.executable, "-m", "neoc.cli", "--help"], capture_output=True, text=True, check=True)
        best = min(best, *(after - before for after, before in zip(now(), start, strict=True)))
    assert all(name in done.stdout for name in COMMANDS)
    assert best < 0.3, f"neoc --help took {best:.2f} s"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_compile_prints_a_table_and_the_proof(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compile", str(compiled[0]), "--target", "host", "-o", str(tmp_path), "--race-seconds", "0.3"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "executed" in out
    assert "proof: largest relative error" in out
    assert (tmp_path / "m.host.neoc").is_file()


def test_several_targets_give_one_table(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compile", str(compiled[0]), "-o", str(tmp_path), "--race-seconds", "0.3", "--json"]
    assert run([*words, "--target", "host", "--target", "inf2"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {name: r["level"] for name, r in record["results"].items()} == {"host": "executed", "inf2": "simulated"}
    assert "median_ns" not in json.dumps(record["results"]["inf2"])


def test_run_writes_what_the_model_computes(compiled: tuple[Path, Path, Path], tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    model, data, artifact = compiled
    assert run(["run", str(artifact), "--data", str(data), "-o", str(tmp_path / "o.npz")]) == 0
    got = np.load(tmp_path / "o.npz")["y"]
    evaluator = ReferenceEvaluator(str(model))
    want = np.stack([evaluator.run(None, {"x": x})[0] for x in np.load(data)["x"]])
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


def test_inspect_model_and_artifact(compiled: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    model, _, artifact = compiled
    assert run(["inspect", str(model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["operators"]["Conv"] == 2
    assert facts["flops"] == 2 * 8 * 16 * 16 * 27 + 2 * 8 * 8 * 8 * 72 + 2 * 5 * 8
    assert run(["inspect", str(artifact)]) == 0
    out = capsys.readouterr().out
    assert "executed" in out
    assert "x: float32[1,3,16,16]" in out


def test_check_counts_gaps_for_every_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = written_models.unknown_operator(tmp_path / "m.onnx")
    assert run(["check", str(model), "--target", "host", "--target", "inf2", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert [t["target"] for t in record["targets"]][1] == "inf2"
    for target in record["targets"]:
        for engine in target["engines"]:
            if engine["engine"] == "trees":
                assert [gap["node"] for gap in engine["gaps"]] == [""], "one line: it is for another family of models"
            elif not engine["fallback"]:
                assert {"one", "three"} <= {gap["node"] for gap in engine["gaps"]}, engine["engine"]


def test_check_shows_the_modelled_bound_and_calls_it_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(written_models.cnn(tmp_path / "m.onnx"))
    run(["check", model, "--target", "inf1", "--json"])
    (report,) = json.loads(capsys.readouterr().out)["targets"]
    assert report["modelled"]["kind"] == "modelled"
    assert report["modelled"]["modelled_seconds_at_least"] > 0
    run(["check", model, "--target", "inf1"])
    assert "modelled for inf1" in capsys.readouterr().out


def test_targets_doctor_and_cache(compiled: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["targets", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"x86-64", "x86-64-v3", "x86-64-v4", "aarch64", "inf2"} <= {t["name"] for t in record["targets"]}
    assert len(record["neo"]) == 37
    assert run(["targets", "ml_c5"]) == 0
    assert "x86-64-v4" in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"]["onnxruntime"]
    assert run(["cache", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"]


def test_export_gives_back_plain_onnx(compiled: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    assert run(["export", str(compiled[2]), "-o", str(tmp_path / "out")]) == 0
    (plain,) = (tmp_path / "out").rglob("program.onnx")
    onnx.checker.check_model(str(plain))
    sample = np.load(compiled[1])["x"][0]
    again = onnxruntime.InferenceSession(str(plain)).run(None, {"x": sample})[0]
    want = onnxruntime.InferenceSession(str(compiled[0])).run(None, {"x": sample})[0]
    np.testing.assert_allclose(again, want, rtol=1e-5, atol=1e-6)
    assert run(["export", str(compiled[2]), "-o", str(tmp_path / "out")]) == 2


def test_bench_compares_an_artifact_with_an_engine(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, artifact = compiled
    words = ["bench", str(artifact), f"onnxruntime:{model}", "--data", str(data), "--seconds", "1", "--max-load", "1"]
    assert run([*words, "-o", str(tmp_path / "b.json"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "b.json").read_text()) == record
    first, second = record["results"]
    assert first["ratio_to_first"] is None
    assert second["percentiles_ns"]["p50"] > 0
    ratio = second["ratio_to_first"]
    assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    assert (first["level"], second["agrees"]) == ("executed", "agrees")
    assert second["verdicts"]["p50"]["verdict"] in ("faster", "slower", "no difference shown")
    assert len([block for block in second["blocks"] if not block["void"]]) in (6, 12)


def test_verify_by_outputs_and_by_metric(
    compiled: tuple[Path, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, data, artifact = compiled
    assert run(["verify", f"onnxruntime:{model}", str(artifact), "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agree"] is True
    other = written_models.cnn(tmp_path / "other.onnx", seed=1)
    assert run(["verify", f"onnxruntime:{model}", f"onnxruntime:{other}", "--data", str(data)]) == 1
    capsys.readouterr()
    (tmp_path / "user_metric.py").write_text(
        "import numpy as np\n"
        "def accuracy(outputs, arrays):\n"
        "    return float(np.mean(outputs['y'][:, 0].argmax(-1) == arrays['label']))\n"
    )
    labelled = tmp_path / "labelled.npz"
    x = np.load(data)["x"]
    np.savez(labelled, x=x, label=_labels(model, x))
    monkeypatch.chdir(tmp_path)
    words = [
        "verify",
        f"onnxruntime:{model}",
        str(artifact),
        "--data",
        str(labelled),
        "--metric",
        "user_metric:accuracy",
    ]
    assert run([*words, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["metric"].values()) == [1.0, 1.0]


def _labels(model: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model))
    return np.array([session.run(None, {"x": sample})[0][0].argmax() for sample in x])


@pytest.mark.parametrize(
    ("words", "status", "word"),
    [
        (["compile"], 2, "no model"),
        (["compile", "m.onnx"], 2, "no target"),
        (["compile", "no-such.onnx", "--target", "host"], 2, "no-such.onnx"),
        (["compile", "MODEL", "--target", "pentium"], 2, "pentium"),
        (["compile", "MODEL", "--target", "host", "--input", "y=1,2"], 2, "x"),
        (["compile", "MODEL", "--target", "host", "--input", "x=1,2"], 2, "x"),
        (["compile", "MODEL", "--target", "host", "--precision", "int8"], 2, "not there yet"),
        (["compile", "MODEL", "--target", "host", "--engine", "nope"], 2, "nope"),
        (["compile", "MODEL", "--target", "host", "-o", "/proc/x/y.neoc"], 2, "/proc"),
        (["compile", "MODEL", "--target", "host", "--data", "none.npz"], 2, "none.npz"),
        (["compile", "MODEL", "--frobnicate"], 2, "frobnicate"),
        (["frobnicate"], 2, "frobnicate"),
        (["run", "MODEL", "--data", "none.npz", "-o", "o.npz"], 2, ""),
        (["bench", "MODEL"], 2, "onnxruntime:"),
        (["targets", "nothing"], 2, "nothing"),
        (["inspect", "text.onnx"], 2, "text.onnx"),
        (["compile", "--job", "text.onnx"], 2, "job"),
    ],
)
def test_bad_arguments(
    words: list[str],
    status: int,
    word: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.onnx").write_text("this is not a model\n")
    model = written_models.cnn(tmp_path / "model.onnx")
    before = sorted(tmp_path.rglob("*"))
    assert run([str(model) if w == "MODEL" else w for w in words]) == status
    assert word in _paragraph(capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_error_with_json_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "nowhere.onnx", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["exit_status"] == 2
    assert error["kind"] == "InvalidModel"


def test_a_bug_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import neoc.cli.doctor_command as command

    def broken() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(command, "examine", broken)
    assert run(["doctor"]) == 70
    assert "a bug in neoc" in _paragraph(capsys.readouterr().err)
    assert run(["doctor", "--debug"]) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_in_the_middle_of_a_race(tmp_path: Path) -> None:
    """Exit status 130, one line, no artifact, and every child process gone."""
    model = written_models.cnn(tmp_path / "m.onnx")
    words = ["compile", str(model), "--target", "host", "-o", str(tmp_path / "m.neoc"), "--race-seconds", "60"]
    process = subprocess.Popen(
        [sys.executable, "-m", "neoc.cli", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("race"):
            break
    time.sleep(1.0)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children, "the race runs in child processes"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130, "".join(seen) + rest
    assert "Traceback" not in rest
    assert "interrupted" in rest
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert not (tmp_path / "m.neoc").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]


def test_a_full_disk(tmp_path: Path, compiled: tuple[Path, Path, Path]) -> None:
    """The kernel refuses to let a file grow: exit 2, a paragraph, no partial file."""
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from neoc.cli.app import run\n"
        "import neoc.compile.pack as pack\n"
        "packing = pack.pack\n"
        "def limited(*args, **kwargs):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        "    return packing(*args, **kwargs)\n"
        "pack.pack = limited\n"
        "raise SystemExit(run(sys.argv[1:]))\n"
    )
    place = tmp_path / "out" / "m.neoc"
    words = ["compile", str(compiled[0]), "--target", "host", "-o", str(place), "--race-seconds", "0.3"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    _paragraph(done.stderr)
    assert list(place.parent.iterdir()) == []


def test_the_wrong_chip(compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compile", str(compiled[0]), "--target", "inf2", "-o", str(tmp_path / "m.neoc")]
    assert run(words) == 0
    capsys.readouterr()
    status = run(["run", str(tmp_path / "m.neoc"), "--data", str(compiled[1]), "-o", str(tmp_path / "o.npz")])
    assert status == 3
    assert "inf2" in _paragraph(capsys.readouterr().err) or "neuron" in _paragraph(capsys.readouterr().err)
    assert not (tmp_path / "o.npz").exists()


def test_nothing_that_is_read_is_replaced(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, artifact = (Path(shutil.copy(path, tmp_path)) for path in compiled)
    before = {path: path.read_bytes() for path in (model, data, artifact)}
    for words in (
        ["compile", str(model), "--target", "host", "-o", str(model)],
        ["compile", str(model), "--target", "host", "--data", str(data), "-o", str(data)],
        ["run", str(artifact), "--data", str(data), "-o", str(artifact)],
        ["run", str(artifact), "--data", str(data), "-o", str(data)],
    ):
        assert run(words) == 2
        assert "would replace" in _paragraph(capsys.readouterr().err)
    assert {path: path.read_bytes() for path in before} == before


def test_outputs_that_do_not_stack_are_numbered(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, None])],
    )
    model = tmp_path / "nz.onnx"
    model.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    data = tmp_path / "x.npz"
    np.savez(data, x=np.array([[1, 0, 0, 2], [1, 1, 1, 0]], np.float32))
    words = ["compile", str(model), "--target", "host", "--data", str(data), "-o", str(tmp_path / "m.neoc")]
    assert run([*words, "--race-seconds", "0.3"]) == 0
    assert run(["run", str(tmp_path / "m.neoc"), "--data", str(data), "-o", str(tmp_path / "o.npz")]) == 0
    with np.load(tmp_path / "o.npz") as arrays:
        assert arrays["y.0"].tolist() == [[0, 3]]
        assert arrays["y.1"].tolist() == [[0, 1, 2]]


def test_a_job_request(compiled: tuple[Path, Path, Path], tmp_path: Path) -> None:
    request = {
        "InputConfig": {
            "S3Uri": compiled[0].as_uri(),
            "DataInputConfig": '{"x": [1, 3, 16, 16]}',
            "Framework": "ONNX",
        },
        "OutputConfig": {"S3OutputLocation": (tmp_path / "o.neoc").as_uri(), "TargetDevice": "ml_c5"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }
    (tmp_path / "job.json").write_text(json.dumps(request))
    assert run(["compile", "--job", str(tmp_path / "job.json"), "--race-seconds", "0.3"]) == 0
    assert (tmp_path / "o.neoc").is_file()


def test_the_same_compilation_again_is_the_same_artifact(
    compiled: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "m.neoc"
    words = ["compile", str(compiled[0]), "--target", "host", "-o", str(made), "--race-seconds", "0.5"]
    assert run(words) == 0
    first = made.read_bytes()
    capsys.readouterr()
    assert run(words) == 0
    assert "from the cache: compiled, proven and raced 20" in capsys.readouterr().out
    assert made.read_bytes() == first
    assert run([*words, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["remembered"]) == ["host"]
    assert run([*words, "--no-cache"]) == 0
    assert "from the cache" not in capsys.readouterr().out
    assert made.read_bytes() != first
